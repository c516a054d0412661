"""What becomes of each public name of tensorflow_hub, and of names of Keras 2 that stand beside it."""

from __future__ import annotations

NEW_NAMES = {
    "KerasLayer": "hubkeras.KerasLayer, a layer of Keras 3, which trains modules in TF1 Hub format, too",
    "load": "hubkeras.load",
    "resolve": "hubkeras.resolve",
    "get_expected_image_size": "hubkeras.get_expected_image_size",
    "get_num_image_channels": "hubkeras.get_num_image_channels",
    "__version__": "hubkeras.__version__, which counts anew from 0.1",
}
"""Names of tensorflow_hub 0.16, which `hubkeras` has as well."""

_IN_A_GRAPH = "hubkeras.compat.v1.{}; it needs a graph (tf.Graph or disabled eager execution), as before"
_TF1_NAMES = {
    "Module": f"{_IN_A_GRAPH}; hubkeras.load is what eager code calls",
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

NAMES_OF_SESSIONS = frozenset(
    {
        "ConfigProto",
        "GraphKeys",
        "InteractiveSession",
        "Session",
        "app",
        "contrib",
        "flags",
        "get_collection",
        "get_default_graph",
        "get_variable",
        "gfile",
        "global_variables",
        "global_variables_initializer",
        "initialize_all_variables",
        "layers",
        "local_variables_initializer",
        "logging",
        "placeholder",
        "placeholder_with_default",
        "random_normal",
        "random_uniform",
        "reset_default_graph",
        "set_random_seed",
        "sparse_placeholder",
        "tables_initializer",
        "to_float",
        "trainable_variables",
        "truncated_normal",
        "variable_scope",
    }
)
"""Names that stood in `tensorflow` itself, without which code for sessions can hardly do; TensorFlow 2 has none of them
there. What finds and renames all of them is TensorFlow's own `tf_upgrade_v2`."""
NAMES_OF_TRAINING = frozenset({"MonitoredSession", "MonitoredTrainingSession", "Saver", "get_or_create_global_step"})
"""The same for `tensorflow.train`, beside its optimizers."""
TENSORFLOW_1 = (
    "TensorFlow 2 does not have {}: run tf_upgrade_v2 on this file, which comes with TensorFlow, and call"
    " tf.compat.v1.disable_v2_behavior() where it starts"
)
PRIVATE_KERAS = "tensorflow.python.keras"
PRIVATE_KERAS_ADVICE = "a Keras 2 in TensorFlow, which knows no layers of Keras 3: import the same name from keras"
ESTIMATOR = "TensorFlow has no Estimator any more: train with Keras' fit(), or stay on TensorFlow 2.15 for this file"
LEGACY_OPTIMIZER = "Keras 3 has no legacy optimizers: use the one of the same name in keras.optimizers"
SAVE_FORMAT = "Keras 3 has no save_format: a path that ends in .keras holds the model, model.export(path) a SavedModel"
FIT_GENERATOR = "Keras 3 has no {}: {} takes generators"
"""What stood where, and what takes its place."""


def is_of_sessions(path: str) -> bool:
    """Tells whether something imported is of TensorFlow 1, such as "tensorflow.train.AdamOptimizer"."""
    root, name, inner, *_ = [*path.split("."), "", ""]
    if root != "tensorflow":
        return False
    is_of_training = inner in NAMES_OF_TRAINING or (inner != "Optimizer" and inner.endswith("Optimizer"))
    return name in NAMES_OF_SESSIONS or (name == "train" and is_of_training)


def what_becomes(name: str) -> str | None:
    """Returns what becomes of a public name of tensorflow_hub, None for a name that it never had."""
    text = NEW_NAMES.get(name) or COMPAT_NAMES.get(name)
    return text.format(name) if text else None
