"""A sublayer that Keras fails to load where a file lacks the module that its layer needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

if TYPE_CHECKING:
    from hubkeras.layers.binding import ModuleBinding


class MissingModule(keras.layers.Layer):
    """Refuses to be loaded: a file without any assets, for which Keras never calls `load_assets`, ends here."""

    def __init__(self, binding: ModuleBinding) -> None:
        super().__init__()
        self._binding = binding

    def load_own_variables(self, store: Any) -> None:
        """Raises what is the matter with the module."""
        self._binding.require_embedded()
