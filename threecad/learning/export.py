"""A run's models as files for programs that know nothing of threecad: ONNX, or torch's own exported program.

    OUT/MODEL.onnx, OUT/MODEL.pt2   the detector: images in, smoothed maps and scores out
    OUT/MODEL.json                  what to do with both; it stands in the file as well

The names of models are those of their folders in the run.
"""

from __future__ import annotations

import importlib.util
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from threecad import __version__
from threecad.errors import ConfigError, ThreecadError
from threecad.learning.config import Resize
from threecad.learning.runs import Cut, Run, Trained, write_json, writing

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from threecad.learning.model import Detector

Format = Literal["onnx", "torch"]
Runner = Callable[[Tensor], tuple[Tensor, Tensor]]

SUFFIX = {"onnx": ".onnx", "torch": ".pt2"}
FOLDER = "export"
OPSET = 18
"""The operators that torch's exporter writes by itself, of ONNX 1.13: any later set would be converted from it."""
TOLERANCE = 1e-4
"""Largest difference between an exported map and the run's own; maps go from 0 to 7, and thresholds are told in three digits."""
_LARGEST = (1 << 31) - (1 << 20)
"""Bytes of weights in an ONNX file: protobuf ends at 2 GiB, and the graph wants some of it."""
_EARLIEST = (2, 6)
"""Of torch: the first whose exporter takes a program with a batch of any size."""
_BATCHES = (1, 3)


class Card(BaseModel):
    """What somebody needs who runs a file without threecad."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str
    """The category, or `joint`."""
    categories: tuple[str, ...]
    """Those that the model was trained on."""
    size: int
    """Side of the square input, pixels."""
    resize: Resize
    """How an image becomes squares."""
    overlap_ratio: float | None
    """Overlap of neighbouring squares where `resize` is `tile`."""
    channels: Literal["RGB"] = "RGB"
    """Their order in the input, which is divided by 255 and by nothing else."""
    threshold_image: float
    """An image is defective where the greatest score of its squares is at least this."""
    threshold_photograph: float
    """The same of a photograph, by the greatest score of the images that were cut from it."""
    false_positive_rate: float
    """How many of the good ones both let through as defective."""
    threshold_source: Literal["validation", "training"]
    """Whether the thresholds rest on good images that were held out, or on those that trained."""
    cut: Cut | None
    """How photographs were cut into the images that the model was trained on; None where they were not."""
    teacher: str
    """timm's name of the network that the features are compared with."""
    teacher_sha256: str
    """Over its tensors, as in the run."""
    threecad: str = __version__
    """What wrote the file."""


@dataclass(frozen=True, slots=True)
class Differences:
    """The largest between a file's outputs and those of the run's own detector."""

    map: float
    score: float

    @property
    def largest(self) -> float:
        return math.nan if math.isnan(self.map + self.score) else max(self.map, self.score)


@dataclass(frozen=True, slots=True)
class Exported:
    """One file; `differences` is None where nobody looked."""

    name: str
    path: Path
    card: Path
    bytes: int
    differences: Differences | None


def export(
    run: Run,
    out: str | Path | None = None,
    *,
    to: Format = "onnx",
    categories: Sequence[str] = (),
    check: bool = True,
    tell: Callable[[Exported], None] | None = None,
) -> list[Exported]:
    """Write the models of the categories (none named: all) into `out`, by default the run's folder `export`.

    Input `images`, float32 (B, 3, S, S), RGB from 0 to 1, B free; outputs `map`, float32 (B, S, S), and `score`, (B,). `check`
    runs each file on noise and on something like an image, one and three at a time, and compares it with the run's own detector.

    ConfigError where a package or category is missing; ReadError where the run is damaged; ThreecadError where a model cannot be
    written so, or the file says something else than the run: then it is not kept.
    """
    folder = run.root / FOLDER if out is None else Path(out)
    models = _chosen(run, categories)
    _able(to, check)
    _apart(run, folder)
    done: list[Exported] = []
    for model in models:
        done.append(_write(run, model, folder, to, check))
        if tell is not None:
            tell(done[-1])
    return done


def card(run: Run, model: Trained) -> Card:
    data, threshold = run.recipe.data, run.threshold(model)
    return Card(
        name=model.name,
        categories=model.categories,
        size=data.size,
        resize=data.resize,
        overlap_ratio=data.overlap_ratio if data.resize == "tile" else None,
        threshold_image=threshold.image,
        threshold_photograph=threshold.photograph,
        false_positive_rate=threshold.false_positive_rate,
        threshold_source=threshold.source,
        cut=run.contents.cut,
        teacher=run.recipe.model.teacher,
        teacher_sha256=run.contents.teacher,
    )


class _Plain(nn.Module):
    """A detector whose outputs are a plain tuple, which can be loaded where threecad is not installed."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        prediction = self.detector(images)
        return prediction.map_BHW, prediction.score_B


def _chosen(run: Run, categories: Sequence[str]) -> list[Trained]:
    if not categories:
        return list(run.contents.models)
    found = [run.model(category) for category in categories]
    return [model for model in run.contents.models if model in found]


def _able(to: Format, check: bool) -> None:
    """ConfigError where this Python lacks something that the export needs."""
    found = re.match(r"(\d+)\.(\d+)", torch.__version__)
    if found and tuple(map(int, found.groups())) < _EARLIEST:
        raise ConfigError(f"found torch {torch.__version__}; expected {'.'.join(map(str, _EARLIEST))} or newer to export with")
    needed = ("onnx", "onnxscript", *(("onnxruntime",) if check else ())) if to == "onnx" else ()
    lacking = [name for name in needed if importlib.util.find_spec(name) is None]
    if lacking:
        raise ConfigError(f"{' and '.join(lacking)} not found; expected pip install 'threecad[export]', or --format torch")


def _apart(run: Run, folder: Path) -> None:
    """ConfigError where a card could take the place of one of the run's own files."""
    taken = {run.root.resolve(), *((run.root / model.folder).resolve() for model in run.contents.models)}
    if folder.resolve() in taken:
        raise ConfigError(f"{folder}: holds files of the run itself; expected another folder (--out)")


def _write(run: Run, model: Trained, folder: Path, to: Format, check: bool) -> Exported:
    told, detector = card(run, model), run.detector(model)
    path = folder / f"{model.folder}{SUFFIX[to]}"
    weigh = sum(tensor.nbytes for tensor in (*detector.parameters(), *detector.buffers()))
    if to == "onnx" and weigh > _LARGEST:
        raise ThreecadError(f"{path}: {weigh / 1e9:.1f} GB of weights, an ONNX file holds at most 2; expected --format torch")
    program = _program(detector.requires_grad_(False), told.size)
    with writing(path) as beside:
        if to == "onnx":
            _write_onnx(program, beside, told)
        else:
            _write_torch(program, beside, told)
        differences = None
        if check:
            differences = compare(detector, _onnx(beside) if to == "onnx" else _torch(beside), told.size)
            if not differences.largest <= TOLERANCE:  # nor where it is not a number
                raise ThreecadError(
                    f"{path}: its maps differ from the run's own by up to {differences.map:.3g}, its scores by up to "
                    f"{differences.score:.3g}; expected at most {TOLERANCE:g}, and the file is not kept (--no-check keeps it)"
                )
        size = beside.stat().st_size
        write_json(path.with_suffix(".json"), told)
    return Exported(model.name, path, path.with_suffix(".json"), size, differences)


def _program(detector: Detector, size: int) -> ExportedProgram:
    example = torch.zeros(2, 3, size, size)  # a batch of one would be taken for all that can come
    batch = torch.export.Dim("batch", min=1)
    with torch.no_grad():
        program = torch.export.export(_Plain(detector).eval(), (example,), dynamic_shapes=({0: batch},), strict=False)
    for module in program.graph_module.modules():
        for node in getattr(getattr(module, "graph", None), "nodes", ()):
            node.meta.pop("stack_trace", None)  # the paths of this machine
    return program


def _write_onnx(program: ExportedProgram, path: Path, told: Card) -> None:
    try:
        written: Any = torch.onnx.export(
            program,
            dynamo=True,
            input_names=["images"],
            output_names=["map", "score"],
            dynamic_shapes=({0: "batch"},),
            opset_version=OPSET,
            verbose=False,
        )
    except torch.onnx.OnnxExporterError as error:
        raise ThreecadError(
            f"{path}: the network has operations that ONNX cannot express ({_first(error)}); expected --format torch"
        ) from None
    for node in written.model.graph.all_nodes():
        node.metadata_props.clear()  # where in which file each came from
    written.model.metadata_props.update(_strings(told))
    written.save(path, external_data=False)


def _write_torch(program: ExportedProgram, path: Path, told: Card) -> None:
    program.example_inputs = None  # nor a picture of nothing, pickled
    text = json.dumps(told.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
    written = io.BytesIO()
    torch.export.save(program, written, extra_files={"card.json": text})
    path.write_bytes(written.getbuffer())  # for torch's own writer ends the whole program where the disk is full


def _strings(told: Card) -> dict[str, str]:
    """As ONNX keeps what is said about a model: text as it is, all else as JSON."""
    fields = told.model_dump(mode="json").items()
    return {
        key: value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False) for key, value in fields
    }


def _onnx(path: Path) -> Runner:
    runtime: Any = importlib.import_module("onnxruntime")  # it has no types
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(images_B3HW: Tensor) -> tuple[Tensor, Tensor]:
        found, score = session.run(["map", "score"], {"images": images_B3HW.numpy()})
        return torch.from_numpy(found), torch.from_numpy(score)

    return run


def _torch(path: Path) -> Runner:
    with path.open("rb") as file:
        loaded: Runner = torch.export.load(file).module()
    return loaded


def compare(detector: Detector, run: Runner, size: int) -> Differences:
    """The largest differences to the detector's own outputs on noise and on something like an image, one and three at a time."""
    maps, scores = [], []
    with torch.no_grad():
        for count in _BATCHES:
            for images in (_noise(count, size), _pictures(count, size)):
                own = detector(images)
                found, score = run(images)
                maps.append((own.map_BHW - found).abs().max())
                scores.append((own.score_B - score).abs().max())
    return Differences(float(torch.stack(maps).max()), float(torch.stack(scores).max()))


def _noise(count: int, size: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(count).random((count, 3, size, size), np.float32))


def _pictures(count: int, size: int) -> Tensor:
    """Shaded gray with a brushed texture and a bright scratch, another one each: networks answer noise with nearly one value."""
    draw = np.random.default_rng(count)
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    pictures = []
    for _ in range(count):
        slope, place = draw.uniform(-0.5, 0.5, 2)
        shade = 0.4 + 0.2 * np.cos(3 * x + slope) + 0.05 * draw.standard_normal((1, size))
        scratch = 0.4 * (np.abs(y - 0.5 - slope * (x - 0.5) - place / 2) < 0.02)
        pictures.append(np.stack([shade + scratch, shade + scratch, 0.9 * shade + scratch]).clip(0, 1))
    return torch.from_numpy(np.stack(pictures).astype(np.float32))


def _first(error: BaseException) -> str:
    lines: Iterable[str] = str(error).strip().splitlines()
    return next(iter(lines), type(error).__name__)[:160]
