"""A module as a function of numpy values, for TensorFlow 1."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.compat.v1.module import Module, chosen_output
from hubkeras.errors import SignatureError
from hubkeras.modules.inputs import by_name

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Iterable, Iterator

    from hubkeras.functions.tensor_info import ParsedTensorInfo
    from hubkeras.modules.spec import ModuleSpec


@contextmanager
def eval_function_for_module(
    spec: str | os.PathLike[str] | ModuleSpec,
    tags: Iterable[str] | None = None,
    *,
    safe_mode: bool = True,
    allow_ops: Collection[str] = (),
) -> Iterator[Callable[..., Any]]:
    """Gives a function that runs a module on values, in a graph and a session of its own.

    All signatures are applied and the variables and tables initialized on entry; the session closes on exit.

    Args:
        spec: A `ModuleSpec`, or a handle.
        tags: Tags of the graph variant; None is the variant without tags.
        safe_mode: Whether a module that a handle names is refused if it holds ops that reach out of the graph.
        allow_ops: Names of such ops that are allowed all the same.

    Yields:
        A function with the arguments of `Module.__call__`, whose inputs and outputs are values as
        `tf.compat.v1.Session.run` takes and gives them.

    Raises:
        TagsError: No graph variant has these tags.
        UnsafeModuleError: The module holds ops that nobody allowed.

    Example:
        >>> with eval_function_for_module("path/to/module") as embed:  # doctest: +SKIP
        ...     embed(["a text"]).shape  # doctest: +SKIP
        (1, 128)

    It does not train. With eager execution `hubkeras.load` gives such a function without a session.
    """
    caller = tf.compat.v1.get_default_graph()
    with tf.Graph().as_default():
        module = Module(spec, tags=tags, safe_mode=safe_mode, allow_ops=allow_ops)
        inputs: dict[str, dict[str, Any]] = {}
        outputs: dict[str, dict[str, Any]] = {}
        for signature in module.get_signature_names():
            with tf.compat.v1.variable_scope(None, default_name=_SCOPE):
                infos = module.get_input_info_dict(signature)
                inputs[signature] = {name: placeholder(info) for name, info in infos.items()}
                outputs[signature] = module(inputs[signature], signature=signature, as_dict=True)
        with tf.compat.v1.train.SingularMonitoredSession() as session:

            def run(
                values: Any = None, _sentinel: None = None, signature: str | None = None, as_dict: bool | None = None
            ) -> Any:
                chosen = signature or "default"
                if chosen not in inputs:
                    raise SignatureError(
                        f"Unknown signature {chosen!r}", expected=f"one of {sorted(inputs)}", received=repr(signature)
                    )
                infos = module.get_input_info_dict(chosen)
                given = by_name({} if values is None else values, infos, chosen)
                feeds = {inputs[chosen][name]: value for name, value in given.items()}
                return session.run(chosen_output(outputs[chosen], as_dict), feed_dict=feeds)

            with caller.as_default():
                yield run


_SCOPE = "signature"


def placeholder(info: ParsedTensorInfo) -> Any:
    """Returns a placeholder for an input of a signature: a tensor, a SparseTensor or a RaggedTensor."""
    if info.is_sparse:
        shape = info.get_shape()
        return tf.compat.v1.sparse_placeholder(info.dtype, None if shape.rank is None else shape.as_list())
    specs = tf.nest.flatten(info.type_spec, expand_composites=True)
    parts = [tf.compat.v1.placeholder(spec.dtype, spec.shape) for spec in specs]
    return tf.nest.pack_sequence_as(info.type_spec, parts, expand_composites=True)
