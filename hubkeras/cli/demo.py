"""`hubkeras demo`: a module in TF1 Hub format, looked at, applied, and put under a classifier."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

import hubkeras
from hubkeras.cli.verbs import quiet_tensorflow, verb

if TYPE_CHECKING:
    import keras
    import numpy as np
    import tensorflow as tf

DATA = Path(__file__).parent.parent / "data"
MODULE = DATA / "topics_embedding"
TRAINING_SENTENCES = 60
PROBES = (
    "My grandmother peels potatoes for the soup",
    "The chef seasons a spicy stew",
    "Fog and drizzle over the harbour",
    "Gusts and hail along the coast",
    "The striker and the goalkeeper lost the final",
    "The coach trains her players before the championship",
)


class Labelled(NamedTuple):
    """Sentences with the numbers of their topics."""

    sentences: list[str]
    labels: np.ndarray


@verb(
    examples=("hubkeras demo --epochs 5",),
    short_help="Look at a small text embedding and train a classifier on it.",
)
@click.option(
    "--epochs", type=click.IntRange(1), default=30, show_default=True, help="Passes over the training sentences."
)
def command(epochs: int) -> None:
    """Looks at a small text embedding, finds neighbours, and trains a classifier on it.

    Runs on a module and sentences that come with hubkeras, without a network. It writes nothing but text.
    """
    with quiet_tensorflow():
        import keras

        keras.utils.set_random_seed(1)
        module = hubkeras.load(MODULE)
        show_module(module)
        show_neighbours(module)
        train_classifier(epochs)


def show_module(module: hubkeras.Module) -> None:
    """Prints graph variants, signatures, variables and assets."""
    print(f"Module {MODULE.name}, TF1 Hub format, in {MODULE.parent}\n")
    print("  graph variants (tags):", ", ".join(str(sorted(tags)) for tags in module.get_tags()))
    for name in module.get_signature_names():
        print(f"  signature {name!r}")
        for side, infos in (("in ", module.get_input_info_dict(name)), ("out", module.get_output_info_dict(name))):
            for key, info in infos.items():
                print(f"    {side} {key}: {info.dtype.name} {info.get_shape()}")
    for name, variable in module.variable_map.items():
        parts = variable if isinstance(variable, list) else [variable]
        shapes = " + ".join(str(tuple(part.shape)) for part in parts)
        print(f"  variable {name}: {parts[0].dtype.name} {shapes}")
    for asset in sorted((MODULE / "assets").iterdir()):
        print(f"  asset {asset.name}: {asset.stat().st_size} bytes")


def show_neighbours(module: hubkeras.Module) -> None:
    """Prints, for each probe, the other one whose vector points the most alike."""
    import numpy as np

    vectors = module(list(PROBES)).numpy()
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = unit @ unit.T - 2 * np.eye(len(PROBES))
    print("\nNearest sentence by the cosine of the embeddings:\n")
    for sentence, row in zip(PROBES, cosines, strict=True):
        print(f"  {sentence}\n    {row.max():.2f}  {PROBES[int(row.argmax())]}")


def train_classifier(epochs: int) -> None:
    """Trains a dense layer on the frozen module and prints its accuracy before and after."""
    topics, training, test = read_sentences()
    model = build_classifier(len(topics))
    print(f"\nA classifier of {', '.join(topics)}: KerasLayer (frozen) and Dense\n")
    print(f"  accuracy on {len(test.sentences)} sentences, untrained: {accuracy(model, test):.3f}")
    batches = dataset(training).shuffle(len(training.sentences), seed=1).batch(16)
    model.fit(batches, epochs=epochs, verbose=0, shuffle=False)  # pyright: ignore[reportArgumentType]
    print(f"  after {epochs} epochs over {len(training.sentences)} other sentences: {accuracy(model, test):.3f}")


def read_sentences() -> tuple[list[str], Labelled, Labelled]:
    """Reads the labelled sentences.

    Returns:
        The topics, the sentences to train on, and those to test on.
    """
    import numpy as np

    rows = [line.split("\t") for line in (DATA / "topics.tsv").read_text(encoding="utf8").splitlines()]
    topics = sorted({topic for topic, _ in rows})
    labels = np.array([topics.index(topic) for topic, _ in rows])
    sentences = [sentence for _, sentence in rows]
    cut = TRAINING_SENTENCES
    return topics, Labelled(sentences[:cut], labels[:cut]), Labelled(sentences[cut:], labels[cut:])


def build_classifier(classes: int) -> keras.Model:
    """Returns a compiled model: the module, frozen, and a dense layer that starts at zero."""
    import keras
    import tensorflow as tf

    model = keras.Sequential(
        [
            hubkeras.KerasLayer(MODULE, input_shape=[], dtype=tf.string, trainable=False),
            keras.layers.Dense(classes, activation="softmax", kernel_initializer="zeros"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.05), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def dataset(labelled: Labelled) -> tf.data.Dataset:
    """Returns pairs of a sentence and its label."""
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((labelled.sentences, labelled.labels))


def accuracy(model: keras.Model, labelled: Labelled) -> float:
    """Returns the share of sentences that the model puts under their topic."""
    batches = dataset(labelled).batch(64)
    found = model.evaluate(batches, verbose=0, return_dict=True)  # pyright: ignore[reportArgumentType]
    return found["accuracy"]
