"""A coordinator that dies costs seconds of work, and any machine goes on where it stopped, to the same bytes."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import SMALL, Proxy, bare, objects, s3

from threecad.pipeline import flags, remote
from threecad.pipeline.config import override
from threecad.pipeline.convert import convert

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def dying(proxy: Proxy, when: Callable[[int, str, str], bool], raw: Path, out: str, cache: Path) -> bool:
    """Convert in a child with a workspace of its own, killed at the request that `when` names. Whether it was."""

    def run() -> None:
        os.environ["THREECAD_CACHE"] = str(cache)
        remote.SEGMENT_BYTES = 1  # every record is sent at once
        convert(raw, out, SMALL, workers=2)

    proxy.reset()
    child = multiprocessing.get_context("fork").Process(target=run)

    def fault(number: int, method: str, path: str) -> Callable[[], None] | None:
        if when(number, method, path) and child.pid is not None:
            return lambda: os.kill(child.pid or 0, signal.SIGKILL)
        return None

    proxy.fault = fault
    child.start()
    child.join()
    proxy.reset()
    return child.exitcode == -signal.SIGKILL


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The dead one's flag is old enough."""
    monkeypatch.setattr(flags, "LEASE", -1.0)


def journaled(out: str) -> set[str]:
    kept = objects(out, ours=True)
    lines = b"".join(kept[path] for path in sorted(kept) if "/journal/" in path).splitlines()
    return {json.loads(line)["source"]["id"] for line in lines}


def test_no_source_that_was_journaled_is_done_twice(
    raw: Path, whole: dict[str, bytes], bucket: str, proxy: Proxy, tmp_path: Path
) -> None:
    out = f"{bucket}/out"
    pieces: list[str] = []

    def third(number: int, method: str, path: str) -> bool:
        pieces.extend([path] if "/journal/" in path and method == "PUT" else [])
        return len(pieces) == 3

    assert dying(proxy, third, raw, out, tmp_path / "one")
    known = journaled(out)
    assert len(known) >= 2
    done = convert(raw, out, SMALL)
    assert done.converted == done.unchanged + done.converted - len(known)
    assert objects(out) == whole
    assert not [path for path in objects(out, ours=True) if "journal" in path or "staging" in path]


@pytest.mark.parametrize("step", [2, 5, 8])
def test_death_while_publishing_costs_no_source_a_second_time(
    step: int, raw: Path, whole: dict[str, bytes], bucket: str, proxy: Proxy, tmp_path: Path
) -> None:
    out = f"{bucket}/out"
    count = [0]

    def copying(number: int, method: str, path: str) -> bool:
        count[0] += method == "COPY"
        return count[0] >= step

    assert dying(proxy, copying, raw, out, tmp_path / "one")
    assert "manifest.json" not in objects(out)
    done = convert(raw, out, SMALL)
    assert done.converted == 0
    assert objects(out) == whole


def test_death_at_any_request_leaves_something_that_another_machine_completes(
    raw: Path, whole: dict[str, bytes], bucket: str, proxy: Proxy, tmp_path: Path
) -> None:
    out = f"{bucket}/out"
    deaths = 0
    for step in (4, 13, 22, 31):
        deaths += dying(proxy, lambda number, method, path, step=step: number == step, raw, out, tmp_path / str(step))  # type: ignore[misc]
    assert deaths >= 3
    convert(raw, out, SMALL)
    assert objects(out) == whole


def test_an_update_that_dies_leaves_the_earlier_data_set_whole_until_it_is_published(
    raw: Path, whole: dict[str, bytes], bucket: str, proxy: Proxy, tmp_path: Path
) -> None:
    out = f"{bucket}/out"
    convert(raw, out, override(SMALL, {"tiling.slice_size": 144}))
    before = objects(out)
    staged = [0]

    def fifth(number: int, method: str, path: str) -> bool:
        staged[0] += "/staging/" in path
        return staged[0] == 5

    assert dying(proxy, fifth, raw, out, tmp_path / "one")
    assert objects(out) == before
    convert(raw, out, SMALL)
    assert objects(out) == whole


def test_a_journal_that_lies_here_and_not_in_the_store_is_not_believed(
    raw: Path, whole: dict[str, bytes], bucket: str, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = f"{bucket}/out"
    monkeypatch.setenv("THREECAD_CACHE", str(tmp_path / "one"))
    dying(proxy, lambda number, method, path: method == "COPY", raw, out, tmp_path / "one")
    s3().rm(f"{bare(out)}/.threecad/journal", recursive=True)
    s3().rm(f"{bare(out)}/.threecad/staging", recursive=True)
    assert convert(raw, out, SMALL).converted > 0
    assert objects(out) == whole
