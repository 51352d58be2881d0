"""What all commands share: the group, exit codes, how a mistake ends, and how settings are read from options."""

from __future__ import annotations

import io
import json
import os
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

DONE, FAILED, USAGE, LOOK = 0, 1, 2, 3
CODES = """\b
Exit codes:
  0 done · 1 failed · 2 wrong usage · 3 done, but a person has to look"""
_EXAMPLES = """\b
Examples:
  threecad check line7/                 # what is wrong with the annotations, and who has to look at it
  threecad convert line7/ data/         # the data set, made or brought up to date
  threecad stats data/                  # the paper's tables, and what they cannot tell
  threecad train-cfrg data/             # the paper's detector, trained on the good images
  threecad init line7.toml              # a commented pipeline file with every setting"""

F = TypeVar("F", bound=Callable[..., Any])


def examples(*lines: str) -> str:
    """The end of a command's help: examples, and the exit codes."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines) + f"\n\n{CODES}"


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=f"{_EXAMPLES}\n\n{CODES}",
)
@click.version_option(__version__, "-V", "--version", prog_name="threecad")
def main() -> None:
    """From labelled photographs to a data set for industrial inspection: validated masks, tiles, leak-free splits."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a log in an old code page must not end a run over an arrow or a name
            stream.reconfigure(errors="backslashreplace")


def settings_from(options: dict[str, Any]) -> Pipeline:
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


def code(queued: bool, flawless: bool, strict: bool) -> int:
    if strict and not flawless:
        return FAILED
    return LOOK if queued else DONE


@contextmanager
def mistakes() -> Iterator[None]:
    """A user's mistake becomes one sentence; Ctrl-C says what is kept. A bug stays a traceback."""
    try:
        yield
    except ThreecadError as error:
        click.echo(f"threecad: {plain(error)}", err=True)
        sys.exit(USAGE if isinstance(error, ConfigError | LayoutError) else FAILED)
    except KeyboardInterrupt:
        click.echo("\nthreecad: interrupted; what is finished is kept, the same command goes on from there.", err=True)
        sys.exit(130)


@contextmanager
def printing() -> Iterator[None]:
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


def print_json(value: object, indent: int | None = None) -> None:
    """One JSON object on standard output, in ASCII: letters of an old code page are not what JSON is read as."""
    click.echo(json.dumps(value, sort_keys=True, indent=indent))


def plain(text: object) -> str:
    from threecad.pipeline import summary

    return summary.plain(text)
