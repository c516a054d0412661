"""Modules as feature columns of TensorFlow 1: for `tf.compat.v1.feature_column.input_layer` and `linear_model`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.compat.v1.callable_column import CallableColumn
from hubkeras.compat.v1.column_checks import check_combiner, check_image_embedding, check_text_embedding, embed_sparse
from hubkeras.compat.v1.module import Module, as_module_spec
from hubkeras.errors import UnsupportedError
from hubkeras.graphs.tensorflow_internals import dense_column_classes, makes_trainable
from hubkeras.modules.images import get_expected_image_size
from hubkeras.modules.loader import load

if TYPE_CHECKING:
    from collections.abc import Callable

    from hubkeras.modules.spec import ModuleSpec

_V1Column, _V2Column = dense_column_classes()
_RESOURCE = "module"


class _ModuleColumn(CallableColumn, _V1Column, _V2Column):
    """What the columns have in common. Those with private names are TensorFlow's protocol for columns of TF1."""

    module_spec_path: Any
    module_spec: ModuleSpec
    trainable = False
    output_key = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "module_spec", as_module_spec(self.module_spec_path))
        self._check()

    def _check(self) -> None:
        raise NotImplementedError

    def load_module(self) -> Any:
        """Loads the module, with variables of its own."""
        return load(self.module_spec)

    @property
    def dtype(self) -> tf.DType:
        """The dtype of the embeddings."""
        return tf.float32

    @property
    def variable_shape(self) -> tf.TensorShape:
        """Shape of the embeddings without the batch axis."""
        return self.module_spec.get_output_info_dict()["default"].get_shape()[1:]

    @property
    def _variable_shape(self) -> tf.TensorShape:
        return self.variable_shape

    @property
    def _parse_example_spec(self) -> dict[Any, Any]:
        return self.parse_example_spec

    def _transform_feature(self, inputs: Any) -> Any:
        return inputs.get(self.key)

    def create_state(self, state_manager: Any) -> None:
        """Adds the module to the graph."""
        trainable = self.trainable and makes_trainable(state_manager)
        state_manager.add_resource(self, _RESOURCE, Module(self.module_spec, trainable=trainable))

    def _get_dense_tensor(
        self, inputs: Any, weight_collections: Any = None, trainable: bool | None = None
    ) -> tf.Tensor:
        del weight_collections
        return self._embed(inputs.get(self), Module(self.module_spec, trainable=bool(self.trainable and trainable)))

    def get_dense_tensor(self, transformation_cache: Any, state_manager: Any) -> tf.Tensor:
        """Returns the embeddings."""
        module = state_manager.get_resource(self, _RESOURCE)
        return self._embed(transformation_cache.get(self, state_manager), module)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the column.

        Raises:
            UnsupportedError: The module was not given by a handle.
        """
        if not isinstance(self.module_spec_path, (str, os.PathLike)):
            raise UnsupportedError(
                f"Cannot make a config of the feature column {self.name!r}",
                expected="a column that was made with a handle as module_spec",
                received=f"module_spec of type {type(self.module_spec_path).__name__}",
            )
        config = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**config, "module_spec_path": os.fspath(self.module_spec_path)}


@dataclass(frozen=True)
class _TextEmbeddingColumn(_ModuleColumn):
    key: Any
    module_spec_path: Any
    trainable: bool

    def _check(self) -> None:
        check_text_embedding(self.module_spec)

    @property
    def parse_example_spec(self) -> dict[Any, Any]:
        return {self.key: tf.io.FixedLenFeature([1], tf.string)}

    def _embed(self, feature: Any, module: Callable[[Any], tf.Tensor]) -> tf.Tensor:
        return module(tf.reshape(feature, shape=[-1]))


@dataclass(frozen=True)
class _SparseTextEmbeddingColumn(_ModuleColumn):
    key: Any
    module_spec_path: Any
    combiner: str
    default_value: str | None
    trainable: bool

    def _check(self) -> None:
        check_text_embedding(self.module_spec)
        check_combiner(self.combiner)

    @property
    def parse_example_spec(self) -> dict[Any, Any]:
        return {self.key: tf.io.VarLenFeature(tf.string)}

    def _embed(self, feature: Any, module: Callable[[Any], tf.Tensor]) -> tf.Tensor:
        return embed_sparse(feature, module, self.combiner, self.default_value)


@dataclass(frozen=True)
class _ImageEmbeddingColumn(_ModuleColumn):
    key: Any
    module_spec_path: Any
    image_size: tuple[int, int] | None

    def _check(self) -> None:
        check_image_embedding(self.module_spec, has_size=self.image_size is not None)

    @property
    def parse_example_spec(self) -> dict[Any, Any]:
        height, width = self.image_size or get_expected_image_size(self.module_spec)
        return {self.key: tf.io.FixedLenFeature([height, width, 3], tf.float32)}

    def _embed(self, feature: Any, module: Callable[[Any], tf.Tensor]) -> tf.Tensor:
        return module({"images": feature})


def text_embedding_column(
    key: Any, module_spec: str | os.PathLike[str] | ModuleSpec, trainable: bool = False
) -> _TextEmbeddingColumn:
    """Makes a feature column that embeds texts by a module.

    The module takes a batch of strings, shape [batch], and returns float32 [batch, size] with a known size.

    Args:
        key: Name of the feature, strings of shape [batch] or [batch, 1]; or another feature column.
        module_spec: A `ModuleSpec`, or a handle.
        trainable: Whether the module is trained with the model.

    Returns:
        The column, for `tf.compat.v1.feature_column.input_layer` and `linear_model`.

    Raises:
        ColumnError: The module's default signature is another one.

    Example:
        >>> column = text_embedding_column("comment", "path/to/module")  # doctest: +SKIP
        >>> tf.compat.v1.feature_column.input_layer({"comment": ["so good"]}, [column])  # doctest: +SKIP

    There it builds a graph of TensorFlow 1. In a model of Keras 3, `hubkeras.KerasLayer(column)` is a layer that takes
    a dict of features, or the feature itself.
    """
    return _TextEmbeddingColumn(key, module_spec, trainable)


def sparse_text_embedding_column(
    key: Any,
    module_spec: str | os.PathLike[str] | ModuleSpec,
    combiner: str,
    default_value: str | None,
    trainable: bool = False,
) -> _SparseTextEmbeddingColumn:
    """Makes a feature column that embeds each of several tokens by a module, and combines them.

    Args:
        key: Name of the feature, a SparseTensor of strings of shape [batch, tokens]; or another feature column.
        module_spec: A `ModuleSpec`, or a handle, as for `text_embedding_column`.
        combiner: "mean", "sqrtn" or "sum": how the embeddings of one row are combined.
        default_value: The token of rows without any; None if there are no such rows.
        trainable: Whether the module is trained with the model.

    Returns:
        The column, for `tf.compat.v1.feature_column.input_layer` and `linear_model`.

    Raises:
        ColumnError: The module's default signature does not fit, or the combiner is not known.

    Example:
        >>> column = sparse_text_embedding_column("words", "path/to/module", "mean", "")  # doctest: +SKIP

    It does not look at the order of the tokens.
    """
    return _SparseTextEmbeddingColumn(key, module_spec, combiner, default_value, trainable)


def image_embedding_column(
    key: Any, module_spec: str | os.PathLike[str] | ModuleSpec, image_size: tuple[int, int] | None = None
) -> _ImageEmbeddingColumn:
    """Makes a feature column that embeds images by a module, which is not trained.

    The module takes float32 [batch, height, width, 3] with values in [0, 1] as "images", and returns float32
    [batch, size] with a known size.

    Args:
        key: Name of the feature with the images; or another feature column.
        module_spec: A `ModuleSpec`, or a handle.
        image_size: Height and width in pixels, for a module that tells none or takes several.

    Returns:
        The column, for `tf.compat.v1.feature_column.input_layer` and `linear_model`.

    Raises:
        ColumnError: The module's default signature is another one.

    Example:
        >>> column = image_embedding_column("photo", "path/to/module")  # doctest: +SKIP

    It neither decodes nor resizes images.
    """
    size = tuple(image_size) if image_size is not None else None
    return _ImageEmbeddingColumn(key, module_spec, size)  # pyright: ignore[reportArgumentType]
