"""What the reference and each annotator drew on one image, read side by side."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shapely import box
from shapely.geometry.base import BaseGeometry

from threecad.domain import MEANING, Action, Annotation, Finding, Region, Shape, Size, Source
from threecad.errors import ConfigError, LayoutError
from threecad.imaging import polygons, tiling
from threecad.pipeline import config
from threecad.pipeline.agree.pairing import same_images
from threecad.pipeline.agree.result import LeftOut
from threecad.pipeline.config import Pipeline
from threecad.pipeline.sources import Reader, Task, read_folder

_REACH = 1e7  # px; a coordinate farther out is garbage, and squares of it are no numbers


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
            pairs, alone = same_images(names[number], name, tasks[0].found, other.found, settings.read)
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


# One side of one image


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
