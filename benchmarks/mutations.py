"""Changes a module at random: its bytes, the fields of its messages, the entries of its index, its files.

A module is the content of its files by path. All randomness comes from the generator that is passed in.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import tensorflow as tf
from google.protobuf import text_format
from google.protobuf.message import DecodeError
from tensorflow.core.framework import node_def_pb2, variable_pb2
from tensorflow.core.protobuf import control_flow_pb2, saved_model_pb2, tensor_bundle_pb2

from hubkeras.savedmodel.leveldb_table import _block, _block_entries, _block_handle, _Budget, _masked_crc32c
from hubkeras.savedmodel.protos import ModuleAttachment, ModuleDef

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator
    from pathlib import Path

Files = dict[str, bytes]

MODEL, TEXT, HUB, INDEX = "saved_model.pb", "saved_model.pbtxt", "tfhub_module.pb", "variables/variables.index"
FOLDER = b"<a folder>"
"""Content of what is to be a folder where a file should be."""

_NUMBERS = [0, 1, 2, -1, 7, 127, 255, 1000, 2**31 - 1, -(2**31), 2**31, 2**32, 2**40, 2**63 - 1, -(2**63)]
_FLOATS = [0.0, -1.0, 1e30, float("inf"), float("nan")]
_SUFFIXES = ["", ":1", ":0", ":-1", ":4294967296", ":out:0", "/Assign", ";"]
_PREFIXES = ["", "^", "_", "../", "/", "gs://"]
_COLLECTED = {
    "cond_context": control_flow_pb2.CondContextDef,
    "while_context": control_flow_pb2.WhileContextDef,
    "hub_module_attachments": ModuleAttachment,
}
_OPS = sorted(name for name in dir(tf.raw_ops) if name[0].isupper())


def mutate(files: Files, rng: random.Random, canary: Path) -> Files:
    """Returns a changed copy of a module; texts may become the path of the file `canary`."""
    files = dict(files)
    kinds: list[tuple[int, Callable[[Files, random.Random, Path], None]]] = [
        (12, _mutate_model),
        (2, _mutate_bytes),
        (2, _mutate_index),
        (1, _mutate_hub_file),
        (1, _mutate_layout),
    ]
    (change,) = rng.choices([kind for _, kind in kinds], [weight for weight, _ in kinds])
    change(files, rng, canary)
    return files


def _mutate_bytes(files: Files, rng: random.Random, canary: Path) -> None:
    del canary
    name = rng.choice(sorted(files))
    data = bytearray(files[name])
    for _ in range(rng.choice([1, 1, 2, 8])):
        start = rng.randrange(len(data) + 1)
        skipped = rng.choice([0, 1, 1, 1, 16, len(data)])
        data[start : start + skipped] = rng.randbytes(rng.choice([0, 1, 1, 4, 40]))
    files[name] = bytes(data)


def _mutate_layout(files: Files, rng: random.Random, canary: Path) -> None:
    name, other = rng.choice(sorted(files)), rng.choice(sorted(files))
    change = rng.randrange(6)
    if change == 0:
        del files[name]
    elif change == 1:
        files[name] = files[other]
    elif change == 2:
        files[name] = FOLDER
    elif change == 3:
        files["saved_model.cpb"] = files[other]
    elif change == 4:
        files[name] = files[name] * 50
    else:
        files[f"{name}{rng.choice(['0', '~', '.index'])}"] = str(canary).encode()


def _mutate_hub_file(files: Files, rng: random.Random, canary: Path) -> None:
    if HUB in files and rng.random() < 0.7:
        files[HUB] = _changed(files[HUB], ModuleDef, rng, canary)
    elif HUB in files:
        del files[HUB]
    else:
        files[HUB] = b"\x08\x03"


def _mutate_model(files: Files, rng: random.Random, canary: Path) -> None:
    if MODEL in files:
        proto = saved_model_pb2.SavedModel.FromString(files[MODEL])
    else:
        proto = text_format.Parse(files.pop(TEXT).decode(), saved_model_pb2.SavedModel())
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        change = rng.choice([_mutate_field, _mutate_field, _mutate_node, _mutate_node, _mutate_collection])
        change(proto, rng, canary)
    files[MODEL] = proto.SerializeToString(deterministic=True)


# --- fields of messages -----------------------------------------------------------------------------------------------


def _changed(data: bytes, kind: Any, rng: random.Random, canary: Path) -> bytes:
    """Returns a serialised message with a field changed; other bytes where it is none."""
    try:
        proto = kind.FromString(data)
    except DecodeError:
        return rng.randbytes(5)
    _mutate_field(proto, rng, canary)
    return proto.SerializeToString(deterministic=True)


def _messages(proto: Any) -> Iterator[Any]:
    """Yields a message and all in it, in an order that does not change from process to process."""
    yield proto
    for field, value in proto.ListFields():
        for item in _items(field, value):
            if field.message_type is not None and hasattr(item, "ListFields"):
                yield from _messages(item)


def _items(field: Any, value: Any) -> list[Any]:
    if _is_map(field):
        return [value[key] for key in sorted(value)]
    return list(value) if field.is_repeated else [value]


def _is_map(field: Any) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _choose(proto: Any, rng: random.Random) -> Any:
    """Chooses a message in another: any of all, or one on a random way down, where few stand beside each other."""
    if rng.random() < 0.5:
        return rng.choice(list(_messages(proto)))
    while True:
        inner = [
            item
            for field, value in proto.ListFields()
            if field.message_type is not None
            for item in rng.sample(_items(field, value), 1)
            if hasattr(item, "ListFields")
        ]
        if not inner or rng.random() < 0.15:
            return proto
        proto = rng.choice(inner)


def _mutate_field(root: Any, rng: random.Random, canary: Path) -> None:
    proto = _choose(root, rng)
    given = [field for field, _ in proto.ListFields()]
    fields = given if given and rng.random() < 0.85 else list(proto.DESCRIPTOR.fields)
    if not fields:
        return
    field = rng.choice(fields)
    if rng.random() < 0.15:
        proto.ClearField(field.name)
    elif _is_map(field):
        _mutate_map(proto, field, rng)
    elif field.is_repeated:
        _mutate_list(root, proto, field, rng, canary)
    elif field.message_type is not None:
        _replace(root, getattr(proto, field.name), rng)
    else:
        setattr(proto, field.name, _scalar(root, field, getattr(proto, field.name), rng, canary))


def _mutate_map(proto: Any, field: Any, rng: random.Random) -> None:
    entries = getattr(proto, field.name)
    keys = sorted(entries)
    if not keys:
        return
    key, other = rng.choice(keys), rng.choice(keys)
    change = rng.randrange(3)
    if change == 0 or not hasattr(entries[key], "CopyFrom"):
        del entries[key]
    elif change == 1:
        entries[key].CopyFrom(entries[other])
    elif isinstance(key, str):
        entries[f"{key}{rng.choice(['', 'x', '/', ':0'])}"].CopyFrom(entries[other])


def _mutate_list(root: Any, proto: Any, field: Any, rng: random.Random, canary: Path) -> None:
    items = list(getattr(proto, field.name))
    place = rng.randrange(len(items) + 1)
    change = rng.randrange(5)
    if change == 0:
        del items[place:][:1], items[place : place + 1]
    elif change == 1 and items:
        items.insert(place, rng.choice(items))
    elif change == 2:
        rng.shuffle(items)
    elif change == 3 and items:
        items[-1:] = items[-1:] * rng.choice([2, 30])
    elif field.message_type is None:
        old = items[place] if place < len(items) else (items[0] if items else None)
        items[place : place + 1] = [_scalar(root, field, old, rng, canary)]
    elif items:
        _replace(root, rng.choice(items), rng)
    copies = [_copy(item) for item in items]
    proto.ClearField(field.name)
    getattr(proto, field.name).extend(copies)


def _copy(item: Any) -> Any:
    if not hasattr(item, "CopyFrom"):
        return item
    copy = type(item)()
    copy.CopyFrom(item)
    return copy


def _replace(root: Any, message: Any, rng: random.Random) -> None:
    """Makes a message like another one of its kind."""
    kind = message.DESCRIPTOR.full_name
    alike = [other for other in _messages(root) if other.DESCRIPTOR.full_name == kind]
    if alike:
        message.CopyFrom(_copy(rng.choice(alike)))
    else:
        message.SetInParent()


def _scalar(root: Any, field: Any, old: Any, rng: random.Random, canary: Path) -> Any:
    if field.type == field.TYPE_BOOL:
        return not old
    if field.type == field.TYPE_ENUM:
        return rng.choice([value.number for value in field.enum_type.values] + [4321])
    if field.type in {field.TYPE_FLOAT, field.TYPE_DOUBLE}:
        return rng.choice(_FLOATS)
    if field.type == field.TYPE_STRING:
        return _text(root, old or "", rng, canary)
    if field.type == field.TYPE_BYTES:
        old = old or b""
        return rng.choice([b"", old[: len(old) // 2], old * 3, rng.randbytes(9), str(canary).encode(), b"\xff"])
    low, high = {
        field.TYPE_INT32: (-(2**31), 2**31 - 1),
        field.TYPE_INT64: (-(2**63), 2**63 - 1),
        field.TYPE_UINT64: (0, 2**64 - 1),
        field.TYPE_FIXED64: (0, 2**64 - 1),
    }.get(field.type, (0, 2**31 - 1))
    return min(max(rng.choice([*_NUMBERS, (old or 0) + 1, (old or 0) - 1]), low), high)


def _text(root: Any, old: str, rng: random.Random, canary: Path) -> str:
    change = rng.randrange(6)
    if change == 0:
        return rng.choice(["", str(canary), f"../../{canary.name}", "a" * 3000, "ä\n\0", rng.choice(_OPS)])
    if change == 1:
        return rng.choice(_PREFIXES) + old + rng.choice(_SUFFIXES)
    texts = [
        text
        for message in _messages(root)
        for field, value in message.ListFields()
        if field.type == field.TYPE_STRING and not _is_map(field)
        for text in (value if field.is_repeated else [value])
    ]
    return rng.choice(texts) if texts else "x"


# --- graphs -----------------------------------------------------------------------------------------------------------


def _mutate_node(root: Any, rng: random.Random, canary: Path) -> None:
    if not root.meta_graphs:
        return
    graph = rng.choice(root.meta_graphs).graph_def
    bodies = [graph.node, graph.node, *(function.node_def for function in graph.library.function)]
    nodes = rng.choice([body for body in bodies if len(body)] or [graph.node])
    if not len(nodes):
        return
    node, other = rng.choice(nodes), rng.choice(nodes)
    change = rng.choice([_change_op, _change_inputs, _change_inputs, _change_attribute, _change_attribute, _add_node])
    change(graph, nodes, node, other, rng)
    if rng.random() < 0.05:
        node.input.append(_text(graph, "", rng, canary))


def _change_op(graph: Any, nodes: Any, node: Any, other: Any, rng: random.Random) -> None:
    del nodes
    functions = [function.signature.name for function in graph.library.function]
    node.op = rng.choice([rng.choice(_OPS), other.op, rng.choice(functions or [other.op])])


def _change_inputs(graph: Any, nodes: Any, node: Any, other: Any, rng: random.Random) -> None:
    del graph, nodes
    inputs = list(node.input)
    change = rng.randrange(6)
    if change == 0 and inputs:
        inputs[rng.randrange(len(inputs))] = other.name
    elif change == 1:
        rng.shuffle(inputs)
    elif change == 2:
        inputs.insert(rng.randrange(len(inputs) + 1), f"^{other.name}")
    elif change == 3 and inputs:
        del inputs[rng.randrange(len(inputs))]
    elif change == 4:
        inputs.append(rng.choice([node.name, other.name]) + rng.choice(_SUFFIXES))
    elif inputs:
        place = rng.randrange(len(inputs))
        inputs[place] += rng.choice(_SUFFIXES)
    node.input[:] = inputs


def _change_attribute(graph: Any, nodes: Any, node: Any, other: Any, rng: random.Random) -> None:
    del graph, nodes
    keys = sorted(node.attr)
    if not keys:
        return
    attr = node.attr[rng.choice(keys)]
    kind, change = attr.WhichOneof("value"), rng.randrange(4)
    if change == 0 and len(other.attr):
        attr.CopyFrom(_copy(other.attr[rng.choice(sorted(other.attr))]))
    elif kind == "type":
        attr.type = rng.choice([0, 1, 3, 7, 9, 10, 14, 20, 21, 101, 107, 4321])
    elif kind == "shape" and change == 1:
        del attr.shape.dim[:]
        for _ in range(rng.choice([0, 1, 2, 40])):
            attr.shape.dim.add(size=rng.choice(_NUMBERS))
    elif kind == "tensor" and change < 3:
        attr.tensor.dtype = rng.choice([0, 1, 3, 7, 9, 10, 20, 21])
    elif kind == "tensor":
        attr.tensor.tensor_shape.dim.add(size=rng.choice(_NUMBERS))
    elif kind == "i":
        attr.i = rng.choice([n for n in _NUMBERS if -(2**63) <= n < 2**63])
    elif kind == "b":
        attr.b = not attr.b
    else:
        attr.placeholder = rng.choice(keys)


def _add_node(graph: Any, nodes: Any, node: Any, other: Any, rng: random.Random) -> None:
    change = rng.randrange(4)
    copy = node_def_pb2.NodeDef()
    copy.CopyFrom(node)
    if change == 0:
        nodes.remove(node)
    elif change == 1:
        copy.name += rng.choice(["", "_1"])
        nodes.append(copy)
    elif change == 2:
        node.name = rng.choice([other.name, "", "x y", f"{node.name}_", "_" + node.name])
    else:
        graph.node.append(copy)


def _mutate_collection(root: Any, rng: random.Random, canary: Path) -> None:
    """Changes what stands serialised in a collection of a graph."""
    if not root.meta_graphs:
        return
    collections = rng.choice(root.meta_graphs).collection_def
    keys = [key for key in sorted(collections) if collections[key].WhichOneof("kind") == "bytes_list"]
    if not keys:
        _mutate_field(root, rng, canary)
        return
    key = rng.choice(keys)
    values = collections[key].bytes_list.value
    if values:
        place = rng.randrange(len(values))
        values[place] = _changed(values[place], _COLLECTED.get(key, variable_pb2.VariableDef), rng, canary)


# --- index of variables -----------------------------------------------------------------------------------------------


def _mutate_index(files: Files, rng: random.Random, canary: Path) -> None:
    """Changes entries of the index, and writes it with right checksums."""
    if INDEX not in files:
        _mutate_model(files, rng, canary)
        return
    entries = dict(_index_entries(files[INDEX]))
    key = rng.choice(sorted(entries))
    change = rng.randrange(8)
    if change == 0:
        del entries[key]
    elif change == 1:
        entries[key] = entries[rng.choice(sorted(entries))]
    elif change == 2:
        entries[key + rng.choice([b"0", b"\0", b"\xff"])] = entries.pop(key)
    else:
        kind = tensor_bundle_pb2.BundleEntryProto if key else tensor_bundle_pb2.BundleHeaderProto
        entries[key] = _changed(entries[key], kind, rng, canary)
    files[INDEX] = _index_file(sorted(entries.items()) if rng.random() < 0.9 else list(entries.items()))


def _index_entries(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    budget = _Budget()
    _, position = _block_handle(data, len(data) - 48)
    index, _ = _block_handle(data, position)
    for _, handle in _block_entries(_block(data, index, budget), budget):
        yield from _block_entries(_block(data, _block_handle(handle, 0)[0], budget), budget)


def _index_file(entries: list[tuple[bytes, bytes]]) -> bytes:
    block = b"".join(b"\0" + _varint(len(key)) + _varint(len(value)) + key + value for key, value in entries)
    block += struct.pack("<II", 0, 1)
    pointer = _varint(0) + _varint(len(block))
    index = bytes([0, 1, len(pointer)]) + b"\xff" + pointer + struct.pack("<II", 0, 1)
    start = len(block) + 5
    footer = b"\0\0" + _varint(start) + _varint(len(index))
    return _sealed(block) + _sealed(index) + footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


def _sealed(block: bytes) -> bytes:
    return block + b"\0" + struct.pack("<I", _masked_crc32c(block + b"\0"))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
