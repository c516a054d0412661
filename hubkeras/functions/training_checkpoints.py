"""Values of variables from the checkpoint of a training program, which may call them by other names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.errors import CheckpointError
from hubkeras.functions.restoring import SavedValue, parts_of, read_values, slice_text
from hubkeras.savedmodel.protos import TrackableObjectGraph, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hubkeras.savedmodel.description import VariableSpec

_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


def restore_from(
    checkpoint_path: str | os.PathLike[str], specs: Mapping[str, VariableSpec], name_of: Callable[[str], str]
) -> dict[str, tf.Tensor]:
    """Reads the values of variables from a checkpoint.

    Args:
        checkpoint_path: Prefix of the checkpoint's files, or a directory, of which the latest checkpoint counts. It
            may be one of `tf.compat.v1.train.Saver` or of `tf.train.Checkpoint`.
        specs: The variables by name.
        name_of: Turns the name of a variable, of the whole for its parts, into its name in the checkpoint.

    Returns:
        The values by the variables' names.

    Raises:
        CheckpointError: There is no checkpoint; or it lacks a variable, or has it in another shape or dtype.
    """
    prefix = _prefix(os.fspath(checkpoint_path))
    checkpoint = _Checkpoint(prefix, _open(prefix))
    found: list[SavedValue] = []
    # Sorted, so that of several variables that are missing the same one is named each time.
    for whole, parts in sorted(parts_of(specs.values()).items()):
        found += checkpoint.find(whole, [specs[name] for name in parts], name_of)
    try:
        return read_values(prefix, found)
    except tf.errors.OpError as error:
        raise CheckpointError(f"Cannot read the checkpoint {prefix}", received=error.message) from error


class _Checkpoint:
    """What a checkpoint holds, as TensorFlow's reader of it says."""

    def __init__(self, prefix: str, reader: Any) -> None:
        self._prefix = prefix
        self._shapes, self._dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
        self._keys = {name: name for name in self._shapes}
        if _OBJECT_GRAPH in self._shapes:  # one of objects, which knows variables by the way that leads to them
            graph = parse(TrackableObjectGraph, bytes(reader.get_tensor(_OBJECT_GRAPH)), f"the objects of {prefix}")
            attributes = [attribute for node in graph.nodes for attribute in node.attributes]
            # `full_name` is the variable's own name; savers of TensorFlow 2 leave it empty for what is no variable.
            self._keys = {a.full_name or a.checkpoint_key: a.checkpoint_key for a in attributes}

    def find(self, whole: str, parts: Sequence[VariableSpec], name_of: Callable[[str], str]) -> list[SavedValue]:
        """Returns where the values of a variable's parts are: in the whole as a rule, or each on its own.

        Raises:
            CheckpointError: They are not there, or of another shape or dtype.
        """
        name, own = name_of(whole), [name_of(spec.name) for spec in parts]
        # A checkpoint of objects holds the parts of a partitioned variable one by one.
        if name not in self._keys and all(n in self._keys for n in own):
            found = [SavedValue(spec, self._keys[n], "") for spec, n in zip(parts, own, strict=True)]
        elif name in self._keys:
            found = [SavedValue(spec, self._keys[name], slice_text(spec)) for spec in parts]
        else:
            raise self._missing(name, whole)
        for value in found:
            self._check(value, whole)
        return found

    def _missing(self, name: str, variable: str) -> CheckpointError:
        known = sorted(self._keys)
        return CheckpointError(
            f"Cannot read variable {variable!r}: {name} is not found in checkpoint {self._prefix}",
            expected=f"one of {len(known)} names: {', '.join(known[:10])}{', ...' if len(known) > 10 else ''}",
            received=name,
            fix="Pass a name_transform_fn that returns the checkpoint's name of each variable",
        )

    def _check(self, value: SavedValue, whole: str) -> None:
        spec, shape, dtype = value.spec, tuple(self._shapes[value.key]), self._dtypes[value.key]
        wanted = spec.partition.full_shape if spec.partition and value.slice else spec.shape
        if wanted != shape:
            raise CheckpointError(
                f"Shape of variable {whole} doesn't match with shape of {value.key} in checkpoint {self._prefix}",
                expected=f"shape {wanted}",
                received=f"shape {shape}",
            )
        if tf.as_dtype(spec.dtype) != dtype:
            raise CheckpointError(
                f"Dtype of variable {whole} doesn't match with dtype of {value.key} in checkpoint {self._prefix}",
                expected=spec.dtype,
                received=dtype.name,
            )


def _prefix(path: str) -> str:
    if not tf.io.gfile.isdir(path):
        return path
    latest = tf.train.latest_checkpoint(path)
    if latest is None:
        raise CheckpointError(
            f"Cannot find a checkpoint in the directory {path}",
            expected="the prefix of a checkpoint, or a directory with a file named `checkpoint` that names the latest",
            received=f"a directory with {sorted(tf.io.gfile.listdir(path))[:8]}",
        )
    return latest


def _open(prefix: str) -> Any:
    try:
        return tf.train.load_checkpoint(prefix)
    # The reader in C++ turns its statuses into RuntimeErrors and ValueErrors, by what its binding makes of them.
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"Cannot read the checkpoint {prefix}",
            expected="the prefix of its files, such as training/model.ckpt-1000",
            received=str(error).partition("\n")[0],
        ) from error
