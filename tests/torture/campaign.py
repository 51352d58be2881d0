"""The fault campaign: threecad is struck in every known way, and each time asked for the bytes of an undisturbed run.

    python tests/torture/campaign.py                          15 minutes of all kinds
    python tests/torture/campaign.py --minutes 60 --seed 7    longer, with another dice
    python tests/torture/campaign.py --kinds kill,power       some kinds only
    python tests/torture/campaign.py --kinds load             10,000 sources in one process
    python tests/torture/campaign.py --json campaign.json     every trial, with machine, versions and commit

Exit code 1 where anything was lost; the folders of those trials are kept and named. README.md beside this file says more.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from torture import changing, clock, cluster, dying, full, killed, load, power, readonly, remote, signalled, together
from torture.reference import OLD_ENOUGH, OTHER, PLAIN, QUICK, ROOT, Reference, command, draw, environment, tree
from torture.trial import Kind, Lost, Skipped, Trial, Unfinished

KINDS: tuple[Kind, ...] = (
    Kind("load", "many sources in one process: nothing is held afterwards", load.attempt, once=True),
    *(
        kind
        for module in (killed, signalled, full, power, readonly, changing, clock, together, dying, cluster, remote)
        for kind in module.KINDS
    ),
)
MARGIN = 12.0  # seconds kept for what is under way when the time is over, and for the table
PATIENCE = 2.0


@dataclass(slots=True)
class Outcome:
    """One trial: what was tried, and what came of it: survived, lost, skipped or unfinished."""

    kind: str
    number: int
    faults: int
    came: str
    reason: str
    seconds: float
    notes: dict[str, int]
    worst: dict[str, float]
    folder: str | None = None


@dataclass(slots=True)
class Campaign:
    """The trials of some kinds until the time is over, on as many threads as there are jobs."""

    reference: Reference
    kinds: Sequence[Kind]
    seed: int
    most: int | None
    outcomes: list[Outcome] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    _begun: Counter[str] = field(default_factory=Counter)
    _spent: Counter[str] = field(default_factory=Counter)
    _skipped: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def work(self) -> None:
        """One job: trials of the kind that is furthest behind its share, one after the other."""
        while not self.stop.is_set() and (chosen := self._next()) is not None:
            kind, number, expected = chosen
            outcome = self.attempt(kind, number)
            with self._lock:
                self._spent[kind.name] += round(1000 * (outcome.seconds - expected))
                self.outcomes.append(outcome)
                if outcome.came == "skipped":
                    self._skipped.add(kind.name)

    def _next(self) -> tuple[Kind, int, float] | None:
        with self._lock:
            left = self.reference.ends - time.monotonic()
            open_ = [kind for kind in self.kinds if self._wanted(kind, left)]
            if not open_:
                return None
            kind = min(open_, key=lambda each: (not each.once, self._spent[each.name] / each.share))
            expected = self._expected(kind)
            self._begun[kind.name] += 1
            self._spent[kind.name] += round(1000 * expected)
            return kind, self._begun[kind.name], expected

    def _wanted(self, kind: Kind, left: float) -> bool:
        most = 1 if kind.once else self.most
        if kind.name in self._skipped or (most is not None and self._begun[kind.name] >= most):
            return False
        return left > 1.5 * self._expected(kind)

    def _expected(self, kind: Kind) -> float:
        """Seconds of one more trial, from those there were."""
        past = [outcome.seconds for outcome in self.outcomes if outcome.kind == kind.name]
        return sum(past) / len(past) if past else 3 * self.reference.seconds

    def attempt(self, kind: Kind, number: int) -> Outcome:
        """One trial in a folder of its own, which is deleted unless it holds what was lost."""
        began = time.monotonic()
        place = self.reference.base / f"{kind.name}-{number:03d}"
        dice = random.Random(f"{self.seed}/{kind.name}/{number}")
        place.mkdir()
        place.chmod(0o755)
        with ExitStack() as after:
            trial = Trial(self.reference, kind.name, number, place, dice, after)
            came, reason = "survived", ""
            try:
                kind.attempt(trial)
            except Lost as lost:
                came, reason = "lost", str(lost)
                (place / "reason.txt").write_text(f"{kind.name}, trial {number}, seed {self.seed}: {reason}\n")
            except Skipped as skipped:
                came, reason = "skipped", str(skipped)
            except Unfinished:
                came = "unfinished"
            if came == "lost" and trial.out.is_dir() and trial.out.parent != place:
                shutil.copytree(trial.out, place / "out-of-the-disk", symlinks=True)  # before it is unmounted
        if came != "lost":
            shutil.rmtree(place)
        kept = str(place) if came == "lost" else None
        faults = max(trial.faults, came == "lost") if came in ("survived", "lost") else 0
        return Outcome(
            kind.name, number, faults, came, reason, time.monotonic() - began, dict(trial.notes), dict(trial.worst), kept
        )


def prepare(base: Path, *, more: tuple[str, ...] = (), photographs: int = 8, age: bool = True) -> Reference:
    """Draw the photographs, and see what clean runs make of them, two at once as trials are."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what it puts in the background; commands inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    base.chmod(0o755)
    raw = draw(base / "line7", photographs)
    if age:
        time.sleep(OLD_ENOUGH)
    outs = {words: base / f"clean-{number}" / "out" for number, words in enumerate((PLAIN, OTHER, QUICK))}
    with ThreadPoolExecutor(2) as pool:
        durations = list(pool.map(lambda words: _clean(raw, outs[words], (*words, *more)), outs))
    trees = {words: tree(out) for words, out in outs.items()}
    return Reference(base, raw, outs, trees, dict(zip(outs, durations, strict=True)), more=more)


def _clean(raw: Path, out: Path, words: tuple[str, ...]) -> float:
    for name in ("cache", "tmp"):
        (out.parent / name).mkdir(parents=True)
    began = time.monotonic()
    done = subprocess.run(
        command(raw, out, words), cwd=ROOT, env=environment(out.parent), capture_output=True, text=True, check=False
    )
    if done.returncode != 3:
        raise SystemExit(f"a clean run ended with {done.returncode}, expected 3: {done.stderr.strip()[-400:]}")
    return time.monotonic() - began


# ---------------------------------------------------------------- what is shown


@contextmanager
def following(campaign: Campaign, seconds: float) -> Iterator[None]:
    """One line for the whole on a terminal, and a plain one every minute in a log."""
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("torture"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    began, done = time.monotonic(), threading.Event()

    def follow() -> None:
        said = began
        task = bar.add_task("", total=seconds)
        while not done.wait(0.5):
            now = time.monotonic()
            bar.update(task, completed=now - began, description=_so_far(campaign.outcomes))
            if not console.is_terminal and now - said > 60:
                said = now
                print(f"torture: {now - began:.0f} of {seconds:.0f} s, {_so_far(campaign.outcomes)}", file=sys.stderr, flush=True)

    with bar:
        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def _so_far(outcomes: Sequence[Outcome]) -> str:
    faults = sum(outcome.faults for outcome in outcomes)
    lost = sum(outcome.came == "lost" for outcome in outcomes)
    return f"{len(outcomes)} trials, {faults:,} faults, {lost} lost"


def show(campaign: Campaign, console: Console) -> None:
    table = Table("kind", box=None, header_style="bold", pad_edge=False)
    for name in ("trials", "tried", "survived", "lost", "seconds"):
        table.add_column(name, justify="right")
    table.add_column("")
    rows = summed(campaign.outcomes, campaign.kinds)
    for name, row in rows.items():
        figures = (
            str(row[key]) if key != "seconds" else f"{row[key]:.0f}" for key in ("trials", "tried", "survived", "lost", "seconds")
        )
        table.add_row(name, *figures, str(row["note"]))
    total = [sum(row[key] for row in rows.values()) for key in ("trials", "tried", "survived", "lost")]
    table.add_row("all", *map(str, total), f"{sum(row['seconds'] for row in rows.values()):.0f}", "")
    console.print(table)
    for outcome in campaign.outcomes:
        if outcome.came == "lost":
            console.print(
                f"lost: {outcome.kind} {outcome.number}: {outcome.reason}\n      kept: {outcome.folder}", soft_wrap=True
            )


def summed(outcomes: Sequence[Outcome], kinds: Sequence[Kind]) -> dict[str, dict[str, Any]]:
    """Kind → its row of the table. `tried` counts faults; all those of a trial that lost anything are lost."""
    rows: dict[str, dict[str, Any]] = {}
    for kind in kinds:
        own = [outcome for outcome in outcomes if outcome.kind == kind.name]
        judged = [outcome for outcome in own if outcome.came in ("survived", "lost")]
        notes: Counter[str] = Counter()
        worst: dict[str, float] = {}
        for outcome in judged:
            notes.update(outcome.notes)
            for name, value in outcome.worst.items():
                worst[name] = max(value, worst.get(name, value))
        said = [f"{name} {count}" if count > 1 or not kind.once else name for name, count in sorted(notes.items())]
        said += [f"{name} {value:.2f}" for name, value in worst.items()]
        said += sorted({f"skipped: {outcome.reason}" for outcome in own if outcome.came == "skipped"})
        if cut := sum(outcome.came == "unfinished" for outcome in own):
            said.append(f"{cut} cut off by the end of the time")
        rows[kind.name] = {
            "trials": len(judged),
            "tried": sum(outcome.faults for outcome in judged),
            "survived": sum(outcome.faults for outcome in judged if outcome.came == "survived"),
            "lost": sum(outcome.faults for outcome in judged if outcome.came == "lost"),
            "seconds": sum(outcome.seconds for outcome in own),
            "note": " · ".join(said) or ("not reached" if not own else ""),
        }
    return rows


def told(campaign: Campaign, minutes: float) -> dict[str, object]:
    """Everything for the JSON file."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    changed = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    versions = {name: metadata.version(name) for name in ("threecad", "numpy", "opencv-python", "filelock", "matplotlib")}
    return {
        "seed": campaign.seed,
        "minutes": minutes,
        "machine": {"system": platform.platform(), "cores": os.cpu_count(), "python": platform.python_version()},
        "versions": versions,
        "commit": commit + ("+" if changed else ""),
        "clean_seconds": campaign.reference.seconds,
        "kinds": summed(campaign.outcomes, campaign.kinds),
        "trials": [
            {name: getattr(outcome, name) for name in Outcome.__slots__ if name != "folder"} for outcome in campaign.outcomes
        ],
    }


def chosen(text: str | None) -> list[Kind]:
    """The kinds that were named, or all."""
    if text is None:
        return list(KINDS)
    names = {kind.name: kind for kind in KINDS}
    wanted = text.split(",")
    for name in wanted:
        if name not in names:
            raise SystemExit(f"no kind named {name!r}; there are {', '.join(names)}")
    return [names[name] for name in wanted]


def main() -> int:
    parser = argparse.ArgumentParser(description="Strike threecad in every way known, and compare with a clean run each time.")
    parser.add_argument("--minutes", type=float, default=15.0, help="the whole ends within them [15]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", metavar="A,B", help=f"of {', '.join(kind.name for kind in KINDS)} [all]")
    parser.add_argument("--trials", type=int, help="no more than so many of each kind [as many as there is time for]")
    parser.add_argument("--jobs", type=int, default=3, help="trials at the same time [3]")
    parser.add_argument("--sources", type=int, default=10_000, help="of the kind load [10000]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep every trial")
    arguments = parser.parse_args()
    kinds = chosen(arguments.kinds)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what is under way is ended and tidied up
    began = time.monotonic()
    base = Path(tempfile.mkdtemp(prefix="threecad-torture-"))
    try:
        reference = replace(prepare(base), sources=arguments.sources, ends=began + 60 * arguments.minutes - MARGIN)
        campaign = Campaign(reference, kinds, arguments.seed, arguments.trials)
        with following(campaign, 60 * arguments.minutes), ThreadPoolExecutor(arguments.jobs) as pool:
            jobs = [pool.submit(campaign.work) for _ in range(arguments.jobs)]
            try:
                for job in jobs:
                    job.result()
            except KeyboardInterrupt:
                print("torture: interrupted; the table tells of what was tried", file=sys.stderr)
            finally:
                campaign.stop.set()
                reference.ends = 0.0  # what is still under way, after Ctrl-C or a fault of the campaign's own, is given up
        show(campaign, Console(width=None if sys.stdout.isatty() else 150))
        if arguments.json is not None:
            arguments.json.write_text(json.dumps(told(campaign, arguments.minutes), indent=1, sort_keys=True) + "\n")
        lost = any(outcome.came == "lost" for outcome in campaign.outcomes)
    finally:
        _tidy(base)
    return int(lost)


def _tidy(base: Path) -> None:
    """Delete all but what the trials that lost something left."""
    for path in base.iterdir():
        if not (path / "reason.txt").exists():
            shutil.rmtree(path, ignore_errors=True)
    if not any(base.iterdir()):
        base.rmdir()


if __name__ == "__main__":
    sys.exit(main())
