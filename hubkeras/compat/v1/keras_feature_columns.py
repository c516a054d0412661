"""Modules as feature columns with TensorFlow 2: for `hubkeras.KerasLayer`, and for layers over `tf.feature_column`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.compat.v1.callable_column import CallableColumn, ColumnState
from hubkeras.compat.v1.column_checks import check_combiner, embed_sparse
from hubkeras.graphs.tensorflow_internals import dense_column_classes, makes_trainable
from hubkeras.modules.images import get_expected_image_size
from hubkeras.modules.loader import load

if TYPE_CHECKING:
    from collections.abc import Callable

_, _Column = dense_column_classes()


class _LayerColumn(CallableColumn, _Column):
    """What the columns have in common: they are columns of `tf.feature_column`, and functions of features besides."""

    module_path: Any

    def load_module(self) -> Any:
        """Loads the module, with variables of its own."""
        return load(self.module_path)

    @property
    def _resource_name(self) -> str:
        return f"hub_column_{self.name}"

    def create_state(self, state_manager: Any) -> None:
        """Makes the module part of the layer that the column is in."""
        trainable = self.trainable and makes_trainable(state_manager)
        state_manager.add_resource(self, self._resource_name, ColumnState(self, trainable))

    def get_dense_tensor(self, transformation_cache: Any, state_manager: Any) -> tf.Tensor:
        """Returns the embeddings."""
        state = state_manager.get_resource(self, self._resource_name)
        return self._embed(transformation_cache.get(self, state_manager), state)

    @cached_property
    def variable_shape(self) -> tf.TensorShape:
        """Shape of the embeddings without the batch axis."""
        traced = tf.function(lambda x: self(x), autograph=False).get_concrete_function(self._feature_spec)
        return traced.output_shapes[1:]

    @property
    def _feature_spec(self) -> tf.TypeSpec:
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the column."""
        config = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**config, "module_path": os.fspath(self.module_path)}


@dataclass(frozen=True)
class _TextEmbeddingColumnV2(_LayerColumn):
    key: Any
    module_path: Any
    output_key: str | None
    trainable: bool

    @property
    def parse_example_spec(self) -> dict[Any, Any]:
        return {self.key: tf.io.FixedLenFeature([1], tf.string)}

    @property
    def _feature_spec(self) -> tf.TypeSpec:
        return tf.TensorSpec([None], tf.string)

    def _embed(self, feature: Any, module: Callable[[Any], tf.Tensor]) -> tf.Tensor:
        return module(tf.reshape(feature, [-1]))


@dataclass(frozen=True)
class _SparseTextEmbeddingColumnV2(_LayerColumn):
    key: Any
    module_path: Any
    combiner: str
    default_value: str | None
    output_key: str | None
    trainable: bool

    def __post_init__(self) -> None:
        check_combiner(self.combiner)

    @property
    def parse_example_spec(self) -> dict[Any, Any]:
        return {self.key: tf.io.VarLenFeature(tf.string)}

    @property
    def _feature_spec(self) -> tf.TypeSpec:
        return tf.SparseTensorSpec([None, None], tf.string)

    def _embed(self, feature: Any, module: Callable[[Any], tf.Tensor]) -> tf.Tensor:
        return embed_sparse(feature, module, self.combiner, self.default_value)


@dataclass(frozen=True)
class _ImageEmbeddingColumnV2(_LayerColumn):
    key: Any
    module_path: Any
    image_size: tuple[int, int] | None
    output_key: str | None
    trainable: bool

    @property
    def _size(self) -> list[int]:
        return list(self.image_size or get_expected_image_size(self.loaded))

    @property
    def parse_example_spec(self) -> dict[Any, Any]:
        return {self.key: tf.io.FixedLenFeature([*self._size, 3], tf.float32)}

    @property
    def _feature_spec(self) -> tf.TypeSpec:
        return tf.TensorSpec([None, *self._size, 3], tf.float32)

    def _embed(self, feature: Any, module: Callable[[Any], tf.Tensor]) -> tf.Tensor:
        return module(feature)


def text_embedding_column_v2(
    key: Any, module_path: str | os.PathLike[str], output_key: str | None = None, trainable: bool = False
) -> _TextEmbeddingColumnV2:
    """Makes a feature column that embeds texts, for TensorFlow 2.

    In a model of Keras 3, `hubkeras.KerasLayer(column)` is the layer: it takes a dict of features, or the feature
    itself. A layer over `tf.feature_column`, as the package `tf_keras` still has it, takes the column as it is.

    Args:
        key: Name of the feature: strings of shape [batch] or [batch, 1].
        module_path: A handle, of a module in TF1 Hub format or of a TF2 SavedModel.
        output_key: Which output to use where the module gives several; None is "default".
        trainable: Whether the module is trained with the model.

    Returns:
        The column.

    Example:
        >>> column = text_embedding_column_v2("comment", "path/to/module", trainable=True)  # doctest: +SKIP
        >>> inputs = {"comment": keras.Input([], dtype="string")}  # doctest: +SKIP
        >>> embeddings = hubkeras.KerasLayer(column, trainable=True)(inputs)  # doctest: +SKIP

    It does not load the module before it is used, and so cannot tell earlier that it does not fit.
    """
    return _TextEmbeddingColumnV2(key, module_path, output_key, trainable)


def sparse_text_embedding_column_v2(
    key: Any,
    module_path: str | os.PathLike[str],
    combiner: str,
    default_value: str | None,
    output_key: str | None = None,
    trainable: bool = False,
) -> _SparseTextEmbeddingColumnV2:
    """Makes a feature column that embeds each of several tokens and combines them, for TensorFlow 2.

    It is used as that of `text_embedding_column_v2`.

    Args:
        key: Name of the feature: a SparseTensor of strings of shape [batch, tokens].
        module_path: A handle.
        combiner: "mean", "sqrtn" or "sum": how the embeddings of one row are combined.
        default_value: The token of rows without any; None if there are no such rows.
        output_key: Which output to use where the module gives several; None is "default".
        trainable: Whether the module is trained with the model.

    Returns:
        The column.

    Raises:
        ColumnError: The combiner is not known.

    Example:
        >>> column = sparse_text_embedding_column_v2("words", "path/to/module", "mean", "")  # doctest: +SKIP

    It does not look at the order of the tokens.
    """
    return _SparseTextEmbeddingColumnV2(key, module_path, combiner, default_value, output_key, trainable)


def image_embedding_column_v2(
    key: Any,
    module_path: str | os.PathLike[str],
    image_size: tuple[int, int] | None = None,
    output_key: str | None = None,
    trainable: bool = False,
) -> _ImageEmbeddingColumnV2:
    """Makes a feature column that embeds images, for TensorFlow 2.

    It is used as that of `text_embedding_column_v2`.

    Args:
        key: Name of the feature: float32 of shape [batch, height, width, 3] with values in [0, 1].
        module_path: A handle.
        image_size: Height and width in pixels, for a module that tells none or takes several.
        output_key: Which output to use where the module gives several; None is "default".
        trainable: Whether the module is trained with the model.

    Returns:
        The column.

    Example:
        >>> column = image_embedding_column_v2("photo", "path/to/module")  # doctest: +SKIP

    It neither decodes nor resizes images.
    """
    size = tuple(image_size) if image_size is not None else None
    return _ImageEmbeddingColumnV2(key, module_path, size, output_key, trainable)  # pyright: ignore[reportArgumentType]
