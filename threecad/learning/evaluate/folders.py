"""Into which folders an evaluation may write, so that it replaces nothing but its own earlier results.

Score maps are named as the images are: in the folder of a data set they would take the images' places.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from threecad.errors import ConfigError, LayoutError, ThreecadError
from threecad.formats.layouts.files import contents
from threecad.pipeline.files import write_atomically

EVALUATION = "evaluation"
"""The one folder of a run that results and maps go into."""
METRICS = "metrics.json"
MARK = ".threecad-maps"
"""In a folder of maps, which may so be written again."""
_MARK_TEXT = b"Score maps of threecad evaluate: the next evaluation may replace the files of this folder.\n"
_KEYS = frozenset({"categories", "dataset", "mean", "pro_limit", "resolution", "run", "side"})
_MOST_BYTES = 64 << 20
"""Of a metrics.json: that of some ten thousand categories."""


def data_name(dataset: Path) -> str:
    """What the data set is called in the results, and their folder below the run."""
    return dataset.resolve().name or "dataset"


def refuse_maps(folder: Path, dataset: Path, run: Path) -> None:
    """ConfigError where score maps would replace or mix with what they are not: the data set, the run, or a folder that holds
    anything without the mark of an earlier evaluation. LayoutError if the folder is a file."""
    place, data, home = (Path(os.path.realpath(each)) for each in (folder, dataset, run))
    apart = "expected a folder of score maps apart from it"
    if place.is_relative_to(data):
        raise ConfigError(f"{folder}: {_where(place, data)} the data set {dataset}, whose images maps must not replace; {apart}")
    if data.is_relative_to(place):
        raise ConfigError(f"{folder}: contains the data set {dataset}, whose images maps must not replace; {apart}")
    if home.is_relative_to(place):
        raise ConfigError(
            f"{folder}: {'is' if place == home else 'contains'} the run {run}; {apart}, or below {EVALUATION} in it"
        )
    if place.is_relative_to(home) and home / EVALUATION not in place.parents:
        raise ConfigError(f"{folder}: lies inside the run {run}; {apart}, or below {EVALUATION} in it")
    _refuse_file(folder)
    if folder.is_dir() and not (folder / MARK).is_file() and any(True for _ in folder.iterdir()):
        raise ConfigError(
            f"{folder}: found {_found(folder)} and no {MARK} of an earlier evaluation; expected a new or empty folder"
        )


def refuse_results(folder: Path, dataset: Path | None = None, run: Path | None = None) -> None:
    """ConfigError where results would lie in the data set (but for the run's own `evaluation`), or beside files that none of an
    evaluation's are. LayoutError if the folder is a file."""
    place = Path(os.path.realpath(folder))
    own = run is not None and Path(os.path.realpath(run), EVALUATION) in place.parents
    if dataset is not None and not own and place.is_relative_to(os.path.realpath(dataset)):
        where = _where(place, Path(os.path.realpath(dataset)))
        raise ConfigError(f"{folder}: {where} the data set {dataset}; expected a folder of results apart from it")
    _refuse_file(folder)
    if folder.is_dir() and not _is_ours(folder) and any(each.is_symlink() or not each.is_dir() for each in _shown(folder)):
        raise ConfigError(
            f"{folder}: found {_found(folder)} and no {METRICS} of an earlier evaluation; expected a new or empty folder"
        )


def mark_maps(folder: Path) -> None:
    """Make the folder of maps. ThreecadError where it cannot be."""
    try:
        write_atomically(folder / MARK, _MARK_TEXT)
    except OSError as error:
        raise ThreecadError(f"{folder}: cannot be written ({error.strerror or error})") from None


def _refuse_file(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise LayoutError(f"{folder} is a file; expected a folder to write results into")


def _where(place: Path, outer: Path) -> str:
    return "is" if place == outer else "lies inside"


def _found(folder: Path) -> str:
    return contents(folder) if any(_shown(folder)) else "hidden files"


def _shown(folder: Path) -> list[Path]:
    return [each for each in folder.iterdir() if not each.name.startswith(".")]


def _is_ours(folder: Path) -> bool:
    """Whether an evaluation wrote into it: its results, or its maps alone so far."""
    if (folder / MARK).is_file():
        return True
    path = folder / METRICS
    if not path.is_file() or path.stat().st_size > _MOST_BYTES:
        return False
    try:
        told = json.loads(path.read_bytes())
    except (ValueError, OSError, RecursionError):
        return False
    return isinstance(told, dict) and told.keys() >= _KEYS
