"""What a module must be like to serve in a feature column, and how a batch of token lists is embedded by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.errors import ColumnError
from hubkeras.modules.images import get_expected_image_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from hubkeras.modules.spec import ModuleSpec

_COMBINERS = ("mean", "sqrtn", "sum")


def check_text_embedding(spec: ModuleSpec) -> None:
    """Refuses a module that does not embed texts.

    Raises:
        ColumnError: Its default signature is another one.
    """
    inputs, outputs = spec.get_input_info_dict(), spec.get_output_info_dict()
    issues = []
    if len(inputs) != 1:
        issues.append(f"it must have only one input, and has {sorted(inputs)}")
    else:
        (info,) = inputs.values()
        if info.dtype != tf.string or info.get_shape().rank != 1 or info.get_shape().as_list() != [None]:
            issues.append(f"it must have only one input of dtype string and shape (None,), and has {info}")
    _refuse("a text embedding", spec, issues + _output_issues(outputs, any_batch=False))


def check_image_embedding(spec: ModuleSpec, has_size: bool) -> None:
    """Refuses a module that does not embed images.

    Args:
        spec: The module.
        has_size: Whether the size of the images is known anyway.

    Raises:
        ColumnError: Its default signature is another one.
    """
    inputs, outputs = spec.get_input_info_dict(), spec.get_output_info_dict()
    issues = []
    if list(inputs) != ["images"] or inputs["images"].dtype != tf.float32:
        issues.append(f"it must have only one input, 'images' of dtype float32, and has {inputs}")
    elif not has_size:
        try:
            get_expected_image_size(spec)
        except ValueError as error:
            issues.append(f"it must tell the size of its images (get_expected_image_size: {error})")
    _refuse("an image embedding", spec, issues + _output_issues(outputs, any_batch=True))


def check_combiner(combiner: str) -> None:
    """Refuses a name that no combiner has.

    Raises:
        ColumnError: It is one.
    """
    if combiner not in _COMBINERS:
        raise ColumnError(
            "Cannot make a feature column: combiner must be 'mean', 'sqrtn' or 'sum'",
            expected=f"one of {list(_COMBINERS)}",
            received=f"combiner={combiner!r}",
        )


def embed_sparse(
    tokens: tf.SparseTensor, embed: Callable[[tf.Tensor], tf.Tensor], combiner: str, default_value: str | None
) -> tf.Tensor:
    """Embeds the tokens of each row, and combines the embeddings.

    Args:
        tokens: Strings of shape [batch, tokens].
        embed: From strings [n] to floats [n, size].
        combiner: One of "mean", "sqrtn", "sum".
        default_value: The token of rows without any; None if there are no such rows.

    Returns:
        Floats of shape [batch, size].
    """
    if default_value is not None:
        tokens = tf.sparse.fill_empty_rows(tokens, default_value)[0]
    numbers: Any = tf.range(tf.shape(tokens.indices)[0], dtype=tf.int32)
    ids = tf.SparseTensor(tokens.indices, numbers, tokens.dense_shape)
    return tf.compat.v1.nn.embedding_lookup_sparse(embed(tokens.values), ids, None, combiner=combiner)


def _output_issues(outputs: Any, any_batch: bool) -> list[str]:
    if "default" not in outputs:
        return [f"it must have an output 'default', and has {sorted(outputs)}"]
    info = outputs["default"]
    # As a list: without v2 behaviour an element of a shape is an object, also where it is unknown.
    shape = info.get_shape().as_list() if info.get_shape().rank == 2 else [None, None]
    if info.dtype == tf.float32 and shape[1] and (any_batch or shape[0] is None):
        return []
    return [f"it must have an output 'default' of dtype float32 and shape (None, size), and has {info}"]


def _refuse(what: str, spec: ModuleSpec, issues: list[str]) -> None:
    if issues:
        raise ColumnError(
            f"Cannot make a feature column: module {spec.description.label} is not {what}",
            expected="a default signature that maps a batch to vectors",
            received="; ".join(issues),
        )
