"""`hubkeras.load`: from a handle to a module."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hubkeras.functions.initial_values import initial_state
from hubkeras.functions.tracebacks import ShortTracebacks
from hubkeras.graphs.first_look import look_at
from hubkeras.graphs.gc_pause import paused_collection
from hubkeras.graphs.op_policy import OpPolicy
from hubkeras.handles.resolver import resolve
from hubkeras.modules.module import Module
from hubkeras.modules.spec import ModuleSpec
from hubkeras.modules.tf2_loader import load_tf2
from hubkeras.modules.variants import choose_tags, variable_specs
from hubkeras.savedmodel.reader import read_module

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Iterable

    import tensorflow as tf


def load(
    handle: str | os.PathLike[str] | ModuleSpec,
    tags: Iterable[str] | None = None,
    options: tf.saved_model.LoadOptions | None = None,
    *,
    train_tags: Iterable[str] | None = None,
    safe_mode: bool = True,
    allow_ops: Collection[str] = (),
) -> Any:
    """Loads a module.

    Args:
        handle: Anything that `hubkeras.resolve` takes; or a `ModuleSpec`, whose variables start with the values of its
            checkpoint or, without one, of their initializers. Those that are random and have no seed of their own
            follow `tf.random.set_seed` and `keras.utils.set_random_seed`.
        tags: The graph variant for inference. None chooses the one without tags, else the only one there is.
        options: Passed to `tf.saved_model.load` for a TF2 SavedModel; a TF1 module needs none.
        train_tags: The graph variant for `training=True`. None chooses `tags` with "train" added if there is one, else
            the same as `tags`.
        safe_mode: Whether a module with ops that reach out of the graph (to files, the network, Python) is refused.
        allow_ops: Names of such ops that are allowed all the same. What the spec's own policy allows is allowed too.

    Returns:
        A `Module`; for a TF2 SavedModel an object of the same interface over what `tf.saved_model.load` returns.

    Raises:
        HandleError: The handle has no known form.
        FormatError: There is no module, or a broken one.
        TagsError: No graph variant has these tags.
        UnsafeModuleError: The module holds ops that nobody allowed.

    Example:
        >>> module = load("path/to/module")  # doctest: +SKIP
        >>> module.get_signature_names()  # doctest: +SKIP
        ['default']

    It does not build any signature: that happens when one is first called. Safe mode is no sandbox.
    """
    policy = OpPolicy.of(safe_mode=safe_mode, allow_ops=allow_ops)
    spec = handle if isinstance(handle, ModuleSpec) else None
    policy = policy if spec is None else policy.widened(spec.policy)
    # Reading makes very many small objects that all stay: the collector would walk over them again and again.
    with ShortTracebacks(), paused_collection():
        directory = "" if isinstance(handle, ModuleSpec) else resolve(handle)
        description = read_module(directory) if spec is None else spec.description
        look_at(description, policy)
        if description.format == "tf2":
            return load_tf2(description, tags, options, policy)
        # All variants' variables are made, also of those not chosen: they are one state, and an export writes all.
        infer, train = choose_tags(description, tags, train_tags)
        state = initial_state(description, variable_specs(description, infer, train), policy)
        return Module(description, state, infer, train, policy)
