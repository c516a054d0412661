"""`hubkeras resolve`: where a module lies on this machine."""

from __future__ import annotations

import click

from hubkeras.cli.verbs import HANDLE, quiet_tensorflow, verb


@verb(
    examples=(
        "hubkeras resolve google/nnlm/tensorFlow1/en-dim128/1",
        "ls $(hubkeras resolve https://tfhub.dev/google/nnlm-en-dim128/1)",
    ),
    short_help="Print the directory of a module, fetching it once.",
)
@HANDLE
def command(handle: str) -> None:
    """Prints the directory of a module; fetches it into the cache where it is not there yet."""
    with quiet_tensorflow():  # which reads gs:// and the like
        import hubkeras

        click.echo(hubkeras.resolve(handle))
