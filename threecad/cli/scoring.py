"""The command that measures any detector: score."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

import click

from threecad.cli.frame import DONE, examples, main, mistakes, print_json, printing
from threecad.cli.options import LOCAL, form_of, layout_options, request_from, workers_option


@main.command(
    epilog=examples(
        "threecad score maps/ mvtec/                           # maps/bottle/test/dent/000.npy, …",
        "threecad score maps/ data/ --category cover --json",
        "threecad score maps/ masks/ --resize masks            # a folder of masks; a map without one is good",
        "threecad score maps/ 3cad/ --image-scores scores.csv --upstream --latex > table.tex",
    ),
    short_help="AUROC, PRO and AP of score maps that any detector wrote.",
)
@click.argument("maps", type=LOCAL)
@click.argument("known", type=LOCAL, metavar="MASKS")
@click.option(
    "--split", metavar="NAME", help="Of a data set: train, validation, test or all [default: test, where there are splits]."
)
@click.option("--category", "categories", multiple=True, metavar="NAME", help="Only this category; may be repeated.")
@click.option("--plain", is_flag=True, help="MASKS is a folder of masks alone, whatever it looks like.")
@click.option(
    "--suffix", type=click.Choice(["npy", "tiff", "png"]), help="Only maps of this kind, where MAPS holds other files too."
)
@click.option(
    "--resize",
    type=click.Choice(["maps", "masks", "none"]),
    default="maps",
    show_default=True,
    help="What gives way where sizes differ: maps grow bilinearly, masks shrink so that no defect vanishes.",
)
@click.option(
    "--image-scores",
    type=LOCAL,
    metavar="FILE",
    help="Scores of images as .csv or .jsonl with path and score [default: the highest of each map].",
)
@click.option("--pro-limit", type=float, default=0.3, show_default=True, help="False-positive rate up to which P-PRO counts.")
@click.option("--upstream", is_flag=True, help="Add PRO as the authors' program measures it, which is not comparable.")
@click.option("--exact", is_flag=True, help="Tell every score apart, for more memory: figures without bounds.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
@click.option("--csv", "as_csv", is_flag=True, help="Print one long table: category, figure, value, lower, upper.")
@click.option("--latex", "as_latex", is_flag=True, help="Print the paper's table as LaTeX (booktabs).")
@workers_option
@layout_options
def score(
    maps: Path,
    known: Path,
    *,
    split: str | None,
    categories: tuple[str, ...],
    plain: bool,
    suffix: str | None,
    resize: Literal["maps", "masks", "none"],
    image_scores: Path | None,
    pro_limit: float,
    upstream: bool,
    exact: bool,
    as_json: bool,
    as_csv: bool,
    as_latex: bool,
    workers: int | None,
    **layout: Any,
) -> None:
    """Measure the score maps in the folder MAPS against what is known in MASKS.

    MAPS holds one .npy, .tiff or gray .png an image, called like the image: by its path, its folder and name, or its name. MASKS
    is a data set in any layout of the family, or a folder of masks. docs/scoring.md defines every figure.
    """
    form = form_of(json=as_json, csv=as_csv, latex=as_latex)
    said = [f"--{name}" for name, value in layout.items() if value is not None]
    if plain and said:
        raise click.UsageError(f"--plain says that MASKS is a folder of masks, {said[0]} that it is a data set")
    with mistakes():
        from threecad.pipeline import scoring, summary
        from threecad.pipeline.scoring import tables

        request = request_from(layout) if said else None
        with summary.progress("scoring", form is not None) as progress:
            done = scoring.score(
                maps,
                known,
                request,
                plain=plain,
                split=split,
                category=categories or None,
                suffix=suffix,
                resize=resize,
                image_scores=image_scores,
                pro_limit=pro_limit,
                upstream=upstream,
                exact=exact,
                workers=workers,
                progress=progress,
            )
        with printing():
            if form == "json":
                print_json(tables.as_json(done))
            elif form is not None:
                click.echo({"csv": tables.csv_text, "latex": tables.latex}[form](done), nl=False)
            else:
                tables.show(done, summary.terminal())
    sys.exit(DONE)
