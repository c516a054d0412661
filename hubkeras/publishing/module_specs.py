"""Specs of modules: from a function that builds graphs, from a module, or from a TF1 SavedModel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.errors import FormatError, PublishingError, UnsupportedError
from hubkeras.graphs.control_flow import ContextTree
from hubkeras.graphs.op_policy import OpPolicy
from hubkeras.graphs.op_registry import op_def
from hubkeras.handles.resolver import resolve
from hubkeras.modules.spec import ModuleSpec
from hubkeras.publishing.asset_collection import AssetFiles
from hubkeras.publishing.attachments import ATTACHED
from hubkeras.publishing.signatures import SIGNATURES
from hubkeras.savedmodel.assets import read_assets
from hubkeras.savedmodel.collection_defs import ATTACHMENTS, HUB_COLLECTIONS, SAVED_MODEL_ASSETS
from hubkeras.savedmodel.protos import SavedModel
from hubkeras.savedmodel.reader import describe_saved_model, read_module, read_saved_model
from hubkeras.savedmodel.refs import Ref
from hubkeras.savedmodel.signatures import read_signatures

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

_ALWAYS_DROPPED = ("global_step", "legacy_init_op", "saved_model_main_op")
"""Collections of a TF1 SavedModel that a module does without: its training step, and how a session starts."""


def create_module_spec(
    module_fn: Callable[..., Any],
    tags_and_args: Sequence[tuple[Iterable[str], Mapping[str, Any]]] | None = None,
    drop_collections: Iterable[str] | None = None,
) -> ModuleSpec:
    """Makes a module out of a function that builds its graph.

    The function runs once for each graph variant, on a new `tf.Graph` with resource variables, and calls
    `hubkeras.add_signature` at least once. It may use `tf.compat.v1.get_variable`, partitioners, tables, update ops,
    regularizers, control flow, and files whose paths it adds to the collection ASSET_FILEPATHS.

    Args:
        module_fn: The function; what it returns is ignored.
        tags_and_args: Pairs of the tags of a variant and the keyword arguments to call the function with for it. None
            means `[(set(), {})]`: one variant without tags. A variant with the tag "train" beside one without is what
            `training=True` uses.
        drop_collections: Names of collections that the function fills but the module cannot or need not have.

    Returns:
        The spec, for `hubkeras.load`, `hubkeras.KerasLayer` or its own `export`.

    Raises:
        PublishingError: Two variants have the same tags, one has no signature, a collection that no module can have,
            or a variable that must share a device with another op.

    Example:
        >>> def module_fn(training):
        ...     x = tf.compat.v1.placeholder(tf.float32, [None, 4])
        ...     w = tf.compat.v1.get_variable("w", [4, 2])
        ...     h = tf.nn.dropout(x, 0.5) if training else x
        ...     hubkeras.add_signature(inputs=x, outputs=tf.matmul(h, w))
        >>> spec = hubkeras.create_module_spec(
        ...     module_fn, [(set(), {"training": False}), ({"train"}, {"training": True})])
        >>> hubkeras.load(spec)(tf.ones([1, 4])).shape
        TensorShape([1, 2])

    It does not read the files that the graph names, nor compute a value: these are matters of a load or an export.
    """
    variants = [(set(), {})] if not tags_and_args else [(_tags(tags), args) for tags, args in tags_and_args]
    _check_unique([tags for tags, _ in variants])
    saved_model, assets = SavedModel(), AssetFiles()
    for tags, args in variants:
        meta_graph = saved_model.meta_graphs.add()
        meta_graph.CopyFrom(_build(module_fn, tags, args, tuple(drop_collections or ())))
        assets.collect(meta_graph)
    # `init_from_checkpoint`, and so `hubkeras.compat.v1.Module` within the function, starts variables with this op.
    policy = OpPolicy.of(safe_mode=True, allow_ops=["RestoreV2"])
    return ModuleSpec(describe_saved_model(saved_model, assets.by_name), policy)


def load_module_spec(
    handle: str | os.PathLike[str], *, safe_mode: bool = True, allow_ops: Collection[str] = ()
) -> ModuleSpec:
    """Reads a module in TF1 Hub format without making any state.

    Args:
        handle: Anything that `hubkeras.resolve` takes.
        safe_mode: Whether ops that reach out of the graph are refused when the module runs.
        allow_ops: Names of such ops that are allowed all the same.

    Returns:
        The spec.

    Raises:
        HandleError: The handle has no known form.
        FormatError: There is no module in TF1 Hub format, or a broken one.

    Example:
        >>> load_module_spec("path/to/module").get_tags()  # doctest: +SKIP
        [frozenset(), frozenset({'train'})]

    It does not judge what the module's graphs would do: that happens wherever they are about to run.
    """
    description = read_module(resolve(handle))
    if description.format != "tf1_hub":
        is_tf2 = description.format == "tf2"
        raise FormatError(
            f"Cannot read a spec from {description.label}",
            expected="a module in TF1 Hub format, with a file tfhub_module.pb",
            received="a TF2 SavedModel" if is_tf2 else "a TF1 SavedModel",
            fix="Use hubkeras.load" if is_tf2 else "Use create_module_spec_from_saved_model",
        )
    return ModuleSpec(description, OpPolicy.of(safe_mode=safe_mode, allow_ops=allow_ops))


def create_module_spec_from_saved_model(
    saved_model_path: str | os.PathLike[str], drop_collections: Iterable[str] | None = None
) -> ModuleSpec:
    """Makes a module out of a TF1 SavedModel.

    The SavedModel's own saver and initializer ops are ignored: variables have their values under their own names, and
    tables are filled by what the collection TABLE_INITIALIZERS names. Tags stay as they are, so a SavedModel for
    serving is loaded with `tags={"serve"}`.

    Args:
        saved_model_path: The directory.
        drop_collections: Names of collections to leave out that a module cannot have.

    Returns:
        The spec, with the values of the SavedModel's variables.

    Raises:
        PublishingError: The SavedModel has collections that a module cannot have, and they are not to be dropped.
        FormatError: There is no SavedModel, or a broken one.
        UnsupportedError: It is a TF2 SavedModel.

    Example:
        >>> spec = create_module_spec_from_saved_model("path/to/saved_model")  # doctest: +SKIP
        >>> spec.export("path/to/module")  # doctest: +SKIP
    """
    directory = Path(saved_model_path).absolute()
    if read_module(directory).format == "tf2":
        raise UnsupportedError(
            f"Cannot make a module in TF1 Hub format out of {directory}",
            expected="a TF1 SavedModel",
            received="a TF2 SavedModel",
            fix="Load it with hubkeras.load, or publish the Keras model that it was made from",
        )
    saved_model, files = read_saved_model(directory), {}
    for meta_graph in saved_model.meta_graphs:
        files |= {asset.filename: asset.path for asset in read_assets(meta_graph, directory)}
        meta_graph.ClearField("saver_def")  # its ops read the SavedModel's checkpoint; values are found by name
        for name in (*_ALWAYS_DROPPED, *(drop_collections or ())):
            if name in meta_graph.collection_def:
                del meta_graph.collection_def[name]
        _check_collections(meta_graph)
    prefix = directory / "variables" / "variables"
    # A SavedModel without variables has no checkpoint.
    has_values = prefix.with_suffix(".index").exists()
    return ModuleSpec(describe_saved_model(saved_model, files, prefix if has_values else None))


def _tags(tags: Any) -> set[str]:
    if isinstance(tags, str) or not all(isinstance(tag, str) for tag in tags):
        raise PublishingError(
            "Cannot make a graph variant with these tags", expected="a collection of strings", received=repr(tags)
        )
    return set(tags)


def _check_unique(tag_sets: Sequence[set[str]]) -> None:
    for position, tags in enumerate(tag_sets):
        if tags in tag_sets[:position]:
            raise PublishingError(
                f"Tags {sorted(tags)!r} used repeatedly",
                expected="tags of its own for each graph variant, whatever their order",
                received=repr([sorted(t) for t in tag_sets]),
            )


def _build(
    module_fn: Callable[..., Any], tags: set[str], args: Mapping[str, Any], drop_collections: Sequence[str]
) -> Any:
    """Returns the MetaGraphDef of one graph variant."""
    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph:
        with v1.variable_scope("", use_resource=True):
            module_fn(**args)
        for name in drop_collections:
            graph.clear_collection(name)
        _check_state_placement(graph, tags)
        # Collections with keys that are no strings, as those of signatures and attachments, are not exported.
        meta_graph = v1.train.export_meta_graph(strip_default_attrs=True)
        meta_graph.meta_info_def.tags.extend(sorted(tags))
        _check_collections(meta_graph)
        for name, signature in _signatures(graph, tags):
            meta_graph.signature_def[name].CopyFrom(signature)
        _check_control_flow(meta_graph)
        # By their keys in a dict, so of several under one key the last counts.
        attached = {attachment.key: attachment for attachment in graph.get_collection(ATTACHED)}
    if attached:
        messages = [attachment.SerializeToString() for attachment in attached.values()]
        meta_graph.collection_def[ATTACHMENTS].bytes_list.value.extend(messages)
    return meta_graph


def _signatures(graph: tf.Graph, tags: set[str]) -> list[tuple[str, Any]]:
    signatures = graph.get_collection(SIGNATURES)
    if not signatures:
        raise PublishingError(
            f"No signatures present in the graph variant with tags {sorted(tags)}",
            expected="at least one call of hubkeras.add_signature(...) in the module_fn",
            received="none",
        )
    return signatures


def _check_control_flow(meta_graph: Any) -> None:
    """Refuses inputs inside a branch or a loop: a caller cannot reach in there."""
    inside = ContextTree.of(meta_graph).inner_nodes()
    for name, signature in read_signatures(meta_graph).items():
        for key, info in signature.inputs.items():
            found = [tensor for tensor in info.tensors if Ref.parse(tensor).node in inside]
            if found:
                raise PublishingError(
                    f"Cannot use tensor {found[0]!r} as input {key!r} of signature {name!r}",
                    expected="an input outside of control flow",
                    received="a tensor inside a tf.cond or a tf.while_loop",
                    fix="Make the placeholder outside, and use it inside",
                )


def _check_collections(meta_graph: Any) -> None:
    known = HUB_COLLECTIONS
    unsupported = sorted(set(meta_graph.collection_def) - known)
    if unsupported:
        raise PublishingError(
            f"Unsupported collections in graph: {unsupported}",
            expected=f"some of {sorted(known - {ATTACHMENTS, SAVED_MODEL_ASSETS})}",
            fix=f"Pass drop_collections={unsupported} if the module can do without them",
        )


def _check_state_placement(graph: tf.Graph, tags: set[str]) -> None:
    """Refuses variables and tables that must be where another op is: a module's state is made without the others."""
    state = {op.name for op in graph.get_operations() if _holds_state(op.type)}
    for name in sorted(state):
        groups = graph.get_operation_by_name(name).colocation_groups()
        if not all(group.startswith(b"loc:@") and group[5:].decode() in state for group in groups):
            raise PublishingError(
                f"The state-holding op {name!r} in the graph variant with tags {sorted(tags)} cannot be published",
                expected="state (a variable or a table) that no tf.colocate_with(y) ties to an op without state",
                received=f"colocation_groups() == {groups}",
            )


def _holds_state(op_type: str) -> bool:
    definition = op_def(op_type)
    # The original's rule: what is stateful and takes no input makes something, where others use it.
    return definition is not None and definition.is_stateful and not definition.input_arg
