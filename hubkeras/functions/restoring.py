"""Values of variables from a module's checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import tensorflow as tf

from hubkeras.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hubkeras.savedmodel.description import ModuleDescription, VariableSpec


class SavedValue(NamedTuple):
    """Where the value of a variable lies in a checkpoint."""

    spec: VariableSpec
    key: str
    slice: str
    """Of the tensor under that key, as checkpoints name it; empty for all of it."""


def restore(description: ModuleDescription, specs: Iterable[VariableSpec]) -> dict[str, tf.Tensor]:
    """Reads the values of variables from a module's checkpoint, by their names, of those that the checkpoint has."""
    wanted = [SavedValue(s, s.checkpoint_name, slice_text(s)) for s in specs if s.in_checkpoint]
    if description.checkpoint is None:
        return {}
    try:
        return read_values(str(description.checkpoint), wanted)
    except tf.errors.OpError as error:
        # TensorFlow looks for a checkpoint as if its path were a pattern.
        is_pattern = not {"*", "?", "["}.isdisjoint(str(description.checkpoint))
        raise FormatError(
            f"Cannot read the variables of module {description.label}",
            expected="a checkpoint that holds all of them",
            received=error.message,
            fix="Move the module to a folder without *, ? and [ in its path, which TensorFlow takes for a pattern"
            if is_pattern
            else "Fetch the module again: its files are damaged",
        ) from error


def read_values(prefix: str, wanted: Sequence[SavedValue]) -> dict[str, tf.Tensor]:
    """Reads the values of variables from a checkpoint, all at once, by the variables' names."""
    if not wanted:
        return {}
    # On the CPU: TensorFlow reads there, and a checkpoint may not fit beside what a GPU holds already.
    with tf.init_scope(), tf.device("CPU:0"):
        tensors = tf.raw_ops.RestoreV2(
            prefix=prefix,
            tensor_names=[value.key for value in wanted],
            shape_and_slices=[value.slice for value in wanted],
            dtypes=[tf.as_dtype(value.spec.dtype) for value in wanted],
        )
    return dict(zip((value.spec.name for value in wanted), tensors, strict=True))


def slice_text(spec: VariableSpec) -> str:
    """Returns the slice of a partitioned variable as checkpoints name it, such as "10 4 0,5:-"."""
    part = spec.partition
    if part is None:
        return ""
    ranges = zip(part.offset, part.shape, part.full_shape, strict=True)
    # "-" is how savers write a whole axis, so that a slice is found as it was saved.
    slices = ["-" if size == full else f"{start},{size}" for start, size, full in ranges]
    return f"{' '.join(map(str, part.full_shape))} {':'.join(slices)}"


def parts_of(specs: Iterable[VariableSpec]) -> dict[str, list[str]]:
    """Returns for each whole the names of its parts, in the order of their offsets; a whole variable is its own."""
    groups: dict[str, list[VariableSpec]] = {}
    for spec in specs:
        groups.setdefault(spec.checkpoint_name, []).append(spec)
    return {
        name: [s.name for s in sorted(group, key=lambda s: s.partition.offset if s.partition else ())]
        for name, group in groups.items()
    }
