"""The output becomes read-only, or its permissions are taken away, in the middle of a run; later it may be written again."""

from __future__ import annotations

import os
import stat
import subprocess
import time
from pathlib import Path

from torture.reference import OLD_ENOUGH, OTHER, PLAIN
from torture.trial import Kind, Lost, Run, Trial

FAILED, USAGE = 1, 2


def remounted(trial: Trial) -> None:
    """A file system of its own is made read-only as soon as nobody holds a file of it open for writing."""
    disk = trial.place / "disk"
    trial.mount(disk, "-t", "tmpfs", "-o", "size=100m", "tmpfs")
    trial.out = disk / "out"
    words = PLAIN
    if trial.dice.random() < 1 / 3:
        trial.begin_with(PLAIN)
        words = OTHER
    for _ in range(trial.in_a_row(3)):
        run = trial.start(words)
        if trial.moment(run) and _lock(run, disk):
            _end(trial, run, "Read-only file system")
        else:
            trial.assert_sentence(run.wait())
        trial.assert_sound()
        _remount(disk, "rw")
    trial.finish(words)


def _lock(run: Run, disk: Path) -> bool:
    """Whether it became read-only before the run was over; the kernel refuses while a file is open for writing."""
    while run.running:
        if _remount(disk, "ro"):
            return True
        time.sleep(0.002)
    return False


def _remount(disk: Path, how: str) -> bool:
    return subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], capture_output=True, check=False).returncode == 0


def forbidden(trial: Trial) -> None:
    """Every folder of the output, or every photograph, is taken from the user in the middle of the run."""
    trial.bind()
    if trial.dice.random() < 0.4:
        _input(trial)
    else:
        _output(trial)


def _output(trial: Trial) -> None:
    for _ in range(trial.in_a_row(3)):
        run = trial.start()
        struck = trial.moment(run)
        folders = [Path(place) for place, _, _ in os.walk(trial.out)]  # which passes over what the run deletes meanwhile
        for folder in folders:
            _mode(folder, 0o555)
        if struck and folders:
            _end(trial, run, "Permission denied")
        else:
            trial.assert_sentence(run.wait(), FAILED)  # where its first folder came too late to be let alone
        for folder in folders:
            _mode(folder, 0o755)
        trial.assert_sound()
    trial.finish()


def _input(trial: Trial) -> None:
    raw = trial.own_raw()
    time.sleep(OLD_ENOUGH)
    for _ in range(trial.in_a_row(2)):
        files = sorted(path for path in raw.rglob("*") if path.is_file() or trial.dice.random() < 0.3)
        chosen = trial.dice.sample(files, trial.dice.randint(1, len(files)))
        run = trial.start()
        struck = trial.moment(run)
        for path in chosen:
            _mode(path, 0o000)
        ended = run.wait()
        for path in sorted(raw.rglob("*")):
            _mode(path, 0o755)  # folders before what lies in them
        for path in sorted(raw.rglob("*")):
            _mode(path, 0o755)
        if struck:
            trial.faults += 1
            trial.notes[f"input, {trial.phase(run)}"] += 1
            trial.assert_sentence(ended, 0, FAILED, USAGE)
        trial.assert_sound()
    trial.finish()


def _mode(path: Path, mode: int) -> None:
    try:
        os.chmod(path, mode)  # noqa: PTH101  not to follow what the run may have moved
        now = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return
    assert now == mode


def _end(trial: Trial, run: Run, reason: str) -> None:
    """The run either was past its last write, or says what cannot be written and why."""
    ended = run.wait()
    trial.assert_sentence(ended, FAILED, USAGE)
    trial.faults += 1
    trial.notes[trial.phase(run)] += 1
    if ended.code in (FAILED, USAGE) and reason not in ended.told:
        raise Lost(f"expected a sentence with {reason!r}: {ended.last_words}")


KINDS = (
    Kind("read-only", "the output's file system becomes read-only in the middle", remounted, share=1.5),
    Kind("permission", "the right to write the output, or to read the input, is lost in the middle", forbidden, share=2),
)
