"""Which graph variants of a module are meant, and what they make of its variables."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from hubkeras.errors import TagsError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hubkeras.savedmodel.description import GraphVariant, ModuleDescription, Tags, VariableSpec


def choose_variant(description: ModuleDescription, tags: Iterable[str]) -> GraphVariant:
    """Returns the graph variant with the tags given, in any order.

    Raises:
        TagsError: There is none.
    """
    if not isinstance(tags, str):  # a collection of its letters, which could even be a tag set
        wanted = frozenset(tags)
        for variant in description.variants:
            if variant.tags == wanted:
                return variant
    raise TagsError(
        f"No graph variant of module {description.label} has tags={tags if isinstance(tags, str) else sorted(tags)!r}",
        expected=f"a collection of tags out of {[sorted(t) for t in description.tag_sets]}",
        received=repr(tags if isinstance(tags, str) else sorted(tags)),
        fix=f"Write tags={[tags]!r}" if isinstance(tags, str) else "",
    )


def choose_tags(
    description: ModuleDescription, tags: Iterable[str] | None, train_tags: Iterable[str] | None
) -> tuple[Tags, Tags]:
    """Chooses the graph variants for inference and training.

    Raises:
        TagsError: There is no such variant, or none that could be the default.
    """
    if tags is not None:
        infer = choose_variant(description, tags).tags
    elif frozenset() in description.tag_sets:
        infer = frozenset()
    elif len(description.tag_sets) == 1:
        infer = description.tag_sets[0]
    else:
        raise TagsError(
            f"Module {description.label} has several graph variants and none without tags",
            expected=f"tags= one of {[sorted(t) for t in description.tag_sets]}",
            received="tags=None",
        )
    if train_tags is not None:
        return infer, choose_variant(description, train_tags).tags
    with_train = infer | {"train"}
    return infer, with_train if with_train in description.tag_sets else infer


def variable_specs(description: ModuleDescription, infer: Tags, train: Tags) -> dict[str, VariableSpec]:
    """Returns the variables of all variants, trainable as the variant for training (else for inference) says."""
    # A variable is one in all variants, but each says for itself whether it trains it: the last one here decides.
    specs = dict(description.variables)
    for tags in (infer, train):
        for name, spec in choose_variant(description, tags).variables.items():
            specs[name] = dataclasses.replace(specs[name], trainable=spec.trainable)
    return specs
