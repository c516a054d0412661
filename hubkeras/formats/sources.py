"""What can be converted: modules, TF2 SavedModels, and Keras models, which become modules first."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from hubkeras.conversion.verification import Check, Verified, verify
from hubkeras.errors import ConversionError, FormatError, UnsupportedError
from hubkeras.modules.loader import load
from hubkeras.modules.module import Module
from hubkeras.modules.tf2_objects import LoadedObject
from hubkeras.publishing.keras_models import PublishedModel
from hubkeras.publishing.model_signatures import model_signatures
from hubkeras.publishing.variable_nodes import VariableTable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

_WITHOUT_GRAPHS = {
    ".npz": "a file of weights holds no graphs",
    ".safetensors": "a file of weights holds no graphs",
}
_WITHOUT_VARIABLES = {
    ".tflite": "a LiteRT model holds no variables, nor how they are trained",
    ".onnx": "an ONNX model holds no variables, nor how they are trained",
}


@contextmanager
def open_source(
    handle: Any,
    tags: Iterable[str] | None,
    train_tags: Iterable[str] | None,
    safe_mode: bool,
    allow_ops: Collection[str],
) -> Iterator[tuple[Module | LoadedObject, Verified]]:
    """Gives what is to be converted, as long as the block lasts.

    Args:
        handle: A handle, a loaded module, a Keras model, or the path of a `.keras` file.
        tags: The graph variant for inference.
        train_tags: The graph variant for training.
        safe_mode: Whether what reaches out of the graph is refused.
        allow_ops: Names of ops that are allowed all the same.

    Yields:
        The module, and how far it is from the Keras model that it was made of.

    Raises:
        ConversionError: It is a file of another kind, or the tags of a loaded module or a Keras model are given.
    """
    is_made = isinstance(handle, (Module, LoadedObject, keras.Model))
    text = os.fspath(handle) if isinstance(handle, str | os.PathLike) else ""
    suffix = Path(text).suffix
    _check_suffix(suffix, text)
    if (is_made or suffix == ".keras") and (tags is not None or train_tags is not None):
        raise ConversionError(
            f"Cannot convert {handle!r}: its graph variants are chosen already",
            expected="the handle of a module, where tags or train_tags are given",
            received="a Keras model" if suffix or isinstance(handle, keras.Model) else "a loaded module",
        )
    if isinstance(handle, keras.Model) or suffix == ".keras":
        model = handle if isinstance(handle, keras.Model) else _read(Path(text), safe_mode)
        with tempfile.TemporaryDirectory(prefix="hubkeras-") as folder:
            # Its graphs hold nothing but what the model has, which is on the caller's side.
            path = Path(folder) / "model"
            PublishedModel(model).export(path)
            module = load(path)
            yield module, verify(_checks(model, load(path)), f"model {model.name!r}")
    elif is_made:
        yield handle, Verified()
    else:
        yield load(handle, tags, train_tags=train_tags, safe_mode=safe_mode, allow_ops=allow_ops), Verified()


def _check_suffix(suffix: str, handle: str) -> None:
    if suffix in _WITHOUT_GRAPHS:
        raise UnsupportedError(
            f"Cannot convert {handle}: {_WITHOUT_GRAPHS[suffix]}",
            expected="the module that the weights belong to",
            fix=f"Convert that module, with weights={handle!r}",
        )
    if suffix in _WITHOUT_VARIABLES:
        raise UnsupportedError(
            f"Cannot convert {handle}: {_WITHOUT_VARIABLES[suffix]}",
            expected="a module, a SavedModel or a .keras file",
            fix="Convert what it was made from",
        )


def _read(path: Path, safe_mode: bool) -> keras.Model:
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=safe_mode)
    # KeyError: of an archive without a config; RecursionError: of a config that nests without end.
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise FormatError(
            f"Cannot read Keras model {path}", expected="a .keras file", received=str(error)[:1000]
        ) from error
    if not isinstance(model, keras.Model):
        raise FormatError(f"Cannot convert {path}", expected="a Keras model", received=type(model).__name__)
    return model


def _checks(model: keras.Model, module: Module) -> Iterator[Check]:
    """Yields the calls of a model, which leave its variables as they are.

    Args:
        model: The model.
        module: What it was published as, which may be changed.
    """
    before = [(weight, weight.numpy()) for weight in model.weights]
    table = VariableTable([model])
    known = {name: held.variable for name, held in table.by_name.items()}
    trained = {name: known[name] for name, held in table.by_name.items() if held.trainable}
    state = module.state.by_name
    signature = model_signatures(model, None, has_images=False)["default"]
    infos = module.get_input_info_dict("default")
    try:
        for training in (False, True):
            yield Check(
                f"the model's call with training={training}",
                infos,
                lambda values, training=training: signature.call(dict(values), training),
                lambda values, training=training: module(values, "default", training, as_dict=True),
                trained=(trained, {n: state[n] for n in trained}),
                state=(known, {n: state[n] for n in known}),
                updates=True,
            )
    finally:
        for weight, value in before:
            weight.assign(value)
