import time
from pathlib import Path

import numpy as np
import pytest
from savedmodel.builder import (
    const,
    dense_graph,
    dtype,
    func,
    funcs,
    function,
    meta_graph,
    node,
    placeholder,
    text,
    variable,
    variable_def,
    write_module,
)

from hubkeras.errors import UnsafeModuleError
from hubkeras.graphs.first_look import look_at
from hubkeras.graphs.op_policy import OpPolicy
from hubkeras.graphs.op_rules import is_listed
from hubkeras.savedmodel.reader import read_module

GOLDEN = Path(__file__).parents[1] / "golden" / "modules"
WRITE = [const("path", "/tmp/x"), const("content", "x"), node("write", "WriteFile", "path", "content")]
INITIALIZE = "InitializeTableFromTextFileV2"


@pytest.fixture
def check(tmp_path):
    def write_and_look(*graphs, allow_ops=(), **options):
        path = write_module(tmp_path / "m", *graphs, **options)
        look_at(read_module(path), OpPolicy.of(safe_mode=True, allow_ops=allow_ops))

    return write_and_look


def graph_with(*nodes, outputs=("y:0",), inputs=("x:0",), **options):
    """Returns a graph whose signature has the outputs named."""
    signature = ({f"in_{i}": name for i, name in enumerate(inputs)}, {f"o_{i}": name for i, name in enumerate(outputs)})
    options.setdefault("signatures", {"default": signature})
    return meta_graph([placeholder("x"), node("y", "Identity", "x")], *nodes, **options)


def test_a_harmless_module(check):
    check(dense_graph(), values={"w": np.float32([1, 2])})


def test_what_nothing_runs_may_be_there(check):
    check(graph_with(WRITE))


def test_the_message_names_module_op_node_and_ways_out(check, tmp_path):
    with pytest.raises(UnsafeModuleError) as info:
        check(graph_with(WRITE, node("z", "Identity", "y", "^write"), outputs=["z:0"]))
    for words in (str(tmp_path / "m"), "WriteFile (node 'write')", "allow_ops=['WriteFile']", "safe_mode=False"):
        assert words in str(info.value)


def test_many_findings_are_counted(check):
    writes = [node(f"write_{i}", "WriteFile", "path", "content") for i in range(9)]
    with pytest.raises(UnsafeModuleError, match="and 4 more"):
        check(graph_with(WRITE[:2], writes, outputs=[f"write_{i}" for i in range(9)]))


def test_allowed_ops(check):
    graph = graph_with(WRITE, node("print", "Print", "y", "y"), outputs=["write", "print:0"])
    check(graph, allow_ops=["WriteFile", "Print"])
    with pytest.raises(UnsafeModuleError, match="allow_ops=\\['Print'\\]"):
        check(graph, allow_ops=["WriteFile"])


@pytest.mark.parametrize("key", ["update_ops", "regularization_losses", "table_initializer"])
def test_collections_are_looked_at(check, key):
    with pytest.raises(UnsafeModuleError, match="WriteFile"):
        check(graph_with(WRITE, collections={key: ["write"]}))


def test_every_variant_is_looked_at(check):
    with pytest.raises(UnsafeModuleError, match="WriteFile"):
        check(graph_with(), graph_with(WRITE, outputs=["write"], tags=["train"]))


def test_initial_values_are_looked_at_where_they_run(check):
    nodes = [*variable("w"), *WRITE]
    nodes[1].input.append("^write")
    values = {"w": np.float32([1, 2])}
    check(graph_with(nodes, collections={"variables": [variable_def("w")]}), values=values)
    with pytest.raises(UnsafeModuleError, match="WriteFile"):
        check(graph_with(nodes, collections={"local_variables": [variable_def("w")]}), values=values)


def test_the_saver_and_init_op_of_a_saved_model_do_not_run(check):
    saver = [const("f", "file"), node("restore", "RestoreV2", "f", "f", "f"), node("save", "SaveV2", "f", "f", "f")]
    graph = graph_with(saver, WRITE, collections={"saved_model_main_op": ["write"]})
    check(graph, hub=False)


def test_what_computes_a_fed_tensor_does_not_run(check):
    pipeline = [node("split", "TFRecordReaderV2"), node("z", "Identity", "split:1")]
    check(graph_with(pipeline, outputs=["z:0"], inputs=["split:1"]))
    with pytest.raises(UnsafeModuleError, match="TFRecordReaderV2"):
        check(graph_with(pipeline, outputs=["z:0"], inputs=["split:0"]))
    with pytest.raises(UnsafeModuleError, match="TFRecordReaderV2"):
        check(graph_with(pipeline, node("after", "Identity", "z", "^split"), outputs=["after"], inputs=["split:1"]))


class TestFunctions:
    """What a function does is what its caller does."""

    EVIL = function("evil", *WRITE)
    FINE = function("fine", const("c", 1.0))

    def refused(self, check, *nodes, functions=()):
        with pytest.raises(UnsafeModuleError, match=r"WriteFile .node 'write' of the function 'evil'"):
            check(graph_with(nodes, outputs=["call:0"], functions=[self.EVIL, self.FINE, *functions]))

    @pytest.mark.parametrize("op", ["StatefulPartitionedCall", "MapDataset", "NoSuchOp"])
    def test_in_an_attribute(self, check, op):
        self.refused(check, node("call", op, f=func("evil")))

    def test_in_a_branch(self, check):
        self.refused(check, node("call", "If", "x", then_branch=func("fine"), else_branch=func("evil")))

    def test_in_a_list(self, check):
        self.refused(check, node("call", "Case", "x", branches=funcs("fine", "evil")))

    def test_by_its_name_as_a_type(self, check):
        self.refused(check, node("call", "evil"))

    def test_behind_other_functions(self, check):
        inner = function("inner", node("n", "While", body=func("evil"), cond=func("inner")))
        outer = function("outer", node("m", "inner"))
        self.refused(check, node("call", "outer"), functions=[inner, outer])

    def test_handed_on_as_an_attribute(self, check):
        self.refused(check, node("call", "PartitionedCall", f=func("fine", g=func("evil"))))

    def test_as_the_default_of_an_attribute(self, check):
        outer = function("outer", const("c", 1.0))
        outer.signature.attr.add(name="g", type="func").default_value.func.name = "evil"
        self.refused(check, node("call", "outer"), functions=[outer])

    def test_as_a_gradient(self, check):
        graph = graph_with(node("call", "fine"), outputs=["call:0"], functions=[self.EVIL, self.FINE])
        graph.graph_def.library.gradient.add(function_name="fine", gradient_func="evil")
        with pytest.raises(UnsafeModuleError, match="function 'evil'"):
            check(graph)

    def test_that_nobody_calls(self, check):
        check(graph_with(node("call", "fine"), outputs=["call:0"], functions=[self.EVIL, self.FINE]))


class TestAssets:
    """A graph may read the assets of its module, and no other file."""

    def check_file(self, check, *nodes, assets=("asset:0",)):
        fill = node("fill", INITIALIZE, "table", "name")
        graph = graph_with(
            const("asset", "SAVEDMODEL-ASSET"),
            node("table", "HashTableV2"),
            nodes,
            fill,
            collections={"table_initializer": ["fill"]},
            assets=dict.fromkeys(assets, "vocab.txt"),
        )
        check(graph, assets={"vocab.txt": "a"})

    def test_an_asset(self, check):
        self.check_file(check, node("name", "Identity", "asset"))
        self.check_file(check, const("name", "x"), assets=["name:0"])

    @pytest.mark.parametrize(
        "name",
        [
            const("name", "/etc/passwd"),
            node("name", "Identity", "asset:1"),
            node("name", "StringJoin", "asset", "asset"),
            node("name", "Identity", "name"),
            placeholder("name", "string"),
        ],
    )
    def test_another_file(self, check, name):
        with pytest.raises(UnsafeModuleError, match=INITIALIZE):
            self.check_file(check, name)

    def test_an_asset_that_the_graph_computes(self, check):
        with pytest.raises(UnsafeModuleError, match=INITIALIZE):
            self.check_file(check, node("name", "StringJoin", "asset"), assets=["name:0"])

    def test_no_file_name_at_all(self, check):
        with pytest.raises(UnsafeModuleError, match=INITIALIZE):
            check(graph_with(node("fill", INITIALIZE), collections={"table_initializer": ["fill"]}))

    def test_reading_an_asset_whole(self, check):
        read = [const("asset", ""), const("other", ""), node("read", "ReadFile", "asset")]
        options = {"assets": {"vocab.txt": "a"}}
        check(graph_with(read, outputs=["read:0"], assets={"asset:0": "vocab.txt"}), **options)
        with pytest.raises(UnsafeModuleError, match="ReadFile"):
            check(graph_with(read, outputs=["read:0"], assets={"other:0": "vocab.txt"}), **options)

    @pytest.mark.parametrize(("argument", "refused"), [("asset", False), ("other", True)])
    def test_through_a_function(self, check, argument, refused):
        reader = function("reader", node("read", "ReadFile", "path"), args=["path"])
        call = node("call", "PartitionedCall", argument, f=func("reader"))
        nodes = [const("asset", ""), const("other", "/etc/passwd"), call]
        graph = graph_with(nodes, outputs=["call:0"], assets={"asset:0": "vocab.txt"}, functions=[reader])
        if refused:
            with pytest.raises(UnsafeModuleError, match=r"ReadFile .node 'read' of the function 'reader'"):
                check(graph, assets={"vocab.txt": "a"})
        else:
            check(graph, assets={"vocab.txt": "a"})


@pytest.mark.parametrize(("stream", "refused"), [("stderr", False), ("log(info)", False), ("file:///tmp/x", True)])
def test_printing_to_a_file(check, stream, refused):
    graph = graph_with(node("print", "PrintV2", "y", output_stream=text(stream)), outputs=["print"])
    if refused:
        with pytest.raises(UnsafeModuleError, match="PrintV2"):
            check(graph)
    else:
        check(graph)


@pytest.mark.parametrize(
    "op",
    [
        "WriteFile",
        "MatchingFiles",
        "WholeFileReaderV2",
        "TextLineReader",
        "FixedLengthRecordReaderV2",
        "TFRecordReader",
        "IdentityReader",
        "LMDBReader",
        "PyFunc",
        "PyFuncStateless",
        "EagerPyFunc",
        "Save",
        "SaveSlices",
        "SaveV2",
        "MergeV2Checkpoints",
        "Restore",
        "RestoreSlice",
        "RestoreV2",
        "LoadAndRemapMatrix",
        "GenerateVocabRemapping",
        "ImmutableConst",
        "FileSystemSetConfiguration",
        "TextLineDataset",
        "TFRecordDatasetV2",
        "FixedLengthRecordDataset",
        "CSVDatasetV2",
        "SqlDataset",
        "ExperimentalSqlDataset",
        "LMDBDataset",
        "CacheDataset",
        "SnapshotDatasetV2",
        "SaveDatasetV2",
        "LoadDataset",
        "DatasetFromGraph",
        "DataServiceDatasetV4",
        "GeneratorDataset",
        "CreateSummaryFileWriter",
        "CreateSummaryDbWriter",
        "WriteSummary",
        "DebugIdentityV2",
        "DebugNumericSummary",
        "RemoteCall",
        "_Send",
        "_Recv",
        "RemoteFusedGraphExecute",
        "RpcClient",
        "RpcCall",
        "CollectiveInitializeCommunicator",
        "Print",
        "Abort",
        "ConfigureDistributedTPU",
        "XlaLaunch",
        "FFmpegDecodeVideo",
    ],
)
def test_not_listed(op):
    assert not is_listed(op)


@pytest.mark.parametrize(
    "op",
    [
        "MatMul",
        "ReadVariableOp",
        "TensorArrayReadV3",
        "TensorArrayWriteV3",
        "LookupTableImportV2",
        "DecodeJpeg",
        "ShardedFilename",
        "Snapshot",
        "Assert",
        "PlaceholderWithDefault",
        "ParseExample",
    ],
)
def test_listed(op):
    assert is_listed(op)


def test_a_graph_of_ten_thousand_nodes_takes_a_moment(tmp_path):
    """Also with a saver, which makes it look for what can run (about 15 ms); the limit is for a busy machine."""
    nodes = [node(f"op_{i}", "AddV2", f"op_{i - 1}" if i else "x", "x", T=dtype("float32")) for i in range(10_000)]
    saver = [const("file", "f"), node("save", "SaveV2", "file")]
    graph = graph_with(nodes, saver, outputs=["op_9999:0"])
    description = read_module(write_module(tmp_path / "m", graph, hub=False))

    def duration():
        start = time.process_time()
        look_at(description, OpPolicy())
        return time.process_time() - start

    assert min(duration() for _ in range(5)) < 0.1


@pytest.mark.parametrize("path", sorted(GOLDEN.iterdir()) if GOLDEN.is_dir() else [], ids=lambda path: path.name)
def test_golden_modules_pass(path):
    look_at(read_module(path), OpPolicy())
