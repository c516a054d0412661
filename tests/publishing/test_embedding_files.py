"""Files of word vectors: what is read from them, and what is refused."""

import gzip
import tracemalloc

import numpy as np
import pytest

from hubkeras.errors import EmbeddingFileError, MissingFileError
from hubkeras.publishing import embedding_files
from hubkeras.publishing.embedding_files import read_rows
from hubkeras.publishing.embedding_tables import read_table


def rows(path):
    """Tokens and vectors of a file."""
    blocks = list(read_rows(path, lambda _: None))
    return [token.decode() for block in blocks for token in block.tokens], np.concatenate([b.values for b in blocks])


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("cat 1 2\ndog 3 4.5\n", ["cat", "dog"]),
        ("cat 1 2\ndog 3 4.5", ["cat", "dog"]),
        ("2 2\ncat 1 2 \ndog 3 4.5 \n", ["cat", "dog"]),
        ("2\t2\r\ncat\t1\t2\r\ndog\t3\t4.5\r\n\r\n\n", ["cat", "dog"]),
        ("\ufeffcat  1  2\ndog +3e0 .45e1\n", ["cat", "dog"]),
        (". . . 1 2\nat name@domain.com 3 4.5\n", [". . .", "at name@domain.com"]),
        ("2 2\nnew york 1 2\n7 3 4.5\n", ["new york", "7"]),
        ("5 1 2\n-1e3 3 4.5\n", ["5", "-1e3"]),
        ("nan 1 2\ninfinity 3 4.5\n", ["nan", "infinity"]),
        ("a\xa0b 1 2\n\u3000\u0085 3 4.5\n", ["a\xa0b", "\u3000\u0085"]),
        ("snake_case 1 2\n猫 3 4.5\n", ["snake_case", "猫"]),
    ],
)
def test_layouts(text, tokens, tmp_path):
    """GloVe's, fastText's and word2vec's, with tokens that are numbers or hold spaces, plain and packed."""
    for name, content in (("plain", text.encode()), ("packed", gzip.compress(text.encode()))):
        (tmp_path / name).write_bytes(content)
        found, values = rows(tmp_path / name)
        assert found == tokens
        assert values.dtype == np.float32
        assert values.tolist() == [[1, 2], [3, 4.5]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no word vectors"),
        (b"\n\n", "holds no word vectors"),
        (b"cat\ndog\n", r"line 1.*a token and its numbers.*'cat'"),
        (b"cat 1 2\ndog 3 4 5\n", r"line 2.*a token and 2 numbers, as in line 1.*3 numbers in 'dog 3 4 5'"),
        (b"cat 1 2\ndog 3\n", r"line 2.*1 numbers in 'dog 3'"),
        (b"2 3\ncat 1 2 3\ndog 1 2 3 4\n", r"line 3.*a token and 3 numbers, as line 1 says.*4 numbers in"),
        (b"2 3\ncat 1 2\n", r"line 2.*a token and 3 numbers, as line 1 says.*2 numbers in 'cat 1 2'"),
        (b"1 99999999999\ncat 1\n", r"line 2.*99999999999 numbers"),
        (b"3 2\ncat 1 2\ndog 3 4\n", r"3 rows of 2 numbers.*2 rows"),
        (b"1 2\ncat 1 2\ndog 3 4\n", r"1 rows of 2 numbers.*2 rows"),
        (b"0 2\n", r"0 rows of 2 numbers.*0 rows"),
        (b"1 0\ncat\n", r"line 2.*a token and 1 numbers, as in line 1.*0 numbers in 'cat'"),
        (b"cat 1 2\n\ndog 3 4\n", r"line 2.*an empty line"),
        (b"cat 1 2\ndog 3 four\n", r"line 2.*'four', which is no number"),
        (b"cat 1 2\ndog 3 1_0\n", r"line 2.*'1_0', which is no number"),
        (b"cat 1 2\ndog 3 nan\n", r"line 2.*finite numbers.*'dog 3 nan'"),
        (b"cat 1 2\ndog 3 1e39\n", r"line 2.*finite numbers.*'dog 3 1e39'"),
        (b"cat 1 2\nd\xffg 3 4\n", r"line 2.*UTF-8.*'d\\\\xffg'"),
        (b"cat 1 2\nd\0g 3 4\n", r"line 2.*control characters"),
        (b"PK\3\4cat 1 2\n", "packed with zip"),
        (b"x" * 5000, r"line 1.*a line shorter than 4096 bytes"),
        (gzip.compress(b"cat 1 2\n" * 99, mtime=0)[:-9], "damaged or cut"),
        (gzip.compress(b"cat 1 2\n", mtime=0)[:-8] + b"\0" * 8, "damaged or cut"),
    ],
)
def test_refusals(content, message, tmp_path, monkeypatch):
    """The line is named, and what it holds."""
    monkeypatch.setattr(embedding_files, "_LONGEST_LINE", 4096)
    (tmp_path / "vectors.txt").write_bytes(content)
    with pytest.raises(EmbeddingFileError, match=r"(?s)vectors\.txt.*" + message):
        rows(tmp_path / "vectors.txt")


def test_no_file(tmp_path):
    with pytest.raises(MissingFileError, match="Cannot find"):
        rows(tmp_path / "nothing.txt")
    with pytest.raises(EmbeddingFileError, match="Cannot read"):
        rows(tmp_path)


@pytest.mark.parametrize("header", [b"", b"7 1\n"])
def test_repeated_token(header, tmp_path, monkeypatch):
    """Both lines are named, also where they lie in different blocks."""
    monkeypatch.setattr(embedding_files, "_MOST_ROWS", 2)
    (tmp_path / "vectors.txt").write_bytes(header + b"a 1\nb 1\nc 1\nd 1\nb 1\ne 1\na 1\n")
    lines = (6, 3) if header else (5, 2)
    with pytest.raises(EmbeddingFileError, match=rf"line {lines[0]}, repeats.*'b', which stands on line {lines[1]}"):
        read_table(tmp_path / "vectors.txt", tmp_path, 1, lambda _: None)


def test_memory(tmp_path, monkeypatch):
    """A file is never in memory as a whole, nor are its tokens; the bytes that were read add up."""
    monkeypatch.setattr(embedding_files, "_BYTES_OF_VALUES", 1 << 16)
    file = tmp_path / "vectors.txt"
    values = " ".join(map(str, np.linspace(-1, 1, 32, dtype=np.float32)))
    file.write_text("".join(f"token{i} {values}\n" for i in range(20_000)))
    told = []
    tracemalloc.start()
    try:
        table = read_table(file, tmp_path, 3, told.append)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20 < file.stat().st_size / 4
    assert (table.rows, table.width) == (20_003, 32)
    assert sum(told) == file.stat().st_size
    assert len(told) > 10
    last = np.concatenate([piece for _, piece in table.pieces(19_999, 20_003)])
    np.testing.assert_array_equal(last, [np.linspace(-1, 1, 32, dtype=np.float32), *np.zeros((3, 32))])
