"""Which images test: those of split test, or where there is no split those that training with the run's settings leaves out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import copy
from typing import TYPE_CHECKING

from threecad.domain import Action, Split
from threecad.errors import ConfigError, LayoutError
from threecad.formats.dataset import Dataset
from threecad.formats.layouts.files import counted, listed, shown
from threecad.learning.plan import plan

if TYPE_CHECKING:
    from pathlib import Path

    from threecad.formats.folders import Row
    from threecad.formats.layouts import Request
    from threecad.learning.runs import Run


def tests(
    run: Run, root: Path, categories: Sequence[str], request: Request | None, note: Callable[[str], None]
) -> dict[str, Dataset]:
    """The test images of each category, sorted by name, all in the data set's order and each at least one image.

    Without `categories`, those that the run and the data set have in common; what only one of them has is told. ConfigError
    where there is none, or a named one is not the run's; LayoutError where the data set lacks a named one, or nothing tests.
    """
    for category in categories:
        run.model(category)
    data = Dataset(root, request=request)
    present = {row.category for row in data.rows}
    for category in categories:
        if category not in present:
            raise LayoutError(f"{root}: no category {category!r}; found {_names(present)}")
    wanted = set(categories) or present & set(run.models)
    if not wanted:
        raise ConfigError(
            f"{root}: found the categories {_names(present)}; expected one that {run.root} is trained on: {_names(run.models)}"
        )
    if not categories:
        for lacking, of in ((set(run.models) - present, "the data set lacks it"), (present - set(run.models), "no model of it")):
            for name in sorted(lacking):
                note(f"{shown(name)}: not evaluated, {of}.")
    found: dict[str, Dataset] = {}
    for category in sorted(wanted):
        chosen = _known(_chosen(run, data, category, request, note), category, note)
        if chosen:
            found[category] = _of(data, chosen)
        else:
            note(f"{shown(category)}: not evaluated, no image tests.")
    dropped = sum(fault.action is Action.DROPPED and fault.shape is None for fault in data.faults)
    if dropped:
        note(f"{counted(dropped, 'file')} of the data set left out; threecad stats tells what is wrong there.")
    if not found:
        raise LayoutError(f"{root}: no image of split test in {_names(wanted)}; expected images to evaluate on")
    return found


def _chosen(run: Run, data: Dataset, category: str, request: Request | None, note: Callable[[str], None]) -> Sequence[Row]:
    """Those of split test; where there is no split, or everything is of split train, those that training leaves out."""
    rows = [row for row in data.rows if row.category == category]
    if len({row.split for row in rows}) > 1 or rows[0].split not in (None, Split.TRAIN):
        return [row for row in rows if row.split is Split.TEST]
    settings, seed = run.recipe.data.model_copy(update={"joint": False}), run.recipe.data.seed
    try:
        (found,), _ = plan(data.root, settings, categories=[category], seed=seed, request=request)
    except LayoutError:  # there is the category, so what lacks is a good image to train on, which nobody needs here
        note(f"{shown(category)}: no split is given and no image is good, so all test.")
        return rows
    ids = {row.id for row in found.test.rows}
    if ids:
        note(
            f"{shown(category)}: no split is given; {counted(len(ids), 'image')} of {len(rows)} test, those that training with "
            f"seed {seed} leaves out."
        )
    return [row for row in rows if row.id in ids]


def _known(rows: Sequence[Row], category: str, note: Callable[[str], None]) -> list[Row]:
    """Without the images of which nobody says whether they are good: neither a folder nor a mask."""
    known = [row for row in rows if row.defective is not None or row.mask]
    if len(known) < len(rows):
        lost = counted(len(rows) - len(known), "test image")
        note(f"{shown(category)}: {lost} left out, for nothing says whether they are good: neither a folder's name nor a mask.")
    return known


def _of(data: Dataset, rows: Sequence[Row]) -> Dataset:
    part = copy(data)
    part.rows = tuple(rows)
    return part


def _names(names: Iterable[str]) -> str:
    return listed(sorted(names)) or "none"
