"""Where the state of a module goes in a graph: a variable scope that nobody uses, and the name scope of that name."""

from __future__ import annotations

import re

import tensorflow as tf

from hubkeras.errors import ScopeError

_NOT_IN_SCOPES = re.compile(r"[^A-Za-z0-9_.\-/>]")


def free_state_scope(name: str) -> str:
    """Finds a variable scope for the state of a module, below the current variable scope.

    The variable scope is taken from then on. The name scope is not: an import takes it.

    Args:
        name: What the scope is to be called; a number is added where it is taken.

    Returns:
        The full name, without a slash at the end.

    Raises:
        ScopeError: The variable scope is free, but the name scope is not, so that names would not agree.
    """
    outer = tf.compat.v1.get_variable_scope().name
    with tf.name_scope(f"{outer}/" if outer else ""):
        with tf.compat.v1.variable_scope(None, default_name=name, auxiliary_name_scope=False) as scope:
            found = scope.name
        free = tf.compat.v1.get_default_graph().unique_name(name, mark_as_used=False)
    if free != found:
        raise ScopeError(
            f"Cannot make a module in variable_scope {found!r}: it was unused, but the corresponding "
            "name_scope was already taken",
            expected="a name that is free for both",
            received=f"name={name!r}, for which the next free name scope is {free!r}",
            fix="Pass another name=",
        )
    return found


def free_name_scope(name: str) -> tuple[str, str]:
    """Finds a name scope below the current one, without taking it.

    Args:
        name: What the scope is to be called; a number is added where it is taken.

    Returns:
        Its full name, and its name below the current scope; both without a slash at the end.
    """
    graph = tf.compat.v1.get_default_graph()
    full = graph.unique_name(_NOT_IN_SCOPES.sub("_", name), mark_as_used=False)
    current = graph.get_name_scope()
    return full, full[len(current) + 1 :] if current else full
