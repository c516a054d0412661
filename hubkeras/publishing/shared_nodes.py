"""Signatures that compute the same have the same nodes, as in a graph that a TF1 program builds once for all of them.

A TF1 program runs all update ops of a module, whichever signature it has applied. One that belongs to another signature
would ask for the inputs of that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hubkeras.publishing.tensor_infos import tensor_names
from hubkeras.savedmodel.protos import copy_of
from hubkeras.savedmodel.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hubkeras.publishing.function_traces import Trace


class SharedNodes:
    """The nodes of the signatures that were added to a graph, by what they compute."""

    def __init__(self) -> None:
        self._by_content: dict[bytes, list[str]] = {}
        self._inputs: dict[bytes, list[str]] = {}

    def find(self, trace: Trace, captured: Mapping[str, str]) -> dict[str, str]:
        """Finds nodes of a trace that the graph has already.

        Args:
            trace: The trace of another signature.
            captured: The nodes that stand for what it takes from outside, by the names of the placeholders.

        Returns:
            Names of nodes in the graph by their names in the trace; nodes with state count, each at most once.
        """
        # A node within v1 control flow is not what it computes alone: it belongs to one frame of one loop.
        if trace.contexts.roots:
            return {}
        found = dict(captured)
        for name, info in trace.inputs.items():
            known = self._inputs.get(_input_key(name, info), ())
            found |= {Ref.parse(t).node: k for t, k in zip(tensor_names([info]), known, strict=False)}
        used: set[str] = set()
        # In one pass, since nodes stand behind their inputs, as they were made.
        for name, node in trace.nodes.items():
            sources = [text.removeprefix("^").partition(":")[0] for text in node.input]
            if name in found or not all(source in found for source in sources):
                continue
            for candidate in self._by_content.get(_content(node, lambda text: _renamed(text, found)), ()):
                # Two random ops with the same attributes draw twice: they must not become one.
                if candidate not in used:
                    used.add(candidate)
                    found[name] = candidate
                    break
        return {name: node for name, node in found.items() if name not in captured}

    def remember(self, trace: Trace, rename: Callable[[str], str]) -> None:
        """Adds the nodes of a trace, which have been given new names."""
        for name, info in trace.inputs.items():
            nodes = [Ref.parse(rename(tensor)).node for tensor in tensor_names([info])]
            self._inputs.setdefault(_input_key(name, info), nodes)
        for name, node in trace.nodes.items():
            names = self._by_content.setdefault(_content(node, rename), [])
            if rename(name) not in names:
                names.append(rename(name))


def _input_key(name: str, info: Any) -> bytes:
    """Returns what two inputs have in common that are one."""
    kind = info.WhichOneof("encoding")
    return b"\0".join([name.encode(), kind.encode(), str(info.dtype).encode(), info.tensor_shape.SerializeToString()])


def _content(node: Any, rename: Callable[[str], str]) -> bytes:
    anonymous = copy_of(node)
    anonymous.name = ""
    anonymous.input[:] = [rename(text) for text in node.input]
    return anonymous.SerializeToString(deterministic=True)


def _renamed(text: str, names: Mapping[str, str]) -> str:
    control = "^" if text.startswith("^") else ""
    node, colon, index = text.removeprefix("^").partition(":")
    return f"{control}{names[node]}{colon}{index}"
