"""A module as one HTML page that needs nothing else.

What a module holds was written by strangers. All of it stands in the page as JSON, in which nothing can end the element
around it, and becomes text by `textContent` alone. The page's policy lets only its own script and style run.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hubkeras.inspection.differences import other_variants
from hubkeras.inspection.scope_tree import scope_tree

if TYPE_CHECKING:
    from hubkeras.inspection.summary import ModuleSummary
    from hubkeras.savedmodel.description import ModuleDescription

_FILES = Path(__file__).parent / "page_files"


def render_page(summary: ModuleSummary, description: ModuleDescription) -> str:
    """Returns the page of a module.

    Args:
        summary: What `hubkeras.describe` says about it.
        description: The module itself, for the drawing of its graphs.

    Returns:
        HTML, without a reference to anything outside of it.
    """
    style = (_FILES / "page.css").read_text("utf-8")
    script = "\n".join((_FILES / name).read_text("utf-8") for name in ("page.js", "drawing.js"))
    return _fill(
        (_FILES / "page.html").read_text("utf-8"),
        {
            "title": html.escape(_title(summary)),
            "style-hash": _hash(style),
            "script-hash": _hash(script),
            "style": style,
            "data": _json(_data(summary, description)),
            "script": script,
        },
    )


def _fill(template: str, parts: dict[str, str]) -> str:
    """Puts texts into their places, each once: what they hold is never taken for a place."""
    pieces = template.split("%%")
    return "".join(parts[piece] if number % 2 else piece for number, piece in enumerate(pieces))


def _title(summary: ModuleSummary) -> str:
    parts = [part for part in summary.handle.rstrip("/").split("/") if part]
    is_version = len(parts) > 1 and parts[-1].isdecimal()
    return "/".join(parts[-2:] if is_version else parts[-1:]) or summary.handle


def _data(summary: ModuleSummary, description: ModuleDescription) -> dict[str, Any]:
    graphs = [variant.meta_graph for variant in description.variants] or list(description.object_graphs)
    differences = [
        {"tags": variant.tags, "rows": [dataclasses.astuple(difference) for difference in found]}
        for variant, found in other_variants(summary)
    ]
    return summary.as_dict() | {
        "title": _title(summary),
        "differences": differences,
        "graphs": [scope_tree(meta_graph) for meta_graph in graphs],
        "shown_variant": summary.variants.index(summary.default_variant),
    }


def _json(data: Any) -> str:
    """Returns JSON in which no character can end or begin an element, a comment or a line of a script."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
