"""What becomes of each public name of tensorflow_hub, and of names of Keras 2 that stand beside it."""

from __future__ import annotations

NEW_NAMES = {
    "KerasLayer": "hubkeras.KerasLayer, a layer of Keras 3, which trains modules in TF1 Hub format, too",
    "load": "hubkeras.load",
    "resolve": "hubkeras.resolve",
    "get_expected_image_size": "hubkeras.get_expected_image_size",
    "get_num_image_channels": "hubkeras.get_num_image_channels",
}
"""Names of tensorflow_hub 0.16, which `hubkeras` has as well."""

_IN_A_GRAPH = "hubkeras.compat.v1.{}; it needs a graph (tf.Graph or disabled eager execution), as before"
_TF1_NAMES = {
    "Module": "hubkeras.compat.v1.Module; it needs a graph, as before, and hubkeras.load is what eager code calls",
    "eval_function_for_module": _IN_A_GRAPH,
    "register_module_for_export": _IN_A_GRAPH,
    "LatestModuleExporter": "hubkeras.compat.v1.{}; for fit() there is hubkeras.callbacks.LatestModuleExporter",
}
_TF1_OTHERS = (
    "ImageModuleInfo",
    "ModuleSpec",
    "add_signature",
    "attach_image_module_info",
    "attach_message",
    "create_module_spec",
    "create_module_spec_from_saved_model",
    "image_embedding_column",
    "image_embedding_column_v2",
    "load_module_spec",
    "sparse_text_embedding_column",
    "sparse_text_embedding_column_v2",
    "text_embedding_column",
    "text_embedding_column_v2",
)
COMPAT_NAMES = {name: "hubkeras.compat.v1.{}" for name in _TF1_OTHERS} | _TF1_NAMES
"""Names of tensorflow_hub up to 0.15: a file that has one of them imports `hubkeras.compat.v1`, which has the others
as well."""

ESTIMATOR = "TensorFlow has no Estimator any more: train with Keras' fit(), or stay on TensorFlow 2.15 for this file"
LEGACY_OPTIMIZER = "Keras 3 has no legacy optimizers: use the one of the same name in keras.optimizers"
SAVE_FORMAT = "Keras 3 has no save_format: a path that ends in .keras holds the model, model.export(path) a SavedModel"
FIT_GENERATOR = "Keras 3 has no {}: {} takes generators"
"""What stood where, and what takes its place."""


def what_becomes(name: str) -> str | None:
    """Returns what becomes of a public name of tensorflow_hub, None for a name that it never had."""
    text = NEW_NAMES.get(name) or COMPAT_NAMES.get(name)
    return text.format(name) if text else None
