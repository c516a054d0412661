"""Inputs as users give them, made what a signature asks for, or refused by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import tensorflow as tf

from hubkeras.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hubkeras.functions.tensor_info import ParsedTensorInfo


def normalize(
    inputs: Any, infos: Mapping[str, ParsedTensorInfo], signature: str, arguments: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Returns the inputs of a call by name, converted to the tensors that the signature asks for.

    Args:
        inputs: As `by_name` takes them.
        infos: What the signature says about its inputs.
        signature: Its name.
        arguments: Further inputs by name.

    Raises:
        InputError: The inputs do not fit.
    """
    return convert(by_name(inputs, infos, signature, arguments), infos, signature)


def by_name(
    inputs: Any, infos: Mapping[str, ParsedTensorInfo], signature: str, arguments: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Returns the inputs of a call by name.

    Args:
        inputs: A dict with exactly the signature's keys; a bare value if it has one input; None if it has none.
        infos: What the signature says about its inputs.
        signature: Its name.
        arguments: Further inputs by name; a bare value is then the only one that they leave out.

    Returns:
        The same inputs as a dict.

    Raises:
        InputError: Keys are missing or not known, or a bare value does not do.
    """
    names = sorted(infos)
    if arguments:
        # Once they are put together as a dict, the checks below name what is missing or not known.
        rest = infos.keys() - arguments.keys()
        if isinstance(inputs, dict):
            inputs = {**arguments, **inputs}
        elif len(rest) == (inputs is not None) or arguments.keys() - infos.keys():
            inputs = {**arguments, **(dict.fromkeys(rest, inputs) if len(rest) == 1 else {})}
    if isinstance(inputs, dict):
        missing, extra = sorted(infos.keys() - inputs.keys()), sorted(map(str, inputs.keys() - infos.keys()))
        if missing or extra:
            raise InputError(
                f"Cannot call signature {signature!r}: inputs missing: {missing}, not known: {extra}",
                expected=f"a dict with exactly the keys {names}",
                received=f"keys {sorted(map(str, inputs))}",
            )
        return dict(inputs)
    if len(infos) == 1 and inputs is not None and not arguments:
        return {names[0]: inputs}
    if infos:
        raise InputError(
            f"Cannot call signature {signature!r}: it expects {'multiple inputs' if len(infos) > 1 else 'an input'}",
            expected=f"a dict with exactly the keys {names}",
            received=f"{type(inputs).__name__}" if inputs is not None else "nothing",
            fix=f"Call it with {{{', '.join(f'{n!r}: ...' for n in names)}}}",
        )
    if inputs is not None:
        raise InputError(
            f"Cannot call signature {signature!r}: it expects no inputs",
            expected="no argument, or an empty dict",
            received=type(inputs).__name__,
        )
    return {}


def convert(inputs: Mapping[str, Any], infos: Mapping[str, ParsedTensorInfo], signature: str) -> dict[str, Any]:
    """Converts inputs to the tensors that a signature asks for.

    Python and numpy values take the signature's dtype; a tensor must have it already.

    Args:
        inputs: Values by name.
        infos: What the signature says about its inputs.
        signature: Its name.

    Returns:
        Tensors, SparseTensors and RaggedTensors by name.

    Raises:
        InputError: A value has the wrong kind, dtype or shape.
    """
    return {
        name: value if _fits(value := inputs[name], info) else _Converter(signature, name, info).convert(value)
        for name, info in infos.items()
    }


def _fits(value: Any, info: ParsedTensorInfo) -> bool:
    """Tells whether a value is a tensor as it is asked for, as in most calls."""
    return (
        isinstance(value, tf.Tensor)
        and not info.is_composite
        and value.dtype == info.dtype
        and info.get_shape().is_compatible_with(value.shape)
    )


class _Converter:
    def __init__(self, signature: str, name: str, info: ParsedTensorInfo) -> None:
        self.where, self.info = f"input {name!r} of signature {signature!r}", info

    def convert(self, given: Any) -> Any:
        value = given
        if self.info.is_sparse:
            value = self._sparse(value)
        elif self.info.is_composite:
            value = self._composite(value)
        else:
            value = self._dense(value)
        if value.dtype != self.info.dtype:
            self._refuse(f"{value.dtype.name}", "Cast it with tf.cast")
        if not self.info.get_shape().is_compatible_with(value.shape):
            self._refuse(f"shape {value.shape}", _shape_hint(given, self.info.get_shape(), value.shape))
        return value

    def _dense(self, value: Any) -> tf.Tensor:
        if _kind(value) != "a Tensor":
            self._refuse(_kind(value))
        if type(value).__name__ == "KerasTensor":  # of Keras, which this floor does not know
            self._refuse("a KerasTensor", "Wrap the module in hubkeras.KerasLayer to use it in a functional model")
        if isinstance(value, tf.Tensor):
            return value
        if isinstance(value, tf.Variable) or (hasattr(value, "__tf_tensor__") and hasattr(value, "dtype")):
            return tf.convert_to_tensor(value)
        if hasattr(value, "__array__") and not self.info.dtype.is_quantized:  # numpy has no quantised dtypes
            array = np.asarray(value)
            if array.dtype != object:
                return self._from_array(array, f"{type(value).__name__} of dtype {array.dtype}")
            value = array.tolist()  # TensorFlow would read the number in an object "1"
        return self._from_python(value)

    def _from_python(self, value: Any) -> tf.Tensor:
        try:
            tensor = tf.convert_to_tensor(value, self.info.dtype)
        except (TypeError, ValueError) as error:
            received = f"{type(value).__name__}: {str(error).splitlines()[0]}"
            try:  # numpy can cast what TensorFlow will not, such as a list of numpy floats to half
                array = np.asarray(value)
            except ValueError:  # rows of several lengths
                self._refuse(received)
            if not _can_hold(self.info.dtype, array.dtype):
                self._refuse(received)
            return self._from_array(array, received)
        if self.info.dtype.is_integer and not any(map(tf.is_tensor, tf.nest.flatten(value))):
            self._check_range(np.asarray(value))  # TensorFlow wraps -1 around, and numpy's integers in a list
        return tensor

    def _from_array(self, array: np.ndarray[Any, Any], received: str) -> tf.Tensor:
        """Converts what the dtype can hold without loss, but for the last digits of floats."""
        target = self.info.dtype
        if not _can_hold(target, array.dtype) and not _is_exact(target, array):
            self._refuse(received, "If the loss is meant, cast it with astype" if array.dtype.kind in "fciu" else "")
        if target.is_integer:
            self._check_range(array)
        return tf.convert_to_tensor(array if target == tf.string else array.astype(target.as_numpy_dtype), target)

    def _check_range(self, array: np.ndarray[Any, Any]) -> None:
        low, high = self.info.dtype.min, self.info.dtype.max
        if array.size and (int(array.min()) < low or int(array.max()) > high):
            self._refuse(f"values from {array.min()} to {array.max()}", f"This dtype holds {low} to {high}")

    def _sparse(self, value: Any) -> tf.SparseTensor:
        if isinstance(value, tf.compat.v1.SparseTensorValue):
            value = tf.SparseTensor.from_value(value)
        if not isinstance(value, tf.SparseTensor):
            self._refuse(_kind(value), "Make one with tf.sparse.from_dense or tf.SparseTensor")
        return value

    def _composite(self, value: Any) -> Any:
        spec = self.info.type_spec
        if isinstance(spec, tf.RaggedTensorSpec):
            # What a session of TF1 returned: numpy inside, so it is converted like numpy, and not refused by dtype.
            if isinstance(value, tf.compat.v1.ragged.RaggedTensorValue):
                flat = np.asarray(value.flat_values)
                flat = self._from_array(flat, f"{_kind(value)} of dtype {flat.dtype}")
                value = tf.RaggedTensor.from_nested_row_splits(flat, value.nested_row_splits)
            if not isinstance(value, tf.RaggedTensor):
                self._refuse(_kind(value), "Make one with tf.ragged.constant or tf.RaggedTensor.from_tensor")
            # Whether splits are int32 or int64 is no matter of the values, and nobody who makes a tensor thinks of it.
            if value.dtype == self.info.dtype:
                value = value.with_row_splits_dtype(spec.row_splits_dtype)
        if value.dtype == self.info.dtype and not spec.is_compatible_with(value):
            self._refuse(f"{tf.type_spec_from_value(value)}")
        return value

    def _refuse(self, received: str, fix: str = "") -> NoReturn:
        kind = "a SparseTensor" if self.info.is_sparse else "a Tensor"
        expected = f"{kind} of dtype {self.info.dtype.name} and shape {self.info.get_shape()}"
        if self.info.is_composite and not self.info.is_sparse:
            expected = str(self.info.type_spec)
        raise InputError(f"Cannot convert {self.where}", expected=expected, received=received, fix=fix)


def _can_hold(target: tf.DType, dtype: np.dtype[Any]) -> bool:
    try:
        source = tf.as_dtype(dtype)
    except TypeError:  # dates and the like
        return False
    # TensorFlow itself would cast all numpy arrays: 1.7 to 1 for an integer, "1" to a number, any number to True.
    whole = source.is_integer or source.is_bool
    if target.is_complex:
        return whole or source.is_floating or source.is_complex
    if target.is_floating:
        return whole or source.is_floating
    return whole if target.is_integer else source == target


def _is_exact(target: tf.DType, array: np.ndarray[Any, Any]) -> bool:
    """Tells whether numbers stand for what another kind of dtype has: whole floats, 0 and 1 for booleans."""
    if array.dtype.kind not in "fiu":
        return False
    if target.is_integer:
        return bool(np.all(np.isfinite(array) & (array == np.trunc(array))))
    return target.is_bool and bool(np.all((array == 0) | (array == 1)))


def _kind(value: Any) -> str:
    if isinstance(value, (tf.SparseTensor, tf.compat.v1.SparseTensorValue)):
        return "a SparseTensor"
    if isinstance(value, (tf.RaggedTensor, tf.compat.v1.ragged.RaggedTensorValue)):
        return "a RaggedTensor"
    return "nothing" if value is None else "a Tensor"


def _shape_hint(given: Any, expected: tf.TensorShape, received: tf.TensorShape) -> str:
    if expected.rank is None or received.rank is None:
        return ""
    if has_extra_axis(expected, received):
        return "Take the last axis off with tf.squeeze(x, -1)"
    if received.rank != expected.rank - 1:
        return ""
    is_bare = received.rank == 0 and isinstance(given, (str, bytes, int, float))
    return f"Write [{given!r}], or x[tf.newaxis] for a tensor x" if is_bare else "Add the batch axis with x[tf.newaxis]"


def has_extra_axis(expected: tf.TensorShape, received: tf.TensorShape) -> bool:
    """Tells whether a shape differs in a last axis of 1 from what a signature asks for."""
    if expected.rank is None or received.rank is None:
        return False
    return received.rank == expected.rank + 1 and received[-1] == 1
