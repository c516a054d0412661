"""Files of a module's weights alone: `.npz`, or `.safetensors` with the extra of that name.

Every variable stands under the name that it has in the module's checkpoint, a partitioned one as a whole.
"""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from hubkeras.conversion.npz_files import read_npz
from hubkeras.conversion.saved_model import named_variables
from hubkeras.conversion.verification import Check
from hubkeras.errors import ConversionError, UnsupportedError
from hubkeras.functions.restoring import parts_of
from hubkeras.modules.module import Module

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from hubkeras.modules.tf2_objects import LoadedObject
    from hubkeras.savedmodel.description import VariableSpec

IS_DIRECTORY = False
_SUFFIXES = (".npz", ".safetensors")


def write(module: Module | LoadedObject, path: Path) -> None:
    """Writes the values of a module's variables.

    Raises:
        ConversionError: The path ends otherwise, or the format holds no such values.
    """
    values = values_of(module)
    if path.suffix == ".npz":
        _check_dtypes(values, {"V"}, path)
        _write_npz(values, path)
    elif path.suffix == ".safetensors":
        _check_dtypes(values, {"O", "c"}, path)
        package = _safetensors()
        try:
            package.numpy.save_file({name: np.array(v, order="C") for name, v in values.items()}, path)
        except package.SafetensorError as error:  # such as a full disk
            raise OSError(str(error)) from error
    else:
        raise _wrong_suffix(path)


def checks(module: Module | LoadedObject, path: Path) -> Iterator[Check]:
    """Yields what must be in the file."""
    yield Check("the variables", {}, lambda _: values_of(module), lambda _: read_values(path))


def values_of(module: Module | LoadedObject) -> dict[str, np.ndarray]:
    """Returns the values of a module's variables by their names in its checkpoint."""
    if not isinstance(module, Module):
        return {name: np.asarray(v.read_value()) for name, v in named_variables(module)[0].items()}
    specs, known = module.description.variables, module.state.by_name
    found = {}
    for whole, parts in parts_of(specs[name] for name in module.variable_names).items():
        if specs[parts[0]].partition is None:
            found[whole] = np.asarray(known[parts[0]].read_value())
            continue
        value = np.zeros(specs[parts[0]].partition.full_shape, known[parts[0]].dtype.as_numpy_dtype)  # pyright: ignore[reportOptionalMemberAccess]
        for name in parts:
            value[_place(specs[name])] = known[name].numpy()
        found[whole] = value
    return found


def assign_values(module: Module | LoadedObject, values: Mapping[str, np.ndarray], where: str) -> None:
    """Gives variables values by their names in the checkpoint.

    Args:
        module: The module.
        values: The values.
        where: Where they come from, for messages.

    Raises:
        ConversionError: They are not those of the module's variables.
    """
    want = values_of(module)
    wrong = {n for n in want.keys() & values.keys() if want[n].shape != values[n].shape}
    if want.keys() != values.keys() or wrong:
        raise ConversionError(
            f"Cannot take the weights of {where} for module {module.description.label}",
            expected=f"its {len(want)} variables, in their shapes",
            received=f"missing: {sorted(want.keys() - values.keys())},"
            f" not known: {sorted(values.keys() - want.keys())}, in another shape: {sorted(wrong)}",
        )
    if not isinstance(module, Module):
        for name, variable in named_variables(module)[0].items():
            variable.assign(_as_tensor(name, values[name], variable.dtype, where))
        return
    specs, known = module.description.variables, module.state.by_name
    for whole, parts in parts_of(specs[name] for name in module.variable_names).items():
        for name in parts:
            value = values[whole] if specs[name].partition is None else values[whole][_place(specs[name])]
            known[name].assign(_as_tensor(whole, value, known[name].dtype, where))


def _as_tensor(name: str, value: np.ndarray, dtype: tf.DType, where: str) -> tf.Tensor:
    try:
        return tf.constant(value, dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise ConversionError(
            f"Cannot take the weights of {where}: variable {name!r} does not hold them",
            expected=f"values of dtype {dtype.name}",
            received=f"dtype {value.dtype}",
        ) from error


def read_values(path: Path) -> dict[str, np.ndarray]:
    """Reads a file of weights.

    Raises:
        ConversionError: The path ends otherwise than files of weights do, or there is no such file.
    """
    if path.suffix not in _SUFFIXES:
        raise _wrong_suffix(path)
    try:
        if path.suffix == ".safetensors":
            return _load_safetensors(path)
        values = read_npz(path)
    except (OSError, ValueError) as error:
        raise ConversionError(f"Cannot read weights from {path}", received=str(error)) from error
    return {name: v.astype(object) if v.dtype.kind == "S" else v for name, v in values.items()}


def _place(spec: VariableSpec) -> tuple[slice, ...]:
    assert spec.partition is not None
    part = spec.partition
    return tuple(slice(start, start + size) for start, size in zip(part.offset, part.shape, strict=True))


def _write_npz(values: Mapping[str, np.ndarray], path: Path) -> None:
    # Not np.savez, which takes names as arguments and has some of its own, such as "file".
    with zipfile.ZipFile(path, "w") as file:
        for name, value in values.items():
            array = np.asarray(value, "S") if value.dtype == object else value
            with file.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)


def _check_dtypes(values: Mapping[str, np.ndarray], kinds: set[str], path: Path) -> None:
    for name, value in values.items():
        if value.dtype.kind in kinds:
            raise ConversionError(
                f"Cannot write variable {name!r} to {path.name}",
                expected="dtypes that the format has",
                received=str(value.dtype) if value.dtype != object else "string",
                fix=f"Write a file that ends with {_SUFFIXES[path.suffix == '.npz']!r}",
            )


def _wrong_suffix(path: Path) -> ConversionError:
    return ConversionError(
        f"Cannot tell the format of weights from {path.name!r}", expected=f"a name that ends with one of {_SUFFIXES}"
    )


def _load_safetensors(path: Path) -> dict[str, np.ndarray]:
    package = _safetensors()
    try:
        return package.numpy.load_file(path)
    except (package.SafetensorError, AttributeError) as error:  # the latter about a dtype that numpy lacks
        raise ConversionError(f"Cannot read weights from {path}", received=str(error)) from error


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise UnsupportedError(
            "Cannot use .safetensors files without the package safetensors",
            fix="Install it with pip install 'hubkeras[safetensors]', or use .npz",
        ) from error
    return safetensors
