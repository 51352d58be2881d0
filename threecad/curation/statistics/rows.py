"""The rows of the tables, each of one category or of several together."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from threecad.curation.statistics.category import Category, Range
from threecad.curation.statistics.records import Distribution, HeatMap, Looks, Overview, SourceRow, Span, Survival
from threecad.curation.statistics.spreads import distribution, quantiles
from threecad.domain import SHRINKINGS, Split, State

if TYPE_CHECKING:
    from threecad.curation.statistics.spreads import Doubles


def overview(name: str, parts: Sequence[Category]) -> Overview:
    def total(column: str) -> int:
        return sum(part.columns[column] for part in parts)

    good, defect = total(f"test, {State.GOOD}"), total(f"test, {State.DEFECT}")
    return Overview(
        category=name,
        train=total("train"),
        validation=total("validation"),
        test=good + defect,
        good=good,
        defect=defect,
        types=sum(part.kinds_named for part in parts),
        height=_joined(part.height.span for part in parts),
        width=_joined(part.width.span for part in parts),
        regions=_joined(part.regions.span for part in parts),
        kinds=_joined(part.kinds.span for part in parts),
        unsplit=total("unsplit"),
        unknown=total("unknown"),
    )


def _joined(spans: Iterable[Span | None]) -> Span | None:
    known = [span for span in spans if span is not None]
    return Span(min(span.least for span in known), max(span.most for span in known)) if known else None


def distributions(
    named: Sequence[tuple[str, Sequence[Category]]], values: Callable[[Category], array[float]], edges: tuple[float, ...]
) -> dict[str, Distribution]:
    return {name: distribution(_sorted(map(values, parts)), edges) for name, parts in named}


def _sorted(parts: Iterable[array[float]]) -> Doubles:
    """All values in order, so that sums and quantiles do not depend on who came first."""
    return np.sort(np.concatenate([np.zeros(0), *(np.frombuffer(part, np.float64) for part in parts if part)]))


def heat(name: str, parts: Sequence[Category], framed: bool) -> Iterator[HeatMap]:
    images = sum(len(part.defects) if framed else part.marked for part in parts)
    grids = [grid for part in parts if (grid := part.source_heat if framed else part.heat) is not None]
    if images and grids:
        cells = np.minimum(sum(grids) / (255 * images), 1.0)
        yield HeatMap(name, "source" if framed else "image", images, tuple(cells.tolist()))


def survival(name: str, parts: Sequence[Category]) -> Iterator[Survival]:
    regions, images = sum(len(part.areas) for part in parts), sum(part.marked for part in parts)
    for shrinking in SHRINKINGS if regions else ():
        lost_regions = sum(part.lost_regions[shrinking] for part in parts)
        yield Survival(name, shrinking, regions, lost_regions, images, sum(part.lost_images[shrinking] for part in parts))


def looks(name: str, parts: Sequence[Category]) -> Iterator[Looks]:
    for split in (*(split.value for split in Split), ""):
        found = [part.looks[split] for part in parts if split in part.looks]
        if found:
            yield Looks(
                name,
                split,
                quantiles(_sorted(each.brightness for each in found)),
                quantiles(_sorted(each.contrast for each in found)),
                quantiles(_sorted(each.sharpness for each in found)),
            )


def source(name: str, parts: Sequence[Category]) -> SourceRow:
    drawn = [labels for part in parts for labels in part.defects.values()]
    regions, kinds = Range(), Range()
    for labels in drawn:
        regions.add(len(labels))
        kinds.add(len(set(labels)))
    photographs, good = sum(part.photographs for part in parts), sum(part.good_photographs for part in parts)
    return SourceRow(
        category=name,
        photographs=photographs,
        good=good,
        defective=photographs - good,
        defects=sum(map(len, drawn)),
        regions=regions.span,
        kinds=kinds.span,
        tiles=sum(part.tiles for part in parts),
        shown=sum(part.showings for part in parts),
    )
