"""The commands that tell about a finished data set, our own or anybody's: stats, audit, report, view, card."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from threecad.cli.frame import DONE, LOOK, examples, main, mistakes, plain, print_json, printing
from threecad.cli.options import (
    LOCAL,
    form_of,
    json_option,
    layout_options,
    measuring_options,
    no_cache_option,
    request_from,
    workers_option,
)


@main.command(
    epilog=examples(
        "threecad stats data/",
        "threecad stats mvtec/ --plots figures/ --latex > tables.tex",
        "threecad stats data/ --compare mvtec/ --compare btad/ --markdown",
        "threecad stats parts/ --images photos --masks labels --names classes.txt --json",
    ),
    short_help="The paper's tables and figures of a data set.",
)
@click.argument("dataset", type=LOCAL)
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
@click.option("--csv", "as_csv", is_flag=True, help="Print one long table: dataset, table, category, item, name, value.")
@click.option("--latex", "as_latex", is_flag=True, help="Print the paper's tables as LaTeX (booktabs, amssymb).")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print the tables as Markdown.")
@click.option("--plots", type=LOCAL, metavar="DIR", help="Write the figures there, as SVG, PDF and PNG.")
@click.option(
    "--compare",
    type=LOCAL,
    multiple=True,
    metavar="OTHER",
    help="A data set to set beside it in Table 2 and Figure 3; may be repeated.",
)
@click.option("--defect-source", metavar="TEXT", help="Whether the defects are Real or Forged: Table 2 says so.")
@layout_options
@measuring_options
def stats(
    dataset: Path,
    *,
    as_json: bool,
    as_csv: bool,
    as_latex: bool,
    as_markdown: bool,
    plots: Path | None,
    compare: tuple[Path, ...],
    defect_source: str | None,
    categories: tuple[str, ...],
    workers: int | None,
    no_cache: bool,
    **layout: Any,
) -> None:
    """Count what DATASET holds: Tables 1 and 2 and Figure 3 of the 3CAD paper, and what they cannot tell.

    DATASET is what `threecad convert` wrote, or a data set of anybody's in a layout of the family. Nothing is written into it.
    Exit code 3 says that the split is not clean; docs/statistics.md defines every number.
    """
    form = form_of(json=as_json, csv=as_csv, latex=as_latex, markdown=as_markdown)
    with mistakes():
        from threecad.pipeline import summary, tables
        from threecad.pipeline.profile import statistics

        with summary.progress("measuring", form is not None) as progress:
            found, *others = statistics(
                dataset,
                request_from(layout),
                category=categories or None,
                compare=compare,
                defect_source=defect_source,
                workers=workers,
                cache=None if no_cache else "default",
                progress=progress,
                note=lambda text: click.echo(f"threecad: {plain(text)}", err=True),
            )
        written: list[Path] = []
        if plots is not None:
            from threecad.pipeline.plots import draw

            written = draw(found, plots, others)
        with printing():
            if form == "json":
                print_json(tables.as_json(found, others))
            elif form is not None:
                text = {"csv": tables.csv_text, "latex": tables.latex, "markdown": tables.markdown}[form](found, others)
                click.echo(text, nl=False)
            else:
                tables.show(found, others, summary.terminal(), dataset=str(dataset))
                if plots is not None:
                    click.echo(f"Figures: {plain(plots)} ({len(written)} files)")
    sys.exit(DONE if found.clean else LOOK)


@main.command(
    epilog=examples(
        "threecad audit mvtec/",
        "threecad audit mvtec/ --clean drop.txt           # what to drop so that train and test are disjoint",
        "threecad audit 3cad/ --keep train --no-near --json",
    ),
    short_help="What stands in two splits, and what to drop.",
)
@click.argument("dataset", type=LOCAL)
@click.option(
    "--clean",
    type=LOCAL,
    metavar="OUT.txt",
    help="Write there what to drop so that the splits are disjoint.",
)
@click.option(
    "--keep", type=click.Choice(["test", "train"]), default="test", show_default=True, help="The split that stays whole."
)
@click.option("--no-near", is_flag=True, help="Look for the same bytes only, not for nearly the same picture.")
@json_option
@layout_options
@measuring_options
def audit(
    dataset: Path,
    *,
    clean: Path | None,
    keep: str,
    no_near: bool,
    as_json: bool,
    categories: tuple[str, ...],
    workers: int | None,
    no_cache: bool,
    **layout: Any,
) -> None:
    """Look for what stands in two splits of DATASET: the same image, nearly the same, or overlapping tiles of one photograph.

    Nothing is deleted: OUT.txt lists what to leave out, one path a line with the reason above it. Exit code 3 says that there is
    something.
    """
    with mistakes():
        from threecad.pipeline import audit as auditing
        from threecad.pipeline import audit_summary, summary

        with summary.progress("comparing", as_json) as progress:
            found = auditing.audit(
                dataset,
                request_from(layout),
                keep="train" if keep == "train" else "test",
                near=not no_near,
                category=categories or None,
                workers=workers,
                cache=None if no_cache else "default",
                progress=progress,
            )
        if found.note:
            click.echo(f"threecad: {plain(found.note)}", err=True)
        if clean is not None:
            auditing.write_clean(found, clean)
        with printing():
            if as_json:
                print_json(auditing.as_json(found))
            else:
                audit_summary.show(found, dataset, clean)
    sys.exit(DONE if found.clean else LOOK)


@main.command(
    epilog=examples(
        "threecad report data/                            # writes data/report.html",
        "threecad report mvtec/ --out mvtec.html          # of anybody's data set",
    ),
    short_help="Write a page to look at and decide by.",
)
@click.argument("dataset", type=LOCAL)
@click.option(
    "--out",
    type=LOCAL,
    metavar="FILE.html",
    help="The page [default: DATASET/report.html; for a data set of others NAME-report.html here].",
)
@workers_option
@no_cache_option
@layout_options
def report(dataset: Path, *, out: Path | None, workers: int | None, no_cache: bool, **layout: Any) -> None:
    """Write one page about DATASET: tables, figures, a gallery, the relabel queue, findings, the audit, the settings.

    It opens from the file system and loads nothing from anywhere. What is decided about queued and repaired shapes is saved as
    a file that `threecad convert --decisions` obeys.
    """
    with mistakes():
        from threecad.pipeline import report as reporting
        from threecad.pipeline import summary

        with summary.progress("reporting") as progress:
            made = reporting.report(
                dataset, out, request_from(layout), workers=workers, cache=None if no_cache else "default", progress=progress
            )
        with printing():
            click.echo(f"Report: {plain(made.out)}" + (f", with the folder {plain(made.beside)}" if made.beside else ""))
            shown = summary.count(made.images - made.unwritten, "image")
            if made.unwritten:
                shown += f" and {summary.count(made.unwritten, 'tile')} that no split uses"
            cases = summary.count(made.cases, "case")
            click.echo(f"{shown}, {cases} of which {made.waiting:,} wait, {summary.count(made.findings, 'finding')}.")


@main.command(
    epilog=examples(
        "threecad view line7/part/a.json",
        "threecad view line7/part/a.json --windows --pipeline line7.toml",
        "threecad view line7/part/a.json --shape 3 --out a3.png          # one shape, large",
        "threecad view line7/label/a.json --raw line7/                   # images and annotations apart",
        "threecad view data/bottle/test/dent/a-8ffa1453428c-000820-000000.png",
        "threecad view a-8ffa1453428c-000820-000000 --data data/",
    ),
    short_help="Draw one image with everything that is known about it.",
)
@click.argument("image", type=LOCAL, metavar="IMAGE.json|IMAGE|TILE")
@click.option(
    "--out",
    type=LOCAL,
    metavar="FILE.png",
    help="Write the picture there [default: the terminal, else NAME.view.png here].",
)
@click.option("--data", type=LOCAL, metavar="DATASET", help="The data set IMAGE, or the id it is, belongs to.")
@click.option(
    "--raw",
    type=LOCAL,
    metavar="DIR",
    help="The raw folder; nothing outside it is opened [default: the file's own folder].",
)
@click.option("--images", type=LOCAL, metavar="DIR", help="Folder of the images, when not beside the annotations.")
@click.option("--pipeline", metavar="FILE", help="Pipeline file (TOML), or the name of one that ships: 3cad, smoke.")
@click.option("--windows", is_flag=True, help="Draw where tiles will be cut, coloured by what they will be called.")
@click.option(
    "--shape", "--region", "shape", type=click.IntRange(min=0), metavar="N", help="Show one shape large: its number, from 0."
)
@click.option("--longest", type=int, default=1600, show_default=True, help="Most pixels of the picture's longer side.")
@click.option("--force", is_flag=True, help="Replace FILE.png if it exists; also among the photographs.")
def view(
    image: Path,
    *,
    out: Path | None,
    data: Path | None,
    raw: Path | None,
    images: Path | None,
    pipeline: str | None,
    windows: bool,
    shape: int | None,
    longest: int,
    force: bool,
) -> None:
    """Draw one image with its masks, outlines and findings, and say below what the marks mean.

    IMAGE is a labelme file, a photograph of a raw folder, a tile that threecad wrote, or an image of any data set.
    """
    with mistakes():
        from threecad.pipeline import view as viewing

        seen = viewing.view(
            image, data=data, raw=raw, images=images, pipeline=pipeline, windows=windows, longest=longest, shape=shape
        )
        with printing():
            on_terminal = out is None and viewing.show(seen)
            for line in viewing.describe(seen):
                click.echo(plain(line))
            if not on_terminal:
                click.echo(plain(viewing.save(seen, out, force)))


@main.command(
    epilog=examples(
        "threecad card data/                              # into the data set",
        "threecad card mvtec/ --out mvtec-card/ --pipeline mvtec.toml    # [card] says what to tell",
    ),
    short_help="Write the data card and the catalogue.",
)
@click.argument("dataset", type=LOCAL)
@click.option(
    "--out",
    type=LOCAL,
    metavar="DIR",
    help="Folder to write into [default: a data set that threecad wrote].",
)
@click.option(
    "--pipeline", metavar="FILE", help="Pipeline file whose [card] describes the data set [default: the data set's own]."
)
@layout_options
def card(dataset: Path, *, out: Path | None, pipeline: str | None, **layout: Any) -> None:
    """Write dataset_card.md, croissant.json (Croissant 1.0) and metadata.jsonl (for Hugging Face datasets) about DATASET."""
    with mistakes():
        from threecad.pipeline import card as carding
        from threecad.pipeline.config import load

        made = carding.card(dataset, out, request_from(layout), load(pipeline).card if pipeline else None)
        with printing():
            for path in (made.card, made.croissant, made.metadata):
                click.echo(plain(path))
