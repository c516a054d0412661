"""Bounds on calls: TensorFlow writes them out when it runs a graph, and so do we when we cut one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hubkeras.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hubkeras.graphs.function_library import FunctionLibrary

MOST_NODES = 200_000
"""Of a graph once all calls are written out; the largest published modules have some 30,000."""
# TensorFlow handles calls by recursion in C++, which ends the process where its stack does; real modules nest a few
# deep.
DEEPEST_CALLS = 100


def check_calls(nodes: Iterable[Any], library: FunctionLibrary, where: str) -> None:
    """Refuses calls that never end, or that grow beyond bounds when they are written out.

    Raises:
        FormatError: A function calls itself, calls are too deep, or the graph gets too large.
    """
    if not library.functions:
        return
    called = {name: library.named_within(name) for name in library.functions}
    size: dict[str, int] = {}
    depth: dict[str, int] = {}
    for root in library.functions:
        _measure(root, called, library.functions, size, depth, where)
    total = sum(size[name] for node in nodes for name in library.named_by(node))
    if max(total, *size.values()) > MOST_NODES:
        raise too_large(where)
    deepest = max(depth.values())
    if deepest > DEEPEST_CALLS:
        raise _refusal(where, f"calls at most {DEEPEST_CALLS} deep", f"calls {deepest} deep")


def _measure(
    root: str,
    called: Mapping[str, list[str]],
    functions: Mapping[str, Any],
    size: dict[str, int],
    depth: dict[str, int],
    where: str,
) -> None:
    """Notes size and depth of a function and of all that it calls, the innermost first."""
    # With a stack of its own: how deep functions call each other is up to who made the module, and Python's ends.
    open_: dict[str, None] = {}
    pending = [root]
    while pending:
        name = pending[-1]
        if name in size:
            pending.pop()
        elif name in open_:
            # Cut off: ten functions that each call the next ten times make 10^10, and a hundred a number of a hundred
            # digits.
            size[name] = min(len(functions[name].node_def) + sum(size[c] for c in called[name]), MOST_NODES + 1)
            depth[name] = 1 + max((depth[c] for c in called[name]), default=0)
            del open_[name]
            pending.pop()
        else:
            open_[name] = None
            for callee in called[name]:
                if callee in open_:
                    raise _refusal(where, "functions that do not call themselves", f"function {callee!r}, which does")
                if callee not in size:
                    pending.append(callee)


def too_large(where: str) -> FormatError:
    """Returns the error of a graph that grows beyond bounds."""
    return _refusal(where, f"at most {MOST_NODES} nodes once all calls are written out", "more")


def _refusal(where: str, expected: str, received: str) -> FormatError:
    return FormatError(
        f"Cannot import {where}",
        expected=expected,
        received=received,
        fix="The module is damaged, or was made to do harm",
    )
