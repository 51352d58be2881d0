"""What there is to draw on one image, in which order it is numbered, and what every colour means."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from threecad.domain import Action, Finding, Shape, State, Window

Colour = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""
Picture = NDArray[np.uint8]
"""(height, width, 3) RGB."""

PALETTE: tuple[Colour, ...] = (
    *((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66)),
    *((0, 114, 178), (213, 94, 0), (204, 121, 167)),
)
"""Of Okabe and Ito, which people with any common colour blindness tell apart; from the eighth type on they come again."""
IGNORED: Colour = (190, 190, 190)
AS_DRAWN: Colour = (255, 40, 150)
CROSSING: Colour = (255, 225, 0)
STATES: dict[State, Colour] = {
    State.GOOD: (0, 158, 115),
    State.DEFECT: (213, 94, 0),
    State.AMBIGUOUS: (240, 228, 66),
    State.POISONED: (204, 121, 167),
}
ACTIONS: dict[Action, Colour] = {
    Action.QUEUED: (200, 20, 100),
    Action.DROPPED: (140, 70, 0),
    Action.REPAIRED: (0, 90, 165),
    Action.KEPT: (85, 85, 90),
}
"""What waits for a person first, as in the summary; white letters stand on each."""
GROUND: Colour = (24, 26, 30)
SHARE = 0.38  # of the type's colour in a pixel of its mask
MOST_KEYS = 48  # entries of the legend


@dataclass(frozen=True, slots=True)
class Key:
    """One entry of the legend: what a colour and a style mean.

    `name` is the type's own, `text` what the strip says for it where that differs, as for letters the font does not have.
    """

    name: str
    colour: Colour
    style: Literal["type", "ignore", "queued", "dropped", "crossing", "window"]
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """All there is to draw. Geometries, shapes, windows and places are in the image's frame.

    `inks` (height, width of the frame's window) tells for each pixel the type whose mask it is in, from 1 on, 0 for none;
    `names` are these types in order, None the ink of areas to ignore. `outlines` are pairs of an ink and the geometries that
    have it; where there are none, the borders between inks are outlined. `drawn` are shapes as drawn, with the action that
    keeps them out of the masks.
    """

    pixels: NDArray[Any]
    title: str
    facts: Sequence[str] = ()
    names: Sequence[str | None] = ()
    inks: NDArray[Any] | None = None
    outlines: Sequence[tuple[int, Sequence[BaseGeometry]]] | None = None
    drawn: Sequence[tuple[Shape, Action]] = ()
    windows: Sequence[tuple[Window, State]] = ()
    findings: Sequence[Finding] = ()
    state: State | None = None


def numbered(findings: Iterable[Finding]) -> list[tuple[int | None, Finding]]:
    """Findings in the order in which pictures number them, from 1 on: what waits for a person first; None where there is no
    place to put the number.

    >>> from threecad.domain import Code
    >>> lost = Finding(Code.IMAGE_BY_NAME, Action.KEPT, "a.png", None, "")
    >>> [number for number, _ in numbered([lost, Finding(Code.NO_AREA, Action.QUEUED, "a.png", 0, "", (1.0, 2.0))])]
    [1, None]
    """
    rank = {action: place for place, action in enumerate(ACTIONS)}
    ordered = sorted(
        findings,
        key=lambda each: (rank[each.action], each.code, each.place is None, -1 if each.shape is None else each.shape),
    )
    numbers = count(1)
    return [(None if each.place is None else next(numbers), each) for each in ordered]


def colours_of(names: Sequence[str | None]) -> Picture:
    """The colour of each ink as (inks + 1, 3); ink 0 has none."""
    colours = np.zeros((len(names) + 1, 3), np.uint8)
    for ink, name in enumerate(names, 1):
        colours[ink] = IGNORED if name is None else PALETTE[(ink - 1) % len(PALETTE)]
    return colours
