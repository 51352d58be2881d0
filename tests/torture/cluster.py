"""Workers that are processes of their own: one of them is killed, or the process that gave them their work."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from torture.reference import PLAIN
from torture.trial import Kind, Lost, Run, Skipped, Trial

ENGINE = ("--engine", "dask")
FAILED = 1
ORPHANED = 15.0  # seconds in which workers notice that nobody is left to work for


def attempt(trial: Trial) -> None:
    """The run may go on without the worker or give up with a sentence; the next one, of threads as often as not, completes."""
    if find_spec("distributed") is None:
        raise Skipped("needs Dask (the cluster extra)")
    for _ in range(trial.in_a_row(3)):
        way = trial.dice.choice(["worker", "worker", "all", "head"])
        run = trial.start((*PLAIN, *ENGINE))
        if not _at_work(trial, run, way):
            ended = run.wait()
            if "No such option" in ended.told:
                raise Skipped("convert has no --engine yet")
            trial.assert_sentence(ended)
            break
        _strike(trial, run, way)
        trial.faults += 1
        trial.notes[way] += 1
        if way == "head":
            _see_orphans_end(run)
        ended = run.wait()
        if way == "worker":
            trial.assert_sentence(ended, FAILED)
            trial.notes["went on without the worker" if ended.code != FAILED else "gave up with a sentence"] += 1
        trial.assert_sound()
    trial.finish(PLAIN)


def _at_work(trial: Trial, run: Run, way: str) -> bool:
    """Wait until workers are there, which takes seconds, and then a moment; whether the run is still under way.

    One worker is killed while it works: without it from the start, Dask's own cluster does not start.
    """
    while run.running and len(children_of(run.process.pid)) < 3:
        time.sleep(0.02)
    while way == "worker" and run.running and not trial.appeared(".threecad/journal.jsonl", run.wall):
        time.sleep(0.002)
    until = time.monotonic() + trial.dice.uniform(0, 0.1 if way == "worker" else 3)
    while run.running and time.monotonic() < until:
        time.sleep(0.002)
    return run.running


def _strike(trial: Trial, run: Run, way: str) -> None:
    if way == "all":
        run.strike(signal.SIGKILL)
    elif way == "head":
        run.process.kill()
    elif children := [child for child in children_of(run.process.pid) if b"spawn_main" in _line(child)]:
        with suppress(ProcessLookupError):
            os.kill(trial.dice.choice(children), signal.SIGKILL)


def _see_orphans_end(run: Run) -> None:
    run.process.wait()
    until = time.monotonic() + ORPHANED
    while time.monotonic() < until:
        try:
            os.killpg(run.process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise Lost(f"workers were still there {ORPHANED:.0f} s after the process they worked for was killed")


def children_of(process: int) -> list[int]:
    """The processes that a process started, also those that its threads did."""
    found: list[int] = []
    with suppress(OSError):
        for thread in Path(f"/proc/{process}/task").iterdir():
            found += [int(word) for word in (thread / "children").read_text().split()]
    return found


def _line(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


KINDS = (Kind("cluster", "a worker process, all of them, or the one that gives out work is killed", attempt, share=3),)
