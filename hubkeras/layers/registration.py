"""Makes Keras know `KerasLayer`, without importing Keras before somebody else does.

While Keras reads a model from a file it imports nothing but its own modules. So a class of ours must be registered by
then, and whoever wrote `import hubkeras` relies on it; but importing Keras takes seconds, which those who only resolve
or describe a module shall not wait for. Whatever reads a file with Keras imports Keras first: that is the moment to
register, and a finder in front of Python's own is how it is noticed.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_KERAS = "keras"
_LAYER_MODULE = "hubkeras.layers.keras_layer"


def register_with_keras() -> None:
    """Registers `KerasLayer` with Keras: now, if Keras is there, else right after its import.

    Example:
        >>> register_with_keras()

    It never imports Keras by itself.
    """
    if _KERAS in sys.modules:
        importlib.import_module(_LAYER_MODULE)
    elif not any(isinstance(finder, _KerasFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _KerasFinder())


class _KerasFinder:
    """Finds Keras as Python would, and has its loader register the layer."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _KERAS:
            return None
        others = (finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec"))
        spec = next(filter(None, (finder.find_spec(fullname, path, target) for finder in others)), None)
        if spec is not None and spec.loader is not None:
            loader: Any = _RegisteringLoader(spec.loader, self)
            spec.loader = loader
        return spec


class _RegisteringLoader:
    """Loads Keras with its own loader, and registers the layer after that."""

    def __init__(self, loader: Any, finder: _KerasFinder) -> None:
        self._loader, self._finder = loader, finder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # What reads the module's files or source later (importlib.resources, inspect) is to find its own loader.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
        try:
            importlib.import_module(_LAYER_MODULE)
        except ImportError:
            # A module of ours that the layer needs has imported TensorFlow, which imports Keras: it waits for this very
            # import, so the layer cannot be there yet. A real problem shows when the layer is first used.
            module.saving.get_custom_objects()["hubkeras>KerasLayer"] = _LayerToCome


class _LayerToCome:
    """Stands in Keras' registry for the layer until that is imported, and then takes its place there."""

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        return importlib.import_module(_LAYER_MODULE).KerasLayer.from_config(config)
