"""What a conversion tells of its sources, and what is known of a data set in the end: plain values, a class a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from threecad.domain import Finding, Split

if TYPE_CHECKING:
    from threecad.domain import Size

ALL = "All"
"""The last row of every table."""
STEPS = ("cut", "ambiguous", "poisoned", "clean, unused", *(split.value for split in Split))
"""What becomes of tiles, in this order: see `Balance`."""


@dataclass(frozen=True, slots=True)
class Span:
    """The least and the greatest of some whole numbers."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Quantiles:
    """How a quantity is spread: `count` values, their mean, and the values below which 0, 5, 25, 50, 75, 95 and 100 % lie."""

    count: int
    mean: float
    q0: float
    q5: float
    q25: float
    q50: float
    q75: float
    q95: float
    q100: float


@dataclass(frozen=True, slots=True)
class Histogram:
    """`edges` are one more than `counts`; a value on an edge belongs to the bin that begins there, the last edge to the last bin.
    Values outside are counted in the first or the last bin."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Distribution:
    """`quantiles` is None where there is no value."""

    quantiles: Quantiles | None
    histogram: Histogram


@dataclass(frozen=True, slots=True)
class Overview:
    """A row of Table 1: `test` is `good` and `defect` together, validation stands apart; `regions` (NE) and `kinds` (TE) are
    counted in each defective test image whose mask marks a pixel. A span is None where nothing was counted.

    Images that no split names count as test images; there are `unsplit` of them. `unknown` are those of which nothing tells
    whether they are good: they are in no column of the test.
    """

    category: str
    train: int
    validation: int
    test: int
    good: int
    defect: int
    types: int
    height: Span | None
    width: Span | None
    regions: Span | None
    kinds: Span | None
    unsplit: int = 0
    unknown: int = 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """A row of Table 2. `multiple_instances` and `multiple_types` are the defective images with two or more regions, or types."""

    name: str
    normal: int
    abnormal: int
    source: str | None
    multiple_instances: int
    multiple_types: int


@dataclass(frozen=True, slots=True)
class TypeRow:
    """One defect type of a category: images that show it, regions and pixels in the images' frame, regions by size class
    (`sizes.NAMES` in order), and the defects (uids) and photographs in the source's frame, None where that is unknown."""

    category: str
    type: str
    images: int
    regions: int
    pixels: int
    sizes: tuple[int, ...]
    defects: int | None
    photographs: int | None


@dataclass(frozen=True, slots=True)
class Pair:
    """Two types of a category that occur in the same image, so many times."""

    category: str
    first: str
    second: str
    images: int


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Where defects lie. `cells` is HEAT × HEAT, row by row: the mean share of the cell that is defective, over `images`
    defective images, or photographs where `frame` is `source`."""

    category: str
    frame: str
    images: int
    cells: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Survival:
    """How many regions, and defective images, show no defect any more once the mask is shrunk as `shrinking` says."""

    category: str
    shrinking: str
    regions: int
    lost_regions: int
    images: int
    lost_images: int


@dataclass(frozen=True, slots=True)
class Looks:
    """How images of a category and split are spread in brightness, contrast and sharpness."""

    category: str
    split: str
    brightness: Quantiles
    contrast: Quantiles
    sharpness: Quantiles


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A category in the source's frame, where a defect that two tiles show is one. `tiles` are those that show a defect, `shown`
    the pairs of defect and tile, so that `shown / defects` says how often the overlap repeats a defect."""

    category: str
    photographs: int
    good: int
    defective: int
    defects: int
    regions: Span | None
    kinds: Span | None
    tiles: int
    shown: int


@dataclass(frozen=True, slots=True)
class Balance:
    """Tiles of a category by what became of them: `step` is `cut`, `ambiguous`, `poisoned`, `clean, unused`, `train`,
    `validation` or `test`; `types` counts the tiles that show each type."""

    category: str
    step: str
    good: int
    defect: int
    types: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Copies:
    """Images that are the same: `exact` by bytes, else nearly so. `members` pairs each image's path with its split, sorted;
    `across` says that they stand in more than one split."""

    exact: bool
    across: bool
    members: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two tiles of one photograph in two splits whose windows share pixels; `splits` are those of the first and the second."""

    source: str
    first: str
    second: str
    pixels: int
    splits: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True)
class Doubts:
    """Why a split is not clean, apart from copies and overlaps: `unseen` images and folders that could not be compared,
    `training` images that show a defect, photographs that stand `torn` in two splits, and files `listed` in two."""

    unseen: int = 0
    training: int = 0
    torn: int = 0
    listed: int = 0


@dataclass(frozen=True, slots=True)
class Statistics:
    """Everything that can be said about a data set. Tables are sorted by category, with a row `All` last where that makes sense.

    `area_ratio` and `aspect_ratio` are Figure 3 (a) and (b) over all regions, `image_ratio` the defective share of each defective
    image; each maps a category, and `All`, to its distribution. `findings` are the faults, by file. `clean` is whether no image,
    photograph or pixel stands in two splits, no defect trains, and no image of a split could not be compared.
    """

    name: str
    layout: str
    images: int
    overview: tuple[Overview, ...]
    comparison: Comparison
    area_ratio: dict[str, Distribution]
    image_ratio: dict[str, Distribution]
    aspect_ratio: dict[str, Distribution]
    types: tuple[TypeRow, ...]
    together: tuple[Pair, ...]
    heat: tuple[HeatMap, ...]
    survival: tuple[Survival, ...]
    looks: tuple[Looks, ...]
    sources: tuple[SourceRow, ...]
    balance: tuple[Balance, ...]
    copies: tuple[Copies, ...]
    overlaps: tuple[Overlap, ...]
    findings: tuple[Finding, ...]
    clean: bool
    doubts: Doubts = Doubts()


@dataclass(frozen=True, slots=True)
class Photograph:
    """A source as a conversion tells it: `good` where nothing is drawn on it."""

    id: str
    category: str
    split: Split | None
    size: Size
    good: bool


@dataclass(frozen=True, slots=True)
class Drawn:
    """A defect in the source's frame: `area` in pixels it owns, `heat` as in `Measure`, over the whole photograph. `tiles` is the
    number of defective tiles, of any split, that show a pixel of it."""

    uid: str
    source: str
    category: str
    label: str
    area: int
    heat: bytes
    tiles: int = 0
