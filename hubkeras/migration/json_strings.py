"""Strings of a JSON text by their places, so that one can be replaced and every other byte stays (RFC 8259)."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Path = tuple[str | int, ...]
"""Keys and positions that lead from the outermost value to another one, such as ("cells", 0, "source", 2)."""

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')


@dataclass(frozen=True)
class JsonString:
    """A string value in a JSON text."""

    start: int
    end: int
    value: str


def json_strings(text: str) -> dict[Path, JsonString]:
    """Returns all string values of a JSON text by their paths; keys of objects are none.

    Args:
        text: The text.

    Raises:
        ValueError: It is no JSON.
    """
    json.loads(text)  # what follows believes that it is well-formed
    return dict(_walk(_TOKEN.finditer(text), ()))


def _walk(tokens: Iterator[re.Match[str]], path: Path) -> Iterator[tuple[Path, JsonString]]:
    token = next(tokens)
    if token[0] == "{":
        while (key := next(tokens))[0] != "}":
            if key[0] != ",":
                next(tokens)  # the colon
                yield from _walk(tokens, (*path, json.loads(key[0])))
    elif token[0] == "[":
        yield from _elements(tokens, path)
    elif token[0].startswith('"'):
        yield path, JsonString(token.start(), token.end(), json.loads(token[0]))


def _elements(tokens: Iterator[re.Match[str]], path: Path) -> Iterator[tuple[Path, JsonString]]:
    position = 0
    for token in tokens:
        if token[0] == "]":
            return
        if token[0] == ",":
            position += 1
        else:
            yield from _walk(itertools.chain([token], tokens), (*path, position))


def replace_strings(text: str, strings: Mapping[JsonString, str]) -> str:
    """Returns a JSON text with other values for some of its strings.

    A string that was written in ASCII alone stays so.

    Args:
        text: The text.
        strings: New values of strings that `json_strings` found in it.
    """
    for string in sorted(strings, key=lambda string: -string.start):
        ascii_only = text[string.start : string.end].isascii()
        text = text[: string.start] + json.dumps(strings[string], ensure_ascii=ascii_only) + text[string.end :]
    return text
