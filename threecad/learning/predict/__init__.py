"""`threecad predict`: what a trained detector finds in photographs, as maps, pictures, scores and annotations.

photographs → (cutting → passing: decode, detect, blend) → (regions, overlay → writing) → ledger
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from threecad.domain import Size
from threecad.errors import ConfigError, ReadError, ThreecadError
from threecad.formats import maps
from threecad.formats.images import MOST_PIXELS, size_of
from threecad.formats.layouts.files import shown
from threecad.imaging.polygons import BACKGROUND, IGNORE
from threecad.learning import devices, runs
from threecad.learning.predict.cutting import parts
from threecad.learning.predict.ledger import Counted, Ledger, Record, Verdict, hold
from threecad.learning.predict.overlay import look
from threecad.learning.predict.passing import BATCH, Job, Mapped, groups, passed, predict_image
from threecad.learning.predict.photographs import Found, find, models, names
from threecad.learning.predict.writing import Case, Wishes, publish, scale_of
from threecad.learning.runs import Cut, Run, Trained
from threecad.pipeline.convert import Progress, budget, cores
from threecad.settings import Tiling

if TYPE_CHECKING:
    import torch

__all__ = ["Counted", "Mapped", "Predictions", "Verdict", "Wishes", "predict", "predict_image"]

FORMAT = 1
"""Part of every key: raise it whenever the same photograph and model would give other files than before."""
_LARGE = 20_000_000
"""Pixels of a photograph above which only one is written about at a time."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """What was found. `verdicts` are sorted by path; `failed` tells why an image has none; `fresh` were looked at in this run,
    the others stood from an earlier one; `edited` are images whose annotation somebody had changed, and which was left so."""

    out: Path
    verdicts: tuple[Verdict, ...]
    failed: Mapping[str, str]
    fresh: int
    edited: tuple[str, ...]
    seconds: float
    megapixels: float = 0.0
    by_folder: bool = False
    """Whether each image was looked at by the model of the category its folder names."""

    @property
    def defective(self) -> int:
        return sum(verdict.defective for verdict in self.verdicts)


@dataclass(slots=True)
class _Pass:
    """One run: what holds for all its photographs, and how far it is."""

    run: Run
    found: Found
    names: Mapping[str, str]
    cut: Cut | None
    threshold: float | None
    wishes: Wishes
    batch_size: int
    workers: int
    ledger: Ledger
    pool: Executor
    progress: Callable[[Progress], None] | None
    failed: dict[str, str]
    edited: list[str] = field(default_factory=list)
    done: int = 0
    fresh: int = 0
    megapixels: float = 0.0

    def tell(self, path: str, area: int = 0) -> None:
        self.done += 1
        self.megapixels += area / 1e6
        if self.progress is not None:
            self.progress(Progress(self.done, len(self.found.paths), self.megapixels, path))

    def fail(self, path: str, error: ThreecadError) -> None:
        self.failed[path] = shown(str(error).removeprefix(f"{path}: "))
        self.tell(path)


def predict(
    run: str | Path | Run,
    images: str | Path,
    out: str | Path,
    *,
    category: str | None = None,
    threshold: float | None = None,
    slice_size: int | None = None,
    wishes: Wishes | None = None,
    device: str = "auto",
    batch_size: int = BATCH,
    workers: int | None = None,
    overwrite: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Predictions:
    """Look at all photographs of a folder, or at one file, with the detectors of a run, and write what is found into `out`.

    A photograph is cut as those of the run's data set were (`slice_size`: into windows of so many pixels, whatever the run
    says), and its score is the greatest of its squares'. It is defective from the run's threshold on, the one for photographs
    where it was cut; or from `threshold` on. What is finished in `out` stays, unless `overwrite`; a run that was cut off goes
    on to the same bytes. `workers` is the number of threads that decode and write.

    ConfigError or LayoutError for a request that cannot be met, BusyError where another run holds `out`, ReadError for a
    damaged run. An image that cannot be read is one of `failed`.
    """
    began = time.monotonic()
    run = run if isinstance(run, Run) else Run(run)
    target, wishes, threads = Path(out), wishes or Wishes(), workers or cores()
    _refuse(threshold, batch_size, wishes)
    cut = _cut(run, slice_size)
    place = devices.devices(device).torch()
    found = find(Path(images), target)
    chosen = models(run, found.paths, category)
    title = shown(Path(os.path.realpath(images)).name)
    with _sentences(target), hold(target, title, overwrite=overwrite) as ledger, _threads(threads) as pool:
        called = names(found.paths, ledger.guards)
        going = _Pass(run, found, called, cut, threshold, wishes, batch_size, threads, ledger, pool, progress, dict(found.passed))
        for model in sorted({model.folder: model for model in chosen.values()}.values(), key=lambda model: model.folder):
            _look_at([path for path in found.paths if chosen[path] == model], model, going, place)
        verdicts = ledger.finish(found.paths, going.failed)
    return Predictions(
        out=target,
        verdicts=tuple(verdicts),
        failed=dict(sorted(going.failed.items())),
        fresh=going.fresh,
        edited=tuple(sorted(going.edited)),
        seconds=time.monotonic() - began,
        megapixels=going.megapixels,
        by_folder=category is None and len(run.contents.models) > 1,
    )


def _look_at(paths: Sequence[str], model: Trained, going: _Pass, place: torch.device) -> None:
    """All photographs of one model."""
    cases: dict[int, Case] = {}
    grouped = groups(_jobs(paths, model, going, cases), going.batch_size)
    first = next(grouped, None)
    if first is None:  # so no network has to be loaded
        return
    detector = going.run.detector(model, place)
    scale = scale_of(going.run.recipe)
    writing: deque[tuple[Case, Future[tuple[Record, bool]]]] = deque()

    def settle(most: int) -> None:
        while len(writing) > most:
            case, future = writing.popleft()
            try:
                record, kept = future.result()
            except ReadError as error:
                going.fail(case.path, error)
                continue
            going.ledger.keep(record)
            going.fresh += 1
            going.edited += [case.path] if kept else []
            going.tell(case.path, case.size.area)

    coming = passed(
        detector,
        chain([first], grouped),
        going.run.recipe.data,
        going.pool,
        ahead_of_it=2 * going.workers,
        batch_size=going.batch_size,
        budget=budget() // 2,
        look=look if going.wishes.overlays else None,
    )
    for job, picture, said in coming:
        case = cases.pop(job.number)
        if isinstance(said, ReadError):
            going.fail(case.path, said)
        elif not math.isfinite(said.score):
            going.fail(case.path, ReadError("the model gives scores that are not finite: it is damaged, or overflows here"))
        else:
            made = going.pool.submit(publish, going.ledger.out, case, said, picture, scale, going.wishes, going.ledger.edited)
            writing.append((case, made))
            # A map takes four bytes a pixel, and writing it some twenty.
            settle(most=going.workers if job.size.area < _LARGE else 0)
    settle(most=0)


def _jobs(paths: Sequence[str], model: Trained, going: _Pass, cases: dict[int, Case]) -> Iterator[Job]:
    """Every photograph that can be read, finished ones for company; `cases` gets the others under their numbers."""
    limit = going.run.threshold(model)
    key = _key(going, model)
    for number, path in enumerate(paths):
        file = going.found.root / path
        try:
            status = _status(file, path)
            record = going.ledger.finished(path, going.names[path], key, status)
            size = Size(*record.verdict.size) if record else size_of(file, path)
            _refuse_above(size, path, going.wishes)
            cuts = parts(size, going.run.recipe.data, going.cut)
        except (ReadError, ConfigError) as error:
            going.fail(path, error)
            continue
        if record is not None:
            going.tell(path)
        else:
            threshold = going.threshold
            if threshold is None:
                threshold = limit.photograph if len(cuts) > 1 else limit.image
            cases[number] = Case(path, going.names[path], file, model.name, size, len(cuts), threshold, key, status)
        yield Job(number, file, path, size, cuts, wanted=record is None)


def _status(file: Path, path: str) -> os.stat_result:
    try:
        found = file.stat()
    except OSError as error:
        raise ReadError(f"{path}: cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(found.st_mode):
        raise ReadError(f"{path}: not a file")
    return found


def _refuse_above(size: Size, path: str, wishes: Wishes) -> None:
    most = maps.MOST_PIXELS if wishes.maps else MOST_PIXELS
    if size.area > most:
        advice = "; with --no-maps up to 400 million" if wishes.maps and size.area <= MOST_PIXELS else ""
        raise ReadError(
            f"{path}: {size.width} × {size.height} pixels (width × height); expected at most {most / 1e6:g} million{advice}"
        )


def _refuse(threshold: float | None, batch_size: int, wishes: Wishes) -> None:
    if threshold is not None and not math.isfinite(threshold):
        raise ConfigError(f"found threshold {threshold}; expected a finite number")
    if batch_size < 1:
        raise ConfigError(f"found a batch size of {batch_size}; expected at least 1")
    if not wishes.label.strip() or not wishes.label.isprintable():
        raise ConfigError(f"found label {wishes.label!r}; expected a name for the regions")
    if wishes.label.strip().casefold() in (IGNORE, BACKGROUND):
        raise ConfigError(f"found label {wishes.label!r}, which marks no defect; expected another name for the regions")


def _cut(run: Run, slice_size: int | None) -> Cut | None:
    """How photographs are cut: as those of the run's data set were, or into windows of that side."""
    cut = run.contents.cut
    if slice_size is None:
        return cut
    kept = cut.model_dump() if cut is not None else {"overlap_ratio": Tiling().overlap_ratio, "edge": Tiling().edge}
    try:
        return Cut.model_validate({**kept, "slice_size": slice_size})
    except ValidationError as error:
        raise ConfigError(f"found --slice-size {slice_size}: {error.errors(include_url=False)[0]['msg']}") from None


def _key(going: _Pass, model: Trained) -> str:
    """Digest of all that the files of a photograph depend on, besides itself. The batch size is not part of it: it bears on the
    last bits of a score only."""
    path = going.run.root / model.folder / runs.MODEL
    try:
        with path.open("rb") as file:
            weights = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ReadError(f"{path}: cannot be read ({error.strerror})") from None
    told = {
        "cut": going.cut.model_dump(mode="json") if going.cut else None,
        "format": FORMAT,
        "limit": going.run.threshold(model).model_dump(mode="json"),
        "model": weights,
        "recipe": going.run.recipe.model_dump(mode="json"),
        "teacher": going.run.contents.teacher,
        "threshold": going.threshold,
        "wishes": asdict(going.wishes),
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:32]


@contextmanager
def _threads(count: int) -> Iterator[Executor]:
    """Threads that drop what is not begun when the run ends early."""
    pool = ThreadPoolExecutor(count, "threecad")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _sentences(out: Path) -> Iterator[None]:
    """An output folder that cannot be written is no bug."""
    try:
        yield
    except OSError as error:
        path, target = Path(os.fsdecode(error.filename or out)).resolve(), out.resolve()
        if not (path.is_relative_to(target) or target.is_relative_to(path)):
            raise
        raise ThreecadError(
            f"{error.filename or out}: cannot be written ({error.strerror}); what is finished is kept, run the same command again"
        ) from error
