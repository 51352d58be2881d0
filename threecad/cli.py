"""The command line: parse, one call, print, exit code; nothing else.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done but a person has to look at the relabel queue.
"""

from __future__ import annotations

import io
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from threecad import __version__
from threecad.errors import ConfigError, LayoutError, ThreecadError

if TYPE_CHECKING:
    from threecad.pipeline.config import Pipeline

DONE, FAILED, USAGE, QUEUE = 0, 1, 2, 3
CODES = """\b
Exit codes:
  0 done · 1 failed · 2 wrong usage · 3 done, but a person has to look at the relabel queue"""
EXAMPLES = {
    "threecad": """\b
Examples:
  threecad check line7/                 # what is wrong with the annotations, and who has to look at it
  threecad convert line7/ data/         # the data set, made or brought up to date
  threecad init line7.toml              # a commented pipeline file with every setting""",
    "convert": """\b
Examples:
  threecad convert line7/ data/
  threecad convert line7/ data/ --unannotated good --workers 8
  threecad convert line7/ data/ --pipeline line7.toml --dry-run
  threecad convert line7/ data/ --images photos --annotations labels --json""",
    "check": """\b
Examples:
  threecad check line7/
  threecad check line7/ --decode --write-fixed line7-fixed/
  threecad check line7/ --pipeline line7.toml --json""",
    "init": """\b
Examples:
  threecad init                    # writes pipeline.toml
  threecad init line7.toml""",
    "schema": """\b
Examples:
  threecad schema
  threecad schema pipeline > pipeline.schema.json""",
}

F = TypeVar("F", bound=Callable[..., Any])


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=f"{EXAMPLES['threecad']}\n\n{CODES}",
)
@click.version_option(__version__, "-V", "--version", prog_name="threecad")
def main() -> None:
    """From labelled photographs to a data set for industrial inspection: validated masks, tiles, leak-free splits."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a log in an old code page must not end a run over an arrow or a name
            stream.reconfigure(errors="backslashreplace")


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
        click.option("--workers", type=click.IntRange(min=1), help="Threads [default: one a core]."),
        click.option("--strict", is_flag=True, help="Exit with 1 when any shape was dropped or queued."),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@main.command(epilog=f"{EXAMPLES['convert']}\n\n{CODES}", short_help="Make a data set, or bring one up to date.")
@click.argument("raw", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
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
    "--overwrite", is_flag=True, help="Start afresh; also in a folder that threecad did not write, whose own files stay."
)
@click.option(
    "--resume", is_flag=True, help="Go on where an interrupted run stopped: always so, the option is for clarity in scripts."
)
@click.option("--dry-run", is_flag=True, help="Say what would be done; write nothing.")
def convert(
    raw: Path,
    out: Path,
    *,
    workers: int | None,
    overwrite: bool,
    resume: bool,
    dry_run: bool,
    strict: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Turn the labelled photographs in RAW into a data set in OUT, or bring OUT up to date.

    A run over unchanged input does nothing; an interrupted run goes on where it stopped, to the same bytes; a changed image,
    annotation or setting redoes what depends on it. Flags override the pipeline file; what holds is in OUT/pipeline.toml.
    """
    if overwrite and resume:
        raise click.UsageError("--overwrite starts afresh and --resume goes on: choose one")
    with _mistakes():
        from threecad.pipeline import convert as pipeline
        from threecad.pipeline import summary

        settings = _settings(options)
        with summary.progress("converting", as_json) as progress:
            done = pipeline.convert(raw, out, settings, workers=workers, overwrite=overwrite, dry_run=dry_run, progress=progress)
        with _printing():
            if as_json:
                click.echo(json.dumps(summary.as_json(done), sort_keys=True))
            else:
                summary.show(done, raw)
    sys.exit(_code(done.queued, done.flawless, strict))


@main.command(epilog=f"{EXAMPLES['check']}\n\n{CODES}", short_help="Find what is wrong with the annotations.")
@click.argument("raw", type=click.Path(path_type=Path))
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
    raw: Path,
    *,
    out: Path,
    write_fixed: Path | None,
    decode: bool,
    workers: int | None,
    strict: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Find what is wrong with the annotations in RAW, without making tiles.

    Prints what was kept, repaired, queued and dropped; writes findings.jsonl and the relabel queue: relabel.csv, and a folder of
    JSON files that labelme opens, each with the reason in the shape's description.
    """
    with _mistakes():
        from threecad.pipeline import check as pipeline
        from threecad.pipeline import summary

        settings = _settings(options)
        with summary.progress("checking", as_json) as progress:
            done = pipeline.check(raw, settings, out=out, fixed=write_fixed, decode=decode, workers=workers, progress=progress)
        with _printing():
            if as_json:
                click.echo(json.dumps(summary.checked_json(done), sort_keys=True))
            else:
                summary.show_check(done, raw, like=any(value is not None for value in options.values()))
    sys.exit(_code(done.queued, done.flawless, strict))


@main.command(epilog=EXAMPLES["init"], short_help="Write a commented pipeline file.")
@click.argument("file", type=click.Path(path_type=Path), default=Path("pipeline.toml"))
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
def init(file: Path, *, force: bool) -> None:
    """Write a commented pipeline FILE that holds every setting at its default [default: pipeline.toml]."""
    with _mistakes():
        from threecad.pipeline.config import template

        try:
            with file.open("w" if force else "x", encoding="utf-8", newline="\n") as target:
                target.write(template())
        except FileExistsError:
            raise ConfigError(f"{file} exists already; choose another name or pass --force") from None
        except OSError as error:
            raise ConfigError(f"{file}: cannot be written ({error.strerror})") from None
        command = shlex.join(["threecad", "convert", "RAW", "OUT", "--pipeline", str(file)])
        with _printing():
            click.echo(f"{_plain(file)} written. Next: {_plain(command)}")


@main.command(epilog=EXAMPLES["schema"], short_help="Print a JSON Schema.")
@click.argument("name", required=False)
def schema(name: str | None) -> None:
    """Print the JSON Schema NAME, for editors and validators; without a NAME, list them.

    There is one of the pipeline file, one of labelme's JSON as threecad reads it, and one of each list a data set holds.
    """
    with _mistakes():
        from threecad.pipeline.schemas import schemas

        made = {file.removesuffix(".schema.json"): text for file, text in schemas().items()}
        if name is not None and name not in made:
            raise ConfigError(f"no schema named {name!r}; there are {', '.join(made)}")
        with _printing():
            click.echo("\n".join(made) if name is None else made[name].rstrip("\n"))


def _settings(options: dict[str, Any]) -> Pipeline:
    from threecad.pipeline.config import Pipeline, load, override

    name = options["pipeline"]
    paths = {
        "images": "read.images",
        "annotations": "read.annotations",
        "category": "read.category",
        "unannotated": "read.unannotated",
        "slice_size": "tiling.slice_size",
        "overlap_ratio": "tiling.overlap_ratio",
        "min_area_ratio": "tiling.min_area_ratio",
        "edge": "tiling.edge",
        "raster": "raster.rule",
        "seed": "split.seed",
    }
    changes = {path: options.get(option) for option, path in paths.items()}
    return override(load(name) if name else Pipeline(), changes)


def _code(queued: bool, flawless: bool, strict: bool) -> int:
    if strict and not flawless:
        return FAILED
    return QUEUE if queued else DONE


@contextmanager
def _mistakes() -> Iterator[None]:
    """A user's mistake becomes one sentence; Ctrl-C says what is kept. A bug stays a traceback."""
    try:
        yield
    except ThreecadError as error:
        click.echo(f"threecad: {_plain(error)}", err=True)
        sys.exit(USAGE if isinstance(error, ConfigError | LayoutError) else FAILED)
    except KeyboardInterrupt:
        click.echo("\nthreecad: interrupted; what is finished is kept, the same command goes on from there.", err=True)
        sys.exit(130)


@contextmanager
def _printing() -> Iterator[None]:
    """Around what goes to standard output: where that cannot be written, say so; a reader that went away is no news."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        with suppress(OSError), Path(os.devnull).open("wb") as nowhere:  # else the exit tries once more to write what is left
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        reason = error.strerror or error
        raise ThreecadError(f"standard output cannot be written ({reason}); all else that was asked for is done") from None


def _plain(text: object) -> str:
    from threecad.pipeline.summary import plain

    return plain(text)
