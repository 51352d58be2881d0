"""Where a conversion spends its time: `python stages.py RAW OUT [--functions 25]`; one worker.

The functions that make up the stages are wrapped; each stage's time is its own, without that of the stages it calls. CPU time
is that of the thread it runs in. With `--functions` the same run is done under cProfile instead (in the worker's thread and the
main one), and the functions with the most time of their own are printed; cProfile slows Python code, not the codecs.
"""

from __future__ import annotations

import argparse
import builtins
import cProfile
import functools
import hashlib
import json
import os
import pstats
import resource
import threading
import time

START = time.process_time(), time.perf_counter()

from collections import defaultdict  # noqa: E402
from functools import partial  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import TYPE_CHECKING, Any  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable


RASTERISER = "exact rasteriser"


class Stages:
    """CPU and wall seconds and calls by stage; nested stages are subtracted from the one around them."""

    def __init__(self) -> None:
        self.spent: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0])
        self._open = threading.local()

    def run(self, stage: str, work: Callable[[], Any]) -> Any:
        stack = self._open.__dict__.setdefault("stack", [])
        if stack and stack[-1][0] == stage:
            return work()
        frame = [stage, 0.0, 0.0]
        stack.append(frame)
        cpu, wall = time.thread_time(), time.perf_counter()
        try:
            return work()
        finally:
            cpu, wall = time.thread_time() - cpu, time.perf_counter() - wall
            stack.pop()
            if stack:
                stack[-1][1] += cpu
                stack[-1][2] += wall
            spent = self.spent[stage]
            spent[0] += cpu - frame[1]
            spent[1] += wall - frame[2]
            spent[2] += 1

    def within(self) -> str:
        """The stage that is running."""
        stack = self._open.__dict__.get("stack")
        return stack[-1][0] if stack else ""

    def wrap(self, home: Any, name: str, stage: str | Callable[[], str]) -> None:
        plain = getattr(home, name)

        @functools.wraps(plain, updated=())
        def timed(*args: Any, **options: Any) -> Any:
            return self.run(stage if isinstance(stage, str) else stage(), lambda: plain(*args, **options))

        setattr(home, name, timed)


class Proxy:
    """A module of which some functions are timed, for the one module that sees it."""

    def __init__(self, module: Any, stages: Stages, names: dict[str, Callable[[], str]]) -> None:
        self.__dict__.update(vars(module))
        for name, stage in names.items():
            stages.wrap(self, name, stage)


def watch(stages: Stages) -> None:
    """Wrap the functions of all stages. A name that has moved is an AttributeError here."""
    from threecad.curation import duplicates, splitting
    from threecad.formats import coco, images, labelme, png, raw
    from threecad.imaging import raster, tiling
    from threecad.pipeline import convert, files, journey, record, sources, store

    png.isal_zlib = Proxy(png.isal_zlib, stages, {"compress": lambda: stages.within().partition(":")[0] + ": deflate"})
    for home, name, stage in (
        (sources.Reader, "bytes_of", "read files"),
        (sources.Reader, "image_of", "read files"),
        (images, "decode", "decode"),
        (raw, "find", "find files, peek at JSON"),
        (labelme, "parse", "parse JSON"),
        (labelme, "peek", "find files, peek at JSON"),
        (journey, "plan", "repair, verdicts"),
        (tiling, "cut", "cut tiles"),
        *((raster, name, RASTERISER) for name in ("order", "spans", "boxes", "crop")),
        *((tiling, name, RASTERISER) for name in ("visible", "crop", "paint")),
        (png, "encode_png", "encode tiles: filter, join"),
        (png, "encode_mask", "encode masks: the rest"),
        (journey, "segmentations", "COCO segments"),
        (duplicates, "fingerprint", "fingerprint"),
        (duplicates, "near", "near duplicates"),
        (files.Disk, "stage", "write staged files"),
        (store.Store, "keep", "journal"),
        (store.Store, "load", "load state"),
        (record, "dumps", "journal"),
        (convert, "publish", "publish: rows, moves, counts"),
        (coco, "write", "publish: COCO JSON"),
        (splitting, "assign", "publish: splits, audit"),
        (splitting, "audit", "publish: splits, audit"),
        (os, "sync", "sync to disk"),
        (os, "fsync", "sync to disk"),
    ):
        stages.wrap(home, name, stage)
    stages.wrap(hashlib, "sha256", lambda: "hash inputs" if stages.within() == "read files" else "hash outputs and lists")
    # `from x import y` inside functions asks for modules that are long there; only the first time costs.
    stages.wrap(builtins, "__import__", "imports when first used")


def by_function(convert: Callable[[], Any], count: int) -> None:
    profiles = [cProfile.Profile()]

    def begin(*_: Any) -> None:
        """Called at the first event of a new thread; the profile then takes the place of this function."""
        profiles.append(cProfile.Profile())
        profiles[-1].enable()

    threading.setprofile(begin)
    profiles[0].runcall(convert)
    threading.setprofile(None)
    for profile in profiles:
        profile.create_stats()
    stats = pstats.Stats(profiles[0])
    for profile in profiles[1:]:
        stats.add(profile)
    stats.sort_stats("tottime").print_stats(count)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("raw", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--functions", type=int, default=0)
    chosen = parser.parse_args()
    stages = Stages()

    def start() -> Any:
        from threecad_tiles import pipeline

        import threecad

        return partial(threecad.convert, chosen.raw, chosen.out, pipeline(), workers=1)

    convert = start()
    started = time.process_time() - START[0], time.perf_counter() - START[1]
    if chosen.functions:
        by_function(convert, chosen.functions)
        return
    watch(stages)
    wall = time.perf_counter()
    done = stages.run("the rest of the main thread", convert)
    wall = time.perf_counter() - wall
    whole = resource.getrusage(resource.RUSAGE_SELF)
    cpu = whole.ru_utime + whole.ru_stime
    stages.spent["start of Python, imports of threecad"] = [started[0] + START[0], started[1] + START[0], 1]
    rest = cpu - sum(spent[0] for spent in stages.spent.values())
    stages.spent["the rest of the worker's thread"] = [rest, 0.0, 1]
    print(json.dumps({"stages": stages.spent, "cpu": cpu, "wall": wall, "megapixels": done.megapixels}))


if __name__ == "__main__":
    main()
