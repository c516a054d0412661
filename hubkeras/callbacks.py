"""Callbacks for `fit()` of Keras."""

from __future__ import annotations

import os
import re
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hubkeras.errors import PublishingError
from hubkeras.handles.filesystem_path import as_path
from hubkeras.layers.keras_internals import monitor_callback_class
from hubkeras.publishing.keras_models import PublishedModel
from hubkeras.savedmodel.reader import MODULE_FILE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hubkeras.handles.filesystem_path import AnyPath

__all__ = ["LatestModuleExporter"]

_MonitorCallback: Any = monitor_callback_class()

_EXPORT = re.compile(r"\d{10}")
_LEFTOVER = re.compile(r"\.\d{10}\..+")
"""What an export is called while it is written, and while it is removed."""


class LatestModuleExporter(_MonitorCallback):
    """Publishes the model as a module in TF1 Hub format at the end of each epoch, and keeps the latest ones.

    Each export is a directory named after the second of its export, `<path>/<seconds since 1970>`, and is there as a
    whole or not at all: it is written under a name that begins with a dot, and renamed. What a killed process has left
    under such names is removed when the next training starts, so `path` belongs to one training at a time. On other
    filesystems than this machine's, such as `gs://`, which cannot rename a directory, it is written under its name, and
    is an export from its last file on.

    Args:
        path: The directory of all exports; it need not exist.
        exports_to_keep: How many exports are kept; None keeps all.
        monitor: Name of a quantity of the logs, such as "val_loss": only an epoch in which it is better than in all
            before is exported. None exports every epoch.
        mode: "min" or "max" tells which values are better; "auto" goes by the metric, as in
            `keras.callbacks.ModelCheckpoint`.
        signatures: As for `hubkeras.publish`.
        image_size: As for `hubkeras.publish`.

    Raises:
        PublishingError: `exports_to_keep` is not positive, or `mode` is unknown.

    Example:
        >>> exporter = hubkeras.callbacks.LatestModuleExporter("exports", exports_to_keep=3)  # doctest: +SKIP
        >>> model.fit(x, y, epochs=10, callbacks=[exporter])  # doctest: +SKIP
        >>> hubkeras.load(exporter.latest)  # doctest: +SKIP

    It does not save what a training needs to go on: for that there is `keras.callbacks.BackupAndRestore`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        exports_to_keep: int | None = 5,
        monitor: str | None = None,
        mode: str = "auto",
        signatures: Mapping[str, Any] | None = None,
        image_size: tuple[int, int] | None = None,
    ) -> None:
        if exports_to_keep is not None and exports_to_keep <= 0:
            raise PublishingError(
                "Cannot keep the latest exports",
                expected="exports_to_keep= a positive integer, or None to keep all",
                received=f"exports_to_keep={exports_to_keep}",
            )
        if mode not in ("auto", "min", "max"):
            raise PublishingError(
                "Cannot tell which epoch is the best",
                expected="mode= 'auto', 'min' or 'max'",
                received=f"mode={mode!r}",
            )
        super().__init__(monitor or "loss", mode)
        text = os.fspath(path)
        self.path: AnyPath = as_path(text) if "://" in text else Path(text)
        self.exports_to_keep = exports_to_keep
        self._chooses = monitor is not None
        self._signatures, self._image_size = signatures, image_size
        self._published: PublishedModel | None = None

    @property
    def latest(self) -> AnyPath | None:
        """The latest export, None if there is none."""
        exports = self._exports()
        return exports[-1] if exports else None

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Removes what a killed process has left."""
        self._published = None  # what is trainable may have changed since the last training
        for path in self._found():
            if isinstance(path, Path) and _LEFTOVER.fullmatch(path.name):
                shutil.rmtree(path, ignore_errors=True)
            elif _EXPORT.fullmatch(path.name) and not _is_whole(path):
                _remove(path)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Exports the model, if the epoch is to be exported."""
        if self._chooses and not self._is_best(logs or {}):
            return
        if self._published is None:
            self._published = PublishedModel(self.model, self._signatures, self._image_size)
        # The clock may stand still between two short epochs, or have been set back.
        newest = max((int(export.name) for export in self._exports()), default=0)
        self._published.export(self.path / str(max(int(time.time()), newest + 1)))
        if self.exports_to_keep is not None:
            for export in self._exports()[: -self.exports_to_keep]:
                _remove(export)

    def _is_best(self, logs: Mapping[str, Any]) -> bool:
        """Tells whether the monitored quantity is better than in all epochs before, and remembers it if so."""
        if self.monitor not in logs:
            raise PublishingError(
                "Cannot tell which epoch is the best",
                expected=f"monitor= one of {sorted(logs)}",
                received=f"monitor={self.monitor!r}",
            )
        if self.monitor_op is None:
            self._set_monitor_op()
        if not self._is_improvement(logs[self.monitor], self.best):
            return False
        self.best = logs[self.monitor]
        return True

    def _found(self) -> list[AnyPath]:
        return list(self.path.iterdir()) if self.path.is_dir() else []

    def _exports(self) -> list[AnyPath]:
        found = [path for path in self._found() if _EXPORT.fullmatch(path.name) and _is_whole(path)]
        return sorted(found, key=lambda path: int(path.name))


def _is_whole(export: AnyPath) -> bool:
    """Tells whether an export is there as a whole: elsewhere the mark of the format is written last."""
    return isinstance(export, Path) or (export / MODULE_FILE).exists()


def _remove(export: AnyPath) -> None:
    """Removes an export, which is no half of one if the process is killed meanwhile."""
    if isinstance(export, Path):
        doomed = export.with_name(f".{export.name}.removed")
        export.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)
        return
    if _is_whole(export):
        (export / MODULE_FILE).unlink()
    export.remove()
