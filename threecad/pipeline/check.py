"""`threecad check`: everything a conversion finds out about the annotations, without cutting a tile."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from threecad.domain import Action, Annotation, Code, Finding, Shape, Size, Source
from threecad.errors import LayoutError, ThreecadError
from threecad.formats import labelme, queue
from threecad.formats.cases import Decisions
from threecad.formats.dataset import line, row_of
from threecad.formats.remote import Place, Remote, place_of
from threecad.imaging import polygons
from threecad.pipeline import threads
from threecad.pipeline.config import Pipeline
from threecad.pipeline.convert import Progress, budget, choices_of, cores, settings_of
from threecad.pipeline.files import write_atomically
from threecad.pipeline.publish import nobodys, similar_labels
from threecad.pipeline.sources import Reader, Task, read_folder, type_lists

MARK = ".threecad-check"


class Row(NamedTuple):
    """One category of the summary."""

    category: str
    images: int
    shapes: int
    kept: int
    repaired: int
    queued: int
    dropped: int


@dataclass(frozen=True, slots=True)
class Check:
    """What a check found. `out` is the folder of the findings and the relabel queue, `fixed` that of the repaired annotations,
    None where nothing was written; `relabel` is the number of labelme files in the queue, `categories` tells the category of
    each image and annotation by its path."""

    out: Path | None
    fixed: Path | None
    rows: tuple[Row, ...]
    findings: tuple[Finding, ...]
    images: int
    annotated: int
    versions: dict[str, int]
    relabel: int
    seconds: float
    categories: Mapping[str, str] = field(default_factory=dict, repr=False)

    def table(self) -> dict[Code, dict[Action, Counter[str]]]:
        """How many findings of each code ended how in each category; those that belong to no category are counted under ""."""
        names = {row.category for row in self.rows}
        counts: dict[Code, dict[Action, Counter[str]]] = {}
        for finding in self.findings:
            category = self.categories.get(finding.source, finding.source)
            by_action = counts.setdefault(finding.code, {})
            by_action.setdefault(finding.action, Counter())[category if category in names else ""] += 1
        return counts

    @property
    def queued(self) -> bool:
        """Whether a person has to look at something."""
        return any(finding.action is Action.QUEUED for finding in self.findings)

    @property
    def flawless(self) -> bool:
        """Whether no shape was dropped or queued."""
        return not self.queued and not any(row.queued + row.dropped for row in self.rows)


def check(
    raw_folder: str | Path,
    pipeline: Pipeline | str | Path | None = None,
    *,
    out: str | Path | None = None,
    fixed: str | Path | None = None,
    decode: bool = False,
    decisions: str | Path | Decisions | None = None,
    workers: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Check:
    """Repair or queue every shape of a raw folder and say what was found; the raw folder is not touched.

    `out` gets findings.jsonl, relabel.csv and relabel/ (files that labelme opens, the reason in each shape's description);
    `fixed` gets every annotation that can be read: its repaired shapes redrawn, all else as it stands, and byte for byte where
    nothing was repaired, so that it can be copied over the raw folder. `decode` decodes every image as well, which finds the
    damaged ones. `decisions` are what people said about single shapes, as for `convert`. The findings are those of a conversion
    with the same pipeline and decisions, but for what only decoded pixels show, and for splits, which a check does not assign.
    Raises as `convert` does.
    """
    began = time.monotonic()
    settings = settings_of(pipeline)
    root = place_of(raw_folder)
    if not root.is_dir():
        raise LayoutError(
            f"{root}: {'is no folder' if root.exists() else 'does not exist'}; expected a folder of images and JSON"
        )
    root = root if isinstance(root, Remote) else root.resolve()
    desks = _desks(root, out, fixed)
    said = choices_of(decisions)
    found = read_folder(root, settings.read)
    decided = said if isinstance(said, Decisions) else Decisions().changed(said) if said else Decisions()
    task = Task(root, settings, type_lists(found, settings), found, None, decided)
    rows: defaultdict[str, Counter[str]] = defaultdict(Counter)
    versions: Counter[str] = Counter()
    findings = list(found.findings)
    try:
        for desk in filter(None, desks):
            desk.clear()
        looks = threads.work(
            found.sources,
            partial(_open, task, decode, desks),
            workers=workers or cores(),
            budget=budget(),
            weigh=task.weigh if decode else None,
        )
        with closing(looks):  # Ctrl-C must not wait for all that was not begun
            for count, look in enumerate(looks, 1):
                row = rows[look.source.category]
                row["images"] += look.source.image is not None or look.embedded
                row.update({action.value: number for action, number in look.shapes.items()})
                findings += look.findings
                if look.version is not None:
                    versions[look.version or "unknown"] += 1
                if progress is not None:
                    progress(Progress(count, len(found.sources), 0.0, look.source.id))
        if desks[1] is not None:
            _copy_others(task, desks[1])
        for desk in filter(None, desks):
            desk.close()
        findings += similar_labels(found, settings)
        findings += nobodys(decided, {source.id for source in found.sources})
        findings.sort(key=lambda each: (each.code, each.source, -1 if each.shape is None else each.shape, each.detail))
        if out is not None:
            write_atomically(Path(out) / "findings.jsonl", b"".join(line(row_of(each)) for each in findings))
            write_atomically(Path(out) / "relabel.csv", queue.table(findings).encode())
    except OSError as error:
        raise ThreecadError(f"{error.filename or out or fixed}: cannot be written ({error.strerror})") from error
    table = tuple(
        Row(category, row["images"], sum(row[action.value] for action in Action), *(row[action.value] for action in Action))
        for category, row in sorted(rows.items())
    )
    flagged = sum(each.code is Code.FLAG_WITHOUT_SHAPE for each in found.findings)
    return Check(
        out=None if out is None else Path(out),
        fixed=None if fixed is None else Path(fixed),
        rows=table,
        findings=tuple(findings),
        images=sum(row.images for row in table) + flagged + sum(each.code is Code.UNANNOTATED for each in found.findings),
        annotated=sum(versions.values()) + flagged,
        versions=dict(sorted(versions.items())),
        relabel=len(desks[0].files) if desks[0] is not None else 0,
        seconds=time.monotonic() - began,
        categories=found.categories,
    )


class _Look(NamedTuple):
    """One source's part of a check. `version` is that of its annotation, None where none was read."""

    source: Source
    version: str | None
    embedded: bool
    shapes: dict[Action, int]
    findings: list[Finding]


class _Desk:
    """A folder that checks write labelme files into; it remembers which, so that the next check clears just those."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mark = folder / MARK
        self.files: set[str] = set()
        self._writing = threading.Lock()

    def clear(self) -> None:
        """Delete what earlier checks wrote here, whole or interrupted, and nothing else."""
        if self.mark.is_file():
            for row in self.mark.read_bytes().splitlines():
                with suppress(ValueError, RecursionError):  # torn by an interruption: that file was not begun
                    self._delete(json.loads(row))
        write_atomically(self.mark, b"")

    def _delete(self, path: object) -> None:
        target = self.folder / str(path)
        if target.is_file() and target.resolve().is_relative_to(self.folder.resolve()):
            target.unlink()
            with suppress(OSError):  # until one holds something else
                for folder in PurePosixPath(str(path)).parents:
                    if folder.name:
                        (self.folder / folder).rmdir()

    def put(self, path: str, data: bytes) -> None:
        """Write one file, noted before it is there."""
        with self._writing:
            self.files.add(path)
            with self.mark.open("ab") as mark:
                mark.write(_noted(path))
        write_atomically(self.folder / path, data)

    def close(self) -> None:
        write_atomically(self.mark, b"".join(map(_noted, sorted(self.files))))


def _noted(path: str) -> bytes:
    return json.dumps(path).encode() + b"\n"  # a name may hold a line break


def _desks(root: Place, out: str | Path | None, fixed: str | Path | None) -> tuple[_Desk | None, _Desk | None]:
    """The two folders to write into. Raises LayoutError where something else is there."""
    places = [None if folder is None else Path(folder) for folder in (out, fixed)]
    for place in filter(None, places):
        if isinstance(root, Path) and place.resolve() in (root, *root.parents):
            raise LayoutError(f"{place} contains the raw folder; choose a folder beside it")
        if place.exists() and not place.is_dir():
            raise LayoutError(f"{place} is a file; expected a folder to write into")
        if place.is_dir() and any(place.iterdir()) and not (place / MARK).is_file():
            raise LayoutError(f"{place}{os.sep} holds files that threecad did not write; choose another folder")
    if out is not None and fixed is not None:
        ours, theirs = Path(out).resolve(), Path(fixed).resolve()
        if ours.is_relative_to(theirs) or theirs.is_relative_to(ours):
            raise LayoutError(f"{fixed}: expected a folder apart from that of the findings, {out}")
    desks = [None if place is None else _Desk(place) for place in places]
    return desks[0], desks[1]


def _open(task: Task, decode: bool, desks: tuple[_Desk | None, _Desk | None], source: Source) -> threads.Opened[_Look]:
    look = _look(task, decode, desks, source)  # here, while its weight is reserved; nothing of the image is left afterwards
    return threads.Opened([], lambda: look)


def _look(task: Task, decode: bool, desks: tuple[_Desk | None, _Desk | None], source: Source) -> _Look:
    """Account for everything drawn on one image, and lay out what a person has to look at."""
    findings: list[Finding] = []
    reader = Reader(task.root, task.settings.read)
    texts = {path: reader.bytes_of(path, source.id, findings) for path in task.files(source) if path != source.image}
    annotation = task.annotation(source, texts, findings)
    if decode:
        picture = task.picture(source, reader.image_of(source, findings), texts, findings)
        size = None if picture is None else Size(*picture.pixels.shape[:2])
    else:
        size = task.size(source, texts, findings)
    _, more, shapes = task.account(source, annotation, size, task.second(source, texts))
    findings += more
    relabel, fixed = desks
    if source.annotation is None:
        return _Look(source, None, False, shapes, findings)
    text = texts[source.annotation]
    if annotation is not None and size is not None and text is not None:
        mine = [finding for finding in findings if finding.shape is not None and finding.source == source.id]
        if relabel is not None:
            _lay_out(relabel, task, source, annotation, size, mine, text)
        if fixed is not None:
            fixed.put(source.annotation, _mended(annotation, size, mine, task.settings, text))
    version = None if annotation is None else annotation.version
    return _Look(source, version, annotation is not None and annotation.embedded, shapes, findings)


def _lay_out(
    desk: _Desk, task: Task, source: Source, annotation: Annotation, size: Size, findings: list[Finding], text: bytes
) -> None:
    """Put an annotation with queued shapes where labelme can open it, the reasons in their descriptions."""
    queued = {each.shape for each in findings if each.action is Action.QUEUED}
    if not queued:
        return
    notes: defaultdict[int, list[str]] = defaultdict(list)
    for finding in findings:
        if finding.shape is not None and finding.shape in queued:
            notes[finding.shape].append(f"{finding.code.value} {finding.detail}")
    reasons = {index: "threecad: " + "; ".join(parts) for index, parts in notes.items()}
    assert source.annotation is not None
    path = f"relabel/{source.annotation}"
    embedded = task.embedded(text, source.annotation) if source.image is None else None
    image = _image(task, source, desk.folder / path)
    desk.put(path, labelme.write(annotation, image, size, reasons, embedded=embedded).encode())


def _image(task: Task, source: Source, file: Path) -> str:
    """imagePath of a labelme file that lies elsewhere: relative, with forward slashes, as labelme joins it."""
    if source.image is None:
        return f"{PurePosixPath(source.id).stem}.png"
    image = task.root / source.image
    if isinstance(image, Remote):
        return str(image)
    try:
        return Path(os.path.relpath(image, file.resolve().parent)).as_posix()
    except ValueError:  # another drive
        return image.as_posix()


def _copy_others(task: Task, desk: _Desk) -> None:
    """The annotations without a repair: an image whose annotation went missing here might pass for a good one."""
    found = task.found
    paths = {*found.peeks, *(path for paths in found.second.values() for path in paths)}
    paths |= {source.annotation for source in found.sources if source.annotation is not None}
    reader = Reader(task.root, task.settings.read)
    for path in sorted(paths - desk.files):
        data = reader.bytes_of(path, path, [])
        if data is not None:
            desk.put(path, data)


def _mended(annotation: Annotation, size: Size, findings: list[Finding], settings: Pipeline, text: bytes) -> bytes:
    """The annotation file with each repaired shape redrawn; whatever else it holds stays as it is."""
    outcomes = polygons.outcomes(annotation, findings)
    repaired = [shape for shape in annotation.shapes if outcomes[shape.index] is Action.REPAIRED]
    file = _loaded(text) if repaired else None
    if file is None:
        return text
    group = max((shape.group for shape in annotation.shapes if shape.group is not None), default=0) + 1
    shapes = [[shape] for shape in file["shapes"]]
    for shape in repaired:
        (geometry,) = polygons.proposals([shape], size, settings.repair)
        if geometry is not None:
            parts = labelme.shapes_of(geometry, shape.label, group=group if shape.group is None else shape.group)
            if shape.group is None and len(parts) > 1:
                group += 1
            elif shape.group is None:
                parts = [replace(part, group=None) for part in parts]
            drawn = file["shapes"][shape.index]
            shapes[shape.index] = [drawn | _redrawn(part) for part in parts]
    file["shapes"] = [shape for parts in shapes for shape in parts]
    return json.dumps(file, ensure_ascii=False, indent=2).encode() + b"\n"


def _redrawn(part: Shape) -> dict[str, Any]:
    return {"points": [list(point) for point in part.points], "shape_type": part.kind, "group_id": part.group, "mask": None}


def _loaded(text: bytes) -> Any:
    """The JSON in an annotation that `labelme.parse` could read, or None where only its more lenient parser can."""
    for encoding in (json.detect_encoding(text), "gb18030"):
        with suppress(ValueError, RecursionError):
            return json.loads(text.decode(encoding))
    return None
