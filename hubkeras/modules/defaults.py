"""Which signature and which output are meant where the user names none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hubkeras.errors import OutputError, SignatureError

if TYPE_CHECKING:
    from collections.abc import Collection

DEFAULT = "default"
"""Name of the signature, and of the output, that is meant where the user names none."""
_SIGNATURES = (DEFAULT, "serving_default")


def default_signature(names: Collection[str]) -> str | None:
    """Returns "default", else "serving_default", else the only name, else None."""
    # hub.Module knew "default" alone; TF Serving, and so every SavedModel made for it, says "serving_default".
    candidates = (*_SIGNATURES, *(names if len(names) == 1 else ()))
    return next((name for name in candidates if name in names), None)


def choose_signature(signature: str | None, names: Collection[str], owner: str) -> str:
    """Returns the name of a signature; None becomes "default", else "serving_default", else the only one.

    Args:
        signature: Its name, or None.
        names: Those that there are.
        owner: What has them, for messages.

    Raises:
        SignatureError: There is no such signature, or none that could be the default.
    """
    chosen = default_signature(names) if signature is None else signature
    if chosen is not None and chosen in names:
        return chosen
    raise SignatureError(
        f"Signature {signature!r} is missing from {owner}"
        if signature
        else f"There is no default signature in {owner}",
        expected=f"signature= one of {sorted(names)}",
        received=f"signature={signature!r}",
    )


def choose_output(key: str | None, names: Collection[str], owner: str, *, fix: str, or_only: bool = True) -> str:
    """Returns the name of an output; None becomes "default", else the only one.

    Args:
        key: Its name, or None.
        names: Those that there are.
        owner: What has them, for messages.
        fix: How to get all of them.
        or_only: Whether an only output of another name will do, which it never did for `hub.Module`.

    Raises:
        OutputError: There is no such output, or none that could be the default.
    """
    if key is None and DEFAULT not in names and len(names) == 1 and or_only:
        return next(iter(names))
    chosen = DEFAULT if key is None else key
    if chosen in names:
        return chosen
    raise OutputError(
        f"There is no output {chosen!r} in {owner}", expected=f"one of the outputs {sorted(names)}", fix=fix
    )
