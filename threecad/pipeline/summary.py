"""What a person reads on the terminal, and what a program reads instead."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from threecad.domain import MEANING, Action, Code, Split, State

if TYPE_CHECKING:  # everybody's words stand here, too: who wants `plain` need not load all that a conversion does
    from threecad.formats.dataset import Manifest
    from threecad.pipeline.check import Check
    from threecad.pipeline.companions import Companions
    from threecad.pipeline.convert import Conversion, Progress

_ALIKE = (
    "But {page} shows tiles that stand in two splits and look the same or nearly so, though their photographs differ: "
    "where they show one part, split.group keeps its photographs together."
)

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
        parts.TextColumn("left"),
        console=console,
        transient=True,
    )
    began, doing = time.monotonic(), ""
    with bar:
        task = bar.add_task(verb, total=None, rate="")

        def update(step: Progress) -> None:
            nonlocal began, doing
            if step.doing != doing:
                began, doing = time.monotonic(), step.doing
                bar.reset(task, description=doing or verb)
            bar.update(task, completed=step.done, total=step.total, rate=_rate(step, began))

        yield update


def _log(verb: str) -> Callable[[Progress], None]:
    began = said = time.monotonic()
    doing = ""

    def update(step: Progress) -> None:
        nonlocal began, doing, said
        now = time.monotonic()
        if step.doing != doing:
            began, doing = now, step.doing
        if now - said >= EVERY_SECONDS:
            said = now
            left = (now - began) / step.done * (step.total - step.done)
            print(
                f"{doing or verb}: {step.done}/{step.total} images, {_rate(step, began)}, {_clock(left)} left",
                file=sys.stderr,
                flush=True,
            )

    return update


def _rate(step: Progress, began: float) -> str:
    seconds = max(time.monotonic() - began, 1e-9)
    return f"{step.megapixels / seconds:.1f} MP/s" if step.megapixels else f"{step.done / seconds:.0f} images/s"


def _clock(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02d}:{second:02d}"


def show(done: Conversion, raw: str | Path, beside: Companions | None = None) -> None:
    """Print the summary of a conversion, and where the page beside it is."""
    from threecad.pipeline.config import Pipeline
    from threecad.pipeline.publish import UNUSED

    console = terminal()
    manifest = done.manifest
    if manifest is None:
        say(console, _rehearsal(done))
        return
    if done.changed:
        say(console, _work_done(done))
        rows = {name: [getattr(each.shapes, field) for field in _SHAPES] for name, each in manifest.categories.items()}
        _show(console, _tiles(manifest), _counts(("shapes", *_SHAPES[1:]), rows), _findings(_notable(manifest)))
        say(console, _audit(manifest))
        if beside is not None and beside.clean is False:
            say(console, _ALIKE.format(page=beside.page))
    else:
        say(console, f"Nothing to do: {count(done.unchanged, 'source')} unchanged ({done.seconds:.1f} s).")
    if done.queued:
        waiting = sum(actions.get(Action.QUEUED, 0) for actions in manifest.findings.values())
        own = [] if manifest.pipeline == Pipeline().model_dump(mode="json") else ["--pipeline", str(done.out / "pipeline.toml")]
        say(console, f"Relabel queue: {done.out / 'relabel.csv'} ({count(waiting, 'entry', 'entries')})", whole=True)
        say(console, f"Data set: {done.out}", whole=True)
        if beside is not None:
            say(console, f"Report, where the queue is decided: {beside.page}", whole=True)
        say(console, f"Next, to lay the queue out for labelme: {_command('check', str(raw), *own)}", whole=True)
    else:
        say(console, f"Data set: {done.out}", whole=True)
        if beside is not None:
            say(console, f"Report: {beside.page}", whole=True)
        used = any(split != UNUSED for category in manifest.categories.values() for split in category.tiles)
        after = f"Next: {_command('stats', str(done.out))}, or in Python threecad.Dataset({str(done.out)!r})"
        say(console, after if used else "It holds no image: the findings say why.", whole=True)


def show_check(done: Check, raw: str | Path, *, like: bool = False) -> None:
    """Print the summary of a check; `like` says that it ran with options a conversion has to be given again."""
    from threecad.pipeline.check import Row

    console = terminal()
    head = [
        raw.rstrip("/").rpartition("/")[2] if isinstance(raw, str) else raw.resolve().name,
        f"{count(done.images, 'image')}{_left_out(done)}",
        count(done.annotated, "annotation"),
    ]
    head.append(count(len(done.rows), "category", "categories"))
    if done.versions:
        head.append(f"labelme {_versions(done.versions)}")
    say(console, " · ".join(head))
    _show(console, _counts(Row._fields[1:], {row.category: list(row[1:]) for row in done.rows}), _findings(*_by_code(done)))
    if done.out is not None:
        say(console, f"Findings: {done.out / 'findings.jsonl'}", whole=True)
        if done.queued:
            waiting = sum(finding.action is Action.QUEUED for finding in done.findings)
            say(console, f"Relabel queue: {done.out / 'relabel.csv'} ({count(waiting, 'entry', 'entries')})", whole=True)
        if done.relabel:
            say(console, f"For labelme: {done.out / 'relabel'}{os.sep} ({count(done.relabel, 'file')})", whole=True)
    if done.fixed is not None:
        say(console, f"Repaired annotations: {done.fixed}{os.sep}", whole=True)
    first = "Next, when that is drawn" if done.queued else "Next"
    same = " (and the options of this check)" if like else ""
    say(console, f"{first}: {_command('convert', str(raw), 'OUT')}{same}", whole=True)


def _left_out(done: Check) -> str:
    """The images that no row of the table counts, for nothing is known of them, and the findings that say so."""
    left = done.images - sum(row.images for row in done.rows)
    codes = {each.code.value for each in done.findings if each.code in (Code.UNANNOTATED, Code.FLAG_WITHOUT_SHAPE)}
    return f", {left:,} of them left out ({', '.join(sorted(codes))})" if left else ""


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
        "findings": {
            code.value: {action.value: dict(sorted(places.items())) for action, places in actions.items()}
            for code, actions in sorted(done.table().items())
        },
        "fixed": None if done.fixed is None else str(done.fixed),
        "images": done.images,
        "out": None if done.out is None else str(done.out),
        "queued": done.queued,
        "relabel_files": done.relabel,
        "seconds": round(done.seconds, 3),
        "versions": done.versions,
    }


def plain(text: object) -> str:
    r"""The text without what a name or a label could do to a terminal: what cannot be printed stands as its escape.

    >>> plain("a\x1b[2Jb\n")
    'a\\x1b[2Jb\\n'
    """
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in str(text))


_TO_DO = (Action.QUEUED, Action.DROPPED)
_SHAPES = ("total", "kept", "repaired", "queued", "dropped")
_MORE_THAN_A_SCREEN = 1000
"""Columns of what is no terminal: nothing is folded there."""

_ADVICE = {
    Code.UNANNOTATED: "--unannotated good takes such images in",
    Code.FLAG_WITHOUT_SHAPE: "draw the defect, or clear the flag",
    Code.TOO_LARGE: "read.max_megapixels sets the limit",
    Code.UNKNOWN_LABEL: "labels.aliases is the table",
    Code.NEEDS_WIDTH: "repair.line_width and repair.point_radius are the widths",
    Code.SIZE_MISMATCH: "read.size_mismatch says what to do",
    Code.TILE_TOO_SMALL: "tiling.min_side_ratio sets the limit",
    Code.NOTHING_TO_TRAIN_ON: "a folder named good, an empty annotation or --unannotated good makes images good",
}
"""What to do about a finding, where a setting or a flag does it."""


def _work_done(done: Conversion) -> str:
    rate = done.megapixels / done.seconds if done.seconds else 0.0
    text = f"{count(done.converted, 'source')} converted"
    if done.unchanged:
        text += f", {done.unchanged:,} unchanged"
    if done.removed:
        text += f", {done.removed:,} removed"
    return f"{text} in {done.seconds:.1f} s ({rate:.1f} MP/s)."


def _rehearsal(done: Conversion) -> str:
    if not done.changed:
        return f"Nothing to do: {count(done.unchanged, 'source')} unchanged. Nothing was written."
    work = []
    if done.converted:
        work.append(f"convert {count(done.converted, 'source')} ({done.megapixels:.1f} MP, {count(done.windows, 'window')})")
    if not done.converted:
        work.append("lay the files and lists out anew")
    if done.unchanged:
        work.append(f"leave {done.unchanged:,} encoded as {'it is' if done.unchanged == 1 else 'they are'}")
    if done.removed:
        work.append(f"remove {done.removed:,}")
    return f"Would {', '.join(work[:-1]) + ' and ' if len(work) > 1 else ''}{work[-1]}. Nothing was written."


def _tiles(manifest: Manifest) -> Table:
    """How many tiles of each category went where; eight columns of numbers and a name fit 80 characters."""
    from threecad.pipeline.publish import UNUSED

    columns: dict[str, tuple[str, tuple[State, ...]]] = {
        "train": (Split.TRAIN, tuple(State)),
        "valid.": (Split.VALIDATION, tuple(State)),
        "test\ngood": (Split.TEST, (State.GOOD,)),
        "test\ndefect": (Split.TEST, (State.DEFECT,)),
        "unused\nambiguous": (UNUSED, (State.AMBIGUOUS,)),
        "unused\npoisoned": (UNUSED, (State.POISONED,)),
        "unused\nclean": (UNUSED, (State.GOOD,)),
    }
    if not any(Split.VALIDATION in category.tiles for category in manifest.categories.values()):
        del columns["valid."]
    rows = {
        name: [
            category.sources,
            *(sum(category.tiles.get(split, {}).get(state, 0) for state in states) for split, states in columns.values()),
        ]
        for name, category in manifest.categories.items()
    }
    return _counts(("sources", *columns), rows)


def _counts(columns: Sequence[str], rows: Mapping[str, Sequence[int]]) -> Table:
    """Numbers for each category, and their sums where there are several. Names fold where there is no room, numbers never."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("category", overflow="fold", vertical="bottom", min_width=8)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True, vertical="bottom")
    lines = [(name, list(numbers)) for name, numbers in rows.items()]
    if len(lines) > 1:
        lines.append(("All", [sum(column) for column in zip(*rows.values(), strict=True)]))
    for name, numbers in lines:
        table.add_row(Text(plain(name)), *(f"{number:,}" for number in numbers))
    return table


def _findings(found: Mapping[Code, Mapping[Action, int]], where: Mapping[tuple[Code, Action], str] | None = None) -> Table:
    """How often each code ended how, what waits for a person first; the texts are last, where they may wrap.

    `where` tells how many there are of each category; left out where there is but one.
    """
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("code", no_wrap=True)
    table.add_column("count", justify="right", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    table.add_column("finding", overflow="fold")
    if where:
        table.add_column("where", overflow="fold")
    for action in (*_TO_DO, Action.REPAIRED, Action.KEPT):
        for code, counted in sorted(found.items()):
            if counted.get(action):
                advice = f"; {_ADVICE[code]}" if code in _ADVICE else ""
                cells = (
                    [Text(MEANING[code] + advice), Text(plain(where[code, action]))] if where else [Text(MEANING[code] + advice)]
                )
                table.add_row(code.value, f"{counted[action]:,}", action.value, *cells)
    return table


def _notable(manifest: Manifest) -> dict[Code, Counter[Action]]:
    """What waits for a person, is not in the data set, bears on splits, or is a decision that fits nothing; how many shapes were
    repaired is told elsewhere."""
    told = {code for code in Code if code.startswith("TC3")} | {Code.DECISION_STALE}
    chosen = {
        code: Counter({action: count for action, count in actions.items() if action in _TO_DO or code in told})
        for code, actions in manifest.findings.items()
    }
    return {code: actions for code, actions in chosen.items() if actions}


def _audit(manifest: Manifest) -> str:
    text = "Leak audit: no source, group, duplicate or overlapping tile is in two splits"
    crowds = sum(manifest.findings.get(Code.CROWD, {}).values())
    if crowds:
        text += f"; {count(crowds, 'crowd')} of look-alikes {'was' if crowds == 1 else 'were'} not bound ({Code.CROWD.value}): "
        text += "give split.group if they show the same part"
    text += "."
    alike = sum(manifest.findings.get(Code.LEAK, {}).values())
    if alike:
        text += f" {count(alike, 'pair')} of equal tiles from different images (blank?): {Code.LEAK.value} in findings.jsonl."
    return text


def _versions(versions: Mapping[str, int]) -> str:
    """The commonest three; a version is whatever the file says, so it may be anything and of any length."""
    most = sorted(versions.items(), key=lambda pair: (-pair[1], pair[0]))
    text = ", ".join(f"{version[:16]} ({count:,})" for version, count in most[:3])
    return f"{text} and {len(most) - 3:,} more" if len(most) > 3 else text


def _by_code(done: Check) -> tuple[dict[Code, dict[Action, int]], dict[tuple[Code, Action], str]]:
    """How often each code ended how, and in which categories, as `bracket 4, glass 1`."""
    table = done.table()
    counts = {code: {action: places.total() for action, places in actions.items()} for code, actions in table.items()}
    if len(done.rows) < 2:
        return counts, {}
    return counts, {
        (code, action): ", ".join(f"{name or 'no category'} {count:,}" for name, count in sorted(places.items()))
        for code, actions in table.items()
        for action, places in actions.items()
    }


def _command(*words: str) -> str:
    return shlex.join(("threecad", *words))


def terminal() -> Console:
    """Standard output; in a file or a pipe, so wide that nothing is folded."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_MORE_THAN_A_SCREEN)


def count(number: int, one: str, several: str | None = None) -> str:
    """So many of something, in words.

    >>> count(1, "image"), count(2_000, "image"), count(0, "entry", "entries")
    ('1 image', '2,000 images', '0 entries')
    """
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def _show(console: Console, *tables: Table) -> None:
    """The tables that have a row, an empty line around each."""
    console.print()
    for table in tables:
        if table.row_count:
            # On a very narrow terminal a line that runs over is better than a column that is not there.
            names = table.columns[0]
            names.max_width = 12
            least = console.measure(table, options=console.options.update_width(_MORE_THAN_A_SCREEN)).minimum
            names.max_width = None
            table.width = least if console.width < least else None
            console.print(table, crop=False)
            console.print()


def say(console: Console, text: str, *, whole: bool = False) -> None:
    """One line; what holds a path or a command is never broken, so that it can be copied `whole`."""
    console.print(Text(plain(text)), soft_wrap=whole)
