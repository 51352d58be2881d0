"""The clock is wrong: it jumps by years in the middle of a run, and files come from the future or the distant past."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from torture.trial import Kind, Run, Trial

YEAR = 365 * 86_400
OFFSETS = ("+10y", "-10y", "+3600", "-3600", "-40y", "+0")
JUMPING = """
import random, time
_dice, _now, _now_ns, _off = random.Random({seed}), time.time, time.time_ns, [0]
def _jump():
    if _dice.random() < 0.2:
        _off[0] = _dice.choice([0, 3600, -3600, 10 * {year}, -10 * {year}, -50 * {year}])
    return _off[0]
time.time = lambda: _now() + _jump()
time.time_ns = lambda: _now_ns() + _jump() * 10**9
"""


def attempt(trial: Trial) -> None:
    """Two runs under a clock that jumps, the first cut off as often as not, with the files' times changed in between."""
    trial.own_raw()
    _age(trial, trial.raw)
    for _ in range(2):
        run = _start(trial)
        trial.faults += 1
        if trial.dice.random() < 0.5 and trial.moment(run):
            run.strike(signal.SIGKILL)
            run.wait()
        else:
            trial.assert_sentence(run.wait())
        trial.assert_sound()
        if trial.out.is_dir() and trial.dice.random() < 0.7:
            _age(trial, trial.out)
        if trial.dice.random() < 0.3:
            _age(trial, trial.raw)
    trial.finish()


def _start(trial: Trial) -> Run:
    """Under libfaketime where it is installed, which lies to libraries too; else, or by turns, with Python's clock alone."""
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    if library is None or trial.dice.random() < 0.5:
        trial.notes["Python's clock"] += 1
        return trial.start(prelude=JUMPING.format(seed=trial.dice.randrange(1 << 30), year=YEAR))
    trial.notes["faketime"] += 1
    said = trial.place / "tmp" / "clock"
    said.write_text(trial.dice.choice(OFFSETS))
    told = {"FAKETIME_TIMESTAMP_FILE": str(said), "FAKETIME_NO_CACHE": "1"}
    only = {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"}  # else waiting is off, and files are as wrong as the clock
    run = trial.start(env={"LD_PRELOAD": str(library)} | told | only)
    if trial.moment(run):
        said.write_text(trial.dice.choice(OFFSETS))
    return run


def _age(trial: Trial, folder: Path) -> None:
    """Give some of the files a time of another age, each its own, or all of them one."""
    now = time.time_ns()
    ages = [0, 1, now + 20 * YEAR * 10**9, now - 3 * YEAR * 10**9, now + 10**9, now, (1 << 31) * 10**9]
    one = trial.dice.choice([None, *ages])
    for path in sorted(folder.rglob("*")):
        if path.is_file() and trial.dice.random() < 0.7:
            when = trial.dice.choice(ages) if one is None else one
            os.utime(path, ns=(when, when))


KINDS = (Kind("clock", "the clock jumps by years, files come from the future or from 1970", attempt, share=2),)
