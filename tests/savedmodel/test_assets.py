import pytest

from hubkeras.errors import CorruptFileError, FormatError, MissingFileError
from hubkeras.savedmodel.assets import find_asset, read_assets
from savedmodel.builder import asset_file_def, meta_graph


@pytest.fixture
def module(tmp_path):
    folder = tmp_path / "module"
    (folder / "assets" / "sub").mkdir(parents=True)
    (folder / "assets" / "vocab.txt").write_text("a\n")
    (folder / "assets" / "sub" / "..more").write_text("b\n")
    (tmp_path / "secret.txt").write_text("s")
    return folder


def read(module, filename):
    return read_assets(meta_graph(assets={"Const:0": filename}), module)


@pytest.mark.parametrize("filename", ["vocab.txt", "sub/..more", "./vocab.txt"])
def test_files_below_assets(module, filename):
    (asset,) = read(module, filename)
    assert (asset.tensor, asset.filename) == ("Const:0", filename)
    assert asset.path.is_absolute()
    assert asset.path.read_text() in {"a\n", "b\n"}


def test_both_places_name_the_same_asset(module):
    proto = meta_graph(assets={"Const:0": "vocab.txt"})
    proto.asset_file_def.append(asset_file_def("Const:0", "vocab.txt"))
    proto.asset_file_def.append(asset_file_def("Other:0", "vocab.txt"))
    assert [asset.tensor for asset in read_assets(proto, module)] == ["Const:0", "Other:0"]


@pytest.mark.parametrize(
    "filename",
    [
        "../secret.txt",
        "../../secret.txt",
        "sub/../../../secret.txt",
        "sub/../vocab.txt",
        "/etc/hostname",
        "//host/share",
        "C:\\secret.txt",
        "C:secret.txt",
        "\\secret.txt",
        "..\\secret.txt",
        "",
        "a\0b",
        "a" * 5000,
    ],
)
def test_names_that_leave_assets_are_refused_whether_the_file_exists_or_not(module, filename):
    with pytest.raises(FormatError, match="points out of the folder 'assets'") as info:
        read(module, filename)
    assert str(module) in str(info.value)


@pytest.mark.parametrize("target", ["../../secret.txt", "../tfhub_module.pb", "loop"])
def test_links_that_leave_assets_are_refused(module, target):
    (module / "tfhub_module.pb").write_text("")
    (module / "assets" / "loop").symlink_to(target)
    with pytest.raises(FormatError, match="points out of the folder"):
        read(module, "loop")


def test_an_assets_folder_that_is_a_link_elsewhere_is_refused(module, tmp_path):
    (module / "assets").rename(tmp_path / "elsewhere")
    (module / "assets").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FormatError, match="points out of the folder"):
        read(module, "vocab.txt")


def test_links_within_assets_and_a_linked_module_are_fine(module, tmp_path):
    (module / "assets" / "link").symlink_to("vocab.txt")
    (tmp_path / "alias").symlink_to(module)
    (asset,) = read(tmp_path / "alias", "link")
    assert asset.path == tmp_path / "alias" / "assets" / "link"


@pytest.mark.parametrize("filename", ["nothing.txt", "sub", "."])
def test_missing_files_are_named_when_they_are_asked_for(module, filename):
    (asset,) = read(module, filename)
    with pytest.raises(MissingFileError, match="an asset of the module") as info:
        find_asset(asset)
    assert str(asset.path) in str(info.value)


def test_a_link_that_comes_after_reading_is_refused_when_it_is_asked_for(module):
    (asset,) = read(module, "vocab.txt")
    assert find_asset(asset) == module / "assets" / "vocab.txt"
    (module / "assets" / "vocab.txt").unlink()
    (module / "assets" / "vocab.txt").symlink_to("../../secret.txt")
    with pytest.raises(FormatError, match="points out of the folder"):
        find_asset(asset)


def test_damaged_collection(module):
    proto = meta_graph()
    proto.collection_def["saved_model_assets"].any_list.value.add(value=b"\x0a\xff")
    with pytest.raises(CorruptFileError, match="saved_model_assets"):
        read_assets(proto, module)


def test_one_tensor_holds_one_path(module):
    """TensorFlow goes by the last entry for a tensor, or by the number of the entry."""
    proto = meta_graph(assets={"Const:0": "vocab.txt"})
    proto.asset_file_def.append(asset_file_def("Const", "sub/..more"))
    with pytest.raises(FormatError, match=r"one file for each tensor.*for 'Const:0'"):
        read_assets(proto, module)
