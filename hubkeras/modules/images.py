"""What image modules say about the images they expect."""

from __future__ import annotations

from typing import Any

from hubkeras.errors import SignatureError
from hubkeras.savedmodel.protos import ImageModuleInfo

IMAGE_MODULE_INFO_KEY = "image_module_info"
"""Under which key an `ImageModuleInfo` is attached."""


def get_expected_image_size(module: Any, signature: str | None = None, input_name: str | None = None) -> list[int]:
    """Returns the size of the images that a module expects.

    A size attached by the publisher counts first, else the shape of the input.

    Args:
        module: A module with image inputs.
        signature: Name of the signature; None for the default one.
        input_name: Name of the input; None for "images".

    Returns:
        Height and width in pixels.

    Raises:
        SignatureError: The module tells no size.

    Example:
        >>> height, width = get_expected_image_size(hubkeras.load("path/to/mobilenet"))  # doctest: +SKIP

    It does not tell whether the module takes other sizes as well; many do.
    """
    attached = module.get_attached_message(IMAGE_MODULE_INFO_KEY, ImageModuleInfo)
    if attached is not None:
        size = attached.default_image_size
        if size.height and size.width:
            return [size.height, size.width]
    shape = _image_shape(module, signature, input_name)
    height, width = shape[1], shape[2]
    if height is None or width is None:
        raise _refusal(module, "an input of known height and width", f"shape {shape}")
    return [height, width]


def get_num_image_channels(module: Any, signature: str | None = None, input_name: str | None = None) -> int:
    """Returns how many channels the images have that a module expects.

    Args:
        module: A module with image inputs.
        signature: Name of the signature; None for the default one.
        input_name: Name of the input; None for "images".

    Returns:
        The number of channels, 3 for RGB.

    Raises:
        SignatureError: The module does not tell.

    Example:
        >>> get_num_image_channels(hubkeras.load("path/to/mobilenet"))  # doctest: +SKIP
        3

    It does not look at what is attached to the module, only at the shape of the input.
    """
    shape = _image_shape(module, signature, input_name)
    channels = shape[3]
    if channels is None:
        raise _refusal(module, "an input of known depth", f"shape {shape}")
    return channels


def _image_shape(module: Any, signature: str | None, input_name: str | None) -> list[int | None]:
    infos = module.get_input_info_dict(signature)
    name = input_name or "images"
    if name not in infos:
        raise _refusal(module, f"an input named {name!r}", f"inputs {sorted(infos)}")
    shape = infos[name].get_shape()
    if shape.rank != 4:
        raise _refusal(module, "an input of shape [batch, height, width, channels]", f"shape {shape}")
    return shape.as_list()


def _refusal(module: Any, expected: str, received: str) -> SignatureError:
    return SignatureError(
        f"Cannot tell the image size of {module!r}",
        expected=expected,
        received=received,
        fix="Pass signature= or input_name=, or look the size up in the module's documentation",
    )
