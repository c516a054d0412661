"""`hubkeras migrate`: code that uses tensorflow_hub, moved to hubkeras."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hubkeras.cli.verbs import complete_files, verb

if TYPE_CHECKING:
    from hubkeras.migration.files import FileReport


@verb(
    examples=("hubkeras migrate src notebooks train.py", "hubkeras migrate --write ."),
    short_help="Find uses of tensorflow_hub in code, and rewrite what is safe.",
)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", shell_complete=complete_files)
@click.option("--write", is_flag=True, help="Rewrite the files; without it they are only read.")
@click.pass_context
def command(context: click.Context, paths: tuple[str, ...], write: bool) -> None:
    """Looks through Python files, notebooks and lists of requirements for uses of tensorflow_hub.

    Prints each use with what becomes of it under hubkeras and Keras 3. With --write, imports and what else is safe are
    rewritten, and everything else in a file stays as it is, to the byte. Imports go to hubkeras, or to
    hubkeras.compat.v1 where a file uses hub.Module and its like. The exit status is 1 where a file could not be read.
    """
    reports = list(_reports(paths, write))
    for report in reports:
        _show(report, write)
    changed = sum(report.changed for report in reports)
    by_hand = sum(finding.fate == "by hand" for report in reports for finding in report.findings)
    done = "rewritten" if write else "to rewrite (with --write)"
    click.echo(f"{changed} files {done}, {by_hand} places to see to by hand")
    if any(report.problem for report in reports):
        context.exit(1)


def _reports(paths: tuple[str, ...], write: bool) -> list[FileReport]:
    try:
        from hubkeras.migration.files import migrate_files
    except ModuleNotFoundError as error:
        if error.name != "libcst":
            raise
        raise click.ClickException("migrate needs libcst: pip install 'hubkeras[migrate]'") from error
    return list(migrate_files(paths, write=write))


def _show(report: FileReport, write: bool) -> None:
    if report.problem:
        click.echo(f"{report.path}: left alone, {report.problem}", err=True)
        return
    click.echo(f"{report.path}{' (rewritten)' if write and report.changed else ''}")
    for finding in report.findings:
        click.echo(f"  {finding}")
