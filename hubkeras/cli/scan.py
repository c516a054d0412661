"""`hubkeras scan`: what the gate says about a module."""

from __future__ import annotations

import click

from hubkeras.cli.verbs import HANDLE, echo, quiet_tensorflow, verb


@verb(
    examples=(
        "hubkeras scan path/to/module",
        "hubkeras scan module.tar.gz && echo fine",
    ),
    short_help="Say whether a module holds operations that are not allowed.",
)
@HANDLE
@click.pass_context
def command(context: click.Context, handle: str) -> None:
    """Says whether a module holds operations that are not allowed, without running anything of it.

    Such operations read or write files, reach the network or call Python. The exit status is 1 where the module is
    refused. An operation that is not on the list is refused also where this installation does not know it.
    """
    with quiet_tensorflow():  # which reads gs:// and the like
        import hubkeras

        gate = hubkeras.describe(handle).gate
    if gate.allowed:
        click.echo("allowed: all operations that the module can run are on the list")
        return
    if gate.problem:
        echo(f"refused: {' '.join(gate.problem.split())}")
    for found in gate.refused:
        echo(f"refused: {found.op} ({found.place}), which {found.reason}")
    context.exit(1)
