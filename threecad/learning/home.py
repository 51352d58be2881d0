"""The folder of a run while it is made: whose it is, who holds it, what of a training that was cut off lies in it.

`.threecad-run` marks a folder as ours before anything else is written, and is the lock as well: the system releases it with the
process. A folder with files and without the mark is somebody's, and never touched. Of ours only files of the names that a run has
are ever deleted.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from threecad.errors import BusyError, ConfigError, ReadError, ThreecadError
from threecad.learning import runs
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
    """Delete what a former run wrote; gives the names of what is left in the folder."""
    try:
        for name in _FILES:
            (root / name).unlink(missing_ok=True)
        for folder in sorted(path for path in root.iterdir() if path.is_dir() and not path.is_symlink()):
            if any((folder / name).is_file() for name in _OF_A_MODEL):
                for name in _OF_A_MODEL:
                    (folder / name).unlink(missing_ok=True)
                if (folder / "tensorboard").is_dir() and not (folder / "tensorboard").is_symlink():
                    shutil.rmtree(folder / "tensorboard")
                if not any(folder.iterdir()):
                    folder.rmdir()
        return sorted(path.name for path in root.iterdir() if path.name != MARK)
    except OSError as error:
        raise ThreecadError(f"{root}: the former run cannot be deleted ({error.strerror or error})") from None


def begin(root: Path, recipe: Recipe, plans: Sequence[Plan], textures: str) -> None:
    """Write what the training begins with."""
    runs.write_recipe(root, recipe)
    with runs.writing(root / BEGUN) as path:
        path.write_text(json.dumps(_begun(plans, textures), sort_keys=True, ensure_ascii=False) + "\n", "utf-8")


def compare(root: Path, recipe: Recipe, plans: Sequence[Plan], textures: str) -> None:
    """ConfigError where a training that was cut off was begun with other settings, images or textures."""
    if not (root / BEGUN).is_file():
        return
    theirs, mine = _settings(config.load_as(Recipe, root / runs.RECIPE)), _settings(recipe)
    try:
        found = json.loads((root / BEGUN).read_bytes())
        theirs |= {str(key): str(value) for key, value in found.items()}
    except (OSError, ValueError, AttributeError, RecursionError):
        raise ReadError(f"{root / BEGUN}: is damaged; start anew with --overwrite") from None
    mine |= _begun(plans, textures)
    for key in sorted(mine):
        if mine[key] != theirs.get(key):
            was, now = theirs.get(key), mine[key]
            told = f"{key} = {was}, found {now}" if key in _settings(recipe) or key == "textures" else f"other {key}"
            raise ConfigError(f"{root}: was begun with {told}; expected the same to go on with, or --overwrite")


def _settings(recipe: Recipe) -> dict[str, str]:
    tree = recipe.model_dump(mode="json")
    for section, key in (("train", "compile"), ("train", "checkpoint_minutes"), ("model", "teacher_weights")):
        tree[section].pop(key)  # with any of them the same comes out, or a digest tells
    return {f"{name}.{key}": str(value) for name, part in tree.items() if isinstance(part, dict) for key, value in part.items()}


def _begun(plans: Sequence[Plan], textures: str) -> dict[str, str]:
    """The models and their images, by name and size, so that one that was replaced meanwhile is noticed."""
    told = hashlib.sha256()
    for plan in plans:
        for part in (plan.train, plan.validation):
            told.update(f"{plan.name}\n".encode("utf-8", "surrogateescape"))
            for row in part.rows:
                try:
                    size = (part.root / row.image).stat().st_size
                except OSError:
                    size = -1
                told.update(f"{row.id} {size}\n".encode("utf-8", "surrogateescape"))
    return {"images": told.hexdigest(), "textures": textures}
