from __future__ import annotations

import json

import pytest

from hubkeras.migration.notebooks import migrate_notebook


def notebook(*cells: str | list[str], indent: int | None = 1, end: str = "\n") -> str:
    made = [{"cell_type": "code", "metadata": {}, "outputs": [1.50], "source": source} for source in cells]
    made.insert(0, {"cell_type": "markdown", "metadata": {}, "source": ["import tensorflow_hub as hub: é"]})
    text = json.dumps({"cells": made, "metadata": {"a": 1}, "nbformat": 4, "nbformat_minor": 5}, indent=indent)
    return text.replace("1.5", "1.50E0") + end


@pytest.mark.parametrize("indent", [None, 1, 2, 4])
@pytest.mark.parametrize("end", ["", "\n"])
def test_only_the_rewritten_lines_change(indent: int | None, end: str) -> None:
    import_hub, use = ["import tensorflow_hub as hub\n", "print('ü')"], "hub.Module(u)\n"
    text = notebook(import_hub, use, indent=indent, end=end)
    moved = migrate_notebook(text)
    cell, line = '"cell_type": "code"', "import tensorflow_hub as hub\\n"
    first = text.index(line, text.index(cell))
    expected = text[:first] + "import hubkeras.compat.v1 as hub\\n" + text[first + len(line) :]
    assert moved.text == expected
    assert [(f.cell, f.line, f.fate) for f in moved.findings] == [(2, 1, "rewritten"), (3, 1, "works")]
    assert migrate_notebook(moved.text).text == moved.text


def test_a_source_that_is_one_text() -> None:
    text = notebook("%matplotlib inline\nimport tensorflow_hub as hub\n\nhub.load('é')")
    moved = json.loads(migrate_notebook(text).text)
    assert moved["cells"][1]["source"] == "%matplotlib inline\nimport hubkeras as hub\n\nhub.load('é')"


def test_magics_and_other_languages_stay() -> None:
    cells = [
        "!pip install -q tensorflow_hub \\\n    tensorflow-text\nimport tensorflow_hub as hub\n",
        "%%bash\npip install tensorflow-hub\nimport tensorflow_hub\n",
        "%%time\nif colab:\n  !pip install tf-nightly\nm = hub.load(u)\nfiles = !ls\nx = ('%d'\n     % 5)\n",
        "this is no Python, import tensorflow_hub\n",
        "hub.load?\n",
    ]
    text = notebook(*cells)
    moved = migrate_notebook(text)
    assert moved.text == text.replace("import tensorflow_hub as hub\\n", "import hubkeras as hub\\n")
    assert [(f.cell, f.line, f.fate) for f in moved.findings] == [
        (2, 1, "by hand"),
        (2, 3, "rewritten"),
        (3, 2, "by hand"),
        (3, 3, "by hand"),
        (4, 4, "works"),
        (5, 1, "by hand"),
    ]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"worksheets": []}'])
def test_what_is_no_notebook_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"notebook|Expecting"):
        migrate_notebook(text)


@pytest.mark.parametrize(
    "cell", ["5", '"x"', '{"cell_type": "code", "source": 5}', '{"cell_type": "code", "source": [5]}']
)
def test_cells_that_hold_no_text(cell: str) -> None:
    with pytest.raises(ValueError, match="no notebook of nbformat 4"):
        migrate_notebook(f'{{"cells": [{cell}], "nbformat": 4}}')
