"""What the verbs have in common: their options, and how TensorFlow is kept quiet."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


@dataclass
class Settings:
    """What holds for a whole run of the command."""

    debug: bool = False


def _set_debug(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    del parameter
    if value:
        context.find_root().ensure_object(Settings).debug = True


def epilog(examples: Sequence[str]) -> str:
    """Returns what the help of a verb ends with, in lines that stay as they are."""
    return "\n".join(["\b", "Examples:", *(f"  {example}" for example in examples)])


def verb(*, examples: Sequence[str] = (), **attributes: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """Makes a function a verb, with the options that every verb has.

    Args:
        examples: Command lines that the help shows.
        **attributes: Passed to `click.command`.
    """
    if examples:
        attributes["epilog"] = epilog(examples)

    def decorate(function: Callable[..., Any]) -> click.Command:
        command = click.command(**attributes)(function)
        command.params.append(
            click.Option(
                ["--debug"],
                is_flag=True,
                expose_value=False,
                callback=_set_debug,
                help="Show tracebacks and TensorFlow's log lines.",
            )
        )
        return command

    return decorate


def complete_files(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Lets the shell complete what may be a file or a directory, as it does for other commands."""
    del context, parameter
    return [CompletionItem(incomplete, type="file")]


def echo(text: object, *, err: bool = False) -> None:
    """Prints what may hold names and texts of strangers, without what a terminal would obey."""
    from hubkeras.inspection.terminal import printable

    click.echo(printable(str(text)), err=err)


HANDLE: Any = click.argument("handle", metavar="HANDLE", shell_complete=complete_files)
ALLOW_OPS: Any = click.option(
    "--allow-op", "allow_ops", multiple=True, metavar="OP", help="Allow an operation that the gate refuses; repeatable."
)


@contextlib.contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """Keeps what TensorFlow logs out of the output: from its libraries, its logger, and as warnings of Python.

    Its libraries write to the descriptors of the process before any setting can stop them. So these lead nowhere while
    it runs, and Python's own streams go on over copies of them.
    """
    if click.get_current_context().find_root().ensure_object(Settings).debug:
        yield
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings(action="ignore"))
        for name in ("stdout", "stderr"):
            stack.enter_context(_descriptor_apart(name))
        yield


@contextlib.contextmanager
def _descriptor_apart(name: str) -> Iterator[None]:
    """Lets one of Python's streams go on, while what else writes to its descriptor is dropped."""
    stream = getattr(sys, name)
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError, AttributeError):  # no file, as in a notebook: nothing of the process writes there
        yield
        return
    stream.flush()
    kept = os.dup(descriptor)
    copy = open(kept, "w", encoding=stream.encoding, errors=stream.errors, buffering=1)  # noqa: PTH123, SIM115
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
    setattr(sys, name, copy)
    try:
        yield
    finally:
        setattr(sys, name, stream)
        copy.flush()
        os.dup2(kept, descriptor)
        copy.close()
