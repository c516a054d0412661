"""Which operations reach out of a graph: to files, the network, other processes or Python.

The list follows what TensorFlow registers, not what modules were seen to use: no module for inference or fine-tuning
needs one of them. An operation that this process does not know cannot run, and is not judged here.
"""

from __future__ import annotations

from functools import cache

FILE_NAME_INPUTS = {"InitializeTableFromTextFile": 1, "InitializeTableFromTextFileV2": 1, "ReadFile": 0}
"""Ops that read the file which this input names; fine if it is an asset of the module."""
PRINT_TO_STREAM = "PrintV2"
"""Writes a file if its attribute `output_stream` says so."""

_FORBIDDEN = frozenset(
    {
        "Abort",
        "CalibrationStatisticsSaver",
        "CollectiveInitializeCommunicator",
        "DTensorRestoreV2",
        "DistributedSave",
        "DumpTensor",
        "FileSystemSetConfiguration",
        "GenerateVocabRemapping",
        "GeneratorDataset",
        "ImmutableConst",
        "ListSnapshotChunksDataset",
        "LoadAndRemapMatrix",
        "LoadDataset",
        "MergeV2Checkpoints",
        "Print",
        "RecordInput",
        "Recv",
        "RemoteCall",
        "Send",
        "Skipgram",
        "TPUPartitionedCall",
        "XlaCustomCall",
        "XlaCustomCallV2",
        "XlaHostCompute",
        "XlaRecvFromHost",
        "XlaSendToHost",
        "_HostRecv",
        "_HostSend",
        "_Recv",
        "_Send",
    }
)
_FORBIDDEN_PREFIXES = (
    "CSVDataset",
    "CacheDataset",
    "ConfigureAndInitializeGlobalTPU",
    "ConfigureDistributedTPU",
    "ConfigureTPU",
    "CreateSummary",
    "DataServiceDataset",
    "DatasetFromGraph",
    "DatasetToTFRecord",
    "Debug",
    "EagerPyFunc",
    "FixedLengthRecord",
    "IdentityReader",
    "LMDB",
    "MatchingFiles",
    "PyFunc",
    "RegisterDataset",
    "RemoteFusedGraphExecute",
    "Restore",
    "Rpc",
    "Save",
    "ShutdownDistributedTPU",
    "ShutdownTPU",
    "SnapshotChunkDataset",
    "SnapshotDataset",
    "SnapshotNestedDataset",
    "SqlDataset",
    "TFRecord",
    "TextLine",
    "WholeFileReader",
    "Write",
    "XlaLaunch",
    "_ConfigureDistributedTPU",
    "_ShutdownDistributedTPU",
    "_XlaRun",
)


@cache
def is_forbidden(op: str) -> bool:
    """Tells whether an op type is never allowed unless the caller names it.

    Args:
        op: The type, such as "WriteFile".

    Returns:
        True if so. False for the types which depend on how they are used: see `is_suspect`.

    Example:
        >>> is_forbidden("WriteFile"), is_forbidden("TensorArrayWriteV3")
        (True, False)
    """
    plain = op.removeprefix("Experimental")
    return op in _FORBIDDEN or plain.startswith(_FORBIDDEN_PREFIXES) or "DecodeVideo" in op


@cache
def is_suspect(op: str) -> bool:
    """Tells whether an op type deserves a look: forbidden, or allowed under a condition.

    Args:
        op: The type.

    Returns:
        True if so.
    """
    return is_forbidden(op) or op in FILE_NAME_INPUTS or op == PRINT_TO_STREAM
