"""`hubkeras cache`: what is kept on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hubkeras.cli.verbs import HANDLE, echo, epilog, verb

if TYPE_CHECKING:
    from hubkeras.handles.cache import CachedModule


@click.group(
    epilog=epilog(
        (
            "hubkeras cache list",
            "hubkeras cache pin https://tfhub.dev/google/nnlm-en-dim128/1",
        )
    ),
    short_help="List, verify, remove and pin the modules that are kept.",
)
def command() -> None:
    """Looks after the modules that are kept on this machine, in TFHUB_CACHE_DIR or the user's cache directory."""


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def _line(module: CachedModule) -> str:
    handle = module.handle or f"(handle unknown) {module.name}"
    return f"{_size(module.size):>8}  {handle}{f'  ({module.problem})' if module.problem else ''}"


@verb(name="list")
def list_modules() -> None:
    """Lists the modules with their sizes; what is incomplete says so."""
    import hubkeras

    modules = hubkeras.cached_modules()
    for module in sorted(modules, key=lambda module: module.handle):
        echo(_line(module))
    click.echo(f"{_size(sum(module.size for module in modules)):>8}  {len(modules)} modules")


@verb(name="verify")
@click.argument("handle", metavar="[HANDLE]", required=False)
@click.pass_context
def verify(context: click.Context, handle: str | None) -> None:
    """Reads the files of one module, or of all, and compares them with what was fetched.

    The exit status is 1 where one is damaged.
    """
    import hubkeras

    damaged = hubkeras.verify_cached(handle)
    for module in damaged:
        echo(_line(module))
    if damaged:
        context.exit(1)
    click.echo("everything is as it was fetched")


@verb(name="remove")
@HANDLE
def remove(handle: str) -> None:
    """Removes a module, given its handle or the name of its folder."""
    import hubkeras

    click.echo(f"{_size(hubkeras.remove_cached(handle))} are free")


@verb(name="pin")
@HANDLE
@click.option("--sha256", metavar="HEX", help="Of its files or its archive; else that of the module in the cache.")
@click.option("--remove", "removes", is_flag=True, help="Remove the pin.")
def pin(handle: str, sha256: str | None, removes: bool) -> None:
    """Pins a module: another one under its handle is refused from now on."""
    import hubkeras

    if removes:
        hubkeras.unpin(handle)
        click.echo("the pin is removed")
    else:
        click.echo(hubkeras.pin(handle, sha256))


for _command in (list_modules, verify, remove, pin):
    command.add_command(_command)
