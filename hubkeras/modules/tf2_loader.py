"""The one place that gives a TF2 SavedModel to TensorFlow."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.errors import CorruptFileError, FormatError, HubKerasError, MissingFileError, TagsError, UnsupportedError
from hubkeras.functions.importing import check_filled
from hubkeras.graphs.first_look import look_at
from hubkeras.graphs.kernel_guards import guard_functions, needs_guards
from hubkeras.graphs.object_graph import check_object_graph
from hubkeras.graphs.tensorflow_internals import function_graphs, reading_instead
from hubkeras.modules.tf2_objects import LoadedObject
from hubkeras.savedmodel.protos import SavedModel
from hubkeras.savedmodel.reader import read_module, read_saved_model

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hubkeras.graphs.op_policy import OpPolicy
    from hubkeras.handles.filesystem_path import AnyPath
    from hubkeras.savedmodel.description import ModuleDescription


def load_tf2(
    description: ModuleDescription,
    tags: Iterable[str] | None,
    options: tf.saved_model.LoadOptions | None,
    policy: OpPolicy,
) -> LoadedObject:
    """Loads a TF2 SavedModel, once its functions have been judged.

    TensorFlow reads the file anew. That it is still what was judged is checked right before; whoever can write into the
    folder in that very moment can do so at any later time as well.

    Args:
        description: What the directory says about itself.
        tags: The tags of its graph; None for the only one there is.
        options: Passed to `tf.saved_model.load`.
        policy: What the user lets its functions do.

    Raises:
        TagsError: It has no graph with these tags.
        FormatError: It is damaged.
        MissingOpError: It needs an op that is not registered in this process.
        UnsafeModuleError: It holds ops that nobody allowed.
    """
    chosen, directory = _choose_tags(description, tags), description.path
    assert directory is not None  # only a directory holds objects
    where = f"TF2 SavedModel {directory}"
    (meta_graph,) = description.object_graphs  # of several, TensorFlow would run what they say as in TF1
    check_object_graph(meta_graph, policy, where)
    _check_unchanged(directory, meta_graph)
    try:
        with reading_instead(str(directory), _guarded(meta_graph, where)):
            loaded = tf.saved_model.load(str(directory), chosen, options)
        _check_signatures(getattr(loaded, "signatures", {}))
        _check_losses(getattr(loaded, "regularization_losses", ()))
        for graph in _graphs_of(loaded):
            check_filled(graph, where)
    except (HubKerasError, MemoryError):
        raise
    # A damaged object graph makes TensorFlow's loader fail with whatever its Python happens to raise.
    except Exception as error:
        raise _named(error, directory) from error
    return LoadedObject(loaded, description, partial(_load_again, directory, chosen, options, policy))


def _load_again(
    path: AnyPath, tags: list[str] | None, options: tf.saved_model.LoadOptions | None, policy: OpPolicy
) -> LoadedObject:
    # The folder may hold something else by now, so a copy is judged like any other load.
    description = read_module(path)
    look_at(description, policy)
    return load_tf2(description, tags, options, policy)


def _choose_tags(description: ModuleDescription, tags: Iterable[str] | None) -> list[str] | None:
    if tags is None:
        return None
    wanted = frozenset([tags] if isinstance(tags, str) else tags)
    if wanted not in description.tag_sets:
        raise TagsError(
            f"No graph of TF2 SavedModel {description.path} has tags={sorted(wanted)!r}",
            expected=f"one of {[sorted(t) for t in description.tag_sets]}",
            received=repr(sorted(wanted)),
        )
    return sorted(wanted)


def _check_unchanged(directory: AnyPath, meta_graph: Any) -> None:
    graphs = read_saved_model(directory).meta_graphs
    # Comparing messages would take a NaN in an attribute for a change.
    if len(graphs) != 1 or _bytes(graphs[0]) != _bytes(meta_graph):
        raise FormatError(f"TF2 SavedModel {directory} changed while it was read", fix="Load it again")


def _guarded(meta_graph: Any, where: str) -> bytes | None:
    """Returns the SavedModel with checks in its functions, None where none is needed and the file will do."""
    if not needs_guards(meta_graph.graph_def.library.function):
        return None
    saved_model = SavedModel(saved_model_schema_version=1)
    copy = saved_model.meta_graphs.add()
    copy.CopyFrom(meta_graph)
    guard_functions({function.signature.name: function for function in copy.graph_def.library.function}, where)
    return saved_model.SerializeToString()


def _bytes(meta_graph: Any) -> bytes:
    return meta_graph.SerializeToString(deterministic=True)


def _graphs_of(loaded: Any) -> Iterator[tf.Graph]:
    """Yields the graphs of all functions that objects have, and of those that these call, each once."""
    pending: list[Any] = []
    for found in tf.train.TrackableView(loaded).descendants():
        functions = getattr(found, "concrete_functions", [found])
        pending += [graph for f in functions if isinstance(graph := getattr(f, "graph", None), tf.Graph)]
    seen: set[int] = set()
    while pending:
        graph = pending.pop()
        if id(graph) not in seen:
            seen.add(id(graph))
            pending += function_graphs(graph)
            yield graph


def _check_signatures(signatures: Mapping[str, Any]) -> None:
    """Refuses, with whatever error, a signature that cannot be called by names or returns other than tensors."""
    for signature in signatures.values():
        specs = {**signature.structured_input_signature[1], **signature.structured_outputs}
        if not all(isinstance(name, str) and isinstance(spec, tf.TensorSpec) for name, spec in specs.items()):
            raise ValueError(f"a signature of other than tensors by their names: {specs}")


def _check_losses(losses: Iterable[Any]) -> None:
    """Refuses, with whatever error, a regularization loss that cannot be called without arguments."""
    for loss in losses:
        functions = getattr(loss, "concrete_functions", [loss])
        if not any(len(f.inputs) == len(f.captured_inputs) for f in functions):
            raise ValueError(f"a regularization loss that takes arguments: {functions}")


def _named(error: Exception, directory: AnyPath) -> HubKerasError:
    """Returns the error of this package for what TensorFlow raises while it reads a SavedModel."""
    what = f"Cannot load TF2 SavedModel {directory}"
    received = f"{type(error).__name__}: {error}"
    if isinstance(error, ImportError):
        return UnsupportedError(what, expected="a SavedModel whose objects need no other package", received=received)
    if isinstance(error, (FileNotFoundError, tf.errors.NotFoundError)):
        return MissingFileError(what, expected="every file that its objects name", received=received)
    if isinstance(error, (tf.errors.DataLossError, OSError)):
        return CorruptFileError(what, expected="undamaged files", received=received, fix="Fetch the module again")
    return FormatError(what, expected="objects that this TensorFlow can make", received=received)
