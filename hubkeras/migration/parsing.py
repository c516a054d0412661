"""Python code as a syntax tree, whoever wrote it."""

from __future__ import annotations

import ast
import warnings

import libcst as cst

_DEEPEST = 400
"""Far beyond what anybody writes, and within what Python's own stack has room for."""


def parse(source: str) -> cst.Module:
    """Parses Python code.

    Args:
        source: The code.

    Raises:
        libcst.ParserSyntaxError: It is no Python.
        SyntaxError: It is no Python.
        RecursionError: It is nested too deeply.
    """
    # The parser of libcst ends the process where code is nested too deeply, and takes the square of the depth in time;
    # Python's own one raises an error.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what stands in the code, such as an escape that Python does not know
        try:
            tree = ast.parse(source)
        except (MemoryError, RecursionError) as error:
            raise RecursionError("It is nested too deeply") from error
    level: list[ast.AST] = [tree]
    for _ in range(_DEEPEST):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return cst.parse_module(source)
    raise RecursionError(f"It is nested more than {_DEEPEST} deep")
