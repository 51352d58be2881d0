"""`train`: from a data set to a run, one model after the other, or several at once on several devices."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Empty
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from pydantic import ValidationError
from torch.multiprocessing.spawn import ProcessExitedException

from threecad import __version__
from threecad.errors import ConfigError, ReadError, ThreecadError
from threecad.formats.dataset import is_written, read_manifest
from threecad.learning import cache, checkpoints, home, loop, plan, runs, textures, thresholds, weights
from threecad.learning.batches import seed_of
from threecad.learning.config import Recipe
from threecad.learning.devices import Devices, devices, fabric, precision
from threecad.learning.home import DONE
from threecad.learning.loop import Job, Progress
from threecad.learning.model import Cfrg, backbone
from threecad.learning.runs import Contents, Cut, Run, Trained
from threecad.pipeline.convert import cores
from threecad.pipeline.summary import count

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from threecad.formats.dataset import Dataset
    from threecad.formats.layouts import Request
    from threecad.learning.cache import Squares
    from threecad.learning.plan import Plan
    from threecad.learning.runs import Threshold
    from threecad.learning.textures import Textures

Tell = Callable[[Progress], None]
Note = Callable[[str], None]
Board = Callable[[dict[str, float], int], None]
"""Takes a row of the log, and the number of its epoch."""
T = TypeVar("T")

_TAKEN = ("evaluation", "export")
"""Folders of a run that are no models': where `evaluate` and `export-model` write unless told otherwise."""


@dataclass(frozen=True, slots=True)
class _Task:
    """The training of one plan, to be handed to whichever process does it."""

    plan: Plan
    folder: str
    root: Path
    recipe: Recipe
    pictures: Path | None
    """Folder of textures."""
    teacher: str
    """Its digest."""
    resume: bool
    board: bool
    workers: int | None


@torch.random.fork_rng(devices=[])  # networks are made of random numbers first, even where weights follow
def train(
    dataset: str | Path,
    run: str | Path,
    recipe: Recipe | None = None,
    *,
    categories: Sequence[str] = (),
    textures: str | Path | None = None,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    tensorboard: bool = False,
    request: Request | None = None,
    workers: int | None = None,
    progress: Tell | None = None,
    note: Note | None = None,
) -> Run:
    """Train CFRG on the good images of `dataset`, one model a category (or one joint), into the folder `run`.

    `dataset` is what `convert` wrote or any layout that `stats` reads; `textures` a folder of pictures to paint anomalies with
    (DTD); `device` as `devices` takes it: several train several categories at once, or one model together. `resume` goes on with
    a training that was cut off, and gives on one CPU the very bytes of one that was not. `note` is told what was decided that
    nobody asked for.

    ConfigError for settings that do not fit, LayoutError for a data set without good images, ReadError for damaged files,
    ThreecadError where memory or the disk does not suffice, or a loss is no number.
    """
    recipe = recipe or Recipe()
    root, tell = Path(run), note or (lambda text: None)
    pictures = Path(textures) if textures is not None else None
    chosen = devices(device)
    precision(recipe.train.precision, chosen.kind)
    plans, notes = plan.plan(Path(dataset), recipe.data, categories=categories, seed=recipe.data.seed, request=request)
    for text in notes:
        tell(text)
    if recipe.train.keep == "best" and (lacking := [each.name for each in plans if not each.validation.rows]):
        names = ", ".join(lacking)
        raise ConfigError(
            f'train.keep = "best" needs images held out (data.validation), {names} has none; expected some, or "last"'
        )
    cut = _cut(Path(dataset))
    _refuse_missing(recipe, pictures, tensorboard)
    with home.hold(root, resume=resume, overwrite=overwrite):
        painting = pictures.name if pictures is not None else "made"
        goes_on = resume and home.compare(root, recipe, plans, painting)
        if resume and not goes_on:
            tell(f"{root}: holds no training to go on with (--resume), so this one begins")
        digest = _teacher(root, recipe, tell, resume=goes_on, overwrite=overwrite)
        home.begin(root, recipe, plans, painting)
        if pictures is None:
            tell("no textures given (--textures): anomalies are painted with made ones and with patches of the training images")
        tasks = [
            _Task(each, folder, root, recipe, pictures, digest, goes_on, tensorboard, workers)
            for each, folder in zip(plans, folders([each.name for each in plans]), strict=True)
        ]
        trained = _each(tasks, chosen, progress, tell) if len(tasks) > 1 else [_train(tasks[0], chosen, progress, tell)]
        title = Path(dataset).resolve().name
        contents = Contents(threecad=__version__, dataset=title, cut=cut, teacher=digest, models=tuple(trained))
        runs.write_json(root / runs.RUN, contents)
        for task in tasks:
            for name in (runs.STATE, DONE):
                runs.delete(root / task.folder / name)
        runs.delete(root / home.BEGUN)
    cache.trim(cache.home())
    return Run(root)


def _refuse_missing(recipe: Recipe, pictures: Path | None, tensorboard: bool) -> None:
    """ConfigError for what would be found missing only later, when a former run was deleted already."""
    if pictures is not None and not pictures.is_dir():
        textures.read_textures(pictures, recipe.data.size)  # says what is wrong with it
    if tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise ConfigError("--tensorboard: tensorboard is not installed; expected pip install 'threecad[tensorboard]'")
    if recipe.model.student_pretrained and recipe.model.segmentation:
        weights.fetched(recipe.model.student)


def _teacher(root: Path, recipe: Recipe, tell: Note, *, resume: bool, overwrite: bool) -> str:
    """Writes the teacher into the run's folder, cleared of a former run; gives its digest."""
    kept = root / runs.TEACHER
    if resume and kept.is_file():
        return weights.digest(weights.read(kept))
    file = Path(recipe.model.teacher_weights) if recipe.model.teacher_weights else None
    net = weights.teacher(recipe.model.teacher, file, tell)
    left = home.clear(root) if overwrite else []
    if left:
        tell(f"{root}: left there, and not of this run: {', '.join(left[:5])}{' …' if len(left) > 5 else ''}")
    return runs.write_teacher(root, net)


def folders(names: Sequence[str]) -> list[str]:
    """A folder's name for each model: its own in plain letters where that is safe and its alone.

    >>> folders(["Glass plate", "glass-plate", "玻璃", "export"])
    ['glass-plate', 'glass-plate-2', 'model', 'export-2']
    """
    given: list[str] = []
    for name in names:
        plain = "".join(c if c.isascii() and c.isalnum() else "-" for c in name.casefold()).strip("-")[:40] or "model"
        number, folder = 1, plain
        while folder in given or folder in _TAKEN:
            number += 1
            folder = f"{plain}-{number}"
        given.append(folder)
    return given


def _each(tasks: list[_Task], chosen: Devices, progress: Tell | None, note: Note) -> list[Trained]:
    """Several models: one after the other on one device, else a process a device, each of which takes the next model."""
    if len(chosen.places) == 1:
        return [_train(task, chosen, progress, note) for task in tasks]
    context = multiprocessing.get_context("spawn")
    places, events = context.Queue(), context.Queue()  # a Manager's would be one more process, which outlives a kill
    for place in chosen.places:
        places.put(place)
    threads = max(1, cores() // len(chosen.places))
    starting = (chosen.kind, places, events, threads)
    with _terminable(), ProcessPoolExecutor(len(chosen.places), context, _start, starting) as pool:
        try:
            return _results([pool.submit(_train_here, task) for task in tasks], events, progress, note)
        except BrokenProcessPool:
            raise ThreecadError(
                f"a training on {chosen.kind} ended without a word, which is what too little memory looks like; "
                "what is finished is kept: --resume on fewer --devices, or with a smaller --batch-size"
            ) from None
        except BaseException:
            for process in list((pool._processes or {}).values()):  # before the pool forgets them
                process.terminate()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _together(run_on: Fabric, task: _Task, progress: Tell | None, note: Note) -> float:
    """All devices train one model, a process each. Where one fails, the others would wait for it: they are ended."""
    world, events = run_on.world_size, multiprocessing.get_context("spawn").Queue()
    before = multiprocessing.active_children()
    said: set[str] = set()

    def once(text: str) -> None:
        """What all devices say is said once, and what one of them says is said."""
        if text not in said:
            said.add(text)
            note(text)

    note(f"{task.plan.name}: trains on {world} devices together, up to {world * task.recipe.train.batch_size} images a step")
    with _terminable(), ThreadPoolExecutor(1, "launching") as pool:
        try:
            launched: Future[float] = pool.submit(run_on.launch, partial(_fit_there, task=task, events=events))
            return _results([launched], events, progress, once)[0]
        except ProcessExitedException:
            raise ThreecadError(
                f"{task.plan.name}: a device's process ended or fell silent without a word, as it does for want of memory; "
                "--resume goes on from the last checkpoint, on fewer --devices where need be"
            ) from None
        finally:
            for process in multiprocessing.active_children():
                if process not in before:
                    process.terminate()


def _results(waiting: list[Future[T]], events: Any, progress: Tell | None, note: Note) -> list[T]:
    """What other processes come to, whose events are handed on meanwhile; the first mistake of any of them is raised at once."""
    while True:
        ended = wait(waiting, 0.2, FIRST_EXCEPTION)
        _hand_on(events, progress, note)
        found = [future.result() for future in waiting if future in ended.done]
        if not ended.not_done:
            return found


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends this process as Ctrl-C does, so that the others are ended with it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _hand_on(events: Any, progress: Tell | None, note: Note) -> None:
    while True:
        try:
            event = events.get_nowait()
        except Empty:
            return
        if isinstance(event, ThreecadError):
            raise event
        if not isinstance(event, Progress):
            note(event)
        elif progress is not None:
            progress(event)


_here: tuple[Devices, Any] | None = None


def _start(kind: str, places: Any, events: Any, threads: int) -> None:
    global _here
    _follow_parent()
    torch.set_num_threads(threads)
    _here = Devices(kind, (places.get(),)), events


def _follow_parent() -> None:
    """This process ends when and because its parent says so; to Ctrl-C, which every process hears, the parent alone answers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """Nobody is left to write for where the process that began this one was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _train_here(task: _Task) -> Trained:
    assert _here is not None
    chosen, events = _here
    return _train(task, chosen, events.put, events.put)


def _train(task: _Task, chosen: Devices, progress: Tell | None, note: Note) -> Trained:
    """One model; on all devices together where there are several."""
    folder = task.root / task.folder
    if task.resume and (folder / DONE).is_file():
        return runs.read_json(folder / DONE, Trained)
    recipe = task.recipe
    run_on = fabric(chosen, recipe.train.precision, together=len(chosen.places) > 1)
    _decode(task, progress)
    if len(chosen.places) > 1:
        seconds = _together(run_on, task, progress, note)
    else:
        seconds = run_on.launch(partial(_fit, task=task, progress=progress, note=note))
    began = time.monotonic()
    decided = _threshold(task, chosen.torch())
    if (best := thresholds.promised(decided.images, decided.false_positive_rate)) > decided.false_positive_rate:
        asked, verb = f"{100 * decided.false_positive_rate:g} %", "promises" if decided.images == 1 else "promise"
        if decided.source == "training":
            promise = f" that trained the model, which {verb} nothing: new ones score higher"
        else:
            promise = f", which {verb} only that at most {100 * best:.2g} % of good ones are taken for defective"
        rests = f"the threshold rests on {count(decided.images, 'good image')}{promise}"
        note(f"{task.plan.name}: {rests}; {asked} was asked for (data.validation)")
    runs.write_json(folder / runs.THRESHOLD, decided)
    told = Trained(
        name=task.plan.name,
        categories=task.plan.categories,
        folder=task.folder,
        images=len(task.plan.train.rows),
        seconds=round(seconds + time.monotonic() - began, 1),
    )
    runs.write_json(folder / DONE, told)
    return told


def _decode(task: _Task, progress: Tell | None) -> None:
    """Makes the squares, so that whoever trains finds them."""
    for part in (task.plan.train, task.plan.validation):

        def tell(done: int, total: int) -> None:
            if progress is not None:
                progress(Progress(task.plan.name, 0, task.recipe.train.epochs, done, total, (0, 0, 0), 0, 0, 0, 0))

        if part.rows:
            cache.squares(part, task.recipe.data, cache.home(), workers=task.workers, progress=tell)


def _fit_there(run_on: Fabric, task: _Task, events: Any) -> float:
    """In one of several processes, of which the first tells how far it is. A mistake is sent as well: what is raised arrives as
    the text of a traceback."""
    _follow_parent()
    try:
        return _fit(run_on, task, events.put if run_on.is_global_zero else None, events.put)
    except ThreecadError as error:
        events.put(error)
        raise
    except RuntimeError as error:
        if not isinstance(error, torch.distributed.DistError) and "/gloo/" not in str(error):
            raise
        # Another process is gone, and tells itself why if it can; or it hangs, and the half an hour that Fabric waits is over.
        raise SystemExit(1) from None


def _fit(run_on: Fabric, task: _Task, progress: Tell | None, note: Note) -> float:
    """In each process that trains the model: what it needs is opened there, for squares are far too many to be sent."""
    squares = _squares(task, task.plan.train)
    held = _squares(task, task.plan.validation) if task.plan.validation.rows else None
    painted = _textures(task, squares, note)
    mark = checkpoints.fingerprint(task.recipe, task.plan, painted.digest(), task.teacher)
    job = Job(task.plan.name, task.recipe, squares, held, painted, mark, task.root / task.folder)
    with _board(job.folder) if task.board and run_on.is_global_zero else nullcontext() as board:
        return loop.fit(run_on, _network(task, student=True), job, resume=task.resume, tell=progress, note=note, board=board)


def _threshold(task: _Task, device: torch.device) -> Threshold:
    """Of the model in the task's folder; by the images held out, or where there are none by those that trained it."""
    recipe = task.recipe
    network = _network(task)
    network.load_state_dict({**network.state_dict(), **weights.read(task.root / task.folder / runs.MODEL)})
    source, part = ("validation", task.plan.validation) if task.plan.validation.rows else ("training", task.plan.train)
    squares = _squares(task, part)
    with loop.bounded(device, recipe.train.batch_size):
        detector, spreads = thresholds.measured(network.to(device), recipe.score, squares, recipe.train.batch_size, device)
        found = thresholds.scores(detector, squares, recipe.train.batch_size, device)
    if not np.isfinite(found).all():
        raise ThreecadError(loop.not_finite(task.plan.name, "score of a good image", recipe.train.epochs))
    decided = thresholds.threshold(found, squares, part, recipe.score.false_positive_rate, source)  # type: ignore[arg-type]
    return decided.model_copy(update={"spreads": spreads})


def _network(task: _Task, *, student: bool = False) -> Cfrg:
    """The networks with the run's teacher, the rest as the seed says; `student` fetches its weights where it starts from some."""
    settings = task.recipe.model
    teacher = backbone(settings.teacher)
    teacher.load_state_dict(weights.read(task.root / runs.TEACHER))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(task.recipe.train.seed, task.plan.name, "networks"))
        fetched = weights.fetched(settings.student) if student and settings.student_pretrained and settings.segmentation else None
        return Cfrg(settings, teacher, fetched)


@contextmanager
def _board(folder: Path) -> Iterator[Board]:
    """What writes the log for TensorBoard as well."""
    from torch.utils.tensorboard import SummaryWriter

    writers: list[SummaryWriter] = []

    def board(row: dict[str, float], step: int) -> None:
        if not writers:  # the first epoch here replaces the ones that a training wrote after the state it left
            writers.append(SummaryWriter(str(folder / runs.BOARD), purge_step=step))
        for name, value in row.items():
            if name != "epoch":
                writers[0].add_scalar(name, value, step)
        writers[0].flush()

    try:
        yield board
    finally:
        for writer in writers:
            writer.close()


def _squares(task: _Task, part: Dataset) -> Squares:
    return cache.squares(part, task.recipe.data, cache.home(), workers=task.workers)


def _textures(task: _Task, squares: Squares, note: Note) -> Textures:
    size = task.recipe.data.size
    if task.pictures is not None:
        return textures.read_textures(task.pictures, size, note=note)
    return textures.make_textures(squares.pixels, size, seed_of(task.recipe.train.seed, task.plan.name, "textures"))


def _cut(root: Path) -> Cut | None:
    """How threecad cut the data set's images, where it did."""
    for folder in (root, root.parent):
        if is_written(folder):
            tiling = read_manifest(folder).pipeline.get("tiling")
            try:
                return Cut.model_validate({key: tiling[key] for key in Cut.model_fields})  # type: ignore[index]
            except (ValidationError, KeyError, TypeError):
                raise ReadError(f"{folder}: its manifest does not tell how photographs were cut (pipeline.tiling)") from None
    return None
