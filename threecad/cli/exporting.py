"""The command that hands a run's models to other programs: export-model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from threecad.cli.frame import DONE, examples, main, mistakes, plain, print_json, printing
from threecad.cli.options import LOCAL, json_option

if TYPE_CHECKING:
    from threecad.learning.export import Exported


@main.command(
    "export-model",
    epilog=examples(
        "threecad export-model runs/data                        # each model as ONNX, into runs/data/export",
        "threecad export-model runs/data --category bottle --out line7/",
        "threecad export-model runs/data --format torch --json",
    ),
    short_help="Write a run's models as ONNX or for torch alone.",
)
@click.argument("run", type=LOCAL)
@click.option("--format", "to", type=click.Choice(["onnx", "torch"]), default="onnx", show_default=True, help="Kind of file.")
@click.option("--category", "categories", multiple=True, metavar="NAME|all", help="Only this category; may be repeated.")
@click.option("--out", type=LOCAL, metavar="DIR", help="Where they go [default: RUN/export].")
@click.option("--no-check", is_flag=True, help="Do not run the files to compare them with the run's own detector.")
@json_option
def export_model(run: Path, *, to: Any, categories: tuple[str, ...], out: Path | None, no_check: bool, as_json: bool) -> None:
    """Write the models of RUN as files that run without threecad: images in, smoothed maps and scores out.

    Each has a card beside it, NAME.json, that tells how to prepare an image and from which score on it is defective; the file
    holds the same. Unless --no-check is given, each file is run and compared with the run's own detector; one that says something
    else is not kept. docs/export.md shows how to use them.
    """
    with mistakes():
        from threecad.cli.learning import needs_torch

        needs_torch()
        from threecad.learning.export import export
        from threecad.learning.runs import Run

        def tell(done: Exported) -> None:
            if not as_json:
                with printing():
                    click.echo(_line(done))

        done = export(Run(run), out, to=to, categories=() if "all" in categories else categories, check=not no_check, tell=tell)
        if as_json:
            with printing():
                print_json({"run": str(run), "models": [_row(each) for each in done]})
    sys.exit(DONE)


def _line(done: Exported) -> str:
    found = done.differences
    checked = (
        "not compared with the run's own"
        if found is None
        else f"differs from the run's own by at most {found.map:.1e} (map) and {found.score:.1e} (score)"
    )
    return f"{plain(done.name)}: {plain(done.path)}, {done.bytes / 1e6:.1f} MB; {checked}"


def _row(done: Exported) -> dict[str, object]:
    found = done.differences
    return {
        "name": done.name,
        "file": str(done.path),
        "card": str(done.card),
        "bytes": done.bytes,
        "differences": None if found is None else {"map": found.map, "score": found.score},
    }
