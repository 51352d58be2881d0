"""Who does the work of a conversion: threads of this process, or an executor, whose processes may be anywhere.

Threads take tiles (threads.py): one huge image keeps all of them busy. An executor takes sources: whoever gets one reads it, cuts
it and stages its tiles where all can see them, and sends back the record. What comes is the same to the byte, so a source that
was lost with its process is given out once more.
"""

from __future__ import annotations

import concurrent.futures
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

from threecad.domain import Source
from threecad.errors import ConfigError, ThreecadError
from threecad.pipeline.sources import Finished, Task

THREADS, DASK = "threads", "dask"
NAMES = f"{THREADS}, {DASK} (a cluster on this machine) or {DASK}:tcp://HOST:PORT (one that runs)"

TRIES = 4
"""How often a source is given out that outlives its workers. Each time Dask itself tries four of them; where machines come and
go, a source may have bad luck, but one that takes every worker with it must come to an end."""

AHEAD = 2
"""Sources given out for each worker: one in work, and one that waits so that it need not."""


@dataclass(frozen=True, slots=True)
class Team:
    """An executor, how many of its workers work at the same time, which may change meanwhile, and which exceptions of a future
    mean that one worker after the other died with it while the team lives on."""

    executor: Executor
    size: Callable[[], int]
    lost: tuple[type[BaseException], ...] = ()


def refuse_unknown(engine: str | Executor) -> None:
    """Raise ConfigError where a name stands for no engine.

    >>> refuse_unknown("dask:tcp://10.0.0.7:8786")
    >>> refuse_unknown("spark")
    Traceback (most recent call last):
    threecad.errors.ConfigError: no engine 'spark'; expected threads, dask (a cluster on this machine) or dask:tcp://HOST:PORT ...
    """
    if isinstance(engine, str) and engine not in (THREADS, DASK) and not engine.startswith(f"{DASK}:"):
        raise ConfigError(f"no engine {engine!r}; expected {NAMES}")


@contextmanager
def engaged(engine: str | Executor, workers: int) -> Iterator[Team]:
    """The team an engine other than threads stands for, sent home at the end. An executor given is left running."""
    if isinstance(engine, Executor):
        yield Team(engine, lambda: workers)
    else:
        from threecad.pipeline import cluster

        with cluster.joined(engine.removeprefix(DASK).removeprefix(":"), workers) as team:
            yield team


def finish(task: Task, before: str | None, source: Source) -> Finished:
    """One source from its files to its record, on the thread that calls."""
    opened = task.start(before, source)
    for piece in opened.pieces:
        piece()
    return opened.finish()


def spread(
    team: Team, task: Task, jobs: Iterable[Source], before: Callable[[Source], str | None]
) -> Generator[Finished, None, None]:
    """Yield what came of every source, in the order in which they finish; only a few more are given out than are worked on.

    ThreecadError where the workers are lost, or where one source takes them with it again and again.
    """
    waiting: dict[Future[Finished], Source] = {}
    tries: Counter[str] = Counter()
    sources = iter(jobs)
    left = True

    def give(source: Source) -> None:
        tries[source.id] += 1
        waiting[team.executor.submit(finish, task.alone(source), before(source), source)] = source

    try:
        while left or waiting:
            free = AHEAD * max(1, team.size()) - len(waiting)
            given = list(islice(sources, max(0, free)))
            left = len(given) == free or free <= 0
            for source in given:
                give(source)
            done, _ = concurrent.futures.wait(waiting, timeout=1, return_when=FIRST_COMPLETED)
            for future in done:
                source = waiting.pop(future)
                try:
                    result = future.result()
                except team.lost as error:
                    if tries[source.id] == TRIES:
                        raise _lost(source, "each worker that had it died: does it need more memory than they have?") from error
                    give(source)
                except (BrokenExecutor, CancelledError) as error:
                    raise _lost(source, "its worker was lost, and the others with it") from error
                else:
                    del tries[source.id]
                    yield result
    finally:
        for future in waiting:
            future.cancel()


def _lost(source: Source, why: str) -> ThreecadError:
    return ThreecadError(f"{source.id}: {why}; what is finished is kept, run the same command again")
