"""Two runs never write to one place, wherever they run; what a dead one leaves behind keeps nobody away for long."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import SMALL, Proxy, bare, objects, s3

from threecad.errors import BusyError
from threecad.formats.remote import Remote
from threecad.pipeline import flags, remote
from threecad.pipeline.convert import convert
from threecad.pipeline.flags import FLAGS, Flag
from threecad.pipeline.remote import InStore


def flag(out: Remote, tmp_path: Path, name: str) -> Flag:
    return Flag(out, tmp_path / name)


def test_one_run_at_a_time(bucket: str, tmp_path: Path) -> None:
    out = Remote.at(f"{bucket}/out")
    first, second = flag(out, tmp_path, "one"), flag(out, tmp_path, "two")
    first.take()
    with pytest.raises(BusyError, match=r"out is being written by another run, or by one that ended without a word"):
        second.take()
    first.check()
    first.end()
    second.take()
    second.end()
    assert not objects(f"{bucket}/out", ours=True)


def test_of_many_that_come_at_once_at_most_one_holds(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """In a store that knows no conditional writes."""
    for turn in range(3):
        out = Remote.at(f"memory://{request.node.name}/{turn}")
        held: list[Flag] = []
        refused: list[BusyError] = []
        start = threading.Barrier(4)

        def come(number: int, out: Remote = out, held: Any = held, refused: Any = refused, start: Any = start) -> None:
            mine = flag(out, tmp_path, f"{out.name}-{number}")
            start.wait()
            try:
                mine.take()
                held.append(mine)
            except BusyError as error:
                refused.append(error)

        threads = [threading.Thread(target=come, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(held) <= 1
        assert len(held) + len(refused) == 4
        for each in held:
            each.end()


def test_a_flag_that_nobody_renews_counts_for_nothing_by_the_stores_own_clock(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Remote.at(f"{bucket}/out")
    dead = flag(out, tmp_path, "dead")
    dead.take()
    later = flag(out, tmp_path, "later")
    with pytest.raises(BusyError):
        later.take()
    time.sleep(2.1)
    monkeypatch.setattr(flags, "LEASE", 1.0)  # not before: a store's clock may count whole seconds, and a machine may be slow
    monkeypatch.setattr(time, "time", lambda: 0.0)  # what this machine thinks of the time does not matter
    later.take()
    assert [path for path in objects(f"{bucket}/out", ours=True) if path.startswith(FLAGS)] == [f"{FLAGS}/{later._token}"]
    later.end()


def test_a_flag_is_renewed_while_its_run_is_at_work(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flags, "RENEWED", 0.1)
    out = Remote.at(f"{bucket}/out")
    mine, other = flag(out, tmp_path, "mine"), flag(out, tmp_path, "other")
    mine.take()

    def raised() -> int:
        return next(looks.st_mtime_ns for _, looks in out.files(FLAGS))

    first, ends = raised(), time.monotonic() + 60
    mine.keep(lambda: None)
    while raised() < first + 2_000_000_000:
        assert time.monotonic() < ends, "a minute, and the flag is as old as before"
        time.sleep(0.1)
    with pytest.raises(BusyError):
        other.take()
    mine.end()


def test_a_run_that_slept_finds_out_before_it_writes(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = Remote.at(f"{bucket}/out")
    sleeper, heir = flag(out, tmp_path, "sleeper"), flag(out, tmp_path, "heir")
    sleeper.take()
    files = InStore(out, tmp_path / "data", sleeper)
    clock = flags._clock
    monkeypatch.setattr(flags, "LEASE", -1.0)  # its flag has grown old
    heir.take()
    monkeypatch.setattr(flags, "LEASE", 60.0)
    monkeypatch.setattr(flags, "_clock", lambda: clock() + 600)
    with pytest.raises(BusyError, match="another run has taken over"):
        files.unsend("manifest.json")
    monkeypatch.setattr(flags, "_clock", clock)
    heir.check()
    heir.end()


def test_a_run_that_slept_and_was_not_missed_goes_on(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = Remote.at(f"{bucket}/out")
    sleeper = flag(out, tmp_path, "sleeper")
    sleeper.take()
    clock = flags._clock
    monkeypatch.setattr(flags, "_clock", lambda: clock() + 600)
    sleeper.check()
    sleeper.end()


def test_two_conversions_into_one_place(raw: Path, whole: dict[str, bytes], bucket: str, tmp_path: Path, proxy: Proxy) -> None:
    """The second comes while the first is at work: from another machine, and from this one."""
    refused: list[str] = []

    def second(_: object) -> None:
        if not refused:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("THREECAD_CACHE", str(tmp_path / "elsewhere"))
                for _ in range(2):
                    with pytest.raises(BusyError) as caught:
                        convert(raw, f"{bucket}/out", SMALL)
                    refused.append(str(caught.value))
                    patch.undo()

    convert(raw, f"{bucket}/out", SMALL, progress=second)
    assert "ended without a word" in refused[0]
    assert "by another run here" in refused[1]
    assert objects(f"{bucket}/out") == whole


def test_a_run_that_died_here_keeps_the_next_one_here_waiting_no_moment(raw: Path, bucket: str) -> None:
    out = Remote.at(f"{bucket}/out")
    dead = Flag(out, remote.workspace(out) / "flag")
    dead.take()
    assert convert(raw, f"{bucket}/out", SMALL).changed


def test_what_goes_to_other_machines_holds_no_secret(bucket: str) -> None:
    import pickle

    from conftest import KEY, SECRET

    files = InStore(Remote.at(f"{bucket}/out"))
    data = pickle.dumps(files)
    assert SECRET.encode() not in data
    assert KEY.encode() not in data
    assert len(data) < 500
    assert pickle.loads(data).stage("ab" * 32, 0, "image", b"png").nbytes == 3
    assert json.dumps(list(objects(f"{bucket}/out", ours=True))).count("staging") == 1
    s3().rm(bare(bucket) + "/out", recursive=True)
