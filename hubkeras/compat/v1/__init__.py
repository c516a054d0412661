"""The interface of tensorflow_hub 0.15 for TensorFlow 1, on the TensorFlow of today.

`import hubkeras.compat.v1 as hub` stands for `import tensorflow_hub as hub` in programs that build graphs.
"""

from hubkeras import __version__
from hubkeras.compat.v1.evaluation import eval_function_for_module
from hubkeras.compat.v1.feature_columns import (
    image_embedding_column,
    sparse_text_embedding_column,
    text_embedding_column,
)
from hubkeras.compat.v1.keras_feature_columns import (
    image_embedding_column_v2,
    sparse_text_embedding_column_v2,
    text_embedding_column_v2,
)
from hubkeras.compat.v1.latest_module_exporter import LatestModuleExporter, register_module_for_export
from hubkeras.compat.v1.module import Module
from hubkeras.compat.v1.module_specs import (
    ModuleSpec,
    create_module_spec,
    create_module_spec_from_saved_model,
    load_module_spec,
)
from hubkeras.handles.resolver import resolve
from hubkeras.layers.keras_layer import KerasLayer
from hubkeras.modules.images import get_expected_image_size, get_num_image_channels
from hubkeras.modules.loader import load
from hubkeras.publishing.attachments import ImageModuleInfo, attach_image_module_info, attach_message
from hubkeras.publishing.signatures import add_signature

__all__ = [
    "ImageModuleInfo",
    "KerasLayer",
    "LatestModuleExporter",
    "Module",
    "ModuleSpec",
    "__version__",
    "add_signature",
    "attach_image_module_info",
    "attach_message",
    "create_module_spec",
    "create_module_spec_from_saved_model",
    "eval_function_for_module",
    "get_expected_image_size",
    "get_num_image_channels",
    "image_embedding_column",
    "image_embedding_column_v2",
    "load",
    "load_module_spec",
    "register_module_for_export",
    "resolve",
    "sparse_text_embedding_column",
    "sparse_text_embedding_column_v2",
    "text_embedding_column",
    "text_embedding_column_v2",
]
