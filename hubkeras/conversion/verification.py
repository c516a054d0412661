"""Whether what was written computes what the module computes."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tensorflow as tf

from hubkeras.conversion.generated_inputs import generated_inputs
from hubkeras.errors import ConversionError, HubKerasError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from hubkeras.functions.tensor_info import ParsedTensorInfo

    Compute = Callable[[Mapping[str, Any]], Any]
    Variables = Mapping[str, tf.Variable]

_log = logging.getLogger("hubkeras")
_RTOL, _ATOL = 1e-3, 1e-4
_RUNS, _SECONDS = 100, 10.0
"""How often, and for how long at most, a disagreement is tried for whether the module disagrees with itself."""
_NARROW = {np.dtype(np.float16): 8.0, np.dtype(tf.bfloat16.as_numpy_dtype): 64.0}
"""By how much the bounds are wider for dtypes of few digits."""
_FAILURES = (tf.errors.OpError, ValueError, TypeError, RuntimeError, LookupError)


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
    trained: tuple[Variables, Variables] | None = None
    """Variables of both sides with the same names, for whose gradients both are asked."""
    state: tuple[Variables, Variables] | None = None
    """Variables of both sides with the same names that computing may assign."""
    updates: bool = False
    """Whether these must have the same values afterwards."""


@dataclass(frozen=True)
class Verified:
    """What a verification found."""

    differences: Mapping[str, float] = field(default_factory=dict)
    """By the name of a signature or another computation, the greatest absolute difference of a number."""
    random: tuple[str, ...] = ()
    """Those that give something else each time, of which dtypes and shapes were compared."""
    untried: tuple[str, ...] = ()
    """Those for which no inputs were found that the module takes."""
    without_gradients: tuple[str, ...] = ()
    """Those that the module itself cannot differentiate."""

    def and_also(self, other: Verified) -> Verified:
        """Returns what both have found."""
        return Verified(
            {**self.differences, **other.differences},
            self.random + other.random,
            self.untried + other.untried,
            self.without_gradients + other.without_gradients,
        )


class _Results(NamedTuple):
    """What one side has computed."""

    outputs: list[np.ndarray]
    gradients: list[np.ndarray] | None
    """None where they were not asked for, or there are none."""
    values: list[np.ndarray]
    """Of the variables that are to have the same values."""


class _Side:
    """One side of a check.

    Args:
        compute: Computes the outputs.
        trained: Variables whose gradients are asked for.
        state: Variables that computing may assign.
    """

    def __init__(self, compute: Compute, trained: Variables | None, state: Variables | None) -> None:
        self._compute = compute
        self._trained = [] if trained is None else [trained[name] for name in sorted(trained)]
        self._state = [] if state is None else [state[name] for name in sorted(state)]
        self._before = [v.read_value() for v in self._state]
        self.failure: Exception | None = None
        """Why there are no gradients of what can be computed."""

    def run(self, inputs: Mapping[str, Any]) -> _Results:
        """Computes everything of some inputs, and leaves the variables as they were."""
        if self._trained and self.failure is None:
            try:
                return self._run_with_gradients(inputs)
            # Before it is known that these are inputs which the side takes, it is not known what has failed.
            except (*_FAILURES, HubKerasError) as error:
                found = self._run(inputs)
                self.failure = error
                return found
        return self._run(inputs)

    def _run(self, inputs: Mapping[str, Any]) -> _Results:
        with self._unchanged():
            return _Results(_arrays(self._compute(inputs)), None, self._values())

    def _run_with_gradients(self, inputs: Mapping[str, Any]) -> _Results:
        with self._unchanged():
            with tf.GradientTape() as tape:
                outputs = self._compute(inputs)
                tensors = map(_eager, tf.nest.flatten(outputs, expand_composites=True))
                squares = [tf.reduce_mean(tf.square(tf.cast(t, tf.float32))) for t in tensors if t.dtype.is_floating]
                loss = tf.add_n(squares) if squares else None
            return _Results(_arrays(outputs), self._gradients(tape, loss), self._values())

    @contextmanager
    def _unchanged(self) -> Iterator[None]:
        try:
            yield
        finally:
            for variable, value in zip(self._state, self._before, strict=True):
                variable.assign(value)

    def _gradients(self, tape: tf.GradientTape, loss: tf.Tensor | None) -> list[np.ndarray] | None:
        floating = [v for v in self._trained if v.dtype.is_floating]
        if loss is None or not floating:
            return None
        # A SavedModel has zeros where the module has no gradient.
        found = tape.gradient(loss, floating, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return [np.asarray(tf.convert_to_tensor(gradient)) for gradient in found]

    def _values(self) -> list[np.ndarray]:
        return _arrays([variable.read_value() for variable in self._state])


def verify(checks: Iterable[Check], what: str) -> Verified:
    """Runs both sides of every check on generated inputs.

    Args:
        checks: The computations.
        what: What was written, for messages.

    Raises:
        ConversionError: The sides disagree.
    """
    found = Verified()
    for check in checks:
        found = found.and_also(_verify(check, what))
    return found


def _verify(check: Check, what: str) -> Verified:
    trained, state = check.trained or (None, None), check.state or (None, None)
    for name, pair in (("trainable variables", trained), ("variables", state)):
        if pair[0] is not None and pair[1] is not None and pair[0].keys() != pair[1].keys():
            raise _disagrees(check, what, f"{name} {sorted(pair[1])}, not {sorted(pair[0])}")
    original = _Side(check.original, trained[0], state[0])
    first = _find_inputs(check, original)
    if first is None:
        _log.warning("Could not verify %s of %s: the module takes none of the generated inputs", check.name, what)
        return Verified(untried=(check.name,))
    inputs, want = first
    lacking = () if original.failure is None else (check.name,)
    converted = _Side(check.converted, None if lacking else trained[1], state[1])
    try:
        got = converted.run(inputs)
    except _FAILURES as error:
        raise _disagrees(check, what, f"{type(error).__name__}: {error}") from error
    if converted.failure is not None:
        raise _disagrees(check, what, f"no gradients: {converted.failure}") from converted.failure
    problem, difference = _compare(got.outputs, want.outputs)
    if problem and _varies(original, inputs, want):
        problem = _compare_kinds(got.outputs, want.outputs)
        if not problem:
            return Verified(random=(check.name,), without_gradients=lacking)
    if problem:
        raise _disagrees(check, what, problem)
    differences = {check.name: difference}
    if want.gradients is not None:
        differences[f"gradients of {check.name}"] = _same(check, what, "gradients", got.gradients or [], want.gradients)
    if check.updates:
        differences[f"variables after {check.name}"] = _same(check, what, "variables", got.values, want.values)
    return Verified(differences, without_gradients=lacking)


def _same(check: Check, what: str, part: str, got: list[np.ndarray], want: list[np.ndarray]) -> float:
    problem, difference = _compare(got, want, by_greatest=True)
    if problem:
        raise _disagrees(check, what, f"{part}: {problem}")
    return difference


def _varies(side: _Side, inputs: Mapping[str, Any], first: _Results) -> bool:
    """Tells whether a side gives something else from run to run.

    It may draw random numbers. Or it reads a variable which an update op assigns, with nothing that says which comes
    first: then it takes many runs to see both values.
    """
    end = time.monotonic() + _SECONDS
    for _ in range(_RUNS):
        if _compare(side.run(inputs).outputs, first.outputs)[0]:
            return True
        if time.monotonic() > end:
            break
    return False


def _find_inputs(check: Check, original: _Side) -> tuple[dict[str, Any], _Results] | None:
    for inputs in generated_inputs(check.inputs):
        try:
            return inputs, original.run(inputs)
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


def _compare(got: list[np.ndarray], want: list[np.ndarray], by_greatest: bool = False) -> tuple[str, float]:
    """Returns what is wrong, empty if nothing is, and the greatest difference of a number.

    Args:
        got: What there is.
        want: What there should be.
        by_greatest: Whether the bounds go by the greatest number of each array: small numbers among great ones are
            what is left of sums of these.
    """
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
        if not np.array_equal(np.isfinite(have), np.isfinite(golden)):
            return "NaN or infinity in other places", greatest
        if not _is_close(have, golden, by_greatest):
            return f"numbers that differ by up to {greatest:.3g}", greatest
    return "", greatest


def _is_close(have: np.ndarray, golden: np.ndarray, by_greatest: bool) -> bool:
    if have.dtype.kind in "iub":
        return bool(np.array_equal(have, golden))
    factor = _NARROW.get(have.dtype, 1.0)
    wide = np.complex128 if have.dtype.kind == "c" else np.float64
    have, golden = have.astype(wide), golden.astype(wide)
    finite = np.abs(golden[np.isfinite(golden)])
    scale = max(1.0, float(finite.max(initial=0))) if by_greatest else 1.0
    return np.allclose(have, golden, _RTOL * factor, _ATOL * factor * scale, equal_nan=True)


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
