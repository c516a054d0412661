"""`hubkeras show`: what a module holds."""

from __future__ import annotations

import json
from pathlib import Path

import click

from hubkeras.cli.verbs import HANDLE, complete_files, quiet_tensorflow, verb
from hubkeras.errors import ExportError


@verb(
    examples=(
        "hubkeras show https://tfhub.dev/google/nnlm-en-dim128/1",
        "hubkeras show path/to/module --html module.html",
        "hubkeras show path/to/module --json | jq .variables",
    ),
    short_help="Print what a module holds, as tables, JSON or a web page.",
)
@HANDLE
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--html", "page", metavar="FILE", shell_complete=complete_files, help="Write a web page that needs nothing else."
)
@click.option("--flops", is_flag=True, help="Count floating point operations of one example (starts TensorFlow).")
def command(handle: str, as_json: bool, page: str | None, flops: bool) -> None:
    """Prints what a module holds, without running anything of it, and Python programs that use it."""
    if as_json and page is not None:
        raise click.UsageError("Give --json or --html, not both.")
    from hubkeras.inspection.describing import describe, read
    from hubkeras.inspection.page import render_page

    if page is not None and not Path(page).parent.is_dir():
        raise ExportError(f"Cannot write {page}: there is no folder {Path(page).parent}")
    if page is not None and Path(page).is_dir():
        raise ExportError(f"Cannot write {page}: it is a folder")
    with quiet_tensorflow():
        summary = describe(handle, flops=flops)
    if page is not None:
        _write(Path(page), render_page(summary, read(handle)))
        click.echo(f"{page}: {Path(page).stat().st_size} bytes")
    elif as_json:
        click.echo(json.dumps(summary.as_dict(), indent=2))
    else:
        from hubkeras.inspection.terminal import print_summary

        print_summary(summary)


def _write(place: Path, text: str) -> None:
    """Writes a file as a whole, or not at all."""
    temporary = place.with_name(f".{place.name}.part")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(place)
    except OSError as error:
        raise ExportError(f"Cannot write {place}", received=str(error), fix="Nothing was left there") from error
    finally:
        temporary.unlink(missing_ok=True)
