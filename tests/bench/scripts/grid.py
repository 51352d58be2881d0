"""The windows that all sides cut, as SAHI places them, and the line in which a side tells what it did."""

from __future__ import annotations

import json
import time
from typing import Any

SIDE = 1024
OVERLAP = 0.2


def starts(length: int) -> list[int]:
    """Where windows begin along one axis; the last is moved back inside."""
    stride = SIDE - int(OVERLAP * SIDE)
    return [min(at, max(length - SIDE, 0)) for at in range(0, max(length - SIDE, 0) + stride, stride)]


def windows(width: int, height: int) -> list[tuple[int, int, int, int]]:
    """(left, top, right, bottom) of every window.

    >>> len(windows(4096, 3072)), windows(4096, 3072)[-1]
    (20, (3072, 2048, 4096, 3072))
    """
    return [(left, top, min(left + SIDE, width), min(top + SIDE, height)) for top in starts(height) for left in starts(width)]


class Clock:
    """Seconds and CPU seconds (of all threads) since it was made: the work without the start of Python and its imports."""

    def __init__(self) -> None:
        self.began = time.perf_counter(), time.process_time()

    def tell(self, **more: Any) -> None:
        """Print the one line that the benchmark reads."""
        seconds, cpu = time.perf_counter() - self.began[0], time.process_time() - self.began[1]
        print(json.dumps({"inner_seconds": seconds, "inner_cpu": cpu, **more}))
