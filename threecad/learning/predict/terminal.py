"""What a person reads on the terminal when a prediction is done, and what a program reads instead."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from threecad.learning.predict import Predictions, Verdict
from threecad.learning.predict.ledger import FAILED, LABELME, MAPS, OVERLAYS, SCORES
from threecad.pipeline.summary import count, plain, say, terminal

WORST = 10
"""Images in the table."""
MOST_FAILED = 20
"""Images that could not be read which are named one by one; the rest is in the list."""


def as_json(done: Predictions) -> dict[str, Any]:
    """A prediction as one JSON object; what was found in each image is in scores.jsonl."""
    return {
        "annotations_kept": list(done.edited),
        "defective": done.defective,
        "failed": dict(done.failed),
        "fresh": done.fresh,
        "images": len(done.verdicts),
        "megapixels": round(done.megapixels, 3),
        "out": str(done.out),
        "scores": str(done.out / SCORES),
        "seconds": round(done.seconds, 3),
        "worst": [verdict.model_dump(mode="json") for verdict in worst(done)],
    }


def worst(done: Predictions) -> list[Verdict]:
    """The images that lie farthest above their thresholds, or least below."""
    return sorted(done.verdicts, key=lambda verdict: (verdict.threshold - verdict.score, verdict.path))[:WORST]


def show(done: Predictions) -> None:
    console = terminal()
    if done.fresh:
        rate = f" ({done.megapixels / done.seconds:.1f} MP/s)" if done.seconds else ""
        stood = len(done.verdicts) - done.fresh
        rest = f", {stood:,} stood already" if stood else ""
        how = ", each by the model of its first folder" if done.by_folder else ""
        say(console, f"{count(done.fresh, 'image')} looked at{how}{rest}, in {done.seconds:.1f} s{rate}.")
    else:
        say(console, f"Nothing to do: {count(len(done.verdicts), 'image')} unchanged ({done.seconds:.1f} s).")
    if done.verdicts:
        console.print()
        console.print(_table(worst(done)), crop=False)
        console.print()
    defective = done.defective
    share = f" ({defective / len(done.verdicts):.1%})" if done.verdicts else ""
    say(console, f"{count(defective, 'image')} of {len(done.verdicts):,} {'is' if defective == 1 else 'are'} defective{share}.")
    if done.edited:
        kept = count(len(done.edited), "annotation")
        say(
            console,
            f"{kept} that somebody had changed {'was' if len(done.edited) == 1 else 'were'} left so (--overwrite replaces).",
        )
    say(console, f"Scores: {done.out / SCORES}", whole=True)
    folders = [name for name in (MAPS, OVERLAYS, LABELME) if (done.out / name).is_dir()]
    if folders:
        say(console, f"Beside it: {', '.join(name + os.sep for name in folders)}", whole=True)


def failures(done: Predictions) -> list[str]:
    """A line for each image that could not be looked at, as far as anybody wants to read them."""
    lines = [plain(f"{path}: {reason}") for path, reason in list(done.failed.items())[:MOST_FAILED]]
    if len(done.failed) > MOST_FAILED:
        lines.append(plain(f"and {count(len(done.failed) - MOST_FAILED, 'more image')}, all in {Path(done.out) / FAILED}"))
    return lines


def _table(verdicts: list[Verdict]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("image", overflow="fold")
    table.add_column("verdict", no_wrap=True)
    for column in ("score", "threshold", "regions", "pixels"):
        table.add_column(column, justify="right", no_wrap=True)
    for verdict in verdicts:
        table.add_row(
            Text(plain(verdict.path)),
            Text("defective", style="bold red") if verdict.defective else Text("normal"),
            f"{verdict.score:.4g}",
            f"{verdict.threshold:.4g}",
            f"{verdict.regions.count:,}",
            f"{verdict.regions.area:,}",
        )
    return table
