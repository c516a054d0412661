"""Modules written in TF1 Hub format: the graphs as they were read, with today's values of the variables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.functions.restoring import parts_of, slice_text
from hubkeras.handles.filesystem_path import copy_file
from hubkeras.modules.staging import new_directory
from hubkeras.savedmodel.assets import find_asset
from hubkeras.savedmodel.collection_defs import HUB_COLLECTIONS
from hubkeras.savedmodel.protos import FORMAT_V3, ModuleDef, SavedModel
from hubkeras.savedmodel.reader import MODULE_FILE, SAVED_MODEL_FILE

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from pathlib import Path

    from hubkeras.savedmodel.description import ModuleDescription


def export_module(
    description: ModuleDescription, variables: Mapping[str, tf.Variable], path: str | os.PathLike[str]
) -> None:
    """Writes a module in TF1 Hub format.

    Everything is written beside `path` first and moved there when it is complete; for another filesystem than this
    machine's (`gs://bucket/path`) it is written here and copied there.

    Args:
        description: The module as it was read.
        variables: Its variables by name.
        path: A directory that does not exist yet, or is empty.

    Raises:
        ExportExistsError: There is something at `path`.
        ExportError: It could not be written; nothing is left behind.
    """
    with new_directory(path, f"module {description.label}") as staging:
        write_module(description, variables, staging)


def write_module(description: ModuleDescription, variables: Mapping[str, tf.Variable], directory: Path) -> None:
    """Writes a module into an empty directory, as it was read but for today's values of the variables."""
    write_graphs(description, directory)
    _write_variables(description, variables, directory)


def write_graphs(description: ModuleDescription, directory: Path) -> None:
    """Writes into an empty directory what a module consists of besides the values of its variables.

    The graphs are those that were read, whatever lies in the module's directory now.
    """
    (directory / SAVED_MODEL_FILE).write_bytes(_saved_model(description).SerializeToString(deterministic=True))
    (directory / MODULE_FILE).write_bytes(ModuleDef(format=FORMAT_V3).SerializeToString())
    (directory / "assets").mkdir()
    for variant in description.variants:
        for asset in variant.assets:
            # Names may hold folders, and variants may share a file: it is then copied again, which does no harm.
            place = directory / "assets" / asset.filename
            place.parent.mkdir(parents=True, exist_ok=True)
            copy_file(find_asset(asset), place)


def _saved_model(description: ModuleDescription) -> Any:
    """Returns the SavedModel of a module, of a plain one no more than TF1 Hub format allows."""
    saved_model = SavedModel()
    for variant in description.variants:
        meta_graph = saved_model.meta_graphs.add()
        meta_graph.CopyFrom(variant.meta_graph)
        if description.format == "tf1_hub":
            continue
        # The original restores what stands in "variables" and never runs an initializer: as local variables these
        # would stay without values there.
        local = meta_graph.collection_def["local_variables"].bytes_list.value
        meta_graph.collection_def["variables"].bytes_list.value.extend(local)
        # The original refuses a module with any other collection.
        for name in set(meta_graph.collection_def) - HUB_COLLECTIONS:
            del meta_graph.collection_def[name]
        if variant.table_initializers:
            # A SavedModel may name them by its main op alone, whose collection has just been removed.
            collection = meta_graph.collection_def["table_initializer"]
            collection.node_list.value[:] = variant.table_initializers
        # It names ops that read the SavedModel's own checkpoint; TF1 Hub format has variables restored by their names.
        meta_graph.ClearField("saver_def")
    return saved_model


def _write_variables(description: ModuleDescription, variables: Mapping[str, tf.Variable], directory: Path) -> None:
    specs = description.variables
    names = [name for parts in parts_of(specs[n] for n in variables).values() for name in parts]
    if not names:
        return
    (directory / "variables").mkdir()
    # Out of any graph that the caller is building; and SaveV2 has no kernel for another device than the CPU.
    with tf.init_scope(), tf.device("CPU:0"):
        tf.raw_ops.SaveV2(
            prefix=str(directory / "variables" / "variables"),
            tensor_names=[specs[n].full_name for n in names],  # the format knows no other keys
            shape_and_slices=[slice_text(specs[n]) for n in names],
            tensors=[variables[n].read_value() for n in names],
        )
