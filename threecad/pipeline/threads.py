"""Threads that take tiles: the tiles of images that are open come first, the next image is opened when none wait.

So one huge image keeps every core busy, and never more images are open than there are threads. The codecs and NumPy release
the interpreter's lock, and threads share the decoded image without copying it.
"""

from __future__ import annotations

import atexit
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Generic, TypeVar

_RUNNING: set[Callable[[], None]] = set()
"""What ends the threads of each generator that has not been closed."""

Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(slots=True, eq=False)
class Opened(Generic[Result]):
    """One image being worked on: pieces of work that may run in any order on any thread, and what to do after the last.

    `nbytes` is what the image holds in memory while it is open.
    """

    pieces: Sequence[Callable[[], None]]
    finish: Callable[[], Result]
    nbytes: int = 0
    left: int = field(init=False)

    def __post_init__(self) -> None:
        self.left = len(self.pieces)


def work(
    jobs: Iterable[Job],
    start: Callable[[Job], Opened[Result]],
    *,
    workers: int,
    budget: int = 1 << 62,
    weigh: Callable[[Job], int] | None = None,
) -> Generator[Result, None, None]:
    """Yield the result of every job, in the order in which they finish.

    `start` runs on a worker thread and opens one image; its pieces then run on any of them. `weigh` estimates, also on a worker
    thread and once a job, the bytes that opening it takes; that much is reserved until it is open and states its `nbytes`.
    Another image is opened only while it and the open ones fit `budget` bytes; one is always allowed. Without `weigh` the
    largest seen so far stands for the next, so that the first few are opened unseen. What a worker raises is raised here, after
    the others have stopped; closing the generator (Ctrl-C) stops them after their piece.

    >>> list(work([3], lambda n: Opened([], lambda: n * n), workers=2))
    [9]
    """
    waiting: deque[tuple[Opened[Result], Callable[[], None]]] = deque()
    pending: deque[tuple[Job, int]] = deque()  # the one job that is weighed and not begun
    results: queue.SimpleQueue[Result | BaseException | None] = queue.SimpleQueue()
    changed = threading.Condition()
    source = iter(jobs)
    state = {"open": 0, "bytes": 0, "largest": 0, "weighing": 0}
    stop = threading.Event()
    exhausted = threading.Event()

    def fits(weight: int) -> bool:
        return state["open"] == 0 or state["bytes"] + weight <= budget

    def close(opened: Opened[Result]) -> None:
        results.put(opened.finish())
        with changed:
            state["open"] -= 1
            state["bytes"] -= opened.nbytes
            changed.notify_all()

    def take() -> list[Job]:
        """The next job, or nothing when there is none."""
        taken = list(islice(source, 1))
        if not taken:
            exhausted.set()
            changed.notify_all()
        return taken

    def choose() -> Callable[[], None] | None:
        """The next thing to do; None when there is nothing left. The lock is held, and given back while there is only to wait."""
        while not stop.is_set():
            if waiting:
                return partial(do, *waiting.popleft())
            if pending:
                if fits(pending[0][1]):
                    return reserve(*pending.popleft())
            elif weigh is not None and not state["weighing"] and not exhausted.is_set():
                for job in take():
                    state["weighing"] = 1
                    return partial(put, job, weigh)
                continue
            elif weigh is None and not exhausted.is_set() and fits(state["largest"]):
                for job in take():
                    return reserve(job, 0)
                continue
            elif exhausted.is_set() and state["open"] == 0:
                return None
            changed.wait()
        return None

    def put(job: Job, weigh: Callable[[Job], int]) -> None:
        weight = weigh(job)
        with changed:
            state["weighing"] = 0
            pending.append((job, weight))
            changed.notify_all()

    def reserve(job: Job, weight: int) -> Callable[[], None]:
        state["open"] += 1
        state["bytes"] += weight
        changed.notify_all()  # the next job may be weighed
        return partial(begin, job, weight)

    def begin(job: Job, weight: int) -> None:
        opened = start(job)
        with changed:
            state["bytes"] += opened.nbytes - weight
            state["largest"] = max(state["largest"], opened.nbytes)
            waiting.extend((opened, piece) for piece in opened.pieces)
            changed.notify_all()
        if not opened.pieces:
            close(opened)

    def do(opened: Opened[Result], piece: Callable[[], None]) -> None:
        piece()
        with changed:
            opened.left -= 1
            last = opened.left == 0
        if last:
            close(opened)

    def turn() -> bool:
        """Do one thing; False when there is nothing left to do."""
        with changed:
            step = choose()
        if step is None:
            return False
        step()
        return True

    def run() -> None:
        try:
            while turn():
                pass
            results.put(None)
        except BaseException as error:  # handed to the caller's thread, which raises it
            stop.set()
            with changed:
                changed.notify_all()
            results.put(error)

    threads = [threading.Thread(target=run, name=f"threecad-{number}", daemon=True) for number in range(max(1, workers))]

    def end() -> None:
        stop.set()
        with changed:
            changed.notify_all()
        for thread in threads:
            if thread.ident is not None:
                thread.join()

    _RUNNING.add(end)
    for thread in threads:
        thread.start()
    try:
        running = len(threads)
        while running:
            result = results.get()
            if isinstance(result, BaseException):
                raise result
            if result is None:
                running -= 1
            else:
                yield result
    finally:
        end()
        _RUNNING.discard(end)


@atexit.register
def _end_all() -> None:
    """End what nobody closed: after Ctrl-C an exception may hold its generator until Python goes, and a thread that comes back
    from a codec written in C++ when Python is gone takes the process with it (SIGABRT)."""
    for end in tuple(_RUNNING):
        end()
