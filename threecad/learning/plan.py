"""Which images train, validate and test.

Only good images train. Whoever tests or validates is chosen by a hash of names and a seed, so that another order of the files,
or another category, changes nothing; images of one source stay together.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from threecad.domain import Split
from threecad.errors import LayoutError
from threecad.formats.dataset import Dataset
from threecad.formats.layouts.files import counted, shown
from threecad.pipeline.convert import cores
from threecad.pipeline.threads import Opened, work

if TYPE_CHECKING:
    from threecad.formats.folders import Row
    from threecad.formats.layouts import Request
    from threecad.learning.config import Data

    _Known = Sequence[tuple[Row, bool | None]]
    """The rows of a category, and whether each is good (None where nobody knows, or asks)."""

JOINT = "joint"
"""Name of the plan over all categories."""
FEWEST = 5
"""Training sources of a category of which some are held out: of fewer, each is worth more to the model."""
_MOST_READERS = 8
"""Images that are decoded at once only to see their masks: each may be large."""
_VOUCHING = "neither a mask nor a folder called good, ok or normal"
"""What might have said that an image is good."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one model is made of: `name` is the category's, or `joint`. The data sets are parts of one, without transform.

    `train` holds good images only, at least one; `validation` good ones, perhaps none; `test` whatever the data set tests with.
    """

    name: str
    categories: tuple[str, ...]
    train: Dataset
    validation: Dataset
    test: Dataset


@dataclass(frozen=True, slots=True)
class _Parts:
    """The rows of one category, and what the user should know about them."""

    train: list[Row]
    validation: list[Row]
    test: list[Row]
    notes: list[str]


def plan(
    root: Path, settings: Data, *, categories: Sequence[str] = (), seed: int = 0, request: Request | None = None
) -> tuple[list[Plan], list[str]]:
    """A plan for each of the categories (none named: all), or with `settings.joint` one for all, sorted by name; and what was
    decided that nobody asked for, in sentences.

    - Good images of split train train; defective ones are left out. Where nothing else tells which is which the mask does, and
      an image without mask is unknown and left out.
    - The good images of a split validation validate. Without any, `settings.validation` of the training images are held out,
      whole sources, at least one where five or more train.
    - Images of split test test. Of a category without any split, `settings.test_good` of its sources that are good test, and
      all others. Where everything is of split train, defective images too, that is no split either.

    LayoutError where there is no such category, one has no good image to train on, or there is no data set at all; ReadError
    where a mask that must decide cannot be read.

    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from threecad.formats.png import encode_png
    >>> from threecad.learning.config import Data
    >>> with TemporaryDirectory() as folder:
    ...     for name in ("train/good/0.png", "train/good/1.png", "test/good/2.png", "test/dent/3.png"):
    ...         path = Path(folder, "nut", name)
    ...         path.parent.mkdir(parents=True, exist_ok=True)
    ...         _ = path.write_bytes(encode_png(np.zeros((8, 8), np.uint8)))
    ...     (nut,), notes = plan(Path(folder), Data())
    >>> nut.name, len(nut.train), len(nut.validation), len(nut.test)
    ('nut', 2, 0, 2)
    >>> notes
    ['nut: no image is held out (fewer than 5 sources train), so the threshold will come from the training images.']
    """
    data = Dataset(root, category=sorted(set(categories)) or None, request=request)
    if not data.rows:
        raise LayoutError(f"{root}: found no image of any split; expected images to train on")
    of_category: defaultdict[str, list[tuple[Row, bool | None]]] = defaultdict(list)
    for row, good in zip(data.rows, _known(data), strict=True):
        of_category[row.category].append((row, good))
    parts = {category: _parts(root, category, rows, settings, seed) for category, rows in sorted(of_category.items())}
    if settings.joint:
        plans = [_plan(data, JOINT, list(parts), list(parts.values()))]
    else:
        plans = [_plan(data, category, [category], [part]) for category, part in parts.items()]
    notes = [note for part in parts.values() for note in part.notes]
    return plans, notes + [note for each in plans for note in _about(each, settings)]


def _plan(data: Dataset, name: str, categories: Sequence[str], parts: Sequence[_Parts]) -> Plan:
    return Plan(
        name,
        tuple(categories),
        _of(data, (row for part in parts for row in part.train)),
        _of(data, (row for part in parts for row in part.validation)),
        _of(data, (row for part in parts for row in part.test)),
    )


def _of(data: Dataset, rows: Iterable[Row]) -> Dataset:
    part = copy(data)
    part.rows = tuple(rows)
    return part


def _about(plan: Plan, settings: Data) -> list[str]:
    """What a plan as a whole lacks."""
    notes = []
    name = shown(plan.name)
    if len(plan.train) == 1:
        notes.append(f"{name}: a single image trains.")
    if not plan.validation.rows:
        few = f"fewer than {FEWEST} sources train" if settings.validation else "data.validation is 0"
        notes.append(f"{name}: no image is held out ({few}), so the threshold will come from the training images.")
    if not plan.test.rows:
        notes.append(f"{name}: no image tests, so nothing can be measured.")
    return notes


def _parts(root: Path, category: str, rows: _Known, settings: Data, seed: int) -> _Parts:
    """The parts of one category."""
    if all(row.split is Split.TRAIN for row, _ in rows) and any(good is False for _, good in rows):
        rows = [(row._replace(split=None), good) for row, good in rows]  # a list that calls all of it training, defects and all
    if all(row.split is None for row, _ in rows):
        train, test, note = _apart(category, rows, settings, seed)
        validation: list[Row] = []
    else:
        train = [row for row, good in rows if row.split is Split.TRAIN and good]
        validation = [row for row, good in rows if row.split is Split.VALIDATION and good]
        test = [row for row, _ in rows if row.split is Split.TEST]
        note = ""
    if not train:
        raise LayoutError(
            f"{root}: category {category!r}: found {_without_good(rows)}; expected at least one good image to train on"
        )
    if not validation:
        held = _drawn(train, settings.validation, f"{seed}:validation", least=FEWEST)
        validation = [row for row in train if row.entry.source in held]
        train = [row for row in train if row.entry.source not in held]
    notes = [each for each in (note, *_left_out(category, rows), *_leaks(category, train, validation, test)) if each]
    return _Parts(train, validation, test, notes)


def _apart(category: str, rows: _Known, settings: Data, seed: int) -> tuple[list[Row], list[Row], str]:
    """Who trains and who tests where the data set does not say: a source that shows any defect tests with all its images."""
    known = [row for row, good in rows if good is not None]
    flawed = {row.entry.source for row, good in rows if good is False}
    unflawed = [row for row in known if row.entry.source not in flawed]
    drawn = _drawn(unflawed, settings.test_good, f"{seed}:test", least=2)
    train = [row for row in unflawed if row.entry.source not in drawn]
    test = [row for row in known if row.entry.source in drawn or row.entry.source in flawed]
    note = (
        f"{shown(category)}: no split is given, so {len(unflawed) - len(train)} of {counted(len(unflawed), 'good image')} and "
        f"the {counted(len(known) - len(unflawed), 'other')} test, chosen by seed {seed}."
    )
    return train, test, note


def _left_out(category: str, rows: _Known) -> Iterator[str]:
    """What of a category is in none of its parts."""
    name = shown(category)
    for split, does in ((Split.TRAIN, "train"), (Split.VALIDATION, "validate")):
        flawed = sum(row.split is split and good is False for row, good in rows)
        if flawed:
            yield f"{name}: {counted(flawed, 'defective image')} of split {split} left out; only good images {does}."
    splits = {row.split for row, _ in rows}
    nowhere = sum(row.split is None for row, _ in rows)
    if nowhere and len(splits) > 1:
        yield f"{name}: {counted(nowhere, 'image')} of no split left out, since others have one."
    unknown = sum(
        good is None and row.split is not Split.TEST and (row.split is not None or len(splits) == 1) for row, good in rows
    )
    if unknown:
        yield f"{name}: {counted(unknown, 'image')} left out, for nothing says whether they are good: {_VOUCHING}."


def _leaks(category: str, train: Sequence[Row], validation: Sequence[Row], test: Sequence[Row]) -> list[str]:
    trained = {row.entry.source for row in train}
    notes = []
    for rows, does in ((validation, "validate"), (test, "test")):
        shared = trained & {row.entry.source for row in rows}
        if shared:
            first = shown(min(shared))
            notes.append(f"{shown(category)}: {counted(len(shared), 'source')}, such as {first}, both train and {does}: a leak.")
    return notes


def _without_good(rows: _Known) -> str:
    """What a category has instead of good training images."""
    asked = [good for row, good in rows if row.split is Split.TRAIN]
    of = " of split train"
    if not asked:
        if any(row.split is not None for row, _ in rows):
            return f"{counted(len(rows), 'image')}, none{of}"
        asked, of = [good for _, good in rows], ""
    why = f" known to be good ({_VOUCHING})" if None in asked else " good"
    return f"{counted(len(asked), 'image')}{of}, none of them{why}"


def _drawn(rows: Sequence[Row], share: float, seed: str, least: int) -> set[str]:
    """The sources that come first by a hash of the seed and their names, as many as hold closest to `share` of the rows.

    At least one and never all; none where `share` is 0 or there are fewer than `least` sources.
    """
    counts = Counter(row.entry.source for row in rows)
    if not share or len(counts) < least:
        return set()
    ordered = sorted(counts, key=lambda source: (_hash(f"{seed}:{source}"), source))
    sums = [0, *accumulate(counts[source] for source in ordered)]
    count = min(range(1, len(ordered)), key=lambda count: (abs(sums[count] - share * len(rows)), count))
    return set(ordered[:count])


def _hash(text: str) -> bytes:
    # A list may hold names that no UTF-8 can.
    return hashlib.sha256(text.encode(errors="backslashreplace")).digest()


def _known(data: Dataset) -> list[bool | None]:
    """Whether each image is good; None for one of split test, where nobody asks, and for one of which nothing tells.

    Masks are read where they must decide. An image with neither a word nor a mask is unknown, not good.
    """
    known = [None if row.split is Split.TEST or row.defective is None else not row.defective for row in data.rows]

    def look(index: int) -> Opened[tuple[int, bool]]:
        good = data[index]["gt_label"] == 0
        return Opened([], lambda: (index, good))

    asked = (index for index, row in enumerate(data.rows) if row.split is not Split.TEST and row.defective is None and row.mask)
    for index, good in work(asked, look, workers=min(cores(), _MOST_READERS)):
        known[index] = good
    return known
