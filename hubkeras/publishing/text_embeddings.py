"""`hubkeras.publish_text_embedding`: a file of word vectors becomes a text embedding.

What its graph computes is what the example exporters of TF Hub gave their modules (examples/text_embeddings and
examples/text_embeddings_v2 of its repository).
"""

from __future__ import annotations

import tempfile
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import keras
import tensorflow as tf

from hubkeras.errors import MissingFileError, PublishingError
from hubkeras.handles.progress import progress_meter
from hubkeras.layers.keras_layer import KerasLayer
from hubkeras.modules.export import write_graphs
from hubkeras.modules.staging import new_directory, new_file
from hubkeras.publishing.common_signatures import add_text_embedding_signature
from hubkeras.publishing.embedding_tables import Table, read_table, save_table, table_variables
from hubkeras.publishing.module_specs import create_module_spec

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

v1 = tf.compat.v1
_VARIABLE = "embeddings"


def publish_text_embedding(
    file: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    to: Literal["tf1_hub", "keras", "saved_model"] = "tf1_hub",
    preprocess_text: bool = True,
    num_oov_buckets: int = 1,
    partitions: int = 1,
) -> None:
    r"""Makes a text embedding of a file of word vectors.

    With `preprocess_text` it takes sentences: punctuation is removed (what the pattern `\pP` matches), the rest is
    split at spaces, and the vectors of the tokens are added and divided by the square root of their number. Without, it
    takes tokens and gives each one's vector. A token that the file lacks has the vector of its bucket: zeros, until it
    is trained; so has a text without tokens.

    The file is read once, a few megabytes at a time; a terminal shows how far it is. Memory holds no table of a module
    in TF1 Hub format, one of a SavedModel, and that of a Keras model with a copy of the partition that Keras is
    writing. The form of the file is that of GloVe, fastText (`.vec`) or word2vec (text output), plain or packed with
    gzip: lines of a token and its numbers, separated by spaces or tabs, perhaps below a line with their counts. Tokens
    are UTF-8 and may hold spaces, though only a module that takes tokens can find these.

    Args:
        file: The file of word vectors.
        path: Where to write: a directory that does not exist yet or is empty; for "keras" a file that does not exist
            yet and ends in ".keras".
        to: "tf1_hub" for a module in TF1 Hub format, which hubkeras and tensorflow-hub 0.15 load and fine-tune; "keras"
            for a Keras model of one trainable `KerasLayer`; "saved_model" for a reusable TF2 SavedModel.
        preprocess_text: Whether the input is sentences (named "sentences") and not tokens (named "tokens").
        num_oov_buckets: How many buckets unknown tokens are spread over by their hash, at least 1. More than one makes
            a difference only after training.
        partitions: Into how many variables the table is split along its first axis, as wanted for parameter servers.

    Raises:
        MissingFileError: There is no such file.
        EmbeddingFileError: It holds something else; the message names the line. Rows of different width, tokens that
            stand there twice, numbers that are none, other encodings than UTF-8, or a wrong first line are refused.
        ExportExistsError: There is something at `path`.
        ExportError: It could not be written. After any error, nothing is left behind.
        PublishingError: An argument is out of its range.

    Example:
        >>> hubkeras.publish_text_embedding("glove.6B.50d.txt", "glove_50d")  # doctest: +SKIP
        >>> hubkeras.load("glove_50d")(["a list", "of sentences"]).shape  # doctest: +SKIP
        TensorShape([2, 50])

    It does not lower the case of texts: where all tokens of the file are in lower case, texts must be, too.
    """
    embedding = _Embedding(Path(file).expanduser(), preprocess_text, num_oov_buckets, partitions)
    _check(embedding, Path(path), to)
    what = f"a text embedding of {file}"
    if to == "keras":
        with new_file(path, what) as target:
            embedding.write_keras_model(target)
    else:
        with new_directory(path, what) as target:
            (embedding.write_module if to == "tf1_hub" else embedding.write_saved_model)(target)


def _check(embedding: _Embedding, path: Path, to: str) -> None:
    problem = f"Cannot publish a text embedding of {embedding.file}"
    if to not in ("tf1_hub", "keras", "saved_model"):
        raise PublishingError(problem, expected='to="tf1_hub", "keras" or "saved_model"', received=f"to={to!r}")
    if to == "keras" and path.suffix != ".keras":
        raise PublishingError(problem, expected="the path of a file that ends in .keras", received=str(path))
    for name in ("num_oov_buckets", "partitions"):
        number = getattr(embedding, name)
        if not isinstance(number, int) or number < 1:
            raise PublishingError(problem, expected=f"{name}= a whole number from 1", received=f"{name}={number!r}")
    if not embedding.file.is_file():
        raise MissingFileError(f"{problem}: there is no such file")


@dataclass(frozen=True)
class _Embedding:
    """What is to be made of a file."""

    file: Path
    preprocess_text: bool
    num_oov_buckets: int
    partitions: int

    @property
    def input_name(self) -> str:
        return "sentences" if self.preprocess_text else "tokens"

    def write_module(self, directory: Path) -> None:
        """Writes a module in TF1 Hub format."""
        # Beside the target, where there is room for a table of gigabytes if there is for the module.
        with tempfile.TemporaryDirectory(dir=directory.parent) as temporary:
            table = self._read(Path(temporary))
            spec = create_module_spec(partial(self._build, table))
            write_graphs(spec.description, directory)
            (directory / "variables").mkdir()
            # In place of an export, which would hold the whole table in memory as a variable first.
            save_table(table, spec.description.variables.values(), directory / "variables" / "variables")

    def write_keras_model(self, file: Path) -> None:
        """Writes a `.keras` file that holds the module."""
        with tempfile.TemporaryDirectory(dir=file.parent) as temporary:
            module = Path(temporary, "module")
            module.mkdir()
            self.write_module(module)
            layer = KerasLayer(module, trainable=True, name="text_embedding")
            model = keras.Sequential([keras.Input((), dtype="string", name=self.input_name), layer])
            # In place of `model.save(file)`, which builds the file in memory, with more copies of the table, wherever
            # there is room.
            saved = Path(temporary, "model")
            keras.saving.save_model(model, saved, zipped=False)
            with zipfile.ZipFile(file, "w") as archive:
                for path in sorted(path for path in saved.rglob("*") if path.is_file()):
                    archive.write(path, path.relative_to(saved))

    def write_saved_model(self, directory: Path) -> None:
        """Writes a TF2 SavedModel with what https://www.tensorflow.org/hub/reusable_saved_models asks for."""
        with tempfile.TemporaryDirectory(dir=directory.parent) as temporary:
            table = self._read(Path(temporary))
            parts = table_variables(table, _part_sizes(table.rows, self.partitions), _VARIABLE)
            vocabulary = self._vocabulary(table)

            def call(texts: tf.Tensor) -> tf.Tensor:
                return self._vectors(texts, vocabulary, parts)

            signature = [tf.TensorSpec([None], tf.string, self.input_name)]
            # A Checkpoint takes any attributes and is nothing but trackable, so the file needs no class of ours.
            loaded = tf.train.Checkpoint(
                vocabulary=vocabulary, variables=parts, trainable_variables=parts, regularization_losses=[]
            )
            loaded.__call__ = tf.function(call, input_signature=signature, autograph=False)
            tf.saved_model.save(loaded, str(directory))

    def _read(self, directory: Path) -> Table:
        size = self.file.stat().st_size
        with progress_meter(self.file.name, None, doing="Reading") as meter:
            table = read_table(self.file, directory, self.num_oov_buckets, partial(meter.add, total=size))
        if self.partitions > table.rows:
            raise PublishingError(
                f"Cannot split the table of {self.file}",
                expected=f"partitions= at most the number of rows, {table.rows}",
                received=f"partitions={self.partitions}",
            )
        return table

    def _vocabulary(self, table: Table) -> tf.lookup.StaticVocabularyTable:
        """Returns the table of tokens, whose ids are the numbers of their lines."""
        lines, index = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
        initializer = tf.lookup.TextFileInitializer(str(table.vocabulary), tf.string, lines, tf.int64, index)
        return tf.lookup.StaticVocabularyTable(initializer, self.num_oov_buckets)

    def _build(self, table: Table) -> None:
        """Builds the graph of a module, in which the table's values do not stand."""
        texts = v1.placeholder(tf.string, [None], self.input_name)
        partitioner = v1.fixed_size_partitioner(self.partitions) if self.partitions > 1 else None
        # An initializer that costs nothing, in whose place come the values of the checkpoint.
        zeros = v1.zeros_initializer()
        shape = [table.rows, table.width]
        variable = v1.get_variable(_VARIABLE, shape, tf.float32, zeros, partitioner=partitioner)
        parts = list(variable) if partitioner else [variable]
        vectors = self._vectors(texts, self._vocabulary(table), parts)
        add_text_embedding_signature(texts, vectors, input_name=self.input_name)

    def _vectors(self, texts: tf.Tensor, vocabulary: tf.lookup.StaticVocabularyTable, parts: Sequence[Any]) -> Any:
        """Returns the vectors of texts, of shape [batch, width]."""
        if not self.preprocess_text:
            ids = vocabulary.lookup(texts)
            return v1.nn.embedding_lookup(parts, ids, partition_strategy="div")
        tokens = v1.string_split(tf.strings.regex_replace(texts, r"\pP", ""), " ")
        ids = tf.SparseTensor(tokens.indices, vocabulary.lookup(tokens.values), tokens.dense_shape)
        # a row without tokens would otherwise be left out of the sums, or be missing at the end of the batch
        ids, _ = tf.sparse.fill_empty_rows(ids, vocabulary.lookup(tf.constant("")))
        vectors = v1.nn.embedding_lookup_sparse(parts, ids, None, combiner="sqrtn", partition_strategy="div")
        # The sum over sparse ids loses the width, which the signature must tell.
        vectors.set_shape([None, parts[0].shape[1]])
        return vectors


def _part_sizes(rows: int, partitions: int) -> list[int]:
    """Splits rows as a fixed_size_partitioner does, and as "div" looks them up: the first parts have one more."""
    return [rows // partitions + (part < rows % partitions) for part in range(partitions)]
