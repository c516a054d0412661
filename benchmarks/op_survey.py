"""Runs each op as a single node, given plausible and senseless inputs, and tells which end the process.

    python op_survey.py                      # all ops of hubkeras/graphs/allowed_ops.tsv
    python op_survey.py --rounds 40 If Case  # some ops, more often
    python op_survey.py --repeat If:7        # one case in this process, to see how it ends

Each op runs in a child process, as what the package runs: imported by `wrap_function`, then called. A child writes down
the case that it is about to run; when it dies or hangs, the next one goes on behind that case. What is found is printed
as `op:round`, how it ended, and the last lines that the child wrote.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import random
import re
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path

os.environ.update(TF_CPP_MIN_LOG_LEVEL="2", CUDA_VISIBLE_DEVICES="")

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2

from hubkeras.graphs.kernel_guards import guard_meta_graph
from hubkeras.graphs.op_registry import op_def

TABLE = Path(__file__).parents[1] / "hubkeras" / "graphs" / "allowed_ops.tsv"
SECONDS = 10
GIGABYTES = 12
SHAPES = [(), (1,), (2,), (0,), (2, 2), (3, 2), (1, 0), (1, 1, 1), (1, 2, 2, 1), (0, 0, 0, 0), (1, 2, 2, 2, 1)]
NUMBERS = [0, 1, 2, -1, 3, 7, 1 << 31, -(1 << 31), (1 << 62), -(1 << 63)]
TEXTS = [b"", b"a", b"1", b"\xff\xfe", b"[[", b"%s%n", b"a,b"]
KINDS = {"resource": types_pb2.DT_RESOURCE, "variant": types_pb2.DT_VARIANT}
PRODUCERS = {
    "Lookup|InitializeTable": ("HashTableV2", "MutableHashTableV2"),
    "Queue": ("FIFOQueueV2",),
    "Stack": ("StackV2",),
    "TensorArray": ("TensorArrayV3",),
    "Iterator": ("IteratorV2",),
    "Dataset": ("RangeDataset", "TensorSliceDataset"),
    "TensorList": ("TensorListReserve",),
    "TensorMap": ("EmptyTensorMap",),
    "SparseMatrix": ("DenseToCSRSparseMatrix",),
    "Optional": ("OptionalNone", "OptionalFromValue"),
    "Ragged": ("RaggedTensorToVariant",),
    "Accumulator": ("ResourceConditionalAccumulator", "ConditionalAccumulator"),
    "Mutex": ("MutexV2",),
    "CompositeTensor": ("CompositeTensorVariantFromComponents",),
    "Barrier": ("Barrier",),
    "Sentencepiece": ("SentencepieceOp",),
}
"""What gives the handles that ops take, by the names of these."""
ANY_RESOURCE = ("VarHandleOp", "HashTableV2", "FIFOQueueV2", "StackV2", "IteratorV2", "MutexV2", "TensorArrayV3")
ANY_VARIANT = ("TensorListReserve", "RangeDataset", "OptionalNone", "DenseToCSRSparseMatrix", "EmptyTensorMap")


class Case:
    """A graph that holds one node of an op; the same op and round give the same graph."""

    def __init__(self, op, number):
        self.op, self.number = op, number
        self.rng = random.Random(f"{op}:{number}")
        self.is_plain = number < 8
        self.hides_shapes = number % 2 == 1
        self.shape, self.number_value = SHAPES[number % len(SHAPES)], NUMBERS[number % 3]
        self.graph_def = tf.compat.v1.GraphDef()
        self.graph_def.versions.producer = 1882
        self.add_functions()
        self.outputs = self.add(op, "node", depth=0)

    def add_functions(self):
        for dtype in (tf.float32, tf.bool, tf.int64):
            function = self.graph_def.library.function.add()
            function.signature.name = f"f_{dtype.name}"
            function.signature.input_arg.add(name="a", type=dtype.as_datatype_enum)
            function.signature.output_arg.add(name="b", type=dtype.as_datatype_enum)
            function.ret["b"] = "a"

    def add(self, op, name, depth, wanted=None):
        """Adds a node with its inputs, and returns the names of its outputs that can be fetched."""
        definition = op_def(op)
        node = tf.compat.v1.NodeDef(op=op, name=name)
        for attr in definition.attr:
            self.set_attribute(node.attr[attr.name], attr, wanted)
        inputs = []
        for argument in definition.input_arg:
            for dtype in self.dtypes_of(node, argument):
                source = f"{name}_{len(inputs)}"
                self.add_input(op, source, dtype, depth, is_ref=argument.is_ref)
                inputs.append(source)
        node.input.extend(inputs)
        self.graph_def.node.append(node)
        outputs = []
        for argument in definition.output_arg:
            is_ref = argument.is_ref
            outputs += [
                None if is_ref else f"{name}:{len(outputs) + i}" for i, _ in enumerate(self.dtypes_of(node, argument))
            ]
        return [text for text in outputs if text]

    def set_attribute(self, value, attr, wanted):
        rng = self.rng
        has_default = attr.HasField("default_value")
        if has_default and (self.is_plain or rng.random() < 0.7):
            value.CopyFrom(attr.default_value)
            return
        allowed = attr.allowed_values.list
        is_list = attr.type.startswith("list(")
        count = max(attr.minimum if attr.has_minimum else 0, 1 if self.is_plain else rng.choice([0, 1, 2]))
        for _ in range(min(count, 8) if is_list else 1):
            target = value.list if is_list else value
            kind = attr.type[5:-1] if is_list else attr.type
            if kind == "type":
                given = list(allowed.type) or [
                    types_pb2.DT_FLOAT,
                    types_pb2.DT_INT64,
                    types_pb2.DT_STRING,
                    *KINDS.values(),
                ]
                free = not allowed.type and wanted is not None
                found = wanted if free or wanted in given else (given[0] if self.is_plain else rng.choice(given))
                self.put(target, "type", found, is_list)
            elif kind == "int":
                least = attr.minimum if attr.has_minimum else 0
                number = max(least, 1) if self.is_plain else max(least, rng.choice([0, 1, 2, 3, least, 1 << 31]))
                number = min(number, 3) if self.counts(attr.name) else number
                self.put(target, "i", number, is_list)
            elif kind == "float":
                self.put(
                    target, "f", 1.0 if self.is_plain else rng.choice([0.0, 1.0, -1.0, 1e30, float("nan")]), is_list
                )
            elif kind == "bool":
                self.put(target, "b", rng.random() < 0.5, is_list)
            elif kind == "string":
                texts = list(allowed.s) or ([b"a"] if self.is_plain else TEXTS)
                self.put(target, "s", rng.choice(texts), is_list)
            elif kind == "shape":
                shape = tf.TensorShape(self.shape if self.is_plain else rng.choice([None, *SHAPES])).as_proto()
                (target.shape.add() if is_list else target.shape).CopyFrom(shape)
            elif kind == "func":
                name = rng.choice(["f_float32", "f_bool", "f_int64"])
                (target.func.add() if is_list else target.func).name = name
            elif kind == "tensor":
                target.tensor.CopyFrom(tf.make_tensor_proto(1.0))
        if is_list:
            value.list.SetInParent()

    @staticmethod
    def put(target, field, item, is_list):
        if is_list:
            getattr(target, field).append(item)
        else:
            setattr(target, field, item)

    def counts(self, attribute):
        arguments = [*op_def(self.op).input_arg, *op_def(self.op).output_arg]
        return any(argument.number_attr == attribute for argument in arguments)

    def dtypes_of(self, node, argument):
        if argument.type_list_attr:
            return list(node.attr[argument.type_list_attr].list.type)
        dtype = node.attr[argument.type_attr].type if argument.type_attr else argument.type
        return [dtype] * (max(0, min(node.attr[argument.number_attr].i, 8)) if argument.number_attr else 1)

    def add_input(self, op, name, dtype, depth, *, is_ref):
        if is_ref:
            producer = "VariableV2" if dtype != types_pb2.DT_STRING else "Barrier"
        elif dtype in KINDS.values():
            producer = self.producer(op, dtype)
        else:
            self.add_constant(name, dtype)
            return
        if depth > 2:
            producer = "VarHandleOp" if dtype == types_pb2.DT_RESOURCE else "OptionalNone"
        wanted = dtype if is_ref else None
        self.add(producer, name, depth + 1, wanted)

    def producer(self, op, dtype):
        fitting = [p for key, names in PRODUCERS.items() if re.search(key, op) for p in names if op_def(p)]
        fitting = [p for p in fitting if [a.type for a in op_def(p).output_arg][:1] == [dtype]]
        if fitting and (self.is_plain or self.rng.random() < 0.8):
            return self.rng.choice(fitting)
        any_ = ANY_RESOURCE if dtype == types_pb2.DT_RESOURCE else ANY_VARIANT
        return any_[0] if self.is_plain else self.rng.choice(any_)

    def add_constant(self, name, dtype):
        rng = self.rng
        shape = self.shape if self.is_plain or rng.random() < 0.4 else rng.choice(SHAPES)
        kind = tf.as_dtype(dtype)
        if kind == tf.string:
            value = np.full(shape, b"a" if self.is_plain else rng.choice(TEXTS), object)
        else:
            number = self.number_value if self.is_plain else rng.choice(NUMBERS)
            with np.errstate(all="ignore"):
                base = np.bool_ if kind == tf.bool else np.float64
                value = np.full(shape, number, np.int64 if kind.is_integer else base)
                if kind.is_integer and kind.as_numpy_dtype is not None and kind.size < 8:
                    value = np.clip(value, max(kind.min, -(1 << 62)), min(kind.max, 1 << 62))
        if self.hides_shapes:  # then only the kernel looks at them
            hidden = self.graph_def.node.add(op="PlaceholderWithDefault", name=name, input=[f"{name}_value"])
            hidden.attr["dtype"].type = dtype
            hidden.attr["shape"].shape.unknown_rank = True
            name = f"{name}_value"
        node = self.graph_def.node.add(op="Const", name=name)
        node.attr["dtype"].type = dtype
        try:
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, kind))
        except (TypeError, ValueError, OverflowError, AttributeError):
            proto = node.attr["value"].tensor
            proto.dtype = dtype
            proto.tensor_shape.CopyFrom(tf.TensorShape(shape).as_proto())
            proto.tensor_content = bytes(int(np.prod(shape)) * max(kind.size, 1))

    def run(self):
        """Imports the graph and runs its node."""
        tf.compat.v1.wrap_function(self.body, [])()

    def body(self):
        """Returns what the node gives, or something that waits for it."""
        meta_graph = tf.compat.v1.MetaGraphDef(graph_def=self.graph_def)
        guard_meta_graph(meta_graph, "a case")
        elements = tf.import_graph_def(meta_graph.graph_def, name="", return_elements=self.outputs or ["node"])
        if isinstance(elements[0], tf.Tensor):
            return elements
        with tf.control_dependencies(elements):
            return tf.identity(tf.constant(1.0))


def run_children(cases, log):
    """Runs cases in child processes, and yields those that did not end well."""
    position = 0
    while position < len(cases):
        place, output = Path(log, "place"), Path(log, "output")
        child = os.fork()
        if not child:
            child_main(cases, position, place, output)
        position, status = watch(child, position, len(cases), place)
        if position < len(cases):
            lines = output.read_text("utf-8", "replace").splitlines()
            said = next((line for line in lines if "Check failed" in line), "")
            yield cases[position], status, said or " | ".join(lines[:3])
        position += 1


def child_main(cases, position, place, output):
    resource.setrlimit(resource.RLIMIT_AS, (GIGABYTES << 30, GIGABYTES << 30))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    tf.config.threading.set_intra_op_parallelism_threads(2)
    tf.config.threading.set_inter_op_parallelism_threads(2)
    for i in range(position, len(cases)):
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        place.write_text(str(i))
        op, number = cases[i]
        try:
            Case(op, number).run()
        except Exception as error:
            print(type(error).__name__, str(error)[:200], flush=True)
    place.write_text(str(len(cases)))
    os._exit(0)


def watch(child, position, count, place):
    """Waits for a child, and returns where it ended and how."""
    place.write_text(str(position))
    since = time.monotonic()
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        now = int(place.read_text() or position)
        if now != position:
            position, since = now, time.monotonic()
        if found:
            return position, f"signal {signal.Signals(status).name}" if os.WIFSIGNALED(
                status
            ) else f"exit {status >> 8}"
        if time.monotonic() - since > SECONDS + (20 if position == 0 else 0):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return position, "hang"
        time.sleep(0.02)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ops", nargs="*")
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--part", default="0/1", help="which part of the ops: 0/2 is the first half")
    parser.add_argument("--repeat", metavar="OP:ROUND")
    arguments = parser.parse_args()
    if arguments.repeat:
        faulthandler.enable()
        op, _, number = arguments.repeat.rpartition(":")
        case = Case(op, int(number))
        print(case.graph_def)
        case.run()
        return
    ops = arguments.ops or [line.split("\t")[0] for line in TABLE.read_text().splitlines() if not line.startswith("#")]
    part, parts = map(int, arguments.part.split("/"))
    ops = [op for op in ops if op_def(op) is not None][part::parts]
    cases = [(op, number) for op in ops for number in range(arguments.first, arguments.first + arguments.rounds)]
    with tempfile.TemporaryDirectory() as log:
        for (op, number), status, said in run_children(cases, log):
            print(f"{op}:{number}\t{status}\t{said[:300]}", flush=True)
    print(f"{len(ops)} ops, {len(cases)} cases", file=sys.stderr)


if __name__ == "__main__":
    main()
