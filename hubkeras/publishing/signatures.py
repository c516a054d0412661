"""`hubkeras.add_signature`: what a module takes and gives, declared while its graph is built."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.errors import PublishingError, SignatureTypeError
from hubkeras.publishing.tensor_infos import TENSOR_CLASSES, describe_tensor
from hubkeras.savedmodel.protos import SignatureDef

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

SIGNATURES = ("hubkeras_signatures",)
"""The collection of pairs of a name and a `SignatureDef`; a key that is no string stays out of the exported graph."""

_log = logging.getLogger("hubkeras")


def add_signature(name: str | None = None, inputs: Any = None, outputs: Any = None) -> None:
    """Declares a signature of the module whose graph is being built.

    Call it in the function that `hubkeras.create_module_spec` is given. Of two signatures of one name, the later one
    counts.

    Args:
        name: Name of the signature; None for "default", which a call of the module without `signature=` means.
        inputs: A dict from names to tensors that a call feeds: placeholders as a rule, dense, sparse or ragged. A
            single tensor stands for the only input, "default"; None for a signature without inputs.
        outputs: A dict from names to the tensors that a call returns; a single tensor stands for "default".

    Raises:
        SignatureTypeError: One of them is no tensor; of a variable, pass `variable.read_value()`.
        PublishingError: An input must share a device with another op, or no graph is being built.

    Example:
        >>> def module_fn():
        ...     x = tf.compat.v1.placeholder(tf.float32, [None, 4])
        ...     hubkeras.add_signature(inputs=x, outputs={"default": 2 * x, "squares": x * x})

    It does not run anything, and does not check that the outputs depend on the inputs.
    """
    name, inputs, outputs = name or "default", _as_dict(inputs), _as_dict(outputs)
    _check_graph(name)
    _check_kinds(name, inputs, outputs)
    _check_owner(name, [*_parts(inputs), *_parts(outputs)])
    _check_placement(name, inputs)
    _warn_of_shared_ops(name, inputs)
    signature = SignatureDef()
    for infos, values in ((signature.inputs, inputs), (signature.outputs, outputs)):
        for key, value in values.items():
            describe_tensor(value, infos[key])
    tf.compat.v1.add_to_collection(SIGNATURES, (name, signature))


def _as_dict(values: Any) -> dict[str, Any]:
    if values is None:
        return {}
    return values if isinstance(values, dict) else {"default": values}


def _check_graph(name: str) -> None:
    if tf.executing_eagerly():
        raise PublishingError(
            f"Cannot add signature {name!r}: no graph is being built",
            expected="a call in the function that create_module_spec is given",
            received="a call under eager execution",
        )


def _check_kinds(name: str, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
    given = [("input", inputs), ("output", outputs)]
    wrong = [
        f"{role} {key!r} has type {type(value).__name__}"
        for role, values in given
        for key, value in sorted(values.items(), key=lambda item: str(item[0]))
        if not (isinstance(key, str) and isinstance(value, TENSOR_CLASSES))
    ]
    if wrong:
        classes = ", ".join(kind.__name__ for kind in TENSOR_CLASSES)
        raise SignatureTypeError(
            f"The inputs and outputs of signature {name!r} should have one of the types that a module can hold",
            expected=f"names that are strings, and values of type {classes}",
            received="; ".join(wrong),
            fix="Of a variable, pass variable.read_value(); of anything else, tf.convert_to_tensor(value)",
        )


def _parts(values: Mapping[str, Any]) -> Iterator[tuple[str, tf.Tensor]]:
    """Yields the dense tensors that values consist of, with what to call them in messages."""
    for key, value in sorted(values.items()):
        if isinstance(value, tf.SparseTensor):
            yield from ((f"{key}.{part}", getattr(value, part)) for part in ("indices", "values", "dense_shape"))
        elif isinstance(value, tf.RaggedTensor):
            components = tf.nest.flatten(value, expand_composites=True)
            yield from ((f"{key}.component_{i}", part) for i, part in enumerate(components))
        else:
            yield key, value


def _check_owner(name: str, tensors: Iterable[tuple[str, tf.Tensor]]) -> None:
    graph = tf.compat.v1.get_default_graph()
    for key, tensor in tensors:
        if not hasattr(tensor, "graph") or tensor.graph is not graph:
            raise PublishingError(
                f"Cannot add signature {name!r}: {key!r} is no tensor of the graph that is being built",
                expected="tensors that the function given to create_module_spec makes itself, outside of functions",
                received=repr(tensor),
            )


def _check_placement(name: str, inputs: Mapping[str, Any]) -> None:
    """Refuses inputs that must be where another op is: what a caller feeds is somewhere already."""
    for key, tensor in _parts(inputs):
        groups = tensor.op.colocation_groups()
        if groups != [f"loc:@{tensor.op.name}".encode()]:
            raise PublishingError(
                f"Cannot use tensor {tensor.name!r} as input {key!r} of signature {name!r}",
                expected="an input that no tf.colocate_with(y) ties to another op (other ops may be tied to an input)",
                received=f"colocation_groups() == {groups}",
            )


def _warn_of_shared_ops(name: str, inputs: Mapping[str, Any]) -> None:
    shared = [f"{key}={tensor.name!r}" for key, tensor in _parts(inputs) if len(tensor.op.outputs) != 1]
    if shared:
        # Logged and not raised, as by the original: it matters only to a module with such colocations.
        _log.error(
            "Inputs of signature %r should be tensors from ops with a single output: where an op is tied to one of "
            "these by tf.colocate_with(), the original hub.Module can fail to apply the module.\nAffected inputs: %s",
            name,
            ", ".join(shared),
        )
