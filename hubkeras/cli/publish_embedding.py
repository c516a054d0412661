"""`hubkeras publish-embedding`: a text embedding of a file of word vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hubkeras.cli.verbs import complete_files, quiet_tensorflow, verb

if TYPE_CHECKING:
    from typing import Literal

_EXAMPLES = (
    "hubkeras publish-embedding glove.6B.50d.txt glove_50d",
    "hubkeras publish-embedding vectors.vec.gz model.keras --to keras",
)


@verb(name="publish-embedding", examples=_EXAMPLES, short_help="Make a text embedding of a file of word vectors.")
@click.argument("file", metavar="FILE", shell_complete=complete_files)
@click.argument("path", metavar="PATH", shell_complete=complete_files)
@click.option("--to", type=click.Choice(["tf1_hub", "keras", "saved_model"]), default="tf1_hub", show_default=True)
@click.option("--tokens", is_flag=True, help="Take tokens, and no sentences that are split at spaces.")
@click.option("--oov-buckets", type=click.IntRange(1), default=1, show_default=True, help="Buckets for unknown tokens.")
@click.option(
    "--partitions", type=click.IntRange(1), default=1, show_default=True, help="Variables that the table is split into."
)
def command(
    file: str,
    path: str,
    to: Literal["tf1_hub", "keras", "saved_model"],
    tokens: bool,
    oov_buckets: int,
    partitions: int,
) -> None:
    """Makes a text embedding of a FILE of word vectors (GloVe, fastText, word2vec) and writes it to PATH."""
    with quiet_tensorflow():
        import hubkeras

        hubkeras.publish_text_embedding(
            file, path, to=to, preprocess_text=not tokens, num_oov_buckets=oov_buckets, partitions=partitions
        )
    click.echo(path)
