"""`hubkeras.convert`: from a module to other formats, and back."""

from __future__ import annotations

import copy
import importlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hubkeras.conversion.verification import Verified, verify
from hubkeras.conversion.weight_values import assign_values, read_values
from hubkeras.errors import ConversionError
from hubkeras.formats.sources import open_source
from hubkeras.modules.staging import new_directory, new_file

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Iterable

_log = logging.getLogger("hubkeras")
_TARGETS = {
    "keras": "hubkeras.conversion.keras_file",
    "litert": "hubkeras.conversion.litert",
    "onnx": "hubkeras.conversion.onnx",
    "saved_model": "hubkeras.conversion.saved_model",
    "tf1_hub": "hubkeras.formats.tf1_hub",
    "weights": "hubkeras.conversion.weight_values",
}
"""By what a format is called, the module that has `IS_DIRECTORY`, `write` and `checks`."""
_OPTIONS = {"keras": ("signature", "trainable"), "onnx": ("signature",)}
"""What may be chosen for a format."""


@dataclass(frozen=True)
class Conversion:
    """What a conversion wrote, and how it was verified."""

    path: Path
    """Where it is."""
    to: str
    """The format."""
    verified: Verified
    """What was compared."""

    @property
    def greatest_difference(self) -> float:
        """The greatest absolute difference of a number between both sides; 0 where nothing was compared."""
        return max(self.verified.differences.values(), default=0.0)

    def __str__(self) -> str:
        differences = self.verified.differences
        lines = [f"{self.path} ({self.to}): greatest difference {self.greatest_difference:.3g}"]
        lines += [f"  {name}: {difference:.3g}" for name, difference in differences.items()]
        lines += [f"  {name}: random, same dtypes and ranks" for name in self.verified.random]
        lines += [
            f"  {name}: without gradients, which the module does not have" for name in self.verified.without_gradients
        ]
        lines += [
            f"  {name}: not tried, the module takes none of the generated inputs" for name in self.verified.untried
        ]
        return "\n".join(lines)


def convert(
    handle: Any,
    path: str | os.PathLike[str],
    to: str,
    *,
    tags: Iterable[str] | None = None,
    train_tags: Iterable[str] | None = None,
    weights: str | os.PathLike[str] | None = None,
    signature: str | None = None,
    trainable: bool = False,
    safe_mode: bool = True,
    allow_ops: Collection[str] = (),
) -> Conversion:
    """Writes a module in another format, and verifies that it computes the same there.

    Both sides run on generated inputs, for every signature. If they disagree, nothing is left at `path`. Where both can
    be trained, gradients and what training updates are compared as well.

    Args:
        handle: Anything that `hubkeras.load` takes, or what it returned: then the variables' values of today count. A
            Keras model, or the path of a `.keras` file, does as well: it becomes a module first, as by
            `hubkeras.publish`.
        path: A path that does not exist yet; for a directory, an empty one will do.
        to: The format. "saved_model": a reusable TF2 SavedModel, for everything that reads these without hubkeras.
            "keras": a `.keras` file with a functional model over one signature, which `keras.saving.load_model` reads
            once hubkeras is imported, wherever the module is by then; its inputs have the signature's names, and it
            returns the output "default" or the only one, else all in a dict. "litert": a LiteRT model of built-in ops.
            "onnx": an ONNX model of one signature, by tf2onnx (extra `onnx`). "weights": a file `.npz` or
            `.safetensors` (extra `safetensors`) of the variables by the names that they have in the module's
            checkpoint. "tf1_hub": TF1 Hub format, all graph variants; of a TF2 SavedModel the call of the object as
            "default", with `training=False` in the variant without tags and `training=True` in that with the tag
            "train", and its signatures.
        tags: The graph variant for inference, as in `hubkeras.load`.
        train_tags: The graph variant for training.
        weights: A file that `to="weights"` has written, whose values the variables take.
        signature: The signature of a Keras or ONNX model; None for the default one.
        trainable: Whether the layer in a Keras model is trainable.
        safe_mode: Whether a module with ops that reach out of the graph is refused.
        allow_ops: Names of such ops that are allowed all the same.

    Returns:
        What was written, with the greatest difference for every signature.

    Raises:
        ConversionError: There is no such format, or what was written disagrees with the module.
        UnsupportedError: The format cannot hold the module, or `handle` is a file without graphs or variables: LiteRT,
            ONNX and files of weights.
        PublishingError: A TF2 SavedModel or a Keras model has something that TF1 Hub format cannot hold.
        ExportExistsError: There is something at `path`.
        ExportError: It could not be written.

    Example:
        >>> hubkeras.convert("path/to/module", "served/1", to="saved_model").greatest_difference  # doctest: +SKIP
        0.0

    It takes one graph variant for inference and one for training along, no others, and no attached messages.
    """
    if to not in _TARGETS:
        raise ConversionError(
            "Cannot convert to this format", expected=f"to= one of {sorted(_TARGETS)}", received=repr(to)
        )
    given = {"signature": signature, "trainable": trainable}
    options = {name: given.pop(name) for name in _OPTIONS.get(to, ())}
    if any(given.values()):
        raise ConversionError(
            f"Cannot convert to {to!r} with {' and '.join(name for name in given if given[name])}",
            expected=f"signature= only for {sorted(n for n in _OPTIONS if 'signature' in _OPTIONS[n])},"
            " trainable= only for ['keras']",
        )
    target: Any = importlib.import_module(_TARGETS[to])
    new = new_directory if target.IS_DIRECTORY else new_file
    with open_source(handle, tags, train_tags, safe_mode, allow_ops) as (module, before):
        if weights is not None:
            module = copy.deepcopy(module) if module is handle else module
            assign_values(module, read_values(Path(weights)), str(weights))
        label = module.description.label
        with new(path, f"module {label}") as staging:
            # What runs below may assign variables, and those of the caller's module are the caller's.
            original = module if module is not handle else copy.deepcopy(module)
            _log.info("Writing module %s to %s", label, path)
            target.write(module, staging, **options)
            _log.info("Verifying what was written to %s", path)
            found = verify(target.checks(original, staging, **options), f"{path} ({to})")
    return Conversion(Path(path), to, before.and_also(found))
