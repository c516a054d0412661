"""Turns a SavedModel directory into its description."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from google.protobuf import text_format

from hubkeras.errors import CorruptFileError, FormatError, MissingFileError
from hubkeras.handles.filesystem_path import as_path
from hubkeras.savedmodel.assets import read_assets
from hubkeras.savedmodel.checkpoint import Checkpoint, read_checkpoint
from hubkeras.savedmodel.collection_defs import (
    read_attachments,
    read_regularization_losses,
    read_table_initializers,
    read_update_ops,
)
from hubkeras.savedmodel.description import GraphVariant, ModuleDescription
from hubkeras.savedmodel.graph_index import index_graph
from hubkeras.savedmodel.protos import FORMAT_V3, ModuleDef, SavedModel, parse
from hubkeras.savedmodel.signatures import read_signatures
from hubkeras.savedmodel.variables import read_variables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from os import PathLike

    from hubkeras.handles.filesystem_path import AnyPath
    from hubkeras.savedmodel.description import AssetSpec, Format, Tags

MODULE_FILE = "tfhub_module.pb"
SAVED_MODEL_FILE = "saved_model.pb"
_TEXT_FILE = "saved_model.pbtxt"
_CHUNKED_FILE = "saved_model.cpb"
_VARIABLES = "variables"


def read_module(path: str | PathLike[str], *, with_values: bool = True) -> ModuleDescription:
    """Reads a directory in TF1 Hub format, a TF1 SavedModel or a TF2 SavedModel.

    The directory is checked as far as that is possible without running anything: no asset's name leads out of it, and
    the checkpoint is whole and has every variable in its shape and dtype. Whether the graphs are safe to run
    is another question: see `hubkeras.graphs.first_look`.

    Args:
        path: The directory.
        with_values: Whether the variables must have values in a checkpoint; a module inside a `.keras` file has none.

    Returns:
        The description. Of a TF2 SavedModel it holds the tag sets only; `tf.saved_model.load` knows the rest.

    Raises:
        MissingFileError: The directory or a file in it is not there.
        CorruptFileError: A file is damaged.
        FormatError: The files contradict their format or each other.

    Example:
        >>> description = read_module("module")  # doctest: +SKIP
        >>> [sorted(variant.tags) for variant in description.variants]  # doctest: +SKIP
        [[], ['train']]
    """
    directory = as_path(os.fspath(path))
    _check_directory(directory)
    # By the file alone, as in tensorflow_hub: nothing in the graph tells TF1 Hub format from a TF1 SavedModel.
    is_hub = (directory / MODULE_FILE).exists()
    if is_hub:
        _check_module_file(directory / MODULE_FILE)
    meta_graphs = read_saved_model(directory).meta_graphs
    tag_sets = _read_tag_sets(str(directory), meta_graphs)
    format_: Format = "tf1_hub" if is_hub else _saved_model_format(directory, meta_graphs)
    prefix = _checkpoint_prefix(directory)
    checkpoint = read_checkpoint(prefix) if prefix.with_name(f"{prefix.name}.index").exists() else None
    if format_ == "tf2":
        read_assets(meta_graphs[0], directory)
        prefix = checkpoint.prefix if checkpoint else None
        return ModuleDescription(directory, "tf2", (), tag_sets, prefix, object_graphs=tuple(meta_graphs))
    with _naming(directory):
        variants = tuple(
            _read_variant(graph, format_, checkpoint, with_values, read_assets(graph, directory), directory)
            for graph in meta_graphs
        )
    return ModuleDescription(directory, format_, variants, tag_sets, _restored_prefix(variants, checkpoint))


def describe_saved_model(
    saved_model: Any, asset_files: Mapping[str, AnyPath] = MappingProxyType({}), checkpoint: AnyPath | None = None
) -> ModuleDescription:
    """Describes a module in TF1 Hub format that no directory holds yet.

    Args:
        saved_model: The `SavedModel` as it would stand in the directory: assets have the names that they are to have
            there.
        asset_files: Where the assets lie, by these names.
        checkpoint: Prefix of the checkpoint with the variables' values; None to take those of their initializers.

    Returns:
        The description. It refers to the parts of `saved_model`.

    Raises:
        MissingFileError: The checkpoint is not there.
        CorruptFileError: The checkpoint, or a message in the graph, is damaged.
        FormatError: The graph contradicts itself or the checkpoint.
    """
    meta_graphs = saved_model.meta_graphs
    tag_sets = _read_tag_sets("memory", meta_graphs)
    found = None if checkpoint is None else read_checkpoint(checkpoint)
    variants = tuple(
        _read_variant(graph, "tf1_hub", found, checkpoint is not None, read_assets(graph, None, asset_files), None)
        for graph in meta_graphs
    )
    return ModuleDescription(None, "tf1_hub", variants, tag_sets, _restored_prefix(variants, found))


def recipe(description: ModuleDescription) -> tuple[Callable[..., ModuleDescription], tuple[Any, ...]]:
    """Returns what a pickle holds in place of a description: a function that makes it again, and its arguments."""
    if description.path is not None:
        return read_module, (description.path,)
    saved_model = SavedModel()
    saved_model.meta_graphs.extend(variant.meta_graph for variant in description.variants)
    files = {asset.filename: asset.path for variant in description.variants for asset in variant.assets}
    return describe_saved_model, (saved_model, files, description.checkpoint)


def _restored_prefix(variants: tuple[GraphVariant, ...], checkpoint: Checkpoint | None) -> AnyPath | None:
    restores = any(spec.in_checkpoint for variant in variants for spec in variant.variables.values())
    return checkpoint.prefix if checkpoint and restores else None


@contextmanager
def _naming(directory: AnyPath) -> Iterator[None]:
    """Adds the directory to errors about a part of a graph."""
    try:
        yield
    except FormatError as error:
        if str(directory) in error.message:
            raise
        # The same class, as callers tell damage from a missing file by it.
        raise type(error)(f"Cannot read the module {directory}: {error.message}") from error


def _check_directory(directory: AnyPath) -> None:
    if not directory.exists():
        raise MissingFileError(f"Cannot find the module's directory {directory}")
    if not directory.is_dir():
        raise FormatError(f"Cannot read a module from {directory}", expected="a directory", received="something else")


def _check_module_file(path: AnyPath) -> None:
    proto = parse(ModuleDef, _read_bytes(path), str(path))
    if proto.format != FORMAT_V3:
        raise FormatError(
            f"{path} is of an unknown format", expected=f"format {FORMAT_V3}", received=f"format {proto.format}"
        )
    if proto.required_features:
        raise FormatError(
            f"The module {path.parent} requires features that do not exist here",
            expected="no required features",
            received=", ".join(map(repr, proto.required_features)),
        )


def read_saved_model(directory: AnyPath) -> Any:
    """Parses the file of a SavedModel: the binary one where there are two, as TensorFlow does.

    Raises:
        MissingFileError: There is none.
        CorruptFileError: It cannot be parsed.
    """
    binary, text = directory / SAVED_MODEL_FILE, directory / _TEXT_FILE
    if (directory / _CHUNKED_FILE).exists():
        # TensorFlow prefers it to the other two, and would load another model than the one that is read here.
        raise FormatError(
            f"The SavedModel in {directory} is split into chunks",
            expected=f"{SAVED_MODEL_FILE} or {_TEXT_FILE} alone",
            received=_CHUNKED_FILE,
            fix="Write it anew with a TensorFlow that keeps it in one file",
        )
    path = binary if binary.exists() or not text.exists() else text
    if not path.exists():
        raise MissingFileError(
            f"Cannot find {SAVED_MODEL_FILE} in {directory}",
            expected=f"a SavedModel directory with {SAVED_MODEL_FILE} or {_TEXT_FILE}",
            received=_listing(directory),
        )
    return _parse_text(path) if path == text else parse(SavedModel, _read_bytes(path), str(path))


def _read_bytes(path: AnyPath) -> bytes:
    # A pipe would be waited for, and a device such as /dev/zero has no end.
    if isinstance(path, Path) and not path.is_file():
        raise CorruptFileError(f"Cannot read {path}", expected="a file", received="a folder, a pipe or a device")
    try:
        return path.read_bytes()
    except OSError as error:
        raise CorruptFileError(f"Cannot read {path}", expected="a file", received=str(error)) from error


def _parse_text(path: AnyPath) -> Any:
    try:
        return text_format.Parse(_read_bytes(path).decode(), SavedModel())
    except (text_format.ParseError, UnicodeDecodeError, RecursionError) as error:
        line = error.GetLine() if isinstance(error, text_format.ParseError) else None
        raise CorruptFileError(
            f"Cannot parse {path}",
            expected="a SavedModel message as text",
            # Not what stands there, and no cause that says it: the file may be a link to one that nobody may read.
            received="something else" + (f" in line {line}" if line else ""),
            fix="Fetch the module again",
        ) from None


def _listing(directory: AnyPath) -> str:
    names = sorted(path.name for path in directory.iterdir())
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return f"a directory with {shown}" if names else "an empty directory"


def _read_tag_sets(place: str, meta_graphs: Any) -> tuple[Tags, ...]:
    tag_sets = tuple(frozenset(graph.meta_info_def.tags) for graph in meta_graphs)
    if not tag_sets:
        raise CorruptFileError(
            f"The SavedModel in {place} holds no graph",
            expected="at least one MetaGraph",
            fix="Fetch the module again",
        )
    for position, tags in enumerate(tag_sets):
        if tags in tag_sets[:position]:
            raise FormatError(
                f"The SavedModel in {place} holds two graphs with one tag set",
                expected="every tag set once",
                received=f"{sorted(tags)} again",
            )
    return tag_sets


def _saved_model_format(directory: AnyPath, meta_graphs: Any) -> Format:
    # By content and not by version: TF2 can write TF1 SavedModels, which have no objects.
    if not any(graph.HasField("object_graph_def") for graph in meta_graphs):
        return "saved_model"
    if len(meta_graphs) > 1:
        # TensorFlow would load one of them as in TF1, with initializers of its own, and pass over the objects.
        raise FormatError(
            f"The TF2 SavedModel in {directory} holds several graphs",
            expected="one MetaGraph beside its objects",
            received=f"{len(meta_graphs)} MetaGraphs",
        )
    return "tf2"


def _checkpoint_prefix(directory: AnyPath) -> AnyPath:
    return directory / _VARIABLES / _VARIABLES


def _read_variant(
    meta_graph: Any,
    format_: Format,
    checkpoint: Checkpoint | None,
    with_values: bool,
    assets: tuple[AssetSpec, ...],
    directory: AnyPath | None,
) -> GraphVariant:
    graph = index_graph(meta_graph.graph_def)
    return GraphVariant(
        tags=frozenset(meta_graph.meta_info_def.tags),
        signatures=read_signatures(meta_graph),
        variables=read_variables(
            meta_graph,
            graph,
            checkpoint,
            prefix=checkpoint.prefix if checkpoint else _checkpoint_prefix(directory or Path()),
            follow_saver=format_ == "saved_model",
            with_values=with_values,
        ),
        assets=assets,
        table_initializers=read_table_initializers(meta_graph, graph, with_init_op=format_ == "saved_model"),
        update_ops=read_update_ops(meta_graph),
        regularization_losses=read_regularization_losses(meta_graph),
        attachments=read_attachments(meta_graph),
        meta_graph=meta_graph,
        nodes=graph.nodes,
    )
