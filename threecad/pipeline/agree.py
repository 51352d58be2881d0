"""`threecad agree`: what annotators drew, beside what the reference drew on the same images."""

from __future__ import annotations

import csv
import io
import math
import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import combinations
from pathlib import Path
from posixpath import splitext
from statistics import fmean
from typing import Any

from shapely import box
from shapely.geometry.base import BaseGeometry

from threecad.curation import agreement
from threecad.curation.agreement import Comparison, Row, Verdict
from threecad.domain import MEANING, Action, Annotation, Code, Finding, Region, Shape, Size, Source
from threecad.errors import ConfigError, LayoutError, ThreecadError
from threecad.formats import raw
from threecad.imaging import polygons, tiling
from threecad.pipeline import config, threads
from threecad.pipeline.config import Pipeline
from threecad.pipeline.convert import Progress, cores, settings_of
from threecad.pipeline.sources import Reader, Task, read_folder
from threecad.pipeline.store import write_atomically
from threecad.settings import Reading

REFERENCE, ANNOTATOR, BOTH = "reference", "annotator", "both"
"""Which side has an image that was not compared."""

_REACH = 1e7  # px; a coordinate farther out is garbage, and squares of it are no numbers


@dataclass(frozen=True, slots=True)
class Bars:
    """What every annotator has to reach; None asks for nothing. A number that is not defined does not reach a bar."""

    min_f1: float | None = None
    min_mean_iou: float | None = None
    min_kappa: float | None = None


@dataclass(frozen=True, slots=True)
class Coefficient:
    """Agreement beyond chance over so many images; where `value` is None, `reason` says why."""

    value: float | None
    images: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Scores:
    """One annotator against the reference. `confusion` counts matched defects by (type of the reference, type drawn); `calls`
    counts images by (called by the reference, called by the annotator), each good or defective."""

    name: str
    images: int
    total: Row
    types: tuple[Row, ...]
    sizes: tuple[Row, ...]
    confusion: Mapping[tuple[str, str], int]
    calls: Mapping[tuple[str, str], int]
    kappa: Coefficient
    excused: int


@dataclass(frozen=True, slots=True)
class Between:
    """Two annotators beside each other, on the images both were compared on; unusable shapes are not looked at."""

    one: str
    other: str
    images: int
    pairs: int
    mean_iou: float | None
    f1: float | None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An image that was not compared: `side` has it (reference, annotator or both); its path is as that side has it."""

    annotator: str
    image: str
    side: str
    reason: str


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A number below its bar; `value` is None where it is not defined, and `reason` says why."""

    annotator: str
    measure: str
    value: float | None
    bar: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One defect of one image as one annotator has it. `image` is the reference's, `file` the annotator's own."""

    annotator: str
    image: str
    file: str
    comparison: Comparison


@dataclass(frozen=True, slots=True)
class Agreement:
    """What `agree` found. `images` are those that at least one annotator was compared on, `unusable` the shapes of the
    reference on them that nobody can use; `alpha` tells Krippendorff's alpha among the annotators, of `calls` (good or
    defective) and of `types` (which types an image shows), and is empty for a single annotator."""

    reference: str
    min_iou: float
    bars: Bars
    images: int
    unusable: int
    annotators: tuple[Scores, ...]
    between: tuple[Between, ...]
    alpha: Mapping[str, Coefficient]
    left_out: tuple[LeftOut, ...]
    below: tuple[Shortfall, ...]
    lines: tuple[Line, ...] = field(repr=False)


def agree(
    reference: str | Path,
    annotators: Sequence[str | Path],
    pipeline: Pipeline | str | Path | None = None,
    *,
    min_iou: float = agreement.MIN_IOU,
    bars: Bars | None = None,
    table: str | Path | None = None,
    page: str | Path | None = None,
    workers: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Agreement:
    """Compare what each annotator drew with what the reference drew on the same images.

    All are raw folders as `check` reads them; an annotator's may hold JSON files alone, for its images are found in the
    reference by relative path, else by name. The label table and the repair of outlines are the pipeline's. `min_iou` is the
    least overlap of a match. `table` gets every defect as CSV, `page` an HTML page with the disagreements drawn.

    Raises ConfigError for a number out of its range, LayoutError for a folder that is missing, holds nothing or none of the
    reference's images, and ThreecadError when the output cannot be written.
    """
    bars = bars or Bars()
    annotators = [annotators] if isinstance(annotators, str | Path) else annotators
    _check_numbers(min_iou, bars)
    for path, suffix in ((table, ".csv"), (page, ".html")):
        _check_output(path, suffix)
    bench = Bench.open(Path(reference), [Path(each) for each in annotators], settings_of(pipeline), min_iou)
    looks = []
    work = threads.work(bench.jobs, partial(_open, bench), workers=workers or cores())
    with closing(work):  # Ctrl-C must not wait for all that was not begun
        for count, look in enumerate(work, 1):
            looks.append(look)
            if progress is not None:
                progress(Progress(count, len(bench.jobs), 0.0, look.image))
    done = _summed(bench, sorted(looks, key=lambda look: look.image), bars)
    try:
        if table is not None:
            write_atomically(Path(table), as_csv(done).encode("utf-8", "backslashreplace"))
        if page is not None:
            from threecad.pipeline import agree_page

            write_atomically(Path(page), agree_page.page(done, bench, workers or cores()).encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise ThreecadError(f"{error.filename or table or page}: cannot be written ({error.strerror})") from error
    return done


def _check_numbers(min_iou: float, bars: Bars) -> None:
    if not 0 < min_iou <= 1:
        raise ConfigError(f"min_iou: expected a number above 0 and at most 1, found {min_iou:g}")
    for name, value in asdict(bars).items():
        least = -1 if name == "min_kappa" else 0
        if value is not None and not least <= value <= 1:
            raise ConfigError(f"{name}: expected a number from {least} to 1, found {value:g}")


def _check_output(path: str | Path | None, suffix: str) -> None:
    if path is None:
        return
    if Path(path).suffix.lower() in raw.IMAGE_SUFFIXES | {".json"}:  # a slip of the hand must not cost an annotation
        raise ConfigError(f"{path}: expected a file name that ends in {suffix}, found that of an image or an annotation")
    if Path(path).is_dir():
        raise ConfigError(f"{path}: expected a file name that ends in {suffix}, found a folder")


# The folders


@dataclass(frozen=True, slots=True)
class Job:
    """An image of the reference, and under an annotator's number the source that is the same image there."""

    reference: Source
    others: Mapping[int, Source]


@dataclass(frozen=True, slots=True)
class Unusable:
    """A shape that no region can be made of, and why; `type` is None where its label means none."""

    shape: Shape | None
    number: int
    type: str | None
    reason: str
    place: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Sheet:
    """What one side drew on one image."""

    source: Source
    regions: Sequence[Region]
    unusable: Sequence[Unusable]

    @property
    def defective(self) -> bool | None:
        """Whether the image is called defective; None where there is nothing on it but areas to ignore."""
        if self.unusable or any(not region.ignore for region in self.regions):
            return True
        return None if self.regions else False

    @property
    def types(self) -> frozenset[str]:
        """The types on the image, those of unusable shapes among them."""
        named = {region.label for region in self.regions if not region.ignore}
        return frozenset(named | {each.type for each in self.unusable if each.type is not None})

    @property
    def vague(self) -> list[BaseGeometry]:
        """Where the unusable shapes lie, as far as anybody can say."""
        extents = (tiling.extent(each.shape) for each in self.unusable if each.shape is not None)
        near = ([min(max(edge, -_REACH), _REACH) for edge in extent] for extent in extents if extent is not None)
        return [box(left - 1, top - 1, right + 1, bottom + 1) for left, top, right, bottom in near]


@dataclass(frozen=True, slots=True)
class Seen:
    """One image as each side has it: its size, and what was drawn on it, or in words why nobody can tell."""

    size: Size | None
    reference: Sheet | str
    others: Mapping[int, Sheet | str]


@dataclass(frozen=True, slots=True)
class Bench:
    """The folders side by side: who is who, which source is which, and how to read them."""

    name: str
    names: tuple[str, ...]
    reference: Task
    annotators: tuple[Task, ...]
    jobs: tuple[Job, ...]
    left_out: tuple[LeftOut, ...]
    settings: Pipeline
    min_iou: float

    @classmethod
    def open(cls, reference: Path, annotators: Sequence[Path], settings: Pipeline, min_iou: float) -> Bench:
        roots = [_folder(path) for path in (reference, *annotators)]
        name, *names = _names(roots)
        _check_apart(roots, (name, *names))
        tasks = [_task(root, settings) for root in roots]
        jobs: dict[str, dict[int, Source]] = {source.id: {} for source in tasks[0].found.sources}
        left_out: list[LeftOut] = []
        for number, other in enumerate(tasks[1:]):
            pairs, alone = _same_images(names[number], name, tasks[0].found, other.found, settings.read)
            left_out += alone
            for theirs, ours in pairs:
                jobs[theirs][number] = ours
        sources = {source.id: source for source in tasks[0].found.sources}
        return cls(
            name=name,
            names=tuple(names),
            reference=tasks[0],
            annotators=tuple(tasks[1:]),
            jobs=tuple(Job(sources[image], others) for image, others in jobs.items() if others),
            left_out=tuple(left_out),
            settings=settings,
            min_iou=min_iou,
        )

    def read(self, job: Job) -> Seen:
        """What the reference and each annotator drew on one image.

        The image's size is the reference's, for an annotator's folder may hold no image; who drew on an image of another size
        drew shapes that cannot be used, unless `read.size_mismatch` trusts them.
        """
        draft = _Draft.read(self.reference, job.reference)
        others = {number: _Draft.read(self.annotators[number], source) for number, source in job.others.items()}
        drafts = [draft, *others.values()]
        size = next((size for each in drafts if (size := each.measured()) is not None), None)
        size = size or next((size for each in drafts if (size := each.stated()) is not None), None)
        labels = config.table(self.settings.labels, job.reference.category)
        return Seen(
            size,
            draft.sheet(size, labels, self.settings),
            {number: each.sheet(size, labels, self.settings) for number, each in others.items()},
        )


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise LayoutError(f"{path}: {'is no folder' if path.exists() else 'does not exist'}; expected a folder of annotations")
    return path.resolve()


def _names(roots: Sequence[Path]) -> list[str]:
    """The folders' own names; equal ones with as many of the folders above them as tell them apart."""
    parts = [root.parts[1:] or root.parts for root in roots]
    taken = [1] * len(roots)
    while True:
        names = ["/".join(each[-count:]) for each, count in zip(parts, taken, strict=True)]
        counts = Counter(names)
        longer = [count + (counts[name] > 1 and count < len(each)) for name, each, count in zip(names, parts, taken, strict=True)]
        if longer == taken:
            return [os.fsencode(name).decode("utf-8", "backslashreplace") for name in names]
        taken = longer


def _check_apart(roots: Sequence[Path], names: Sequence[str]) -> None:
    if len(roots) < 2:
        raise ConfigError("expected the folder of at least one annotator, found none")
    reference, *others = roots
    for number, root in enumerate(others):
        if root == reference:
            raise LayoutError(f"{names[0]}: is the reference and an annotator at once; expected two folders")
        if root in others[:number]:
            raise LayoutError(f"{names[number + 1]}: given twice; expected each annotator once")
        if root.is_relative_to(reference) or reference.is_relative_to(root):
            inner, outer = (root, reference) if root.is_relative_to(reference) else (reference, root)
            raise LayoutError(
                f"{inner.name}: lies inside {outer.name}, whose images would have two annotations each; "
                "expected folders that lie apart"
            )


def _task(root: Path, settings: Pipeline) -> Task:
    """How to read a folder; folders that the settings name count where they exist, for annotators seldom keep them."""
    read = settings.read
    absent = {
        name: None for name in ("images", "annotations") if (folder := getattr(read, name)) and not (root / folder).is_dir()
    }
    settings = settings.model_copy(update={"read": read.model_copy(update=absent)})
    return Task(root, settings, {}, read_folder(root, settings.read), None)


@dataclass(frozen=True, slots=True, eq=False)
class _Draft:
    """One side's annotation of one image before anybody knows the image's size."""

    task: Task
    source: Source
    texts: Mapping[str, bytes | None]
    annotation: Annotation | None
    seconds: Sequence[Finding]

    @classmethod
    def read(cls, task: Task, source: Source) -> _Draft:
        reader = Reader(task.root, task.settings.read)
        texts = {path: reader.bytes_of(path, source.id, []) for path in task.files(source) if path != source.image}
        return cls(task, source, texts, task.annotation(source, texts, []), task.second(source, texts))

    def measured(self) -> Size | None:
        """The size that the image itself has."""
        return self.task.size(self.source, self.texts, [])

    def stated(self) -> Size | None:
        """The size that the annotation states, where it is one that may be read."""
        size = None if self.annotation is None else self.annotation.size
        return size if size is not None and size.area <= self.task.settings.read.max_megapixels * 1e6 else None

    def sheet(self, size: Size | None, labels: Mapping[str, str] | None, settings: Pipeline) -> Sheet | str:
        if self.annotation is None:
            return "the annotation cannot be read"
        stated = self.annotation.size
        if not self.annotation.shapes and not self.seconds:
            if stated is None or size in (None, stated) or settings.read.size_mismatch == "trust":
                return Sheet(self.source, (), ())
            return "the annotation is empty and states another size than the image has"  # it may belong to another image
        if size is None:
            return "neither an image nor an annotation tells its size, or it is too large (read.max_megapixels)"
        regions, unusable = _read_shapes(self.annotation, size, labels, settings)
        for each in self.seconds:
            if each.shape is not None:
                unusable.append(Unusable(None, each.shape, None, f"{each.source}: {each.detail}", None))
        return Sheet(self.source, regions, unusable)


def _read_shapes(
    annotation: Annotation, size: Size, labels: Mapping[str, str] | None, settings: Pipeline
) -> tuple[list[Region], list[Unusable]]:
    type_of = polygons.lookup(labels)
    types = {shape.index: type_of(shape.label) for shape in annotation.shapes}
    shapes = {shape.index: shape for shape in annotation.shapes}
    stated = annotation.size
    if stated is not None and stated != size and settings.read.size_mismatch == "queue":
        why = f"drawn on {stated.height} × {stated.width}, the image has {size.height} × {size.width} (height × width)"
        return [], [Unusable(shape, shape.index, _defect(types[shape.index]), why, None) for shape in annotation.shapes]
    regions, findings = polygons.regions(annotation, size, labels, settings.repair)
    reasons: dict[int, Finding] = {}
    for finding in findings:
        if finding.action is Action.QUEUED and finding.shape is not None:
            reasons.setdefault(finding.shape, finding)
    unusable = [
        Unusable(shapes[index], index, _defect(types[index]), f"{MEANING[each.code]}: {each.detail}", each.place)
        for index, each in sorted(reasons.items())
    ]
    return regions, unusable


def _defect(name: str | None) -> str | None:
    return None if name in (polygons.IGNORE, polygons.BACKGROUND) else name


# Which image is which


@dataclass(frozen=True, slots=True)
class _Item:
    """An image or annotation of one folder: a source, or something that is none, with the reason."""

    id: str
    paths: tuple[str, ...]
    source: Source | None
    reason: str = ""


_NO_SOURCE = (Code.UNANNOTATED, Code.FLAG_WITHOUT_SHAPE, Code.ANNOTATION_UNREADABLE)


def _same_images(
    annotator: str, reference: str, theirs: raw.Found, ours: raw.Found, settings: Reading
) -> tuple[list[tuple[str, Source]], list[LeftOut]]:
    """(id in the reference, the annotator's source) of each image that both have, and what cannot be compared.

    Under `unannotated = "good"` an image for which an annotator has no file at all is one that the annotator calls good.
    """
    left, right = _items(theirs), _items(ours)
    same = _paired([item.paths for item in left], [item.paths for item in right])
    if not same:
        raise LayoutError(
            f"{annotator}: expected annotations of the images in {reference}, found none of the same relative path or name"
        )
    pairs: list[tuple[str, Source]] = []
    alone: list[LeftOut] = []
    nobody = MEANING[Code.UNANNOTATED]
    for number, item in enumerate(left):
        if number in same:
            other = right[same[number]]
            if item.source is not None and other.source is not None:
                pairs.append((item.id, other.source))
            elif item.reason != nobody or other.reason != nobody:  # else neither side has begun with it
                who = REFERENCE if item.source is None else ANNOTATOR
                alone.append(LeftOut(annotator, item.id, BOTH, f"{who}: {item.reason or other.reason}"))
        elif item.source is not None and settings.unannotated == "good":
            pairs.append((item.id, Source(item.id, item.source.category, None, None, good=True)))
        elif item.source is not None:
            alone.append(LeftOut(annotator, item.id, REFERENCE, "the annotator has no file of this path or name"))
    known = {_tail(path, 1) for item in left for path in item.paths}
    for number, item in enumerate(right):
        if number not in same.values() and item.source is not None:
            several = any(_tail(path, 1) in known for path in item.paths)
            reason = "not only one image has this name" if several else "the reference has no file of this path or name"
            alone.append(LeftOut(annotator, item.id, ANNOTATOR, reason))
    return pairs, alone


def _items(found: raw.Found) -> list[_Item]:
    ids = {source.id for source in found.sources}
    items = [
        _Item(source.id, tuple(dict.fromkeys(filter(None, (source.image, source.annotation)))), source)
        for source in found.sources
    ]
    lost = {each.source: MEANING[each.code] for each in found.findings if each.code in _NO_SOURCE and each.source not in ids}
    return items + [_Item(path, (path,), None, reason) for path, reason in sorted(lost.items())]


def _paired(left: Sequence[Sequence[str]], right: Sequence[Sequence[str]]) -> dict[int, int]:
    """Number on the left → number on the right of what has the same path, else the same path without suffix, else as many
    folders above the same name as make both the only ones; what is not the only one of its name stays alone.

    >>> _paired([["data/a.jpg", "label/a.json"], ["x/b.jpg"], ["y/b.jpg"]], [["a.json"], ["b.json"], ["new/y/b.json"]])
    {0: 0, 2: 2}
    """
    depth = max((path.count("/") + 1 for paths in (*left, *right) for path in paths), default=0)
    keys: list[Callable[[str], str | None]] = [_normal, lambda path: _normal(splitext(path)[0])]
    keys += [partial(_tail, count=count) for count in range(depth, 0, -1)]
    same: dict[int, int] = {}
    taken: set[int] = set()
    for key in keys:
        ours = _index(right, key)
        for name, numbers in _index(left, key).items():
            match = ours.get(name, set())
            if len(numbers) == len(match) == 1:
                (one,), (other,) = numbers, match
                if one not in same and other not in taken:
                    same[one] = other
                    taken.add(other)
    return dict(sorted(same.items()))


def _index(items: Sequence[Sequence[str]], key: Callable[[str], str | None]) -> dict[str, set[int]]:
    index: defaultdict[str, set[int]] = defaultdict(set)
    for number, paths in enumerate(items):
        for path in paths:
            name = key(path)
            if name is not None:
                index[name].add(number)
    return index


def _tail(path: str, count: int) -> str | None:
    """The name without suffix and the `count` - 1 folders above it; None where there are not so many."""
    parts = splitext(path)[0].split("/")
    return _normal("/".join(parts[-count:])) if len(parts) >= count else None


def _normal(path: str) -> str:
    return unicodedata.normalize("NFC", path)


# Comparing


@dataclass(frozen=True, slots=True)
class _Answer:
    """What one annotator says about one image."""

    file: str
    defective: bool | None
    types: frozenset[str]
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True, slots=True)
class _Look:
    """One image, compared. `meetings` holds for two annotators the IoUs of their matched defects, how many of these have one
    type, and how many defects both drew together."""

    image: str
    defective: bool | None
    unusable: int
    answers: Mapping[int, _Answer]
    meetings: Mapping[tuple[int, int], tuple[tuple[float, ...], int, int]]
    left_out: tuple[LeftOut, ...]


def _open(bench: Bench, job: Job) -> threads.Opened[_Look]:
    look = _look(bench, job)
    return threads.Opened([], lambda: look)


def _look(bench: Bench, job: Job) -> _Look:
    seen = bench.read(job)
    theirs, sheets, image = seen.reference, seen.others, job.reference.id
    if isinstance(theirs, str):
        left_out = [LeftOut(bench.names[number], image, BOTH, f"{REFERENCE}: {theirs}") for number in sheets]
        return _Look(image, None, 0, {}, {}, tuple(left_out))
    answers: dict[int, _Answer] = {}
    left_out = []
    vague = theirs.vague
    for number, sheet in sheets.items():
        if isinstance(sheet, str):
            left_out.append(LeftOut(bench.names[number], image, BOTH, f"{ANNOTATOR}: {sheet}"))
            continue
        comparisons = agreement.compare(theirs.regions, sheet.regions, min_iou=bench.min_iou, doubtful=vague)
        if comparisons is None:
            left_out.append(LeftOut(bench.names[number], image, BOTH, "more outlines overlap than can be measured"))
            continue
        comparisons += [
            Comparison(Verdict.UNUSABLE, None, each.type, None, drawn_shapes=(each.number,), place=each.place, detail=each.reason)
            for each in sheet.unusable
        ]
        file = sheet.source.annotation or sheet.source.id
        answers[number] = _Answer(file, sheet.defective, sheet.types, tuple(comparisons))
    meetings = {}
    for one, other in combinations(sorted(answers), 2):
        met = _meeting(sheets[one], sheets[other], bench.min_iou)
        if met is not None:
            meetings[one, other] = met
    return _Look(image, theirs.defective, len(theirs.unusable), answers, meetings, tuple(left_out))


def _meeting(one: Sheet | str, other: Sheet | str, min_iou: float) -> tuple[tuple[float, ...], int, int] | None:
    assert isinstance(one, Sheet)
    assert isinstance(other, Sheet)
    ours, theirs = ([region for region in sheet.regions if not region.ignore] for sheet in (one, other))
    matched = agreement.match(ours, theirs, min_iou)
    if matched is None:
        return None
    alike = sum(ours[first].label == theirs[second].label for first, second, _ in matched)
    return tuple(iou for *_, iou in matched), alike, len(ours) + len(theirs)


def _summed(bench: Bench, looks: Sequence[_Look], bars: Bars) -> Agreement:
    compared = [look for look in looks if look.answers]
    scores = tuple(_scores(name, number, compared) for number, name in enumerate(bench.names))
    numbers = range(len(bench.names))
    left_out = [*bench.left_out, *(each for look in looks for each in look.left_out)]
    lines = (
        Line(bench.names[number], look.image, answer.file, each)
        for look in compared
        for number, answer in look.answers.items()
        for each in answer.comparisons
    )
    order = {name: number for number, name in enumerate(bench.names)}
    return Agreement(
        reference=bench.name,
        min_iou=bench.min_iou,
        bars=bars,
        images=len(compared),
        unusable=sum(look.unusable for look in compared),
        annotators=scores,
        between=tuple(_between(bench, one, other, compared) for one, other in combinations(numbers, 2)),
        alpha=_alphas(compared) if len(bench.names) > 1 else {},
        left_out=tuple(sorted(left_out, key=lambda each: (order[each.annotator], each.image, each.side))),
        below=tuple(_shortfalls(scores, bars)),
        lines=tuple(sorted(lines, key=lambda each: (order[each.annotator], each.image))),
    )


def _scores(name: str, number: int, looks: Iterable[_Look]) -> Scores:
    mine = [(look, look.answers[number]) for look in looks if number in look.answers]
    comparisons = [each for _, answer in mine for each in answer.comparisons]
    calls = [
        (_called(look.defective), _called(answer.defective))
        for look, answer in mine
        if look.defective is not None and answer.defective is not None
    ]
    return Scores(
        name=name,
        images=len(mine),
        total=agreement.overall(comparisons),
        types=tuple(agreement.by_type(comparisons)),
        sizes=tuple(agreement.by_size(comparisons)),
        confusion=agreement.confusion(comparisons),
        calls=dict(sorted(Counter(calls).items())),
        kappa=_kappa(calls),
        excused=sum(each.verdict is Verdict.EXCUSED for each in comparisons),
    )


def _called(defective: bool | None) -> str:
    return "defective" if defective else "good"


def _kappa(calls: Sequence[tuple[str, str]]) -> Coefficient:
    """Cohen's kappa; where the reference calls all images alike it would be 0 whatever the annotator did, so there is none."""
    said = {theirs for theirs, _ in calls}
    if not said:
        return Coefficient(None, 0, "no image was compared")
    if len(said) == 1:
        return Coefficient(None, len(calls), f"the reference calls every image {said.pop()}")
    return Coefficient(agreement.cohen_kappa(calls), len(calls))


def _between(bench: Bench, one: int, other: int, looks: Iterable[_Look]) -> Between:
    met = [look.meetings[one, other] for look in looks if (one, other) in look.meetings]
    ious = [iou for own, _, _ in met for iou in own]
    drawn = sum(count for _, _, count in met)
    return Between(
        one=bench.names[one],
        other=bench.names[other],
        images=len(met),
        pairs=len(ious),
        mean_iou=fmean(ious) if ious else None,
        f1=2 * sum(alike for _, alike, _ in met) / drawn if drawn else None,
    )


def _alphas(looks: Sequence[_Look]) -> dict[str, Coefficient]:
    judged = [[answer for answer in look.answers.values() if answer.defective is not None] for look in looks]
    shared = [answers for answers in judged if len(answers) > 1]
    return {
        "calls": _alpha([[_called(answer.defective) for answer in answers] for answers in shared]),
        "types": _alpha([[answer.types for answer in answers] for answers in shared]),
    }


def _alpha(units: Sequence[Sequence[Any]]) -> Coefficient:
    if not units:
        return Coefficient(None, 0, "no image was annotated by two")
    value = agreement.krippendorff_alpha(units)
    return Coefficient(value, len(units), "" if value is not None else "all annotators say the same of every image")


def _shortfalls(scores: Iterable[Scores], bars: Bars) -> Iterator[Shortfall]:
    for each in scores:
        nothing = "neither side drew anything" if each.images else "no image was compared"
        measures = (
            ("f1", each.total.tally.f1, bars.min_f1, nothing),
            ("mean_iou", each.total.closeness.mean_iou, bars.min_mean_iou, "no defect is matched"),
            ("kappa", each.kappa.value, bars.min_kappa, each.kappa.reason),
        )
        for measure, value, bar, reason in measures:
            if bar is not None and (value is None or value < bar):
                yield Shortfall(each.name, measure, value, bar, "" if value is not None else reason)


# What a program reads


def as_json(done: Agreement) -> dict[str, Any]:
    """An agreement as one JSON object; docs/agreement.md defines every number. Numbers are rounded to six digits."""
    return {
        "alpha": {name: _coefficient(each) for name, each in done.alpha.items()},
        "annotators": [_scores_json(each) for each in done.annotators],
        "bars": {name: value for name, value in asdict(done.bars).items() if value is not None},
        "below": [asdict(each) | {"value": _rounded(each.value)} for each in done.below],
        "between": [asdict(each) | {"f1": _rounded(each.f1), "mean_iou": _rounded(each.mean_iou)} for each in done.between],
        "defects": [_line(each) for each in done.lines],
        "images": done.images,
        "left_out": [asdict(each) for each in done.left_out],
        "min_iou": done.min_iou,
        "reference": done.reference,
        "unusable_in_reference": done.unusable,
    }


def _scores_json(each: Scores) -> dict[str, Any]:
    return {
        "calls": [{"reference": one, "annotator": other, "images": count} for (one, other), count in each.calls.items()],
        "confusion": [{"reference": one, "drawn": other, "count": count} for (one, other), count in each.confusion.items()],
        "excused": each.excused,
        "images": each.images,
        "kappa": _coefficient(each.kappa),
        "name": each.name,
        "sizes": [{"size": row.name, **_row(row)} for row in each.sizes],
        "total": _row(each.total),
        "types": [{"type": row.name, **_row(row)} for row in each.types],
    }


def _row(row: Row) -> dict[str, Any]:
    tally = row.tally
    return (
        asdict(tally)
        | {"reference": tally.reference, "drawn": tally.drawn}
        | {name: _rounded(getattr(tally, name)) for name in ("precision", "recall", "f1")}
        | {name: _rounded(value) for name, value in asdict(row.closeness).items()}
    )


def _coefficient(each: Coefficient) -> dict[str, Any]:
    return asdict(each) | {"value": _rounded(each.value)}


COLUMNS = (
    *("annotator", "image", "file", "verdict", "reference_type", "drawn_type", "size", "reference_area", "drawn_area"),
    *("area_ratio", "iou", "distance", "hausdorff", "x", "y", "reference_shapes", "drawn_shapes", "detail"),
)
"""Of the table of defects, a line each; the objects in the JSON's `defects` have the same names."""


def _line(each: Line) -> dict[str, Any]:
    one = each.comparison
    place = one.place or (None, None)
    return {
        "annotator": each.annotator,
        "image": each.image,
        "file": each.file,
        "verdict": one.verdict.value,
        "reference_type": one.reference,
        "drawn_type": one.drawn,
        "size": one.size,
        "reference_area": _rounded(one.reference_area),
        "drawn_area": _rounded(one.drawn_area),
        "area_ratio": _rounded(one.area_ratio),
        "iou": _rounded(one.iou),
        "distance": _rounded(one.distance),
        "hausdorff": _rounded(one.hausdorff),
        "x": _rounded(place[0]),
        "y": _rounded(place[1]),
        "reference_shapes": list(one.reference_shapes),
        "drawn_shapes": list(one.drawn_shapes),
        "detail": one.detail,
    }


def as_csv(done: Agreement) -> str:
    """Every defect as CSV, a line each, then a line for every image that was not compared.

    A cell of text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for line in done.lines:
        rows.writerow(map(_cell, _line(line).values()))
    for each in done.left_out:
        cells = {"annotator": each.annotator, "image": each.image, "verdict": "left out", "detail": f"{each.side}: {each.reason}"}
        rows.writerow(_cell(cells.get(column)) for column in COLUMNS)
    return text.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, int | float):
        return f"{value:.10g}"
    if isinstance(value, list):
        return " ".join(map(str, value))
    text = str(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 6)
