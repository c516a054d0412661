"""Pretrained modules in TF1 Hub format as first-class layers of Keras 3."""

from hubkeras.handles.cache import (
    CachedModule,
    cache_size,
    cached_modules,
    pin,
    pinned_sha256,
    remove_cached,
    unpin,
    verify_cached,
)
from hubkeras.handles.registry import register_resolver, unregister_resolver
from hubkeras.handles.resolver import is_available, resolve
from hubkeras.layers.keras_layer import KerasLayer
from hubkeras.modules.images import get_expected_image_size, get_num_image_channels
from hubkeras.modules.loader import load
from hubkeras.modules.module import Module

__version__ = "0.1.0"

__all__ = [
    "CachedModule",
    "KerasLayer",
    "Module",
    "cache_size",
    "cached_modules",
    "get_expected_image_size",
    "get_num_image_channels",
    "is_available",
    "load",
    "pin",
    "pinned_sha256",
    "register_resolver",
    "remove_cached",
    "resolve",
    "unpin",
    "unregister_resolver",
    "verify_cached",
]
