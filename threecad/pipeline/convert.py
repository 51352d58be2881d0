"""The conversion: raw folder → find → (journey of every source) → split → publish → audit → manifest.

Sources are independent, so their tiles are cut and encoded first, into a staging folder, by as many threads as there are
cores. Splits are assigned afterwards, to whole sources and from sources alone: near-duplicates bind sources together, and only
a decoded image shows what it resembles. Then the files are moved into place, and the manifest is written last.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from threecad.domain import Action, Finding, Source
from threecad.errors import ConfigError, LayoutError, ThreecadError
from threecad.formats.cases import DECISIONS, Choices, Decisions, read_choices
from threecad.formats.dataset import Manifest
from threecad.formats.remote import Place, Remote, is_url, place_of
from threecad.imaging import tiling
from threecad.pipeline import config, engines, remote, threads
from threecad.pipeline.config import Pipeline
from threecad.pipeline.files import HOME
from threecad.pipeline.publish import keeps_decisions, made_from, publish, stands
from threecad.pipeline.sources import Finished, Known, Task, read_folder, type_lists
from threecad.pipeline.store import Store, hold, refuse_foreign

WAITING = 4
"""Threads for each core where files come from a store, or go there: most of them wait for it."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: `done` of `total` sources, and the megapixels read so far."""

    done: int
    total: int
    megapixels: float
    source: str
    doing: str = ""
    """What is done, where a run does one thing after another; else what its command is known for."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a conversion did. `manifest` is None after a dry run; `changed` says whether anything was (or would be) written.
    `findings` are those a dry run can tell; a run writes them to `out/findings.jsonl`."""

    out: Place
    manifest: Manifest | None
    changed: bool
    converted: int
    unchanged: int
    removed: int
    seconds: float
    megapixels: float = 0.0
    windows: int = 0
    findings: tuple[Finding, ...] = field(default=(), repr=False)

    @property
    def queued(self) -> bool:
        """Whether a person has to look at something."""
        found = self.manifest.findings if self.manifest else {}
        return any(actions.get(Action.QUEUED, 0) for actions in found.values())

    @property
    def flawless(self) -> bool:
        """Whether no shape was dropped or queued."""
        categories = self.manifest.categories.values() if self.manifest else ()
        return not self.queued and not any(category.shapes.queued + category.shapes.dropped for category in categories)


def convert(
    raw_folder: str | Path,
    out: str | Path,
    pipeline: Pipeline | str | Path | None = None,
    *,
    workers: int | None = None,
    engine: str | Executor = engines.THREADS,
    decisions: str | Path | Decisions | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Conversion:
    """Turn labelled photographs into a data set: masks, tiles, splits, manifest.

    `raw_folder` holds images and labelme annotations; `out` becomes the data set, or is brought up to date if it is one. Either
    may be a URL that fsspec understands ("s3://parts/line7"), with credentials where fsspec looks for them.
    `pipeline` is a `Pipeline`, a TOML file or the name of one that ships with threecad. `workers` is the number of threads
    (default: the cores this process may use). The bytes of the result depend on the input, the pipeline and the decisions alone.

    `engine` says who works: "threads" of this process, "dask" (a cluster of processes on this machine), "dask:tcp://host:8786" (a
    cluster that runs), or any `concurrent.futures.Executor`, which takes sources one by one; both folders then have to be where
    all workers see them.

    `decisions` are what people said about single shapes: a file that the report exports, or `Decisions`. They are kept in
    `out/decisions.json` and hold in later runs too; new ones are added, and replace what was decided about the same shape.

    Raises ConfigError, LayoutError or BusyError for a request that cannot be met, and ThreecadError when the output cannot be
    written. Flaws in the data are findings: see `out/findings.jsonl`.
    """
    began = time.monotonic()
    settings = settings_of(pipeline)
    engines.refuse_unknown(engine)
    root, target = _folders(place_of(raw_folder), place_of(out))
    said = choices_of(decisions)
    if dry_run:
        return _rehearse(root, target, settings, said, overwrite, began)
    try:
        with _held(target, title(root), overwrite) as store:
            hands = workers or cores() * (WAITING if isinstance(root, Remote) or isinstance(target, Remote) else 1)
            return _convert(root, store, settings, said, hands, engine, overwrite, progress, began)
    except OSError as error:
        if not _ours(error.filename, target):
            raise
        where = error.filename or target
        raise ThreecadError(
            f"{where}: cannot be written ({error.strerror}); what is finished is kept, run the same command again"
        ) from error


def _convert(
    root: Place,
    store: Store,
    settings: Pipeline,
    said: Decisions | Choices | None,
    workers: int,
    engine: str | Executor,
    overwrite: bool,
    progress: Callable[[Progress], None] | None,
    began: float,
) -> Conversion:
    known = {record.source.id: Known.of(record) for record in store.load(forget=overwrite)}
    found = read_folder(root, settings.read, known.values())
    types = type_lists(found, settings)
    decided = decisions_of(store.out, said)
    store.decide(decided, before=store.decides() or keeps_decisions(store.out))
    task = Task(root, settings, types, found, store.files, decided)
    todo = [source for source in found.sources if not task.done(source, known.get(source.id))]
    redone, pixels = 0, 0
    with closing(_worked(task, todo, known, workers, engine)) as finished:
        for count, each in enumerate(finished, 1):
            record = each.record or replace(store.record(each.source.id), seen=each.seen, source=each.source)
            store.keep(record)
            known[record.source.id] = Known.of(record)
            redone += each.record is not None
            pixels += record.size.area if record.size else 0
            if progress is not None:
                progress(Progress(count, len(todo), pixels / 1e6, record.source.id))
    ids = [source.id for source in found.sources]
    gone = len(known.keys() - set(ids))
    manifest, changed = publish(store, ids, known, found, types, settings, title(root), fresh=redone > 0, decisions=decided)
    return Conversion(
        out=store.place,
        manifest=manifest,
        changed=changed,
        converted=redone,
        unchanged=len(ids) - redone,
        removed=gone,
        seconds=time.monotonic() - began,
        megapixels=pixels / 1e6,
    )


def _worked(
    task: Task, todo: list[Source], known: Mapping[str, Known], workers: int, engine: str | Executor
) -> Generator[Finished, None, None]:
    """Every source's journey, by threads of this process or by whoever the engine stands for."""

    def before(source: Source) -> str | None:
        record = known.get(source.id)
        return None if record is None or record.retry else record.key

    def start(source: Source) -> threads.Opened[Finished]:
        return task.start(before(source), source)

    if engine == engines.THREADS:
        weigh = None if isinstance(task.root, Remote) else task.weigh  # a look at the header is a request
        yield from threads.work(todo, start, workers=workers, budget=budget(), weigh=weigh)
    elif todo:
        with engines.engaged(engine, workers) as team:
            yield from engines.spread(team, task, todo, before)


def _held(out: Place, raw: str, overwrite: bool) -> AbstractContextManager[Store]:
    return (remote.hold if isinstance(out, Remote) else hold)(out, raw, overwrite=overwrite)  # type: ignore[arg-type]


@contextmanager
def _looked_at(out: Place, raw: str, overwrite: bool) -> Iterator[Store]:
    """What is remembered of a data set; nothing is written there."""
    if isinstance(out, Remote):
        with remote.look(out, raw, overwrite=overwrite) as store:
            yield store
    else:
        refuse_foreign(out, raw, overwrite=overwrite)
        with closing(Store(out)) as store:
            yield store


def _rehearse(
    root: Place, out: Place, settings: Pipeline, said: Decisions | Choices | None, overwrite: bool, began: float
) -> Conversion:
    """What a run would do, from sizes and times alone; nothing is written and no image is decoded."""
    with _looked_at(out, title(root), overwrite) as store:
        known = {record.source.id: Known.of(record) for record in store.load(forget=overwrite)}
        found = read_folder(root, settings.read, known.values())
        decided = decisions_of(store.out, said)
        task = Task(root, settings, type_lists(found, settings), found, None, decided)
        ids = [source.id for source in found.sources]
        todo = [source for source in found.sources if not task.unchanged(source, known.get(source.id))]
        origin = None if todo else made_from(ids, known, found, settings, title(root), decided)
        changed = origin is None or not stands(store.out, origin, store.files)
    windows, pixels = 0, 0
    for source in todo:
        size = task.size(source, {}, []) if source.image is not None else None
        if size is not None:
            windows += len(tiling.windows(size, settings.tiling)[0])
            pixels += size.area
    return Conversion(
        out=out,
        manifest=None,
        changed=changed,
        converted=len(todo),
        unchanged=len(ids) - len(todo),
        removed=len(known.keys() - set(ids)),
        seconds=time.monotonic() - began,
        megapixels=pixels / 1e6,
        windows=windows,
        findings=tuple(found.findings),
    )


def title(root: Place) -> str:
    """The raw folder's name, in characters that any list can hold."""
    return root.name.encode("utf-8", "backslashreplace").decode()


def settings_of(pipeline: Pipeline | str | Path | None) -> Pipeline:
    """A pipeline as given, read from a file or by name, or the defaults."""
    if isinstance(pipeline, Pipeline):
        return pipeline
    return Pipeline() if pipeline is None else config.load(pipeline)


def choices_of(decisions: str | Path | Decisions | None) -> Decisions | Choices | None:
    """Decisions as given, or the file that was named."""
    return read_choices(Path(decisions)) if isinstance(decisions, str | Path) else decisions


def decisions_of(out: Path, said: Decisions | Choices | None) -> Decisions:
    """What was decided so far, as an interrupted run or the data set in `out` remembers it, and then what is `said` now."""
    kept = Decisions()
    for path in (out / HOME / DECISIONS, out / DECISIONS if keeps_decisions(out) else None):
        if path is not None and path.is_file():
            kept = kept.changed(read_choices(path, "mend it, or delete it to forget what was decided"))
            break
    if isinstance(said, Decisions):
        return kept.joined(said)
    return kept if said is None else kept.changed(said)


def _folders(root: Place, out: Place) -> tuple[Place, Place]:
    if not root.is_dir():
        raise LayoutError(
            f"{root}: {'is no folder' if root.exists() else 'does not exist'}; expected a folder of images and JSON"
        )
    if isinstance(root, Remote) or isinstance(out, Remote):
        if isinstance(root, Remote) and isinstance(out, Remote) and out.holds(root):
            raise ConfigError(f"{out} contains the raw folder {root}; choose an output folder beside it")
        return root if isinstance(root, Remote) else root.resolve(), out
    whole, target = root.resolve(), out.resolve()
    if target == whole or target in whole.parents:
        raise ConfigError(f"{out} contains the raw folder {root}; choose an output folder beside it")
    return whole, out


def _ours(filename: object, place: Place) -> bool:
    """Whether an error about this file came of writing: it lies in the output folder, or on the way there, or has no name."""
    if not isinstance(filename, str | bytes):
        return filename is None
    if is_url(filename):
        return str(filename).startswith(str(place))
    path, out = Path(os.fsdecode(filename)).resolve(), (remote.workspace(place) if isinstance(place, Remote) else place).resolve()
    return path.is_relative_to(out) or out.is_relative_to(path)


def cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def budget() -> int:
    """Bytes of decoded images that may be open at once: half of the memory this machine, or this container, has."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        memory = 8 << 30
    with suppress(OSError, ValueError):  # "max" where a container sets no limit
        memory = min(memory, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return memory // 2
