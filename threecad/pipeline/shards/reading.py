"""The samples of one shard, read and proved: what goes into a shard is what the conversion wrote, or nothing does."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from threecad.errors import ReadError
from threecad.formats.dataset import SAMPLES, SUMS
from threecad.pipeline.shards.planning import MOST_BYTES, Light, order_of, parsed


@dataclass(frozen=True, slots=True)
class Parts:
    """One sample: `line` is its row of samples.jsonl as it stands there, without the newline; `files` are the bytes by role,
    `paths` where they were, relative to the data set."""

    id: str
    line: bytes
    files: dict[str, bytes]
    paths: dict[str, str]


def read(root: Path, rows: Light, seed: int | None) -> Iterator[Parts]:
    """The samples of these rows, in their order, one in memory at a time. ReadError where a file is not what was written."""
    with ExitStack() as stack:
        samples, sums = (stack.enter_context(_opened(root / name)) for name in (SAMPLES, SUMS))
        for row in rows:
            yield _read(root, row, samples, sums, seed)


def _read(root: Path, row: Any, samples: BinaryIO, sums: BinaryIO, seed: int | None) -> Parts:
    line = _slice(samples, int(row["line"]), int(row["length"]))
    found = parsed(line, str(root / SAMPLES))
    if order_of(found.id, seed) != int(row["order"]):
        raise ReadError(f"{root / SAMPLES}: changed while it was read; run the same command again")
    told = _slice(sums, int(row["sums"]), int(row["span"])).splitlines()
    digests = {each[66:].decode(errors="replace"): each[:64].decode(errors="replace") for each in told}
    paths = found.paths()
    files = {role: _proved(root / path, digests.get(path)) for role, path in paths.items()}
    return Parts(found.id, line.rstrip(b"\n"), files, paths)


def _proved(path: Path, digest: str | None) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise ReadError(f"{path}: named by {SAMPLES}, but no longer there; run the same threecad convert again") from None
    except OSError as error:
        raise ReadError(f"{path}: cannot be read: {error.strerror}") from None
    if hashlib.sha256(data).hexdigest() != digest:
        raise ReadError(f"{path}: changed since threecad convert wrote it (its SHA-256 is another); run the same convert again")
    return data


def _slice(file: BinaryIO, offset: int, length: int) -> bytes:
    file.seek(offset)
    return file.read(length)


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise ReadError(f"{path}: {error.strerror}; run the same threecad convert again") from None
