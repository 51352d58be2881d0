"""Ctrl-C and SIGTERM: a run that is asked to end does so soon, and keeps what is finished."""

from __future__ import annotations

import signal
import time
from functools import partial
from pathlib import Path

from torture.reference import OTHER, PLAIN
from torture.trial import LONGEST, Ended, Kind, Lost, Run, Trial

INTERRUPTED = 130


def attempt(trial: Trial, number: int) -> None:
    words = PLAIN
    if trial.dice.random() < 1 / 3:
        trial.begin_with(PLAIN)
        words = OTHER
    for _ in range(trial.in_a_row(3)):
        run = trial.start(words)
        struck = trial.moment(run)
        phase = trial.phase(run)
        if not struck or not run.strike(number):
            trial.compare(run.wait(), words)
            return
        trial.faults += 1
        trial.notes[phase] += 1
        ended = _soon(trial, run)
        if number == signal.SIGINT:
            _judge(ended, phase)
        trial.assert_sound()
    trial.finish(words)
    trial.assert_no_temporary_file()


def _soon(trial: Trial, run: Run) -> Ended:
    began, first = time.monotonic(), _waited(run)
    last = first
    while run.running and time.monotonic() - began < LONGEST:
        last = _waited(run) or last
        time.sleep(0.01)
    seconds = time.monotonic() - began - (last - first)
    ended = run.wait()
    trial.tell("slowest end in seconds", seconds)
    if seconds > trial.reference.patience:
        raise Lost(f"it ended {seconds:.1f} s after the signal, expected {trial.reference.patience:g} s at most")
    return ended


def _waited(run: Run) -> float:
    """Seconds that the run's main thread wanted to work and other programs had the cores: not what it can be blamed for."""
    try:
        return int(Path(f"/proc/{run.process.pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def _judge(ended: Ended, phase: str) -> None:
    """Once it is at work, Ctrl-C ends with a code of its own and a sentence. While Python starts, and once everything is done
    and said, Python answers; so it may besides where it was interrupted while it imported the report's libraries.
    """
    if phase == "start" or ended.code == 3 or "Data set:" in ended.printed:
        return
    if ended.code not in (INTERRUPTED, -signal.SIGINT) or ended.crashed or "interrupted" not in ended.told:
        raise Lost(f"Ctrl-C during {phase}: exit code {ended.code}, {ended.last_words}")


KINDS = (
    Kind("interrupt", "Ctrl-C at a random moment: the end within 2 s", partial(attempt, number=signal.SIGINT), share=3),
    Kind("terminate", "SIGTERM at a random moment", partial(attempt, number=signal.SIGTERM)),
)
