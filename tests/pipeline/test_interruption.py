"""Whatever happens to a run, the next one ends with the bytes of a run that nothing happened to."""

from __future__ import annotations

import errno
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from photographs import SMALL, contents, factory, photograph, put, square

from threecad.errors import ThreecadError
from threecad.pipeline import store
from threecad.pipeline.config import override
from threecad.pipeline.convert import convert

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

KILLED = 86


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return factory(tmp_path_factory.mktemp("raw") / "line7")


@pytest.fixture(scope="module")
def whole(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("whole") / "out"
    convert(raw, out, SMALL)
    return contents(out)


def in_child(function: Callable[[], object]) -> multiprocessing.Process:
    child = multiprocessing.get_context("fork").Process(target=function)
    child.start()
    return child


def dying_at(step: int, raw: Path, out: Path, pipeline: Any = SMALL) -> int:
    """Convert in a child that dies, as by kill -9, at its `step`-th touch of the disk. Its exit code."""

    def run() -> None:
        count = 0

        def counted(function: Callable[..., Any]) -> Callable[..., Any]:
            def wrapper(*arguments: Any, **options: Any) -> Any:
                nonlocal count
                count += 1
                if count == step:
                    os._exit(KILLED)
                return function(*arguments, **options)

            return wrapper

        for name in ("write_bytes", "replace", "unlink", "mkdir", "rmdir"):
            setattr(Path, name, counted(getattr(Path, name)))
        os.fsync = counted(os.fsync)
        store.Store.keep = counted(store.Store.keep)  # type: ignore[method-assign]
        convert(raw, out, pipeline, workers=1)

    child = in_child(run)
    child.join()
    assert child.exitcode is not None
    return child.exitcode


def test_death_at_any_touch_of_the_disk_leaves_something_the_next_run_completes(
    raw: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    """Dies at every sixth touch from the first to the last, then once more on the way, then is left alone."""
    chooser = random.Random(3)
    deaths = 0
    for step in range(1, 2000, 6):
        out = tmp_path / f"out{step}"
        if dying_at(step, raw, out) != KILLED:
            break
        deaths += 1 + (dying_at(chooser.randrange(1, 150), raw, out) == KILLED)
        convert(raw, out, SMALL)
        assert contents(out) == whole
    assert deaths >= 50


def test_death_while_publishing_costs_no_source_a_second_time(raw: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    """From the first move on, everything is encoded: no later run may encode again."""
    out = tmp_path / "out"

    def run() -> None:
        moves = 0
        replace = Path.replace

        def move(self: Path, target: Path) -> Path:
            nonlocal moves
            moves += target.suffix == ".png" and "staging" not in target.parts
            if moves == 20:
                os._exit(KILLED)
            return replace(self, target)

        Path.replace = move  # type: ignore[method-assign, assignment]
        convert(raw, out, SMALL)

    child = in_child(run)
    child.join()
    assert child.exitcode == KILLED
    done = convert(raw, out, SMALL)
    assert done.converted == 0
    assert contents(out) == whole


def test_kill_minus_nine_at_random_moments(raw: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "out"
    chooser = random.Random(7)
    kills, finished = 0, 0
    began = time.monotonic()
    while kills < 50 and time.monotonic() - began < 240:
        child = in_child(lambda: convert(raw, out, SMALL, workers=2))
        child.join(chooser.uniform(0.01, 0.35))
        if child.exitcode is None:
            assert child.pid is not None
            os.kill(child.pid, signal.SIGKILL)
            kills += 1
        child.join()
        if child.exitcode == 0:
            finished += 1
            assert contents(out) == whole
            for path in sorted(out.rglob("*"), reverse=True):  # once more from the start
                path.unlink() if path.is_file() else path.rmdir()
    assert kills >= 50
    convert(raw, out, SMALL)
    assert contents(out) == whole


def test_an_update_that_dies_leaves_the_earlier_data_set_whole_until_it_is_published(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    convert(raw, out, SMALL)
    before = contents(out)
    other = override(SMALL, {"tiling.slice_size": 80})
    assert dying_at(30, raw, out, other) == KILLED
    assert contents(out) == before


def test_a_disk_that_fills_up_ends_in_one_sentence_and_the_next_run_completes(
    raw: Path, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    write = Path.write_bytes
    room = 30

    def full(self: Path, data: bytes) -> int:
        nonlocal room
        room -= 1
        if room < 0:
            write(self, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        return write(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(ThreecadError, match=r"cannot be written \(No space left on device\)"):
            convert(raw, out, SMALL)
    done = convert(raw, out, SMALL)
    assert done.unchanged > 0
    assert contents(out) == whole


def test_a_change_of_raw_data_and_settings_between_deaths_ends_as_if_made_at_once(raw: Path, tmp_path: Path) -> None:
    """Files of the abandoned settings must not survive, wherever they had come to."""
    changed = tmp_path / "raw" / "line7"
    factory(changed)
    out, straight = tmp_path / "out", tmp_path / "straight"
    other = override(SMALL, {"split.seed": 5, "write.several_types": "joined", "tiling.clean": "test"})
    convert(changed, out, SMALL)
    for step in (40, 150, 260, 330):
        dying_at(step, changed, out, other)
    (changed / "cover/good/g0.png").unlink()
    put(changed, "frame/d1.png", photograph(900), [square("hole", 30, 30, 30)])
    for step in (30, 60, 90, 120):
        dying_at(step, changed, out, other)
    convert(changed, out, SMALL)
    convert(changed, straight, SMALL)
    assert contents(out) == contents(straight)
