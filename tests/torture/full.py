"""A disk without room: a small file system, one without a free inode, or files that may not grow."""

from __future__ import annotations

import subprocess

from torture.reference import OTHER, PLAIN
from torture.trial import Kind, Lost, Skipped, Trial

FAILED = 1
GROW = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))"


def attempt(trial: Trial) -> None:
    """The room grows by a little after each try, so that it ends in every phase; then there is enough."""
    ways = [_small, _inodes, _limited]
    way = trial.dice.choice(ways)
    try:
        way(trial)
    except Skipped:
        _limited(trial)


def _small(trial: Trial) -> None:
    need = trial.reference.size
    room = int(need * trial.dice.uniform(0.05, 2))
    disk = trial.place / "disk"
    trial.mount(disk, "-t", "tmpfs", "-o", f"size={room}", "tmpfs")
    trial.out = disk / "out"
    for _ in range(trial.in_a_row(4)):
        if not _refused(trial):
            break
        room += int(need * trial.dice.uniform(0.02, 0.6))
        _resize(trial, f"size={room}")
    _resize(trial, "size=100m")
    trial.finish()


def _inodes(trial: Trial) -> None:
    entries = len(trial.reference.trees[PLAIN])
    room = trial.dice.randint(5, 2 * entries)
    disk = trial.place / "disk"
    trial.mount(disk, "-t", "tmpfs", "-o", f"size=100m,nr_inodes={room}", "tmpfs")
    trial.out = disk / "out"
    for _ in range(trial.in_a_row(3)):
        if not _refused(trial):
            break
        room += trial.dice.randint(1, entries)
        _resize(trial, f"nr_inodes={room}")
    _resize(trial, "nr_inodes=100000")
    trial.finish()


def _limited(trial: Trial) -> None:
    words = PLAIN
    if trial.dice.random() < 1 / 3:
        trial.begin_with(PLAIN)
        words = OTHER
    largest = max(path.stat().st_size for path in trial.reference.outs[PLAIN].rglob("*") if path.is_file())
    for _ in range(trial.in_a_row(3)):
        limit = int(largest * trial.dice.random() ** 3)
        if not _refused(trial, words, GROW.format(limit)):
            break
    trial.finish(words)


def _refused(trial: Trial, words: tuple[str, ...] = PLAIN, prelude: str = "") -> bool:
    """Whether the run found too little room; it must say so in a sentence, and leave nothing that is not true."""
    run = trial.start(words, prelude=prelude)
    ended = run.wait()
    phase = trial.phase(run)
    trial.assert_sentence(ended, FAILED)
    if ended.code != FAILED:
        return False
    if "written" not in ended.told:
        raise Lost(f"the sentence does not say what cannot be written: {ended.last_words}")
    trial.faults += 1
    trial.notes[phase] += 1
    trial.assert_sound()
    trial.assert_no_temporary_file()
    return True


def _resize(trial: Trial, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", str(trial.out.parent)], check=True)


KINDS = (Kind("full", "no room, no inode, or files that may not grow", attempt, share=3),)
