"""Files of arrays that anybody may have written."""

import io
import pickle
import zipfile

import numpy as np
import pytest

from hubkeras.cli.row_files import read_batches
from hubkeras.conversion.npz_files import read_npz
from hubkeras.conversion.weight_values import read_values
from hubkeras.errors import ConversionError, InputError


def packed(content: bytes, name: str = "v.npy") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return file.getvalue()


def array(shape: str, dtype: str = "<f4") -> bytes:
    """Returns the beginning of an array, without its values."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()


def stored(value: object) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(value), allow_pickle=True)
    return file.getvalue()


def changed(content: bytes, **bytes_at: int) -> bytes:
    """Returns an archive with bytes set in the header of its member, and in the list at its end."""
    data = bytearray(content)
    listed = content.index(b"PK\x01\x02")
    for place, (here, there) in {"flags": (6, 8), "method": (8, 10)}.items():
        if place in bytes_at:
            data[here] = data[listed + there] = bytes_at[place]
    return bytes(data)


GOOD = packed(stored(np.float32([1, 2])))
DAMAGED = {
    "an object": packed(stored(np.array([{}], object))),
    "a pickle": pickle.dumps([1]),
    "a pickle as member": packed(pickle.dumps([1])),
    "text": packed(b"hello", "v"),
    "a terabyte": packed(array("(1099511627776,)")),
    "a huge text": packed(array("(100,)", "|S2000000000")),
    "no size": packed(array(f"({2**70},)")),
    "a negative size": packed(array("(-2,)")),
    "no header": packed(b"\x93NUMPY\x01\x00\x04\x00" + b"(((("),
    "a password": changed(GOOD, flags=1),
    "a compression": changed(GOOD, method=99),
    "damage": GOOD[:40] + b"\xff" * 8 + GOOD[48:],
    "the end": GOOD[:-20],
    "nothing": b"",
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_files(kind, tmp_path):
    path = tmp_path / "v.npz"
    path.write_bytes(DAMAGED[kind])
    with pytest.raises(ValueError, match=r"\w"):
        read_npz(path)
    with pytest.raises(ConversionError, match="Cannot read weights"):
        read_values(path)
    with pytest.raises(InputError, match=r"Cannot read .*v\.npz"):
        list(read_batches(str(path), 2))


def test_arrays(tmp_path):
    (tmp_path / "v.npz").write_bytes(GOOD)
    np.testing.assert_array_equal(read_npz(tmp_path / "v.npz")["v"], [1, 2])


def test_a_dtype_that_numpy_lacks(tmp_path):
    pytest.importorskip("safetensors")
    header = b'{"v": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}}'
    (tmp_path / "v.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(2))
    with pytest.raises(ConversionError, match=r"Cannot read weights .*float8_e4m3"):
        read_values(tmp_path / "v.safetensors")
