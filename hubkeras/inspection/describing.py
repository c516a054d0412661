"""`hubkeras.describe`: what a module holds, from its files alone."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hubkeras.errors import FormatError, HubKerasError, TagsError
from hubkeras.graphs.first_look import find_refused
from hubkeras.graphs.object_graph import find_refused_in_objects
from hubkeras.graphs.op_packages import how_to_register, package_of
from hubkeras.graphs.op_policy import OpPolicy
from hubkeras.handles.resolver import resolve
from hubkeras.inspection.summary import (
    AssetSummary,
    AttachmentSummary,
    GateSummary,
    ModuleSummary,
    RefusedOp,
    SignatureSummary,
    TableSummary,
    TensorSummary,
    VariableSummary,
    VariantSummary,
)
from hubkeras.inspection.tf2_objects import read_variables, regularization_losses
from hubkeras.inspection.usage_code import usage_code
from hubkeras.modules.defaults import default_signature
from hubkeras.modules.images import IMAGE_MODULE_INFO_KEY
from hubkeras.modules.variants import choose_tags, variable_specs
from hubkeras.savedmodel.assets import find_asset, read_assets
from hubkeras.savedmodel.graph_index import data_inputs, dtype_name
from hubkeras.savedmodel.protos import ImageModuleInfo, parse
from hubkeras.savedmodel.pruning import prune
from hubkeras.savedmodel.reader import read_module
from hubkeras.savedmodel.refs import Ref
from hubkeras.savedmodel.signatures import read_signatures

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hubkeras.savedmodel.description import (
        AssetSpec,
        GraphVariant,
        ModuleDescription,
        SignatureSpec,
        Tags,
        TensorInfo,
        VariableSpec,
    )

_V1_CONTROL_FLOW = frozenset({"Enter", "RefEnter", "Switch", "RefSwitch", "Merge", "RefMerge"})
_FUNCTIONAL_CONTROL_FLOW = frozenset({"While", "StatelessWhile", "If", "StatelessIf", "Case", "StatelessCase"})
_TABLES = ("HashTable", "HashTableV2", "HashTableOfTensors", "HashTableOfTensorsV2", "DenseHashTable")
_TABLES += ("DenseHashTableV2",)
_LICENSE_NAMES = ("licence", "license", "copying", "notice")


def describe(handle: str | os.PathLike[str], *, flops: bool = False) -> ModuleSummary:
    """Tells what a module holds, without running anything of it.

    Args:
        handle: Anything that `hubkeras.resolve` takes; or what has a `description`, as a module or a `ModuleSpec`.
        flops: Whether to count the floating point operations of each signature for one example. That imports
            TensorFlow and builds the signatures' graphs, so a module that the gate refuses has none.

    Returns:
        Graph variants, signatures, variables, assets, what the gate says, and Python programs that use the module.

    Raises:
        HandleError: The handle has no known form.
        FormatError: There is no module, or a broken one.

    Example:
        >>> summary = describe("path/to/module")  # doctest: +SKIP
        >>> [signature.name for signature in summary.default_variant.signatures]  # doctest: +SKIP
        ['default']

    It reads no value of a variable, and imports TensorFlow's runtime only for `flops` and where an op on the list has a
    condition on an attribute that the file leaves to its default.
    """
    description = read(handle)
    handle = os.fspath(handle) if isinstance(handle, (str, os.PathLike)) else description.label
    summary = _summarise(description, handle)
    if flops and summary.gate.allowed:
        from hubkeras.inspection.flops import with_flops  # imports TensorFlow

        return with_flops(summary)
    return summary


def read(handle: str | os.PathLike[str]) -> ModuleDescription:
    """Returns the description of the module at a handle, or of what has one."""
    description = getattr(handle, "description", None)
    return read_module(resolve(handle)) if description is None else description


def _summarise(description: ModuleDescription, handle: str) -> ModuleSummary:
    is_tf2 = description.format == "tf2"
    infer, train = _default_tags(description)
    directory = description.path if isinstance(description.path, Path) else None
    variants = tuple(_object_variants(description) if is_tf2 else map(_variant, description.variants))
    shown = next((v for v in variants if infer is not None and v.tags == tuple(sorted(infer))), variants[0])
    asset_specs = list(_asset_specs(description))
    metas = [variant.meta_graph for variant in description.variants] or list(description.object_graphs)
    return ModuleSummary(
        handle=handle,
        path=description.label,
        format=description.format,
        size=sum(file.stat().st_size for file in _files(directory)),
        written_by=next((m.meta_info_def.tensorflow_version for m in metas), ""),
        license_file=_license_file(directory),
        variants=variants,
        default_tags=None if infer is None else tuple(sorted(infer)),
        training_tags=None if train is None else tuple(sorted(train)),
        default_signature=default_signature([signature.name for signature in shown.signatures]),
        variables=_object_variables(description) if is_tf2 else _variables(description, infer, train),
        assets=tuple({spec.filename: AssetSummary(spec.filename, _size(spec)) for spec in asset_specs}.values()),
        gate=_gate(description),
        code=usage_code(description, handle),
    )


def _default_tags(description: ModuleDescription) -> tuple[Tags | None, Tags | None]:
    if description.format == "tf2":
        return description.tag_sets[0], description.tag_sets[0]
    try:
        return choose_tags(description, None, None)
    except TagsError:
        return None, None


def _files(directory: Path | None) -> Iterator[Path]:
    if directory is not None:
        yield from (Path(root, name) for root, _, names in os.walk(directory) for name in names if _exists(root, name))


def _exists(root: str, name: str) -> bool:
    return Path(root, name).exists()  # a link may lead nowhere


def _license_file(directory: Path | None) -> str:
    if directory is None:
        return ""
    names = sorted(file.relative_to(directory).as_posix() for file in _files(directory))
    return next((name for name in names if Path(name).name.lower().startswith(_LICENSE_NAMES)), "")


def _asset_specs(description: ModuleDescription) -> Iterator[AssetSpec]:
    for variant in description.variants:
        yield from variant.assets
    for meta_graph in description.object_graphs:
        if description.path is not None:
            yield from read_assets(meta_graph, description.path)


def _size(asset: AssetSpec) -> int | None:
    try:
        return find_asset(asset).stat().st_size
    except HubKerasError:
        return None


# --- the gate ------------------------------------------------------------------------------------------------------


def _gate(description: ModuleDescription) -> GateSummary:
    policy = OpPolicy(judges_unknown=True)
    try:
        found = find_refused(description, policy)
        for meta_graph in description.object_graphs:
            found += find_refused_in_objects(meta_graph, policy, description.label)
    except FormatError as error:
        return GateSummary(allowed=False, problem=str(error))
    refused = tuple(RefusedOp(f.op, f.place, _reason(f.op, f.reason)) for f in found)
    return GateSummary(allowed=not refused, refused=refused)


def _reason(op: str, reason: str) -> str:
    return f"{reason}; {how_to_register(op)}" if package_of(op) else reason


# --- graph variants ------------------------------------------------------------------------------------------------


def _variant(variant: GraphVariant) -> VariantSummary:
    return _summarise_graph(
        variant.meta_graph,
        variant.nodes,
        tuple(_signature(variant, signature) for signature in variant.signatures.values()),
        trainable_variables=_whole_names(spec for spec in variant.variables.values() if spec.trainable),
        attachments=tuple(_attachment(key, value) for key, value in variant.attachments.items()),
        update_ops=variant.update_ops,
        regularization_losses=variant.regularization_losses,
        files={Ref.parse(asset.tensor).tensor: asset.filename for asset in variant.assets},
    )


def _object_variants(description: ModuleDescription) -> Iterator[VariantSummary]:
    for meta_graph, variables in zip(description.object_graphs, [_object_variables(description)], strict=True):
        nodes = {node.name: node for node in meta_graph.graph_def.node}
        files = {Ref.parse(a.tensor_info.name).tensor: a.filename for a in meta_graph.asset_file_def}
        yield _summarise_graph(
            meta_graph,
            nodes,
            tuple(_object_signature(meta_graph, spec) for spec in read_signatures(meta_graph).values()),
            trainable_variables=tuple(variable.name for variable in variables if variable.trainable),
            attachments=(),
            update_ops=(),
            regularization_losses=regularization_losses(meta_graph),
            files=files,
        )


def _summarise_graph(
    meta_graph: Any,
    nodes: Mapping[str, Any],
    signatures: tuple[SignatureSummary, ...],
    *,
    files: Mapping[str, str],
    **rest: Any,
) -> VariantSummary:
    functions = meta_graph.graph_def.library.function
    every_node = [*nodes.values(), *(node for function in functions for node in function.node_def)]
    ops = Counter(node.op for node in every_node)
    kinds = [bool(_V1_CONTROL_FLOW & ops.keys()), bool(_FUNCTIONAL_CONTROL_FLOW & ops.keys())]
    return VariantSummary(
        tags=tuple(sorted(meta_graph.meta_info_def.tags)),
        signatures=signatures,
        tables=tuple(_tables(every_node, nodes, files)),
        ops=dict(sorted(ops.items(), key=lambda item: (-item[1], item[0]))),
        functions=len(functions),
        control_flow="both" if all(kinds) else "v1" if kinds[0] else "functional" if kinds[1] else "",
        **rest,
    )


def _signature(variant: GraphVariant, signature: SignatureSpec) -> SignatureSummary:
    fetches, feeds = signature.output_tensors(), signature.input_tensors
    needed = [node.name for node in prune(variant.nodes, fetches, frozenset(feeds)).nodes]
    variables = _whole_names(variant.variables[name] for name in needed if name in variant.variables)
    return SignatureSummary(
        signature.name, _tensors(signature.inputs), _tensors(signature.outputs), len(needed), variables
    )


def _object_signature(meta_graph: Any, signature: SignatureSpec) -> SignatureSummary:
    nodes = {node.name: node for node in meta_graph.graph_def.node}
    functions = {function.signature.name: function for function in meta_graph.graph_def.library.function}
    needed = prune(nodes, signature.output_tensors()).nodes
    names = [node.attr["f"].func.name for node in needed if "f" in node.attr]
    ops = sum(len(functions[name].node_def) for name in names if name in functions)
    return SignatureSummary(signature.name, _tensors(signature.inputs), _tensors(signature.outputs), ops, ())


def _tensors(infos: Mapping[str, TensorInfo]) -> tuple[TensorSummary, ...]:
    return tuple(TensorSummary(info.name, info.dtype, info.shape, info.kind) for info in infos.values())


def _attachment(key: str, value: bytes) -> AttachmentSummary:
    meaning = ""
    if key == IMAGE_MODULE_INFO_KEY:
        size = parse(ImageModuleInfo, value, f"the attachment {key}").default_image_size
        meaning = f"images of {size.height} x {size.width} pixels"
    return AttachmentSummary(key, len(value), meaning)


def _tables(every_node: Iterable[Any], nodes: Mapping[str, Any], files: Mapping[str, str]) -> Iterator[TableSummary]:
    sources = {}
    for node in nodes.values():
        if node.op.startswith("InitializeTableFromTextFile") and len(node.input) > 1:
            table, file = data_inputs(node)[:2]
            sources[table.node] = files.get(file.tensor, "")
    for node in every_node:
        if node.op.removeprefix("Anonymous").removeprefix("Mutable") in _TABLES:
            dtypes = (_dtype(node, "key_dtype"), _dtype(node, "value_dtype"))
            yield TableSummary(node.name, node.op, *dtypes, sources.get(node.name, ""))


def _dtype(node: Any, key: str) -> str:
    return dtype_name(node.attr[key].type) if key in node.attr else ""


# --- variables -----------------------------------------------------------------------------------------------------


def _variables(description: ModuleDescription, infer: Tags | None, train: Tags | None) -> tuple[VariableSummary, ...]:
    specs = dict(description.variables) if infer is None or train is None else variable_specs(description, infer, train)
    wholes: dict[str, list[VariableSpec]] = {}
    for spec in specs.values():
        wholes.setdefault(spec.full_name, []).append(spec)
    return tuple(_whole(name, parts) for name, parts in wholes.items())


def _whole_names(specs: Iterable[VariableSpec]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(spec.full_name for spec in specs))


def _whole(name: str, parts: list[VariableSpec]) -> VariableSummary:
    first = parts[0]
    shape = first.partition.full_shape if first.partition else first.shape
    return VariableSummary(name, first.dtype, shape, first.trainable, len(parts), first.reference)


def _object_variables(description: ModuleDescription) -> tuple[VariableSummary, ...]:
    return tuple(variable for meta_graph in description.object_graphs for variable in read_variables(meta_graph))
