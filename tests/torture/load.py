"""Very many sources in one process: no handle, thread, process, temporary file or memory is held afterwards.

As a program, `python tests/torture/load.py PLACE SOURCES` is that process; it prints one JSON object.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torture.trial import Trial

MOST_GROWTH = 0.02
"""Share of what the first whole run added to memory that each further one may add: allocators keep some, a leak keeps adding."""
SLACK = 12.0  # MB that come and go between two looks whatever is done


def attempt(trial: Trial) -> None:
    from torture.reference import ROOT, environment
    from torture.trial import Lost, Run

    words = [sys.executable, str(ROOT / "tests" / "torture" / "load.py"), str(trial.place), str(trial.reference.sources)]
    words += trial.reference.more
    run = Run(words, environment(trial.place), trial.place / "logs" / "load", trial.reference.ends)
    trial.after.callback(run.strike, 9)
    ended = run.wait(limit=900)
    if ended.code:
        raise Lost(f"exit code {ended.code}: {ended.last_words}")
    seen = json.loads(ended.printed.splitlines()[-1])
    trial.faults += 1
    trial.notes[f"{trial.reference.sources:,} sources"] += 1
    before, *others = seen["held"]
    for name in ("handles", "threads", "children", "temporary"):
        if any(each[name] > before[name] for each in others):
            raise Lost(f"{name} held: {[each[name] for each in seen['held']]}")
    if seen["most handles"] > before["handles"] + 100:
        raise Lost(f"{seen['most handles']} file handles were open at once")
    growth = others[-1]["megabytes"] - others[-2]["megabytes"]
    if growth > SLACK + MOST_GROWTH * trial.reference.sources / 1000:
        raise Lost(f"memory grew by {growth:.0f} MB from one run to the next over the same input: {seen['held']}")
    for name in ("handles", "threads", "children", "temporary"):
        trial.notes[f"{name} {before[name]} → {others[-1][name]}"] += 1
    for name, value in (("most handles", seen["most handles"]), ("memory growth in MB", growth), ("peak MB", seen["peak"])):
        trial.tell(name, value)
    for number, seconds in enumerate(seen["seconds"], 1):
        trial.tell(f"seconds of run {number}", seconds)


# ---------------------------------------------------------------- the process that is looked at


def held() -> dict[str, float]:
    """What this process holds now."""
    gc.collect()
    process = os.getpid()
    threads = list(Path("/proc/self/task").iterdir())
    children = sum(len((task / "children").read_text().split()) for task in threads)
    status = Path("/proc/self/status").read_text()
    resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    return {
        "handles": len(os.listdir(f"/proc/{process}/fd")),  # noqa: PTH208
        "threads": len(threads),
        "children": children,
        "temporary": sum(1 for _ in Path(os.environ["TMPDIR"]).rglob("*")),
        "megabytes": resident / 1000,
    }


def most_handles(work: Callable[[], object]) -> int:
    """The most file handles that were open at once while `work` ran, looked at every 20 ms."""
    seen, stop = [0], threading.Event()

    def look() -> None:
        while not stop.wait(0.02):
            seen[0] = max(seen[0], len(os.listdir("/proc/self/fd")))  # noqa: PTH208

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        work()
    finally:
        stop.set()
        watcher.join()
    return seen[0]


def draw(raw: Path, count: int) -> Path:
    """Tiny photographs, each its own, every third with a defect and every tenth of those with a shape nobody understands."""
    import numpy as np
    from PIL import Image
    from pipeline.photographs import BOW_TIE, square

    random = np.random.default_rng(1)
    for number in range(count):
        folder = raw / f"part{number % 7}" / ("good" if number % 3 else "bad")
        folder.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 255, (24, 32), np.uint8)
        path = folder / f"n{number:05d}.png"
        Image.fromarray(pixels).save(path, compress_level=1)
        if number % 3 == 0:
            shapes = [square("dent", 4, 4, 9)] + ([BOW_TIE] if number % 30 == 0 else [])
            text = {"shapes": shapes, "imagePath": path.name, "imageHeight": 24, "imageWidth": 32}
            path.with_suffix(".json").write_text(json.dumps(text))
    return raw


def main(place: Path, count: int, words: Sequence[str]) -> None:
    from threecad.cli import main as command

    def convert(raw: Path, out: Path, *more: str) -> None:
        try:
            command(["convert", str(raw), str(out), "--workers", "2", "--json", *words, *more], standalone_mode=False)
        except SystemExit as end:
            if end.code not in (0, 3):
                raise

    small, raw, out = draw(place / "warm", 100), draw(place / "many", count), place / "out"
    convert(small, place / "small")  # imports, caches, pools that stay
    shutil.rmtree(place / "tmp")
    (place / "tmp").mkdir()
    looks, seconds, most = [held()], [], 0
    for number in range(3):
        began = time.monotonic()
        more = ["--overwrite"] if number else []
        most = max(most, most_handles(lambda more=more: convert(raw, out, *more)))
        seconds.append(time.monotonic() - began)
        looks.append(held())
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(json.dumps({"held": looks, "most handles": most, "seconds": seconds, "peak": peak}))


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
