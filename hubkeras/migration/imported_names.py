"""Which imported thing each name in a Python file stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import libcst as cst
from libcst.helpers import get_full_name_for_node
from libcst.metadata import ImportAssignment, MetadataWrapper, ParentNodeProvider, ScopeProvider

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True, eq=False)
class Use:
    """A place where something imported is used."""

    name: cst.CSTNode
    """The name that the import bound, such as `hub`."""
    whole: cst.CSTNode
    """The longest dotted expression that starts with it, such as `hub.KerasLayer.from_config`."""
    path: str
    """What it stands for, such as "tensorflow_hub.KerasLayer.from_config"."""


def imported_uses(wrapper: MetadataWrapper) -> list[Use]:
    """Returns the uses of everything that a file imports, in the order of the file's scopes.

    A name that several imports may have bound (an `import` in each branch of an `if`) is one use for each of them. What
    is imported by `*` is not seen.

    Args:
        wrapper: The file.
    """
    parents = wrapper.resolve(ParentNodeProvider)
    scopes = {scope for scope in wrapper.resolve(ScopeProvider).values() if scope is not None}
    uses = {}
    for scope in scopes:
        for assignment in scope.assignments:
            if isinstance(assignment, ImportAssignment):
                for use in _uses_of(assignment, parents):
                    uses[use.name, use.path] = use
    return list(uses.values())


def _uses_of(assignment: ImportAssignment, parents: Mapping[cst.CSTNode, cst.CSTNode]) -> Iterator[Use]:
    for access in assignment.references:
        whole: cst.CSTNode = access.node
        while isinstance(parent := parents[whole], cst.Attribute) and parent.value is whole:
            whole = parent
        written = get_full_name_for_node(whole)
        for name in assignment.get_qualified_names_for(written) if written else ():
            yield Use(access.node, whole, name.name)


def names_of_its_own(wrapper: MetadataWrapper) -> set[str]:
    """Returns every name that a file binds, in whatever scope, otherwise than by an import.

    Args:
        wrapper: The file.
    """
    scopes = {scope for scope in wrapper.resolve(ScopeProvider).values() if scope is not None}
    every = [assignment for scope in scopes for assignment in scope.assignments]
    return {assignment.name for assignment in every if not isinstance(assignment, ImportAssignment)}
