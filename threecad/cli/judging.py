"""The command that tells how good a trained detector is: evaluate. What it needs of torch is imported when it runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from threecad.cli.frame import DONE, examples, main, mistakes, plain, print_json, printing
from threecad.cli.learning import PRECISIONS, needs_torch
from threecad.cli.options import LOCAL, form_of, layout_options, request_from


@main.command(
    epilog=examples(
        "threecad evaluate runs/data data/                     # tables here, curves and cases in runs/data/evaluation/data",
        "threecad evaluate runs/data data/ --category camera_cover --device cuda:1",
        "threecad evaluate runs/data data/ --latex > tables.tex",
        "threecad evaluate runs/mvtec mvtec/ --model-resolution --upstream    # as the authors measured",
    ),
    short_help="Measure a trained detector on test images.",
)
@click.argument("run", type=LOCAL)
@click.argument("dataset", type=LOCAL)
@click.option("--category", "categories", multiple=True, metavar="NAME|all", help="Only this category; may be repeated.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, mps or auto: a GPU where there is one.")
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="32-true",
    show_default=True,
    help="Numbers in the networks; the threshold was found in 32-true.",
)
@click.option(
    "--batch-size", type=click.IntRange(min=1), help="Squares that the detector sees at once [default: 32 on a GPU, else 8]."
)
@click.option(
    "--native/--model-resolution",
    default=None,
    help="Score maps at the masks' own resolution, or masks at the model's [default: the run's score.native].",
)
@click.option("--pro-limit", type=float, metavar="RATE", help="P-PRO up to this false-positive rate [default: the run's, 0.3].")
@click.option("--upstream", is_flag=True, help="Tell P-PRO as the authors' program has it, too; not comparable.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
@click.option("--csv", "as_csv", is_flag=True, help="Print one long table: dataset, table, category, item, name, value.")
@click.option("--latex", "as_latex", is_flag=True, help="Print the paper's Tables 3 and 4 as LaTeX (booktabs, amssymb).")
@click.option("--out", type=LOCAL, metavar="DIR", help="Folder of the results [default: RUN/evaluation/DATASET].")
@click.option("--no-figures", is_flag=True, help="Write no figures, and look for no cases.")
@click.option("--maps", type=LOCAL, metavar="DIR", help="Write each image's score map there (16-bit PNG).")
@click.option("--workers", type=click.IntRange(min=1), help="Threads that decode and score [default: one a core].")
@layout_options
def evaluate(
    run: Path,
    dataset: Path,
    *,
    categories: tuple[str, ...],
    device: str,
    precision: str,
    batch_size: int | None,
    native: bool | None,
    pro_limit: float | None,
    upstream: bool,
    as_json: bool,
    as_csv: bool,
    as_latex: bool,
    out: Path | None,
    no_figures: bool,
    maps: Path | None,
    workers: int | None,
    **layout: Any,
) -> None:
    """Measure the models of RUN on the test images of DATASET: I-AUROC, P-AUROC, P-PRO, AP and what the threshold finds.

    RUN is what `threecad train-cfrg` wrote, DATASET a data set in a layout that `threecad stats` reads. Where it has no splits,
    the images test that training with the run's seed leaves out. The folder of results holds metrics.json, images.jsonl, curves
    and cases.png. docs/evaluate.md defines every number.
    """
    form = form_of(json=as_json, csv=as_csv, latex=as_latex)
    with mistakes():
        needs_torch()
        from threecad.learning import evaluate as judging
        from threecad.learning.evaluate import tables
        from threecad.learning.evaluate.folders import EVALUATION, data_name, refuse_results
        from threecad.learning.runs import Run
        from threecad.pipeline import summary

        opened = Run(run)
        folder = out or run / EVALUATION / data_name(dataset)
        refuse_results(folder, dataset, run)  # before anything is measured
        with summary.progress("evaluating", form is not None) as progress:
            done = judging.evaluate(
                opened,
                dataset,
                request_from(layout),
                categories=() if "all" in categories else categories,
                device=device,
                precision=precision,
                batch_size=batch_size,
                native=native,
                pro_limit=pro_limit,
                upstream=upstream,
                maps=maps,
                cases=not no_figures,
                workers=workers,
                progress=progress,
                note=lambda text: click.echo(f"threecad: {plain(text)}", err=True),
            )
        written = judging.write(done, folder, figures=not no_figures)
        with printing():
            if form == "json":
                print_json(judging.as_json(done))
            elif form is not None:
                click.echo(tables.TEXTS[form](done), nl=False)
            else:
                tables.show(done, summary.terminal())
                click.echo(f"Results: {plain(folder)} ({len(written)} files)")
    sys.exit(DONE)
