"""What every trial is measured against: drawn photographs, what an undisturbed run makes of them, and how long that takes."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.photographs import BOW_TIE, factory, photograph, polygon, put, square

ROOT = Path(__file__).parents[2]
PLAIN: tuple[str, ...] = ("--slice-size", "96", "--workers", "2")
QUICK: tuple[str, ...] = (*PLAIN, "--no-report")
OTHER: tuple[str, ...] = (*PLAIN, "--edge", "remainder", "--seed", "1")
"""Other windows and another split: a data set made with PLAIN has to be made anew and moved about."""

OLD_ENOUGH = 2.5  # seconds; a run looks again at files that changed just before it read them
MARK = "tests/torture"


def draw(folder: Path, count: int = 8) -> Path:
    """Small photographs of two categories with faults of every sort: shapes, files, names, copies."""
    raw = factory(folder, count)
    put(raw, "cover/bow.png", photograph(301), [BOW_TIE, square("dent", 100, 60, 30)])
    put(raw, "cover/outside.png", photograph(302), [square("dent", 210, 140, 60), square("hole", 400, 400, 9)])
    put(raw, "frame/two-points.png", photograph(303), [polygon("dent", (5, 5), (9, 9)), square("scratch", 30, 30, 20)])
    put(raw, "frame/nowhere.png", photograph(304), [polygon("dent", (float("nan"), 3), (5, 9), (40, 4))])
    put(raw, "frame/keyhole.bmp", photograph(305), [polygon("hole", (20, 20), (90, 20), (90, 80), (20, 80), (20, 20), (25, 30))])
    put(raw, "frame/colour.jpg", photograph(306, colour=True), [square("=cmd()", 20, 20, 40), square("Dent ", 90, 90, 30)])
    put(raw, "frame/again.png", photograph(303), [square("dent", 60, 60, 20)])  # the bytes of two-points.png
    (raw / "frame/torn.json").write_bytes(b'{"shapes": [')
    put(raw, "frame/torn.png", photograph(307))
    whole = put(raw, "cover/cut-off.png", photograph(308), [square("dent", 30, 30, 30)])
    whole.write_bytes(whole.read_bytes()[:3000])
    (raw / "cover/lost.json").write_text(json.dumps({"shapes": [square("dent", 3, 3, 9)], "imagePath": "gone.png"}))
    return raw


Tree = dict[str, str]


def tree(out: Path) -> Tree:
    """Every file with its digest and every folder. Of the run's own memory the names count, which must hold nothing left over,
    and the tiles no split uses; its records tell times, so that no two runs have the same."""
    found: Tree = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if name == ".threecad/lock":
            continue
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_dir():
            found[f"{name}/"] = "folder"
        elif name.startswith(".threecad/") and not name.startswith(".threecad/unused/"):
            found[name] = "kept"
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def differences(tree: Tree, clean: Tree) -> list[str]:
    """What sets a tree apart from the one it should be, a phrase a file."""
    more = [f"{name} should not be there" for name in sorted(tree.keys() - clean.keys())]
    less = [f"{name} is missing" for name in sorted(clean.keys() - tree.keys())]
    other = [f"{name} has other bytes" for name in sorted(tree.keys() & clean.keys()) if tree[name] != clean[name]]
    return more + less + other


def unsound(out: Path) -> list[str]:
    """What a folder's manifest vouches for and is not so; nothing where it has none, as while a run is under way."""
    try:
        manifest = (out / "manifest.json").read_bytes()
    except FileNotFoundError:
        return []
    wrong = []
    for name, digest in sorted(vouched(manifest, (out / "SHA256SUMS").read_bytes()).items()):
        path = out / name
        if not path.is_file():
            wrong.append(f"the manifest vouches for {name}, which is missing")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            wrong.append(f"the manifest vouches for other bytes of {name}")
    return wrong


def vouched(manifest: bytes, sums: bytes) -> dict[str, str]:
    """Every file a manifest vouches for, directly or through SHA256SUMS, and its digest."""
    listed: dict[str, str] = dict(json.loads(manifest)["digests"])
    for line in sums.decode().splitlines():
        listed[line[66:]] = line[:64]
    return listed


@dataclass(slots=True)
class Reference:
    """Photographs and clean runs. `durations` are seconds; `code` how it ends, 3 because a person has to look."""

    base: Path
    raw: Path
    outs: dict[tuple[str, ...], Path]
    trees: dict[tuple[str, ...], Tree]
    durations: dict[tuple[str, ...], float]
    code: int = 3
    more: tuple[str, ...] = ()  # further words for every command, --no-report in the short form
    sources: int = 10_000
    row: int = 8  # strikes in a row on one output, at most
    patience: float = 2.0  # seconds in which Ctrl-C must have ended a run
    ends: float = field(default_factory=lambda: time.monotonic() + 1e9)

    @property
    def seconds(self) -> float:
        """What one undisturbed run takes, its report included."""
        return self.durations[PLAIN]

    @property
    def size(self) -> int:
        """Bytes of a clean data set."""
        return sum(path.stat().st_size for path in self.outs[PLAIN].rglob("*") if path.is_file())


def environment(place: Path) -> dict[str, str]:
    """What a command under trial is given: a cache and a place for temporary files of its own, and no terminal."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("THREECAD_", "FAKETIME", "LD_PRELOAD"))}
    return kept | {
        "THREECAD_CACHE": str(place / "cache"),
        "TMPDIR": str(place / "tmp"),
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
    }


def command(raw: Path | str, out: Path | str, words: tuple[str, ...], prelude: str = "") -> list[str]:
    """The command line of one conversion; `prelude` is Python that its process runs first."""
    arguments = ["convert", str(raw), str(out), *words]
    if not prelude:
        return [sys.executable, "-m", "threecad", *arguments]
    start = "import runpy, sys\nrunpy.run_module('threecad', run_name='__main__', alter_sys=True)\n"
    return [sys.executable, "-c", f"{prelude}\n{start}", *arguments]
