"""Thousands of archives that nobody would make on purpose, or only for a bad one."""

import contextlib
import io
import os
import shutil
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handles.samples import make_tar, make_zip
from hubkeras.errors import HubKerasError
from hubkeras.handles.archive import extract

EXAMPLES = int(os.environ.get("HUBKERAS_FUZZ_EXAMPLES", "700"))
SECONDS = 20.0

COMPONENTS = st.sampled_from(
    ["a", "A", "b", "..", ".", "", "...", "..a", "C:", "c:x", "con", "NUL.txt", "a\\b", "\\", "é", "e\u0301", "ß", "ss"]
) | st.text(max_size=6)
NAMES = st.builds(
    lambda start, parts, end: start + "/".join(parts) + end,
    st.sampled_from(["", "", "", "/", "//", "./", "../", "\\", "C:/"]),
    st.lists(COMPONENTS, min_size=1, max_size=4),
    st.sampled_from(["", "", "/", "\0", "\0x"]),
)
TYPES = st.sampled_from([tarfile.REGTYPE, tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE]) | st.sampled_from(
    [b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"D", b"S", b"V", b"L", b"K", b"x", b"g", b"X", b"?"]
)
SIZES = st.none() | st.integers(-(2**70), 2**70) | st.integers(0, 4000)


@st.composite
def tar_members(draw):
    """A header that may lie about everything, and some content."""
    info = tarfile.TarInfo(draw(NAMES))
    info.type = draw(TYPES)
    content = draw(st.binary(max_size=1200))
    claimed = draw(SIZES)
    info.size = len(content) if claimed is None else claimed
    info.linkname = draw(st.sampled_from(["", "/etc/passwd", "../../x", "a"]))
    form = draw(st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT]))
    if form == tarfile.PAX_FORMAT:
        keys = st.sampled_from(["path", "size", "linkpath", "GNU.sparse.major", "GNU.sparse.map", "comment"])
        info.pax_headers = draw(st.dictionaries(keys, NAMES | st.integers(-5, 5000).map(str), max_size=2))
    with contextlib.suppress(ValueError, OverflowError, UnicodeError):
        return info.tobuf(form, "utf-8", "surrogateescape") + content + bytes(-len(content) % 512)
    return content


@st.composite
def damaged(draw, bodies):
    """A good archive with bytes changed, removed and added."""
    body = bytearray(draw(bodies))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(body)))
        action = draw(st.sampled_from(["change", "cut", "insert", "zero"]))
        if action == "change" and at < len(body):
            body[at] ^= draw(st.integers(1, 255))
        elif action == "cut":
            del body[at : at + draw(st.integers(1, 600))]
        elif action == "insert":
            body[at:at] = draw(st.binary(max_size=20))
        else:
            body[at : at + 12] = bytes(len(body[at : at + 12]))
    return bytes(body)


TARS = st.builds(
    lambda members, end: b"".join(members) + end,
    st.lists(tar_members(), max_size=5),
    st.sampled_from([bytes(1024), bytes(512), b"", b"garbage" * 200]),
)


@st.composite
def zips(draw):
    """Members with odd names, attributes and packings."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in draw(st.lists(NAMES, max_size=5)):
            info = zipfile.ZipInfo("x")
            info.filename = name.encode("utf-8", "replace").decode()
            info.external_attr = draw(st.sampled_from([0, 0o100644, 0o120777, 0o020666, 0o040755])) << 16
            info.compress_type = draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
            with pytest_warnings_aside():
                archive.writestr(info, draw(st.binary(max_size=300)))
    return buffer.getvalue()


@contextlib.contextmanager
def pytest_warnings_aside():
    """zipfile warns of duplicate names, which are what is wanted here."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def check(body: bytes) -> None:
    """Nothing outside the target, no hang, and success or a HubKerasError."""
    base = Path(tempfile.mkdtemp())
    try:
        target = base / "in" / "target"
        target.mkdir(parents=True)
        start = time.monotonic()
        with contextlib.suppress(HubKerasError):
            extract(iter([body[i : i + 777] for i in range(0, len(body), 777)]), target)
        assert time.monotonic() - start < SECONDS
        assert [path for path in base.rglob("*") if target not in (path, *path.parents)] == [base / "in"]
        assert all(path.is_file() or path.is_dir() for path in target.rglob("*"))
        assert not any(path.is_symlink() for path in target.rglob("*"))
    finally:
        shutil.rmtree(base)


fuzz = settings(
    max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck), derandomize=True
)


@fuzz
@given(TARS)
def test_tars_of_arbitrary_members(body):
    """Headers that lie."""
    check(body)


@fuzz
@given(damaged(st.sampled_from([make_tar(packing=packing) for packing in ("", "gz")]) | TARS))
def test_damaged_tars(body):
    """Bytes that were changed."""
    check(body)


@fuzz
@given(damaged(zips() | st.just(make_zip())))
def test_arbitrary_and_damaged_zips(body):
    """Names, attributes and bytes."""
    check(body)
