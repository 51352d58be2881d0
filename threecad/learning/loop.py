"""The training of one model: paint anomalies on a batch of good images, compare, step; an epoch at a time."""

from __future__ import annotations

import csv
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from threecad.errors import ThreecadError
from threecad.learning import checkpoints, runs, thresholds
from threecad.learning.batches import Batches, as_images, seed_of, shares
from threecad.learning.checkpoints import State
from threecad.learning.losses import Losses, losses
from threecad.learning.synthesis import paint
from threecad.learning.weights import first_line
from threecad.metrics import Meter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lightning_fabric import Fabric

    from threecad.learning.cache import Squares
    from threecad.learning.config import Recipe, Training
    from threecad.learning.model import Cfrg
    from threecad.learning.textures import Textures

PARTS = ("distillation", "recovery", "segmentation")
_OFTEN = 0.5
"""Seconds between two looks at the losses: each makes a GPU wait."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a training is."""

    model: str
    epoch: int
    """The one that runs, from 1."""
    epochs: int
    done: int
    """Images of this epoch, on this device."""
    total: int
    losses: tuple[float, float, float]
    """Means of this epoch so far: distillation, recovery, segmentation, before their weights."""
    images_per_second: float
    """Of all devices."""
    waiting: float
    """Share of the time spent waiting for data."""
    gigabytes: float
    """Peak memory: the GPU's, else the process's."""
    seconds_left: float


@dataclass(frozen=True, slots=True)
class Job:
    """One model's training; everything that what comes out depends on."""

    name: str
    recipe: Recipe
    squares: Squares
    held: Squares | None
    """Held-out good images, for `keep = "best"`."""
    textures: Textures
    mark: Mapping[str, str]
    folder: Path


class Step(nn.Module):
    """The networks and the losses of a batch in one call, so that precision and devices are Fabric's affair."""

    def __init__(self, network: Cfrg, recipe: Recipe) -> None:
        super().__init__()
        self.network = network
        self.settings = recipe.loss

    def forward(self, painted_B3HW: Tensor, images_B3HW: Tensor, masks_B1HW: Tensor) -> Losses:
        """The teacher sees good and painted images in one pass."""
        network = self.network
        if network.recovery is None:
            painted = network.normalise(painted_B3HW)
            return losses(network(painted), (), masks_B1HW, self.settings)
        both = network.normalise(torch.cat([painted_B3HW, images_B3HW]))
        levels = network.observe(both)
        count = len(painted_B3HW)
        features = network(both[:count], tuple(level[:count] for level in levels))
        return losses(features, tuple(level[count:] for level in levels), masks_B1HW, self.settings)


def fit(
    fabric: Fabric,
    network: Cfrg,
    job: Job,
    *,
    resume: bool = False,
    tell: Callable[[Progress], None] | None = None,
    note: Callable[[str], None] | None = None,
    board: Callable[[dict[str, float], int], None] | None = None,
) -> float:
    """Trains the network in place, and writes it into the job's folder; gives the seconds it took.

    With `resume` it goes on from the state in that folder. ThreecadError where the memory is too small or a loss is no number.
    """
    settings = job.recipe.train
    state = checkpoints.read(job.folder, job.mark) if resume else None
    step = Step(network.to(memory_format=torch.channels_last), job.recipe)
    optimizer = _optimizer(network, settings)
    if state is not None:
        network.load_state_dict(dict(state.network), strict=False)
    with bounded(fabric.device, settings.batch_size):
        module, tuned = fabric.setup(step, optimizer)
        if state is not None:
            optimizer.load_state_dict(dict(state.optimizer))
            fabric.strategy.precision.load_state_dict(dict(state.scaler))
        batches = Batches(job.squares, fabric.device, by_position=job.recipe.synthesis.texture == "index")
        textures = job.textures.to(fabric.device)
        if settings.compile:
            _compile(fabric, module, step, batches, textures, job, note)
        return _Run(fabric, module, tuned, optimizer, network, job, batches, textures, state, tell, board).epochs()


class _Run:
    """What the epochs of one training share."""

    def __init__(
        self,
        fabric: Fabric,
        module: Any,
        tuned: Any,
        optimizer: torch.optim.Optimizer,
        network: Cfrg,
        job: Job,
        batches: Batches,
        textures: Textures,
        state: State | None,
        tell: Callable[[Progress], None] | None,
        board: Callable[[dict[str, float], int], None] | None,
    ) -> None:
        self.fabric, self.module, self.tuned, self.optimizer = fabric, module, tuned, optimizer
        self.network, self.job, self.batches, self.textures = network, job, batches, textures
        self.tell, self.board = tell, board
        self.log = list(state.log) if state is not None else []
        self.best = state.best if state is not None else None
        self.begin = state.epoch if state is not None else 0
        self.before = state.seconds if state is not None else 0.0
        self.seed = seed_of(job.recipe.train.seed, job.name)

    def epochs(self) -> float:
        settings = self.job.recipe.train
        began = saved = time.monotonic()
        for epoch in range(self.begin, settings.epochs):
            row = self._epoch(epoch, began)
            self.log.append(row)
            if settings.keep == "best":
                self._keep_if_best(row)
            if self.board is not None:
                self.board(row, epoch + 1)
            last = epoch + 1 == settings.epochs
            if self.fabric.is_global_zero:
                write_log(self.job.folder, self.log)
                seconds = self.before + time.monotonic() - began
                if not last and time.monotonic() - saved >= 60 * settings.checkpoint_minutes:
                    network, tuned = runs.trained_state(self.network), self.optimizer.state_dict()
                    scaler = self.fabric.strategy.precision.state_dict()
                    checkpoints.write(
                        self.job.folder, State(epoch + 1, network, tuned, scaler, self.log, seconds, self.best), self.job.mark
                    )
                    saved = time.monotonic()
        if self.fabric.is_global_zero and settings.keep == "last":
            runs.write_model(self.job.folder, self.network)
        return self.before + time.monotonic() - began

    def _epoch(self, epoch: int, began: float) -> dict[str, float]:
        settings = self.job.recipe.train
        world, rank = self.fabric.world_size, self.fabric.global_rank
        steps = shares(len(self.batches), settings.batch_size, world, seed_of(self.seed, "order", epoch))
        rate = rate_of(settings, epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.module.train()
        sums = torch.zeros(3, dtype=torch.float64, device=self.fabric.device if self.fabric.device.type != "mps" else "cpu")
        begin = looked = time.perf_counter()
        waited, done = self.batches.waited, 0
        total = sum(len(step[rank]) for step in steps)
        for images, numbers in self.batches.run([step[rank] for step in steps]):
            sums += self._step(images, numbers, epoch).to(sums) * len(images)
            done += len(images)
            now = time.perf_counter()
            if done < total and now - looked >= _OFTEN:
                looked = now
                means = self._checked(sums / done, epoch)
                self._told(epoch, done, total, means, begin, self.batches.waited - waited, began)
        means = self._checked(self._of_all(sums, done), epoch)
        self._told(epoch, done, total, means, begin, self.batches.waited - waited, began)
        seconds = time.perf_counter() - begin
        return {
            "epoch": epoch + 1,
            **dict(zip(PARTS, means, strict=True)),
            "learning_rate": rate,
            "images_per_second": done * world / seconds,
            "waiting": (self.batches.waited - waited) / seconds,
            "gigabytes": _gigabytes(self.fabric.device),
            "seconds": seconds,
        }

    def _step(self, images_BHW3: Tensor, numbers_B: Tensor, epoch: int) -> Tensor:
        """One step of the optimiser; the three losses before their weights."""
        painted = paint(images_BHW3, numbers_B, epoch, self.seed, self.textures, self.job.recipe.synthesis)
        result: Losses = self.module(_last(painted.images_B3HW), as_images(images_BHW3), painted.masks_B1HW)
        self.tuned.zero_grad(set_to_none=True)
        self.fabric.backward(result.total)
        self.tuned.step()
        return torch.stack([result.distillation, result.recovery, result.segmentation]).detach()

    def _of_all(self, sums: Tensor, done: int) -> Tensor:
        """The means over the images of all devices."""
        if self.fabric.world_size == 1:
            return sums / done
        told = torch.cat([sums, sums.new_tensor([done])])
        self.fabric.all_reduce(told, reduce_op="sum")  # in place
        return told[:3] / told[3]

    def _checked(self, means: Tensor, epoch: int) -> tuple[float, float, float]:
        one, two, three = means.tolist()
        for part, value in zip(PARTS, (one, two, three), strict=True):
            if not -1e30 < value < 1e30:
                raise ThreecadError(not_finite(self.job.name, f"{part} loss", epoch + 1))
        return one, two, three

    def _told(
        self, epoch: int, done: int, total: int, means: tuple[float, float, float], begin: float, waited: float, began: float
    ) -> None:
        if self.tell is None:
            return
        now, epochs = time.perf_counter(), self.job.recipe.train.epochs
        finished = epoch - self.begin + done / total
        left = (time.monotonic() - began) / finished * (epochs - epoch - done / total)
        rate = done * self.fabric.world_size / max(now - begin, 1e-9)
        share = waited / max(now - begin, 1e-9)
        memory = _gigabytes(self.fabric.device)
        self.tell(Progress(self.job.name, epoch + 1, epochs, done, total, means, rate, share, memory, left))

    def _keep_if_best(self, row: dict[str, float]) -> None:
        """Measures the networks on the held-out images with painted anomalies, the same in every epoch."""
        assert self.job.held is not None
        if self.fabric.is_global_zero:
            found = painted_ap(self.network, self.job, self.job.held, self.textures, self.fabric.device)
            if found is None:
                raise ThreecadError(not_finite(self.job.name, "score", int(row["epoch"])))
            row["validation_ap"] = found
            if self.best is None or found > self.best:
                self.best = found
                runs.write_model(self.job.folder, self.network)
        self.fabric.barrier()


def not_finite(model: str, what: str, epoch: int) -> str:
    """What to do about a training that ran away."""
    return (
        f"{model}: a {what} is no finite number in epoch {epoch}: "
        'lower train.learning_rate, or choose train.precision = "32-true" (--precision)'
    )


def painted_ap(network: Cfrg, job: Job, held: Squares, textures: Textures, device: torch.device) -> float | None:
    """Pixel AP on good images with painted anomalies, 0 where nothing could be painted; None where a score is no number."""
    size = job.recipe.train.batch_size
    detector, _ = thresholds.measured(network, job.recipe.score, held, size, device)
    meter = Meter()
    batches = Batches(held, device)
    order = shares(len(batches), size, 1, 0)
    settings = job.recipe.synthesis.model_copy(update={"probability": 1.0, "redraw": True})
    with torch.inference_mode():
        for images, numbers in batches.run([step[0] for step in order]):
            painted = paint(images, numbers, -1, seed_of(job.recipe.train.seed, job.name, "validation"), textures, settings)
            said = detector(_last(painted.images_B3HW))
            if not said.score_B.isfinite().all():
                return None
            meter.update(said.map_BHW, painted.masks_B1HW[:, 0], image_scores=said.score_B)
    network.train()
    found = meter.compute().pixel_ap
    return float(found) if found is not None else 0.0


def rate_of(settings: Training, epoch: int) -> float:
    """The learning rate of an epoch, from 0.

    >>> from threecad.learning.config import Training
    >>> [f"{rate_of(Training(), epoch):.0e}" for epoch in (39, 40, 45)]
    ['5e-04', '1e-04', '2e-05']
    """
    passed = sum(epoch >= round(share * settings.epochs) for share in settings.milestones)
    return settings.learning_rate * settings.decay**passed


def write_log(folder: Path, log: list[dict[str, float]]) -> None:
    """log.csv: a row an epoch."""
    with runs.writing(folder / runs.LOG) as path, path.open("w", encoding="utf-8", newline="") as file:
        names = list(dict.fromkeys(name for row in log for name in row))
        rows = csv.DictWriter(file, names, restval="", lineterminator="\n")
        rows.writeheader()
        rows.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in log)


def _optimizer(network: Cfrg, settings: Training) -> torch.optim.Optimizer:
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return kind(trained, lr=settings.learning_rate, betas=settings.betas, weight_decay=settings.weight_decay, fused=True)


def _last(images_B3HW: Tensor) -> Tensor:
    return images_B3HW.contiguous(memory_format=torch.channels_last)


def _compile(
    fabric: Fabric, module: Any, step: Step, batches: Batches, textures: Textures, job: Job, note: Callable[[str], None] | None
) -> None:
    """Compiles the networks in place, or leaves them as they are where that fails: a batch of each size that will come is tried,
    and what it changed put back."""
    parts = shares(len(batches), job.recipe.train.batch_size, fabric.world_size, 0)
    sizes = {len(part): part for part in (each[fabric.global_rank] for each in parts)}
    buffers = {name: value.clone() for name, value in step.named_buffers()}
    module.train()
    try:
        step.network.compile()
        with fabric.no_backward_sync(module, fabric.world_size > 1):  # else one that fails leaves the others waiting
            for images, numbers in batches.run(list(sizes.values())):
                painted = paint(images, numbers, 0, 0, textures, job.recipe.synthesis)
                module(_last(painted.images_B3HW), as_images(images), painted.masks_B1HW).total.backward()
    # What torch.compile raises is one of these, and so is much else. A mistake of ours comes again without it, in the first step.
    except RuntimeError as error:
        step.network._compiled_call_impl = None
        if note is not None:
            note(f"{job.name}: torch.compile cannot ({first_line(error)}); the training goes on without")
    for name, value in step.named_buffers():
        value.copy_(buffers[name])
    step.zero_grad(set_to_none=True)


@contextmanager
def bounded(device: torch.device, batch_size: int) -> Iterator[None]:
    """Memory that does not suffice is told in a sentence."""
    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError is one; the CPU's allocator has no class of its own
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
        less = max(batch_size // 2, 1)
        advice = f"try {less}" if less < batch_size else "a smaller data.size or teacher is needed"
        raise ThreecadError(
            f"the memory of {device} is too small for train.batch_size (--batch-size) = {batch_size}; {advice}"
        ) from None


def _gigabytes(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
