"""The `hubkeras` command: one verb per module of this folder."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from typing import TYPE_CHECKING, Any

import click

from hubkeras.cli.verbs import Settings, echo, epilog
from hubkeras.errors import HubKerasError

if TYPE_CHECKING:
    from collections.abc import Sequence

VERBS = (
    "cache",
    "check-signature",
    "convert",
    "demo",
    "migrate",
    "pack",
    "publish-embedding",
    "resolve",
    "run",
    "scan",
    "show",
)
"""Each is a module of this folder with a click command named `command`."""


class _Verbs(click.Group):
    """Finds verbs in their modules; these import what they need when they run, so that help is there at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        return importlib.import_module(f"hubkeras.cli.{cmd_name.replace('-', '_')}").command


@click.group(
    cls=_Verbs,
    epilog=epilog(
        (
            "hubkeras show https://tfhub.dev/google/nnlm-en-dim128/1",
            'hubkeras run path/to/module --input text="a spicy stew"',
            "hubkeras VERB --help",
        )
    ),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="hubkeras")
def cli() -> None:
    """Pretrained modules in TF1 Hub format for Keras 3: look at them, run them, keep them.

    A HANDLE is a directory or an archive, a URL of tfhub.dev, Kaggle or another server, or a short Kaggle handle.
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb and returns the exit status of the process.

    Args:
        argv: The arguments without the program's name; None takes those of the process.

    Returns:
        0 where the verb did its work, 1 where something was refused or failed. Wrong arguments never return: they leave
        the process with status 2.

    Example:
        >>> main(["demo", "--epochs", "5"])  # doctest: +SKIP
        0
    """
    settings = Settings()
    try:
        return _run(argv, settings) or 0
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return _fail("interrupted")
    except BrokenPipeError:
        # Whoever read our output has seen enough. Python would complain once more when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if settings.debug:
            traceback.print_exc()
            return 1
        return _fail(_one_paragraph(error))


def _run(argv: Sequence[str] | None, settings: Settings) -> Any:
    arguments = None if argv is None else list(argv)
    return cli.main(args=arguments, prog_name="hubkeras", standalone_mode=False, obj=settings)


def _one_paragraph(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, HubKerasError):
        return text
    if isinstance(error, OSError):
        return text or type(error).__name__
    return f"{type(error).__name__}: {text or 'no further word'} (--debug shows where)"


def _fail(text: str) -> int:
    echo(f"hubkeras: {text}", err=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
