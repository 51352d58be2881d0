"""What a person reads on the terminal, and what a program reads instead."""

from __future__ import annotations

import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from threecad.domain import MEANING, Action, Code, Split, State
from threecad.formats.dataset import Category, Manifest
from threecad.pipeline.check import Check
from threecad.pipeline.convert import Conversion, Progress
from threecad.pipeline.publish import UNUSED

EVERY_SECONDS = 10.0
"""How often a run that writes into a log says how far it is."""


@contextmanager
def progress(verb: str, quiet: bool = False) -> Iterator[Callable[[Progress], None]]:
    """A bar with rate and time left on a terminal, a plain line now and then in a log; always on standard error."""
    console = Console(stderr=True)
    if console.is_terminal and not quiet:
        with _bar(verb, console) as update:
            yield update
    else:
        yield _log(verb)


@contextmanager
def _bar(verb: str, console: Console) -> Iterator[Callable[[Progress], None]]:
    from rich import progress as parts

    bar = parts.Progress(
        parts.TextColumn("{task.description}"),
        parts.BarColumn(),
        parts.MofNCompleteColumn(),
        parts.TextColumn("images"),
        parts.TextColumn("{task.fields[rate]}"),
        parts.TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    began = time.monotonic()
    with bar:
        task = bar.add_task(verb, total=None, rate="")

        def update(step: Progress) -> None:
            bar.update(task, completed=step.done, total=step.total, rate=_rate(step, began))

        yield update


def _log(verb: str) -> Callable[[Progress], None]:
    began = said = time.monotonic()

    def update(step: Progress) -> None:
        nonlocal said
        now = time.monotonic()
        if now - said >= EVERY_SECONDS:
            said = now
            left = (now - began) / step.done * (step.total - step.done)
            print(
                f"{verb}: {step.done}/{step.total} images, {_rate(step, began)}, {_clock(left)} left", file=sys.stderr, flush=True
            )

    return update


def _rate(step: Progress, began: float) -> str:
    seconds = max(time.monotonic() - began, 1e-9)
    return f"{step.megapixels / seconds:.1f} MP/s" if step.megapixels else f"{step.done / seconds:.0f} images/s"


def _clock(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02d}:{second:02d}"


def show(done: Conversion, raw: Path) -> None:
    """Print the summary of a conversion."""
    console = _console()
    if done.manifest is None:
        _say(console, _rehearsal(done))
    elif not done.changed:
        _say(console, f"Nothing to do: {_count(done.unchanged, 'source')} unchanged ({done.seconds:.1f} s).")
    else:
        _say(console, _work_done(done))
    if done.manifest is None:
        return
    console.print(_categories(done.manifest))
    _say(console, *_left_out(done.manifest))
    _say(console, _audit(done.manifest))
    if done.queued:
        waiting = sum(actions.get(Action.QUEUED, 0) for actions in done.manifest.findings.values())
        _say(
            console,
            f"Relabel queue: {done.out / 'relabel.csv'} ({waiting}). Next: threecad check {raw}, which lays them out for labelme",
        )
    _say(console, f"Data set: {done.out}. Next: threecad.Dataset({str(done.out)!r}) in Python")


def show_check(done: Check, raw: Path) -> None:
    """Print the summary of a check."""
    console = _console()
    versions = ", ".join(f"{version} ({count})" for version, count in done.versions.items())
    head = [raw.resolve().name, _count(done.images, "image"), f"{done.annotated:,} annotated"]
    head += [_count(len(done.rows), "category", "categories"), f"labelme {versions}" if versions else "no annotation"]
    _say(console, " · ".join(head))
    table = _table("category", "images", "shapes", "kept", "repaired", "queued", "dropped")
    for row in done.rows:
        table.add_row(Text(row.category), *(f"{number:,}" for number in row[1:]))
    console.print(table)
    if done.findings:
        console.print(_findings(done))
    if done.out is not None:
        where = f"{done.out / 'findings.jsonl'}"
        if done.queued:
            waiting = sum(finding.action is Action.QUEUED for finding in done.findings)
            where += f" · relabel queue: {done.out / 'relabel.csv'} ({waiting})"
            if done.relabel:
                where += f" and {done.out / 'relabel'} ({_count(done.relabel, 'file')} that labelme opens)"
        _say(console, f"Findings: {where}")
    _say(console, f"Next: {'' if not done.queued else 'relabel, then '}threecad convert {raw} OUT")


def as_json(done: Conversion) -> dict[str, Any]:
    """A conversion as one JSON object."""
    return {
        "changed": done.changed,
        "converted": done.converted,
        "dry_run": done.manifest is None,
        "manifest": None if done.manifest is None else done.manifest.model_dump(mode="json"),
        "megapixels": round(done.megapixels, 3),
        "out": str(done.out),
        "queued": done.queued,
        "removed": done.removed,
        "seconds": round(done.seconds, 3),
        "unchanged": done.unchanged,
        "windows": done.windows,
    }


def checked_json(done: Check) -> dict[str, Any]:
    """A check as one JSON object."""
    return {
        "annotated": done.annotated,
        "categories": {
            row.category: {key: value for key, value in row._asdict().items() if key != "category"} for row in done.rows
        },
        "findings": {code.value: dict(actions) for code, actions in sorted(_by_code(done).items())},
        "images": done.images,
        "out": None if done.out is None else str(done.out),
        "queued": done.queued,
        "relabel_files": done.relabel,
        "seconds": round(done.seconds, 3),
        "versions": done.versions,
    }


def _work_done(done: Conversion) -> str:
    rate = done.megapixels / done.seconds if done.seconds else 0.0
    text = f"{_count(done.converted, 'source')} converted"
    if done.unchanged:
        text += f", {done.unchanged:,} unchanged"
    if done.removed:
        text += f", {done.removed:,} removed"
    return f"{text} in {done.seconds:.1f} s ({rate:.1f} MP/s)."


def _rehearsal(done: Conversion) -> str:
    if not done.changed:
        return f"Nothing to do: {_count(done.unchanged, 'source')} unchanged; nothing was written."
    work = f"{_count(done.converted, 'source')} ({done.megapixels:.1f} MP, {_count(done.windows, 'window')})"
    return f"Would convert {work}, leave {done.unchanged:,} as they are and remove {done.removed:,}; nothing was written."


def _categories(manifest: Manifest) -> Table:
    table = _table(
        *("category", "sources", "tiles", "train", "test\ngood", "test\ndefect", "ambig-\nuous", "poi-\nsoned", "clean,\nunused"),
        *("shapes", "re-\npaired", "queued", "dropped"),
    )
    validation = any(Split.VALIDATION in category.tiles for category in manifest.categories.values())
    if validation:
        table.columns[3].header = "train /\nvalid."
    rows = {name: _numbers(category) for name, category in manifest.categories.items()}
    if len(rows) > 1:
        rows["All"] = [sum(column) for column in zip(*rows.values(), strict=True)]
    for name, numbers in rows.items():
        cells = [f"{number:,}" for number in numbers]
        if validation:
            cells[2] += f" / {cells[-1]}"
        table.add_row(Text(name), *cells[:-1])
    return table


def _numbers(category: Category) -> list[int]:
    def tiles(split: str, *states: State) -> int:
        return sum(category.tiles.get(split, {}).get(state, 0) for state in states)

    total = sum(sum(states.values()) for states in category.tiles.values())
    shapes = category.shapes
    return [
        category.sources,
        total,
        tiles(Split.TRAIN, *State),
        tiles(Split.TEST, State.GOOD),
        tiles(Split.TEST, State.DEFECT),
        *(tiles(UNUSED, state) for state in (State.AMBIGUOUS, State.POISONED, State.GOOD)),
        shapes.total,
        shapes.repaired,
        shapes.queued,
        shapes.dropped,
        tiles(Split.VALIDATION, *State),
    ]


def _left_out(manifest: Manifest) -> list[str]:
    """One line for each kind of image that is not in the data set, with what would take it in."""
    notes = {
        Code.UNANNOTATED: "images without annotation were left out; --unannotated good takes them in as good",
        Code.FLAG_WITHOUT_SHAPE: "images with a flag but no shape were left out; draw the defect, or clear the flag",
        Code.IMAGE_UNREADABLE: "images could not be decoded",
        Code.TOO_LARGE: "images are larger than read.max_megapixels allows",
        Code.FILE_UNREADABLE: "files could not be opened",
        Code.NOTHING_TO_TRAIN_ON: "categories have nothing to train on; a folder named good, an empty annotation or --unannotated good "
        "makes images good",
        Code.TILE_TOO_SMALL: "images lost windows that are too narrow; tiling.min_side_ratio sets the limit",
        Code.MIXED_GROUP: "groups hold good and defective images, so all of each tests",
    }
    return [
        f"{sum(manifest.findings[code].values()):,} {text} ({code.value})."
        for code, text in notes.items()
        if code in manifest.findings
    ]


def _audit(manifest: Manifest) -> str:
    text = "Leak audit: no source, group, duplicate or overlapping tile stands in two splits"
    alike = sum(manifest.findings.get(Code.LEAK, {}).values())
    return (
        f"{text}; {alike:,} tiles of different images are equal (blank?), see {Code.LEAK.value} in findings.jsonl."
        if alike
        else f"{text}."
    )


def _findings(done: Check) -> Table:
    table = Table("Findings", box=None, header_style="bold", pad_edge=False)
    table.add_column("how many", justify="right")
    table.add_column("code")
    for code, actions in sorted(_by_code(done).items()):
        for action in Action:
            if actions[action]:
                table.add_row(f"  {MEANING[code]} → {action.value}", f"{actions[action]:,}", code.value)
    return table


def _by_code(done: Check) -> Mapping[Code, Counter[Action]]:
    found: defaultdict[Code, Counter[Action]] = defaultdict(Counter)
    for finding in done.findings:
        found[finding.code][finding.action] += 1
    return found


def _table(first: str, *columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column(first, no_wrap=True, vertical="bottom")
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _console() -> Console:
    """Standard output; in a file or a pipe, wide enough that nothing is cut off."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=140)


def _count(number: int, one: str, several: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def _say(console: Console, *lines: str) -> None:
    for text in lines:
        console.print(Text(text), soft_wrap=True)
