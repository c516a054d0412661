"""Whether what was written computes what the module computes."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from hubkeras.conversion.generated_inputs import generated_inputs
from hubkeras.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from hubkeras.functions.tensor_info import ParsedTensorInfo

    Compute = Callable[[Mapping[str, Any]], Any]

_log = logging.getLogger("hubkeras")
_RTOL, _ATOL = 1e-3, 1e-4
_NARROW = {np.dtype(np.float16): 8.0, np.dtype(tf.bfloat16.as_numpy_dtype): 64.0}
"""By how much the bounds are wider for dtypes of few digits."""


@dataclass(frozen=True)
class Check:
    """One computation that both sides can do."""

    name: str
    """For reports."""
    inputs: Mapping[str, ParsedTensorInfo]
    original: Compute
    """Computes tensors, in any nest, of inputs by name."""
    converted: Compute
    """Computes the same from what was written."""


@dataclass(frozen=True)
class Verified:
    """What a verification found."""

    differences: Mapping[str, float]
    """By the name of a signature or another computation, the greatest absolute difference of a number."""
    random: tuple[str, ...]
    """Those that give something else each time, of which dtypes and shapes were compared."""
    untried: tuple[str, ...]
    """Those for which no inputs were found that the module takes."""


def verify(checks: Iterable[Check], what: str) -> Verified:
    """Runs both sides of every check on generated inputs.

    Args:
        checks: The computations.
        what: What was written, for messages.

    Raises:
        ConversionError: The sides disagree.
    """
    differences: dict[str, float] = {}
    random: list[str] = []
    untried: list[str] = []
    for check in checks:
        found = _find_inputs(check)
        if found is None:
            _log.warning("Could not verify %s of %s: the module takes none of the generated inputs", check.name, what)
            untried.append(check.name)
            continue
        inputs, want = found
        try:
            got = _arrays(check.converted(inputs))
        except (tf.errors.OpError, ValueError, TypeError, RuntimeError, LookupError) as error:
            raise _disagrees(check, what, f"{type(error).__name__}: {error}") from error
        problem, difference = _compare(got, want)
        if problem and _compare(_arrays(check.original(inputs)), want)[0] and not _compare_kinds(got, want):
            random.append(check.name)
        elif problem:
            raise _disagrees(check, what, problem)
        else:
            differences[check.name] = difference
    return Verified(differences, tuple(random), tuple(untried))


def _find_inputs(check: Check) -> tuple[dict[str, Any], list[np.ndarray]] | None:
    for inputs in generated_inputs(check.inputs):
        try:
            return inputs, _arrays(check.original(inputs))
        except (tf.errors.OpError, ValueError, TypeError):  # not what the module takes
            continue
    return None


def _arrays(outputs: Any) -> list[np.ndarray]:
    """Returns the numbers and texts of outputs; those of a dict in the order of their names."""
    tensors = tf.nest.flatten(outputs, expand_composites=True)
    return [np.asarray(t, object) if t.dtype == tf.string else np.asarray(t) for t in map(_eager, tensors)]


def _eager(value: Any) -> tf.Tensor:
    return value if tf.is_tensor(value) else tf.convert_to_tensor(value)


def _compare_kinds(got: list[np.ndarray], want: list[np.ndarray]) -> str:
    if len(got) != len(want):
        return f"{len(got)} tensors, not {len(want)}"
    for have, golden in zip(got, want, strict=True):
        if have.dtype != golden.dtype or have.ndim != golden.ndim:
            return f"{have.dtype} of shape {have.shape}, not {golden.dtype} of shape {golden.shape}"
    return ""


def _compare(got: list[np.ndarray], want: list[np.ndarray]) -> tuple[str, float]:
    """Returns what is wrong, empty if nothing is, and the greatest difference of a number."""
    problem, greatest = _compare_kinds(got, want), 0.0
    if problem:
        return problem, greatest
    for have, golden in zip(got, want, strict=True):
        if have.shape != golden.shape:
            return f"shape {have.shape}, not {golden.shape}", greatest
        if have.dtype == object:
            if not all(map(_same_text, have.ravel(), golden.ravel())):
                return "other texts", greatest
            continue
        wide = np.complex128 if have.dtype.kind == "c" else np.float64
        with np.errstate(invalid="ignore"):
            difference = np.abs(have.astype(wide) - golden.astype(wide))
        finite = difference[np.isfinite(difference)]
        greatest = max(greatest, float(finite.max(initial=0)))
        if not _is_close(have, golden):
            return f"numbers that differ by up to {greatest:.3g}", greatest
    return "", greatest


def _is_close(have: np.ndarray, golden: np.ndarray) -> bool:
    if have.dtype.kind in "iub":
        return bool(np.array_equal(have, golden))
    factor = _NARROW.get(have.dtype, 1.0)
    wide = np.complex128 if have.dtype.kind == "c" else np.float64
    return np.allclose(have.astype(wide), golden.astype(wide), _RTOL * factor, _ATOL * factor, equal_nan=True)


def _same_text(have: bytes, golden: bytes) -> bool:
    """Tells whether texts are the same; paths of assets are where each side has its own."""
    if have == golden:
        return True
    ours, theirs = Path(have.decode(errors="replace")), Path(golden.decode(errors="replace"))
    return ours.is_absolute() and theirs.is_absolute() and ours.name == theirs.name


def _disagrees(check: Check, what: str, received: str) -> ConversionError:
    return ConversionError(
        f"Cannot convert: {check.name} of {what} does not give what the module gives",
        expected=f"the same within {_ATOL} + {_RTOL} times the number",
        received=received,
        fix="Nothing was left there",
    )
