"""`hubkeras pack`: a module as the archive that a server gives out."""

from __future__ import annotations

import click

from hubkeras.cli.verbs import HANDLE, complete_files, quiet_tensorflow, verb

_EXAMPLES = ("hubkeras pack path/to/module module.tar.gz",)


@verb(examples=_EXAMPLES, short_help="Pack a module for a server of the hosting protocol.")
@HANDLE
@click.argument("archive", metavar="ARCHIVE", shell_complete=complete_files)
def command(handle: str, archive: str) -> None:
    """Packs a module into a .tar.gz that does not exist yet; the same module gives the same bytes."""
    if not archive.endswith((".tar.gz", ".tgz")):
        raise click.UsageError(f"ARCHIVE is a name that ends with .tar.gz or .tgz, not {archive!r}.")
    with quiet_tensorflow():
        import hubkeras

        hubkeras.pack(hubkeras.resolve(handle), archive)
    click.echo(archive)
