"""Notebooks (nbformat 4): the code cells of one are moved together, as one Python file."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import libcst as cst

from hubkeras.migration.findings import Finding, Migrated
from hubkeras.migration.json_strings import JsonString, json_strings, replace_strings
from hubkeras.migration.parsing import parse
from hubkeras.migration.python_code import migrate_code

if TYPE_CHECKING:
    from collections.abc import Iterable

_MAGIC = re.compile(r"^(?P<indent>\s*)(?:[!?]|%%?[A-Za-z]|[\w, ]+=\s*(?:!|%[A-Za-z]))|\?\s*$")
"""A line for IPython or for the shell and not for Python."""
_PYTHON_CELLS = ("%%time", "%%timeit", "%%capture", "%%prun")
"""Magics of a whole cell that leave it Python."""
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_REQUIREMENT = re.compile(r"tensorflow[-_]hub(?![\w/-])")
_CELL_END = "# hubkeras: end of a cell"


@dataclass
class _Cell:
    """A code cell, with its magics taken out."""

    number: int
    lines: list[str]
    """As in the notebook, where each is a string of its own, or all are one."""
    magics: dict[int, str]
    """The lines that are none of Python's, by their positions."""
    code: str
    """The cell with a `pass` in the place of each of them."""


def migrate_notebook(text: str) -> Migrated:
    """Moves the code cells of a notebook; everything else of the file stays as it is, byte by byte.

    Cells are taken for one program, in their order. Cells in other languages and lines of magics are left alone; a line
    that installs tensorflow_hub is told.

    Args:
        text: The notebook's JSON.

    Returns:
        The notebook with what was found in it.

    Raises:
        ValueError: It is no notebook of nbformat 4.
    """
    notebook = json.loads(text)
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise ValueError("It is no notebook of nbformat 4, as it has no list of cells")
    if not all(isinstance(cell, dict) and _is_text(cell.get("source", "")) for cell in notebook["cells"]):
        raise ValueError("It is no notebook of nbformat 4, as a cell holds no text")
    strings = json_strings(text)
    cells, findings = _code_cells(notebook["cells"])
    moved = migrate_code("".join(f"{cell.code}\n{_CELL_END}\n" for cell in cells))
    codes = moved.text.split(f"\n{_CELL_END}\n")
    changed = {}
    for cell, code in zip(cells, codes, strict=False):
        changed |= _changed_strings(cell, code, strings)
    findings += _in_cells(moved.findings, cells)
    return Migrated(replace_strings(text, changed), tuple(sorted(findings, key=lambda f: (f.cell or 0, f))))


def _is_text(source: Any) -> bool:
    return isinstance(source, str) or (isinstance(source, list) and all(isinstance(line, str) for line in source))


def _code_cells(cells: list[Any]) -> tuple[list[_Cell], list[Finding]]:
    """Returns the cells that hold Python, and what is found in lines of magics and in cells that do not parse."""
    found, findings = [], []
    for number, cell in enumerate(cells, 1):
        if cell.get("cell_type") != "code":
            continue
        lines = _LINE.findall("".join(cell.get("source", "")))
        made = _without_magics(number, lines)
        for position, line in made.magics.items():
            if _REQUIREMENT.search(line):
                findings.append(_finding(number, position, line, "install hubkeras there"))
        try:
            parse(made.code)
        except (cst.ParserSyntaxError, SyntaxError, ValueError):
            uses = [(i, line) for i, line in enumerate(lines) if _REQUIREMENT.search(line) and i not in made.magics]
            findings += [_finding(number, i, line, "this cell is no Python that could be read") for i, line in uses]
        else:
            found.append(made)
    return found, findings


def _finding(cell: int, position: int, line: str, becomes: str) -> Finding:
    return Finding(position + 1, " ".join(line.split()), "by hand", becomes, cell)


def _without_magics(number: int, lines: list[str]) -> _Cell:
    whole = "".join(lines)
    if _parses(whole):  # then a line that begins with % continues an expression
        return _Cell(number, lines, {}, whole)
    other_language = bool(lines) and lines[0].startswith("%%") and not lines[0].startswith(_PYTHON_CELLS)
    magics, code, goes_on = {}, [], False
    for position, line in enumerate(lines):
        match = _MAGIC.search(line)
        if goes_on or match or other_language:
            magics[position] = line
            indent = "" if match is None else match["indent"] or ""
            # A statement, since the line may be all that a block holds; a comment where it goes on with the one before.
            code.append("#\n" if goes_on else f"{indent}pass\n")
            goes_on = line.rstrip().endswith("\\")
        else:
            code.append(line)
    return _Cell(number, lines, magics, "".join(code))


def _parses(code: str) -> bool:
    try:
        parse(code)
    except (cst.ParserSyntaxError, SyntaxError, ValueError):
        return False
    return True


def _changed_strings(cell: _Cell, code: str, strings: dict[Any, JsonString]) -> dict[JsonString, str]:
    """Returns the strings of the notebook that hold a cell's changed lines, with their new values.

    What is rewritten stays on its line, so that lines can be compared one by one.
    """
    pairs = zip(_LINE.findall(cell.code), _LINE.findall(code), cell.lines, strict=True)
    lines = [(line if old == new else new) for old, new, line in pairs]
    source = ("cells", cell.number - 1, "source")
    elements = [strings[source]] if source in strings else [strings[*source, i] for i in range(len(cell.lines))]
    texts = ["".join(lines)] if source in strings else lines
    return {string: text for string, text in zip(elements, texts, strict=True) if text != string.value}


def _in_cells(findings: Iterable[Finding], cells: list[_Cell]) -> list[Finding]:
    """Returns findings of the joined cells as findings in their cells."""
    starts, line = [], 1
    for cell in cells:
        starts.append((line, cell.number))
        line += f"{cell.code}\n{_CELL_END}\n".count("\n")
    placed = []
    for finding in findings:
        start, number = max(start for start in starts if start[0] <= finding.line)
        placed.append(dataclasses.replace(finding, line=finding.line - start + 1, cell=number))
    return placed
