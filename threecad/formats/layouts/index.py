"""A pair of folders (see `pair`) whose masks hold numbers of types, named by a file or by the person who asks.

classes.txt, labels.txt or names.txt, or the same as .json, stands beside the two folders or at the top of the data set:

    one name a line, the first one 0 if it is called background or _background_, else 1 (labelme's __ignore__ goes before that);
    or `1 scratch` or `1: scratch` on every line
    {"1": "scratch"}, {"scratch": 1}, or ["background", "scratch"]
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from threecad.domain import MaskFile
from threecad.errors import LayoutError, ReadError
from threecad.formats.layouts import Listing, Request
from threecad.formats.layouts.files import Tree, joined, listing, writable
from threecad.formats.layouts.pair import asked, listing_of, pairs

NAME = "index"
_FILES = tuple(f"{stem}{suffix}" for stem in ("classes", "labels", "names") for suffix in (".txt", ".json"))
_BACKGROUND = frozenset({"background", "_background_"})
_IGNORED = "__ignore__"
_LARGEST = 65535
"""What a mask of 16 bits can hold."""


def recognises(tree: Tree) -> bool:
    """A pair, with a file of names beside it or at the top."""
    return any(_named_in(tree, images.rpartition("/")[0]) is not None for images, _ in pairs(tree))


def _named_in(tree: Tree, parent: str) -> str | None:
    """The file of names for the pair in that folder."""
    return next((path for folder in (parent, "") for name in _FILES if tree.holds(path := joined(folder, name))), None)


def read(tree: Tree, request: Request) -> Listing:
    types: dict[str, tuple[tuple[int, str], ...]] = {}
    for images, _ in asked(tree, request):
        parent = images.rpartition("/")[0]
        path = _named_in(tree, parent)
        if not request.names and path is None:
            raise LayoutError(f"{tree.root}: found no names of types; expected one of {', '.join(_FILES)}, or the numbers named")
        names = request.names or (_names(tree, path) if path is not None else {})
        types[parent] = tuple(sorted(names.items()))
    return listing_of(tree, request, NAME, lambda parent, path: MaskFile(path, "index", types[parent]))


def _names(tree: Tree, path: str) -> Mapping[int, str]:
    data = listing(tree, path)
    where = str(tree.root / path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ReadError(f"{where}, line {data[: error.start].count(10) + 1}: not UTF-8") from None
    found = _of_json(text, where) if path.endswith(".json") else _of_lines(text, where)
    for value, name in found.items():
        if not 0 <= value <= _LARGEST:
            raise ReadError(f"{where}: found the number {str(value)[:20]} for {name[:80]!r}; expected 0 to {_LARGEST}")
    return {value: "" if name.casefold() in _BACKGROUND else writable(name) for value, name in found.items() if value}


def _of_lines(text: str, where: str) -> dict[int, str]:
    lines = [line.strip() for line in text.splitlines()]
    pairs = [re.fullmatch(r"(\d{1,9})\s*[:=,;\s]\s*(\S.*)", line) for line in lines if line]
    if pairs and all(pairs):
        return {int(found[1]): found[2] for found in pairs if found}
    for number, line in enumerate(lines, 1):
        if not line and any(lines[number:]):
            raise ReadError(f"{where}, line {number}: found no name; expected one a line, since its place is its number")
    return _of_sequence([line for line in lines if line])


def _of_sequence(names: Sequence[str]) -> dict[int, str]:
    """
    >>> _of_sequence(["__ignore__", "_background_", "dent"]), _of_sequence(["dent", "pit"])
    ({0: '_background_', 1: 'dent'}, {1: 'dent', 2: 'pit'})
    """
    own = list(names[1:] if names and names[0] == _IGNORED else names)
    return dict(enumerate(own, 0 if own and own[0].casefold() in _BACKGROUND else 1))


def _of_json(text: str, where: str) -> dict[int, str]:
    expected = 'expected {"1": "scratch"}, {"scratch": 1} or ["scratch"]'
    try:
        data: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ReadError(f"{where}: not JSON ({error})") from None
    if isinstance(data, list) and all(isinstance(name, str) for name in data):
        return _of_sequence(data)
    if isinstance(data, dict) and all(isinstance(name, str) and re.fullmatch(r"\d{1,9}", key) for key, name in data.items()):
        return {int(key): name for key, name in data.items()}
    if isinstance(data, dict) and all(isinstance(value, int) and not isinstance(value, bool) for value in data.values()):
        return {value: name for name, value in data.items()}
    raise ReadError(f"{where}: {expected}")
