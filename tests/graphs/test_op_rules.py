import time
from pathlib import Path

import forks
import pytest
import tensorflow as tf
from savedmodel.builder import AttrValue, dtype, node, text
from tensorflow.core.protobuf import saved_model_pb2

from hubkeras.graphs import op_rules
from hubkeras.graphs.op_registry import op_def
from hubkeras.graphs.op_rules import (
    AssetCondition,
    AttributeCondition,
    is_listed,
    is_unconditional,
    objection,
    parse_conditions,
)

TABLE = Path(op_rules.__file__).with_name("allowed_ops.tsv")
REFUSED = Path(__file__).with_name("refused_ops.txt")
GOLDEN = Path(__file__).parents[1] / "golden" / "modules"
LIST_OPS = """
from tensorflow.core.framework.op_def_pb2 import OpList
from tensorflow.python.client import pywrap_tf_session as session
for op in OpList.FromString(session.TF_GetBuffer(session.TF_GetAllOpList())).op: print(op.name)
"""
NOT_LISTED = "is not on the list of allowed operations"
SAVES_VARIABLES = {"SaveV2", "RestoreV2", "MergeV2Checkpoints"}
"""The saver's, which every SavedModel holds and nobody runs."""
REFUSED_NAMES = """
    Abort BoostedTreesMakeStatsSummary CSVDatasetV2 CacheDataset CollectiveInitializeCommunicator CollectiveReduceV2
    ConfigureDistributedTPU CreateSummaryDbWriter CreateSummaryFileWriter DTensorRestoreV2 DataServiceDatasetV4
    DatasetFromGraph DatasetToGraphV2 DebugIdentityV2 DebugNumericSummary DecodeProtoV2 DeserializeIterator DumpTensor
    EagerPyFunc EncodeProto ExperimentalSqlDataset FFmpegDecodeVideo FileSystemSetConfiguration FixedLengthRecordDataset
    FixedLengthRecordReaderV2 GenerateVocabRemapping GeneratorDataset GetSessionHandle IO>ReadMem IdentityReader
    ImmutableConst ImportEvent IteratorFromStringHandle LMDBDataset LMDBReader LoadAndRemapMatrix LoadDataset
    MatchingFiles MergeV2Checkpoints MultiDeviceIteratorInit Print PyFunc PyFuncStateless ReaderReadV2 RecordInput Recv
    RemoteCall RemoteFusedGraphExecute Restore RestoreSlice RestoreV2 RpcCall RpcClient Save SaveDatasetV2 SaveSlices
    SaveV2 Send SerializeIterator Skipgram SnapshotDatasetV2 SplitDedupData SqlDataset TFRecordDatasetV2 TFRecordReader
    TextLineDataset TextLineReader WholeFileReaderV2 WriteFile WriteSummary XlaCallModule XlaCustomCallV2 XlaLaunch
    _Arg _Recv _Retval _Send
"""
ALLOWED_NAMES = """
    AddV2 Assert AvgPoolGrad BatchMatMulV2 Case Conv2D Conv2DBackpropFilter CudnnRNNV3 DecodeJpeg DecodeWav
    Dequantize DeviceIndex Einsum Enter Exit FFT FIFOQueueV2 FakeQuantWithMinMaxVars FusedBatchNormV3
    HashTableV2 IFFT LookupTableImportV2 MatMul Mfcc MutableHashTableV2 OneShotIterator ParseExample
    PartitionedCall PlaceholderWithDefault RaggedGather ReadVariableOp ResourceApplyAdam SentencepieceOp
    SentencepieceTokenizeOp ShardedFilename Snapshot SparseTensorDenseMatMul StackPushV2 StatefulUniform
    StatelessRandomUniformV2 StatelessWhile StringSplitV2 Svd Switch TFText>RoundRobinTrim TensorArrayReadV3
    TensorArrayWriteV3 TensorListReserve VarHandleOp VariableV2 While WordpieceTokenizeWithOffsets
"""


def rows():
    lines = TABLE.read_text("utf-8").splitlines()
    return [line.split("\t") for line in lines if not line.startswith("#")]


def never(position):
    raise AssertionError(position)


def test_the_table_is_sorted_and_complete():
    ops = [op for op, _, _ in rows()]
    assert ops == sorted(set(ops))
    assert all(why for _, _, why in rows())
    assert not [op for op in ops if op.startswith("_")]


@pytest.mark.parametrize(("op", "text"), [(op, text) for op, text, _ in rows() if text])
def test_conditions_speak_of_what_the_op_has(op, text):
    definition = op_def(op)
    attrs = {attr.name: attr for attr in definition.attr}
    for condition in parse_conditions(text):
        if isinstance(condition, AssetCondition):
            assert condition.position < len(definition.input_arg)
        elif attrs[condition.name].type != "string":
            assert attrs[condition.name].type in {"type", "list(type)"}
            assert all(tf.as_dtype(value) for value in condition.values)


def test_every_op_of_this_tensorflow_is_listed_or_refused():
    """In a process of its own, in which no test has imported a package that registers more."""
    run = forks.run(LIST_OPS)
    assert run.returncode == 0, run.stderr
    names = set(run.stdout.split())
    assert len(names) > 1500
    assert {"MatMul", "_Retval"} < names
    refused = REFUSED.read_text("utf-8").split()
    assert refused == sorted(set(refused))
    assert not {op for op in refused if is_listed(op)}
    new = sorted(op for op in names - set(refused) if not is_listed(op) and not op.startswith("_"))
    assert not new, f"Ops that nobody has judged; put each in {TABLE.name} or in {REFUSED.name}: {' '.join(new)}"


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("**/saved_model.pb")), ids=lambda path: path.parent.name)
def test_ops_of_golden_modules_are_listed(path):
    saved_model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for meta_graph in saved_model.meta_graphs:
        library = meta_graph.graph_def.library
        nodes = [*meta_graph.graph_def.node, *(node for function in library.function for node in function.node_def)]
        ops = {node.op for node in nodes} - {function.signature.name for function in library.function}
        assert {op for op in ops if not is_listed(op)} <= SAVES_VARIABLES


@pytest.mark.parametrize("op", REFUSED_NAMES.split())
def test_refused(op):
    assert not is_listed(op)
    assert not is_unconditional(op)
    expected = "is internal to TensorFlow" if op.startswith("_") else NOT_LISTED
    assert objection(node("n", op), never) == expected


@pytest.mark.parametrize("op", ALLOWED_NAMES.split())
def test_allowed(op):
    assert is_listed(op)
    assert objection(node("n", op), never) is None or not is_unconditional(op)


@pytest.mark.parametrize(
    ("op", "position"), [("ReadFile", 0), ("InitializeTableFromTextFile", 1), ("InitializeTableFromTextFileV2", 1)]
)
def test_files_are_assets(op, position):
    assert is_listed(op)
    assert not is_unconditional(op)
    assert objection(node("n", op, "a", "b"), lambda asked: asked == position) is None
    reason = objection(node("n", op, "a", "b"), lambda asked: asked != position)
    assert reason == "reads a file that is not an asset of the module"


@pytest.mark.parametrize(
    ("stream", "refused"),
    [
        ("stderr", False),
        ("stdout", False),
        ("log(info)", False),
        ("log(error)", False),
        ("file:///tmp/x", True),
        ("file://", True),
        ("stderr ", True),
        ("", True),
        (None, False),
    ],
)
def test_printing(stream, refused):
    attrs = {} if stream is None else {"output_stream": text(stream)}
    reason = objection(node("n", "PrintV2", **attrs), never)
    assert reason == (f"has output_stream={stream!r}" if refused else None)


@pytest.mark.parametrize(("file", "refused"), [("", False), (None, False), ("/etc/passwd", True)])
def test_an_attribute_that_must_be_empty(file, refused):
    attrs = {} if file is None else {"vocab_file": text(file)}
    reason = objection(node("n", "FixedUnigramCandidateSampler", **attrs), never)
    assert reason == ("has vocab_file='/etc/passwd'" if refused else None)


@pytest.mark.parametrize(
    ("name", "refused"), [("bool", False), ("float32", False), ("resource", True), ("variant", True)]
)
@pytest.mark.parametrize("op", ["If", "StatelessIf"])
def test_a_dtype_that_ends_the_process(op, name, refused):
    reason = objection(node("n", op, Tcond=dtype(name)), never)
    assert reason == (f"has Tcond={name!r}" if refused else None)


def test_dtypes_that_cannot_be_told_are_refused():
    assert objection(node("n", "If"), never) == "has no value of its own for Tcond"
    assert objection(node("n", "If", Tcond=AttrValue(placeholder="T")), never) == "has no value of its own for Tcond"


def test_a_reference_is_what_it_refers_to():
    assert objection(node("n", "If", Tcond=AttrValue(type=120)), never) == "has Tcond='resource'"
    condition = AttributeCondition("T", frozenset({"float"}), is_negated=False)
    assert condition.objection(node("n", "NoOp", T=AttrValue(type=101)), never) is None
    assert condition.objection(node("n", "NoOp", T=AttrValue(type=9999)), never) == "has T='9999'"


def test_lists_of_dtypes():
    one_of = AttributeCondition("T", frozenset({"float", "int32"}), is_negated=False)
    none_of = AttributeCondition("T", frozenset({"resource"}), is_negated=True)
    listed = AttrValue(list=AttrValue.ListValue(type=[1, 20]))
    assert one_of.objection(node("n", "NoOp", T=AttrValue(list=AttrValue.ListValue(type=[1, 3]))), never) is None
    assert one_of.objection(node("n", "NoOp", T=listed), never) == "has T='resource'"
    assert none_of.objection(node("n", "NoOp", T=listed), never) == "has T='resource'"


def test_conditions_are_parsed():
    assert parse_conditions("") == ()
    assert parse_conditions("asset(12);T!=resource|variant;file=") == (
        AssetCondition(12),
        AttributeCondition("T", frozenset({"resource", "variant"}), is_negated=True),
        AttributeCondition("file", frozenset({""}), is_negated=False),
    )
    with pytest.raises(ValueError, match="asset\\(x\\)"):
        parse_conditions("asset(x)")


def test_the_table_is_read_in_a_moment():
    """It takes about 2 ms; the limit is for a busy machine."""

    def duration():
        op_rules._rules.cache_clear()
        start = time.perf_counter()
        is_listed("MatMul")
        return time.perf_counter() - start

    assert min(duration() for _ in range(5)) < 0.01
