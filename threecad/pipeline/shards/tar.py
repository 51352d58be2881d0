"""WebDataset: POSIX tar files in which the members of a sample lie side by side and share the name up to its first dot.

    cover-8ffa1453428c-000820-000000.ignore.png    areas to ignore, where there are any
    cover-8ffa1453428c-000820-000000.json          the row of samples.jsonl, as it stands there
    cover-8ffa1453428c-000820-000000.mask.png      of defective tiles
    cover-8ffa1453428c-000820-000000.png           the image
    cover-8ffa1453428c-000820-000000.types.png     of defective tiles

Files are copied, never encoded again. Headers tell neither time nor owner, so equal samples are equal bytes.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol
from urllib.parse import quote

from threecad.domain import Split
from threecad.pipeline.shards.reading import Parts

PATTERN = r"(train|validation|test)-\d{6,}\.tar"
_BLOCK = tarfile.BLOCKSIZE
_SUFFIXES = {"image": "png", "mask": "mask.png", "types": "types.png", "ignore": "ignore.png"}
_MEMBERS = tuple(sorted((suffix, role) for role, suffix in (_SUFFIXES | {"line": "json"}).items()))


class Sink(Protocol):
    """What a shard is written into."""

    def write(self, data: bytes, /) -> int: ...


def path_of(split: Split, number: int, count: int) -> str:
    """The name of a shard; `count` is not in it, so that brace notation can tell the whole range.

    >>> path_of(Split.TRAIN, 7, 12)
    'train-000007.tar'
    """
    return f"{split.value}-{number:06d}.tar"


def key_of(id_: str) -> str:
    """The key of a sample: its id, with anything but ASCII letters, digits, `_`, `-` and `~` percent-encoded, dots included,
    since the first dot of a member's name ends the key. `urllib.parse.unquote` gives the id back.

    >>> key_of("cover-8ffa1453428c-000820-000000"), key_of("a.b/ü")
    ('cover-8ffa1453428c-000820-000000', 'a%2Eb%2F%C3%BC')
    """
    return quote(id_, safe="").replace(".", "%2E")


def weigh(id_: str, sizes: Mapping[str, int], line: int) -> int:
    """Bytes that a sample takes up in a shard."""
    key = key_of(id_)
    whole = {**sizes, "line": line}
    return sum(
        _head(f"{key}.{suffix}", whole[role]) + whole[role] + -whole[role] % _BLOCK for suffix, role in _MEMBERS if role in whole
    )


def write(sink: Sink, samples: Iterable[Parts]) -> None:
    """Write one shard; nothing of it is held in memory but the sample that is written."""
    for parts in samples:
        for name, data in _members(parts):
            sink.write(_header(name, len(data)))
            sink.write(data)
            sink.write(bytes(-len(data) % _BLOCK))
    sink.write(bytes(2 * _BLOCK))


def _members(parts: Parts) -> Iterator[tuple[str, bytes]]:
    key = key_of(parts.id)
    whole = {**parts.files, "line": parts.line}
    return ((f"{key}.{suffix}", whole[role]) for suffix, role in _MEMBERS if role in whole)


def _head(name: str, size: int) -> int:
    """Bytes of a member's header; to make each of four million for its length alone takes a minute."""
    return _BLOCK if len(name) <= tarfile.LENGTH_NAME else len(_header(name, size))


def _header(name: str, size: int) -> bytes:
    """A member's header: plain USTAR, and with a PAX record before it only where the name is too long for that."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    return member.tobuf(tarfile.PAX_FORMAT)
