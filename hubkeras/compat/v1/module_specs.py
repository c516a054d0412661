"""Specs that export as the original's: only with the values of a checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hubkeras.compat.v1.tensorflow_errors import as_in_tensorflow
from hubkeras.errors import CheckpointError
from hubkeras.modules import spec as specs
from hubkeras.publishing import module_specs

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence


class ModuleSpec(specs.ModuleSpec):
    """What a module consists of, without variables; see `hubkeras.ModuleSpec`."""

    def export(
        self,
        path: str | os.PathLike[str],
        *,
        checkpoint_path: str | os.PathLike[str] | None = None,
        name_transform_fn: Callable[[str], str] | None = None,
    ) -> None:
        """Writes the module in TF1 Hub format, with the values of a checkpoint.

        Args:
            path: A directory that does not exist yet, or is empty.
            checkpoint_path: Prefix of the checkpoint, or a directory with checkpoints, of which the latest counts.
            name_transform_fn: Turns the name of a variable into its name in the checkpoint.

        Raises:
            CheckpointError: There is no checkpoint, or it does not fit.
            ExportError: The module could not be written; nothing is left behind.

        Example:
            >>> spec.export("exported", checkpoint_path="training/model.ckpt-1000")  # doctest: +SKIP
        """
        if not checkpoint_path:
            raise CheckpointError(
                f"Missing mandatory `checkpoint_path` parameter for the export to {path}",
                expected="checkpoint_path= the prefix of a checkpoint, or a directory with checkpoints",
                received=f"checkpoint_path={checkpoint_path!r}",
                fix="To write initial values, use hubkeras.create_module_spec; else Module.export with a session",
            )
        with as_in_tensorflow():
            super().export(path, checkpoint_path=checkpoint_path, name_transform_fn=name_transform_fn)


def create_module_spec(
    module_fn: Callable[..., Any],
    tags_and_args: Sequence[tuple[Iterable[str], Mapping[str, Any]]] | None = None,
    drop_collections: Iterable[str] | None = None,
) -> ModuleSpec:
    """Makes a module out of a function that builds its graph, as `hubkeras.create_module_spec` does.

    Args:
        module_fn: The function.
        tags_and_args: Pairs of the tags of a graph variant and the keyword arguments to call the function with.
        drop_collections: Names of collections that the module cannot or need not have.

    Raises:
        PublishingError: What the function builds is no module.
    """
    return _of(module_specs.create_module_spec(module_fn, tags_and_args, drop_collections))


def load_module_spec(
    path: str | os.PathLike[str], *, safe_mode: bool = True, allow_ops: Collection[str] = ()
) -> ModuleSpec:
    """Reads a module in TF1 Hub format without making any state, as `hubkeras.load_module_spec` does.

    Args:
        path: Anything that `hubkeras.resolve` takes.
        safe_mode: Whether ops that reach out of the graph are refused when the module runs.
        allow_ops: Names of such ops that are allowed all the same.

    Raises:
        FormatError: There is no module in TF1 Hub format, or a broken one.
    """
    with as_in_tensorflow():
        return _of(module_specs.load_module_spec(path, safe_mode=safe_mode, allow_ops=allow_ops))


def create_module_spec_from_saved_model(
    saved_model_path: str | os.PathLike[str], drop_collections: Iterable[str] | None = None
) -> ModuleSpec:
    """Makes a module out of a TF1 SavedModel, as `hubkeras.create_module_spec_from_saved_model` does.

    Args:
        saved_model_path: The directory.
        drop_collections: Names of collections to leave out that a module cannot have.

    Raises:
        PublishingError: The SavedModel has other collections that a module cannot have.
        FormatError: There is no SavedModel, or a broken one.
    """
    with as_in_tensorflow():
        return _of(module_specs.create_module_spec_from_saved_model(saved_model_path, drop_collections))


def _of(spec: specs.ModuleSpec) -> ModuleSpec:
    return ModuleSpec(spec.description, spec.policy)
