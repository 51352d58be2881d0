"""How often each bin was met, or how much weight fell into it: dense where bins are coarse, sparse where they are exact."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from threecad.metrics.bins import Bins

Ints = NDArray[np.int64]

PAGE = 1 << 16
"""Bins that are held together, so that memory follows the ranges in which there are scores."""

_SHIFT = 16
_SPARSE = PAGE // 16  # fewer bins a page than this are sorted, which takes as long as sweeping 16 others each
_WINDOW = 64  # pages that are counted at once: 34 MB for a moment


class Pages:
    """Whole numbers by bin, in dense pages of 65,536 bins for bins that mostly are met.

    They are kept in 32 bits where `small`, which holds as long as all of them together stay below 2³²; see `widen`.

    >>> tally = Pages()
    >>> tally.add(np.array([7, -70_000, 7], np.int32))
    >>> [column.tolist() for column in tally.table()], tally.nbytes
    ([[-70000, 7], [1, 2]], 1048576)
    >>> tally.below(np.array([-70_000, 0, 8], np.int32)).tolist()
    [0, 1, 3]
    """

    def __init__(self, *, small: bool = False) -> None:
        self._dtype: Any = np.uint32 if small else np.int64
        self._pages: dict[int, NDArray[Any]] = {}

    @property
    def nbytes(self) -> int:
        return sum(numbers.nbytes for numbers in self._pages.values())

    def add(self, bins: Bins, amounts: Ints | None = None) -> None:
        """Count these bins, or add these amounts to them; a bin may come any number of times."""
        if not len(bins):
            return
        low, high = int(bins.min()) >> _SHIFT, int(bins.max()) >> _SHIFT
        if len(bins) < (high - low + 1) * _SPARSE:
            self._add_few(bins, amounts)
        elif high - low >= _WINDOW:
            self._add_halves(bins, amounts, (low + high + 1) // 2)
        else:
            self._sweep(bins, amounts, low, high)

    def _sweep(self, bins: Bins, amounts: Ints | None, low: int, high: int) -> None:
        """Add what lies in the pages from `low` to `high`, and look at each of their bins."""
        places = bins - np.int32(low << _SHIFT)
        span = (high - low + 1) << _SHIFT
        if amounts is None:
            sums = np.bincount(places, minlength=span)
        else:
            sums = np.zeros(span, np.int64)
            np.add.at(sums, places.astype(np.intp), amounts)  # not bincount: its sums of weights are floats
        for page in range(low, high + 1):
            self._add_page(page, sums[(page - low) << _SHIFT : (page - low + 1) << _SHIFT])

    def _add_few(self, bins: Bins, amounts: Ints | None) -> None:
        """Add by sorting, so that bins that are not met cost nothing."""
        bins, sums = _counted(bins) if amounts is None else _summed(bins, amounts)
        pages = bins >> _SHIFT
        starts = _starts(pages)
        for start, stop in pairwise([*starts.tolist(), len(bins)]):
            page = int(pages[start])
            if page not in self._pages:
                self._pages[page] = np.zeros(PAGE, self._dtype)
            self._pages[page][bins[start:stop] - np.int32(page << _SHIFT)] += sums[start:stop].astype(self._dtype)

    def _add_halves(self, bins: Bins, amounts: Ints | None, middle: int) -> None:
        """Zero lies far from all other scores, and negative ones far from positive: no use in sweeping what is between."""
        above = bins >= np.int32(middle << _SHIFT)
        for side in (~above, above):
            self.add(bins[side], None if amounts is None else amounts[side])

    def _add_page(self, page: int, sums: Ints) -> None:
        known = self._pages.get(page)
        if known is not None:
            known += sums.astype(self._dtype)
        elif sums.any():
            self._pages[page] = sums.astype(self._dtype)

    def widen(self) -> None:
        """Keep the numbers in 64 bits from now on."""
        self._dtype = np.int64
        self._pages = {page: numbers.astype(np.int64) for page, numbers in self._pages.items()}

    def move(self, moved: Callable[[Bins], Bins]) -> None:
        """Put all that a bin holds into another one."""
        found = self._found()
        self._pages = {}
        for bins, numbers in found:
            self.add(moved(bins), numbers)

    def table(self) -> tuple[Bins, Ints]:
        """The bins that hold something, ascending, and what they hold."""
        found = list(self._found())
        if not found:
            return np.zeros(0, np.int32), np.zeros(0, np.int64)
        return np.concatenate([bins for bins, _ in found]), np.concatenate([numbers for _, numbers in found])

    def below(self, bins: Bins) -> Ints:
        """What lies in all lower bins together, for each of some ascending bins."""
        sums = np.empty(len(bins), np.int64)
        done, total = 0, 0
        for page, numbers in sorted(self._pages.items()):
            stop = int(np.searchsorted(bins, np.int32((page + 1) << _SHIFT)))
            inside = bins[done:stop] - np.int32(page << _SHIFT)
            running = np.concatenate([[0], np.cumsum(numbers, dtype=np.int64)])
            # A bin of a page that holds nothing lies below this page.
            sums[done:stop] = total + running[np.maximum(inside, 0)]
            done, total = stop, total + int(running[-1])
        sums[done:] = total
        return sums

    def _found(self) -> Iterator[tuple[Bins, Ints]]:
        """Page by page, of the pages there are now."""
        return self._read(sorted(self._pages.items()))

    @staticmethod
    def _read(pages: list[tuple[int, NDArray[Any]]]) -> Iterator[tuple[Bins, Ints]]:
        for page, numbers in pages:
            places = np.flatnonzero(numbers)
            yield (places + (page << _SHIFT)).astype(np.int32), numbers[places].astype(np.int64)


class Runs:
    """Whole numbers by bin, in sorted runs of the bins that were met, for bins so fine that most never are.

    A new run is merged with the one before as soon as that is not twice as long: each entry is merged as often as the whole
    can be halved.

    >>> tally = Runs()
    >>> tally.add(np.array([7, -70_000, 7], np.int32))
    >>> tally.add(np.array([7], np.int32), np.array([10]))
    >>> [column.tolist() for column in tally.table()], tally.nbytes
    ([[-70000, 7], [1, 12]], 24)
    """

    def __init__(self) -> None:
        self._runs: list[tuple[Bins, Ints]] = []

    @property
    def nbytes(self) -> int:
        return sum(bins.nbytes + numbers.nbytes for bins, numbers in self._runs)

    def add(self, bins: Bins, amounts: Ints | None = None) -> None:
        """Count these bins, or add these amounts to them; a bin may come any number of times."""
        if not len(bins):
            return
        self._runs.append(_counted(bins) if amounts is None else _summed(bins, amounts))
        while len(self._runs) > 1 and len(self._runs[-2][0]) < 2 * len(self._runs[-1][0]):
            self._merge_last()

    def table(self) -> tuple[Bins, Ints]:
        """The bins that hold something, ascending, and what they hold."""
        while len(self._runs) > 1:
            self._merge_last()
        return self._runs[0] if self._runs else (np.zeros(0, np.int32), np.zeros(0, np.int64))

    def below(self, bins: Bins) -> Ints:
        """What lies in all lower bins together, for each of some ascending bins."""
        known, numbers = self.table()
        sums: Ints = np.concatenate([[0], np.cumsum(numbers)])[np.searchsorted(known, bins)]
        return sums

    def _merge_last(self) -> None:
        (one, first), (other, second) = self._runs.pop(), self._runs.pop()
        self._runs.append(_summed(np.concatenate([other, one]), np.concatenate([second, first])))


def least_bytes(bins: Bins, most: int) -> int:
    """Bytes that small pages of these bins take at least. Pages in between are told from those in use only where it might be
    more than `most`.

    >>> bins = np.array([-70_000, 7], np.int32)
    >>> least_bytes(bins, most=1 << 20), least_bytes(bins, most=0)
    (786432, 524288)
    """
    if not len(bins):
        return 0
    low = int(bins.min()) >> _SHIFT
    count = (int(bins.max()) >> _SHIFT) - low + 1
    if 4 * PAGE * count > most:
        count = int(np.count_nonzero(np.bincount((bins >> _SHIFT) - np.int32(low))))
    return 4 * PAGE * count


def _counted(bins: Bins) -> tuple[Bins, Ints]:
    ordered = np.sort(bins)
    starts = _starts(ordered)
    return ordered[starts], np.diff(starts, append=len(ordered))


def _summed(bins: Bins, amounts: Ints) -> tuple[Bins, Ints]:
    order = np.argsort(bins, kind="stable")  # quick for two sorted runs behind one another
    ordered = bins[order]
    starts = _starts(ordered)
    return ordered[starts], np.add.reduceat(amounts[order], starts)


def _starts(ordered: Bins) -> Ints:
    """Where a new bin begins."""
    return np.concatenate([np.zeros(1, np.int64), np.flatnonzero(ordered[1:] != ordered[:-1]) + 1])
