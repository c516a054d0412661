"""Values of variables in Keras' weight files, also of those that Keras cannot hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from hubkeras.errors import LayerError

if TYPE_CHECKING:
    from collections.abc import Mapping


def store_values(variables: Mapping[str, tf.Variable], store: Any) -> None:
    """Writes the values of variables to what Keras passes to `save_own_variables`."""
    for name, variable in variables.items():
        if variable.dtype == tf.string:
            # As one array of bytes: arrays of strings lose the zero bytes that a string of TensorFlow may end in.
            texts = [bytes(v) for v in np.asarray(variable.numpy(), object).ravel()]
            store[f"{_key(name)}#bytes"] = np.frombuffer(b"".join(texts), np.uint8)
            store[f"{_key(name)}#lengths"] = np.array([len(t) for t in texts], np.int64)
        else:
            # Not as an array: Keras makes its own copy of whatever it gets, and a table may be large.
            store[_key(name)] = variable.read_value()


def load_values(variables: Mapping[str, tf.Variable], store: Any, layer: str) -> None:
    """Assigns to variables what a weight file holds.

    A file written by tensorflow_hub's layer numbers the values instead of naming them; they are in the order of the
    module's variables.

    Args:
        variables: By name.
        store: What Keras passes to `load_own_variables`.
        layer: Name of the layer, for messages.

    Raises:
        LayerError: The file has other variables, or other shapes.
    """
    found = set(store.keys())
    if found and found == {str(i) for i in range(len(found))}:
        keys = dict(zip(variables, map(str, range(len(found))), strict=False))
        extra = len(found) - len(variables)
        if extra:
            raise LayerError(
                f"Cannot load the weights of layer {layer!r}",
                expected=f"{len(variables)} values",
                received=f"{len(found)} values",
                fix="The weights belong to another module",
            )
    else:
        keys = {name: _key(name) for name in variables}
    for name, variable in variables.items():
        _assign(variable, store, keys[name], name, layer)


def _assign(variable: tf.Variable, store: Any, key: str, name: str, layer: str) -> None:
    try:
        value = tf.constant(_read(variable, store, key), variable.dtype)
    except KeyError as error:
        raise LayerError(
            f"Cannot load the weights of layer {layer!r}",
            expected=f"a value of variable {name!r}",
            received=f"keys {sorted(store.keys())[:5]}",
            fix="The weights belong to another module",
        ) from error
    except (ValueError, TypeError, OverflowError) as error:
        raise LayerError(
            f"Cannot load variable {name!r} of layer {layer!r}",
            expected=f"values of dtype {variable.dtype.name}",
            received=f"{type(error).__name__}: {error}",
            fix="The weights are damaged: save the model again",
        ) from error
    if not variable.shape.is_compatible_with(value.shape):
        raise LayerError(
            f"Cannot load variable {name!r} of layer {layer!r}",
            expected=f"shape {variable.shape}",
            received=f"shape {value.shape}",
        )
    variable.assign(value)


def _read(variable: tf.Variable, store: Any, key: str) -> Any:
    if variable.dtype != tf.string:
        return np.asarray(store[key])
    lengths = np.asarray(store[f"{key}#lengths"])
    data = np.asarray(store[f"{key}#bytes"]).tobytes()
    if lengths.dtype.kind not in "iu" or (lengths < 0).any() or lengths.sum() != len(data):
        raise ValueError("lengths that are not those of the texts")
    ends = np.cumsum(lengths)
    texts = np.empty(len(lengths), object)
    texts[:] = [data[end - length : end] for end, length in zip(ends, lengths, strict=True)]
    return texts.reshape(variable.shape)  # pyright: ignore[reportArgumentType, reportCallIssue]


def _key(name: str) -> str:
    """Returns a variable's name as a key of a weight file, where "/" would make groups."""
    return name.replace("%", "%25").replace("/", "%2F").replace("#", "%23")
