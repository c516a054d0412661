"""ONNX models, by tf2onnx (the extra `onnx`): one file of one signature."""

from __future__ import annotations

import contextlib
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.conversion.saved_model import component_names, signature_check, to_components
from hubkeras.errors import UnsupportedError
from hubkeras.functions.tensor_info import pack_all
from hubkeras.modules.module import Module

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from hubkeras.conversion.verification import Check
    from hubkeras.functions.tensor_info import ParsedTensorInfo
    from hubkeras.modules.tf2_objects import LoadedObject

IS_DIRECTORY = False


def write(module: Module | LoadedObject, path: Path, *, signature: str | None) -> None:
    """Writes a signature of a module as an ONNX model.

    Raises:
        UnsupportedError: tf2onnx is not installed, or it lacks an op.
    """
    tf2onnx, _ = _packages()
    name = module.signature_name(signature)
    inputs, outputs = module.get_input_info_dict(name), module.get_output_info_dict(name)
    names, given = component_names(inputs, are_arguments=True), _output_names(inputs, outputs)

    def call(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        values = pack_all(inputs, tensors)
        # Without gradients: what ties those of v1 control flow to a call is no op that ONNX could have.
        apply = partial(module.variant().function(name), gradients=False) if isinstance(module, Module) else None
        found = module.signatures[name](**values) if apply is None else apply(values)
        return dict(zip(given, to_components(outputs, found).values(), strict=True))

    parts = [spec for info in inputs.values() for spec in info.component_specs]
    specs = [tf.TensorSpec(s.shape, s.dtype, n) for n, s in zip(names, parts, strict=True)]
    try:
        function: Any = tf.function(call, input_signature=specs, autograph=False)
        with _logged_reasons() as reasons:
            model, _ = tf2onnx.convert.from_function(function, specs)
    except Exception as error:  # of tf2onnx, which raises whatever comes
        raise _refused(module, f"{type(error).__name__}: {str(error)[:500]}") from error
    lacking = sorted(_ops_without_a_schema(model.graph))
    if lacking:
        why = f" ({'; '.join(reasons)[:500]})" if reasons else ""
        raise _refused(module, f"ops {', '.join(lacking)}{why}")
    found = {output.name for output in model.graph.output}
    if found != set(given):
        raise _refused(module, f"outputs {sorted(found)} in place of {sorted(given)}")
    path.write_bytes(model.SerializeToString())


class _Reasons(logging.Handler):
    """Keeps why tf2onnx does not translate some ops: it logs that with tracebacks, and leaves them as they are."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = str(record.exc_info[1]) if record.exc_info else record.getMessage()
        self.texts.append(text.partition(", details:")[0])  # followed by a traceback


@contextlib.contextmanager
def _logged_reasons() -> Iterator[list[str]]:
    """Gives what tf2onnx says in the block of ops that it does not translate, and keeps that out of the log."""
    logger, reasons = logging.getLogger("tf2onnx"), _Reasons()
    propagates, logger.propagate = logger.propagate, False
    logger.addHandler(reasons)
    try:
        yield reasons.texts
    finally:
        logger.removeHandler(reasons)
        logger.propagate = propagates


def _ops_without_a_schema(graph: Any) -> set[str]:
    """Returns the ops of an ONNX graph, with its branches and loops, that are none of ONNX."""
    import onnx

    inner = [attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g")]
    # Its own domain has two names, of which the schemas know one.
    ops = [(node.op_type, "" if node.domain == "ai.onnx" else node.domain) for node in graph.node]
    lacking = {op for op, domain in ops if not onnx.defs.has(op, domain)}
    return lacking.union(*(_ops_without_a_schema(each) for each in inner))


def checks(module: Module | LoadedObject, path: Path, *, signature: str | None) -> Iterator[Check]:
    """Yields the signature, computed by ONNX Runtime."""
    _, onnxruntime = _packages()
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # of classes that ONNX Runtime does not export
        raise _refused(module, str(error)[:500]) from error
    name = module.signature_name(signature)
    yield signature_check(module, name, partial(_run, module, session, name))


def _run(module: Module | LoadedObject, session: Any, name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    inputs, outputs = module.get_input_info_dict(name), module.get_output_info_dict(name)
    used = {i.name for i in session.get_inputs()}
    tensors = to_components(inputs, values, are_arguments=True)
    given = {n: t.numpy() for n, t in tensors.items() if n in used}
    found = session.run(_output_names(inputs, outputs), given)
    return pack_all(outputs, [tf.constant(t) for t in found])


def _output_names(inputs: Mapping[str, ParsedTensorInfo], outputs: Mapping[str, ParsedTensorInfo]) -> list[str]:
    """Returns the names of the outputs; all names of an ONNX model are different."""
    taken = component_names(inputs, are_arguments=True)
    return [f"{name}_output" if name in taken else name for name in component_names(outputs)]


def _refused(module: Module | LoadedObject, received: str) -> UnsupportedError:
    return UnsupportedError(
        f"Cannot write module {module.description.label} as an ONNX model",
        expected="a signature of ops that ONNX has, and tf2onnx translates",
        received=received,
    )


def _packages() -> tuple[Any, Any]:
    try:
        import onnxruntime
        import tf2onnx
    except ImportError as error:
        raise UnsupportedError(
            "Cannot write ONNX models without tf2onnx, or verify them without onnxruntime",
            received=str(error),
            fix="Install them with pip install 'hubkeras[onnx]'",
        ) from error
    return tf2onnx, onnxruntime
