"""Python code that uses tensorflow_hub: found and rewritten in its syntax tree, so that all else stays as it is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import libcst as cst
from libcst.helpers import get_full_name_for_node
from libcst.metadata import MetadataWrapper, PositionProvider

from hubkeras.migration import known_names
from hubkeras.migration.findings import Finding, Migrated
from hubkeras.migration.imported_names import Use, imported_uses, names_of_its_own
from hubkeras.migration.keras_code import KerasFinder, keras_change
from hubkeras.migration.parsing import parse
from hubkeras.migration.rewriting import Rewriter, replaced_root

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hubkeras.migration.findings import Fate

_HUB = "tensorflow_hub"
_DISTRIBUTION = re.compile(r"^tensorflow[-_]hub(?![\w/-])")
"""The text with which a requirement of tensorflow_hub begins, or an import by name."""


def migrate_code(source: str) -> Migrated:
    r"""Moves Python code from tensorflow_hub to hubkeras, as far as that is safe.

    Imports are rewritten, to `hubkeras`, or to `hubkeras.compat.v1` where the code uses what tensorflow_hub had up to
    0.15. In code that makes a `KerasLayer`, what Keras 2 wrote otherwise is rewritten, too. What cannot be rewritten
    safely is told. Code that does not use tensorflow_hub is left alone, and so is code that was moved already.

    Args:
        source: The code.

    Returns:
        The code with what was found in it.

    Raises:
        libcst.ParserSyntaxError: It is no Python.
        SyntaxError: It is no Python.
        RecursionError: It is nested too deeply.

    Example:
        >>> migrate_code("import tensorflow_hub as hub\nembed = hub.load(url)\n").text
        'import hubkeras as hub\nembed = hub.load(url)\n'
    """
    if "tensorflow_hub" not in source and "tensorflow-hub" not in source:
        return Migrated(source, ())
    file = _File(MetadataWrapper(parse(source)))
    if not file.findings:
        return Migrated(source, ())
    return Migrated(file.wrapper.module.visit(Rewriter(file.changes)).code, tuple(sorted(set(file.findings))))


class _File:
    """One file: what was found in it, and by which nodes its nodes are replaced.

    Args:
        wrapper: The file.
    """

    def __init__(self, wrapper: MetadataWrapper) -> None:
        self.wrapper, self.findings = wrapper, []
        self.changes: dict[cst.CSTNode, cst.CSTNode] = {}
        self._lines = wrapper.resolve(PositionProvider)
        self._uses = imported_uses(wrapper)
        self._own_names = names_of_its_own(wrapper)
        imports = _ImportsAndTexts()
        wrapper.module.visit(imports)
        self._hub_imports = [node for node in imports.found if _imports(node, _HUB)]
        names = {use.path.split(".")[1] for use in self._uses if use.path.startswith(f"{_HUB}.")}
        names |= {name for node in self._hub_imports for name in _names_from(node)}
        self._target = "hubkeras.compat.v1" if names & known_names.COMPAT_NAMES.keys() else "hubkeras"
        for node in self._hub_imports:
            self._move_import(node)
        for use in self._uses:
            self._move_use(use)
        self._note_tensorflow_1()
        for text in imports.texts:
            self._note(text, "by hand", "name hubkeras there")
        if self.findings:
            self._move_keras(imports.found, makes_layers="KerasLayer" in names)

    def _note(self, node: cst.CSTNode, fate: Fate, becomes: str) -> None:
        code = " ".join(self.wrapper.module.code_for_node(node).split())
        line = self._lines[node].start.line
        self.findings.append(Finding(line, code if len(code) <= 70 else f"{code[:67]}...", fate, becomes))

    # --- tensorflow_hub --------------------------------------------------------------------------------------------

    def _move_import(self, node: cst.Import | cst.ImportFrom) -> None:
        if isinstance(node, cst.ImportFrom):
            problem = _problem_of(node)
            if problem:
                self._note(node, "by hand", problem)
                return
            self.changes[node] = node.with_changes(module=cst.parse_expression(self._target))
            self._note(node, "rewritten", f"from {self._target} import ...")
            return
        for alias in node.names:
            name = get_full_name_for_node(alias.name)
            if name == _HUB:
                self._rename(alias, _HUB, self._target)
                self._note(node, "rewritten", f"import {self._target}")
            elif name and name.startswith(f"{_HUB}."):
                self._note(node, "by hand", "inner modules of tensorflow_hub have no counterpart: use its public names")

    def _rename(self, alias: cst.ImportAlias, old: str, new: str) -> None:
        """Lets an `import` take another module, and what it bound keep its name or take the new one everywhere."""
        changed = alias.with_changes(name=cst.parse_expression(new))
        if alias.asname is not None:
            same = alias.evaluated_alias == new
            self.changes[alias] = changed.with_changes(asname=None) if same else changed
        elif {old, new.partition(".")[0]} & self._own_names:  # such as `tensorflow_hub = None` where the import failed
            old_name = cst.AsName(cst.Name(old), cst.SimpleWhitespace(" "), cst.SimpleWhitespace(" "))
            self.changes[alias] = changed.with_changes(asname=old_name)
        else:
            self.changes[alias] = changed
            for use in self._uses:
                if use.path.split(".")[0] == old and get_full_name_for_node(use.name) == old:
                    self.changes[use.name] = cst.parse_expression(new)

    def _move_use(self, use: Use) -> None:
        root, _, rest = use.path.partition(".")
        if root == "tensorflow" and self._hub_imports and "estimator" in rest.split("."):
            self._note(use.whole, "by hand", known_names.ESTIMATOR)
        if root != _HUB or not rest:
            return
        becomes = known_names.what_becomes(rest.split(".")[0])
        if becomes is None:
            self._note(use.whole, "by hand", "not a public name of tensorflow_hub: hubkeras does not have it")
        else:
            self._note(use.whole, "works", becomes)

    def _note_tensorflow_1(self) -> None:
        """Tells once for a file what another tool moves."""
        uses = [use for use in self._uses if self._hub_imports and known_names.is_of_sessions(use.path)]
        if uses:
            first = min(uses, key=lambda use: self._lines[use.whole].start.line)
            names = sorted({f"tf.{use.path.partition('.')[2]}" for use in uses})
            shown = ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more"
            self._note(first.whole, "by hand", known_names.TENSORFLOW_1.format(shown))

    # --- Keras beside it -------------------------------------------------------------------------------------------

    def _move_keras(self, imports: list[cst.Import | cst.ImportFrom], makes_layers: bool) -> None:
        if not makes_layers:
            return
        for node in imports:
            self._move_keras_import(node)
        finder = KerasFinder({use.whole: use.path for use in self._uses})
        self.wrapper.module.visit(finder)
        for node in finder.found:
            change = keras_change(node, finder.paths)
            self._note(node, change.fate, change.becomes)
            self.changes |= change.replacements

    def _move_keras_import(self, node: cst.Import | cst.ImportFrom) -> None:
        if _imports(node, known_names.PRIVATE_KERAS):
            self._note(node, "by hand", known_names.PRIVATE_KERAS_ADVICE)
        if not _imports(node, "tf_keras"):
            return
        if isinstance(node, cst.ImportFrom):
            module = replaced_root(node.module, "keras")
            self.changes[node] = node.with_changes(module=module)
            self._note(node, "rewritten", f"from {get_full_name_for_node(module)} import ...")
            return
        for alias in node.names:
            name = get_full_name_for_node(alias.name) or ""
            if name.partition(".")[0] == "tf_keras":
                self._rename(alias, "tf_keras", f"keras{name.removeprefix('tf_keras')}")
                self._note(node, "rewritten", "import keras, which is Keras 3")


class _ImportsAndTexts(cst.CSTVisitor):
    """Collects imports, and texts that name tensorflow_hub."""

    def __init__(self) -> None:
        self.found: list[cst.Import | cst.ImportFrom] = []
        self.texts: list[cst.SimpleString] = []

    def visit_Import(self, node: cst.Import) -> None:
        self.found.append(node)

    def visit_ImportFrom(self, node: cst.ImportFrom) -> None:
        self.found.append(node)

    def visit_SimpleString(self, node: cst.SimpleString) -> None:
        value = node.evaluated_value
        if isinstance(value, str) and _DISTRIBUTION.match(value):
            self.texts.append(node)


def _modules(node: cst.Import | cst.ImportFrom) -> Iterator[str]:
    """Yields the full names of the modules that a statement imports, or imports from; relative ones have none."""
    if isinstance(node, cst.Import):
        yield from (get_full_name_for_node(alias.name) or "" for alias in node.names)
    elif node.module is not None and not node.relative:
        yield get_full_name_for_node(node.module) or ""


def _imports(node: cst.Import | cst.ImportFrom, package: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for module in _modules(node))


def _names_from(node: cst.Import | cst.ImportFrom) -> list[str]:
    """Returns the names that a `from tensorflow_hub import ...` lists."""
    if isinstance(node, cst.Import) or isinstance(node.names, cst.ImportStar):
        return []
    return [str(alias.evaluated_name) for alias in node.names]


def _problem_of(node: cst.ImportFrom) -> str:
    """Tells why a `from tensorflow_hub... import` cannot be rewritten, empty if it can.

    A public name is the same thing in the inner module that makes it.
    """
    if isinstance(node.names, cst.ImportStar):
        return "list the names: `from hubkeras import KerasLayer, load` or `from hubkeras.compat.v1 import Module`"
    unknown = [name for name in _names_from(node) if known_names.what_becomes(name) is None]
    return f"hubkeras does not have {', '.join(unknown)}, which tensorflow_hub never made public" if unknown else ""
