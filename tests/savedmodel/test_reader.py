import os
import time
import traceback
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hubkeras.errors import CorruptFileError, FormatError, HubKerasError, MissingFileError
from hubkeras.savedmodel.assets import find_asset
from hubkeras.savedmodel.protos import ModuleDef
from hubkeras.savedmodel.reader import read_module
from savedmodel.builder import (
    asset_file_def,
    attachment,
    const,
    dense_graph,
    dense_module,
    dtype,
    meta_graph,
    node,
    placeholder,
    refusal,
    shape,
    variable,
    variable_def,
    write_module,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "modules"


@pytest.fixture
def module(tmp_path):
    return dense_module(tmp_path / "module")


def test_a_module_in_tf1_hub_format(module):
    description = read_module(module)
    assert description.format == "tf1_hub"
    assert description.path == module
    assert description.tag_sets == (frozenset(),)
    assert description.checkpoint == module / "variables" / "variables"
    assert list(description.variables) == ["w"]
    assert list(description.variants[0].signatures) == ["default"]


def test_variants_keep_the_order_of_the_file_and_share_variables(tmp_path):
    frozen = dense_graph(collections={"variables": [variable_def("w")]})
    module = dense_module(tmp_path / "one")
    write_module(module, dense_graph(tags=["train"]), frozen, dense_graph(tags=["b", "a"]))
    description = read_module(module)
    assert description.tag_sets == (frozenset({"train"}), frozenset(), frozenset({"a", "b"}))
    assert [variant.tags for variant in description.variants] == list(description.tag_sets)
    assert [variant.variables["w"].trainable for variant in description.variants] == [True, False, True]
    assert description.variables["w"].trainable


def test_everything_a_variant_holds(tmp_path):
    collections = {
        "table_initializer": ["fill"],
        "update_ops": ["step:0"],
        "regularization_losses": ["l2"],
        "hub_module_attachments": [attachment("key", b"value")],
    }
    graph = dense_graph(collections=collections, assets={"path:0": "vocab.txt"})
    graph.graph_def.node.extend([const("path", "SAVEDMODEL-ASSET"), node("fill", "InitializeTableFromTextFileV2")])
    module = write_module(tmp_path / "m", graph, assets={"vocab.txt": "a", "unused.txt": "b"})
    variant = read_module(module).variants[0]
    assert (variant.table_initializers, variant.update_ops, variant.regularization_losses) == (
        ("fill",),
        ("step",),
        ("l2:0",),
    )
    assert variant.attachments == {"key": b"value"}
    assert variant.assets[0].path == module / "assets" / "vocab.txt"
    assert variant.meta_graph.graph_def.node[0].name == "x"


def test_paths_may_be_text_or_relative(module, monkeypatch):
    monkeypatch.chdir(module.parent)
    assert read_module("module").path == module
    assert read_module(str(module)).path == module


def test_a_plain_saved_model(tmp_path):
    graph = dense_graph(tags=["serve"])
    graph.graph_def.node.extend([node("import", "LookupTableImportV2"), node("init", "NoOp", "^import")])
    graph.collection_def["saved_model_main_op"].node_list.value.append("init")
    description = read_module(write_module(tmp_path / "m", graph, hub=False, values={"w": np.float32([1, 2])}))
    assert description.format == "saved_model"
    assert description.variants[0].table_initializers == ("import",)


def test_text_format(tmp_path):
    graph = dense_graph(assets={"path:0": "a.txt"})
    module = write_module(tmp_path / "m", graph, values={"w": np.float32([1, 2])}, assets={"a.txt": ""}, as_text=True)
    assert read_module(module).variants[0].assets[0].tensor == "path:0"
    (module / "saved_model.pb").write_bytes(b"")
    with pytest.raises(CorruptFileError, match="no graph"):
        read_module(module)


def test_a_tf2_saved_model_is_known_by_its_tag_sets_only(tmp_path):
    graph = dense_graph(tags=["serve"])
    graph.object_graph_def.nodes.add()
    description = read_module(write_module(tmp_path / "m", graph, hub=False))
    assert (description.format, description.variants, description.checkpoint) == ("tf2", (), None)
    assert description.tag_sets == (frozenset({"serve"}),)
    graph.asset_file_def.append(asset_file_def("a:0", "../x"))
    with pytest.raises(FormatError, match="points out"):
        read_module(write_module(tmp_path / "m", graph, hub=False))


def test_no_variables_folder_and_no_saver_are_fine_without_variables(tmp_path):
    graph = meta_graph([placeholder("x"), node("y", "Identity", "x")], signatures={"default": ({"x": "x:0"}, {})})
    description = read_module(write_module(tmp_path / "m", graph))
    assert description.checkpoint is None
    assert description.variables == {}


def test_extra_files_and_tensors_are_fine(module):
    (module / "README.txt").write_text("hello")
    (module / "assets.extra").mkdir()
    dense_module(module, hub=True)
    assert read_module(module).variables["w"].shape == (2,)


def test_broken_parts_of_a_graph_are_fine_until_used(tmp_path):
    signatures = {"default": ({"x": "gone:0"}, {"default": "nowhere:0"}), "a:b": ({}, {}), "a$/": ({}, {})}
    module = dense_module(tmp_path / "m")
    graph = dense_graph(signatures=signatures)
    graph.graph_def.node.add(name="odd", op="NoSuchOp", input=["missing"])
    variant = read_module(write_module(module, graph)).variants[0]
    assert variant.signatures["default"].outputs["default"].tensors == ("nowhere:0",)
    assert set(variant.signatures) == set(signatures)


class TestRefused:
    """Each message names the directory or the file."""

    def refused(self, path, kind, *words):
        with pytest.raises(kind) as info:
            read_module(path)
        for word in (str(path), *words):
            assert word in str(info.value)

    def test_missing_directory(self, tmp_path):
        self.refused(tmp_path / "nowhere", MissingFileError, "Cannot find")

    def test_a_file_instead_of_a_directory(self, module):
        self.refused(module / "saved_model.pb", FormatError, "a directory")

    def test_empty_directory(self, tmp_path):
        self.refused(tmp_path, MissingFileError, "saved_model.pb", "empty directory")

    def test_no_saved_model(self, module):
        (module / "saved_model.pb").unlink()
        self.refused(module, MissingFileError, "saved_model.pb", "tfhub_module.pb, variables")

    @pytest.mark.parametrize("content", [b"garbage", b"\x08", b"\x12\xff"])
    def test_garbage_module_file(self, module, content):
        (module / "tfhub_module.pb").write_bytes(content)
        self.refused(module, CorruptFileError, "tfhub_module.pb")

    @pytest.mark.parametrize("number", [0, 1, 2, 99])
    def test_another_format(self, module, number):
        (module / "tfhub_module.pb").write_bytes(ModuleDef(format=number).SerializeToString())
        self.refused(module, FormatError, "tfhub_module.pb", "format 3", f"format {number}")

    def test_required_features(self, module):
        proto = ModuleDef(format=3, required_features=["time_travel"])
        (module / "tfhub_module.pb").write_bytes(proto.SerializeToString())
        self.refused(module, FormatError, "'time_travel'")

    def test_garbage_saved_model(self, module):
        (module / "saved_model.pb").write_bytes(b"\xff" * 100)
        self.refused(module, CorruptFileError, "saved_model.pb")

    @pytest.mark.parametrize("content", ["meta_graphs {", "nonsense: 1", "\ud800"])
    def test_garbage_text_format(self, tmp_path, content):
        (tmp_path / "saved_model.pbtxt").write_bytes(content.encode("utf-8", "surrogatepass"))
        self.refused(tmp_path, CorruptFileError, "saved_model.pbtxt")

    def test_text_of_another_file_is_not_told(self, tmp_path):
        """It may be a link to a file that is nobody's business."""
        (tmp_path / "secret.txt").write_text("the_secret\n")
        (tmp_path / "saved_model.pbtxt").symlink_to("secret.txt")
        with pytest.raises(CorruptFileError) as caught:
            read_module(tmp_path)
        assert "the_secret" not in "".join(traceback.format_exception(caught.value))

    def test_a_folder_named_saved_model(self, module):
        (module / "saved_model.pb").unlink()
        (module / "saved_model.pb").mkdir()
        self.refused(module, CorruptFileError, "saved_model.pb")

    @pytest.mark.skipif(not Path("/dev/zero").exists(), reason="There are no devices here")
    @pytest.mark.parametrize("name", ["tfhub_module.pb", "saved_model.pb"])
    def test_a_device_in_the_place_of_a_file(self, module, name):
        """It has no end."""
        (module / name).unlink()
        (module / name).symlink_to("/dev/zero")
        self.refused(module, CorruptFileError, "device")

    def test_no_meta_graph(self, tmp_path):
        self.refused(write_module(tmp_path / "m"), CorruptFileError, "holds no graph")

    @pytest.mark.parametrize("with_another", [True, False])
    def test_a_model_in_chunks(self, module, with_another):
        """TensorFlow would prefer it to the file that is read here."""
        (module / "saved_model.cpb").write_bytes(b"")
        if not with_another:
            (module / "saved_model.pb").unlink()
        self.refused(module, FormatError, "split into chunks", "saved_model.cpb")

    def test_a_tf2_saved_model_of_several_graphs(self, tmp_path):
        """TensorFlow would load one as in TF1, and run its initializers."""
        graphs = [dense_graph(tags=["serve"]), dense_graph(tags=["other"])]
        graphs[1].object_graph_def.nodes.add()
        self.refused(write_module(tmp_path / "m", *graphs, hub=False), FormatError, "2 MetaGraphs")

    def test_one_tag_set_twice(self, tmp_path):
        graphs = [meta_graph(tags=["a", "b"]), meta_graph(tags=["b", "a"])]
        self.refused(write_module(tmp_path / "m", *graphs), FormatError, "one tag set", "['a', 'b']")

    def test_missing_variables(self, module):
        for path in (module / "variables").iterdir():
            path.unlink()
        self.refused(module, MissingFileError, "variables.index", "'w'")

    def test_missing_index(self, module):
        (module / "variables" / "variables.index").unlink()
        self.refused(module, MissingFileError, "variables.index", "'w'")

    def test_missing_data(self, module):
        (module / "variables" / "variables.data-00000-of-00001").unlink()
        self.refused(module, MissingFileError, "variables.data-00000-of-00001")

    def test_another_shape(self, module):
        graph = dense_graph()
        graph.graph_def.node[1].attr["shape"].CopyFrom(shape(3))
        write_module(module, graph)
        self.refused(module, FormatError, "'w'", "(3,)", "(2,)")

    def test_another_dtype(self, module):
        graph = dense_graph()
        graph.graph_def.node[1].attr["dtype"].CopyFrom(dtype("int32"))
        write_module(module, graph)
        self.refused(module, FormatError, "'w'", "int32", "float32")

    @pytest.mark.parametrize("key", ["variables", "hub_module_attachments"])
    def test_damaged_collections(self, module, key):
        write_module(module, dense_graph(collections={key: [b"\x0a\xff"]}))
        self.refused(module, CorruptFileError, key)

    def test_dtype_of_the_future(self, module):
        graph = dense_graph()
        graph.signature_def["default"].inputs["x"].dtype = 4321
        write_module(module, graph)
        self.refused(module, FormatError, "4321")

    def test_missing_asset(self, module):
        """It stops what needs it, and nothing else."""
        write_module(module, dense_graph(assets={"path:0": "gone.txt"}))
        (asset,) = read_module(module).variants[0].assets
        with pytest.raises(MissingFileError, match=r"gone\.txt"):
            find_asset(asset)

    @pytest.mark.parametrize("filename", ["../saved_model.pb", "/etc/hostname"])
    def test_escaping_asset(self, module, filename):
        write_module(module, dense_graph(assets={"path:0": filename}))
        self.refused(module, FormatError, filename)


SETTINGS = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@SETTINGS
@given(data=st.data())
@pytest.mark.parametrize("name", ["saved_model.pb", "tfhub_module.pb", "variables/variables.index"])
def test_damage_is_read_or_refused_and_never_another_error(module, name, data):
    path = module / name
    good = path.read_bytes()
    start = data.draw(st.integers(0, len(good)))
    middle = data.draw(st.binary(max_size=12))
    skipped = data.draw(st.integers(0, 12) | st.just(len(good)))
    path.write_bytes(good[:start] + middle + good[start + skipped :])
    error = refusal(read_module, module)
    path.write_bytes(good)
    assert error is None or str(module) in str(error)


def test_truncation_at_every_byte_is_read_or_refused(module):
    path = module / "saved_model.pb"
    good = path.read_bytes()
    for size in range(0, len(good), 3):
        path.write_bytes(good[:size])
        with pytest.raises(HubKerasError):
            read_module(module)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("name", ["saved_model.pb", "tfhub_module.pb", "variables/variables.index"])
def test_unreadable_files(module, name):
    (module / name).chmod(0)
    with pytest.raises(CorruptFileError, match=name):
        read_module(module)


def test_a_large_module_takes_a_moment(tmp_path):
    """Two variants of a 12-layer BERT's size; the limit leaves room for a busy machine (about 30 ms are usual)."""
    names = [f"layer_{i // 16}/weights_{i % 16}" for i in range(200)]
    nodes = [item for name in names for item in variable(name)]
    nodes += [node(f"op_{i}", "AddV2", f"op_{i - 1}" if i else "x", names[i % 200] + "/Read") for i in range(4000)]
    nodes.append(placeholder("x"))
    collections = {key: [variable_def(name) for name in names] for key in ("variables", "trainable_variables")}
    options = {"collections": collections, "signatures": {"default": ({"x": "x:0"}, {"default": "op_3999:0"})}}
    graphs = [meta_graph(nodes, **options), meta_graph(nodes, tags=["train"], **options)]
    values = {name: np.zeros(2, np.float32) for name in names}
    module = write_module(tmp_path / "m", *graphs, values=values)

    def duration():
        start = time.perf_counter()
        assert len(read_module(module).variables) == 200
        return time.perf_counter() - start

    assert min(duration() for _ in range(3)) < 0.3


@pytest.mark.parametrize("path", sorted(GOLDEN.iterdir()) if GOLDEN.is_dir() else [], ids=lambda path: path.name)
def test_golden_modules_can_be_read(path):
    description = read_module(path)
    assert description.tag_sets
    for variant in description.variants:
        assert variant.signatures
        tensors = {name for s in variant.signatures.values() for info in s.outputs.values() for name in info.tensors}
        nodes = {item.name for item in variant.meta_graph.graph_def.node}
        assert {name.partition(":")[0] for name in tensors} <= nodes


def test_an_initial_value_belongs_to_the_variant_that_names_it(tmp_path):
    first, second = meta_graph([variable("w")[0]]), meta_graph(variable("w"), tags=["train"])
    description = read_module(write_module(tmp_path / "m", first, second))
    assert description.initial_value("w") == (description.variants[1], "w/initial:0")
    assert description.initial_value("nothing") is None
    restored = read_module(dense_module(tmp_path / "restored"))
    assert restored.initial_value("w") is None


def test_an_initial_value_of_another_variant_does_not_count(tmp_path):
    """The first variant assigns a tensor that only the second one has."""
    handle, value, assign, _ = variable("w")
    first, second = meta_graph([handle, assign]), meta_graph([handle, value], tags=["train"])
    description = read_module(write_module(tmp_path / "m", first, second))
    assert description.initial_value("w") is None
