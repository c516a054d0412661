"""The dtype policy of a layer, by which Keras makes the input of a Sequential that the layer is first in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from hubkeras.functions.tensor_info import ParsedTensorInfo


def choose_policy(
    dtype: Any, is_first: bool, options: Sequence[Mapping[str, ParsedTensorInfo]], given: Collection[str]
) -> Any:
    """Returns the policy: the only input's dtype where it must be that, else what the user says.

    Floats are cast to the signature's, so their policy is the user's, unless the input is made at once.

    Args:
        dtype: What the user says.
        is_first: Whether the layer was told its input's shape, and makes the input at once.
        options: What is known of the inputs: of each kind of inputs that there is, each by its name.
        given: Names of inputs that the layer's arguments set.
    """
    # A Sequential gives its input the compute dtype of its first layer: of a layer over strings or ids that must be
    # the signature's, or the input would be a float.
    dtypes = {tuple(info.dtype for name, info in infos.items() if name not in given) for infos in options}
    (only,) = dtypes.pop() if len(dtypes) == 1 and len(min(dtypes)) == 1 else (None,)
    if only is not None and (is_first or (not only.is_floating and _is_policy(only))):
        return only.name
    return dtype.name if isinstance(dtype, tf.DType) else dtype


def _is_policy(dtype: tf.DType) -> bool:
    try:
        return bool(keras.DTypePolicy(dtype.name))
    except ValueError:  # quantised ones
        return False
