"""What an evaluation found, as values: figures of each category, their means, what the run's threshold finds of what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from threecad.metrics.figures import mean

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from threecad.metrics import Bounded, Curve

UPSTREAM = "pro_upstream"
"""The figure that is there where somebody asked for it only."""

Kind = Literal["best", "worst", "false alarm"]
Resolution = Literal["native", "model"]


@dataclass(frozen=True, slots=True)
class Share:
    """`count` of `total`."""

    count: int
    total: int

    @property
    def value(self) -> float | None:
        """
        >>> Share(1, 4).value, Share(0, 0).value
        (0.25, None)
        """
        return self.count / self.total if self.total else None

    def __add__(self, other: Share) -> Share:
        return Share(self.count + other.count, self.total + other.total)


@dataclass(frozen=True, slots=True)
class Judged:
    """One test image. `found` says whether its score reaches the run's threshold; `regions` and `found_regions` are numbers of
    its mask's regions in each size class, the smallest class first, and how many of them a pixel of the map reaches it in.
    `pixels` count in the figures, at whichever resolution, and `anomalous_pixels` of them are marked.

    `type` is "" for a good image; one that shows several types has them joined by `+`. `hit` says whether the map's highest
    pixel lies in the mask; None where no pixel is marked. `source` is the photograph that the image was cut from, else its id.
    """

    path: str
    category: str
    type: str
    defective: bool
    score: float
    found: bool
    hit: bool | None
    regions: tuple[int, ...]
    found_regions: tuple[int, ...]
    source: str
    pixels: int = 0
    anomalous_pixels: int = 0


@dataclass(frozen=True, slots=True)
class AtThreshold:
    """What the run's threshold does: of the defective images and of their masks' regions how many are found, of the good images
    how many are taken for defective (`expected` is the share that the threshold was chosen for). `rests_on` are the good images
    that it was chosen from, which trained the model too where `trained` says so.

    The same for whole photographs by their own threshold, where the images are cut out of some; else both totals are 0.
    """

    threshold: float
    expected: float
    rests_on: int
    trained: bool
    found: Share
    false_alarms: Share
    regions: Share
    photographs_threshold: float
    photographs_rest_on: int
    photographs_found: Share
    photographs_false_alarms: Share


@dataclass(frozen=True, slots=True)
class TypeRecall:
    """Of the images of one type how many are found, and of their regions."""

    type: str
    images: Share
    regions: Share


@dataclass(frozen=True, slots=True)
class SizeRecall:
    """Of the regions of one size class (see `threecad.curation.sizes`, in pixels of the image) how many are found."""

    size_class: str
    regions: Share


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """To draw; None where there are not both positives and negatives. `image_` ones are of images, the others of pixels."""

    image_roc: Curve | None
    image_pr: Curve | None
    roc: Curve | None
    pr: Curve | None
    pro: Curve | None


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A test image to look at, shrunk: `image` (h, w, 3) uint8, `mask` (h, w) bool or None where nothing is known, `map` (h, w)
    float32."""

    kind: Kind
    type: str
    score: float
    found: bool
    image: NDArray[np.uint8]
    mask: NDArray[np.bool_] | None
    map: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class CategoryResult:
    """One category. `figures` has every name of `FIGURES`; None where it is undefined, and `why` says in sentences what lacks.

    `unmarked` of the `defective` images have a mask that marks nothing, or none: they count as images, their pixels not at all.
    Thresholds of the best F1 are the lowest score that counts as anomalous.
    """

    category: str
    model: str
    figures: Mapping[str, Bounded | None]
    image_f1_threshold: float | None
    pixel_f1_threshold: float | None
    images: int
    defective: int
    unmarked: int
    regions: int
    pixels: int
    anomalous_pixels: int
    why: tuple[str, ...]
    at: AtThreshold
    types: tuple[TypeRecall, ...]
    sizes: tuple[SizeRecall, ...]
    curves: Curves
    cases: tuple[Case, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """A run measured on a data set. `resolution` is that of the masks: their own (`native`), or the model's squares of `side`
    pixels. `images` are all test images in the data set's order, `notes` what a reader should know besides."""

    run: str
    dataset: str
    resolution: Resolution
    side: int
    pro_limit: float
    categories: tuple[CategoryResult, ...]
    images: tuple[Judged, ...]
    notes: tuple[str, ...]

    def mean(self, figure: str) -> tuple[float | None, int]:
        """A figure's mean over the categories that have one, each counting the same, as in the paper; and how many those are."""
        return mean(each.figures[figure] for each in self.categories)

    @property
    def has_upstream(self) -> bool:
        """Whether anybody asked for `pro_upstream`, which is not comparable with the paper's definition."""
        return any(each.figures[UPSTREAM] is not None for each in self.categories)


def recalls(images: Sequence[Judged], classes: Sequence[str]) -> tuple[tuple[TypeRecall, ...], tuple[SizeRecall, ...]]:
    """By type (sorted) and by size class (all of `classes`)."""
    by_type: dict[str, tuple[Share, Share]] = {}
    none = Share(0, 0)
    for each in images:
        if each.defective:
            found, regions = by_type.get(each.type, (none, none))
            own = Share(sum(each.found_regions), sum(each.regions))
            by_type[each.type] = (found + Share(int(each.found), 1), regions + own)
    types = tuple(TypeRecall(name, *shares) for name, shares in sorted(by_type.items()))
    return types, tuple(
        SizeRecall(name, Share(sum(each.found_regions[at] for each in images), sum(each.regions[at] for each in images)))
        for at, name in enumerate(classes)
    )
