"""The arguments of a layer that choose its module and what of it is called."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hubkeras.errors import LayerError
from hubkeras.modules.loader import load

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    import tensorflow as tf

_IN_CONFIG = ("tags", "train_tags", "signature", "signature_outputs_as_dict", "output_key")


@dataclass(frozen=True)
class LayerOptions:
    """The arguments of `KerasLayer` of the same names."""

    tags: list[str] | None = None
    train_tags: list[str] | None = None
    signature: str | None = None
    signature_outputs_as_dict: bool | None = None
    output_key: str | None = None
    load_options: tf.saved_model.LoadOptions | None = None
    safe_mode: bool | None = None
    allow_ops: tuple[str, ...] = ()

    @staticmethod
    def of(
        tags: Iterable[str] | None, train_tags: Iterable[str] | None, allow_ops: Collection[str], **others: Any
    ) -> LayerOptions:
        """Makes the options of the constructor's arguments."""
        return LayerOptions(_tag_list(tags), _tag_list(train_tags), allow_ops=tuple(sorted(allow_ops)), **others)

    def to_config(self) -> dict[str, Any]:
        """Returns those that a config holds: what a module may do is for whoever loads it to say, but for the ops."""
        config = {name: getattr(self, name) for name in _IN_CONFIG if getattr(self, name) is not None}
        return config | ({"allow_ops": list(self.allow_ops)} if self.allow_ops else {})

    def load(self, handle: Any, tags: Iterable[str] | None, train_tags: Iterable[str] | None) -> Any:
        """Returns the module that a handle stands for, or the callable that it is.

        Raises:
            LayerError: Options for loading contradict a handle that is loaded already, or it cannot be called.
        """
        signatures = getattr(handle, "signatures", None)
        # A ModuleSpec has neither signatures nor a call; anything else that has not either is refused by `load`.
        if isinstance(handle, (str, os.PathLike)) or (signatures is None and not callable(handle)):
            safe, ops = self.safe_mode is not False, self.allow_ops
            return load(handle, tags, self.load_options, train_tags=train_tags, safe_mode=safe, allow_ops=ops)
        if self.signature is None and not callable(handle):
            raise LayerError(
                f"Cannot use a {type(handle).__name__} object as a layer: it is not callable",
                expected=f"signature= one of {sorted(signatures)}" if signatures else "an object with a __call__",
                received="signature=None",
            )
        given = {"tags": tags, "train_tags": train_tags, "load_options": self.load_options}
        if any(value is not None for value in given.values()):
            raise LayerError(
                "Cannot choose a graph variant or load options of something that is loaded already",
                expected=f"{', '.join(f'{k}=None' for k in given)} where the handle is a module or a callable",
                received=", ".join(f"{k}={v!r}" for k, v in given.items() if v is not None),
            )
        return handle


def _tag_list(tags: Iterable[str] | None) -> list[str] | None:
    if tags is None:
        return None
    return [tags] if isinstance(tags, str) else sorted(tags)
