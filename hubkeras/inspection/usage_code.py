"""Python programs that use a module, written for it: they run as they stand, on made-up inputs that fit."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hubkeras.errors import TagsError
from hubkeras.inspection import example_values
from hubkeras.inspection.tf2_objects import call_signature, read_variables
from hubkeras.modules.defaults import default_signature
from hubkeras.modules.images import IMAGE_MODULE_INFO_KEY
from hubkeras.modules.variants import choose_tags, choose_variant
from hubkeras.savedmodel.protos import ImageModuleInfo
from hubkeras.savedmodel.pruning import prune
from hubkeras.savedmodel.signatures import read_signatures

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hubkeras.inspection.example_values import Example, ImageSize
    from hubkeras.savedmodel.description import GraphVariant, ModuleDescription, SignatureSpec, TensorInfo

_FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})
_POOLS = {3: "GlobalAveragePooling1D", 4: "GlobalAveragePooling2D", 5: "GlobalAveragePooling3D"}


@dataclass(frozen=True)
class _Use:
    """One way to call a module, which all programs of it show."""

    load: str
    """Arguments of `hubkeras.load` and `hubkeras.KerasLayer`."""
    layer: str
    """Further arguments of the layer."""
    call: str
    """Further arguments of a call of the module."""
    example: Example
    """What it is called with."""
    arguments: str
    """The text that stands for the inputs in a call of the module."""
    inputs: Mapping[str, TensorInfo]
    output: TensorInfo | None
    """The only output that a call returns, None where it returns a dict or something else."""
    outputs: Mapping[str, TensorInfo]
    trains: bool
    """Whether there is anything to train."""


def usage_code(description: ModuleDescription, handle: str) -> dict[str, str]:
    """Writes the programs.

    Args:
        description: The module.
        handle: What it is called in them.

    Returns:
        Programs by "eager", "keras" and "fine_tuning"; those are left out that make no sense for the module: it has no
        inputs that a Keras layer could take, nothing to train, or no signature.
    """
    use = _object_use(description, handle) if description.format == "tf2" else _module_use(description, handle)
    if use is None:
        return {}
    code = {"eager": _eager(use)}
    if use.inputs:
        code["keras"] = _keras(use)
        if use.trains and any(info.dtype in _FLOATS and info.kind == "dense" for info in use.outputs.values()):
            code["fine_tuning"] = _fit(use) if _is_fittable(use) else _loop(use)
    return code


# --- what is called -------------------------------------------------------------------------------------------------


def _module_use(description: ModuleDescription, handle: str) -> _Use | None:
    try:
        infer, train = choose_tags(description, None, None)
        tags = ""
    except TagsError:
        infer = train = description.tag_sets[0]
        tags = f", tags={sorted(infer)!r}"
    variant = choose_variant(description, infer)
    signature = _shown_signature(variant.signatures)
    if signature is None:
        return None
    is_named = default_signature(variant.signatures) is None
    gives_dict = "default" not in signature.outputs
    named = f", signature={signature.name!r}" if is_named else ""
    nodes = prune(variant.nodes, _tensors(signature.outputs), frozenset(_tensors(signature.inputs))).nodes
    example = example_values.for_inputs(signature.inputs, {node.op for node in nodes}, _image_size(variant))
    if example is None:
        return None
    return _Use(
        load=f"{handle!r}{tags}",
        layer=f", signature={signature.name!r}, signature_outputs_as_dict=True" if gives_dict else named,
        call=f"{named}{', as_dict=True' if gives_dict else ''}",
        example=example,
        arguments="inputs" if signature.inputs else "",
        inputs=signature.inputs,
        output=None if gives_dict else signature.outputs["default"],
        outputs=signature.outputs,
        trains=_reaches_trainable(choose_variant(description, train), signature.name),
    )


def _shown_signature(signatures: Mapping[str, SignatureSpec]) -> SignatureSpec | None:
    """Returns the default signature, else the first one."""
    name = default_signature(signatures)
    return signatures[name] if name is not None else next(iter(signatures.values()), None)


def _tensors(infos: Mapping[str, TensorInfo]) -> list[str]:
    return [tensor for info in infos.values() for tensor in info.tensors]


def _reaches_trainable(variant: GraphVariant, signature: str) -> bool:
    if signature not in variant.signatures:
        return False
    spec = variant.signatures[signature]
    found = prune(variant.nodes, _tensors(spec.outputs), frozenset(_tensors(spec.inputs))).nodes
    return any(node.name in variant.variables and variant.variables[node.name].trainable for node in found)


def _image_size(variant: GraphVariant) -> ImageSize:
    attached = variant.attachments.get(IMAGE_MODULE_INFO_KEY)
    if attached is None:
        return None
    size = ImageModuleInfo.FromString(attached).default_image_size
    return (size.height, size.width) if size.height and size.width else None


def _object_use(description: ModuleDescription, handle: str) -> _Use | None:
    meta_graph = description.object_graphs[0]
    library = meta_graph.graph_def.library.function
    ops = {node.op for function in library for node in function.node_def}
    call = call_signature(meta_graph)
    arguments = example_values.read_arguments(call[0]) if call is not None else None
    if call is not None and arguments is not None:
        outputs = example_values.read_structure(call[1])
        inputs = {info.name: info for info in arguments[0]} if len(arguments) == 1 else {}
        example = example_values.for_arguments(arguments, ops)
        given = {info.name: info for info in outputs or ()}
        return _Use(
            load=repr(handle),
            layer="",
            call="",
            example=example,
            arguments="inputs" if len(arguments) == 1 else "*inputs",
            inputs=inputs,
            output=next(iter(given.values())) if len(given) == 1 else None,
            outputs=given,
            trains=any(variable.trainable for variable in read_variables(meta_graph)),
        )
    signature = _shown_signature(read_signatures(meta_graph))
    if signature is None:
        return None
    example = example_values.for_inputs(signature.inputs, ops, None)
    if example is None:
        return None
    return _Use(
        load=repr(handle),
        layer=f", signature={signature.name!r}, signature_outputs_as_dict=True",
        call=f", signature={signature.name!r}, as_dict=True",
        example=example,
        arguments="inputs" if signature.inputs else "None",
        inputs=signature.inputs,
        output=None,
        outputs=signature.outputs,
        trains=False,  # TensorFlow gives the function of a signature no gradients
    )


# --- the programs ---------------------------------------------------------------------------------------------------


def _imports(*lines: str, body: str) -> str:
    wanted = [line for line in lines if re.search(rf"\b{line.split()[-1]}\.", body)]
    return "\n".join(wanted) + ("\n\n" if wanted else "") + f"import hubkeras\n\n{body}"


def _program(*lines: str) -> str:
    return _imports("import keras", "import tensorflow as tf", body="\n".join(filter(None, lines)) + "\n")


def _eager(use: _Use) -> str:
    arguments = ", ".join(filter(None, (use.arguments, use.call.removeprefix(", "))))
    return _program(
        f"module = hubkeras.load({use.load})",
        use.example.assignment("inputs") if use.arguments.strip("*") == "inputs" else "",
        f"outputs = module({arguments})",
        _show(use, "outputs"),
    )


def _show(use: _Use, name: str) -> str:
    if use.output is not None:
        return f"print({name}.shape)"
    if use.outputs and not use.output and "as_dict=True" in f"{use.call}{use.layer}":
        return f"print({{name: value.shape for name, value in {name}.items()}})"
    return f"print({name})"


def _keras(use: _Use) -> str:
    layer = f"layer = hubkeras.KerasLayer({use.load}{use.layer})"
    if not _is_functional(use):
        return _program(layer, use.example.assignment("inputs"), "outputs = layer(inputs)", _show(use, "outputs"))
    return _program(
        layer,
        f"inputs = {_keras_inputs(use)}",
        "model = keras.Model(inputs, layer(inputs))",
        use.example.assignment("examples"),
        "outputs = model(examples)",
        _show(use, "outputs"),
    )


def _keras_inputs(use: _Use) -> str:
    if len(use.inputs) == 1:
        return _keras_input(next(iter(use.inputs.values())))
    symbols = {name: _keras_input(info, name) for name, info in use.inputs.items()}
    return "{\n" + "".join(f"    {name!r}: {symbol},\n" for name, symbol in symbols.items()) + "}"


def _keras_input(info: TensorInfo, name: str = "") -> str:
    shape = list(info.shape or ())[1:]
    # Keras wants the names of a dict on its inputs, but takes none with a slash.
    named = f", name={name!r}" if name and "/" not in name else ""
    return f"keras.Input({shape!r}, dtype={info.dtype!r}{named})"


def _is_batched(info: TensorInfo) -> bool:
    return info.kind == "dense" and bool(info.shape) and info.shape is not None and info.shape[0] is None


def _is_functional(use: _Use) -> bool:
    """Tells whether inputs and outputs are batches of plain tensors, of which Keras builds a model."""
    return all(map(_is_batched, [*use.inputs.values(), *use.outputs.values()]))


def _is_fittable(use: _Use) -> bool:
    return _is_functional(use) and use.output is not None and use.output.dtype in _FLOATS


def _fit(use: _Use) -> str:
    assert use.output is not None
    rank = len(use.output.shape or ())
    depth = use.output.shape[-1] if use.output.shape else None
    has_head = rank == 2 and depth is not None
    pools = rank in _POOLS and depth is not None
    features = f"keras.layers.{_POOLS[rank]}()(layer(inputs))" if pools else "layer(inputs)"
    head = f"keras.layers.Dense(1)({features})" if has_head or pools else features
    return _program(
        f"layer = hubkeras.KerasLayer({use.load}{use.layer}, trainable=True)",
        f"inputs = {_keras_inputs(use)}",
        f"model = keras.Model(inputs, {head})",
        'model.compile(keras.optimizers.Adam(1e-4), "mean_squared_error")',
        use.example.assignment("examples"),
        "targets = tf.zeros(model(examples).shape)  # your own",
        "data = tf.data.Dataset.from_tensors((examples, targets))",
        "model.fit(data, epochs=1, shuffle=False)",
    )


def _loop(use: _Use) -> str:
    floats = [name for name, info in use.outputs.items() if info.dtype in _FLOATS and info.kind == "dense"]
    call = f"module({use.arguments}{use.call}, training=True)"
    is_dict = use.output is None
    return _program(
        f"module = hubkeras.load({use.load})",
        "optimizer = keras.optimizers.Adam(1e-4)",
        use.example.assignment("inputs"),
        "with tf.GradientTape() as tape:",
        f"    outputs = {call}{f'[{floats[0]!r}]' if is_dict else ''}",
        "    loss = tf.reduce_mean(tf.square(tf.cast(outputs, tf.float32)))  # your own",
        "    loss += sum(tf.cast(penalty(), tf.float32) for penalty in module.regularization_losses)",
        "gradients = tape.gradient(loss, module.trainable_variables)",
        "pairs = zip(gradients, module.trainable_variables)",
        "optimizer.apply_gradients([(gradient, variable) for gradient, variable in pairs if gradient is not None])",
    )
