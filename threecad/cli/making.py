"""The commands that make a data set: convert, check, init, schema."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from threecad.cli.frame import F, code, examples, main, mistakes, plain, print_json, printing, settings_from
from threecad.cli.options import PLACE, json_option, together, workers_option
from threecad.errors import ConfigError


def _reading(command: F) -> F:
    """The options that `check` and `convert` share."""
    options = [
        click.option("--pipeline", metavar="FILE", help="Pipeline file (TOML), or the name of one that ships: 3cad, smoke."),
        click.option("--images", metavar="DIR", help="Folder of the images inside RAW, when not beside the annotations."),
        click.option("--annotations", metavar="DIR", help="Folder of the annotations inside RAW."),
        click.option("--category", metavar="NAME", help="One category for everything [default: the first folder]."),
        click.option(
            "--unannotated",
            type=click.Choice(["skip", "good", "error"]),
            help="Images without annotation outside folders named good, ok or normal [default: skip].",
        ),
        click.option(
            "--decisions",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="What people decided about single shapes, as the report exports it.",
        ),
        workers_option,
        click.option("--strict", is_flag=True, help="Exit with 1 when any shape was dropped or queued."),
        json_option,
    ]
    return together(command, options)


@main.command(
    epilog=examples(
        "threecad convert line7/ data/",
        "threecad convert line7/ data/ --unannotated good --workers 8",
        "threecad convert line7/ data/ --pipeline line7.toml --dry-run",
        "threecad convert line7/ data/ --images photos --annotations labels --json",
        "threecad convert s3://plant/line7 s3://plant/data --engine dask:tcp://10.0.0.7:8786",
    ),
    short_help="Make a data set, or bring one up to date.",
)
@click.argument("raw", type=PLACE)
@click.argument("out", type=PLACE)
@_reading
@click.option("--slice-size", type=int, help="Side of the square window in pixels [default: 1024].")
@click.option("--overlap-ratio", type=float, help="Overlap of neighbouring windows, as a share of the side [default: 0.2].")
@click.option("--min-area-ratio", type=float, help="Least share of a defect that makes a defect tile [default: 0.1].")
@click.option(
    "--edge", type=click.Choice(["shift", "remainder", "pad", "balanced"]), help="The last window of a row [default: shift]."
)
@click.option(
    "--raster", type=click.Choice(["center", "labelme", "coco", "opencv"]), help="Which pixels a shape owns [default: center]."
)
@click.option("--seed", type=int, help="Seed of the split [default: 0].")
@click.option(
    "--engine",
    default="threads",
    metavar="ENGINE",
    help="Who works: threads, dask (processes on this machine) or dask:tcp://HOST:PORT (a cluster that runs) [default: threads].",
)
@click.option(
    "--overwrite", is_flag=True, help="Start afresh; also in a folder that threecad did not write, whose own files stay."
)
@click.option(
    "--resume", is_flag=True, help="Go on where an interrupted run stopped: always so, the option is for clarity in scripts."
)
@click.option("--dry-run", is_flag=True, help="Say what would be done; write nothing.")
@click.option("--no-report", is_flag=True, help="Write neither OUT/report.html nor the data card.")
def convert(
    raw: str | Path,
    out: str | Path,
    *,
    workers: int | None,
    overwrite: bool,
    resume: bool,
    engine: str,
    dry_run: bool,
    no_report: bool,
    decisions: Path | None,
    strict: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Turn the labelled photographs in RAW into a data set in OUT, or bring OUT up to date.

    A run over unchanged input does nothing; an interrupted run goes on where it stopped, to the same bytes; a changed image,
    annotation or setting redoes what depends on it. Flags override the pipeline file; what holds is in OUT/pipeline.toml.
    OUT/report.html shows the result and the shapes that wait for a person; what is decided there comes back with --decisions.

    Both may be URLs of stores, such as s3://BUCKET/FOLDER; credentials are where fsspec looks for them, never in the URL.
    """
    if overwrite and resume:
        raise click.UsageError("--overwrite starts afresh and --resume goes on: choose one")
    with mistakes():
        from threecad.formats.remote import place_of
        from threecad.pipeline import convert as pipeline
        from threecad.pipeline import summary

        settings = settings_from(options)
        follow = not (dry_run or no_report)
        place = place_of(out)
        if follow:
            from threecad.pipeline import companions
            from threecad.pipeline.mirrors import TooMuch

            companions.refuse_foreign_page(place)
        with summary.progress("converting", as_json) as progress:
            done = pipeline.convert(
                raw,
                out,
                settings,
                workers=workers,
                engine=engine,
                decisions=decisions,
                overwrite=overwrite,
                dry_run=dry_run,
                progress=progress,
            )
        beside = None
        if follow:
            with summary.progress("reporting", as_json) as progress:
                try:
                    beside = companions.accompany(place, workers=workers, progress=progress)
                except TooMuch as error:
                    click.echo(f"threecad: no report: {plain(error)}", err=True)
        with printing():
            if as_json:
                report = {} if beside is None else {"report": str(beside.page), "clean": beside.clean}
                print_json(summary.as_json(done) | report)
            else:
                summary.show(done, raw, beside)
    sys.exit(code(done.queued, done.flawless, strict))


@main.command(
    epilog=examples(
        "threecad check line7/",
        "threecad check line7/ --decode --write-fixed line7-fixed/",
        "threecad check line7/ --pipeline line7.toml --json",
    ),
    short_help="Find what is wrong with the annotations.",
)
@click.argument("raw", type=PLACE)
@_reading
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("threecad-check"),
    show_default=True,
    help="Folder for the findings and the relabel queue.",
)
@click.option(
    "--write-fixed",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write every annotation there, its repairable shapes repaired.",
)
@click.option("--decode", is_flag=True, help="Decode every image too: finds damaged ones; takes as long as reading them.")
def check(
    raw: str | Path,
    *,
    out: Path,
    write_fixed: Path | None,
    decode: bool,
    decisions: Path | None,
    workers: int | None,
    strict: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Find what is wrong with the annotations in RAW, without making tiles.

    Prints what was kept, repaired, queued and dropped; writes findings.jsonl and the relabel queue: relabel.csv, and a folder of
    JSON files that labelme opens, each with the reason in the shape's description.
    """
    with mistakes():
        from threecad.pipeline import check as pipeline
        from threecad.pipeline import summary

        settings = settings_from(options)
        with summary.progress("checking", as_json) as progress:
            done = pipeline.check(
                raw, settings, out=out, fixed=write_fixed, decode=decode, decisions=decisions, workers=workers, progress=progress
            )
        with printing():
            if as_json:
                print_json(summary.checked_json(done))
            else:
                summary.show_check(done, raw, like=any(value is not None for value in options.values()))
    sys.exit(code(done.queued, done.flawless, strict))


@main.command(
    epilog=examples(
        "threecad init                    # writes pipeline.toml",
        "threecad init line7.toml",
        "threecad init --cfrg             # writes cfrg.toml",
    ),
    short_help="Write a commented pipeline file, or a recipe.",
)
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--cfrg", is_flag=True, help="A recipe of the detector, for train-cfrg.")
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
def init(file: Path | None, *, cfrg: bool, force: bool) -> None:
    """Write a commented FILE with every default: of a pipeline [pipeline.toml], or with --cfrg of a recipe [cfrg.toml]."""
    with mistakes():
        from threecad.learning.config import Recipe
        from threecad.pipeline.config import Pipeline, template

        file = file or Path("cfrg.toml" if cfrg else "pipeline.toml")
        try:
            with file.open("w" if force else "x", encoding="utf-8", newline="\n") as target:
                target.write(template(Recipe if cfrg else Pipeline))
        except FileExistsError:
            raise ConfigError(f"{file} exists already; choose another name or pass --force") from None
        except OSError as error:
            raise ConfigError(f"{file}: cannot be written ({error.strerror})") from None
        words = ["train-cfrg", "DATASET"] if cfrg else ["convert", "RAW", "OUT"]
        command = shlex.join(["threecad", *words, "--pipeline", str(file)])
        with printing():
            click.echo(f"{plain(file)} written. Next: {plain(command)}")


@main.command(
    epilog=examples(
        "threecad schema",
        "threecad schema pipeline > pipeline.schema.json",
    ),
    short_help="Print a JSON Schema.",
)
@click.argument("name", required=False)
def schema(name: str | None) -> None:
    """Print the JSON Schema NAME, for editors and validators; without a NAME, list them.

    There is one of the pipeline file and of the recipe, one of labelme's JSON as threecad reads it, and one of each file that a
    data set or a run holds.
    """
    with mistakes():
        from threecad.schemas import shipped

        made = shipped()
        if name is not None and name not in made:
            raise ConfigError(f"no schema named {name!r}; there are {', '.join(made)}")
        with printing():
            if name is None:
                click.echo("\n".join(made))
            else:
                print_json(json.loads(made[name]), indent=2)
