"""What comparing annotators gives: numbers for each annotator, for each two of them, and every defect as a line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from threecad.curation.agreement import Comparison, Row

REFERENCE, ANNOTATOR, BOTH = "reference", "annotator", "both"
"""Which side has an image that was not compared."""


@dataclass(frozen=True, slots=True)
class Bars:
    """What every annotator has to reach; None asks for nothing. A number that is not defined does not reach a bar."""

    min_f1: float | None = None
    min_mean_iou: float | None = None
    min_kappa: float | None = None


@dataclass(frozen=True, slots=True)
class Coefficient:
    """Agreement beyond chance over so many images; where `value` is None, `reason` says why."""

    value: float | None
    images: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Scores:
    """One annotator against the reference. `confusion` counts matched defects by (type of the reference, type drawn); `calls`
    counts images by (called by the reference, called by the annotator), each good or defective."""

    name: str
    images: int
    total: Row
    types: tuple[Row, ...]
    sizes: tuple[Row, ...]
    confusion: Mapping[tuple[str, str], int]
    calls: Mapping[tuple[str, str], int]
    kappa: Coefficient
    excused: int


@dataclass(frozen=True, slots=True)
class Between:
    """Two annotators beside each other, on the images both were compared on; unusable shapes are not looked at."""

    one: str
    other: str
    images: int
    pairs: int
    mean_iou: float | None
    f1: float | None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An image that was not compared: `side` has it (reference, annotator or both); its path is as that side has it."""

    annotator: str
    image: str
    side: str
    reason: str


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A number below its bar; `value` is None where it is not defined, and `reason` says why."""

    annotator: str
    measure: str
    value: float | None
    bar: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One defect of one image as one annotator has it. `image` is the reference's, `file` the annotator's own."""

    annotator: str
    image: str
    file: str
    comparison: Comparison


@dataclass(frozen=True, slots=True)
class Agreement:
    """What `agree` found. `images` are those that at least one annotator was compared on, `unusable` the shapes of the
    reference on them that nobody can use; `alpha` tells Krippendorff's alpha among the annotators, of `calls` (good or
    defective) and of `types` (which types an image shows), and is empty for a single annotator."""

    reference: str
    min_iou: float
    bars: Bars
    images: int
    unusable: int
    annotators: tuple[Scores, ...]
    between: tuple[Between, ...]
    alpha: Mapping[str, Coefficient]
    left_out: tuple[LeftOut, ...]
    below: tuple[Shortfall, ...]
    lines: tuple[Line, ...] = field(repr=False)
