"""Whether a layer may be trained under the strategy that is running it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

from hubkeras.errors import LayerError

if TYPE_CHECKING:
    from collections.abc import Iterable


def require_scope(layer: str, variables: Iterable[tf.Variable]) -> None:
    """Refuses to train, on several replicas, variables that the strategy has not made a part for each of.

    Args:
        layer: Name of the layer, for messages.
        variables: Its variables.

    Raises:
        LayerError: A variable was made outside of the strategy's scope.
    """
    # In cross-replica context nothing runs once per replica: a model is built there, or called as a whole.
    strategy = tf.distribute.get_strategy()
    if strategy.num_replicas_in_sync == 1 or tf.distribute.in_cross_replica_context():
        return
    if all(strategy.extended.variable_created_in_scope(v) for v in variables if isinstance(v, tf.Variable)):
        return
    raise LayerError(
        f"Cannot train layer {layer!r} under {type(strategy).__name__}",
        expected="variables made in the scope of the strategy",
        received="variables made outside of it",
        fix="Make the layer, and load the module that it is made from, inside `with strategy.scope():`",
    )
