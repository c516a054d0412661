"""In what two graph variants of a module differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hubkeras.inspection.summary import ModuleSummary, VariantSummary


@dataclass(frozen=True)
class Difference:
    """One thing that two variants do not have in common."""

    what: str
    first: str
    second: str


def other_variants(summary: ModuleSummary) -> list[tuple[VariantSummary, list[Difference]]]:
    """Returns the graph variants besides the default one, each with how it differs from that."""
    default = summary.default_variant
    return [(variant, compare(default, variant)) for variant in summary.variants if variant is not default]


def compare(first: VariantSummary, second: VariantSummary) -> list[Difference]:
    """Returns the differences of two graph variants."""
    pairs = [
        ("nodes", str(sum(first.ops.values())), str(sum(second.ops.values()))),
        ("functions", str(first.functions), str(second.functions)),
        ("control flow", first.control_flow or "none", second.control_flow or "none"),
        ("update ops", str(len(first.update_ops)), str(len(second.update_ops))),
        ("regularization losses", str(len(first.regularization_losses)), str(len(second.regularization_losses))),
        ("signatures", *_only(_signatures(first), _signatures(second))),
        ("trainable variables", *_only(first.trainable_variables, second.trainable_variables)),
        ("attached messages", *_only((a.key for a in first.attachments), (a.key for a in second.attachments))),
    ]
    found = [Difference(what, one, other) for what, one, other in pairs if one != other]
    for op in sorted({*first.ops, *second.ops}):
        counts = first.ops.get(op, 0), second.ops.get(op, 0)
        if counts[0] != counts[1]:
            found.append(Difference(f"op {op}", *map(str, counts)))
    return found


def _signatures(variant: VariantSummary) -> Iterable[str]:
    return (
        f"{s.name}({', '.join(i.name for i in s.inputs)}) -> {', '.join(o.name for o in s.outputs)}"
        for s in variant.signatures
    )


def _only(first: Iterable[str], second: Iterable[str]) -> tuple[str, str]:
    """Returns what stands on one side only, as two texts that are equal where nothing does."""
    ours, theirs = list(first), list(second)
    missing = [name for name in ours if name not in theirs], [name for name in theirs if name not in ours]
    return (", ".join(missing[0]) or "-", ", ".join(missing[1]) or "-")
