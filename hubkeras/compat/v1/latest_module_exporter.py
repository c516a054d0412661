"""Modules exported while an estimator trains, into directories named after the time."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from hubkeras.errors import ExportError, PublishingError
from hubkeras.graphs.tensorflow_internals import session_config_of
from hubkeras.handles.filesystem_path import as_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from hubkeras.compat.v1.module import Module
    from hubkeras.handles.filesystem_path import AnyPath

_REGISTERED = ("hubkeras_modules_to_export",)
"""The collection of pairs of a name and a module; a key that is no string stays out of exported graphs."""
_ATTEMPTS = 10
_PREDICT = "infer"
"""What `tf.estimator.ModeKeys.PREDICT` was."""
_log = logging.getLogger("hubkeras")


def register_module_for_export(module: Module, export_name: str) -> None:
    """Has `LatestModuleExporter` export a module of the graph that is being built.

    Args:
        module: The module.
        export_name: Name of the directory it is exported to; of its own for each module of a graph.

    Raises:
        PublishingError: Another module of the graph has this name.

    Example:
        >>> def model_fn(features, labels, mode, config):
        ...     module = Module("path/to/module", trainable=True)  # doctest: +SKIP
        ...     register_module_for_export(module, "embedding")  # doctest: +SKIP
    """
    for name, _ in tf.compat.v1.get_collection(_REGISTERED):
        if name == export_name:
            raise PublishingError(
                f"There is already a module registered to be exported as {export_name!r}",
                expected="a name of its own for each module of the graph",
                received=repr(export_name),
            )
    tf.compat.v1.add_to_collection(_REGISTERED, (export_name, module))


class LatestModuleExporter:
    """Exports the registered modules of an estimator, and keeps the latest of these exports.

    It has the interface of `tf.estimator.Exporter`, and works with any object that has what it needs of an estimator:
    `latest_checkpoint()`, `model_fn(features, labels, mode, config)`, and `config` with `tf_random_seed` and, if a
    session is to be configured, `session_config`. What `model_fn` returns may have a `scaffold` with a saver.

    Args:
        name: Name of the exporter, which a training loop uses in the path of its exports.
        serving_input_fn: A function without arguments. It returns an object with `features`, with which the model's
            graph is built for prediction; nothing is computed with them.
        exports_to_keep: How many exports are kept; None keeps all.

    Raises:
        PublishingError: `exports_to_keep` is not positive.

    Example:
        >>> exporter = LatestModuleExporter("tf_hub", serving_input_fn)  # doctest: +SKIP
        >>> exporter.export(estimator, "exports")  # doctest: +SKIP
        b'exports/1700000000'

    It does not train. For Keras `fit()` there is `hubkeras.callbacks.LatestModuleExporter`.
    """

    def __init__(self, name: str, serving_input_fn: Callable[[], Any], exports_to_keep: int | None = 5) -> None:
        if exports_to_keep is not None and exports_to_keep <= 0:
            raise PublishingError(
                "`exports_to_keep`, if provided, must be a positive number",
                expected="a positive integer, or None to keep all exports",
                received=f"exports_to_keep={exports_to_keep}",
            )
        self._name, self._serving_input_fn, self._exports_to_keep = name, serving_input_fn, exports_to_keep

    @property
    def name(self) -> str:
        """Name of the exporter."""
        return self._name

    def export(
        self,
        estimator: Any,
        export_path: str | os.PathLike[str],
        checkpoint_path: str | None = None,
        eval_result: Any = None,
        is_the_final_export: bool | None = None,
    ) -> bytes | None:
        """Exports the modules that the estimator's model registers.

        They are written to `<export_path>/temp-<seconds since 1970>/<export_name>`, which then loses its "temp-" (on
        other filesystems than this machine's, such as `gs://`, to the directory itself). Of the directories whose
        names are ten digits, only the latest ones are kept.

        Args:
            estimator: The estimator, see the class.
            export_path: The directory of all exports; it need not exist.
            checkpoint_path: Prefix of the checkpoint with the values of the variables; None takes the estimator's
                latest one.
            eval_result: Not used.
            is_the_final_export: Not used.

        Returns:
            The directory of this export, as bytes; None if no module is registered.

        Raises:
            ExportError: A module could not be written, or every name of a directory was taken.
        """
        del eval_result, is_the_final_export
        checkpoint = checkpoint_path or estimator.latest_checkpoint()
        text = os.fsdecode(export_path)
        directory = _unused_directory(as_path(text) if "://" in text else Path(text))
        # Not every other filesystem can rename a folder with what is in it; there a module's graphs are written last.
        written = directory.with_name(f"temp-{directory.name}") if isinstance(directory, Path) else directory
        graph, session = _serving_session(estimator, self._serving_input_fn, checkpoint)
        with graph.as_default(), session:
            registered = graph.get_collection(_REGISTERED)
            if not registered:
                _log.warning(
                    "LatestModuleExporter found zero modules to export. Use hub.register_module_for_export() if needed."
                )
                return None
            try:
                for export_name, module in registered:
                    module.export(written / export_name, session)
                if isinstance(written, Path):
                    written.replace(directory)
            except BaseException:
                _remove(written)
                raise
        if self._exports_to_keep is not None:
            _remove_all_but(directory.parent, self._exports_to_keep)
        return os.fsencode(directory)


def _unused_directory(base: AnyPath) -> AnyPath:
    """Returns a directory in `base` that is named after the present second and does not exist."""
    for attempt in range(_ATTEMPTS):
        directory = base / str(int(time.time()))
        if not directory.exists():
            return directory
        _log.warning("Export directory %s already exists; retrying (attempt %d/%d)", directory, attempt + 1, _ATTEMPTS)
        time.sleep(1)
    raise UnusedNameError(
        f"Failed to obtain a unique export directory name in {base} after {_ATTEMPTS} attempts",
        expected="a second for which no other process exported",
        fix="Export less often, or to a directory of its own",
    )


class UnusedNameError(ExportError, RuntimeError):
    """Every name that an export could have had was taken."""


def _serving_session(
    estimator: Any, serving_input_fn: Callable[[], Any], checkpoint: str | None
) -> tuple[tf.Graph, tf.compat.v1.Session]:
    """Builds the model of an estimator for prediction, with the values of a checkpoint."""
    if not checkpoint:
        raise ExportError(
            "Cannot export modules of an estimator that was never trained",
            expected="checkpoint_path=, or an estimator whose latest_checkpoint() is one",
            received=repr(checkpoint),
        )
    config = getattr(estimator, "config", None)
    with tf.Graph().as_default() as graph:
        tf.compat.v1.train.create_global_step(graph)
        tf.compat.v1.set_random_seed(getattr(config, "tf_random_seed", None))
        receiver = serving_input_fn()
        spec = estimator.model_fn(features=receiver.features, labels=None, mode=_PREDICT, config=config)
        session = tf.compat.v1.Session(config=_session_config(estimator, config))
        saver = getattr(getattr(spec, "scaffold", None), "saver", None) or tf.compat.v1.train.Saver(sharded=True)
        saver.restore(session, checkpoint)
    return graph, session


def _session_config(estimator: Any, config: Any) -> Any:
    own = session_config_of(estimator)
    return own if own is not None else getattr(config, "session_config", None)


def _remove_all_but(base: AnyPath, count: int) -> None:
    """Removes the oldest exports of a directory."""
    exports = [path for path in base.iterdir() if len(path.name) == 10 and path.name.isdecimal()]
    for path in sorted(exports, key=lambda p: int(p.name))[:-count]:
        _remove(path)


def _remove(directory: AnyPath) -> None:
    try:
        if tf.io.gfile.exists(directory):
            tf.io.gfile.rmtree(directory)
    except tf.errors.OpError as error:
        _log.warning("Cannot remove the export %s: %s", directory, error.message)
