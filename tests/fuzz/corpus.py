"""The corpus of all targets in one small text file, unpacked for a run and packed again after it.

python tests/fuzz/corpus.py seeds TARGET FOLDER      sound files to start from, drawn anew
python tests/fuzz/corpus.py unpack TARGET FOLDER     those kept in corpus.json
python tests/fuzz/corpus.py pack TARGET FOLDER       a (minimised) folder into corpus.json
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
import zlib
from pathlib import Path

KEPT = Path(__file__).with_name("corpus.json")
MOST_BYTES = 30_000
"""Of one target's inputs in corpus.json; the smallest are kept."""


def kept(target: str) -> list[bytes]:
    """The inputs of one target, smallest first."""
    rows = json.loads(KEPT.read_text(encoding="ascii")).get(target, []) if KEPT.exists() else []
    return [zlib.decompress(base64.b85decode(row)) for row in rows]


def pack(target: str, inputs: list[bytes]) -> None:
    """Replace the inputs of one target."""
    all_kept = json.loads(KEPT.read_text(encoding="ascii")) if KEPT.exists() else {}
    rows = []
    left = MOST_BYTES
    for data in sorted(set(inputs), key=lambda data: (len(data), data)):
        row = base64.b85encode(zlib.compress(data, 9)).decode("ascii")
        left -= len(row)
        if left > 0:
            rows.append(row)
    KEPT.write_text(json.dumps(all_kept | {target: rows}, indent=0, sort_keys=True) + "\n", encoding="ascii")


def unpack(inputs: list[bytes], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for data in inputs:
        (folder / hashlib.sha1(data, usedforsecurity=False).hexdigest()).write_bytes(data)


def main() -> None:
    what, target, folder = sys.argv[1:]
    if what == "pack":
        pack(target, [path.read_bytes() for path in Path(folder).iterdir()])
    elif what == "unpack":
        unpack(kept(target), Path(folder))
    else:
        from seeds import SEEDS

        unpack(list(SEEDS[target]()), Path(folder))


if __name__ == "__main__":
    main()
