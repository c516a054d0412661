"""From a handle to a module: graph variants by their tags, and what is refused."""

import os
from pathlib import Path

import pytest
import tensorflow as tf
from building import variable, write

import hubkeras
from hubkeras.errors import HandleError, HubKerasError, TagsError
from hubkeras.modules.variants import choose_tags

v1 = tf.compat.v1


def build(tags):
    x = v1.placeholder(tf.float32, [None], "x")
    w = variable("w", 2.0)
    return {"default": ({"x": x}, {"default": x * w + float(len(tags))})}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write(tmp_path_factory.mktemp("m") / "m", build, [("train",), (), ("train", "nodrop")])


@pytest.mark.parametrize(
    "tags",
    [
        ["train", "nodrop"],
        ["nodrop", "train"],
        ("train", "nodrop"),
        {"train", "nodrop"},
        frozenset({"train", "nodrop"}),
    ],
)
def test_tags_compare_as_sets(path, tags):
    module = hubkeras.load(path, tags=tags)
    assert module.tags == {"train", "nodrop"}
    assert module([1.0]).numpy() == [4.0]


def test_the_default_variant_is_the_one_without_tags_wherever_it_lies(path):
    module = hubkeras.load(path)
    assert (module.tags, module.train_tags) == (frozenset(), frozenset({"train"}))
    assert module([1.0]).numpy() == [2.0]
    assert module([1.0], training=True).numpy() == [3.0]
    chosen = hubkeras.load(path, train_tags=["train", "nodrop"])
    assert chosen([1.0], training=True).numpy() == [4.0]


def test_the_only_variant_is_the_default_whatever_its_tags(tmp_path):
    module = hubkeras.load(write(tmp_path / "m", build, [("serve",)]))
    assert module.tags == module.train_tags == {"serve"}
    assert module([1.0]).numpy() == [3.0]


def test_several_variants_and_none_without_tags(tmp_path):
    path = write(tmp_path / "m", build, [("a",), ("b",)])
    with pytest.raises(TagsError, match=r"tags= one of \[\['a'\], \['b'\]\].*tags=None"):
        hubkeras.load(path)
    assert hubkeras.load(path, tags={"b"}).tags == {"b"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"tags": {"nope"}}, "['nope'] [['train'], [], ['nodrop', 'train']]"),
        ({"tags": "train"}, "'train' tags=['train']"),
        ({"train_tags": ["nope"]}, "['nope'] ['train']"),
    ],
)
def test_unknown_tags_are_refused(path, arguments, words):
    with pytest.raises(TagsError) as caught:
        hubkeras.load(path, **arguments)
    assert isinstance(caught.value, ValueError)
    for word in [str(path), *words.split(" ")]:
        assert word in str(caught.value), caught.value


def test_handles_of_every_form(path):
    for handle in (path, str(path), os.fspath(path), path.as_uri(), os.path.relpath(path)):
        assert hubkeras.load(handle)([1.0]).numpy() == [2.0]


@pytest.mark.parametrize("handle", [5, None, object(), b"bytes", ["list"]])
def test_what_is_no_handle(handle):
    with pytest.raises(HandleError, match="Received"):
        hubkeras.load(handle)


def test_nothing_there(tmp_path):
    with pytest.raises(HubKerasError, match=r"nothing_here") as caught:
        hubkeras.load(tmp_path / "nothing_here")
    assert isinstance(caught.value, (OSError, ValueError))


def test_choosing_reads_nothing(path):
    """Tags are chosen from the description alone."""
    from hubkeras.savedmodel.reader import read_module

    description = read_module(path)
    assert choose_tags(description, ["train"], None) == ({"train"}, {"train"})
    assert choose_tags(description, ["nodrop", "train"], []) == ({"train", "nodrop"}, frozenset())
    assert Path(description.path) == Path(path)
