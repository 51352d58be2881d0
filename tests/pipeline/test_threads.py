"""Threads share a budget of bytes, lose no job, and stop when they are told to."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial

import pytest

from threecad.pipeline.threads import Opened, work


class Desk:
    """Opens jobs, which are numbers of bytes, and remembers how much was open at once."""

    def __init__(self, pieces: int = 3) -> None:
        self.pieces = pieces
        self.lock = threading.Lock()
        self.open = self.bytes = self.most_open = self.most_bytes = self.weighed = 0

    def weigh(self, job: int) -> int:
        with self.lock:
            self.weighed += 1
        return job

    def start(self, job: int) -> Opened[int]:
        with self.lock:
            self.open += 1
            self.bytes += job
            self.most_open = max(self.most_open, self.open)
            self.most_bytes = max(self.most_bytes, self.bytes)
        time.sleep(0.001)
        return Opened([partial(time.sleep, 0.0005)] * self.pieces, partial(self.finish, job), job)

    def finish(self, job: int) -> int:
        with self.lock:
            self.open -= 1
            self.bytes -= job
        return job


def alive() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("threecad-")]


@pytest.mark.parametrize("pieces", [0, 1, 5])
@pytest.mark.parametrize(("budget", "most"), [(100, 1), (99, 1), (0, 1), (399, 3)])
def test_no_more_is_open_than_fits_the_budget(budget: int, most: int, pieces: int) -> None:
    desk = Desk(pieces)
    assert list(work([100] * 40, desk.start, workers=16, budget=budget, weigh=desk.weigh)) == [100] * 40
    assert desk.most_open <= most
    assert desk.weighed == 40, "each job once"


def test_jobs_of_any_size_share_it() -> None:
    desk = Desk()
    jobs = [(number * 37) % 100 + 1 for number in range(200)]
    assert sorted(work(jobs, desk.start, workers=8, budget=150, weigh=desk.weigh)) == sorted(jobs)
    assert desk.most_bytes <= 150
    assert desk.most_open > 1


def test_a_job_larger_than_the_budget_is_worked_on_alone() -> None:
    desk = Desk()
    assert sorted(work([10, 999, 10, 10], desk.start, workers=4, budget=100, weigh=desk.weigh)) == [10, 10, 10, 999]
    assert desk.most_bytes == 999


def test_what_fits_is_open_together() -> None:
    together = threading.Barrier(4, timeout=10)

    def start(job: int) -> Opened[int]:
        together.wait()
        return Opened([], lambda: job, 25)

    assert len(list(work(range(8), start, workers=4, budget=100, weigh=lambda _: 25))) == 8


def test_the_estimate_gives_way_to_what_is_really_held() -> None:
    together = threading.Barrier(2, timeout=10)
    jobs = list(work(["a", "b"], lambda job: Opened([together.wait], lambda: job, 10), workers=2, budget=100, weigh=lambda _: 90))
    assert sorted(jobs) == ["a", "b"], "both open at once, or the barrier breaks"


def test_without_an_estimate_the_largest_so_far_stands_for_the_next() -> None:
    desk = Desk()
    first = threading.Event()

    def jobs() -> list[int]:
        return [100] * 20

    def start(job: int) -> Opened[int]:
        opened = desk.start(job)
        first.set()
        return opened

    assert list(work(jobs(), start, workers=1, budget=100)) == [100] * 20
    assert desk.most_open == 1
    assert list(work([], start, workers=3)) == []
    assert list(work([], start, workers=3, weigh=desk.weigh)) == []


def failing(job: int) -> int:
    if job == 7:
        raise OSError("seven")
    return job


def broken_start(job: int) -> Opened[int]:
    return Opened([], partial(int, failing(job)), 1)


def broken_piece(job: int) -> Opened[int]:
    def piece() -> None:
        failing(job)

    return Opened([piece, piece], lambda: job, 1)


def broken_finish(job: int) -> Opened[int]:
    return Opened([], partial(failing, job), 1)


@pytest.mark.parametrize("start", [broken_start, broken_piece, broken_finish])
@pytest.mark.parametrize("weigh", [None, lambda _: 1], ids=["unweighed", "weighed"])
def test_what_a_worker_raises_is_raised_and_all_stop(
    start: Callable[[int], Opened[int]], weigh: Callable[[int], int] | None
) -> None:
    with pytest.raises(OSError, match="seven"):
        list(work(range(1000), start, workers=4, budget=2, weigh=weigh))
    assert not alive()


def test_an_estimate_that_fails_is_raised_too() -> None:
    with pytest.raises(OSError, match="seven"):
        list(work(range(1000), lambda job: Opened([], lambda: job), workers=4, weigh=failing))
    assert not alive()


@pytest.mark.parametrize("budget", [1, 1000])
def test_closing_early_stops_everything(budget: int) -> None:
    desk = Desk()
    with closing(work([1] * 10_000, desk.start, workers=4, budget=budget, weigh=desk.weigh)) as results:
        assert next(results) == 1
    assert not alive()
    assert desk.weighed < 1000


ABANDONED = """
import builtins, sys, time
import cv2, numpy as np
from threecad.pipeline import threads

pixels = np.zeros((1500, 1500, 3), np.uint8)

def blur():
    end = time.monotonic() + 0.7
    while time.monotonic() < end:
        cv2.GaussianBlur(pixels, (31, 31), 5)

work = threads.work(range(9), lambda n: threads.Opened([blur] * 3 if n else [], lambda: n), workers=2)
print(next(work))
time.sleep(0.2)
builtins.kept = work  # as an exception keeps it
sys.exit(7)
"""


def test_a_generator_that_nobody_closed_does_not_take_python_down() -> None:
    """A thread that comes back from C++ when Python is gone ends in SIGABRT."""
    done = subprocess.run([sys.executable, "-c", ABANDONED], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, "0\n", "")
