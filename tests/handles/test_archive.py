"""Archives that are as they should be, and those that are not."""

import gzip
import io
import os
import struct
import tarfile
import zipfile

import pytest

from handles.samples import (
    FILES,
    contents,
    file_entry,
    folder_entry,
    link_entry,
    make_tar,
    make_zip,
    tar_of,
)
from hubkeras.errors import ArchiveError, HubKerasError
from hubkeras.handles.archive import extract, module_root

LONG = "assets/" + "/".join(["folder" * 8] * 6) + "/words.txt"


def unpack(body, directory, piece=1000):
    directory.mkdir(exist_ok=True)
    return extract(iter([body[i : i + piece] for i in range(0, len(body), piece)]), directory)


def outside(tmp_path):
    return sorted(path.name for path in tmp_path.iterdir())


@pytest.mark.parametrize("folders", [True, False])
@pytest.mark.parametrize("prefix", ["", "./", "nnlm/"])
def test_good_tar(tmp_path, folders, prefix):
    """With and without entries for directories, with `./`, in one top-level folder."""
    files = unpack(make_tar(folders=folders, prefix=prefix), tmp_path / "m")
    root, files = module_root(tmp_path / "m", files)
    assert contents(root) == FILES
    assert files.keys() == FILES.keys()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("prefix", ["", "nnlm/"])
def test_good_zip(tmp_path, method, prefix):
    """In each of its packings."""
    files = unpack(make_zip(prefix=prefix, method=method), tmp_path / "m")
    assert contents(module_root(tmp_path / "m", files)[0]) == FILES


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_packings_of_zip_are_refused_by_name(tmp_path, method):
    """And what is supported is named."""
    with pytest.raises(ArchiveError, match=r"stored or deflated.*(bzip2|lzma).*tar -czf"):
        unpack(make_zip(method=method), tmp_path / "m")


def test_zip_of_a_mac(tmp_path):
    """What its Finder adds beside the one folder does not count."""
    files = {f"nnlm/{name}": body for name, body in FILES.items()} | {"__MACOSX/nnlm/._a": b"", ".DS_Store": b"x"}
    root, found = module_root(tmp_path / "m", unpack(make_zip(files), tmp_path / "m"))
    assert root.name == "nnlm"
    assert found.keys() == FILES.keys()


def test_directory_with_the_name_of_a_graph_is_none(tmp_path):
    """It takes a file."""
    with pytest.raises(ArchiveError, match="holds no module"):
        module_root(tmp_path / "m", unpack(make_tar({"saved_model.pb/x": b""}), tmp_path / "m"))


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_long_and_foreign_names(tmp_path, form):
    """In every dialect that can hold them."""
    names = [LONG[:99] if form == tarfile.USTAR_FORMAT else LONG, "assets/..data", "assets/größe 語.txt"]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name in names:
            info, body = file_entry(name)
            archive.addfile(info, io.BytesIO(body))
    assert unpack(buffer.getvalue(), tmp_path / "m").keys() == set(names)


def test_file_larger_than_octal_sizes_can_say(tmp_path):
    """A header that claims 10 GB and brings nothing is an archive that was cut."""
    info, _ = file_entry("big")
    info.size = 10 << 30
    with pytest.raises(ArchiveError, match="ends too early"):
        unpack(info.tobuf(tarfile.GNU_FORMAT) + bytes(4096), tmp_path / "m")


def test_modes_and_owners_are_ignored(tmp_path):
    """No set-user-id file comes out of an archive."""
    info, body = file_entry("saved_model.pb")
    info.mode, info.uid = 0o6777, 1234
    unpack(tar_of([(info, body)]), tmp_path / "m")
    made, plain = (tmp_path / "m" / "saved_model.pb").stat(), (tmp_path / "plain")
    plain.write_bytes(b"")
    assert (made.st_mode, made.st_uid) == (plain.stat().st_mode, plain.stat().st_uid)


NAMES = [
    ("../evil", "leads out"),
    ("a/../../evil", "leads out"),
    ("a/../evil", "leads out"),
    ("/tmp/evil", "absolute"),
    ("//server/share/evil", "absolute"),
    ("\\evil", "absolute"),
    ("a\\..\\evil", "back-slash"),
    ("C:evil", "absolute"),
    ("c:\\evil", "absolute"),
    ("a/D:evil", "drive letter"),
    ("a\nb", "control character"),
    ("assets/nul", "Windows reserves"),
    ("COM1.txt", "Windows reserves"),
    ("a./b", "Windows reserves"),
    ("a /b", "Windows reserves"),
    ("x" * 600, "longer than 512"),
    ("y" * 300, "longer than 255 bytes"),
]


@pytest.mark.parametrize(("name", "reason"), NAMES)
@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_names_that_lead_elsewhere_are_refused_by_name(tmp_path, make, name, reason):
    """On every system alike, and nothing is written outside."""
    body = make({"saved_model.pb": b"x", name: b"evil"}, **({"folders": False} if make is make_tar else {}))
    with pytest.raises(ArchiveError, match=reason) as caught:
        unpack(body, tmp_path / "m")
    assert repr(name)[1:20] in str(caught.value)
    assert outside(tmp_path) == ["m"]


def test_nul_in_a_name_is_refused(tmp_path):
    """Extended headers and zip directories can hold one."""
    info, body = file_entry("ok")
    info.pax_headers = {"path": "assets/a\0b"}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info, io.BytesIO(body))
    packed = make_zip({"assets/aXb": b"x"}).replace(b"assets/aXb", b"assets/a\0b")
    for body in (buffer.getvalue(), packed):
        with pytest.raises(ArchiveError, match="NUL"):
            unpack(body, tmp_path / "m")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (tarfile.SYMTYPE, "symbolic link"),
        (tarfile.LNKTYPE, "hard link"),
        (tarfile.CHRTYPE, "character device"),
        (tarfile.BLKTYPE, "block device"),
        (tarfile.FIFOTYPE, "named pipe"),
        (tarfile.CONTTYPE, "contiguous file"),
        (tarfile.GNUTYPE_SPARSE, "sparse file"),
        (b"Z", "unknown type"),
    ],
)
def test_members_that_are_no_files_are_refused_by_name(tmp_path, kind, name):
    """Whatever they point to."""
    with pytest.raises(ArchiveError, match=name) as caught:
        unpack(tar_of([file_entry("saved_model.pb"), link_entry("evil", kind, "/etc/passwd")]), tmp_path / "m")
    assert "'evil'" in str(caught.value)


def test_link_in_a_zip_is_refused(tmp_path):
    """Its kind stands in the attributes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo("evil")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(ArchiveError, match=r"'evil'.*a link"):
        unpack(buffer.getvalue(), tmp_path / "m")


def test_write_through_a_link_is_impossible(tmp_path):
    """A link, then a file behind it: the link is refused already."""
    entries = [link_entry("assets", tarfile.SYMTYPE, str(tmp_path)), file_entry("assets/evil")]
    with pytest.raises(ArchiveError, match="symbolic link"):
        unpack(tar_of(entries), tmp_path / "m")
    assert outside(tmp_path) == ["m"]


DUPLICATES = [
    ["saved_model.pb", "saved_model.pb"],
    ["saved_model.pb", "Saved_Model.PB"],
    ["assets/a", "Assets/b"],
    ["assets", "assets/a"],
    ["assets/a", "assets"],
    ["straße", "STRASSE"],
    ["caf\u00e9", "cafe\u0301"],
]


@pytest.mark.parametrize("names", DUPLICATES, ids=" ".join)
def test_two_members_in_one_place_are_refused(tmp_path, names):
    """Also where only some disks take them for one."""
    with pytest.raises(ArchiveError, match="a second member in the place of"):
        unpack(tar_of([file_entry(name) for name in names]), tmp_path / "m")


def test_directory_may_be_named_again(tmp_path):
    """Before, after and between its files."""
    entries = [(folder_entry("a"), b""), file_entry("a/x"), (folder_entry("a/"), b""), file_entry("./a//y")]
    assert unpack(tar_of(entries), tmp_path / "m").keys() == {"a/x", "a/y"}


def negative_size(name="evil"):
    info, _ = file_entry(name)
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = b"\xff" * 11 + b"\x00"
    block[148:156] = b"%06o\0 " % (256 + sum(block[:148]) + sum(block[156:]))
    return bytes(block)


def test_negative_size_is_refused(tmp_path):
    """It made readers go in circles."""
    with pytest.raises(ArchiveError, match=r"'evil'.*a negative size"):
        unpack(negative_size() + bytes(2048), tmp_path / "m")


@pytest.mark.parametrize("size", ["-512", "1e3", "9" * 40, "٣"])
def test_odd_size_in_an_extended_header_is_refused(tmp_path, size):
    """Only digits are one."""
    record = f" size={size}\n".encode()
    length = len(record) + 2
    body = str(length).encode() + record
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, len(body)
    archive = info.tobuf() + body.ljust(512, b"\0") + file_entry("evil")[0].tobuf() + bytes(2048)
    with pytest.raises(ArchiveError, match=r"the size|damaged"):
        unpack(archive, tmp_path / "m")


def test_endless_extended_headers_are_refused(tmp_path):
    """Eight for one member are plenty."""
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 4
    with pytest.raises(ArchiveError, match="more than 8 extended headers"):
        unpack((info.tobuf(tarfile.GNU_FORMAT) + b"name".ljust(512, b"\0")) * 50, tmp_path / "m")


def test_huge_extended_header_is_refused_unread(tmp_path):
    """It would have to be held in memory."""
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 5 << 30
    with pytest.raises(ArchiveError, match="an extended header of 5368709120 bytes"):
        unpack(info.tobuf(tarfile.GNU_FORMAT) + bytes(4096), tmp_path / "m")


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("HUBKERAS_MAX_ARCHIVE_MEMBERS", "3", "too many members"),
        ("HUBKERAS_MAX_ARCHIVE_BYTES", "5000", "too many bytes"),
        ("HUBKERAS_MAX_ARCHIVE_PATH", "20", "longer than 20"),
    ],
)
@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_limits_are_configurable_and_named(tmp_path, monkeypatch, make, variable, value, message):
    """The message tells what to raise."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(ArchiveError, match=message) as caught:
        unpack(make(), tmp_path / "m")
    assert variable in str(caught.value)
    monkeypatch.delenv(variable)
    assert unpack(make(), tmp_path / "n").keys() == FILES.keys()


@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_folders_that_only_paths_name_count_as_members(tmp_path, make):
    """Two hundred names of a few hundred slashes each would make fifty thousand folders out of a few kilobytes."""
    files = {f"{number:03}/" + "a/" * 252 + "x": b"" for number in range(200)}
    body = make(files, **({"folders": False} if make is make_tar else {}))
    assert make is make_zip or len(body) < 8_000
    with pytest.raises(ArchiveError, match=r"too many members.*10000.*HUBKERAS_MAX_ARCHIVE_MEMBERS"):
        unpack(body, tmp_path / "m")
    assert sum(len(folders) for _, folders, _ in os.walk(tmp_path / "m")) <= 10_000


def test_folders_that_only_paths_name_are_counted_once(tmp_path, monkeypatch):
    """However many files lie in them."""
    monkeypatch.setenv("HUBKERAS_MAX_ARCHIVE_MEMBERS", "8")
    assert len(unpack(make_tar({f"a/b/c/{number}": b"" for number in range(5)}, folders=False), tmp_path / "m")) == 5
    with pytest.raises(ArchiveError, match="too many members"):
        unpack(make_tar({f"a/b/c/{number}": b"" for number in range(6)}, folders=False), tmp_path / "n")


@pytest.mark.parametrize("packing", ["gz", "zip"])
def test_bomb_is_refused_before_it_fills_the_disk(tmp_path, packing):
    """The ratio of unpacked to packed bytes gives it away."""
    files = {"saved_model.pb": bytes(64 << 20)}
    body = make_zip(files) if packing == "zip" else make_tar(files, packing)
    with pytest.raises(ArchiveError, match="HUBKERAS_MAX_ARCHIVE_RATIO"):
        unpack(body, tmp_path / "m", piece=1 << 20)
    assert sum(path.stat().st_size for path in (tmp_path / "m").rglob("*")) < 32 << 20


def test_zip_that_lies_about_its_sizes(tmp_path):
    """What it unpacks to is counted, not what it claims."""
    body = bytearray(make_zip({"saved_model.pb": bytes(1 << 20)}))
    at = body.index(b"PK\1\2")
    body[at + 24 : at + 28] = struct.pack("<I", 10)
    with pytest.raises(ArchiveError, match=r"damaged|is cut"):
        unpack(bytes(body), tmp_path / "m")


def test_encrypted_zip_is_refused(tmp_path):
    """By name."""
    body = bytearray(make_zip({"saved_model.pb": b"x"}, method=zipfile.ZIP_STORED))
    body[body.index(b"PK\1\2") + 8] |= 1
    with pytest.raises(ArchiveError, match=r"'saved_model.pb'.*encrypted"):
        unpack(bytes(body), tmp_path / "m")


@pytest.mark.parametrize("packing", ["", "gz", "zip"])
def test_every_cut_is_noticed(tmp_path, packing):
    """Wherever it falls, also between two members of a plain tar."""
    body = make_zip() if packing == "zip" else make_tar(packing=packing)
    end = len(body.rstrip(b"\0")) + 512 if not packing else len(body)
    for number, cut in enumerate(range(0, end, max(end // 60, 1))):
        with pytest.raises(ArchiveError):
            unpack(body[:cut], tmp_path / str(number))


def test_cut_between_two_members_of_a_plain_tar(tmp_path):
    """There is no end mark."""
    body = make_tar(packing="")
    cut = body.index(b"variables/variables.index\0")
    assert cut % 512 == 0
    with pytest.raises(ArchiveError, match=r"ends too early.*end mark"):
        unpack(body[:cut], tmp_path / "m")


def test_flipped_bits_are_noticed(tmp_path):
    """By the checksums of the packing."""
    body = bytearray(make_tar())
    body[len(body) // 2] ^= 0x10
    with pytest.raises(ArchiveError):
        unpack(bytes(body), tmp_path / "m")


def test_zeros_and_a_second_stream_behind_a_packed_one(tmp_path):
    """Both are allowed by gzip."""
    body = make_tar(packing="")
    packed = gzip.compress(body[:3000]) + gzip.compress(body[3000:]) + bytes(700)
    unpack(packed, tmp_path / "m", piece=700)
    assert contents(tmp_path / "m") == FILES


@pytest.mark.parametrize("body", [b"", b"hello" * 200, b"<html>", bytes(2048), b"\x1f\x8b", b"PK\3\4junk"])
def test_what_is_no_archive_is_said_to_be_none(tmp_path, body):
    """Or that it ended or was empty."""
    with pytest.raises(ArchiveError, match=r"no archive|ends too early|is empty"):
        unpack(body, tmp_path / "m")


def test_headers_of_garbage_behind_a_good_member(tmp_path):
    """Are damage, not the end."""
    info, body = file_entry("saved_model.pb")
    with pytest.raises(ArchiveError, match="damaged"):
        unpack(info.tobuf() + body.ljust(512, b"\0") + b"garbage!" * 64 + bytes(2048), tmp_path / "m")


def test_errors_of_archives_have_builtin_bases(tmp_path):
    """OSError and ValueError, as tensorflow_hub raised."""
    with pytest.raises(HubKerasError) as caught:
        unpack(b"hello", tmp_path / "m")
    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value, ValueError)
