"""What `threecad stats` tells of a data set, as text: for the terminal, JSON, CSV, LaTeX and Markdown.

The tables are laid out once, as text (`grids`); the terminal, LaTeX and Markdown differ in how a cell is escaped and a rule is
drawn. JSON and CSV hold the numbers themselves. Names and labels are other people's: no format lets them do anything.
"""

from __future__ import annotations

import csv
import io
import math
import re
import shlex
import types
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import StrEnum
from typing import Any, Union, get_args, get_origin, get_type_hints

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from threecad.curation import sizes
from threecad.curation.statistics import (
    ALL,
    Copies,
    Distribution,
    Overlap,
    Quantiles,
    Span,
    Statistics,
)
from threecad.domain import MEANING, SHRINKINGS, Action, Code, Finding
from threecad.formats.dataset import row_of
from threecad.pipeline.summary import plain

MOST_ROWS = 60
"""Rows of a table on the terminal; Table 1 is always whole."""
MOST_PAIRS = 12
"""Types that occur together: so many pairs, the most frequent first."""
MOST_FAULTS = 20
"""Faults listed one by one on the terminal."""
MOST_COPIES = 4
"""Images named of one group of equal ones."""
_OF_CATEGORIES = ("sources", "survival_regions", "survival_images", "looks")
YES, NO, NONE = "✓", "✗", "-"
STEPS = ("cut", "ambiguous", "poisoned", "clean, unused", "train", "validation", "test")
"""What becomes of tiles, in this order: see `Balance`."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A table of text. `align` has a letter a column: `l` a name, `r` a number, `p` prose, which may wrap.

    A heading may hold line breaks, for narrow screens. The row `All` is last where there is one. `more` rows were left out.
    """

    key: str
    title: str
    columns: tuple[str, ...]
    align: str
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    more: int = 0


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


def verdict(statistics: Statistics) -> str:
    """Whether train and test are apart, in one sentence.

    `clean` decides; the sentence gives the numbers behind it.
    """
    splits = sum(row.train + row.validation + row.test - row.unsplit for row in statistics.overview)
    if statistics.clean and statistics.images and not splits:
        return "The split is clean: there is none, so that nothing can stand in two."
    if statistics.clean:
        return "The split is clean: no image, photograph or pixel stands in two splits, and no defect trains."
    across = Counter(copies.exact for copies in statistics.copies if copies.across)
    reasons = []
    if across[True]:
        reasons.append(f"{_count(across[True], 'image')} {_verb(across[True])} in two splits, byte for byte the same")
    if across[False]:
        reasons.append(f"{_count(across[False], 'image')} {_verb(across[False])} in two splits, nearly the same")
    if statistics.overlaps:
        reasons.append(f"{_count(len(statistics.overlaps), 'pair')} of overlapping tiles in two splits")
    if statistics.findings:
        codes = sorted({finding.code.value for finding in statistics.findings})
        named = ", ".join(codes) if len(codes) < 5 else f"{len(codes)} codes"
        reasons.append(f"{_count(len(statistics.findings), 'finding')} by file ({named})")
    return f"The split is NOT clean: {'; '.join(reasons) or 'a defect trains, or a photograph stands in two splits'}."


# The terminal


def show(statistics: Statistics, compared: Sequence[Statistics], console: Console, *, dataset: str | None = None) -> None:
    """Print everything; `dataset` is the folder as the user named it, for the next command (else the data set's name)."""
    head = [statistics.name, _count(statistics.images, "image"), f"layout {statistics.layout}"]
    categories = [row for row in statistics.overview if row.category != ALL]
    head.insert(2, _count(len(categories), "category", "categories"))
    console.print(Text(plain(" · ".join(head))), style="bold")
    console.print()
    if not statistics.images:
        console.print("It holds no image.\n")
    for grid in grids(statistics, compared):
        _put(console, grid)
    folder = dataset or statistics.name
    rest = shlex.join(("threecad", "stats", folder, "--json"))
    _list(console, "Images that stand in two splits", [_same(each) for each in statistics.copies if each.across], rest)
    pairs = [_shared(overlap) for overlap in statistics.overlaps]
    _list(console, "Tiles in two splits that share pixels", pairs, rest)
    _list(console, "Faults", _faults(statistics.findings), rest)
    console.print(Text(verdict(statistics), style="bold green" if statistics.clean else "bold red"))
    if not statistics.clean:
        command = shlex.join(("threecad", "audit", folder, "--clean", "drop.txt"))
        console.print(Text(plain(f"Next, to list what to drop: {command}")), soft_wrap=True)


def _put(console: Console, grid: Grid) -> None:
    """A table under its title, an empty line after. Names and prose fold where there is no room, numbers never."""
    left, most = len(grid.rows), len(grid.rows) if grid.key == "overview" else MOST_ROWS
    rows = grid.rows
    if left > most:
        last = rows[-1:] if rows[-1][0] == ALL else ()
        rows = rows[: most - len(last)] + last
    marks = {} if _writes(console, YES + NO) else {ord(YES): "yes", ord(NO): "no"}
    texts = [[plain(cell).translate(marks) for cell in row] for row in rows]
    widths = [
        max(cell_len(line) for line in (*heading.split("\n"), *cells))
        for heading, *cells in zip(grid.columns, *texts, strict=True)
    ]
    least = sum(width if align == "r" else min(width, 12) for width, align in zip(widths, grid.align, strict=True))
    gap = 2 if least + 2 * len(widths) - 2 <= console.width else 1
    least += gap * (len(widths) - 1)
    console.print(Text(plain(grid.title)), style="bold")
    table = _table(grid, texts, widths, gap)
    # On a very narrow terminal a line that runs over is better than a column that is not there.
    table.width = least if console.width < least else None
    console.print(table, crop=False)
    more = grid.more + left - len(rows)
    if more:
        console.print(Text(f"… and {more:,} more; --json has them all"))
    if grid.note:
        console.print(Text(plain(grid.note).translate(marks), style="dim"))
    console.print()


def _table(grid: Grid, rows: Sequence[Sequence[str]], widths: Sequence[int], gap: int) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, gap, 0, 0))
    for heading, align, width in zip(_stacked(grid.columns), grid.align, widths, strict=True):
        if align == "r":
            table.add_column("\n".join(heading), justify="right", no_wrap=True, width=width)
        else:
            table.add_column("\n".join(heading), overflow="fold", min_width=min(width, 8))
    for row in rows:
        table.add_row(*map(Text, row), style="bold" if row[0] == ALL else None)
    return table


def _stacked(columns: Sequence[str]) -> list[list[str]]:
    """The lines of each heading, as many for each: headings stand on the line below them."""
    lines = max(column.count("\n") for column in columns) + 1
    return [[""] * (lines - 1 - column.count("\n")) + column.split("\n") for column in columns]


def _writes(console: Console, text: str) -> bool:
    try:
        text.encode(console.encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _list(console: Console, title: str, lines: Sequence[str], rest: str) -> None:
    """The first few lines, whole so that paths can be copied, and where the rest is."""
    if not lines:
        return
    console.print(Text(title), style="bold")
    for line in lines[:MOST_FAULTS]:
        console.print(Text(plain(line)), soft_wrap=True)
    if len(lines) > MOST_FAULTS:
        console.print(Text(plain(f"… and {len(lines) - MOST_FAULTS:,} more: {rest}")), soft_wrap=True)
    console.print()


def _same(copies: Copies) -> str:
    named = [f"{path} ({split})" for path, split in copies.members[:MOST_COPIES]]
    if len(copies.members) > MOST_COPIES:
        named.append(f"{len(copies.members) - MOST_COPIES:,} more")
    return f" {'=' if copies.exact else '≈'} ".join(named)


def _faults(findings: Sequence[Finding]) -> list[str]:
    """A line each, in an order in which the first lines hold something of every code."""
    numbers: Counter[Code] = Counter()
    share = max(1, MOST_FAULTS // max(1, len({finding.code for finding in findings})))
    first: list[Finding] = []
    rest: list[Finding] = []
    for finding in findings:
        numbers[finding.code] += 1
        (first if numbers[finding.code] <= share else rest).append(finding)
    chosen = {id(finding) for finding in rest[: max(0, MOST_FAULTS - len(first))] + first}
    ordered = [finding for finding in findings if id(finding) in chosen] + [
        finding for finding in rest if id(finding) not in chosen
    ]
    return [_fault(finding) for finding in ordered]


def _shared(overlap: Overlap) -> str:
    tiles = [f"{tile} ({split})" for tile, split in zip((overlap.first, overlap.second), overlap.splits, strict=True)]
    return f"{' and '.join(tiles)} share {_count(overlap.pixels, 'pixel')} of {overlap.source}"


def _fault(finding: Finding) -> str:
    shape = "" if finding.shape is None else f", shape {finding.shape}"
    return f"{finding.code.value} {finding.source}{shape}: {finding.detail or MEANING[finding.code]}"


# The tables


def _overview(statistics: Statistics) -> Grid:
    """Table 1, column for column; a column for validation only where somebody validates."""
    validation = any(row.validation for row in statistics.overview)
    rows = []
    for row in statistics.overview:
        total = row.category == ALL
        spans = (NONE,) * 3 if total else (_span(row.height), _span(row.width), f"{_span(row.regions)}/{_span(row.kinds)}")
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
        note += f" No split names {_count(unsplit, 'image')}: counted as test images."
    if unknown:
        note += (
            f" Nothing tells whether {_count(unknown, 'image')} {'is' if unknown == 1 else 'are'} good: in no column of the test."
        )
    title = "Table 1: images, types and sizes"
    return Grid("overview", title, columns, "l" + "r" * (len(columns) - 1), tuple(rows), note)


def _comparison(statistics: Statistics, compared: Sequence[Statistics]) -> Grid:
    """Table 2; the share of defective images beside each mark, which no other table tells."""
    rows = []
    for row in (each.comparison for each in (statistics, *compared)):
        shares = [_mark(count, row.abnormal) for count in (row.multiple_instances, row.multiple_types)]
        rows.append((row.name, f"{row.normal:,}", f"{row.abnormal:,}", row.source or NONE, *shares))
    columns = ("Dataset", "Normal", "Abnormal", "Defect\nSource", "MDI", "MDT")
    note = f"MDI, MDT: {YES} where an image shows several regions, or several types; then the share of defective images that do."
    return Grid("comparison", "Table 2: normal and abnormal images", columns, "lrrlrr", tuple(rows), note)


_SPREADS = (
    ("area_ratio", "Figure 3 (a): area of each region, % of its image"),
    ("image_ratio", "Defective area of each defective image, % of the image"),
    ("aspect_ratio", "Figure 3 (b): aspect ratio of each region's smallest rectangle, long side to short"),
)
_QUANTILES = ("mean", "q0", "q5", "q25", "q50", "q75", "q95", "q100")


def _quantiles(statistics: Statistics, compared: Sequence[Statistics]) -> Iterator[Grid]:
    columns = ("Category", "count", "mean", "least", "5 %", "25 %", "median", "75 %", "95 %", "most")
    for key, title in _SPREADS:
        write = _number if key == "aspect_ratio" else _percent
        table: dict[str, Distribution] = getattr(statistics, key)
        categories = [name for name in _in_order(table) if name != ALL]
        named = [(name, table[name]) for name in (categories if len(categories) == 1 else _in_order(table))]
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
        spans = NONE if row.regions is None or row.kinds is None else f"{_span(row.regions)}/{_span(row.kinds)}"
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
            shares = [NONE if row is None else _share(getattr(row, lost), getattr(row, of)) for row in there]
            rows.append((category, f"{total:,}", *shares))
        columns = ("Category", of, *(name.replace("-", "\n") for name in named))
        yield Grid(f"survival_{of}", title, columns, "lr" + "r" * len(named), tuple(rows))


def _looks(statistics: Statistics) -> Grid:
    rows = [
        (row.category, row.split or NONE, *map(_middle, (row.brightness, row.contrast, row.sharpness)))
        for row in statistics.looks
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


def _in_order(table: Mapping[str, object]) -> list[str]:
    """Categories by name, `All` last."""
    return sorted(table, key=lambda name: (name == ALL, name))


def _span(span: Span | None) -> str:
    return NONE if span is None else f"{span.least}~{span.most}"


def _mark(count: int, total: int) -> str:
    return f"{YES if count else NO} {_share(count, total)} %" if total else NONE


def _share(count: int, total: int) -> str:
    """A share in per cent; never 0.0 or 100.0 where it is neither.

    >>> _share(1, 3), _share(0, 9), _share(1, 100_000), _share(99_999, 100_000), _share(0, 0)
    ('33.3', '0.0', '<0.1', '>99.9', '-')
    """
    if not total:
        return NONE
    text = f"{100 * count / total:.1f}"
    if text == "0.0" and count:
        return "<0.1"
    return ">99.9" if text == "100.0" and count < total else text


def _percent(share: float) -> str:
    """A share in per cent, of which two or three digits count.

    >>> [_percent(share) for share in (1, 0.1234, 0.00456, 0.000078, 0.00000095, 0)]
    ['100', '12.3', '0.46', '0.0078', '9.5e-5', '0']
    """
    value = 100 * share
    if not value:
        return "0"
    if value < 0.001:
        digits, exponent = f"{value:.1e}".split("e")
        return f"{digits}e{int(exponent)}"
    if value < 1:
        return f"{value:.{1 - math.floor(math.log10(value))}f}"
    return _number(value)


def _number(value: float) -> str:
    """Three digits that count.

    >>> [_number(value) for value in (1, 1.234, 12.34, 123.4, 1234.5, 0.0123)]
    ['1.00', '1.23', '12.3', '123', '1,234', '0.01']
    """
    return f"{value:,.{2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0}f}"


def _middle(values: Quantiles) -> str:
    return f"{_number(values.q50)} ({_number(values.q5)}–{_number(values.q95)})"


def _count(number: int, one: str, several: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def _verb(number: int) -> str:
    return "stands" if number == 1 else "stand"


# JSON


def as_json(statistics: Statistics, compared: Sequence[Statistics] = ()) -> dict[str, Any]:
    """All of it as plain values: the fields of `Statistics`, the bounds of the size classes, and `compared`, each like this one.

    ValueError where a number is not finite, which JSON cannot say; no measure of an image is.
    """
    made = {field.name: _plain_value(getattr(statistics, field.name)) for field in fields(statistics)}
    made["size_classes"] = [
        {"name": name, "below": None if math.isinf(bound) else int(bound)} for name, bound in sizes.BOUNDS.items()
    ]
    made["compared"] = [as_json(other) for other in compared]
    return made


def _plain_value(value: object) -> Any:
    if isinstance(value, Finding):
        return row_of(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain_value(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): _plain_value(value[key]) for key in _in_order(value)}
    if isinstance(value, tuple | list):
        return [_plain_value(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"a statistic is {value}; expected a finite number")
    return value


def schema() -> dict[str, Any]:
    """The JSON Schema of `as_json`, made from the dataclasses so that the two cannot part."""
    definitions: dict[str, Any] = {}
    _describe(Statistics, definitions)
    top = definitions["Statistics"]
    below = {"anyOf": [{"type": "integer"}, {"type": "null"}]}
    entry = _object({"name": {"type": "string"}, "below": below}, "A size class and the area in pixels that it stays below.")
    top["properties"]["size_classes"] = {"type": "array", "items": entry}
    top["properties"]["compared"] = {"type": "array", "items": {"$ref": "#/$defs/Statistics"}}
    top["required"] = sorted(top["properties"])
    return {"title": "Statistics", "$ref": "#/$defs/Statistics", "$defs": definitions}


def _describe(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of a type; dataclasses and enumerations are put into `definitions`."""
    simple = {str: "string", int: "integer", float: "number", bool: "boolean", types.NoneType: "null"}
    if kind in simple:
        return {"type": simple[kind]}
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return {"anyOf": [_describe(each, definitions) for each in arguments]}
    if origin is dict:
        return {"type": "object", "additionalProperties": _describe(arguments[1], definitions)}
    if origin is tuple and arguments[-1] is Ellipsis:
        return {"type": "array", "items": _describe(arguments[0], definitions)}
    if origin is tuple:
        items = [_describe(each, definitions) for each in arguments]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
    if kind.__name__ not in definitions:
        definitions[kind.__name__] = {}  # before its fields, one of which may be of the same kind
        definitions[kind.__name__] = (
            {"type": "string", "enum": [each.value for each in kind]} if issubclass(kind, StrEnum) else _record(kind, definitions)
        )
    return {"$ref": f"#/$defs/{kind.__name__}"}


def _record(kind: type, definitions: dict[str, Any]) -> dict[str, Any]:
    # statistics.py imports these for the type checker alone.
    hints = get_type_hints(kind, localns={"Finding": Finding, "Code": Code, "Action": Action})
    text = " ".join(line.strip() for line in (kind.__doc__ or "").split("\n\n")[0].splitlines())
    return _object({name: _describe(hint, definitions) for name, hint in hints.items()}, text)


def _object(properties: dict[str, Any], text: str) -> dict[str, Any]:
    return {
        "type": "object",
        "description": text,
        "properties": properties,
        "required": sorted(properties),
        "additionalProperties": False,
    }


# CSV

CSV_COLUMNS = ("dataset", "table", "category", "item", "name", "value")
_ITEMS: dict[str, tuple[str, ...]] = {
    "overview": (),
    "comparison": (),
    "types": ("type",),
    "together": ("first", "second"),
    "survival": ("shrinking",),
    "looks": ("split",),
    "sources": (),
    "balance": ("step",),
}
"""Tables whose rows are of a category, and the fields that, joined by ` + `, say of what in it."""


def csv_text(statistics: Statistics, compared: Sequence[Statistics] = ()) -> str:
    """All numbers of all tables as one long table, a number a line: dataset, table, category, item, name, value.

    A table of the paper is a pivot of it; in pandas, Table 1 is `t[t.table == "overview"].pivot(index="category",
    columns="name", values="value")`. Heat maps are left to JSON. A cell that a spreadsheet would take for a formula begins with
    an apostrophe.
    """
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(CSV_COLUMNS)
    for each in (statistics, *compared):
        for row in _long(as_json(each)):
            rows.writerow(_cell(cell) for cell in (each.name, *row))
    return text.getvalue()


def _long(data: Mapping[str, Any]) -> Iterator[tuple[object, ...]]:
    """(table, category, item, name, value) of each number."""
    for name in ("layout", "images", "clean"):
        yield "dataset", "", "", name, data[name]
    for table, items in _ITEMS.items():
        found = data[table] if isinstance(data[table], list) else [data[table]]
        for row in found:
            item = " + ".join(row[key] for key in items)
            for name, value in _leaves({key: value for key, value in row.items() if key not in ("category", *items)}):
                yield table, row.get("category", ""), item, name, value
    for table, _ in _SPREADS:
        for category, spread in data[table].items():
            for name, value in _leaves(spread["quantiles"] or {"count": 0}):
                yield table, category, "", name, value
            edges = spread["histogram"]["edges"]
            for low, high, count in zip(edges[:-1], edges[1:], spread["histogram"]["counts"], strict=True):
                yield table, category, f"{low:g} to {high:g}", "count", count
    for number, copies in enumerate(data["copies"], 1):
        kind = f"{'exact' if copies['exact'] else 'near'} {number} {'across' if copies['across'] else 'inside'}"
        for path, split in copies["members"]:
            yield "copies", "", kind, path, split
    for overlap in data["overlaps"]:
        yield "overlaps", "", f"{overlap['first']} + {overlap['second']}", overlap["source"], overlap["pixels"]
    for finding in data["findings"]:
        yield "findings", "", finding["code"], finding["source"], finding["detail"]


def _leaves(row: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, object]]:
    """Each number with its name: `height.least`, `sizes.tiny`, `types.scratch`."""
    for key, value in row.items():
        name = f"{before}{key}"
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{name}.")
        elif key == "sizes":
            yield from ((f"{name}.{size}", count) for size, count in zip(sizes.NAMES, value, strict=True))
        elif isinstance(value, list):
            yield from ((f"{name}.{kind}", count) for kind, count in value)
        else:
            yield name, value


def _cell(value: object) -> object:
    """A number as it is, a name without what a spreadsheet would run or a terminal obey.

    >>> [_cell(value) for value in (0.25, None, True, "a", "=1+1", " @x", "＝1", "-3", "a\\nb")]
    [0.25, '', 'true', 'a', "'=1+1", "' @x", "'＝1", "'-3", 'a\\\\nb']
    """
    if value is None or isinstance(value, bool):
        return "" if value is None else str(value).lower()
    if isinstance(value, int | float):
        return value
    text = plain(value)
    # Full-width signs begin a formula too where the spreadsheet speaks Chinese or Japanese.
    return f"'{text}" if text.lstrip().startswith(("=", "+", "-", "@", "|", "%", "＝", "＋", "－", "＠")) else text


# LaTeX

_LATEX = {
    **{char: f"\\{char}" for char in "{}$&#%_"},
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"$\sim$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"{\char34}",
    "`": r"{\char96}",
    "*": "{*}",  # after a line's end a star or a bracket would be its argument
    "[": "{[}",
    "]": "{]}",
    YES: r"$\checkmark$",
    NO: r"$\times$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "±": r"$\pm$",
    "µ": r"$\mu$",
    "°": r"$^\circ$",
    "²": "$^2$",
    "³": "$^3$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "–": "--",
    "—": "---",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "ı": r"\i{}",
}
_ACCENTS = dict(
    zip("\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0327", "`'^~=u.\"rHvc", strict=True),
)


def latex(statistics: Statistics, compared: Sequence[Statistics] = ()) -> str:
    r"""Tables 1 and 2 and the quantiles of Figure 3 as LaTeX, each a `table*` with a caption and a label to refer to.

    They need the packages booktabs and amssymb, and any engine. Letters that plain LaTeX lacks stand as `\uXXXX`, and a comment
    says what they are.
    """
    chosen = [grid for grid in grids(statistics, compared) if grid.key in ("overview", "comparison", *dict(_SPREADS))]
    lines = [f"% threecad stats: {plain(statistics.name)}", r"% \usepackage{booktabs,amssymb}"]
    names = dict.fromkeys(row[0] for grid in chosen for row in grid.rows)
    lines += [f"% {escaped}: {plain(name)}" for name in names if (escaped := _spelled(plain(name))) != plain(name)]
    for grid in chosen:
        lines += ["", *_tabular(grid, statistics.name)]
    return "\n".join(lines) + "\n"


def _tabular(grid: Grid, name: str) -> Iterator[str]:
    title = grid.title.partition(": ")[2] if grid.title.startswith(("Table", "Figure")) else grid.title
    caption = f"{title[:1].upper()}{title[1:]} ({plain(name)})." + (f" {grid.note}" if grid.note else "")
    yield r"\begin{table*}[t]"
    yield r"\centering"
    yield f"\\caption{{{_tex(caption)}}}"
    yield f"\\label{{tab:{grid.key.replace('_', '-')}}}"
    yield f"\\begin{{tabular}}{{{grid.align.replace('p', 'l')}}}"
    yield r"\toprule"
    for line in zip(*_stacked(grid.columns), strict=True):  # a heading of several lines, as several rows: needs no package
        yield " & ".join(map(_tex, line)) + r" \\"
    yield r"\midrule"
    for row in grid.rows:
        if row[0] == ALL and len(grid.rows) > 1:
            yield r"\midrule"
        yield " & ".join(_tex(cell) for cell in row) + r" \\"
    yield r"\bottomrule"
    yield r"\end{tabular}"
    yield r"\end{table*}"


def _tex(text: str) -> str:
    r"""Text that LaTeX prints and never obeys.

    >>> print(_tex("a_b & 50 % of é"), _tex("1~6/1~1"), _tex(r"\input{x}"))
    a\_b \& 50 \% of \'{e} 1$\sim$6/1$\sim$1 \textbackslash{}input\{x\}
    >>> print(_tex("划痕"))
    \textbackslash{}u5212\textbackslash{}u75d5
    """
    # Two equal signs in a row would become one, as -- becomes a dash.
    return "".join(map(_glyph, re.sub(r"([-',])(?=\1)", "\\1\0", plain(text)))).replace("\0", "{}")


def _glyph(char: str) -> str:
    if char in _LATEX:
        return _LATEX[char]
    if char.isascii():
        return char
    parts = unicodedata.normalize("NFD", char)
    base, mark = parts[0], parts[1:]
    if base.isascii() and base.isalpha() and mark in _ACCENTS:
        dotless = "\\" if base in "ij" else ""
        return f"\\{_ACCENTS[mark]}{{{dotless}{base}}}"
    return "".join(_LATEX.get(each, each) for each in _code_point(char))


def _spelled(text: str) -> str:
    """The text as LaTeX shows it: what plain LaTeX lacks is spelled."""
    return "".join(_code_point(char) if _glyph(char).startswith(r"\textbackslash{}u") and char != "\\" else char for char in text)


def _code_point(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"


# Markdown


def markdown(statistics: Statistics, compared: Sequence[Statistics] = ()) -> str:
    """All tables as GitHub shows them, each under its title, and the verdict."""
    parts = [f"**{_mark_down(verdict(statistics))}**"]
    for grid in grids(statistics, compared):
        parts += [f"### {_mark_down(grid.title)}", "\n".join(_pipes(grid))]
        if grid.more:
            parts.append(f"… and {grid.more:,} more.")
        if grid.note:
            parts.append(_mark_down(grid.note))
    return "\n\n".join(parts) + "\n"


def _pipes(grid: Grid) -> Iterable[str]:
    heads = [_mark_down(column.replace("\n", " ")) for column in grid.columns]
    yield f"| {' | '.join(heads)} |"
    yield f"| {' | '.join('---:' if align == 'r' else ':---' for align in grid.align)} |"
    for row in grid.rows:
        yield f"| {' | '.join(_mark_down(cell) for cell in row)} |"


def _mark_down(text: str) -> str:
    r"""Text that Markdown shows as it is, in a cell or outside.

    >>> print(_mark_down("a|b <b>_c_</b> `d` $e$"))
    a\|b &lt;b&gt;\_c\_&lt;/b&gt; \`d\` \$e\$
    """
    marks = {"<": "&lt;", ">": "&gt;", "&": "&amp;", **{char: f"\\{char}" for char in "\\`*_[]|$~#"}}
    return "".join(marks.get(char, char) for char in plain(text))
