"""What a scoring found: the figures of each category, and their mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from threecad.metrics import Bounded, Scores
from threecad.metrics.figures import mean


@dataclass(frozen=True, slots=True)
class Row:
    """The figures of one category, and how its maps came to the size of its masks.

    `resized` images had a map of another size than their mask, and `unmasked` are defective without a mask, or with an empty
    one: they count as images, and their pixels not at all.
    """

    category: str
    scores: Scores
    resized: int
    unmasked: int


@dataclass(frozen=True, slots=True)
class Scored:
    """The figures of a folder of maps. `unmeasured` says of categories without any figure why; `image_scores` is whether images
    were scored by a list rather than by their maps' highest score.

    Left aside were `left_over` maps and `left_over_scores` of the list, which belong to none of the images that were scored, and
    `dropped` files of the data set with which something is wrong.
    """

    maps: str
    masks: str
    layout: str
    split: str | None
    resize: str
    pro_limit: float
    image_scores: bool
    rows: tuple[Row, ...]
    unmeasured: Mapping[str, str]
    left_over: int
    left_over_scores: int
    dropped: int

    def mean(self, figure: str) -> tuple[float | None, int]:
        """The mean of a figure over the categories that have it, None where none has, and how many have it."""
        return mean(value_of(row.scores, figure) for row in self.rows)


def value_of(scores: Scores, figure: str) -> float | None:
    """A figure as one number."""
    found: float | Bounded | None = getattr(scores, figure)
    return None if found is None else float(found)


def bounds_of(scores: Scores, figure: str) -> tuple[float, float] | None:
    """The least and the most that a figure can be; None where it is exact, or there is none."""
    found: float | Bounded | None = getattr(scores, figure)
    if found is None or isinstance(found, float) or found.lower == found.upper:
        return None
    return found.lower, found.upper


def total(rows: Iterable[Row], count: Callable[[Row], int]) -> int:
    return sum(map(count, rows))
