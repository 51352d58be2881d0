"""A conversion by a Dask cluster whose workers are killed while they work, against one by the threads of one process.

    python tests/bench/cluster.py [--sources 10000] [--workers 2] [--kill-every 60] [--json FILE]

The scheduler and each worker are processes of their own, started as a person would start them on machines of their own; nannies
start a worker anew when it is gone. Every so many seconds one is killed (SIGKILL). At the end the bytes of both data sets are
compared, and no source may have been told of twice.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import many

if TYPE_CHECKING:
    from collections.abc import Iterator

SETTINGS = {"tiling": {"slice_size": 48, "overlap_ratio": 0}}


@contextmanager
def cluster(place: Path, workers: int) -> Iterator[str]:
    """The address of a scheduler with so many worker processes."""
    file = place / "scheduler.json"
    common = ["--scheduler-file", str(file), "--no-dashboard"]
    started = [start(place, "scheduler", *common, "--host", "127.0.0.1", "--port", "0")]
    nowhere = str(place / "scratch")
    started += [start(place, "worker", *common, "--nthreads", "1", "--local-directory", nowhere) for _ in range(workers)]
    try:
        until = time.monotonic() + 120
        while not file.exists() and time.monotonic() < until:
            time.sleep(0.1)
        yield json.loads(file.read_text())["address"]
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def start(place: Path, role: str, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", f"distributed.cli.dask_{role}", *arguments]
    return subprocess.Popen(command, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@contextmanager
def killing(address: str, every: float) -> Iterator[list[float]]:
    """The moments at which a worker was killed meanwhile."""
    import distributed

    ended, kills, dice = threading.Event(), [], random.Random(7)

    def run() -> None:
        while not ended.wait(every):
            with distributed.Client(address, set_as_default=False) as client:
                found = list(client.run(os.getpid).values())
            if found:
                os.kill(dice.choice(found), signal.SIGKILL)
                kills.append(time.monotonic())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield kills
    finally:
        ended.set()
        thread.join()


def converted(raw: Path, out: Path, engine: str) -> dict[str, Any]:
    import threecad

    began, told = time.monotonic(), []
    done = threecad.convert(
        raw, out, threecad.Pipeline.model_validate(SETTINGS), engine=engine, progress=lambda each: told.append(each.source)
    )
    return {
        "seconds": time.monotonic() - began,
        "sources": done.converted,
        "told_twice": len(told) - len(set(told)),
    }


def differing(one: Path, other: Path) -> list[str]:
    """Files that are not the same in both, but for what a run remembers."""
    there = [{path.relative_to(out) for path in out.rglob("*") if path.is_file()} for out in (one, other)]
    ours = {path for path in there[0] | there[1] if path.parts[0] != ".threecad"}
    return sorted(
        str(path)
        for path in ours
        if not all(path in each for each in there) or (one / path).read_bytes() != (other / path).read_bytes()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kill-every", type=float, default=60.0, metavar="SECONDS")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="threecad-cluster-"))
    try:
        raw = place / "raw"
        many.draw(raw, asked.sources)
        time.sleep(3)
        with cluster(place, asked.workers) as address, killing(address, asked.kill_every) as kills:
            spread = converted(raw, place / "spread", f"dask:{address}")
        threads = converted(raw, place / "threads", "threads")
        found = {
            "machine": {"python": platform.python_version(), "cores": os.cpu_count(), "system": platform.platform()},
            "dask": spread,
            "threads": threads,
            "killed": len(kills),
            "differing": differing(place / "spread", place / "threads"),
        }
    finally:
        shutil.rmtree(place, ignore_errors=True)
    print(json.dumps(found, indent=2))
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=2) + "\n")
    sys.exit(1 if found["differing"] or spread["told_twice"] else 0)


if __name__ == "__main__":
    main()
