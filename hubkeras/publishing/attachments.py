"""Messages that a publisher attaches to a module, and that its users read by their key."""

from __future__ import annotations

import re
from typing import Any

import tensorflow as tf

from hubkeras.errors import PublishingError, SignatureTypeError
from hubkeras.modules.images import IMAGE_MODULE_INFO_KEY
from hubkeras.savedmodel.protos import ImageModuleInfo, ModuleAttachment

__all__ = ["ATTACHED", "ImageModuleInfo", "attach_image_module_info", "attach_message"]

ATTACHED = ("hubkeras_attachments",)
"""The collection of `ModuleAttachment` messages; a key that is no string stays out of the exported graph."""

_KEY = re.compile(r"[a-zA-Z][a-zA-Z0-9_]*")


def attach_message(key: str, message: Any) -> None:
    """Attaches a message to the module whose graph is being built.

    Call it in the function that `hubkeras.create_module_spec` is given; each graph variant has messages of its own.
    Users read it with `get_attached_message`, and must know its class.

    Args:
        key: Letters, digits and underscores, a letter first. Of two messages under one key, the later one counts.
        message: Any protocol buffer, of moderate size; large data belongs into an asset.

    Raises:
        PublishingError: The key is malformed, or no graph is being built.
        SignatureTypeError: It is no protocol buffer.

    Example:
        >>> def module_fn():
        ...     x = tf.compat.v1.placeholder(tf.float32, [None])
        ...     hubkeras.add_signature(inputs=x, outputs=2 * x)
        ...     hubkeras.attach_message("labels", tf.train.BytesList(value=[b"cat", b"dog"]))
    """
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise PublishingError(
            f"Cannot attach a message: malformed key {key!r}",
            expected="a letter, followed by letters, digits and underscores",
            received=repr(key),
        )
    if not callable(getattr(message, "SerializeToString", None)):
        raise SignatureTypeError(
            f"Cannot attach a message under {key!r}",
            expected="a protocol buffer",
            received=type(message).__name__,
            fix="Wrap other values, as in google.protobuf.wrappers_pb2 or google.protobuf.struct_pb2",
        )
    if tf.executing_eagerly():
        raise PublishingError(
            f"Cannot attach a message under {key!r}: no graph is being built",
            expected="a call in the function that create_module_spec is given",
            received="a call under eager execution",
        )
    attachment = ModuleAttachment(key=key, value=message.SerializeToString())
    tf.compat.v1.add_to_collection(ATTACHED, attachment)


def attach_image_module_info(image_module_info: Any) -> None:
    """Attaches what an image module says about the images that it expects.

    Args:
        image_module_info: An `ImageModuleInfo`; its `default_image_size` has a height and a width in pixels, which
            `hubkeras.get_expected_image_size` returns. The message of tensorflow_hub does as well.

    Raises:
        PublishingError: No graph is being built.

    Example:
        >>> info = hubkeras.ImageModuleInfo()
        >>> info.default_image_size.height, info.default_image_size.width = 224, 224
        >>> def module_fn():
        ...     images = tf.compat.v1.placeholder(tf.float32, [None, None, None, 3])
        ...     hubkeras.add_signature(inputs={"images": images}, outputs=tf.reduce_mean(images, [1, 2]))
        ...     hubkeras.attach_image_module_info(info)
    """
    attach_message(IMAGE_MODULE_INFO_KEY, image_module_info)
