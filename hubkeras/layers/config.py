"""Configs of the layer: what they say about the module, so that a layer can be declared before the module is there.

A config may come from anybody. Everything in it is checked when it is read, and none of it is believed once the module
itself is there.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, get_args

import keras
import tensorflow as tf

from hubkeras.errors import HubKerasError, LayerError
from hubkeras.functions.tensor_info import ParsedTensorInfo, parse_infos
from hubkeras.layers.described_outputs import symbolic
from hubkeras.savedmodel.description import Format, Kind, TensorInfo, VariableSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

MAX_DECLARED_BYTES = 8 << 30
"""What all the variables may take that the configs of one file declare; they are made before any value is read."""

_KERAS_2_ONLY = ("build_input_shape", "autocast")
_OPTIONAL_STRINGS = ("signature", "output_key", "name")
_ELEMENT_BYTES = {"string": 24}
"""What an element takes where that is not the size of its dtype."""


@dataclass(frozen=True)
class LayerSpec:
    """A layer's module as its config knows it."""

    format: str
    """"tf1_hub", "saved_model", "tf2", or "callable"."""
    source: str
    """The directory that the module was read from."""
    tags: tuple[str, ...]
    train_tags: tuple[str, ...]
    signature: str | None
    output_key: str | None
    inputs: Mapping[str, TensorInfo] | None
    outputs: Mapping[str, TensorInfo] | None
    variables: tuple[VariableSpec, ...]
    """All variables, trainable as the module says."""
    optimized: frozenset[str]
    """Names of those that an optimizer may have."""
    frozen: frozenset[str] = frozenset()
    """Names of those that the user has taken from it, one by one."""
    compiles: bool = False
    """Whether XLA can compile it; not known before there is a module."""
    is_random: bool = False
    """Whether it draws from seeds that calls bring."""
    state: str = ""
    """Names the variables in their process: layers over one module have the same."""
    returned: Any = None
    """What the last call returned, as `described_outputs.describe` tells it, where no signature says so."""

    @cached_property
    def input_infos(self) -> dict[str, ParsedTensorInfo] | None:
        """What is known of the inputs."""
        return None if self.inputs is None else parse_infos(self.inputs)

    @cached_property
    def output_infos(self) -> dict[str, ParsedTensorInfo] | None:
        """What is known of the outputs."""
        return None if self.outputs is None else parse_infos(self.outputs)

    @property
    def declared_bytes(self) -> int:
        """What the variables take that the config declares."""
        return sum(
            math.prod(v.shape) * (_ELEMENT_BYTES.get(v.dtype) or tf.as_dtype(v.dtype).size) for v in self.variables
        )

    def attached(self, found: LayerSpec) -> LayerSpec:
        """Returns what a module that has come says of itself, with what was done to weights and what calls returned."""
        # `optimized` too, since Keras has sorted the weights by it already: an optimizer may have been built.
        kept = {"frozen": self.frozen, "compiles": self.compiles, "returned": self.returned}
        return dataclasses.replace(found, optimized=self.optimized, **kept)

    def to_config(self, frozen: Iterable[str], compiles: bool) -> dict[str, Any]:
        """Returns what JSON can hold of it, with today's `frozen` and `compiles`."""
        return {
            "format": self.format,
            "source": self.source,
            "tags": list(self.tags),
            "train_tags": list(self.train_tags),
            "signature": self.signature,
            "output_key": self.output_key,
            "inputs": _infos_to_config(self.inputs),
            "outputs": _infos_to_config(self.outputs),
            "variables": [[v.name, v.dtype, list(v.shape), v.trainable] for v in self.variables],
            "optimized": sorted(self.optimized),
            "frozen": sorted(frozen),
            "compiles": compiles,
            "is_random": self.is_random,
            "state": self.state,
            "returned": self.returned,
        }

    @staticmethod
    def from_config(config: Mapping[str, Any]) -> LayerSpec:
        """Reads what `to_config` returned.

        Raises:
            LayerError: It is damaged.
        """
        spec: LayerSpec = read_damaged("spec", lambda: _parse_spec(config))
        if spec.declared_bytes > MAX_DECLARED_BYTES:
            raise too_many_bytes(spec.declared_bytes)
        return spec


def read_config(config: Mapping[str, Any]) -> tuple[dict[str, Any], LayerSpec | None]:
    """Splits a config, also of tensorflow_hub's layer, into the arguments of the constructor and the described module.

    Raises:
        LayerError: It is damaged.
    """
    arguments = read_damaged("keys", lambda: dict(config))
    described = arguments.pop("spec", None)
    batch_shape = arguments.pop("batch_input_shape", None)
    if batch_shape is not None:
        # A config of tensorflow_hub's layer, by whose Keras the shape has the batch axis.
        arguments.setdefault("input_shape", read_damaged("batch_input_shape", lambda: list(batch_shape[1:])))
    for key in _KERAS_2_ONLY:
        arguments.pop(key, None)
    arguments.pop("_declaration", None)  # no file may say how its layer is attached
    arguments["dtype"] = read_damaged("dtype", lambda: _policy(arguments.get("dtype")))
    read_damaged("arguments", lambda: _check_arguments(arguments))
    return arguments, None if described is None else LayerSpec.from_config(described)


def json_values(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the layer's arguments for its call, if a config can hold them.

    Raises:
        LayerError: JSON cannot hold one.
    """
    for name, value in arguments.items():
        try:
            json.dumps(value)
        except TypeError as error:
            raise LayerError(
                f"Cannot write argument {name!r} of the layer to a config",
                expected="values that JSON can hold",
                received=type(value).__name__,
            ) from error
    return dict(arguments)


def read_damaged(part: str, read: Callable[[], Any]) -> Any:
    """Returns what `read` returns, or says which part of a config is damaged: anything can go wrong there.

    Raises:
        LayerError: It cannot be read.
    """
    try:
        return read()
    except HubKerasError:
        raise
    except Exception as error:
        raise LayerError(
            f"Cannot read the {part} of a KerasLayer's config",
            expected="what get_config of a KerasLayer returned",
            received=f"{type(error).__name__}: {str(error)[:500]}",
            fix="The config is damaged: save the model again",
        ) from error


def too_many_bytes(declared: int) -> LayerError:
    """Makes the error of configs that declare more than a module has."""
    return LayerError(
        "Cannot make the variables that the config of a KerasLayer declares",
        expected=f"no more than {MAX_DECLARED_BYTES} bytes in one file",
        received=f"{declared} bytes",
        fix="Make the layer from its handle, and load the weights alone",
    )


def _policy(dtype: Any) -> Any:
    """Reads a dtype policy; Keras 2 writes other class and module names."""
    if isinstance(dtype, dict) and dtype.get("class_name") in {"Policy", "PolicyV1"}:
        return dtype["config"]["name"]
    policy = keras.dtype_policies.get(dtype)
    _check(isinstance(policy, keras.DTypePolicy), "dtype", dtype)
    return dtype


def _check_arguments(arguments: Mapping[str, Any]) -> None:
    _check(isinstance(arguments["handle"], str), "handle", arguments["handle"])
    for key in ("embed", "trainable", "signature_outputs_as_dict"):
        _check(isinstance(arguments.get(key), (bool, type(None))), key, arguments.get(key))
    for key in _OPTIONAL_STRINGS:
        _check(isinstance(arguments.get(key), (str, type(None))), key, arguments.get(key))
    for key in ("tags", "train_tags", "allow_ops"):
        _strings(arguments.get(key) or (), key)
    _check(isinstance(arguments.get("arguments"), (dict, type(None))), "arguments", arguments.get("arguments"))
    _shape(arguments.get("input_shape") or ())


def _check(holds: bool, what: str, value: Any) -> None:
    if not holds:
        raise ValueError(f"{what}={value!r:.200}")


def _strings(values: Any, what: str) -> tuple[str, ...]:
    _check(isinstance(values, (list, tuple)) and all(isinstance(v, str) for v in values), what, values)
    return tuple(values)


def _shape(values: Any) -> tuple[int | None, ...]:
    _check(isinstance(values, (list, tuple)), "shape", values)
    # True is an int to `isinstance`; and sizes are int64 in TensorFlow.
    _check(all(size is None or (type(size) is int and 0 <= size < 1 << 63) for size in values), "shape", values)
    return tuple(values)


def _dtype(name: Any) -> str:
    _check(isinstance(name, str) and tf.as_dtype(name) not in {tf.resource, tf.variant}, "dtype", name)
    return name


def _parse_spec(config: Mapping[str, Any]) -> LayerSpec:
    _check(config["format"] in get_args(Format), "format", config["format"])
    for key in ("source", "state"):
        _check(isinstance(config[key], str), key, config[key])
    for key in ("signature", "output_key"):
        _check(isinstance(config[key], (str, type(None))), key, config[key])
    is_random = config.get("is_random", False)  # files written before have none
    for key, flag in (("compiles", config["compiles"]), ("is_random", is_random)):
        _check(isinstance(flag, bool), key, flag)
    outputs, key = _infos_from_config(config["outputs"]), config["output_key"]
    _check(outputs is None or key is None or key in outputs, "output_key", key)
    if config["returned"] is not None:
        symbolic(config["returned"])  # fails here, and not in the middle of a model, where it is damaged
    variables = tuple(_parse_variable(*fields) for fields in config["variables"])
    _check(len({v.name for v in variables}) == len(variables), "variables", "the same name twice")
    return LayerSpec(
        format=config["format"],
        source=config["source"],
        tags=_strings(config["tags"], "tags"),
        train_tags=_strings(config["train_tags"], "train_tags"),
        signature=config["signature"],
        output_key=key,
        inputs=_infos_from_config(config["inputs"]),
        outputs=outputs,
        variables=variables,
        optimized=frozenset(_strings(config["optimized"], "optimized")),
        frozen=frozenset(_strings(config["frozen"], "frozen")),
        compiles=config["compiles"],
        is_random=is_random,
        state=config["state"],
        returned=config["returned"],
    )


def _parse_variable(name: Any, dtype: Any, shape: Any, trainable: Any) -> VariableSpec:
    _check(isinstance(name, str) and bool(name), "name", name)
    sizes = tuple(size for size in _shape(shape) if size is not None)
    _check(len(sizes) == len(shape), "shape", shape)
    return VariableSpec(name, _dtype(dtype), sizes, bool(trainable), reference=False)


def _infos_to_config(infos: Mapping[str, TensorInfo] | None) -> dict[str, Any] | None:
    if infos is None:
        return None
    result = {}
    for name, info in infos.items():
        fields = dataclasses.asdict(info)
        fields["tensors"] = list(info.tensors)
        fields["shape"] = None if info.shape is None else list(info.shape)
        fields["type_spec"] = None if info.type_spec is None else base64.b64encode(info.type_spec).decode()
        result[name] = fields
    return result


def _infos_from_config(config: Mapping[str, Any] | None) -> dict[str, TensorInfo] | None:
    return None if config is None else {name: _parse_info(fields) for name, fields in config.items()}


def _parse_info(fields: Mapping[str, Any]) -> TensorInfo:
    _check(fields["kind"] in get_args(Kind), "kind", fields["kind"])
    shape, spec = fields["shape"], fields["type_spec"]
    info = TensorInfo(
        name=fields["name"],
        dtype=_dtype(fields["dtype"]),
        shape=None if shape is None else _shape(shape),
        kind=fields["kind"],
        tensors=_strings(fields["tensors"], "tensors"),
        type_spec=None if spec is None else base64.b64decode(spec, validate=True),
    )
    _check(ParsedTensorInfo(info).type_spec is not None, "type_spec", spec)  # decoding finds what is damaged
    return info
