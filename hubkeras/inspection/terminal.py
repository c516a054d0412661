"""A summary as tables on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unicodedata import category

from hubkeras.inspection.differences import other_variants

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hubkeras.inspection.summary import ModuleSummary, TensorSummary, VariantSummary
    from hubkeras.savedmodel.description import Shape

_FORMATS = {
    "tf1_hub": "TF1 Hub format",
    "saved_model": "SavedModel of TensorFlow 1",
    "tf2": "SavedModel of TensorFlow 2",
}
_MOST_ROWS, _MOST_OPS = 40, 20
_PROGRAMS = {"eager": "Call it", "keras": "In a Keras model", "fine_tuning": "Fine-tune it"}


def print_summary(summary: ModuleSummary, console: Any = None) -> None:
    """Prints a summary.

    Args:
        summary: What `hubkeras.describe` returned.
        console: A console of rich; None for standard output.

    Names of strangers are printed as they are, without what would move the cursor or change colours.
    """
    from rich.console import Console

    printer = _Printer(console or Console(highlight=False, soft_wrap=False))
    printer.facts(summary)
    printer.signatures(summary)
    printer.variables(summary)
    printer.contents(summary)
    printer.differences(summary)
    printer.programs(summary)


class _Printer:
    def __init__(self, console: Any) -> None:
        self.console = console

    def table(self, title: str, heads: Sequence[str], rows: Iterable[Sequence[str]], hidden: int = 0) -> None:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for head in heads:
            table.add_column(head, overflow="fold", justify="right" if head in ("size", "count", "bytes") else "left")
        for row in rows:
            table.add_row(*(Text(printable(cell)) for cell in row))
        self.console.print(f"\n{title}", style="bold", markup=False)
        self.console.print(table)
        if hidden:
            self.console.print(f"... and {hidden} more (--json shows all)", markup=False)

    def facts(self, summary: ModuleSummary) -> None:
        self.console.print(printable(summary.handle), style="bold", markup=False)
        gate = summary.gate
        reasons = gate.problem or "; ".join(f"{f.op} ({f.place}) {f.reason}" for f in gate.refused[:3])
        facts = {
            "format": _FORMATS[summary.format],
            "directory": summary.path,
            "files": _bytes(summary.size),
            "written by": f"TensorFlow {summary.written_by}" if summary.written_by else "an unknown TensorFlow",
            "parameters": f"{summary.parameters:,}, of which {summary.trainable_parameters:,} can be trained",
            "variants": ", ".join(_tags(variant.tags) for variant in summary.variants),
            "gate": "allowed" if gate.allowed else f"refused: {reasons}",
            "licence": summary.license_file or "no licence file",
        }
        for name, fact in facts.items():
            self.console.print(f"  {name:<11} {printable(fact)}", markup=False)

    def signatures(self, summary: ModuleSummary) -> None:
        for variant in summary.variants:
            rows = [row for signature in variant.signatures for row in _signature_rows(signature, summary)]
            title = "Signatures" if len(summary.variants) == 1 else f"Signatures of the variant {_tags(variant.tags)}"
            self.table(title, ["signature", "", "name", "dtype", "shape"], rows)

    def variables(self, summary: ModuleSummary) -> None:
        if summary.variables:
            rows = [
                (v.name, v.dtype, _shape(v.shape), _bytes(v.size), "yes" if v.trainable else "no", _remarks(v))
                for v in summary.variables[:_MOST_ROWS]
            ]
            heads = ["variable", "dtype", "shape", "size", "trained", ""]
            self.table("Variables", heads, rows, max(len(summary.variables) - _MOST_ROWS, 0))

    def contents(self, summary: ModuleSummary) -> None:
        if summary.assets:
            self.table("Assets", ["file", "size"], [(a.filename, _bytes(a.size)) for a in summary.assets])
        for variant in summary.variants:
            self.parts(variant, "" if len(summary.variants) == 1 else f" of the variant {_tags(variant.tags)}")

    def parts(self, variant: VariantSummary, of: str) -> None:
        if variant.tables:
            rows = [(t.name, t.op, f"{t.key_dtype} to {t.value_dtype}", t.filled_from) for t in variant.tables]
            self.table(f"Tables{of}", ["table", "op", "dtypes", "filled from"], rows[:_MOST_ROWS])
        if variant.attachments:
            rows = [(a.key, _bytes(a.size), a.meaning) for a in variant.attachments]
            self.table(f"Attached messages{of}", ["key", "size", "meaning"], rows)
        ops = list(variant.ops.items())
        title = (
            f"Ops{of}: {variant.functions} functions, {variant.control_flow or 'no'} control flow, "
            f"{len(variant.update_ops)} update ops, {len(variant.regularization_losses)} regularization losses"
        )
        rows = [(op, str(count)) for op, count in ops[:_MOST_OPS]]
        self.table(title, ["op", "count"], rows, max(len(ops) - _MOST_OPS, 0))

    def differences(self, summary: ModuleSummary) -> None:
        first = summary.default_variant
        for variant, found in other_variants(summary):
            rows = [(difference.what, difference.first, difference.second) for difference in found]
            title = f"How the variant {_tags(variant.tags)} differs"
            self.table(
                title, ["", _tags(first.tags), _tags(variant.tags)], rows[:_MOST_ROWS], max(len(rows) - _MOST_ROWS, 0)
            )

    def programs(self, summary: ModuleSummary) -> None:
        for name, title in _PROGRAMS.items():
            if name in summary.code:
                self.console.print(f"\n{title}\n", style="bold")
                self.console.print(printable(summary.code[name]), markup=False, soft_wrap=True)


def _signature_rows(signature: Any, summary: ModuleSummary) -> Iterable[tuple[str, ...]]:
    flops = f", {signature.flops:,} FLOPs" if signature.flops else ""
    name = signature.name + (" (default)" if signature.name == summary.default_signature else "") + flops
    sides: list[tuple[str, Sequence[TensorSummary]]] = [("in", signature.inputs), ("out", signature.outputs)]
    for side, tensors in sides:
        for tensor in tensors:
            dtype = tensor.dtype if tensor.kind == "dense" else f"{tensor.dtype} {tensor.kind}"
            yield name, side, tensor.name, dtype, _shape(tensor.shape)
            name = ""


def _remarks(variable: Any) -> str:
    return ", ".join(
        filter(None, (f"{variable.parts} parts" if variable.parts > 1 else "", "reference" * variable.reference))
    )


def _shape(shape: Shape) -> str:
    return "any" if shape is None else f"[{', '.join('?' if size is None else str(size) for size in shape)}]"


def _tags(tags: Sequence[str]) -> str:
    return f"{{{', '.join(tags)}}}"


def _bytes(count: float | None) -> str:
    if count is None:
        return "missing"
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def printable(text: str) -> str:
    """Returns a text without control characters, which a terminal would obey."""
    return "".join(c if c.isprintable() or c == "\n" or category(c) == "Zs" else f"\\x{ord(c):02x}" for c in text)
