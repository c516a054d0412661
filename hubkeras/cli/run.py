"""`hubkeras run`: a signature, applied to what stands on the command line or in a file."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hubkeras.cli.verbs import ALLOW_OPS, HANDLE, complete_files, quiet_tensorflow, verb

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


_FILES_FOR_RAY = (".jsonl", ".csv", ".parquet")
_RESULTS_OF_RAY = (".jsonl", ".parquet")


@verb(
    examples=(
        'hubkeras run path/to/nnlm --input text="a spicy stew" --input text="fog and hail"',
        "hubkeras run path/to/mobilenet --input images=@photo.jpg --labels labels.txt",
        "hubkeras run path/to/bert --signature tokens --inputs ids.jsonl --output vectors.npz --batch 64",
        "hubkeras run path/to/nnlm --engine ray --inputs texts.parquet --output vectors.parquet --batch 512",
    ),
    short_help="Apply a module to texts, images, or a file of examples.",
)
@HANDLE
@click.option("--input", "given", multiple=True, metavar="NAME=VALUE", help="A value, JSON, or @FILE; repeatable.")
@click.option(
    "--inputs",
    "file",
    metavar="FILE",
    shell_complete=complete_files,
    help="Examples: .npz, .jsonl, .csv or .parquet, by names of inputs.",
)
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="INPUT=COLUMN",
    help="The column of the file for an input; repeatable.",
)
@click.option("--signature", metavar="NAME", help="Which one to apply; else the default one.")
@click.option("--tags", metavar="TAG,TAG", help="Which graph variant to use; else the default one.")
@click.option(
    "--output", metavar="FILE", shell_complete=complete_files, help="Where to write results: .npz, .jsonl or .parquet."
)
@click.option("--batch", type=click.IntRange(1), default=32, show_default=True, help="Examples at a time.")
@click.option("--labels", metavar="FILE", shell_complete=complete_files, help="Names of classes, one a line.")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="What computes: this process; or Ray, on all CPUs or the cluster that RAY_ADDRESS names."
    " Ray needs pip install 'hubkeras[ray]'.",
)
@ALLOW_OPS
def command(
    handle: str,
    given: tuple[str, ...],
    file: str | None,
    columns: tuple[str, ...],
    signature: str | None,
    tags: str | None,
    output: str | None,
    batch: int,
    labels: str | None,
    engine: str,
    allow_ops: tuple[str, ...],
) -> None:
    """Applies a signature of a module to examples, and prints or writes its outputs.

    An input that is named more than once is a batch of examples. Images are decoded and resized to what the signature
    expects. A file is read, computed and written batch by batch; nothing is written where something fails. Columns of
    the file that are no inputs stand in the result, too.
    """
    if not given and not file:
        raise click.UsageError("Give --input or --inputs, or both.")
    if labels and output:
        raise click.UsageError("--labels is for results that are printed, not for --output.")
    feeds = _parse_columns(columns, file)
    if engine == "ray":
        _check_use_of_ray(file, output)
    with quiet_tensorflow():
        import hubkeras
        from hubkeras.batch.ray_data import require_ray
        from hubkeras.cli.class_labels import find_labels
        from hubkeras.cli.input_values import InputValues
        from hubkeras.cli.local_rows import local_results
        from hubkeras.cli.result_files import check_result_path, result_file
        from hubkeras.cli.result_tables import ResultPrinter

        if output:
            check_result_path(output)
        if engine == "ray":
            require_ray()
        chosen = [tag for tag in tags.split(",") if tag] if tags is not None else None
        module = hubkeras.load(handle, tags=chosen, allow_ops=allow_ops)
        name = module.signature_name(signature)
        values = InputValues(module, name)
        if engine == "ray" and file and output:
            from hubkeras.cli.ray_rows import FilePredictor

            arguments = {n: values.tensor(n, column, typed=True) for n, column in values.parse(given).items()}
            options = {"tags": chosen, "arguments": arguments, "allow_ops": allow_ops, "feeds": feeds}
            _run_by_ray(FilePredictor(handle, name, batch_size=batch, **options), file, output)
            return
        with contextlib.ExitStack() as stack:
            if output:
                write = stack.enter_context(result_file(output))
            else:
                write = ResultPrinter(find_labels(module, labels)).write
            results = local_results(module, values, given, file, feeds, batch)
            for result in _show_progress(results, bool(file)):
                write(result)


def _check_use_of_ray(file: str | None, output: str | None) -> None:
    if not file or Path(file).suffix.lower() not in _FILES_FOR_RAY:
        raise click.UsageError(f"--engine ray takes --inputs FILE, named {', '.join(_FILES_FOR_RAY)}.")
    if not output or Path(output).suffix.lower() not in _RESULTS_OF_RAY:
        raise click.UsageError(f"--engine ray needs --output FILE, named {' or '.join(_RESULTS_OF_RAY)}.")


def _parse_columns(texts: Sequence[str], file: str | None) -> dict[str, str]:
    """Returns the columns that `--column` names, by the names of inputs."""
    if texts and not file:
        raise click.UsageError("--column is for the columns of --inputs FILE.")
    pairs = [text.partition("=") for text in texts]
    if not all(sign and column for _, sign, column in pairs):
        raise click.UsageError("--column takes INPUT=COLUMN.")
    return {name: column for name, _, column in pairs}


def _run_by_ray(predictor: Any, file: str, output: str) -> None:
    from hubkeras.cli.ray_rows import ray_batches
    from hubkeras.cli.result_files import result_file

    with result_file(output) as write:
        for table in _show_progress(ray_batches(predictor, file), True):
            write(table)


def _show_progress(batches: Iterator[dict[str, Any]], is_long: bool) -> Iterator[dict[str, Any]]:
    """Shows on a terminal how many batches are done."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not is_long or not console.is_terminal:
        yield from batches
        return
    columns = (SpinnerColumn(), TextColumn("{task.completed} batches"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("run", total=None)
        for inputs in batches:
            yield inputs
            progress.advance(task)
