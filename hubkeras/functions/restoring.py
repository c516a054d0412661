"""Values of variables from a module's checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

from hubkeras.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hubkeras.savedmodel.description import ModuleDescription, VariableSpec


def restore(description: ModuleDescription, specs: Iterable[VariableSpec]) -> dict[str, tf.Tensor]:
    """Reads the values of variables from a module's checkpoint, all at once.

    Returns:
        The values by the variables' names, of those that the checkpoint has.
    """
    wanted = [s for s in specs if s.in_checkpoint]
    if not wanted or description.checkpoint is None:
        return {}
    # On the CPU: TensorFlow reads there, and a checkpoint may not fit beside what a GPU holds already.
    with tf.init_scope(), tf.device("CPU:0"):
        try:
            tensors = tf.raw_ops.RestoreV2(
                prefix=str(description.checkpoint),
                tensor_names=[s.checkpoint_name for s in wanted],
                shape_and_slices=[slice_text(s) for s in wanted],
                dtypes=[tf.as_dtype(s.dtype) for s in wanted],
            )
        except tf.errors.OpError as error:
            raise FormatError(
                f"Cannot read the variables of module {description.label}",
                expected="a checkpoint that holds all of them",
                received=error.message,
                fix="Fetch the module again: its files are damaged",
            ) from error
    return dict(zip((s.name for s in wanted), tensors, strict=True))


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
    """Groups variables by the whole that they are parts of, in the order of their offsets.

    Returns:
        For each whole its parts' names; a variable without parts stands for itself.
    """
    groups: dict[str, list[VariableSpec]] = {}
    for spec in specs:
        groups.setdefault(spec.checkpoint_name, []).append(spec)
    return {
        name: [s.name for s in sorted(group, key=lambda s: s.partition.offset if s.partition else ())]
        for name, group in groups.items()
    }
