"""Pretrained modules in TF1 Hub format as first-class layers of Keras 3.

Names are imported when they are first used, so that what needs no TensorFlow does not wait for it. A new public name
takes three lines: its import (for type checkers and editors, which do not run this), its home, and `__all__`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hubkeras.layers.registration import register_with_keras

if TYPE_CHECKING:
    from hubkeras.formats.convert import Conversion, convert
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
    from hubkeras.inspection.describing import describe
    from hubkeras.layers.keras_layer import KerasLayer
    from hubkeras.modules.images import get_expected_image_size, get_num_image_channels
    from hubkeras.modules.loader import load
    from hubkeras.modules.module import Module
    from hubkeras.modules.spec import ModuleSpec
    from hubkeras.publishing.attachments import ImageModuleInfo, attach_image_module_info, attach_message
    from hubkeras.publishing.common_signatures import (
        add_image_classification_signature,
        add_image_feature_vector_signature,
        add_text_embedding_signature,
    )
    from hubkeras.publishing.keras_models import publish
    from hubkeras.publishing.module_specs import (
        create_module_spec,
        create_module_spec_from_saved_model,
        load_module_spec,
    )
    from hubkeras.publishing.packing import pack
    from hubkeras.publishing.signature_checks import check_signature
    from hubkeras.publishing.signatures import add_signature
    from hubkeras.publishing.text_embeddings import publish_text_embedding

__version__ = "0.1.0"

_HOMES = {
    "CachedModule": "hubkeras.handles.cache",
    "Conversion": "hubkeras.formats.convert",
    "ImageModuleInfo": "hubkeras.publishing.attachments",
    "KerasLayer": "hubkeras.layers.keras_layer",
    "Module": "hubkeras.modules.module",
    "ModuleSpec": "hubkeras.modules.spec",
    "add_image_classification_signature": "hubkeras.publishing.common_signatures",
    "add_image_feature_vector_signature": "hubkeras.publishing.common_signatures",
    "add_signature": "hubkeras.publishing.signatures",
    "add_text_embedding_signature": "hubkeras.publishing.common_signatures",
    "attach_image_module_info": "hubkeras.publishing.attachments",
    "attach_message": "hubkeras.publishing.attachments",
    "cache_size": "hubkeras.handles.cache",
    "cached_modules": "hubkeras.handles.cache",
    "check_signature": "hubkeras.publishing.signature_checks",
    "convert": "hubkeras.formats.convert",
    "create_module_spec": "hubkeras.publishing.module_specs",
    "create_module_spec_from_saved_model": "hubkeras.publishing.module_specs",
    "describe": "hubkeras.inspection.describing",
    "get_expected_image_size": "hubkeras.modules.images",
    "get_num_image_channels": "hubkeras.modules.images",
    "is_available": "hubkeras.handles.resolver",
    "load": "hubkeras.modules.loader",
    "load_module_spec": "hubkeras.publishing.module_specs",
    "pack": "hubkeras.publishing.packing",
    "pin": "hubkeras.handles.cache",
    "pinned_sha256": "hubkeras.handles.cache",
    "publish": "hubkeras.publishing.keras_models",
    "publish_text_embedding": "hubkeras.publishing.text_embeddings",
    "register_resolver": "hubkeras.handles.registry",
    "remove_cached": "hubkeras.handles.cache",
    "resolve": "hubkeras.handles.resolver",
    "unpin": "hubkeras.handles.cache",
    "unregister_resolver": "hubkeras.handles.registry",
    "verify_cached": "hubkeras.handles.cache",
}
"""Where each public name is defined."""

__all__ = [
    "CachedModule",
    "Conversion",
    "ImageModuleInfo",
    "KerasLayer",
    "Module",
    "ModuleSpec",
    "add_image_classification_signature",
    "add_image_feature_vector_signature",
    "add_signature",
    "add_text_embedding_signature",
    "attach_image_module_info",
    "attach_message",
    "cache_size",
    "cached_modules",
    "check_signature",
    "convert",
    "create_module_spec",
    "create_module_spec_from_saved_model",
    "describe",
    "get_expected_image_size",
    "get_num_image_channels",
    "is_available",
    "load",
    "load_module_spec",
    "pack",
    "pin",
    "pinned_sha256",
    "publish",
    "publish_text_embedding",
    "register_resolver",
    "remove_cached",
    "resolve",
    "unpin",
    "unregister_resolver",
    "verify_cached",
]


_SUBMODULES = frozenset({"batch", "callbacks"})
"""What is there without an import of its own, as in `hubkeras.callbacks.LatestModuleExporter`."""


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"hubkeras.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    register_with_keras()  # what was imported may have brought Keras before the layer could be
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES})


register_with_keras()
