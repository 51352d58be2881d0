"""Runs a target under atheris, which counts branches and keeps each input that takes a new one.

Bytes are changed blindly half of the time, else in the sense of their format: a JSON text keeps its brackets, the chunks of a PNG
get checksums that fit, a TIFF or BMP gets its fields changed.
"""

from __future__ import annotations

import json
import random
import struct
import sys
import warnings
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

SLOWNESS = 6.0
"""How many times slower counted branches are, at most."""
MOST_BYTES = 8192
LIMITS = (f"-max_len={MOST_BYTES}", "-rss_limit_mb=1500", "-timeout=30", "-print_final_stats=1")

_WORDS: tuple[Any, ...] = (
    *(
        None,
        True,
        0,
        -1,
        0.5,
        1e308,
        -1e308,
        5e-324,
        2**31,
        2**63,
        10**30,
        "",
        "7",
        "a",
        "\u202e",
        "\x00",
        "../../x",
        "/dev/zero",
    ),
    *([], {}, [[]], [[1, 2], [3, 4], [5, 6]], [[9, 9]] * 3, float("nan"), float("inf"), "polygon", "mask", "circle", "dent"),
)


def fuzz(target: str) -> None:
    import atheris

    with atheris.instrument_imports(include=["threecad"]):
        import targets
    warnings.simplefilter("error")
    targets.slowness = SLOWNESS
    for module, limit, value in targets.SMALL:
        getattr(module, limit)  # else it has another name by now
        setattr(module, limit, value)

    def change(data: bytes, most: int, seed: int) -> bytes:
        dice = random.Random(seed)
        if dice.random() < 0.5:
            changed = _in_its_sense(data, dice, lambda part: atheris.Mutate(part, max(64, most - len(data))))
            if changed is not None and len(changed) <= most:
                return changed
        return bytes(atheris.Mutate(data, most))

    # libFuzzer starts itself again to merge, by its first argument.
    arguments = [f"{sys.executable} {Path(sys.argv[0]).resolve()}", *LIMITS, *sys.argv[1:]]
    if target == "png":  # any bytes are an array
        atheris.Setup(arguments, targets.TARGETS[target])
    else:
        atheris.Setup(arguments, targets.TARGETS[target], custom_mutator=change)
    atheris.Fuzz()


def _in_its_sense(data: bytes, dice: random.Random, mutate: Any) -> bytes | None:
    """The data with a part changed and the form kept; None where the form is not known."""
    for head in (b"", data[:1]):  # the first byte of some targets chooses
        body = data[len(head) :]
        if body.startswith(b"\x89PNG\r\n\x1a\n"):
            return head + _png(body, dice, mutate)
        if body[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+") or body[:2] == b"BM":
            return head + _fields(body, dice)
        changed = _json(body, dice)
        if changed is not None:
            return head + changed
    return None


def _json(data: bytes, dice: random.Random) -> bytes | None:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    places = list(_places(value))
    if not places:
        return None
    for _ in range(dice.choice((1, 1, 2, 4))):
        place, key = dice.choice(places)
        other, other_key = dice.choice(places)
        try:
            match dice.randrange(6):
                case 0:
                    del place[key]
                case 1:
                    place[key] = other[other_key]
                case 2 if isinstance(place, list):
                    place.insert(key, other[other_key])
                case 3 if isinstance(place[key], int | float):
                    place[key] = place[key] + dice.choice((-1, 1, 0.5, 1e-7, 1e6))
                case 4 if isinstance(place[key], str):
                    place[key] = place[key][: dice.randrange(1 + len(place[key]))] + dice.choice("\n\x1b=/\\.角\ud800a0")
                case _:
                    place[key] = dice.choice(_WORDS)
        except (KeyError, IndexError, OverflowError):  # an earlier change took it away, or it is beyond floats
            continue
    try:
        return json.dumps(value, ensure_ascii=dice.random() < 0.8).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):  # a list that has become a part of itself
        return None


def _places(value: Any, depth: int = 0) -> Any:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys if depth < 50 else ():
        yield value, key
        yield from _places(value[key], depth + 1)


def _png(data: bytes, dice: random.Random, mutate: Any) -> bytes:
    chunks, offset = [], 8
    while offset + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, offset)
        chunks.append((kind, data[offset + 8 : offset + 8 + length]))
        offset += 12 + length
    if not chunks:
        return data
    number = dice.randrange(len(chunks))
    kind, content = chunks[number]
    match dice.randrange(5):
        case 0:
            chunks.insert(dice.randrange(len(chunks) + 1), (kind, content))
        case 1:
            chunks[number] = (dice.choice((b"tRNS", b"PLTE", b"eXIf", b"acTL", b"tEXt", b"iCCP", b"IDAT", b"gAMA")), content)
        case 2 if kind == b"IDAT":
            with suppress(zlib.error):
                chunks[number] = (kind, zlib.compress(mutate(zlib.decompressobj().decompress(content, 1 << 20))))
        case _:
            chunks[number] = (kind, bytes(mutate(content)))
    return data[:8] + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


def _fields(data: bytes, dice: random.Random) -> bytes:
    some = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 3))):
        width = dice.choice((1, 2, 4))
        place = dice.randrange(max(1, len(some) - width))
        value = dice.choice((0, 1, 2, 3, 4, 8, 16, 32, 255, 256, 65535, 2**31 - 1, 2**32 - 1, dice.randrange(2**16)))
        order = "little" if data[:1] != b"M" else "big"
        some[place : place + width] = (value % 256**width).to_bytes(width, order)  # type: ignore[arg-type]
    return bytes(some)


if __name__ == "__main__":
    sys.exit(f"run one of {', '.join(sorted(path.name for path in Path(__file__).parent.glob('fuzz_*.py')))}")
