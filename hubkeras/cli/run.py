"""`hubkeras run`: a signature, applied to what stands on the command line or in a file."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hubkeras.cli.verbs import ALLOW_OPS, HANDLE, complete_files, quiet_tensorflow, verb

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hubkeras.cli.input_values import InputValues

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
    expects. A file is read, computed and written batch by batch; nothing is written where something fails. With
    --engine ray, columns of the file that are no inputs stand in the result, too.
    """
    if not given and not file:
        raise click.UsageError("Give --input or --inputs, or both.")
    if engine == "ray":
        _check_use_of_ray(file, output, labels)
    with quiet_tensorflow():
        import hubkeras
        from hubkeras.batch.ray_data import require_ray
        from hubkeras.cli.class_labels import find_labels
        from hubkeras.cli.input_values import InputValues
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
            options = {"tags": chosen, "arguments": arguments, "allow_ops": allow_ops}
            _run_by_ray(FilePredictor(handle, name, batch_size=batch, **options), file, output)
            return
        with contextlib.ExitStack() as stack:
            if output:
                write = stack.enter_context(result_file(output))
            else:
                write = ResultPrinter(find_labels(module, labels)).write
            for inputs in _show_progress(_inputs(values, given, file, batch), bool(file)):
                write(_apply(module, name, inputs))


def _check_use_of_ray(file: str | None, output: str | None, labels: str | None) -> None:
    if not file or Path(file).suffix.lower() not in _FILES_FOR_RAY:
        raise click.UsageError(f"--engine ray takes --inputs FILE, named {', '.join(_FILES_FOR_RAY)}.")
    if not output or Path(output).suffix.lower() not in _RESULTS_OF_RAY:
        raise click.UsageError(f"--engine ray needs --output FILE, named {' or '.join(_RESULTS_OF_RAY)}.")
    if labels:
        raise click.UsageError("--labels is for results that are printed; --engine ray writes a file.")


def _run_by_ray(predictor: Any, file: str, output: str) -> None:
    from hubkeras.cli.ray_rows import ray_batches
    from hubkeras.cli.result_files import result_file

    with result_file(output) as write:
        for table in _show_progress(ray_batches(predictor, file), True):
            write(table)


def _inputs(values: InputValues, given: Sequence[str], file: str | None, size: int) -> Iterator[dict[str, Any]]:
    """Yields the inputs of one call after the other."""
    from hubkeras.cli.row_files import read_batches
    from hubkeras.errors import InputError

    columns = values.parse(given)
    fixed = {name: column for name, column in columns.items() if file or not values.is_batched(name)}
    rows = {name: column for name, column in columns.items() if name not in fixed}
    lengths = {name: len(column) for name, column in rows.items()}
    if len(set(lengths.values())) > 1:
        raise InputError("Cannot pair the inputs", expected="as many values for each", received=str(lengths))
    if file:
        batches = read_batches(file, size, values.only_input)
    else:
        count = next(iter(lengths.values()), 1)
        batches = ({n: c[start : start + size] for n, c in rows.items()} for start in range(0, count, size))
    for batch in batches:
        for name in batch:
            values.require(name)
        named = {name: values.tensor(name, column, typed=True) for name, column in fixed.items()}
        yield named | {name: values.tensor(name, column, typed=not file) for name, column in batch.items()}


def _apply(module: Any, signature: str, inputs: dict[str, Any]) -> dict[str, Any]:
    """Returns one array per output, whose first axis are the examples where the inputs have one."""
    outputs = module(inputs, signature=signature, as_dict=True)
    return {name: _array(value) for name, value in sorted(outputs.items())}


def _array(value: Any) -> Any:
    from hubkeras.batch.row_values import output_array

    array = output_array(value)
    return array if array.ndim else array.reshape(1)


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
