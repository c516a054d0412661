"""A module that is described and has no state yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hubkeras.functions.initial_values import initial_state
from hubkeras.functions.training_checkpoints import restore_from
from hubkeras.graphs.first_look import look_at
from hubkeras.graphs.op_policy import OpPolicy
from hubkeras.graphs.tensorflow_internals import eagerly
from hubkeras.modules.export import export_module
from hubkeras.modules.interface import DescribedModule

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from hubkeras.savedmodel.description import ModuleDescription


class ModuleSpec(DescribedModule):
    """What a module consists of, without variables: graphs, signatures, attached messages.

    Made by `hubkeras.create_module_spec`, `hubkeras.load_module_spec` and
    `hubkeras.create_module_spec_from_saved_model`. Pass it to `hubkeras.load` or `hubkeras.KerasLayer` to get a module
    with state of its own, as often as wanted. Where a method takes `tags`, None stands for the empty set.

    It runs nothing by itself, and is never changed.

    Args:
        description: The module.
        policy: What its graphs may do wherever they run.

    Example:
        >>> spec = hubkeras.create_module_spec(module_fn)  # doctest: +SKIP
        >>> spec.get_signature_names()  # doctest: +SKIP
        ['default']
    """

    def __init__(self, description: ModuleDescription, policy: OpPolicy | None = None) -> None:
        # Not the default variant: the methods of hub.ModuleSpec took None for the empty set, and nothing else.
        self._description, self._tags = description, frozenset()
        self._policy = policy or OpPolicy()

    @property
    def policy(self) -> OpPolicy:
        """What the module's graphs may do."""
        return self._policy

    def export(
        self,
        path: str | os.PathLike[str],
        *,
        checkpoint_path: str | os.PathLike[str] | None = None,
        name_transform_fn: Callable[[str], str] | None = None,
    ) -> None:
        """Writes the module in TF1 Hub format, without a session.

        Args:
            path: A directory that does not exist yet, or is empty.
            checkpoint_path: Prefix of a checkpoint that holds the values of the variables, or a directory with
                checkpoints, of which the latest counts. None writes the values that `hubkeras.load` of this spec
                would give; `hubkeras.compat.v1` demands a checkpoint as the original did.
            name_transform_fn: Turns the name of a variable (of the whole, if it is partitioned) into its name in the
                checkpoint; None where the names are the same.

        Raises:
            ExportExistsError: There is something at `path`.
            ExportError: It could not be written; nothing is left behind.
            CheckpointError: The checkpoint lacks a variable, or has it in another shape or dtype.
            UnsafeModuleError: The initial values need ops that nobody allowed.

        Example:
            >>> spec.export("exported", checkpoint_path="training/model.ckpt-1000",
            ...             name_transform_fn=lambda name: f"tower/{name}")  # doctest: +SKIP
        """
        look_at(self._description, self._policy)
        specs, values = self._description.variables, None
        with eagerly():  # where the caller builds a graph, or runs no op before there is a session
            if checkpoint_path is not None:
                wanted = {name: spec for name, spec in specs.items() if "variables" in spec.collections}
                values = restore_from(checkpoint_path, wanted, name_transform_fn or (lambda name: name))
            # Local variables are in no checkpoint of a training run; what `values` lacks gets its initial value.
            state = initial_state(self._description, specs, self._policy, values)
            export_module(self._description, state.by_name, path)

    def __repr__(self) -> str:
        return f"<hubkeras spec of module {self._description.label} with tags {[sorted(t) for t in self.get_tags()]}>"

    # A spec never changes, so a copy of what holds one needs no second.
    def __copy__(self) -> ModuleSpec:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> ModuleSpec:
        return self
