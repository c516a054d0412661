"""Values of variables from the checkpoint of a training program, which may call them by other names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.errors import CheckpointError
from hubkeras.functions.restoring import parts_of, slice_text
from hubkeras.savedmodel.protos import TrackableObjectGraph, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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
    reader = _open(prefix)
    keys = _keys(reader, prefix)
    shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    found: dict[str, str] = {}
    for whole, parts in sorted(parts_of(specs.values()).items()):
        name = name_of(whole)
        key = keys.get(name, name)
        if key not in shapes:
            raise _missing(name, whole, prefix, keys or shapes)
        for part in parts:
            _check(specs[part], whole, key, tuple(shapes[key]), dtypes[key], prefix)
            found[part] = key
    return _read(prefix, [(specs[name], key) for name, key in found.items()])


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
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"Cannot read the checkpoint {prefix}",
            expected="the prefix of its files, such as training/model.ckpt-1000",
            received=str(error).partition("\n")[0],
        ) from error


def _keys(reader: Any, prefix: str) -> dict[str, str]:
    """Returns under which keys a checkpoint of objects has the variables, by their full names; else nothing."""
    if not reader.has_tensor(_OBJECT_GRAPH):
        return {}
    graph = parse(TrackableObjectGraph, bytes(reader.get_tensor(_OBJECT_GRAPH)), f"the objects of {prefix}")
    attributes = [attribute for node in graph.nodes for attribute in node.attributes]
    return {a.full_name: a.checkpoint_key for a in attributes if a.full_name}


def _missing(name: str, variable: str, prefix: str, known: Mapping[str, Any]) -> CheckpointError:
    shown = ", ".join(sorted(known)[:10]) + (", ..." if len(known) > 10 else "")
    return CheckpointError(
        f"The value of variable {variable!r}, {name} is not found in checkpoint {prefix}",
        expected=f"one of the {len(known)} names {shown}",
        received=name,
        fix="Pass a name_transform_fn that returns the checkpoint's name of each variable",
    )


def _check(spec: VariableSpec, whole: str, key: str, shape: tuple[int, ...], dtype: tf.DType, prefix: str) -> None:
    wanted = spec.partition.full_shape if spec.partition else spec.shape
    if wanted != shape:
        raise CheckpointError(
            f"Shape of variable {whole} doesn't match with shape of tensor {key} in checkpoint {prefix}",
            expected=f"shape {wanted}",
            received=f"shape {shape}",
        )
    if tf.as_dtype(spec.dtype) != dtype:
        raise CheckpointError(
            f"Dtype of variable {whole} doesn't match with dtype of tensor {key} in checkpoint {prefix}",
            expected=spec.dtype,
            received=dtype.name,
        )


def _read(prefix: str, wanted: list[tuple[VariableSpec, str]]) -> dict[str, tf.Tensor]:
    if not wanted:
        return {}
    with tf.init_scope(), tf.device("CPU:0"):
        try:
            values = tf.raw_ops.RestoreV2(
                prefix=prefix,
                tensor_names=[key for _, key in wanted],
                shape_and_slices=[slice_text(spec) for spec, _ in wanted],
                dtypes=[tf.as_dtype(spec.dtype) for spec, _ in wanted],
            )
        except tf.errors.OpError as error:
            raise CheckpointError(f"Cannot read the checkpoint {prefix}", received=error.message) from error
    return {spec.name: value for (spec, _), value in zip(wanted, values, strict=True)}
