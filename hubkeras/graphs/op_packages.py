"""Ops that are not registered in this process, and the packages that bring those which TensorFlow does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hubkeras.errors import MissingOpError
from hubkeras.graphs.op_registry import op_def

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

_TEXT = "tensorflow_text"
_OPS = {
    "CaseFoldUTF8": _TEXT,
    "ConstrainedSequence": _TEXT,
    "FindSourceOffsets": _TEXT,
    "MaxSpanningTree": _TEXT,
    "RegexSplitWithOffsets": _TEXT,
    "RougeL": _TEXT,
    "TokenizerFromLogits": _TEXT,
    "UnicodeScriptTokenizeWithOffsets": _TEXT,
    "SentencepieceDecode": "tf_sentencepiece",
    "SentencepieceEncodeDense": "tf_sentencepiece",
    "SentencepieceEncodeSparse": "tf_sentencepiece",
    "SentencepieceGetPieceSize": "tf_sentencepiece",
    "SentencepieceGetPieceType": "tf_sentencepiece",
    "SentencepieceIdToPiece": "tf_sentencepiece",
    "SentencepiecePieceToId": "tf_sentencepiece",
}
_FAMILIES = {
    "Addons>": "tensorflow_addons",
    "DecodeProtoSparse": "struct2tensor",
    "FastBert": _TEXT,
    "FastWordpiece": _TEXT,
    "IO>": "tensorflow_io",
    "NormalizeUTF8": _TEXT,
    "Scann": "scann",
    "SentenceFragments": _TEXT,
    "Sentencepiece": _TEXT,
    "SimpleML": "tensorflow_decision_forests",
    "SplitMerge": _TEXT,
    "TFText>": _TEXT,
    "WhitespaceTokenize": _TEXT,
    "Wordpiece": _TEXT,
}
"""By how the names of their ops start."""


def package_of(op: str) -> str | None:
    """Returns the package that brings an op type, None where no such package is known."""
    return _OPS.get(op) or next((p for start, p in _FAMILIES.items() if op.startswith(start)), None)


def how_to_register(op: str) -> str:
    """Returns what to do so that an op type becomes known in this process.

    Example:
        >>> how_to_register("SentencepieceOp")
        'Run `import tensorflow_text` (install it first) and call again'

    It does not know whether the package exists for this version of Python and TensorFlow.
    """
    package = package_of(op)
    if package is None:
        return "Import the package that registers it, or load its library with tf.load_op_library, and call again"
    return f"Run `import {package}` (install it first) and call again"


def require_registered(ops: Iterable[str], functions: Collection[str], problem: str) -> None:
    """Refuses op types that this process does not know; a node may bear the name of a function in place of one.

    Raises:
        MissingOpError: One is not registered.
    """
    for op in ops:
        if op not in functions and op_def(op) is None:
            raise MissingOpError(
                f"{problem}: it needs op {op!r}",
                expected="an op that is registered in this process",
                fix=how_to_register(op),
            )
