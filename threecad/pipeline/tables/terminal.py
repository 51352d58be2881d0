"""The tables, the faults and the verdict on the terminal, however narrow it is and whatever it can write."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from threecad.curation.statistics import ALL, Copies, Overlap, Statistics
from threecad.domain import MEANING, Code, Finding
from threecad.pipeline.summary import count, plain
from threecad.pipeline.tables.grid import Grid, grids, stacked
from threecad.pipeline.tables.judgement import verdict
from threecad.pipeline.tables.writing import NO, YES

MOST_ROWS = 60
"""Rows of a table on the terminal; Table 1 is always whole."""
MOST_FAULTS = 20
"""Faults listed one by one on the terminal."""
MOST_COPIES = 4
"""Images named of one group of equal ones."""


def show(statistics: Statistics, compared: Sequence[Statistics], console: Console, *, dataset: str | None = None) -> None:
    """Print everything; `dataset` is the folder as the user named it, for the next command (else the data set's name)."""
    head = [statistics.name, count(statistics.images, "image"), f"layout {statistics.layout}"]
    categories = [row for row in statistics.overview if row.category != ALL]
    head.insert(2, count(len(categories), "category", "categories"))
    console.print(Text(plain(" · ".join(head))), style="bold")
    console.print()
    if not statistics.images:
        console.print("It holds no image.\n")
    for grid in grids(statistics, compared):
        put(console, grid)
    folder = dataset or statistics.name
    rest = shlex.join(("threecad", "stats", folder, "--json"))
    _list(console, "Images that stand in two splits", [_same(each) for each in statistics.copies if each.across], rest)
    pairs = [_shared(overlap) for overlap in statistics.overlaps]
    _list(console, "Tiles in two splits that share pixels", pairs, rest)
    _list(console, "Faults", _faults(statistics.findings), rest)
    console.print(Text(verdict(statistics), style="bold green" if statistics.clean else "bold red"))
    for line in _next(statistics, folder):
        console.print(Text(plain(line)), soft_wrap=True)


def _next(statistics: Statistics, folder: str) -> Iterator[str]:
    """What to do about a split that is not clean. Leaving images out solves what stands in two splits, and nothing else."""
    doubts = statistics.doubts
    if statistics.overlaps or doubts.torn or any(each.across for each in statistics.copies):
        yield f"Next, to list what to drop: {shlex.join(('threecad', 'audit', folder, '--clean', 'drop.txt'))}"
    if doubts.listed:
        yield f"Next: correct the list, which names {count(doubts.listed, 'file')} in two splits."
    if doubts.unseen:
        unseen = count(doubts.unseen, "image or folder", "images or folders")
        yield f"Next: repair or remove {unseen} that could not be compared."
    if doubts.training:
        yield f"Next: move {count(doubts.training, 'defective image')} out of train."


def put(console: Console, grid: Grid) -> None:
    """A table under its title, an empty line after. Names and prose fold where there is no room, numbers never."""
    left, most = len(grid.rows), len(grid.rows) if grid.key == "overview" else MOST_ROWS
    rows = grid.rows
    if left > most:
        last = rows[-1:] if rows[-1][0] == grid.total else ()
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
    for heading, align, width in zip(stacked(grid.columns), grid.align, widths, strict=True):
        if align == "r":
            table.add_column("\n".join(heading), justify="right", no_wrap=True, width=width)
        else:
            table.add_column("\n".join(heading), overflow="fold", min_width=min(width, 8))
    for row in rows:
        table.add_row(*map(Text, row), style="bold" if row[0] == grid.total else None)
    return table


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
    return f"{' and '.join(tiles)} share {count(overlap.pixels, 'pixel')} of {overlap.source}"


def _fault(finding: Finding) -> str:
    shape = "" if finding.shape is None else f", shape {finding.shape}"
    return f"{finding.code.value} {finding.source}{shape}: {finding.detail or MEANING[finding.code]}"
