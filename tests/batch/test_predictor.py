"""`hubkeras.batch.Predictor`: columns in, columns out, one row for each."""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tensorflow as tf
from building import v1, variable
from building import write as build

import hubkeras
from hubkeras.batch import Predictor
from hubkeras.cli.demo import MODULE
from hubkeras.errors import HandleError, InputError, OutputError, SignatureError, UnsupportedError, WorkerError

TEXTS = ["a spicy stew", "fog along the coast", "the coach trains", "hail", "peel the potatoes"]
IDS = [11, 12, 13, 14, 15]


@pytest.fixture(scope="module")
def vectors():
    """What the module makes of the texts."""
    return hubkeras.load(MODULE)(TEXTS).numpy()


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    """Signatures of many kinds over rows."""

    def variant(tags):
        del tags
        x, y = v1.placeholder("float32", [None, 2], "x"), v1.placeholder("int32", [None], "y")
        scale = v1.placeholder_with_default(v1.constant(1.0), [], "scale")
        text = v1.placeholder("string", [None], "text")
        images = v1.placeholder("float32", [None, 2, 3, 1], "images")
        three = v1.placeholder("float32", [3, 2], "three")
        parts = v1.placeholder("int64", [None], "parts")
        ragged = tf.RaggedTensor.from_row_splits(v1.range(tf.reduce_sum(parts)), tf.concat([[0], tf.cumsum(parts)], 0))
        total = (x + v1.cast(y, "float32")[:, None]) * scale
        padded, halves, table = (
            ragged.to_tensor(),
            v1.cast(images, "half"),
            v1.identity(variable("table", [1.0, 2.0, 3.0])),
        )
        return {
            "default": ({"x": x, "y": y, "scale": scale}, {"default": total, "text": v1.as_string(y)}),
            "text": ({"text": text}, {"length": v1.strings.length(text), "upper": v1.strings.upper(text)}),
            "images": ({"images": images}, {"mean": v1.reduce_mean(images, [1, 2, 3]), "half": halves}),
            "three": ({"three": three}, {"default": 2 * three}),
            "padded": ({"parts": parts}, {"default": padded}),
            "scalar": ({"x": x}, {"default": 2 * x, "sum": v1.reduce_sum(x), "table": table}),
            "checked": ({"y": y}, {"default": v1.gather(v1.constant([1.0, 2.0]), y)}),
            "complex": ({"x": x}, {"default": v1.complex(x, 2 * x)}),
            "unknown": ({"x": x}, {"default": v1.placeholder_with_default(x, None)}),
        }

    return build(tmp_path_factory.mktemp("modules") / "rows", variant)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 64])
@pytest.mark.parametrize("kind", ["dict", "table", "chunks", "batch", "frame"])
def test_one_row_for_each_row_in_order(kind, size, vectors):
    """Whatever kind of rows, and however they fall into batches; other columns come back."""
    predict = Predictor(MODULE, batch_size=size)
    table = pa.table({"id": IDS, "default": TEXTS})
    given = {
        "dict": {"id": np.array(IDS), "default": TEXTS},
        "table": table,
        "chunks": pa.concat_tables([table.slice(0, 3), table.slice(3)]),
        "batch": table.to_batches()[0],
        "frame": table.to_pandas().set_index(pd.Index(list("abcde"))),
    }[kind]
    found = predict(given)
    assert type(found) is type(given)
    np.testing.assert_array_equal(np.asarray(found["id"]), IDS)
    np.testing.assert_allclose(np.stack([np.asarray(row) for row in _rows(found["default"])]), vectors, rtol=1e-5)
    if kind == "frame":
        assert list(found.index) == list("abcde")


def _rows(column):
    return column.to_pylist() if isinstance(column, (pa.ChunkedArray, pa.Array)) else list(column)


def test_a_call_again_gives_the_same():
    """Engines repeat calls; and what was given is left as it was."""
    given = {"id": np.array(IDS), "default": np.array(TEXTS)}
    predict = Predictor(MODULE, batch_size=2)
    first, second = predict(given), predict(given)
    np.testing.assert_array_equal(first["default"], second["default"])
    assert list(given) == ["id", "default"]


@pytest.mark.parametrize(
    "column",
    [
        np.array(TEXTS),
        np.array(TEXTS, object),
        np.array([t.encode() for t in TEXTS]),
        np.array([t.encode() for t in TEXTS], object),
        np.array(TEXTS, np.dtypes.StringDType()),
        pd.Series(TEXTS),
        tf.constant(TEXTS),
        tuple(TEXTS),
    ],
    ids=["U", "object", "S", "bytes", "StringDType", "pandas", "tensor", "tuple"],
)
def test_texts_of_every_kind(column, vectors):
    """Also under another name, where there is one input and one column."""
    np.testing.assert_allclose(Predictor(MODULE)({"sentence": column})["default"], vectors, rtol=1e-5)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary(), pa.string_view()])
def test_texts_of_arrow(kind, vectors):
    """And as a dictionary."""
    for column in (pa.array(TEXTS, kind), pa.array(TEXTS).dictionary_encode()):
        found = Predictor(MODULE)(pa.table({"default": column}))
        np.testing.assert_allclose(np.array(found["default"].to_pylist()), vectors, rtol=1e-5)


@pytest.mark.parametrize("rows", [{"default": []}, {"default": np.empty(0, object), "id": np.empty(0, int)}])
def test_no_rows(rows):
    """Outputs have their shape and dtype, so that an engine learns the same columns from any batch."""
    found = Predictor(MODULE)(rows)
    assert found["default"].shape == (0, 32)
    assert found["default"].dtype == np.float32
    table = pa.table({name: pa.array([], pa.string()) for name in rows})
    full = Predictor(MODULE)(pa.table({name: pa.array(["a"], pa.string()) for name in rows}))
    assert Predictor(MODULE)(table).schema == full.schema
    assert Predictor(MODULE)(pa.RecordBatch.from_pylist([], schema=table.schema)).schema == full.schema


def test_it_pickles_without_the_module():
    """A few hundred bytes."""
    predict = Predictor(MODULE, outputs="default", batch_size=3)
    predict({"default": TEXTS})
    data = pickle.dumps(predict)
    assert len(data) < 1000
    copied = pickle.loads(data)
    assert repr(copied) == repr(predict)
    np.testing.assert_array_equal(copied({"t": TEXTS})["default"], predict({"t": TEXTS})["default"])


def test_several_inputs_outputs_and_arguments(module):
    """By name; a scalar for all rows; other columns stay."""
    x, y = np.arange(10.0, dtype=np.float64).reshape(5, 2), np.arange(5)
    predict = Predictor(module, batch_size=2, arguments={"scale": 2.0})
    found = predict({"id": IDS, "y": y, "x": x})
    assert list(found) == ["id", "default", "text"]
    np.testing.assert_allclose(found["default"], 2 * (x + y[:, None]))
    assert found["text"].tolist() == [b"0", b"1", b"2", b"3", b"4"]
    table = pa.table({"x": x.tolist(), "y": pa.array(y, pa.int16())})
    for kind in (pa.list_(pa.float64()), pa.list_(pa.float32(), 2), pa.large_list(pa.float32())):
        as_table = predict(table.set_column(0, "x", table["x"].cast(kind)))
        np.testing.assert_allclose(as_table["default"].to_pylist(), found["default"])
        assert as_table["text"].to_pylist() == list("01234")
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(x)
    np.testing.assert_allclose(predict(table.set_column(0, "x", tensors))["default"].to_pylist(), found["default"])
    objects = np.empty(5, object)
    objects[:] = [list(row) for row in x]
    np.testing.assert_allclose(predict({"x": objects, "y": y.astype(object)})["default"], found["default"])
    only = Predictor(module, outputs=["text"], arguments={"scale": 2.0})({"x": x, "y": y})
    assert list(only) == ["text"]


@pytest.mark.parametrize("slice_from", [0, 2])
def test_tensors_of_several_axes(module, slice_from):
    """As arrays, and as lists of lists, also from a slice; half precision is float32 in a table."""
    images = np.arange(30, dtype=np.float32).reshape(5, 2, 3, 1)
    predict = Predictor(module, "images", batch_size=2)
    as_arrays = predict({"images": images[slice_from:]})
    assert as_arrays["half"].dtype == np.float16
    table = pa.table({"images": images.tolist()}).slice(slice_from)
    found = predict(table)
    np.testing.assert_allclose(found["mean"].to_numpy(), images[slice_from:].mean((1, 2, 3)))
    np.testing.assert_allclose(found["half"].to_pylist(), as_arrays["half"])
    assert found.schema.field("half").type == pa.list_(pa.list_(pa.list_(pa.float32())))


def test_a_fixed_number_of_rows(module):
    """The last call is filled up, and what comes of that is dropped."""
    x = np.arange(16, dtype=np.float32).reshape(8, 2)
    np.testing.assert_array_equal(Predictor(module, "three")({"three": x})["default"], 2 * x)


def test_rows_of_several_shapes(module):
    """An output that is padded to the longest row of its call."""
    parts = [1, 2, 0, 3]
    found = Predictor(module, "padded", batch_size=2)({"parts": parts})["default"]
    assert [row.tolist() for row in found] == [[0, 0], [1, 2], [0, 0, 0], [0, 1, 2]]
    table = Predictor(module, "padded", batch_size=2)(pa.table({"parts": parts}))
    assert table["default"].to_pylist() == [[0, 0], [1, 2], [0, 0, 0], [0, 1, 2]]


def test_ragged_inputs_and_outputs():
    """Lists of any length, from dicts and tables."""
    ragged = Path(__file__).parents[1] / "golden" / "modules" / "ragged_text"
    rows = [[1.0, 2.0], [], [3.0]]
    predict = Predictor(ragged, "ragged", batch_size=2)
    whole = hubkeras.load(ragged)(tf.ragged.constant(rows), signature="ragged", as_dict=True)
    found = predict({"default": rows})
    np.testing.assert_allclose(found["default"], whole["default"])
    assert [list(row) for row in found["scaled"]] == whole["scaled"].to_list()
    table = predict(pa.table({"default": rows}))
    assert table["scaled"].to_pylist() == whole["scaled"].to_list()
    assert predict(pa.table({"default": pa.array([[]], pa.list_(pa.float64()))})).schema == table.schema
    tokens = Predictor(ragged, outputs="tokens")(pa.table({"default": ["a b", ""]}))["tokens"]
    assert tokens.type == pa.list_(pa.string())
    deep = [[[1, 2], []], [], [[3]]]
    assert Predictor(ragged, "deep", outputs="back")(pa.table({"ids": deep}))["back"].to_pylist() == deep


def test_kinds_of_numbers_that_arrow_lacks(module):
    """A complex number is a list of its parts."""
    found = Predictor(module, "complex")(pa.table({"x": [[1.0, 2.0]]}))
    assert found["default"].to_pylist() == [[[1.0, 2.0], [2.0, 4.0]]]
    assert Predictor(module, "complex")(pa.table({"x": pa.array([], pa.list_(pa.float32()))})).schema == found.schema


NULLS = {
    "object": {"id": IDS, "default": [*TEXTS[:3], None, "x"]},
    "nan": {"id": IDS, "default": np.array([*TEXTS[:3], np.nan, "x"], object)},
    "arrow": pa.table({"id": IDS, "default": [*TEXTS[:3], None, "x"]}),
    "frame": pd.DataFrame({"id": IDS, "default": [*TEXTS[:3], pd.NA, "x"]}),
    "masked": {"id": IDS, "default": np.ma.array(TEXTS, mask=[0, 0, 0, 1, 0])},
}


@pytest.mark.parametrize("kind", NULLS)
@pytest.mark.parametrize("size", [2, 8])
def test_a_missing_value_is_named(kind, size):
    """With its column, its row, and what stands beside it."""
    with pytest.raises(InputError, match=r"Column 'default' holds no value in row 3 of 5.*beside id=14"):
        Predictor(MODULE, batch_size=size)(NULLS[kind])


def test_a_missing_number_is_named(module):
    """NaN stands for it in a column of integers, and it may lie in a list."""
    predict = Predictor(module, arguments={"scale": 1.0})
    x = [[1.0, 2.0]] * 3
    with pytest.raises(InputError, match="Column 'y' holds no value in row 1 of 3"):
        predict({"x": x, "y": [1.0, np.nan, 2.0]})
    with pytest.raises(InputError, match="Column 'y' holds no value in row 2 of 3"):
        predict(pa.table({"x": x, "y": [1, 2, None]}))
    with pytest.raises(InputError, match="Column 'x' holds no value in row 1 of 3"):
        predict(pa.table({"x": [[1.0, 2.0], [1.0, None], [3.0, 4.0]], "y": [1, 2, 3]}))
    assert np.isnan(predict({"x": [[np.nan, 1.0]] * 3, "y": [1, 2, 3]})["default"][:, 0]).all()


BAD_ROWS = {
    "no rows": ([1, 2], "a dict of columns, a pyarrow.Table"),
    "a scalar": ({"x": 1}, "an array or a list"),
    "lengths": ({"x": [[1, 2]], "y": [1, 2]}, "columns of one length"),
    "missing": ({"x": [[1, 2]], "z": [1]}, "no columns are named ['y']"),
    "shape": ({"x": [[1, 2, 3]], "y": [1]}, "Cannot convert input 'x'"),
    "shapes": ({"x": [[1, 2], [3]], "y": [1, 2]}, "Cannot make one batch of rows 0 to 1 of column 'x'"),
    "dtype": ({"x": [["a", "b"]], "y": [1]}, "Cannot convert input 'x'"),
    "loss": ({"x": [[1, 2]], "y": [1.5]}, "Cannot convert input 'y'"),
    "taken name": ({"x": [[1, 2]], "y": [1], "text": ["a"]}, "both have ['text']"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_bad_rows_are_refused(case, module):
    """By name."""
    rows, message = BAD_ROWS[case]
    with pytest.raises(InputError) as raised:
        Predictor(module, arguments={"scale": 1.0})(rows)
    assert message in str(raised.value)


def test_columns_of_one_name_are_refused():
    """One of them would be lost."""
    with pytest.raises(InputError, match=r"\['default'\]"):
        Predictor(MODULE)(pa.Table.from_arrays([pa.array(TEXTS)] * 2, ["default", "default"]))


BAD_USE = {
    "batch size": ({"batch_size": 0}, InputError, "a whole number from 1 on"),
    "signature": ({"signature": "none"}, SignatureError, "none"),
    "output": ({"outputs": ["none"]}, OutputError, "['default', 'text']"),
    "argument": ({"arguments": {"none": 1}}, InputError, "['scale', 'x', 'y']"),
    "scalar input": ({}, UnsupportedError, "arguments={'scale': ...}"),
    "nothing left": ({"arguments": {"x": 1, "y": 1, "scale": 1}}, InputError, "an input for them"),
    "no rows in output": ({"signature": "scalar"}, OutputError, "'sum'"),
    "other rows in output": ({"signature": "scalar", "outputs": "table"}, OutputError, "shape (3,)"),
}


@pytest.mark.parametrize("case", BAD_USE)
def test_bad_use_is_refused(case, module):
    """Before anything is computed, where the signature tells."""
    options, error, message = BAD_USE[case]
    with pytest.raises(error) as raised:
        Predictor(module, **options)({"x": [[1, 2]], "y": [1]})
    assert message in str(raised.value)


def test_an_output_without_rows_can_be_left_out(module):
    """Only what is chosen is computed."""
    found = Predictor(module, "scalar", "default")({"x": [[1, 2]]})
    np.testing.assert_array_equal(found["default"], [[2, 4]])


def test_bytes_are_no_text_in_a_table(module):
    """In a dict they stay as they are."""
    rows = [b"\xff\xfe", b"b"]
    assert Predictor(module, "text")({"text": rows})["upper"].tolist() == [b"\xff\xfe", b"B"]
    with pytest.raises(OutputError, match="text in UTF-8"):
        Predictor(module, "text")(pa.table({"text": rows}))


def test_an_error_of_tensorflow_is_readable_and_pickles(module):
    """It says which rows, and where."""
    with pytest.raises(WorkerError, match=r"rows 2 to 3 in process \d+ on .*InvalidArgumentError") as raised:
        Predictor(module, "checked", batch_size=2)({"y": [0, 1, 0, 7]})
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)


def test_handles_mean_the_same_elsewhere(tmp_path, monkeypatch):
    """Relative paths are made absolute; what another process could not load is refused."""
    monkeypatch.chdir(MODULE.parent)
    assert Predictor(MODULE.name).handle == str(MODULE)
    assert Predictor("https://example.org/model/1").handle == "https://example.org/model/1"
    hubkeras.register_resolver("mine:")(lambda handle: str(MODULE.parent / handle[5:]))
    try:
        predict = Predictor(f"mine:{MODULE.name}")
    finally:
        hubkeras.unregister_resolver("mine:")
    assert predict.handle == str(MODULE)
    with pytest.raises(HandleError, match="export"):
        Predictor(hubkeras.load(MODULE))
    with pytest.raises(HandleError):
        Predictor("")


def test_tf2_objects(tmp_path):
    """A TF2 SavedModel goes through the same door, by its signature."""
    module = tf.Module()
    spec = tf.TensorSpec([None, 2], tf.float32, name="x")
    call = tf.function(lambda x: {"twice": 2 * x, "sum": tf.reduce_sum(x, 1)}, input_signature=[spec], autograph=False)
    tf.saved_model.save(module, str(tmp_path), signatures=call)
    found = Predictor(tmp_path, batch_size=2)({"x": np.ones((3, 2)), "id": [1, 2, 3]})
    np.testing.assert_array_equal(found["twice"], np.full((3, 2), 2.0))
    assert set(found) == {"id", "twice", "sum"}
    assert set(Predictor(tmp_path, outputs="sum")(pa.table({"x": [[1.0, 2.0]]})).column_names) == {"sum"}
