"""Scores of whole images from a list, for detectors that do not take them from their maps."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from posixpath import splitext
from typing import Any

from threecad.errors import ConfigError, ReadError
from threecad.formats.layouts.files import SUFFIXES
from threecad.formats.maps import SUFFIXES as MAP_SUFFIXES

_MOST_BYTES = 500_000_000
_LONGEST = 10_000
"""Characters of a line: a path, a score, and whatever else somebody keeps there."""


def read_scores(file: Path) -> list[tuple[str, float]]:
    """(path, score) of each image, paths with `/` and without a root, in the order of the file.

    CSV has the columns `path` and `score`, under these names or, without a head, as its first two; JSON Lines has an object with
    both a line. ConfigError where the suffix is neither .csv nor .jsonl, ReadError names the line that cannot be read.
    """
    suffix = file.suffix.lower()
    if suffix not in (".csv", ".jsonl"):
        raise ConfigError(f"{file}: found suffix {suffix!r}; expected scores of images as .csv or .jsonl")
    rows = _csv(file) if suffix == ".csv" else _jsonl(file)
    found = [(_relative(path), score) for path, score in rows]
    if not found:
        raise ReadError(f"{file}: empty; expected a path and a score a line")
    return found


def _text(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            size = os.fstat(opened.fileno()).st_size
            if size > _MOST_BYTES:
                raise ReadError(f"{file}: more than {_MOST_BYTES / 1e6:g} MB; expected a path and a score a line")
            return opened.read(size).decode("utf-8-sig")
    except OSError as error:
        raise ReadError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ReadError(f"{file}: not UTF-8; expected a path and a score a line") from None


def _lines(file: Path) -> Iterator[str]:
    for number, line in enumerate(io.StringIO(_text(file)), 1):
        if len(line) > _LONGEST:
            raise ReadError(f"{file}, line {number}: {len(line)} characters; expected a path and a score")
        yield line


def _csv(file: Path) -> Iterator[tuple[str, float]]:
    reader = csv.reader(_lines(file), strict=True)
    columns = (0, 1)
    try:
        for first, row in enumerate(row for row in reader if row):
            names = [cell.strip().lower() for cell in row]
            if not first and "path" in names and "score" in names:
                columns = names.index("path"), names.index("score")
                continue
            where = f"{file}, line {reader.line_num}"
            if len(row) <= max(columns):
                raise ReadError(f"{where}: {len(row)} columns; expected path and score")
            yield _row(where, row[columns[0]], row[columns[1]])
    except csv.Error as error:
        raise ReadError(f"{file}, line {reader.line_num}: not CSV ({error}); expected path,score") from None


def _jsonl(file: Path) -> Iterator[tuple[str, float]]:
    for number, line in enumerate(_lines(file), 1):
        if not line.strip():
            continue
        where = f"{file}, line {number}"
        try:
            told = json.loads(line)
        except (ValueError, RecursionError):
            raise ReadError(f'{where}: not JSON; expected {{"path": …, "score": …}}') from None
        if not isinstance(told, dict) or not isinstance(told.get("path"), str) or isinstance(told.get("score"), bool):
            raise ReadError(f'{where}: expected an object with a text "path" and a number "score"')
        yield _row(where, told["path"], told.get("score"))


def _row(where: str, path: str, score: Any) -> tuple[str, float]:
    try:
        value = float(score)
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value):
        raise ReadError(f"{where}: found score {score!r}; expected a finite number")
    if not path.strip():
        raise ReadError(f"{where}: no path; expected that of an image")
    return path, value


def _relative(path: str) -> str:
    return path.strip().replace("\\", "/").lstrip("/").removeprefix("./")


def as_file(path: str) -> str:
    """A path of a list as `pair` takes that of a file: with a suffix behind that says nothing, so that an image's stays its own.

    >>> as_file("dent/0.jpg"), as_file("dent/v1.2"), as_file("dent/0.npy")
    ('dent/0.jpg.path', 'dent/v1.2.path', 'dent/0.npy')
    """
    return path if splitext(path)[1].lower() in MAP_SUFFIXES - SUFFIXES else f"{path}.path"
