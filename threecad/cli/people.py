"""The commands about people who draw: agree."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from threecad.cli.frame import DONE, LOOK, examples, main, mistakes, print_json, printing
from threecad.cli.options import LOCAL, json_option, workers_option


@main.command(
    epilog=examples(
        "threecad agree reference/ anna/",
        "threecad agree reference/ anna/ ben/ --page today.html --csv today.csv",
        "threecad agree reference/ anna/ --min-f1 0.9 --min-mean-iou 0.8    # exit 3 where a bar is not reached",
    ),
    short_help="Compare annotators with a reference.",
)
@click.argument("reference", type=LOCAL)
@click.argument("annotators", nargs=-1, required=True, type=LOCAL, metavar="ANNOTATOR...")
@click.option("--pipeline", metavar="FILE", help="Pipeline file: its label table and repair hold for all.")
@click.option("--min-iou", type=float, default=0.1, show_default=True, help="Least overlap of a match.")
@click.option("--min-f1", type=float, help="Exit with 3 where an annotator's F1 is below.")
@click.option("--min-mean-iou", type=float, help="The same for the mean IoU of matched defects.")
@click.option("--min-kappa", type=float, help="The same for Cohen's kappa, good or defective.")
@click.option("--csv", "table", type=LOCAL, metavar="FILE", help="Write every defect there.")
@click.option("--page", type=LOCAL, metavar="FILE.html", help="Write a page with the disagreements drawn.")
@workers_option
@json_option
def agree(
    reference: Path,
    annotators: tuple[Path, ...],
    *,
    pipeline: str | None,
    min_iou: float,
    min_f1: float | None,
    min_mean_iou: float | None,
    min_kappa: float | None,
    table: Path | None,
    page: Path | None,
    workers: int | None,
    as_json: bool,
) -> None:
    """Compare what each ANNOTATOR drew with what REFERENCE holds for the same images.

    All are raw folders; an ANNOTATOR's may hold JSON files alone. Defects are matched by overlap: agreed, confused in their type,
    missed, extra. Matched ones get their IoU and the distance of the outlines in pixels, small defects apart from large.
    """
    with mistakes():
        from threecad.pipeline import agree as comparing
        from threecad.pipeline import summary
        from threecad.pipeline.agree import terminal

        bars = comparing.Bars(min_f1, min_mean_iou, min_kappa)
        with summary.progress("comparing", as_json) as progress:
            done = comparing.agree(
                reference,
                annotators,
                pipeline,
                min_iou=min_iou,
                bars=bars,
                table=table,
                page=page,
                workers=workers,
                progress=progress,
            )
        with printing():
            if as_json:
                print_json(comparing.as_json(done))
            else:
                terminal.show(done, table=table, page=page)
    sys.exit(LOOK if done.below else DONE)
