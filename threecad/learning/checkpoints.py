"""Where a training that was cut off goes on from."""

from __future__ import annotations

import hashlib
import pickle  # nosec B403
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from threecad.errors import ConfigError, ReadError
from threecad.learning.runs import STATE, writing
from threecad.learning.weights import DAMAGED

if TYPE_CHECKING:
    from torch import Tensor

    from threecad.learning.config import Recipe
    from threecad.learning.plan import Plan

FORMAT = 1


@dataclass(frozen=True, slots=True)
class State:
    """After an epoch: everything that the next one depends on besides settings, seed and images."""

    epoch: int
    """Epochs done."""
    network: Mapping[str, Tensor]
    optimizer: Mapping[str, Any]
    scaler: Mapping[str, Any]
    """Of the losses, where the precision is 16-mixed; else empty."""
    log: list[dict[str, float]]
    """A row an epoch."""
    seconds: float
    best: float | None
    """Pixel AP of the best epoch so far, where the best is kept; its networks are in the model's file."""


def settings_of(recipe: Recipe) -> dict[str, str]:
    """Every setting that changes what comes out of a training, by its dotted path.

    >>> from threecad.learning.config import Recipe
    >>> settings_of(Recipe())["train.epochs"], "train.compile" in settings_of(Recipe())
    ('50', False)
    """
    tree = recipe.model_dump(mode="json")
    for section, key in (("train", "compile"), ("train", "checkpoint_minutes"), ("model", "teacher_weights")):
        tree[section].pop(key)  # with any of them the same comes out, or a digest tells
    return {f"{name}.{key}": str(value) for name, part in tree.items() if isinstance(part, dict) for key, value in part.items()}


def fingerprint(recipe: Recipe, plan: Plan, textures: str, teacher: str) -> dict[str, str]:
    """What must be the same for a training to go on: settings that change what comes out, images, textures, the teacher."""
    ids = "\n".join(f"{name} {row.id}" for name, part in (("t", plan.train), ("v", plan.validation)) for row in part.rows)
    images = hashlib.sha256(ids.encode(errors="backslashreplace")).hexdigest()  # a list may hold names that no UTF-8 can
    return {**settings_of(recipe), "images": images, "textures": textures, "teacher": teacher}


def write(folder: Path, state: State, mark: Mapping[str, str]) -> None:
    with writing(folder / STATE) as path:
        parts = {name: getattr(state, name) for name in State.__slots__}
        torch.save({"format": FORMAT, "mark": dict(mark), **parts}, path)


def read(folder: Path, mark: Mapping[str, str]) -> State | None:
    """The state in a model's folder, None where there is none. ConfigError where it is that of another training; ReadError where
    it is damaged."""
    path = folder / STATE
    if not path.is_file():
        return None
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        theirs = dict(found["mark"])
        state = State(**{name: found[name] for name in State.__slots__})
        version = int(found["format"])
    except (OSError, pickle.UnpicklingError, *DAMAGED):
        raise ReadError(
            f"{path}: is damaged, or no state of a training; delete it, and its model is trained from the start"
        ) from None
    if version > FORMAT:
        raise ReadError(f"{path}: found format {version}, this version of threecad reads up to {FORMAT}")
    other = next((key for key in sorted({*mark, *theirs}) if mark.get(key) != theirs.get(key)), None)
    if other is not None:
        was, now = theirs.get(other), mark.get(other)
        raise ConfigError(f"{path}: was begun with {other} = {was}, found {now}; expected the same to go on with, or --overwrite")
    return state
