"""What an image shows: its state and its types, by its layout and its mask together."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from threecad.curation.statistics.records import ALL
from threecad.domain import Code, Finding, State

if TYPE_CHECKING:
    from threecad.domain import Entry, Measure

_UNREAD = frozenset(
    {
        Code.MASK_MISSING,
        Code.MASK_UNREADABLE,
        Code.MASK_OTHER_SIZE,
        Code.LISTED_MISSING,
        Code.FILE_UNREADABLE,
        Code.PATH_OUTSIDE,
        Code.TOO_LARGE,
    }
)  # then a mask that marks nothing does not say that the image is good


def called(category: str, categories: Collection[str]) -> str:
    """The name of one of the categories in tables, where `All` is the sum: no two of them have the same.

    >>> called("All", {"All"}), called("All", {"All", "All (category)"}), called("bolt", {"All", "bolt"})
    ('All (category)', 'All (category) (category)', 'bolt')
    """
    name = category
    while name == ALL or (category == ALL and name in categories):
        name += " (category)"
    return name


def state_of(entry: Entry, measure: Measure | None, findings: Iterable[Finding] = ()) -> State | None:
    """What the layout says; where it leaves that to the mask, what the mask says.

    None where there is no mask, or one that cannot be used: an image without annotation is not good by that alone.
    """
    if entry.state is not None or measure is None or not entry.masks:
        return entry.state
    if measure.areas:
        return State.DEFECT
    codes = {code for code, _ in measure.flaws} | {finding.code for finding in findings}
    return None if codes & _UNREAD else State.GOOD


def kinds_of(entry: Entry, measure: Measure | None) -> frozenset[str]:
    """The types that a defective image shows: those that own a pixel, and those the layout names where pixels have no type.

    Where no pixel is marked, those that the layout names; "" stands for a defect of no type that anybody told.
    """
    owning = {name for name, _ in measure.areas} if measure is not None else set()
    if not owning or "" in owning:
        owning = (owning - {""}) | set(entry.labels)
    return frozenset(owning or {""})
