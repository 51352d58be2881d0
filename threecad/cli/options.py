"""Options that several commands have, and what they mean."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from threecad.cli.frame import F
from threecad.errors import ConfigError

if TYPE_CHECKING:
    from threecad.formats.layouts import Request

LAYOUTS = ("threecad", "visa", "realiad", "manifest", "deeppcb", "mvtec", "index", "pair", "beside", "folder")


class _PlaceType(click.Path):
    """A path, or the URL of a store, which stays text: no path could hold its two slashes."""

    name = "place"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if isinstance(value, str) and "://" in value else super().convert(value, param, ctx)


class _LocalType(click.Path):
    """A path of this machine. A URL is refused in words: as a path it would lose a slash, and be nowhere."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and re.match(r"[a-z][a-z0-9+.-]+(://|::)", value, re.IGNORECASE):
            if value.lower().startswith("file://"):
                value = value[len("file://") :]
            else:
                scheme = re.split("[:]", value)[0]  # no more of it: a URL may hold a password
                self.fail(
                    f"found a URL ({scheme}://…), expected a path of this machine; convert and check take URLs, for other "
                    "commands copy what lies in the store to a folder first, by rclone or the like",
                    param,
                    ctx,
                )
        return super().convert(value, param, ctx)


PLACE = _PlaceType(path_type=Path)
LOCAL = _LocalType(path_type=Path)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
workers_option = click.option("--workers", type=click.IntRange(min=1), help="Threads [default: one a core].")
no_cache_option = click.option("--no-cache", is_flag=True, help="Measure every image anew, and remember nothing.")


def together(command: F, options: Sequence[Callable[[Any], Any]]) -> F:
    """The command with options in the order of the list, for decorators that stand for several."""
    for option in reversed(options):
        command = option(command)
    return command


def layout_options(command: F) -> F:
    """The options that say what a data set's folders do not."""
    options = [
        click.option(
            "--layout", type=click.Choice(LAYOUTS), help="How the data set stands in its folders [default: recognised]."
        ),
        click.option("--images", metavar="DIR", help="Folder of the images inside DATASET, where they lie apart from the masks."),
        click.option("--masks", metavar="DIR", help="Folder of the masks inside DATASET."),
        click.option("--table", metavar="FILE", help="The split file inside DATASET, where there are several (VisA, Real-IAD)."),
        click.option(
            "--names",
            type=LOCAL,
            metavar="FILE",
            help='Names of the values of index masks: JSON such as {"1": "dent"}, or a line "1 dent" each.',
        ),
    ]
    return together(command, options)


def measuring_options(command: F) -> F:
    """The options of commands that look at every image."""
    options = [
        click.option("--category", "categories", multiple=True, metavar="NAME", help="Only this category; may be repeated."),
        workers_option,
        no_cache_option,
    ]
    return together(command, options)


def form_of(**asked: bool) -> str | None:
    """The one form of output that was asked for by its flag; None is the terminal's. UsageError where there are several."""
    chosen = [name for name, wanted in asked.items() if wanted]
    if len(chosen) > 1:
        raise click.UsageError(f"choose one of {', '.join(f'--{name}' for name in chosen)}")
    return chosen[0] if chosen else None


def request_from(options: dict[str, Any]) -> Request:
    """What `layout_options` got. ConfigError where the file of names cannot be read."""
    from threecad.formats.layouts import Request

    parts = {name: options[name] for name in ("layout", "images", "masks", "table")}
    return Request(**parts, names=None if options["names"] is None else _names(options["names"]))


def _names(file: Path) -> dict[int, str]:
    """Value → type, from a JSON object or from lines that begin with a number."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}); expected names of mask values") from None
    except ValueError:
        raise ConfigError(f"{file}: expected names of mask values in UTF-8") from None
    try:
        pairs = (
            json.loads(text).items()
            if text.lstrip().startswith("{")
            else (row.split(None, 1) for row in text.splitlines() if row.strip())
        )
        return {int(value): str(name).strip() for value, name in pairs}
    except (ValueError, RecursionError):
        raise ConfigError(f'{file}: expected JSON such as {{"1": "dent"}}, or a line such as "1 dent" for each value') from None
