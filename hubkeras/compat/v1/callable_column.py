"""Columns as functions of features, with what `hubkeras.KerasLayer` looks for in a callable, and as state of layers."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.compat.v1.embedding_column import EmbeddingColumn
from hubkeras.errors import ColumnError
from hubkeras.modules.module import Module

if TYPE_CHECKING:
    from collections.abc import Callable


class CallableColumn(EmbeddingColumn):
    """A column that is also a function of features, with variables, trainable ones, and losses."""

    trainable: bool
    output_key: str | None
    """Which of several outputs is the embedding."""

    def __call__(self, features: Any, training: bool = False) -> tf.Tensor:
        """Embeds a batch.

        Args:
            features: A dict with the feature under the column's key; or the feature itself.
            training: Whether the graph for training is used.

        Returns:
            Floats of shape [batch, size].
        """
        feature = features[self.key] if isinstance(features, dict) else features
        return self._embed(feature, lambda batch: self.call_module(self.loaded, batch, training))

    def call_module(self, loaded: Any, batch: Any, training: bool = False) -> tf.Tensor:
        """Returns what a copy of the module makes of a batch, the output that is the embedding."""
        if isinstance(loaded, Module):
            return self._chosen(loaded(batch, training=training, as_dict=self.output_key is not None))
        return self._chosen(loaded(batch, training=training))

    @cached_property
    def loaded(self) -> Any:
        """The module, loaded when it is first asked for."""
        return self.load_module()

    def load_module(self) -> Any:
        """Loads the module, with variables of its own."""
        raise NotImplementedError

    def _embed(self, feature: Any, module: Callable[[Any], tf.Tensor]) -> tf.Tensor:
        raise NotImplementedError

    def _chosen(self, outputs: Any) -> Any:
        if self.output_key is not None and isinstance(outputs, dict) and self.output_key in outputs:
            return outputs[self.output_key]
        if self.output_key is not None or not tf.is_tensor(outputs):
            raise ColumnError(
                f"Cannot use the module of feature column {self.name!r}: no single result",
                expected="a module that returns a tensor, or output_key= one of its outputs",
                received=f"output_key={self.output_key!r}, and outputs "
                f"{sorted(outputs) if isinstance(outputs, dict) else type(outputs).__name__}",
            )
        return outputs

    @property
    def variables(self) -> list[tf.Variable]:
        """The variables of the module."""
        return list(self.loaded.variables)

    @property
    def trainable_variables(self) -> list[tf.Variable]:
        """Those that are trained, none unless the column is trainable."""
        return list(self.loaded.trainable_variables) if self.trainable else []

    @property
    def regularization_losses(self) -> list[Callable[[], tf.Tensor]]:
        """The module's losses as functions, none unless the column is trainable."""
        return list(self.loaded.regularization_losses) if self.trainable else []


class ColumnState(tf.Module):
    """A module of a column as part of a layer over `tf.feature_column`, whose weights its variables become.

    Args:
        column: The column.
        trainable: Whether the module is trained with the layer.
    """

    def __init__(self, column: CallableColumn, trainable: bool) -> None:
        super().__init__(name=column.name)
        self._column, self._is_trained = column, trainable
        self.module = column.load_module()

    def __call__(self, batch: Any) -> tf.Tensor:
        """Returns what the module makes of a batch."""
        return self._column.call_module(self.module, batch)

    @property
    def variables(self) -> tuple[tf.Variable, ...]:
        """The variables of the module."""
        return tuple(self.module.variables)

    @property
    def trainable_variables(self) -> tuple[tf.Variable, ...]:
        """Those that are trained."""
        return tuple(self.module.trainable_variables) if self._is_trained else ()

    @property
    def non_trainable_variables(self) -> tuple[tf.Variable, ...]:
        """Those that are not."""
        trained = {id(variable) for variable in self.trainable_variables}
        return tuple(variable for variable in self.variables if id(variable) not in trained)
