"""TensorFlow's message classes without the rest of TensorFlow.

`import tensorflow.core...` runs `tensorflow/__init__.py` first, and that takes seconds. The modules which the compiler
of protocol buffers wrote need nothing but protobuf and each other. So where nobody has imported TensorFlow yet, their
files are run by themselves. That leaves no trace in `sys.modules`; and when TensorFlow runs the same files later, it
gets the same classes, since protobuf makes one class for each message of its pool.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import sys
from functools import cache
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import SimpleNamespace
from typing import Any

_PACKAGE = "tensorflow.core"


def message_module(name: str) -> Any:
    """Returns what has the classes and enums of one of TensorFlow's modules of messages as attributes.

    Args:
        name: Its name below `tensorflow.core`, such as "framework.graph_pb2".

    Raises:
        ImportError: TensorFlow is not installed, or has no such module.

    Example:
        >>> message_module("framework.graph_pb2").GraphDef().ByteSize()
        0
    """
    full_name = f"{_PACKAGE}.{name}"
    # Once TensorFlow is there, its own modules are the ones whose classes everybody else passes around.
    return importlib.import_module(full_name) if "tensorflow" in sys.modules else _run(full_name)


@cache
def _run(full_name: str) -> SimpleNamespace:
    path = _directory().joinpath(*full_name.split(".")[1:]).with_suffix(".py")
    # The loader uses the compiled file where Python has one.
    code = SourceFileLoader(full_name, str(path)).get_code(full_name)
    variables = {"__name__": full_name, "__file__": str(path), "__builtins__": vars(builtins) | {"__import__": _import}}
    assert code is not None
    exec(code, variables)  # noqa: S102  # a file of the installed TensorFlow, which `import` would run as well
    return SimpleNamespace(**variables)


def _import(name: str, globals_: Any = None, locals_: Any = None, fromlist: Any = (), level: int = 0) -> Any:
    """Stands for `import` in those files: `from tensorflow.core.framework import tensor_pb2`."""
    if level == 0 and name.startswith(_PACKAGE):
        return SimpleNamespace(**{item: _run(f"{name}.{item}") for item in fromlist})
    return builtins.__import__(name, globals_, locals_, fromlist, level)


@cache
def _directory() -> Path:
    spec = importlib.util.find_spec("tensorflow")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")
    return Path(next(iter(spec.submodule_search_locations)))
