"""A run on disk: what was trained, on what, with which settings; and the detectors in it.

    RUN/run.json             which models there are, and how photographs are cut for them; written last
    RUN/recipe.toml          every setting
    RUN/teacher.safetensors  the teacher as far as it is used, once for all models, so that no hub is needed any more
    RUN/MODEL/model.safetensors   what was trained
    RUN/MODEL/threshold.json      from where on an image is defective
    RUN/MODEL/log.csv             the losses of each epoch
    RUN/MODEL/state.pt            while it trains: where to go on from
    RUN/MODEL/tensorboard/        the log once more, where it was asked for

Files are written beside and moved, so that each is whole or not there. Nothing in a run is ever unpickled.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors.torch import save

from threecad.errors import ConfigError, LayoutError, ReadError, ThreecadError
from threecad.formats.regular import read_regular
from threecad.learning import weights
from threecad.learning.config import Recipe
from threecad.learning.model import Cfrg, Detector, backbone
from threecad.pipeline import config
from threecad.settings import Edge

if TYPE_CHECKING:
    from torch import Tensor

P = TypeVar("P", bound=BaseModel)

FORMAT = 1
RUN, RECIPE, TEACHER = "run.json", "recipe.toml", "teacher.safetensors"
MODEL, THRESHOLD, LOG, STATE = "model.safetensors", "threshold.json", "log.csv", "state.pt"
BOARD = "tensorboard"

_LARGEST_JSON = 64 << 20
"""Bytes of run.json: some hundred a model."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class Trained(_Part):
    """One model of a run."""

    name: str
    """The category, or `joint`."""
    categories: tuple[str, ...]
    """Those it was trained on."""
    folder: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")
    """Where its files are, in the run's folder."""
    images: int = Field(ge=1)
    """Good images that trained it."""
    seconds: float = Field(ge=0)
    """How long that took, validation included."""


class Cut(_Part):
    """How the data set's images were cut from photographs, as threecad's manifest tells: `predict` cuts new ones alike."""

    slice_size: int = Field(ge=8, le=65535)
    overlap_ratio: float = Field(ge=0, lt=1)
    edge: Edge


class Contents(_Part):
    """run.json."""

    format: int = FORMAT
    threecad: str
    """Version that wrote it."""
    dataset: str
    """The data set's name."""
    cut: Cut | None
    """None where the data set's images are whole photographs."""
    teacher: str
    """sha256 over the teacher's tensors."""
    models: tuple[Trained, ...] = Field(min_length=1)


class _Version(BaseModel):
    format: int = FORMAT


class Spread(_Part):
    """How a part of the map lies over the pixels of good images, once smoothed."""

    mean: float = Field(allow_inf_nan=False)
    deviation: float = Field(gt=0, allow_inf_nan=False)
    """Standard deviation."""


class Threshold(_Part):
    """From which score on something is defective, such that `false_positive_rate` of the good ones is, as far as those tell."""

    image: float
    """For one image of the data set (a tile, where photographs were cut)."""
    photograph: float
    """For a whole photograph: the greatest of its tiles' scores counts."""
    false_positive_rate: float
    images: int
    photographs: int
    """How many good ones it rests on."""
    source: Literal["validation", "training"]
    """Whether those were held out, or trained the model and so score lower than new ones will."""
    spreads: tuple[Spread, ...] = Field(default=(), max_length=2)
    """Of the maps of recovery and segmentation, as far as built, over the same good images; none without `score.normalise`."""


class Run:
    """A finished run. ConfigError or LayoutError where `root` holds none; ReadError where a file of it is damaged."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        if not (self.root / RUN).is_file():
            begun = (self.root / RECIPE).is_file()
            raise LayoutError(
                f"{self.root}: a training that is not finished; run the same threecad train-cfrg with --resume"
                if begun
                else f"{self.root}: holds no {RUN}; expected the folder of a run of threecad train-cfrg"
            )
        version = read_json(self.root / RUN, _Version).format  # first of all: later formats may hold what is unknown here
        if version > FORMAT:
            raise ReadError(f"{self.root / RUN}: found format {version}, this version of threecad reads up to {FORMAT}")
        self.contents = read_json(self.root / RUN, Contents)
        self.recipe: Recipe = config.load_as(Recipe, self.root / RECIPE)

    @property
    def models(self) -> dict[str, Trained]:
        """By category; a joint model is there under each of its categories."""
        return {category: model for model in self.contents.models for category in model.categories}

    def model(self, category: str | None = None) -> Trained:
        """The model for a category; None where there is but one. ConfigError where there is none, or a choice."""
        if category is None and len(self.contents.models) == 1:
            return self.contents.models[0]
        if category is None or category not in self.models:
            found = f"no model of {category!r}" if category is not None else f"{len(self.contents.models)} models"
            raise ConfigError(f"{self.root}: {found}; expected one of {', '.join(sorted(self.models))} (--category)")
        return self.models[category]

    def detector(self, model: Trained, device: torch.device | str = "cpu") -> Detector:
        """The detector, in eval mode on the device. ReadError where its files are damaged, or not of these settings."""
        settings = self.recipe.model
        path = self.root / TEACHER
        teacher = backbone(settings.teacher)
        _load(teacher, weights.read(path), path)
        if weights.digest(teacher.state_dict()) != self.contents.teacher:
            raise ReadError(
                f"{path}: not the teacher that this run was trained with; expected digest {self.contents.teacher[:12]}…"
            )
        network = Cfrg(settings, teacher)
        path = self.root / model.folder / MODEL
        found = weights.read(path)
        _load(network, {**found, **{f"teacher.{key}": value for key, value in teacher.state_dict().items()}}, path)
        spreads = self.threshold(model).spreads if self.recipe.score.normalise else ()
        try:
            detector = Detector(network, self.recipe.score, [(each.mean, each.deviation) for each in spreads])
        except ValueError as error:
            raise ReadError(f"{self.root / model.folder / THRESHOLD}: is not of the settings in {RECIPE} ({error})") from None
        return detector.eval().to(device)

    def threshold(self, model: Trained) -> Threshold:
        return read_json(self.root / model.folder / THRESHOLD, Threshold)


def trained_state(network: Cfrg) -> dict[str, Tensor]:
    """What a checkpoint holds: all but the teacher, on the CPU."""
    return {
        key: value.detach().cpu().contiguous() for key, value in network.state_dict().items() if not key.startswith("teacher.")
    }


def write_model(folder: Path, network: Cfrg) -> None:
    with writing(folder / MODEL) as path:
        path.write_bytes(save(trained_state(network)))  # save_file's files are for nobody else to read


def write_teacher(root: Path, teacher: torch.nn.Module) -> str:
    """Writes the teacher, and gives its digest."""
    state = {key: value.detach().cpu().contiguous() for key, value in teacher.state_dict().items()}
    with writing(root / TEACHER) as path:
        path.write_bytes(save(state))
    return weights.digest(state)


def write_json(path: Path, value: BaseModel) -> None:
    with writing(path) as beside:
        beside.write_text(json.dumps(value.model_dump(mode="json"), sort_keys=True, ensure_ascii=False, indent=1) + "\n", "utf-8")


def write_recipe(root: Path, recipe: Recipe) -> None:
    """All settings but where the teacher's weights lay: the run has them itself."""
    model = recipe.model.model_copy(update={"teacher_weights": None})
    with writing(root / RECIPE) as beside:
        beside.write_text(config.dump(recipe.model_copy(update={"model": model})), "utf-8")


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; moved there at the end, gone after an error. A full disk is a sentence."""
    beside = _beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise ThreecadError(f"{path}: cannot be written ({error.strerror or error})") from None
    except RuntimeError as error:
        if "inline_container" not in str(error):  # where torch's own writer fails
            raise
        raise ThreecadError(f"{path}: cannot be written (torch's writer failed, as it does on a full disk)") from None
    finally:
        beside.unlink(missing_ok=True)


def delete(path: Path) -> None:
    """Delete a file that `writing` wrote, where it is there, and what a process that was killed left beside it."""
    for each in (path, _beside(path)):
        each.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


def _load(net: torch.nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    try:
        net.load_state_dict(dict(state))
    except RuntimeError as error:
        detail = next((line.strip() for line in str(error).splitlines()[1:]), str(error))
        raise ReadError(f"{path}: is not of the settings in {RECIPE} ({detail[:160]})") from None


def read_json(path: Path, model: type[P]) -> P:
    try:
        return model.model_validate_json(read_regular(path, _LARGEST_JSON))
    except OSError as error:
        raise ReadError(f"{path}: cannot be read ({error.strerror}); expected a file that threecad train-cfrg wrote") from None
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(map(str, fault["loc"]))
        raise ReadError(
            f"{path}: {where + ': ' if where else ''}{fault['msg']}; expected a file that threecad train-cfrg wrote"
        ) from None
