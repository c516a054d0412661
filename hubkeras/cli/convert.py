"""`hubkeras convert`: a module in another format, verified."""

from __future__ import annotations

from typing import Any

import click

from hubkeras.cli.verbs import ALLOW_OPS, HANDLE, complete_files, echo, quiet_tensorflow, verb


@verb(
    examples=(
        "hubkeras convert google/nnlm/tensorFlow1/en-dim128/1 served/1 --to saved_model",
        "hubkeras convert path/to/module model.tflite --to litert",
        "hubkeras convert path/to/module weights.npz --to weights",
        "hubkeras convert path/to/module model.keras --to keras --trainable",
        "hubkeras convert path/to/saved_model path/to/module --to tf1_hub",
    ),
    short_help="Write a module in another format and verify it.",
)
@HANDLE
@click.argument("path", metavar="PATH", shell_complete=complete_files)
@click.option(
    "--to",
    required=True,
    type=click.Choice(["keras", "litert", "onnx", "saved_model", "tf1_hub", "weights"]),
    help="The format.",
)
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Tag of the graph variant for inference; repeatable.")
@click.option(
    "--weights",
    metavar="FILE",
    shell_complete=complete_files,
    help="Values of the variables, as --to weights has written them.",
)
@click.option("--signature", metavar="NAME", help="The signature of a Keras or ONNX model.")
@click.option("--trainable", is_flag=True, help="Whether the layer in a Keras model is trainable.")
@ALLOW_OPS
def command(handle: str, path: str, tags: tuple[str, ...], allow_ops: tuple[str, ...], **options: Any) -> None:
    """Writes the module HANDLE to PATH, which must not exist yet, and prints how far both sides differ.

    Both run on generated inputs for every signature. Where they disagree, nothing is left at PATH.

    HANDLE may also be a TF2 SavedModel or a .keras file. saved_model: a directory that everything reads which takes
    TF2 SavedModels, and that can be trained. keras: a .keras file of one signature. litert, onnx (one signature): where
    they have the ops, for inference. weights: .npz or .safetensors. tf1_hub: for hub.Module; from LiteRT and ONNX there
    is no way back, for these hold no variables.
    """
    with quiet_tensorflow():
        import hubkeras

        echo(hubkeras.convert(handle, path, tags=tags or None, allow_ops=allow_ops, **options))
