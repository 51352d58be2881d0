"""The folder of a run while it is made: whose it is, who holds it, what of a training that was cut off lies in it.

`.threecad-run` marks a folder as ours before anything else is written, and is the lock as well: the system releases it with the
process. A folder with files and without the mark is somebody's, and never touched. Of ours only files of the names that a run has
are ever deleted, and what `evaluate` and `export-model` wrote into it, as far as it tells so itself.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from threecad.errors import BusyError, ConfigError, ReadError, ThreecadError
from threecad.learning import checkpoints, runs
from threecad.learning.config import Recipe
from threecad.pipeline import config

if TYPE_CHECKING:
    from threecad.learning.plan import Plan

MARK = ".threecad-run"
BEGUN = "begun.json"
"""What a training that was cut off was begun with; gone when the run is whole."""
DONE = "trained.json"
"""Of each model that is whole, until the run is."""

_FILES = (runs.RUN, runs.RECIPE, runs.TEACHER, BEGUN)
_OF_A_MODEL = (runs.MODEL, runs.STATE, runs.LOG, runs.THRESHOLD, DONE)


@contextmanager
def hold(root: Path, *, resume: bool, overwrite: bool) -> Iterator[None]:
    """Lock a run's folder, made if missing.

    ConfigError where it holds what must not be replaced, BusyError where another training holds it.
    """
    if resume and overwrite:
        raise ConfigError("found --resume and --overwrite together; expected one of them")
    _refuse(root, resume=resume, overwrite=overwrite)
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(root / MARK)
        lock.acquire(timeout=0)
    except Timeout:
        raise BusyError(f"{root} is being written by another training; wait for it, or choose another folder (--run)") from None
    except OSError as error:
        raise ConfigError(f"{root}: cannot be written ({error.strerror or error}); expected a folder for the run") from None
    try:
        _refuse(root, resume=resume, overwrite=overwrite)  # the one that held it may just have finished
        yield
    finally:
        lock.release()
        with suppress(OSError):  # which would stand in the way of what went wrong before
            (root / MARK).touch()  # filelock removes it on some systems


def _refuse(root: Path, *, resume: bool, overwrite: bool) -> None:
    try:
        there = {path.name for path in root.iterdir()} - {MARK} if root.exists() else set()
    except OSError as error:
        raise ConfigError(f"{root}: cannot be read ({error.strerror}); expected a folder for the run") from None
    if there and not (root / MARK).is_file():
        raise ConfigError(f"{root}: holds files that are not of a run, such as {min(there)}; expected an empty folder (--run)")
    if runs.RUN in there and not overwrite:
        raise ConfigError(f"{root}: holds a finished run; choose another folder (--run), or --overwrite")
    if there and not overwrite and not resume:
        raise ConfigError(f"{root}: holds a training that was cut off; go on with --resume, or start anew with --overwrite")


def clear(root: Path) -> list[str]:
    """Delete what a former run wrote, and what was found out with it; gives the names of what is left in the folder."""
    try:
        for name in _FILES:
            runs.delete(root / name)
        for folder in _folders(root):
            if any((folder / name).is_file() for name in _OF_A_MODEL):
                _clear_model(folder)
            elif folder.name == "evaluation":
                _clear_evaluations(folder)
            elif folder.name == "export":
                _clear_exports(folder)
        return sorted(path.name for path in root.iterdir() if path.name != MARK)
    except OSError as error:
        raise ThreecadError(f"{root}: the former run cannot be deleted ({error.strerror or error})") from None


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.is_symlink())


def _clear_model(folder: Path) -> None:
    for name in _OF_A_MODEL:
        runs.delete(folder / name)
    for board in _folders(folder):
        if board.name == runs.BOARD:
            for path in board.glob("events.out.tfevents.*"):
                path.unlink()
            _remove_empty(board)
    _remove_empty(folder)


def _clear_evaluations(folder: Path) -> None:
    """Results and score maps, wherever below the folder they lie; each is known by what stands in it."""
    from threecad.learning.evaluate.drawing import FIGURES
    from threecad.learning.evaluate.folders import MARK as MAPS
    from threecad.learning.evaluate.folders import METRICS, refuse_results
    from threecad.learning.evaluate.writing import IMAGES

    named = [METRICS, IMAGES, *(f"{name}.{form}" for name, (_, forms, _) in FIGURES.items() for form in forms)]
    places: list[Path] = []
    mapped: set[Path] = set()
    for name, _, files in os.walk(folder):
        place = Path(name)
        places.append(place)
        if MAPS in files or place.parent in mapped:
            mapped.add(place)
            for path in (place / file for file in files):
                if path.suffix == ".png" and _is_map(path):
                    path.unlink()
        if METRICS in files:
            with suppress(ConfigError):  # where the metrics are somebody's
                refuse_results(place)
                for file in named:
                    (place / file).unlink(missing_ok=True)
        (place / MAPS).unlink(missing_ok=True)
    for place in reversed(places):
        _remove_empty(place)


def _is_map(path: Path) -> bool:
    """Whether it is a score map as threecad writes them, which say so after the header of the PNG."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return b"tEXtthreecad.scores\0" in file.read(64)


def _clear_exports(folder: Path) -> None:
    """The files beside each card that reads as one."""
    from threecad.learning.export import SUFFIX, Card

    for path in sorted(folder.glob("*.json")):
        with suppress(ReadError):
            runs.read_json(path, Card)
            for suffix in (*SUFFIX.values(), path.suffix):
                path.with_suffix(suffix).unlink(missing_ok=True)
    _remove_empty(folder)


def _remove_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        folder.rmdir()


def begin(root: Path, recipe: Recipe, plans: Sequence[Plan], textures: str) -> None:
    """Write what the training begins with."""
    runs.write_recipe(root, recipe)
    with runs.writing(root / BEGUN) as path:
        path.write_text(json.dumps(_begun(plans, textures), sort_keys=True, ensure_ascii=False) + "\n", "utf-8")


def compare(root: Path, recipe: Recipe, plans: Sequence[Plan], textures: str) -> bool:
    """Whether there is a training that was cut off. ConfigError where it was begun with other settings, images or textures."""
    if not (root / BEGUN).is_file():
        return False
    settings = checkpoints.settings_of(recipe)
    theirs = checkpoints.settings_of(config.load_as(Recipe, root / runs.RECIPE))
    try:
        found = json.loads((root / BEGUN).read_bytes())
        theirs |= {str(key): str(value) for key, value in found.items()}
    except (OSError, ValueError, AttributeError, RecursionError):
        raise ReadError(f"{root / BEGUN}: is damaged; start anew with --overwrite") from None
    mine = settings | _begun(plans, textures)
    for key in sorted(mine):
        if mine[key] != theirs.get(key):
            was, now = theirs.get(key), mine[key]
            told = f"{key} = {was}, found {now}" if key in settings or key == "textures" else f"other {key}"
            raise ConfigError(f"{root}: was begun with {told}; expected the same to go on with, or --overwrite")
    return True


def _begun(plans: Sequence[Plan], textures: str) -> dict[str, str]:
    """The models and their images, by name and size, so that one that was replaced meanwhile is noticed."""
    told = hashlib.sha256()
    for plan in plans:
        for part in (plan.train, plan.validation):
            told.update(f"{plan.name}\n".encode(errors="backslashreplace"))
            for row in part.rows:
                try:
                    size = (part.root / row.image).stat().st_size
                except OSError:
                    size = -1
                told.update(f"{row.id} {size}\n".encode(errors="backslashreplace"))
    return {"images": told.hexdigest(), "textures": textures}
