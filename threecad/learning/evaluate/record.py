"""What stands in metrics.json, and in a line of images.jsonl: the models that the JSON Schemas are made from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, NonNegativeInt, PositiveInt

from threecad.learning.evaluate.results import UPSTREAM, CategoryResult, Evaluation, Judged, Resolution
from threecad.metrics import FIGURES


def _written(name: str) -> str:
    """A name may hold bytes that are no UTF-8, as a file system and a list may: they stand as their escapes."""
    return name.encode(errors="backslashreplace").decode()


Name = Annotated[str, BeforeValidator(_written)]


class _Part(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False, from_attributes=True
    )


class Counted(_Part):
    """So many of so many."""

    count: NonNegativeInt
    total: NonNegativeInt
    value: float | None = Field(ge=0, le=1)
    """Their share; None of nothing."""


class Figure(_Part):
    """A share of 1, not per cent."""

    lower: float = Field(ge=0, le=1)
    upper: float = Field(ge=0, le=1)
    """What it is at the least and at the most: scores of pixels are told apart by 16 bits of their mantissa."""
    value: float = Field(ge=0, le=1)


class BestF1(Figure):
    """F1 at the threshold where it is best."""

    threshold: float | None
    """The lowest score that counts as anomalous there."""


class Upstream(Figure):
    """P-PRO as the authors' program has it."""

    comparable: Literal[False] = False
    """It is another figure than P-PRO."""


class Figures(_Part):
    """Of one category; None where a figure is undefined, and `why` tells the reason."""

    image_auroc: Figure | None
    """I-AUROC: area under the ROC curve over the images' scores."""
    pixel_auroc: Figure | None
    """P-AUROC: the same over pixels."""
    aupro: Figure | None
    """P-PRO: area under the curve of the regions' mean overlap, up to `pro_limit`."""
    pixel_ap: Figure | None
    """AP: average precision over pixels."""
    image_ap: Figure | None
    image_f1: BestF1 | None
    pixel_f1: BestF1 | None
    pro_upstream: Upstream | None = None
    """Only where it was asked for."""


class Mean(_Part):
    """Of one figure, each category counting the same."""

    categories: NonNegativeInt
    """How many have the figure."""
    value: float | None = Field(ge=0, le=1)


class SizeClass(_Part):
    """Regions of one size."""

    name: str = Field(validation_alias="size_class", serialization_alias="class")
    """By a region's area in pixels of the image: tiny below 8², small below 32², medium below 96², large."""
    regions: Counted
    """How many are found, of how many."""


class Photographs(_Part):
    """The same for whole photographs, by the highest score of their test images."""

    false_alarms: Counted
    found: Counted
    rests_on: NonNegativeInt
    threshold: float


class AtThreshold(_Part):
    """What the run's threshold does."""

    expected_false_alarms: float = Field(ge=0, le=1)
    """The share of good images that it was chosen to take for defective."""
    false_alarms: Counted
    """Good images that are taken for defective."""
    found: Counted
    """Defective images that are found."""
    photographs: Photographs | None
    """None where the images are not cut out of photographs."""
    regions: Counted
    """Regions of the masks in which any pixel reaches it."""
    rests_on: NonNegativeInt
    """Good images that it was chosen from."""
    threshold: float
    trained: bool
    """Whether those trained the model, so that they promise nothing."""


class Kind(_Part):
    """Images of one type; one of several types is listed under all of them together, joined by +."""

    images: Counted
    regions: Counted
    type: Name


class Category(_Part):
    """One category, by one model."""

    anomalous_pixels: NonNegativeInt
    """Of `pixels`, those that masks mark."""
    category: Name
    defective: NonNegativeInt
    figures: Figures
    images: PositiveInt
    model: Name
    """The run's model that looked at them."""
    pixels: NonNegativeInt
    """Those that count in the figures, at the resolution of these."""
    regions: NonNegativeInt
    """8-connected regions of the masks."""
    sizes: tuple[SizeClass, ...]
    threshold: AtThreshold
    types: tuple[Kind, ...]
    unmarked: NonNegativeInt
    """Defective images whose mask is missing or marks nothing: their pixels do not count."""
    why: tuple[Name, ...]
    """Which figures are undefined, and why."""


class Metrics(_Part):
    """metrics.json, and what `threecad evaluate --json` prints."""

    categories: tuple[Category, ...]
    dataset: Name
    """The data set's name."""
    mean: dict[str, Mean]
    """By the names of figures."""
    notes: tuple[Name, ...]
    """What was decided that nobody asked for."""
    pro_limit: float
    """The false-positive rate of pixels that P-PRO goes up to."""
    resolution: Resolution
    """Whose pixels were compared: the masks' own, or the model's squares of `side` pixels."""
    run: Name
    """The run's name."""
    side: PositiveInt


class Image(_Part):
    """A line of images.jsonl: one test image."""

    category: Name
    found: bool
    """Whether its score reaches the run's threshold."""
    label: Literal[0, 1]
    """0 good, 1 defective."""
    path: Name
    """POSIX, relative to the data set."""
    regions: NonNegativeInt
    """Of its mask."""
    regions_found: NonNegativeInt
    score: float
    type: Name
    """Empty for a good image; several types are joined by +."""


def as_json(done: Evaluation) -> dict[str, Any]:
    """What metrics.json holds, as plain values: all but the curves, pictures and single images."""
    # A figure that nobody asked for is not there at all.
    return _metrics(done).model_dump(mode="json", by_alias=True, exclude_unset=True)


def rows(done: Evaluation) -> Iterator[dict[str, Any]]:
    """What each line of images.jsonl holds."""
    return (_image(each).model_dump(mode="json") for each in done.images)


def _metrics(done: Evaluation) -> Metrics:
    means = {name: done.mean(name) for name in FIGURES if name != UPSTREAM or done.has_upstream}
    return Metrics(
        categories=tuple(map(_category, done.categories)),
        dataset=done.dataset,
        mean={name: Mean(categories=of, value=value) for name, (value, of) in means.items()},
        notes=done.notes,
        pro_limit=done.pro_limit,
        resolution=done.resolution,
        run=done.run,
        side=done.side,
    )


def _image(judged: Judged) -> Image:
    return Image(
        category=judged.category,
        found=judged.found,
        label=int(judged.defective),
        path=judged.path,
        regions=sum(judged.regions),
        regions_found=sum(judged.found_regions),
        score=judged.score,
        type=judged.type,
    )


def _category(found: CategoryResult) -> Category:
    return Category(
        anomalous_pixels=found.anomalous_pixels,
        category=found.category,
        defective=found.defective,
        figures=_figures(found),
        images=found.images,
        model=found.model,
        pixels=found.pixels,
        regions=found.regions,
        sizes=found.sizes,
        threshold=_threshold(found),
        types=found.types,
        unmarked=found.unmarked,
        why=found.why,
    )


def _figures(found: CategoryResult) -> Figures:
    told: dict[str, Any] = {
        name: None if figure is None else {"lower": figure.lower, "upper": figure.upper, "value": figure.value}
        for name, figure in found.figures.items()
    }
    for name, threshold in (("image_f1", found.image_f1_threshold), ("pixel_f1", found.pixel_f1_threshold)):
        if told[name] is not None:
            told[name]["threshold"] = threshold
    if told[UPSTREAM] is None:
        del told[UPSTREAM]
    else:
        told[UPSTREAM]["comparable"] = False
    return Figures(**told)


def _threshold(found: CategoryResult) -> AtThreshold:
    at = found.at
    photographs = Photographs(
        false_alarms=at.photographs_false_alarms,
        found=at.photographs_found,
        rests_on=at.photographs_rest_on,
        threshold=at.photographs_threshold,
    )
    return AtThreshold(
        expected_false_alarms=at.expected,
        false_alarms=at.false_alarms,
        found=at.found,
        photographs=photographs if at.photographs_found.total + at.photographs_false_alarms.total else None,
        regions=at.regions,
        rests_on=at.rests_on,
        threshold=at.threshold,
        trained=at.trained,
    )
