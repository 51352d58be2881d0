"""What a person reads on the terminal after `threecad agree`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from threecad.curation.agreement import Row
from threecad.pipeline.agree.result import BOTH, Agreement, Coefficient, Scores
from threecad.pipeline.agree.words import distance, share, short
from threecad.pipeline.summary import count, say, terminal

_MOST_CONFUSIONS = 10
_MOST_TEXT = 40  # letters of a name or a label
TYPE, SIZE = "type", "size"
_MEASURES = {"f1": "F1", "mean_iou": "mean IoU", "kappa": "kappa"}


def show(done: Agreement, *, table: str | Path | None = None, page: str | Path | None = None) -> None:
    """Print the summary of an agreement; `table` and `page` are the files it was written to."""
    console = terminal()
    say(console, _head(done))
    several = len(done.annotators) > 1
    tables = [_totals(done.annotators), _nearness(done.annotators)]
    tables += [_rows(TYPE, [(each.name, each.types) for each in done.annotators], several, "no type")]
    tables += [_rows(SIZE, [(each.name, each.sizes) for each in done.annotators], several, "no area")]
    tables += [_confusions(done.annotators, several), _beside(done)]
    console.print()
    for one in tables:
        if one.row_count:
            console.print(one, crop=False)
            console.print()
    for note in _notes(done):
        say(console, note)
    if table is not None:
        say(console, f"Every defect: {table}", whole=True)
    if page is not None:
        say(console, f"The disagreements, drawn: {page}", whole=True)
    for text in _verdict(done):
        say(console, text)


def _head(done: Agreement) -> str:
    parts = [done.reference, count(done.images, "image"), count(len(done.annotators), "annotator")]
    return " · ".join([*parts, f"matched from IoU {done.min_iou:g} on"])


def _totals(annotators: Iterable[Scores]) -> Table:
    table = _table(
        ["annotator"], ["ref.", "drawn", "agreed", "other\ntype", "missed", "extra", "unus-\nable", "prec.", "recall", "F1"]
    )
    for each in annotators:
        tally = each.total.tally
        shares = (tally.precision, tally.recall, tally.f1)
        table.add_row(_name(each.name), *_counted(each.total), *map(share, shares))
    return table


def _nearness(annotators: Iterable[Scores]) -> Table:
    table = _table(
        ["annotator"], ["images", "matched", "IoU\nmean", "IoU\nmedian", "distance\npx", "Hausd.\npx", "area\nratio", "kappa"]
    )
    for each in annotators:
        near = each.total.closeness
        table.add_row(
            _name(each.name),
            f"{each.images:,}",
            f"{near.pairs:,}",
            share(near.mean_iou),
            share(near.median_iou),
            distance(near.mean_distance),
            distance(near.mean_hausdorff),
            share(near.median_area_ratio),
            share(each.kappa.value),
        )
    return table


def _rows(what: str, groups: Sequence[tuple[str, Sequence[Row]]], several: bool, nameless: str) -> Table:
    """A line a type, or a size class, of each annotator."""
    first = ["annotator", what] if several else [what]
    table = _table(first, ["ref.", "drawn", "agreed", "other\ntype", "missed", "extra", "unus-\nable", "F1", "IoU"])
    for annotator, rows in groups:
        for number, row in enumerate(rows):
            who = [_name(annotator if number == 0 else "")] if several else []
            name = nameless if row.name is None else row.name
            table.add_row(*who, _name(name), *_counted(row, what == TYPE), share(row.tally.f1), share(row.closeness.mean_iou))
    return table


def _confusions(annotators: Iterable[Scores], several: bool) -> Table:
    table = _table([*(["annotator"] if several else []), "reference", "drawn as"], ["defects"])
    for each in annotators:
        wrong = sorted((-times, *pair) for pair, times in each.confusion.items() if pair[0] != pair[1])
        for number, (times, reference, drawn) in enumerate(wrong[:_MOST_CONFUSIONS]):
            who = [_name(each.name if number == 0 else "")] if several else []
            table.add_row(*who, _name(reference), _name(drawn), f"{-times:,}")
    return table


def _beside(done: Agreement) -> Table:
    table = _table(["annotators", ""], ["images", "matched", "IoU", "F1"])
    for each in done.between:
        numbers = f"{each.images:,}", f"{each.pairs:,}", share(each.mean_iou), share(each.f1)
        table.add_row(_name(each.one), _name(each.other), *numbers)
    return table


def _notes(done: Agreement) -> Iterable[str]:
    if any(row.tally.mistaken for each in done.annotators for row in each.types):
        yield "Other type, by type: drawn under another type; in brackets, drawn under this one although it is another."
    for each in done.annotators:
        if each.kappa.value is None:
            yield f"{_short(each.name)}: kappa is not defined: {each.kappa.reason}."
    if done.alpha:
        calls, types = done.alpha["calls"], done.alpha["types"]
        yield f"Krippendorff's alpha among the annotators: good or defective {_told(calls)}; types of an image {_told(types)}."
    for each in done.annotators:
        if each.excused:
            yield f"{_short(each.name)}: {count(each.excused, 'defect')} more where the reference is no guide, not counted."
    if done.unusable:
        yield f"{count(done.unusable, 'shape')} of the reference cannot be used and were not compared; threecad check says why."
    reasons = Counter((each.annotator, each.side, each.reason) for each in done.left_out)
    examples = {(each.annotator, each.side, each.reason): each.image for each in reversed(done.left_out)}
    for key, number in reasons.items():
        annotator, side, reason = key
        which = f"{'' if number == 1 else 'the first '}{_short(examples[key])}"
        where = "" if side == BOTH else f"only in the {side}'s folder; "
        yield f"{_short(annotator)}: {count(number, 'image')} not compared, {which}: {where}{reason}."


def _verdict(done: Agreement) -> Iterable[str]:
    bars = done.bars
    if bars.min_f1 is bars.min_mean_iou is bars.min_kappa is None:
        return
    if not done.below:
        yield "Every annotator reaches every bar."
    for each in done.below:
        found = f"is not defined ({each.reason})" if each.value is None else share(each.value)
        yield f"Below the bar: {_short(each.annotator)}: {_MEASURES[each.measure]} {found}, at least {each.bar:g} is asked for."


def _told(one: Coefficient) -> str:
    return f"not defined ({one.reason})" if one.value is None else share(one.value)


def _counted(row: Row, both_ways: bool = False) -> list[str]:
    tally = row.tally
    other = f"{tally.confused:,} ({tally.mistaken:,})" if both_ways and tally.mistaken else f"{tally.confused:,}"
    return [
        f"{tally.reference:,}",
        f"{tally.drawn:,}",
        f"{tally.right:,}",
        other,
        f"{tally.missed:,}",
        f"{tally.extra:,}",
        f"{tally.unusable:,}",
    ]


def _table(names: Sequence[str], numbers: Sequence[str]) -> Table:
    """Names fold where there is no room, numbers never."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    for name in names:
        table.add_column(name, overflow="fold", vertical="bottom", min_width=min(8, max(4, len(name))))
    for number in numbers:
        table.add_column(number, justify="right", no_wrap=True, vertical="bottom")
    return table


def _name(text: str) -> Text:
    return Text(_short(text))


def _short(text: str) -> str:
    return short(text, _MOST_TEXT)
