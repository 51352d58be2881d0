"""Threads that take tiles: the tiles of images that are open come first, the next image is opened when none wait.

So one huge image keeps every core busy, and never more images are open than there are threads. The codecs and NumPy release
the interpreter's lock, and threads share the decoded image without copying it.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

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
    jobs: Iterable[Job], start: Callable[[Job], Opened[Result]], *, workers: int, budget: int = 1 << 62
) -> Generator[Result, None, None]:
    """Yield the result of every job, in the order in which they finish.

    `start` runs on a worker thread and opens one image; its pieces then run on any of them. Another image is opened only
    while the open ones, and the largest seen so far once more, fit `budget` bytes (one is always allowed). What a worker
    raises is raised here, after the others have stopped; closing the generator (Ctrl-C) stops them after their piece.

    >>> list(work([3], lambda n: Opened([], lambda: n * n), workers=2))
    [9]
    """
    waiting: deque[tuple[Opened[Result], Callable[[], None]]] = deque()
    results: queue.SimpleQueue[Result | BaseException | None] = queue.SimpleQueue()
    changed = threading.Condition()
    source = iter(jobs)
    state = {"open": 0, "bytes": 0, "largest": 0}
    stop = threading.Event()
    exhausted = threading.Event()

    def may_open() -> bool:
        if exhausted.is_set():
            return False
        return state["open"] == 0 or state["bytes"] + state["largest"] <= budget

    def close(opened: Opened[Result]) -> None:
        results.put(opened.finish())
        with changed:
            state["open"] -= 1
            state["bytes"] -= opened.nbytes
            changed.notify_all()

    def turn() -> bool:
        """Do one thing; False when there is nothing left to do."""
        with changed:
            while not stop.is_set():
                if waiting:
                    opened, piece = waiting.popleft()
                    job = None
                    break
                if may_open():
                    job = next(source, exhausted)
                    if job is exhausted:
                        exhausted.set()
                        changed.notify_all()
                        continue
                    state["open"] += 1
                    break
                if exhausted.is_set() and state["open"] == 0:
                    return False
                changed.wait()
            else:
                return False
        if job is None:
            piece()
            with changed:
                opened.left -= 1
                last = opened.left == 0
            if last:
                close(opened)
        else:
            opened = start(job)  # type: ignore[arg-type]
            with changed:
                state["bytes"] += opened.nbytes
                state["largest"] = max(state["largest"], opened.nbytes)
                waiting.extend((opened, piece) for piece in opened.pieces)
                changed.notify_all()
            if not opened.pieces:
                close(opened)
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
        stop.set()
        with changed:
            changed.notify_all()
        for thread in threads:
            thread.join()
