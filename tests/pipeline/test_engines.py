"""Other hands than this process's threads: executors and Dask clusters make the same bytes, and a lost worker loses nothing."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest
from photographs import SMALL, contents, factory

from threecad.domain import Source
from threecad.errors import ConfigError, ThreecadError
from threecad.pipeline import engines
from threecad.pipeline.convert import Progress, convert
from threecad.pipeline.sources import Finished, Task

dask = pytest.importorskip("distributed", reason="needs Dask (the cluster extra)")
pytestmark = [
    pytest.mark.filterwarnings("ignore:Port .* is already in use:UserWarning"),
    # Dask probes for a free port with a socket that it leaves to the garbage collector.
    pytest.mark.filterwarnings("ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return factory(tmp_path_factory.mktemp("raw") / "line7")


@pytest.fixture(scope="module")
def whole(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("whole") / "out"
    convert(raw, out, SMALL)
    return contents(out)


@pytest.fixture
def processes() -> Iterator[Executor]:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


def test_processes_make_the_same_bytes_and_tell_how_far_they_are(
    raw: Path, whole: dict[str, bytes], processes: Executor, tmp_path: Path
) -> None:
    told: list[Progress] = []
    done = convert(raw, tmp_path / "out", SMALL, engine=processes, progress=told.append)
    assert contents(tmp_path / "out") == whole
    assert [each.done for each in told] == list(range(1, done.converted + 1))


def test_threads_go_on_where_processes_were_interrupted_and_the_other_way_round(
    raw: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    def third(progress: Progress) -> None:
        if progress.done == 3:
            raise KeyboardInterrupt

    for first, second in ((ThreadPoolExecutor(2), "threads"), ("threads", ThreadPoolExecutor(2))):
        out = tmp_path / str(first)[:7]
        with pytest.raises(KeyboardInterrupt):
            convert(raw, out, SMALL, engine=first, progress=third)
        assert convert(raw, out, SMALL, engine=second).unchanged > 0
        assert contents(out) == whole


def test_a_relative_output_folder_is_where_it_was_meant_to_be(
    raw: Path, whole: dict[str, bytes], processes: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes.submit(os.chdir, "/").result()  # a worker elsewhere
    monkeypatch.chdir(tmp_path)
    convert(raw, "out", SMALL, engine=processes)
    assert contents(tmp_path / "out") == whole


class _Counting(ThreadPoolExecutor):
    """Knows how many sources were given out and not yet handed back."""

    def __init__(self) -> None:
        super().__init__(2)
        self.out = self.most = 0

    def submit(self, *arguments, **options):  # type: ignore[no-untyped-def]
        self.out += 1
        self.most = max(self.most, self.out)
        return super().submit(*arguments, **options)


def test_no_more_sources_are_given_out_than_workers_can_begin_soon(raw: Path, tmp_path: Path) -> None:
    pool = _Counting()

    def back(_: Progress) -> None:
        pool.out -= 1

    done = convert(raw, tmp_path / "out", SMALL, engine=pool, workers=2, progress=back)
    assert done.converted > 8
    assert pool.most == engines.AHEAD * 2


def test_what_a_worker_is_sent_is_about_its_own_source(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[Task, Source]] = []
    finish = engines.finish

    def noted(task: Task, before: str | None, source: Source) -> Finished:
        sent.append((task, source))
        return finish(task, before, source)

    monkeypatch.setattr(engines, "finish", noted)
    convert(raw, tmp_path / "out", SMALL, engine=ThreadPoolExecutor(1), workers=1)
    assert sent
    for task, source in sent:
        assert task.found.sources == (source,)
        assert len(task.found.peeks) <= 1 + len(task.found.second.get(source.id, ()))
        assert set(task.types) == {source.category}


def test_a_pool_that_breaks_ends_in_a_sentence_and_keeps_what_is_finished(
    raw: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    def kill(progress: Progress) -> None:
        if progress.done == 3:
            for process in list(pool._processes.values()):
                os.kill(process.pid or 0, signal.SIGKILL)

    with (
        ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool,
        pytest.raises(ThreecadError, match=r"its worker was lost, .* run the same command again"),
    ):
        convert(raw, tmp_path / "out", SMALL, engine=pool, progress=kill)
    assert convert(raw, tmp_path / "out", SMALL).unchanged >= 3
    assert contents(tmp_path / "out") == whole


class _Unlucky(ThreadPoolExecutor):
    """Every source's first workers die, so many of them."""

    def __init__(self, deaths: int) -> None:
        super().__init__(1)
        self.left: dict[str, int] = {}
        self.deaths = deaths

    def submit(self, run, task, before, source):  # type: ignore[no-untyped-def, override]
        left = self.left.setdefault(source.id, self.deaths)
        self.left[source.id] = left - 1
        return super().submit(_die if left else run, task, before, source)


class _DiedError(Exception):
    pass


def _die(*_: object) -> None:
    raise _DiedError


@pytest.mark.parametrize("deaths", [0, 1, engines.TRIES - 1, engines.TRIES])
def test_a_source_is_given_out_again_but_not_for_ever(
    raw: Path, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deaths: int
) -> None:
    team = engines.Team(_Unlucky(deaths), lambda: 1, (_DiedError,))
    monkeypatch.setattr(engines, "engaged", lambda *_: nullcontext(team))
    if deaths < engines.TRIES:
        convert(raw, tmp_path / "out", SMALL, engine="dask")
        assert contents(tmp_path / "out") == whole
    else:
        with pytest.raises(ThreecadError, match=r"each worker that had it died.*what is finished is kept"):
            convert(raw, tmp_path / "out", SMALL, engine="dask")


@pytest.mark.parametrize("engine", ["spark", "dask+tls", ""])
def test_an_unknown_engine_is_refused_before_anything_is_written(raw: Path, tmp_path: Path, engine: str) -> None:
    with pytest.raises(ConfigError, match=rf"no engine {re.escape(repr(engine))}; expected threads, dask"):
        convert(raw, tmp_path / "out", SMALL, engine=engine)
    assert not (tmp_path / "out").exists()


# Dask


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a scheduler with two worker processes, started as a person would."""
    place = tmp_path_factory.mktemp("cluster")
    file = place / "scheduler.json"
    common = ["--scheduler-file", str(file), "--no-dashboard"]
    scheduler = _started("scheduler", *common, "--host", "127.0.0.1", "--port", "0", place=place)
    worker = _started("worker", *common, "--nworkers", "2", "--nthreads", "1", "--local-directory", str(place), place=place)
    try:
        end = time.monotonic() + 60
        while not file.exists() and time.monotonic() < end:
            time.sleep(0.05)
        yield json.loads(file.read_text())["address"]
    finally:
        for process in (worker, scheduler):
            process.terminate()
            process.wait(20)


def test_a_cluster_that_runs_makes_the_same_bytes(raw: Path, whole: dict[str, bytes], cluster: str, tmp_path: Path) -> None:
    done = convert(raw, tmp_path / "out", SMALL, engine=f"dask:{cluster}")
    assert done.converted > 0
    assert contents(tmp_path / "out") == whole
    assert convert(raw, tmp_path / "out", SMALL, engine=f"dask:{cluster}").converted == 0


def test_a_worker_killed_in_the_middle_costs_its_own_source_only(
    raw: Path, whole: dict[str, bytes], cluster: str, tmp_path: Path
) -> None:
    finished: list[str] = []

    def kill(progress: Progress) -> None:
        finished.append(progress.source)
        if progress.done in (2, 6):
            with dask.Client(cluster, set_as_default=False) as client:
                workers = client.run(os.getpid)
                os.kill(sorted(workers.values())[0], signal.SIGKILL)

    done = convert(raw, tmp_path / "out", SMALL, engine=f"dask:{cluster}", progress=kill)
    assert len(finished) == len(set(finished)) == done.converted
    assert contents(tmp_path / "out") == whole


def test_a_cluster_of_this_machine_is_made_and_ends_with_the_run(raw: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    before = set(_children())
    convert(raw, tmp_path / "out", SMALL, engine="dask", workers=2)
    assert contents(tmp_path / "out") == whole
    assert set(_children()) <= before


def test_no_cluster_is_made_where_there_is_nothing_to_do(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    convert(raw, tmp_path / "out", SMALL)
    monkeypatch.setattr(engines, "engaged", lambda *_: 1 / 0)
    assert not convert(raw, tmp_path / "out", SMALL, engine="dask").changed


def test_where_no_scheduler_answers_one_sentence_says_so(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("threecad.pipeline.cluster.ANSWER", 1)
    with pytest.raises(ConfigError, match=r"engine dask:tcp://127.0.0.1:9: expected a scheduler there, found none"):
        convert(raw, tmp_path / "out", SMALL, engine="dask:tcp://127.0.0.1:9")


def _started(role: str, *arguments: str, place: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", f"distributed.cli.dask_{role}", *arguments]
    return subprocess.Popen(command, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _children() -> list[int]:
    """Processes of this one, but for multiprocessing's tracker of resources, which lives as long as Python does."""
    listed = Path(f"/proc/self/task/{os.getpid()}/children")
    found = [int(pid) for pid in listed.read_text().split()] if listed.exists() else []
    return [pid for pid in found if b"resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_bytes()]
