"""A finished data set as shards: few large files that a cluster reads from end to end, instead of millions of small ones.

    planning    which sample goes into which shard
    reading     the samples, proved by their digests
    tar         WebDataset
    parquet     Hugging Face's `datasets`
    folder      shards appear whole or not at all; the index is written last

Planning comes first and needs no tile: after it, any worker can write any shard.
"""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from threecad import __version__
from threecad.domain import Split
from threecad.errors import ConfigError, LayoutError, ReadError, ThreecadError
from threecad.formats.dataset import MANIFEST, Manifest, is_written, read_manifest, refuse_unfinished
from threecad.formats.layouts.files import contents
from threecad.pipeline.convert import Progress, cores
from threecad.pipeline.shards import parquet, tar
from threecad.pipeline.shards.folder import FORMAT, INDEX, Folder, Shard, Sink, hold, refuse_foreign
from threecad.pipeline.shards.planning import Batch, Plan, Wanted, plan
from threecad.pipeline.shards.reading import Parts, read

__all__ = ["INDEX", "TO", "Export", "Shard", "export", "key_of"]

TO = ("webdataset", "parquet")
SHARD_SIZE = 500.0
"""Megabytes: large enough to be read from end to end at full speed, small enough that a hundred workers all have some."""
_TELL_SECONDS = 0.2
key_of = tar.key_of


@dataclass(frozen=True, slots=True)
class Export:
    """What an export holds, in the order of its index. `written` shards were made now, the others were there already."""

    out: Path
    to: str
    shards: tuple[Shard, ...]
    written: int
    seconds: float = field(compare=False)

    @property
    def samples(self) -> int:
        return sum(shard.samples for shard in self.shards)

    @property
    def bytes(self) -> int:
        return sum(shard.bytes for shard in self.shards)

    @property
    def index(self) -> Path:
        return self.out / INDEX


def export(
    dataset: str | Path,
    out: str | Path,
    to: Literal["webdataset", "parquet"],
    *,
    split: str | Sequence[str] | None = None,
    category: str | Sequence[str] | None = None,
    shard_size: float = SHARD_SIZE,
    samples_per_shard: int | None = None,
    seed: int | None = None,
    overwrite: bool = False,
    workers: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Export:
    """Write the tiles of the data set that `threecad.convert` made at `dataset` as shards into the folder `out`.

    `to` is `webdataset` (`train-000000.tar`, …) or `parquet` (`data/train-00000-of-00005.parquet`, … and a card, as Hugging
    Face's `load_dataset(out)` reads them). `split` and `category` are one name or several, None meaning all; tiles that no split
    uses are left out. A shard holds at most `shard_size` megabytes (10⁶ bytes; a sample that is larger has one to itself) and
    `samples_per_shard` samples. With a `seed` the samples of each split are shuffled, else they have the data set's order: by
    source, neighbours side by side.

    Image and mask files are copied byte for byte, each compared with the digest that the conversion noted. The shards depend on
    the data set and these options alone, Parquet also on the version of pyarrow; not on `workers`. `out/index.json` lists them
    and is written last. An interrupted export goes on where it stopped; an unchanged one does nothing.

    Raises ConfigError for options that make no sense, or without pyarrow; LayoutError where `dataset` is none, or `out` holds
    anything else (`overwrite` replaces another export and leaves other files alone); ReadError where a tile is missing or was
    changed; ThreecadError where `out` cannot be written.
    """
    began = time.monotonic()
    root, target = Path(dataset), Path(out)
    wanted = _wanted(split, category, shard_size, samples_per_shard, seed)
    form = _form(to)
    manifest = _manifest(root, target)
    refuse_foreign(target, overwrite=overwrite)
    digest = _digest(root)
    planned = plan(root, manifest, wanted, form.weigh, _telling(manifest, progress))
    made_from = _made_from(to, digest, wanted, planned)
    jobs = {form.path_of(each.split, each.number, each.count): each for each in planned.batches}
    card = None if to != "parquet" else _card(manifest, planned)
    names = [*jobs, *([parquet.CARD] if card is not None else [])]
    try:
        with hold(target) as folder:
            folder.settle(made_from, names, overwrite=overwrite)
            run = _Run(root, folder, form, wanted.seed, progress, planned)
            shards, written = run(jobs, workers or cores())
            if _digest(root) != digest:
                raise ReadError(f"{root / MANIFEST}: changed while it was exported; run the same command again")
            if card is not None:
                folder.keep(parquet.CARD, card)
            folder.finish(_index(manifest, planned, made_from, names, shards))
    except OSError as error:
        where = error.filename or target
        raise ThreecadError(
            f"{where}: cannot be written ({error.strerror or error}); what is finished is kept, run the same command again"
        ) from error
    return Export(target, to, tuple(shards), written, time.monotonic() - began)


# ---------------------------------------------------------------- the request


def _wanted(
    split: str | Sequence[str] | None,
    category: str | Sequence[str] | None,
    shard_size: float,
    samples: int | None,
    seed: int | None,
) -> Wanted:
    splits = _several(split)
    for name in splits or ():
        if name not in list(Split):
            raise ConfigError(f"found split {name!r}; expected {', '.join(Split)}")
    if not (math.isfinite(shard_size) and 0 < shard_size <= 1e6):
        raise ConfigError(f"found a shard size of {shard_size:g} MB; expected more than 0 and at most a million")
    if samples is not None and samples < 1:
        raise ConfigError(f"found {samples} samples a shard; expected at least 1")
    chosen = None if splits is None else tuple(each for each in Split if each in splits)
    return Wanted(chosen, _several(category), seed, max(1, round(shard_size * 1e6)), samples)


def _several(names: str | Sequence[str] | None) -> tuple[str, ...] | None:
    if names is None:
        return None
    return tuple(sorted({names} if isinstance(names, str) else set(names)))


def _form(to: str) -> ModuleType:
    if to not in TO:
        raise ConfigError(f"found format {to!r}; expected {' or '.join(TO)}")
    if to == "webdataset":
        return tar
    parquet.pyarrow()  # before anything is read
    return parquet


def _manifest(root: Path, out: Path) -> Manifest:
    """The manifest of the data set. LayoutError where there is none; ConfigError where one would lie in the other."""
    if not root.is_dir():
        raise LayoutError(f"{root}: {'a file' if root.exists() else 'no such folder'}; expected a data set of threecad convert")
    refuse_unfinished(root)
    if not is_written(root):
        raise LayoutError(
            f"{root}: found {contents(root)}; expected {MANIFEST} and samples.jsonl, as threecad convert writes them"
        )
    whole, target = root.resolve(), out.resolve()
    if target == whole or target in whole.parents or whole in target.parents:
        raise ConfigError(f"{out} and the data set {root} lie in each other; choose a folder beside it")
    return read_manifest(root)


def _telling(manifest: Manifest, progress: Callable[[Progress], None] | None) -> Callable[[int], None] | None:
    """How far the planning is, by the samples read."""
    if progress is None:
        return None
    total = sum(
        count for category in manifest.categories.values() for kinds in category.tiles.values() for count in kinds.values()
    )
    return lambda done: progress(Progress(done, max(total, done), 0.0, "", "planning"))


def _digest(root: Path) -> str:
    try:
        return hashlib.sha256((root / MANIFEST).read_bytes()).hexdigest()
    except OSError as error:
        raise ReadError(f"{root / MANIFEST}: {error.strerror}") from None


def _made_from(to: str, digest: str, wanted: Wanted, planned: Plan) -> dict[str, Any]:
    """All that the bytes of the shards depend on; what was asked for in two ways is the same where it comes to the same."""
    made = {
        "categories": list(planned.categories),
        "manifest": digest,
        "samples_per_shard": wanted.samples,
        "seed": wanted.seed,
        "shard_bytes": wanted.shard_bytes,
        "splits": [each.value for each in Split if any(batch.split is each for batch in planned.batches)],
        "threecad": __version__,
        "to": to,
    }
    return made | ({"pyarrow": parquet.version()} if to == "parquet" else {})


# ---------------------------------------------------------------- the work


class _Stopped(Exception):
    """Raised in the threads when another one failed, or somebody pressed Ctrl-C."""


@dataclass(slots=True)
class _Run:
    """The shards of one export being verified and written, by threads: what they wait for are disks and digests."""

    root: Path
    folder: Folder
    form: ModuleType
    seed: int | None
    progress: Callable[[Progress], None] | None
    planned: Plan
    stop: threading.Event = field(default_factory=threading.Event)
    done: int = 0
    last: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, jobs: dict[str, Batch], workers: int) -> tuple[list[Shard], int]:
        """All shards in the order of `jobs`, and how many were written."""
        ready = dict(self._all([(path, partial(self._verify, path, batch)) for path, batch in jobs.items()], workers))
        missing = [(path, batch) for path, batch in jobs.items() if ready[path] is None]
        if missing:
            self.folder.begin()
        ready |= dict(self._all([(path, partial(self._write, path, batch)) for path, batch in missing], workers))
        return [shard for path in jobs if (shard := ready[path]) is not None], len(missing)

    def _all(self, jobs: Iterable[tuple[str, Callable[[], Shard | None]]], workers: int) -> Iterator[tuple[str, Shard | None]]:
        """The results as they come; the first failure stops the others at their next sample, and is raised."""
        with ThreadPoolExecutor(max(1, workers), thread_name_prefix="threecad") as pool:
            try:
                names: dict[Future[Shard | None], str] = {pool.submit(job): path for path, job in jobs}
                left = set(names)
                while left:
                    finished, left = wait(left, timeout=_TELL_SECONDS, return_when=FIRST_COMPLETED)
                    self._tell()
                    for future in finished:
                        yield names[future], future.result()
            except BaseException:
                self.stop.set()
                pool.shutdown(cancel_futures=True)
                raise

    def _tell(self) -> None:
        if self.progress is not None and self.done:
            self.progress(Progress(self.done, sum(len(batch.rows) for batch in self.planned.batches), 0.0, self.last))

    def _verify(self, path: str, batch: Batch) -> Shard | None:
        found = self.folder.whole(path)
        if found is None or found.samples != len(batch.rows):
            return None
        self._count(found.samples, path)
        return found

    def _write(self, path: str, batch: Batch) -> Shard:
        def fill(sink: Sink) -> None:
            self.form.write(sink, self._samples(batch))

        return self.folder.write(path, batch.split.value, len(batch.rows), fill)

    def _samples(self, batch: Batch) -> Iterator[Parts]:
        for parts in read(self.root, batch.rows, self.seed):
            if self.stop.is_set():
                raise _Stopped
            yield parts
            self._count(1, parts.id)

    def _count(self, number: int, last: str) -> None:
        with self._lock:
            self.done += number
            self.last = last


# ---------------------------------------------------------------- what is written beside the shards


def _card(manifest: Manifest, planned: Plan) -> bytes:
    splits = [each.value for each in Split if any(batch.split is each for batch in planned.batches)]
    return parquet.card(manifest, splits, sum(len(batch.rows) for batch in planned.batches), planned.categories)


def _index(
    manifest: Manifest, planned: Plan, made_from: dict[str, Any], names: Sequence[str], shards: Sequence[Shard]
) -> dict[str, Any]:
    samples: Counter[str] = Counter()
    for shard in shards:
        samples[shard.split] += shard.samples
    return {
        "categories": {
            name: {"types": {str(each.index): each.name for each in manifest.categories[name].types}}
            for name in planned.categories
        },
        "dataset": manifest.raw,
        "format": FORMAT,
        "made_from": made_from,
        "names": list(names),
        "samples": dict(samples),
        "shards": [asdict(shard) for shard in shards],
    }
