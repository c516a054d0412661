"""TF1 Hub format again, with today's values of the variables."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from hubkeras.conversion.saved_model import loss_checks
from hubkeras.conversion.verification import Check
from hubkeras.modules.defaults import DEFAULT
from hubkeras.modules.export import write_module
from hubkeras.modules.loader import load
from hubkeras.modules.module import Module
from hubkeras.modules.object_signatures import object_signatures
from hubkeras.publishing.saved_objects import PublishedObject, object_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from hubkeras.functions.tensor_info import ParsedTensorInfo
    from hubkeras.modules.tf2_objects import LoadedObject

IS_DIRECTORY = True


def write(module: Module | LoadedObject, directory: Path) -> None:
    """Writes a module with all its graph variants, or the functions of a TF2 SavedModel as two variants.

    Raises:
        PublishingError: A TF2 SavedModel has something that has no place in the format.
    """
    if isinstance(module, Module):
        write_module(module.description, module.state.by_name, directory)
    else:
        published = PublishedObject(module)
        write_module(published.description, published.variables, directory)


def checks(module: Module | LoadedObject, directory: Path) -> Iterator[Check]:
    """Yields signatures in both variants, and losses.

    Args:
        module: The module, which may be changed.
        directory: What `write` has written.
    """
    if isinstance(module, Module):
        again = load(directory, module.tags, train_tags=module.train_tags, safe_mode=False)
        yield from _module_checks(module, again)
    else:
        yield from _object_checks(module, load(directory, safe_mode=False))


def _module_checks(module: Module, again: Module) -> Iterator[Check]:
    for training in (False, True):
        tags = module.train_tags if training else module.tags
        for name in module.get_signature_names(tags):
            yield _check(
                name,
                training,
                module.get_input_info_dict(name, tags),
                partial(_apply, module, name, training),
                again,
                module.state.by_name,
            )
    yield from loss_checks(module, again)


def _object_checks(module: LoadedObject, again: Module) -> Iterator[Check]:
    variables = {name: held.variable for name, held in object_table(module).by_name.items()}
    for name, signature in object_signatures(module).items():
        # Another signature of a SavedModel knows no training. In the module all that are for training run its updates.
        for training in (False, True) if name == DEFAULT else (False,):
            infos = again.get_input_info_dict(name)
            yield _check(name, training, infos, partial(_call, signature, training), again, variables)
    yield from loss_checks(module, again)


def _check(
    name: str, training: bool, infos: Mapping[str, ParsedTensorInfo], original: Any, again: Module, variables: Any
) -> Check:
    mode = " in training" if training else ""
    trained = {v.name.partition(":")[0] for v in again.trainable_variables}
    state = again.state.by_name
    return Check(
        f"signature {name!r}{mode}",
        infos,
        original,
        partial(_apply, again, name, training),
        trained=({n: variables[n] for n in trained}, {n: state[n] for n in trained}),
        state=(variables, state),
        updates=training,
    )


def _apply(module: Module, name: str, training: bool, values: Mapping[str, Any]) -> Any:
    return module(values or None, name, training, as_dict=True)


def _call(signature: Any, training: bool, values: Mapping[str, Any]) -> Any:
    return signature.call(values, training)
