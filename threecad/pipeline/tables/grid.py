"""Every table laid out once, as text, for all formats: the terminal, LaTeX, Markdown and the report."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from threecad.curation import sizes
from threecad.curation.statistics import ALL, STEPS, Distribution, Statistics
from threecad.domain import MEANING, SHRINKINGS
from threecad.pipeline.summary import count
from threecad.pipeline.tables.writing import NONE, YES, mark, middle, number, percent, share, span

MOST_PAIRS = 12
"""Types that occur together: so many pairs, the most frequent first."""
_OF_CATEGORIES = ("sources", "survival_regions", "survival_images", "looks")
SPREADS = (
    ("area_ratio", "Figure 3 (a): area of each region, % of its image"),
    ("image_ratio", "Defective area of each defective image, % of the image"),
    ("aspect_ratio", "Figure 3 (b): aspect ratio of each region's smallest rectangle, long side to short"),
)
_QUANTILES = ("mean", "q0", "q5", "q25", "q50", "q75", "q95", "q100")


@dataclass(frozen=True, slots=True)
class Grid:
    """A table of text. `align` has a letter a column: `l` a name, `r` a number, `p` prose, which may wrap.

    A heading may hold line breaks, for narrow screens. `total` is the first cell of the row about all categories, where
    there is one: it is set apart, and never cut off where it is last. `more` rows were left out.
    """

    key: str
    title: str
    columns: tuple[str, ...]
    align: str
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    more: int = 0
    total: str = ALL


def grids(statistics: Statistics, compared: Sequence[Statistics] = ()) -> list[Grid]:
    """All tables that have a row: the paper's Tables 1 and 2, Figure 3 as numbers, then what the paper cannot tell."""
    made = [
        _overview(statistics),
        _comparison(statistics, compared),
        *_quantiles(statistics, compared),
        _sources(statistics),
        _types(statistics),
        _together(statistics),
        *_survival(statistics),
        _looks(statistics),
        *_balance(statistics),
        _copies(statistics),
        _findings(statistics),
    ]
    return [_alone(grid) for grid in made if grid.rows]


def _alone(grid: Grid) -> Grid:
    """Without the row `All` where it only repeats the one category; the paper's Table 1 has it always."""
    rows = tuple(row for row in grid.rows if row[0] != ALL)
    return replace(grid, rows=rows) if grid.key in _OF_CATEGORIES and len({row[0] for row in rows}) == 1 else grid


def _overview(statistics: Statistics) -> Grid:
    """Table 1, column for column; a column for validation only where somebody validates."""
    validation = any(row.validation for row in statistics.overview)
    rows = []
    for row in statistics.overview:
        total = row.category == ALL
        spans = (NONE,) * 3 if total else (span(row.height), span(row.width), f"{span(row.regions)}/{span(row.kinds)}")
        if row.regions is None and row.kinds is None:
            spans = (*spans[:2], NONE)
        counts = [row.train, *([row.validation] if validation else []), row.test, row.good, row.defect, row.types]
        rows.append((row.category, *(f"{count:,}" for count in counts), *spans))
    columns = (
        "Category",
        "Training\nImages",
        *(("Validation\nImages",) if validation else ()),
        "Test\nImages\n(all)",
        "Test\nImages\n(good)",
        "Test\nImages\n(defect)",
        "Defect\ntypes",
        "Image\nHeight",
        "Image\nWidth",
        "NE / TE",
    )
    note = "NE and TE: regions and types in each defective test image, the least and the most."
    each = [row for row in statistics.overview if row.category != ALL]
    unsplit, unknown = (sum(getattr(row, key) for row in each) for key in ("unsplit", "unknown"))
    if unsplit:
        note += f" No split names {count(unsplit, 'image')}: counted as test images."
    if unknown:
        verb = "is" if unknown == 1 else "are"
        note += f" Nothing tells whether {count(unknown, 'image')} {verb} good: in no column of the test."
    title = "Table 1: images, types and sizes"
    return Grid("overview", title, columns, "l" + "r" * (len(columns) - 1), tuple(rows), note)


def _comparison(statistics: Statistics, compared: Sequence[Statistics]) -> Grid:
    """Table 2; the share of defective images beside each mark, which no other table tells."""
    rows = []
    for row in (each.comparison for each in (statistics, *compared)):
        shares = [mark(count, row.abnormal) for count in (row.multiple_instances, row.multiple_types)]
        rows.append((row.name, f"{row.normal:,}", f"{row.abnormal:,}", row.source or NONE, *shares))
    columns = ("Dataset", "Normal", "Abnormal", "Defect\nSource", "MDI", "MDT")
    note = f"MDI, MDT: {YES} where an image shows several regions, or several types; then the share of defective images that do."
    return Grid("comparison", "Table 2: normal and abnormal images", columns, "lrrlrr", tuple(rows), note)


def _quantiles(statistics: Statistics, compared: Sequence[Statistics]) -> Iterator[Grid]:
    columns = ("Category", "count", "mean", "least", "5 %", "25 %", "median", "75 %", "95 %", "most")
    for key, title in SPREADS:
        write = number if key == "aspect_ratio" else percent
        table: dict[str, Distribution] = getattr(statistics, key)
        categories = [name for name in in_order(table) if name != ALL]
        named = [(name, table[name]) for name in (categories if len(categories) == 1 else in_order(table))]
        named += [(other.name, getattr(other, key)[ALL]) for other in compared if ALL in getattr(other, key)]
        rows = []
        for name, spread in named:
            values = spread.quantiles
            numbers = [NONE] * 8 if values is None else [write(getattr(values, field)) for field in _QUANTILES]
            rows.append((name, f"{0 if values is None else values.count:,}", *numbers))
        yield Grid(key, title, columns, "l" + "r" * 9, tuple(rows) if any(row[1] != "0" for row in rows) else ())


def _sources(statistics: Statistics) -> Grid:
    rows = []
    for row in statistics.sources:
        spans = NONE if row.regions is None or row.kinds is None else f"{span(row.regions)}/{span(row.kinds)}"
        counts = (row.photographs, row.good, row.defective, row.defects)
        often = f"{row.shown / row.defects:.2f}" if row.defects else NONE
        rows.append((row.category, *(f"{count:,}" for count in counts), spans, f"{row.tiles:,}", often))
    columns = ("Category", "photo-\ngraphs", "good", "defective", "defects", "NE / TE", "defect\ntiles", "tiles per\ndefect")
    title = "In the photographs' frame, where a defect that two tiles show is one"
    return Grid("sources", title, columns, "lrrrrrrr", tuple(rows))


def _types(statistics: Statistics) -> Grid:
    known = any(row.defects is not None or row.photographs is not None for row in statistics.types)
    rows = []
    for row in statistics.types:
        source = [NONE if count is None else f"{count:,}" for count in (row.defects, row.photographs)] if known else []
        counts = [f"{count:,}" for count in (row.images, row.regions, *row.sizes)]
        rows.append((row.category, row.type, *counts, *source))
    classes = [f"{name}\n{bound}" for name, bound in _bounds().items()]
    columns = ("Category", "type", "images", "regions", *classes, *(("defects", "photo-\ngraphs") if known else ()))
    note = "Size classes in pixels of the image; a defect is counted once in its photograph." if known else ""
    return Grid("types", "Types by size class", columns, "ll" + "r" * (len(columns) - 2), tuple(rows), note)


def _bounds() -> dict[str, str]:
    """Each size class with its bound in px², as `<32²`; the last has none above, so it tells the one below."""
    names = list(sizes.BOUNDS)
    sides = [math.isqrt(int(bound)) for bound in sizes.BOUNDS.values() if math.isfinite(bound)]
    return dict(zip(names, [*(f"<{side}²" for side in sides), f"≥{sides[-1]}²"], strict=True))


def _together(statistics: Statistics) -> Grid:
    found = sorted(statistics.together, key=lambda pair: (-pair.images, pair.category, pair.first, pair.second))
    rows = tuple((pair.category, pair.first, pair.second, f"{pair.images:,}") for pair in found[:MOST_PAIRS])
    more = max(0, len(found) - MOST_PAIRS)
    return Grid("together", "Types in the same image", ("Category", "type", "with", "images"), "lllr", rows, more=more)


def _survival(statistics: Statistics) -> Iterator[Grid]:
    """How much vanishes, in per cent: first regions, then images that are left without a defect."""
    named = [name for name in SHRINKINGS if any(row.shrinking == name for row in statistics.survival)]
    named += sorted({row.shrinking for row in statistics.survival} - set(named))
    found = {(row.category, row.shrinking): row for row in statistics.survival}
    for of, lost, title in (
        ("regions", "lost_regions", "Regions that vanish when the image is shrunk to a square, %"),
        ("images", "lost_images", "Defective images that then show no defect at all, %"),
    ):
        rows = []
        for category in dict.fromkeys(row.category for row in statistics.survival):
            there = [found.get((category, name)) for name in named]
            total = max(getattr(row, of) for row in there if row is not None)
            shares = [NONE if row is None else share(getattr(row, lost), getattr(row, of)) for row in there]
            rows.append((category, f"{total:,}", *shares))
        columns = ("Category", of, *(name.replace("-", "\n") for name in named))
        yield Grid(f"survival_{of}", title, columns, "lr" + "r" * len(named), tuple(rows))


def _looks(statistics: Statistics) -> Grid:
    rows = [
        (row.category, row.split or NONE, *map(middle, (row.brightness, row.contrast, row.sharpness))) for row in statistics.looks
    ]
    note = "Median, and the range that holds the middle 90 %. Brightness and contrast: mean and deviation of the luma, 0 to 1; "
    note += "sharpness: variance of its Laplacian."
    columns = ("Category", "split", "brightness", "contrast", "sharpness")
    return Grid("looks", "Looks of the images", columns, "llrrr", tuple(rows), note)


def _balance(statistics: Statistics) -> Iterator[Grid]:
    """What became of the tiles, step by step: of each category, then of those that show each type."""
    steps = [step for step in STEPS if any(row.step == step for row in statistics.balance)]
    steps += sorted({row.step for row in statistics.balance} - set(steps))
    found = {(row.category, row.step): row for row in statistics.balance}
    categories = list(dict.fromkeys(row.category for row in statistics.balance))
    states = ("good", "defect")
    both = [
        step for step in steps if all(any(getattr(row, key) for row in statistics.balance if row.step == step) for key in states)
    ]
    columns = [
        column for step in steps for column in ([(step, ("good",)), (step, ("defect",))] if step in both else [(step, states)])
    ]
    rows = []
    for category in categories:
        there = [(found.get((category, step)), kinds) for step, kinds in columns]
        rows.append(
            (category, *(NONE if row is None else f"{sum(getattr(row, kind) for kind in kinds):,}" for row, kinds in there))
        )
    headings = [step.replace(" ", "\n") + (f"\n{kinds[0]}" if len(kinds) == 1 else "") for step, kinds in columns]
    yield Grid("balance", "What became of the tiles", ("Category", *headings), "l" + "r" * len(headings), tuple(rows))
    shown = {key: dict(row.types) for key, row in found.items()}
    named = [step for step in steps if any(row.types for row in statistics.balance if row.step == step)]
    lines = [
        (category, kind, *(f"{shown.get((category, step), {}).get(kind, 0):,}" for step in named))
        for category in categories
        for kind in sorted({kind for step in named for kind in shown.get((category, step), {})})
    ]
    columns_of_types = ("Category", "type", *(step.replace(" ", "\n") for step in named))
    yield Grid("balance_types", "Tiles that show each type", columns_of_types, "ll" + "r" * len(named), tuple(lines))


def _copies(statistics: Statistics) -> Grid:
    """Groups of equal images, inside a split and across; always there, since none is worth knowing."""
    rows = []
    for exact, name in ((True, "byte for byte"), (False, "nearly")):
        counts = []
        for across in (False, True):
            groups = [each for each in statistics.copies if each.exact is exact and each.across is across]
            counts += [len(groups), sum(len(each.members) for each in groups)]
        rows.append((name, *(f"{count:,}" for count in counts)))
    columns = ("the same", "in a split:\ngroups", "images", "across:\ngroups", "images")
    note = f"Pairs of tiles in two splits that share pixels: {len(statistics.overlaps):,}."
    return Grid("copies", "Copies", columns, "lrrrr", tuple(rows), note)


def _findings(statistics: Statistics) -> Grid:
    counts = Counter((finding.code, finding.action) for finding in statistics.findings)
    ordered = sorted(counts.items(), key=lambda item: (-item[0][1].gravity, item[0][0]))
    rows = tuple((code.value, f"{count:,}", action.value, MEANING[code]) for (code, action), count in ordered)
    return Grid("findings", "Findings by code", ("code", "count", "outcome", "finding"), "lrlp", rows)


def in_order(table: Mapping[str, object]) -> list[str]:
    """Categories by name, `All` last."""
    return sorted(table, key=lambda name: (name == ALL, name))


def stacked(columns: Sequence[str]) -> list[list[str]]:
    """The lines of each heading, as many for each: headings stand on the line below them."""
    lines = max(column.count("\n") for column in columns) + 1
    return [[""] * (lines - 1 - column.count("\n")) + column.split("\n") for column in columns]
