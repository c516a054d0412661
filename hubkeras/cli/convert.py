"""`hubkeras convert`: a module in another format, verified."""

from __future__ import annotations

from typing import Any

import click

from hubkeras.cli.verbs import ALLOW_OPS, HANDLE, quiet_tensorflow, verb


@verb(
    examples=(
        "hubkeras convert google/nnlm/tensorFlow1/en-dim128/1 served/1 --to saved_model",
        "hubkeras convert path/to/module model.tflite --to litert",
        "hubkeras convert path/to/module weights.npz --to weights",
    ),
    short_help="Write a module in another format and verify it.",
)
@HANDLE
@click.argument("path", metavar="PATH")
@click.option(
    "--to",
    required=True,
    type=click.Choice(["litert", "onnx", "saved_model", "tf1_hub", "weights"]),
    help="The format.",
)
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Tag of the graph variant for inference; repeatable.")
@click.option("--weights", metavar="FILE", help="Values of the variables, as --to weights has written them.")
@ALLOW_OPS
def command(handle: str, path: str, tags: tuple[str, ...], allow_ops: tuple[str, ...], **options: Any) -> None:
    """Writes the module HANDLE to PATH, which must not exist yet, and prints how far both sides differ.

    Both run on generated inputs for every signature. Where they disagree, nothing is left at PATH.
    """
    with quiet_tensorflow():
        import hubkeras

        click.echo(str(hubkeras.convert(handle, path, tags=tags or None, allow_ops=allow_ops, **options)))
