"""The power fails, or the disk is pulled: what had not reached it is gone, and every further touch is an error."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import subprocess
import time
from pathlib import Path

from torture.reference import OTHER, PLAIN
from torture.trial import Kind, Lost, Skipped, Trial

SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN: _IOR('X', 125, __u32)
LOSE_ALL = struct.pack("I", 2)  # EXT4_GOING_FLAGS_NOLOGFLUSH: the journal that is still in memory is lost as well
SIZE = 48 << 20
OPTIONS = ("data=ordered", "data=writeback,noauto_da_alloc", "data=ordered,commit=1", "data=writeback,commit=1")
"""With `writeback` a file may come back with its size and without its bytes."""


def attempt(trial: Trial) -> None:
    """A file system in a file, cut off from its disk in the middle of a run, and mounted again as after a restart."""
    image, disk = trial.place / "disk.ext4", trial.place / "disk"
    with image.open("wb") as file:
        file.truncate(SIZE)
    made = subprocess.run(["mkfs.ext4", "-q", "-F", "-N", "8192", str(image)], capture_output=True, check=False)
    if made.returncode:
        raise Skipped("no ext4 can be made here")
    option = trial.dice.choice(OPTIONS)
    trial.mount(disk, "-o", f"loop,{option}", str(image))
    trial.out = disk / "out"
    words = PLAIN
    if trial.dice.random() < 1 / 3:
        trial.begin_with(PLAIN)
        os.sync()
        words = OTHER
    for _ in range(trial.in_a_row(4)):
        run = trial.start(words)
        struck = trial.moment(run)
        if not struck:
            trial.compare(run.wait(), words)
            return
        trial.notes[trial.phase(run)] += 1
        if trial.dice.random() < 0.5:  # the run goes on and sees the errors
            _cut(disk)
            ended = run.wait()
            trial.assert_sentence(ended, 1)
        else:
            run.strike(signal.SIGSTOP)
            _cut(disk)
            run.strike(signal.SIGKILL)
            run.wait()
        trial.faults += 1
        _again(image, disk, option)
        trial.assert_sound()
    trial.finish(words)


def _cut(disk: Path) -> None:
    folder = os.open(disk, os.O_RDONLY)
    try:
        fcntl.ioctl(folder, SHUTDOWN, LOSE_ALL)
    except OSError as error:
        raise Skipped(f"this system cannot cut off a file system ({error.strerror})") from None
    finally:
        os.close(folder)


def _again(image: Path, disk: Path, option: str) -> None:
    """Mount it anew, which replays its journal. What a killed process held is let go a moment after its end."""
    for _ in range(100):
        if subprocess.run(["umount", str(disk)], capture_output=True, check=False).returncode == 0:
            break
        time.sleep(0.05)
    done = subprocess.run(["mount", "-o", f"loop,{option}", str(image), str(disk)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Lost(f"the file system itself did not survive: {done.stderr.strip()}")


KINDS = (Kind("power", "the file system is cut off from its disk, then mounted again", attempt, share=2.5),)
