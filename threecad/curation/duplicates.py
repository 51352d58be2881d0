"""Which pictures are the same photograph: by their bytes, and by what they show.

A fingerprint keeps how much each cell of a 16 × 16 grid differs from the cells around it, in steps of 1/40 of the picture's
own contrast. Two pictures are nearly the same when no cell differs by more than a few steps. A hash of signs cannot tell
parts apart that were photographed in one fixture (`docs/decisions/0010-near-duplicates.md` has the numbers): the fixture
decides every sign, while a new scratch or another part moves a cell by far more than encoding the picture again does.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from math import isqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from threecad.domain import Action, Code, Finding

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from threecad.settings import Splitting

GRID = 16
"""Cells a side that are compared; a ring of further cells surrounds them, so that every one has eight neighbours."""
STEPS = 40
"""Steps of a fingerprint in one standard deviation of the picture's detail."""
LEAST_DETAIL = 2
"""Standard deviation of the detail in gray levels (of 255) under which encoding noise would decide the fingerprint."""

_LUMA = np.array([77, 150, 29], dtype=np.uint64)  # of 256, as in JPEG: a gray copy of a colour picture is the same picture
_PROBES = 32  # cells that are compared one by one over the whole window, until one in 64 is left
_FEW = 64
_STAGES = (1, 24, 96, GRID * GRID)  # those that are left are compared in these stretches of cells


def fingerprint(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes | None:
    """256 signed bytes that stay almost the same when the picture is encoded again, scaled, or made a little brighter.

    `pixels` is (height, width) or (height, width, 3) in RGB order. All arithmetic is on whole numbers, so the bytes are the
    same on every machine. None for a picture with too little detail to be told from another, or with fewer than 18 pixels
    a side: such pictures are never near duplicates.

    >>> board = np.kron(np.random.default_rng(1).integers(0, 255, (40, 30), dtype=np.uint8), np.ones((9, 9), dtype=np.uint8))
    >>> brighter = board // 2 + 100
    >>> near({"board": fingerprint(board), "brighter": fingerprint(brighter)}, 1) == [frozenset({"board", "brighter"})]
    True
    >>> fingerprint(np.full((600, 800), 128, dtype=np.uint8)) is None
    True
    """
    height, width = pixels.shape[:2]
    side = GRID + 2
    if min(height, width) < side:
        return None
    rows = _area(pixels, side)
    cells = _area(np.ascontiguousarray(rows.swapaxes(0, 1)), side).swapaxes(0, 1)
    cells = cells @ _LUMA if cells.ndim == 3 else cells * 256
    level = (cells // (height * width)).astype(np.int64)  # in 1/256 of a gray level, at most 2**24
    block = sum(level[y : y + GRID, x : x + GRID] for y in range(3) for x in range(3))
    detail = 9 * level[1:-1, 1:-1] - block  # in 1/2304 of a gray level; a plane of light, as of a lamp to one side, leaves 0
    detail = detail - int(detail.sum()) // detail.size
    spread = isqrt(int((detail * detail).sum()) // detail.size)
    # 16-bit files often hold 10 or 12 bits: what counts as little is measured against the brightest cell there.
    full = 255 * 256 if pixels.dtype == np.uint8 else max(255 * 256, int(level.max()))
    if spread * 255 * 256 < LEAST_DETAIL * 9 * 256 * full:
        return None
    steps = (2 * STEPS * detail + spread) // (2 * spread)
    return bytes(np.clip(steps, -127, 127).astype(np.int8))


def alike(
    digests: Mapping[str, str], fingerprints: Mapping[str, bytes], settings: Splitting
) -> tuple[list[frozenset[str]], list[Finding]]:
    """The groups of sources that are the same photograph, for `assign` to keep together, and a finding for each of them.

    `digests` are those of the image files, `fingerprints` those of the pictures that have one. Every member of a group but the
    smallest is reported as its duplicate. More than `near_crowd` nearly equal pictures are not copies of one photograph but,
    most likely, parts in a fixture: among them only closer ones are bound, down to equal fingerprints, and if they are a crowd
    still, none. One finding tells of each crowd, because a series of one and the same part would look like that too.
    """
    findings: list[Finding] = []
    groups = equal(digests)
    copies = {name: min(group) for group in groups for name in group}
    for name, first in sorted(copies.items()):
        if name != first:
            findings.append(Finding(Code.EXACT_DUPLICATE, Action.KEPT, name, None, f"the same bytes as {first}"))
    if settings.near_duplicates:
        single = {name: value for name, value in fingerprints.items() if copies.get(name, name) == name}
        bound, crowds = _copies(single, settings.near_distance, settings.near_crowd)
        for group in bound:
            first, *others = sorted(group)
            findings += [Finding(Code.NEAR_DUPLICATE, Action.KEPT, name, None, f"nearly the same as {first}") for name in others]
        for crowd in crowds:
            many = f"one of {len(crowd)} that look nearly the same, more than near_crowd = {settings.near_crowd}"
            detail = f"{many}: only closer ones are bound; where they show the same part, give a group pattern"
            findings.append(Finding(Code.CROWD, Action.KEPT, min(crowd), None, detail))
        groups = bind([*groups, *bound])
    return groups, findings


def _copies(fingerprints: Mapping[str, bytes], distance: int, crowd: int) -> tuple[list[frozenset[str]], list[frozenset[str]]]:
    """Groups of near duplicates that are no crowd, and the crowds at the distance asked for."""
    groups = near(fingerprints, distance)
    bound = [group for group in groups if len(group) <= crowd]
    crowds = [group for group in groups if len(group) > crowd]
    for group in crowds:
        if distance > 0:
            bound += _copies({name: fingerprints[name] for name in group}, distance - 1, crowd)[0]
    return bound, crowds


def near(fingerprints: Mapping[str, bytes], distance: int) -> list[frozenset[str]]:
    """The groups of two or more pictures that are linked by pairs of which no cell differs by more than `distance` steps.

    Sorted by their smallest member. Equal fingerprints are looked at once, and nothing is stored for a pair, so that 100,000
    pictures that are all alike cost no more than 100,000 that are not.
    """
    alike: defaultdict[bytes, list[str]] = defaultdict(list)
    for name, value in fingerprints.items():
        alike[value].append(name)
    values = sorted(alike)
    groups = [[name for number in numbers for name in alike[values[number]]] for numbers in _linked(values, distance)]
    return sorted((frozenset(group) for group in groups if len(group) > 1), key=min)


def _linked(values: Sequence[bytes], distance: int) -> Iterator[list[int]]:
    """The connected groups of distinct fingerprints, as numbers in `values`; a group may be a single one.

    Each fingerprint looks once for neighbours among those that no group has taken yet. Sorting by the cell that varies most
    leaves a window to look at; the next cells that vary much thin it out, and the few that are left are compared whole.
    """
    if not values:
        return
    table = np.frombuffer(b"".join(values), dtype=np.uint8).reshape(len(values), -1) ^ np.uint8(128)  # -127..127 as 1..255
    varied = np.argsort(-table.var(axis=0, dtype=np.float32), kind="stable")
    order = np.argsort(table[:, varied[0]], kind="stable")
    table = np.ascontiguousarray(table[order][:, varied])
    probes = np.ascontiguousarray(table[:, :_PROBES].T)
    least = np.maximum(table, distance) - np.uint8(distance)
    reach = np.minimum(table, 255 - distance) + np.uint8(distance) - least
    start = np.searchsorted(probes[0], least[:, 0], side="left")
    stop = np.searchsorted(probes[0], least[:, 0] + reach[:, 0], side="right")
    free = np.ones(len(values), dtype=np.bool_)
    for seed in range(len(values)):
        if not free[seed]:
            continue
        free[seed] = False
        group = [seed]
        for row in group:  # it grows as neighbours are found
            window = slice(start[row], stop[row])
            mask = free[window].copy()
            for probe in range(1, _PROBES):
                # least <= x <= most in one comparison: below least the unsigned difference wraps round to a large number
                mask &= probes[probe, window] - least[row, probe] <= reach[row, probe]
                if np.count_nonzero(mask) * _FEW < mask.size:
                    break
            found = np.flatnonzero(mask) + start[row]
            for first, last in pairwise(_STAGES):
                if found.size:
                    part = slice(first, last)
                    found = found[(table[found, part] - least[row, part] <= reach[row, part]).all(axis=1)]
            if found.size:
                free[found] = False
                group.extend(found.tolist())
        yield order[group].tolist()


def equal(values: Mapping[str, Hashable]) -> list[frozenset[str]]:
    """The groups of two or more names with equal values, such as files with equal digests; sorted by their smallest member.

    >>> equal({"a.png": "90f2", "b.png": "17aa", "copy of a.png": "90f2"}) == [frozenset({"a.png", "copy of a.png"})]
    True
    """
    names: defaultdict[Hashable, set[str]] = defaultdict(set)
    for name, value in values.items():
        names[value].add(name)
    return sorted((frozenset(group) for group in names.values() if len(group) > 1), key=min)


def bind(sets: Iterable[Iterable[str]]) -> list[frozenset[str]]:
    """The connected groups of sets that share members, sorted by their smallest member.

    >>> [sorted(group) for group in bind([["a", "b"], ["c"], ["d", "b"]])]
    [['a', 'b', 'd'], ['c']]
    """
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while (up := parent[name]) != name:
            parent[name] = name = parent[up]
        return name

    for members in sets:
        first: str | None = None
        for name in members:
            parent.setdefault(name, name)
            if first is None:
                first = root(name)
            else:
                parent[root(name)] = first
    groups: defaultdict[str, set[str]] = defaultdict(set)
    for name in parent:
        groups[root(name)].add(name)
    return sorted(map(frozenset, groups.values()), key=min)


def _sum(values: NDArray[Any]) -> NDArray[Any]:
    """The sum over the first axis, in the narrowest numbers that hold it: in 16 bits it takes a fifth of the time of 64."""
    step = {1: 257, 2: 65_537}.get(values.itemsize)  # so many values of so many bytes, and no more, fit into twice the bytes
    if step is None:
        whole: NDArray[np.uint64] = values.sum(axis=0, dtype=np.uint64)
        return whole
    wide = np.uint16 if values.itemsize == 1 else np.uint32
    total = np.zeros(values.shape[1:], np.uint64)
    for begin in range(0, len(values), step):
        total += values[begin : begin + step].sum(axis=0, dtype=wide)
    return total


def _area(values: NDArray[Any], count: int) -> NDArray[np.uint64]:
    """The sums over `count` equal parts of the first axis, times `count`; a row on a border counts in each part by its share."""
    length = values.shape[0]
    sums = np.empty((count, *values.shape[1:]), dtype=np.uint64)
    for part in range(count):
        start, stop = part * length, (part + 1) * length  # in rows times count
        first, last = -(-start // count), stop // count  # the whole rows
        sums[part] = _sum(values[first:last])
        sums[part] *= np.uint64(count)
        if first * count > start:
            sums[part] += values[first - 1].astype(np.uint64) * np.uint64(first * count - start)
        if stop > last * count:
            sums[part] += values[last].astype(np.uint64) * np.uint64(stop - last * count)
    return sums
