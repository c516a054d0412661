"""Every exception that hubkeras raises on purpose.

Each class also derives from the builtin that a caller would catch anyway, and every message has one grammar: what
failed; what was expected, with the allowed values; what was received; what to do.
"""

from __future__ import annotations


class HubKerasError(Exception):
    """Base of all exceptions of hubkeras.

    Args:
        problem: What failed, naming the file, input, signature, tag set or handle concerned.
        expected: What would have been right, with the allowed values.
        received: What was there instead.
        fix: What the reader can do about it.

    Example:
        >>> str(HubKerasError("Cannot open m", expected="a directory", received="a file"))
        'Cannot open m. Expected: a directory. Received: a file.'
    """

    def __init__(self, problem: str, *, expected: str = "", received: str = "", fix: str = "") -> None:
        parts = [
            problem,
            expected and f"Expected: {expected}",
            received and f"Received: {received}",
            fix,
        ]
        self.message = " ".join(_sentence(part) for part in parts if part)
        super().__init__(self.message)

    def __str__(self) -> str:
        return self.message


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?", ":")) else f"{text}."


class HandleError(HubKerasError, ValueError):
    """A handle has no form that hubkeras knows."""


class DownloadError(HubKerasError, OSError):
    """A module could not be fetched from where its handle points."""


class OfflineError(DownloadError):
    """A module is not in the cache, and the network may not be asked."""


class CacheError(HubKerasError, OSError):
    """The cache directory cannot be read, written or trusted."""


class ArchiveError(HubKerasError, OSError, ValueError):
    """An archive is damaged, or holds what a module never holds."""


class FormatError(HubKerasError, ValueError):
    """A directory holds no module, or a module that breaks its own format."""


class MissingFileError(FormatError, FileNotFoundError):
    """A file that the module needs is not there."""


class CorruptFileError(FormatError, OSError):
    """A file of the module is truncated or not what it should be."""


class UnsafeModuleError(HubKerasError, ValueError):
    """A module holds operations that reach out of the graph, and nobody allowed them."""


class MissingOpError(HubKerasError, NotImplementedError):
    """A graph needs an operation that is not registered in this process."""


class TagsError(HubKerasError, ValueError, KeyError):
    """No graph variant has the tags asked for."""


class SignatureError(HubKerasError, ValueError, KeyError):
    """No signature has the name asked for."""


class InputError(HubKerasError, TypeError, ValueError):
    """Inputs do not fit the signature."""


class OutputError(HubKerasError, TypeError, ValueError):
    """An output was asked for that the signature does not have."""


class WorkerError(HubKerasError, RuntimeError):
    """A module cannot be applied in the process that was given rows."""


class LayerError(HubKerasError, ValueError):
    """Arguments of a layer contradict each other or its module."""


class AttachmentError(HubKerasError, KeyError):
    """No message is attached under the key asked for."""


class UnsupportedError(HubKerasError, NotImplementedError):
    """What was asked for cannot be done with this module."""


class PublishingError(HubKerasError, ValueError):
    """A module cannot be made of what a function or a SavedModel describes."""


class SignatureTypeError(PublishingError, TypeError):
    """A signature, or what goes with it, was given something of a type that it cannot hold."""


class AssetError(PublishingError, TypeError):
    """What is to be published as an asset is no constant path."""


class EmbeddingFileError(HubKerasError, ValueError):
    """A file of word vectors cannot be read, or is not what it should be."""


class CheckpointError(HubKerasError, ValueError):
    """A checkpoint does not hold what the variables of a module need."""


class GraphError(HubKerasError, RuntimeError):
    """A module of `hubkeras.compat.v1` is used where there is no graph, or in another one than its own."""


class ScopeError(GraphError):
    """The scopes of a graph leave no place for the state of a module under the name asked for."""


class PlacementError(HubKerasError, ValueError):
    """Ops that must share a device cannot, since inputs say otherwise."""


class ColumnError(HubKerasError, ValueError):
    """A module does not fit the feature column that it was given to."""


class ExportError(HubKerasError, OSError, ValueError):
    """A module could not be written."""


class ExportExistsError(ExportError, FileExistsError):
    """There is something already where a module should be written."""


class MigrationError(HubKerasError, FileNotFoundError):
    """Code that should be moved is not there."""


class ConversionError(HubKerasError, ValueError):
    """A module cannot be written in another format, or what was written does not compute the same."""
