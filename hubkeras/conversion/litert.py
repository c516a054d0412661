"""LiteRT (TensorFlow Lite) models: one file with all signatures."""

from __future__ import annotations

import re
import tempfile
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.conversion import saved_model
from hubkeras.conversion.saved_model import component_names, signature_check, to_components
from hubkeras.errors import UnsupportedError
from hubkeras.functions.tensor_info import pack_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from hubkeras.conversion.verification import Check
    from hubkeras.modules.module import Module
    from hubkeras.modules.tf2_objects import LoadedObject

IS_DIRECTORY = False


def write(module: Module | LoadedObject, path: Path) -> None:
    """Writes a module as a LiteRT model of built-in ops.

    Raises:
        UnsupportedError: LiteRT lacks an op.
    """
    names = module.get_signature_names()
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        saved_model.write_signatures(module, path.parent / folder)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=names)
        try:
            content = converter.convert()
        except Exception as error:  # of several private classes, and RuntimeError
            raise _refused(module, error) from error
    path.write_bytes(content)


def _refused(module: Module | LoadedObject, error: Exception) -> UnsupportedError:
    text = str(error)
    lists = re.findall(r"(?:TF Select|Flex|Custom) ops: ([^\n]*)", text)
    ops = sorted({op.strip() for found in lists for op in found.split(",")}) or sorted(
        set(re.findall(r"'(tf\.\w+)' op", text))
    )
    return UnsupportedError(
        f"Cannot write module {module.description.label} as a LiteRT model",
        expected="ops that LiteRT has built in",
        received=f"ops {', '.join(ops)}" if ops else text[:500],
    )


def checks(module: Module | LoadedObject, path: Path) -> Iterator[Check]:
    """Yields the signatures, computed by the interpreter."""
    with warnings.catch_warnings():
        # It tells of a package that is to take its place, which TensorFlow does not bring along.
        warnings.filterwarnings("ignore", "\\s*Warning: tf.lite.Interpreter is deprecated")
        interpreter = tf.lite.Interpreter(str(path))
    for name in module.get_signature_names():
        yield signature_check(module, name, partial(_run, module, interpreter, name))


def _run(module: Module | LoadedObject, interpreter: Any, name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    inputs, outputs = module.get_input_info_dict(name), module.get_output_info_dict(name)
    given = {n: t.numpy() for n, t in to_components(inputs, values, are_arguments=True).items()}
    got = interpreter.get_signature_runner(name)(**given)
    tensors = [tf.constant(got[n]) for n in component_names(outputs)]
    return pack_all(outputs, tensors)
