"""Somebody works on the photographs while they are read: writes, replaces, deletes, moves away, puts back."""

from __future__ import annotations

import os
import random
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

from torture.reference import PLAIN
from torture.trial import Kind, Lost, Trial

REFUSED = (0, 1, 2)
"""How a run over what is being changed may end besides as usual: without anything doubtful, or with a sentence."""


def rewritten(trial: Trial) -> None:
    raw = trial.own_raw()
    writer = Writer(trial, raw)
    _while(trial, writer.change, writer.dice)


def vanished(trial: Trial) -> None:
    """Files, folders or all of it; half of the time it is back before the next run, else the next run is without it."""
    raw = trial.own_raw()
    mover = Mover(trial, raw)
    _while(trial, mover.change, mover.dice)
    if trial.dice.random() < 0.5 or not raw.is_dir():
        mover.restore()


def _while(trial: Trial, change: Callable[[], None], dice: random.Random) -> None:
    """Run once or twice while a thread makes changes, in bursts."""
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(dice.choice([0.001, 0.01, 0.1])):
            change()
            trial.notes["changes"] += 1

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        for _ in range(trial.dice.choice([1, 2, 2])):
            ended = trial.run()
            if ended.crashed or ended.code not in (*REFUSED, trial.reference.code):
                raise Lost(f"while files changed: exit code {ended.code}, {ended.last_words}")
            trial.faults += 1
            trial.notes[f"exit code {ended.code}"] += 1
            trial.assert_sound()
    finally:
        stop.set()
        thread.join()


class Writer:
    """Rewrites photographs and annotations with one another's bytes, in place and by moving, torn and whole."""

    def __init__(self, trial: Trial, raw: Path) -> None:
        self.dice = random.Random(trial.dice.random())  # the thread's own
        self.files = sorted(path for path in raw.rglob("*") if path.is_file())
        self.bytes = {path: path.read_bytes() for path in self.files}

    def change(self) -> None:
        path = self.dice.choice(self.files)
        other = self.bytes[self.dice.choice([each for each in self.files if each.suffix == path.suffix])]
        self.dice.choice([self.replace, self.rewrite, self.swap, self.cut, self.grow, self.restore])(path, other)

    def replace(self, path: Path, data: bytes) -> None:
        beside = path.with_name(f".{path.name}.tmp")
        beside.write_bytes(data)
        beside.replace(path)

    def rewrite(self, path: Path, data: bytes) -> None:
        """In two halves, with a moment between them in which a reader sees neither."""
        with path.open("wb") as file:
            file.write(data[: len(data) // 2])
            file.flush()
            time.sleep(self.dice.choice([0, 0.003]))
            file.write(data[len(data) // 2 :])

    def swap(self, path: Path, data: bytes) -> None:
        """A byte is another while size and time stay: only the inode's own time tells."""
        before = path.stat()
        whole = bytearray(path.read_bytes())
        if whole:
            whole[self.dice.randrange(len(whole))] ^= 1
        with path.open("r+b") as file:
            file.write(whole)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def cut(self, path: Path, data: bytes) -> None:
        os.truncate(path, self.dice.randrange(len(data)))

    def grow(self, path: Path, data: bytes) -> None:
        with path.open("ab") as file:
            file.write(data)

    def restore(self, path: Path, data: bytes) -> None:
        path.write_bytes(self.bytes[path])


class Mover:
    """Moves files, folders and the whole of the photographs away, and back."""

    def __init__(self, trial: Trial, raw: Path) -> None:
        self.dice, self.raw = random.Random(trial.dice.random()), raw
        self.away = trial.place / "away"
        self.away.mkdir()
        files = sorted(path for path in raw.rglob("*") if path.is_file())
        self.targets = [*files, *(sorted({path.parent for path in files}) * 3), raw]
        self.gone: list[tuple[Path, Path]] = []

    def change(self) -> None:
        if self.gone and self.dice.random() < 0.4:
            self.back()
            return
        target = self.dice.choice(self.targets)
        if target.exists() and len(self.gone) < 8:
            place = self.away / str(time.monotonic_ns())
            shutil.move(target, place)
            self.gone.append((target, place))

    def back(self) -> None:
        """The last that was moved away: what it lay in is there."""
        target, place = self.gone.pop()
        shutil.move(place, target)

    def restore(self) -> None:
        while self.gone:
            self.back()


def attempt_rewritten(trial: Trial) -> None:
    rewritten(trial)
    trial.finish_as_clean(PLAIN)


def attempt_vanished(trial: Trial) -> None:
    vanished(trial)
    trial.finish_as_clean(PLAIN)


KINDS = (
    Kind("rewrite", "photographs and annotations are rewritten while they are read", attempt_rewritten, share=2),
    Kind("vanish", "files, folders or the whole input go away, and perhaps come back", attempt_vanished, share=1.5),
)
