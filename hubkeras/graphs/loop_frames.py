"""The frames of v1 loops: TensorFlow's executor ends the process where `Exit` leaves a frame that nothing entered.

Each node belongs to the frame that its inputs come from; `Enter` gives what it takes to a frame inside, `Exit` to the
one outside (tensorflow/core/graph/control_flow.cc).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hubkeras.errors import FormatError
from hubkeras.savedmodel.graph_index import attribute, input_node

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Frame = tuple[str, ...]

ENTERS = frozenset({"Enter", "RefEnter"})
EXITS = frozenset({"Exit", "RefExit"})
_TURNS = frozenset({"NextIteration", "RefNextIteration"})
_MERGES = frozenset({"Merge", "RefMerge"})
FRAME_OPS = ENTERS | EXITS | _TURNS


def check_frames(nodes: Mapping[str, Any], fetches: Iterable[str], where: str) -> None:
    """Refuses loops that do not hang together.

    Args:
        nodes: NodeDefs by name, of a graph or of a function's body.
        fetches: What is wanted of them, as inputs name it.
        where: What they are, for messages.

    Raises:
        FormatError: The inputs of a node come from different frames, another turn begins where no loop does, or what
            is wanted lies inside of a loop.
    """
    frames = find_frames(nodes, where)
    turns = {name for name, node in nodes.items() if node.op in _TURNS}
    for name, node in nodes.items():
        # Anything else would get a value of each turn, where TensorFlow waits for one.
        if node.op not in _MERGES and any(text.partition(":")[0] in turns for text in node.input):
            raise _refusal(where, f"node {name!r}, a {node.op}, in the place of the Merge that begins a turn")
    for text in fetches:
        node = nodes.get(text.partition(":")[0])
        if node is not None and _frame_of_outputs(node, frames[node.name], {}, where):
            raise _refusal(where, f"{text!r} as a result, which lies inside of a loop")


def find_frames(nodes: Mapping[str, Any], where: str) -> dict[str, Frame]:
    """Tells which loops each node is in.

    Args:
        nodes: NodeDefs by name, of a graph or of a function's body.
        where: What they are, for messages.

    Returns:
        The names of the loops by name of the node, the outermost first.

    Raises:
        FormatError: The inputs of a node come from different frames, or it is an exit from no loop.
    """
    consumers: dict[str, list[str]] = {}
    frames: dict[str, Frame] = {}
    pending = []
    for name, node in nodes.items():
        # Not by `Ref`: the inputs of a function's body have the form "node:output:number". Those that are no nodes are
        # arguments.
        sources = set(map(input_node, node.input)) & nodes.keys()
        for source in sources:
            consumers.setdefault(source, []).append(name)
        if not sources:
            frames[name] = ()
            pending.append(name)
    parents: dict[str, Frame] = {}
    while pending:
        name = pending.pop()
        frame = _frame_of_outputs(nodes[name], frames[name], parents, where)
        for consumer in consumers.get(name, ()):
            # One input is enough to know the frame; the way back by NextIteration could never be waited for.
            if consumer not in frames:
                frames[consumer] = frame
                pending.append(consumer)
            elif frames[consumer] != frame:
                raise _refusal(where, f"node {consumer!r}, whose inputs come from different loops")
    if len(frames) < len(nodes):
        unreached = next(name for name in nodes if name not in frames)
        raise _refusal(where, f"node {unreached!r} in a circle that nothing enters")
    return frames


def _frame_of_outputs(node: Any, frame: Frame, parents: dict[str, Frame], where: str) -> Frame:
    if node.op in ENTERS:
        name = attribute(node, "frame_name").s.decode("utf-8", "replace")
        # TensorFlow demands the same of loops (graph/control_flow.cc), but only once the graph runs.
        if parents.setdefault(name, frame) != frame:
            raise _refusal(where, f"node {node.name!r}, which enters the loop {name!r} from another one")
        return (*frame, name)
    if node.op in EXITS:
        if not frame:
            raise _refusal(where, f"node {node.name!r}, which leaves a loop that nothing entered")
        return frame[:-1]
    if node.op in _TURNS and not frame:
        raise _refusal(where, f"node {node.name!r}, which starts another turn of no loop")
    return frame


def _refusal(where: str, received: str) -> FormatError:
    return FormatError(
        f"Cannot import {where}",
        expected="v1 loops whose nodes hang together",
        received=received,
        fix="The module is damaged, or was made to do harm",
    )
