"""What all columns have in common that embed a feature by a module."""

from __future__ import annotations

from typing import Any


class EmbeddingColumn:
    """The part of TensorFlow's protocol for columns that does not depend on its version."""

    key: Any
    """Name of the feature, or another column."""

    @property
    def _is_v2_column(self) -> bool:
        return True

    @property
    def parents(self) -> list[Any]:
        """What the column is made from."""
        return [self.key]

    @property
    def name(self) -> str:
        """Name of the column, and of its scope."""
        return f"{self.key if isinstance(self.key, str) else self.key.name}_hub_module_embedding"

    @property
    def parse_example_spec(self) -> dict[Any, Any]:
        """How `tf.io.parse_example` reads the feature."""
        raise NotImplementedError

    def transform_feature(self, transformation_cache: Any, state_manager: Any) -> Any:
        """Returns the feature that is embedded."""
        return transformation_cache.get(self.key, state_manager)

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None, columns_by_name: Any = None) -> Any:
        """Makes a column from what `get_config` returned."""
        del custom_objects, columns_by_name
        return cls(**config)
