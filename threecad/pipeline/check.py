"""`threecad check`: everything a conversion finds out about the annotations, without cutting a tile."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from threecad.domain import Action, Annotation, Code, Finding, Shape, Size, Source
from threecad.errors import LayoutError, ThreecadError
from threecad.formats import labelme, queue, raw
from threecad.formats.dataset import line, row_of
from threecad.imaging import polygons
from threecad.pipeline.config import Pipeline
from threecad.pipeline.convert import Progress, cores, settings_of
from threecad.pipeline.publish import similar_labels
from threecad.pipeline.sources import Reader, Task, json_limit, type_lists
from threecad.pipeline.store import write_atomically

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
    None where nothing was written; `relabel` is the number of labelme files in the queue."""

    out: Path | None
    fixed: Path | None
    rows: tuple[Row, ...]
    findings: tuple[Finding, ...]
    images: int
    annotated: int
    versions: dict[str, int]
    relabel: int
    seconds: float

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
    workers: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Check:
    """Repair or queue every shape of a raw folder and say what was found; the images are not touched.

    `out` gets findings.jsonl, relabel.csv and relabel/ (files that labelme opens, the reason in each shape's description);
    `fixed` gets the repaired annotations. `decode` decodes every image as well, which finds the damaged ones. The findings are
    those of a conversion with the same pipeline, but for what only decoded pixels show. Raises as `convert` does.
    """
    began = time.monotonic()
    settings = settings_of(pipeline)
    root = Path(raw_folder)
    if not root.is_dir():
        raise LayoutError(
            f"{root}: {'is no folder' if root.exists() else 'does not exist'}; expected a folder of images and JSON"
        )
    root = root.resolve()
    for folder in (out, fixed):
        if folder is not None and Path(folder).resolve() in (root, *root.parents):
            raise LayoutError(f"{folder} contains the raw folder; choose a folder beside it")
    found = raw.find(root, settings.read, partial(labelme.peek, max_bytes=json_limit(settings.read)))
    task = Task(root, settings, type_lists(found, settings), found, None)
    desks = (None if out is None else _Desk(Path(out)), None if fixed is None else _Desk(Path(fixed)))
    try:
        for desk in desks:
            if desk is not None:
                desk.clear()
        rows: defaultdict[str, Counter[str]] = defaultdict(Counter)
        versions: Counter[str] = Counter()
        findings = list(found.findings)
        annotated = 0
        with ThreadPoolExecutor(workers or cores()) as pool:
            for count, look in enumerate(pool.map(partial(_look, task, decode, desks), found.sources), 1):
                row = rows[look.source.category]
                row["images"] += 1
                row.update({action.value: number for action, number in look.shapes.items()})
                findings += look.findings
                if look.annotation is not None and look.source.annotation is not None:
                    annotated += 1
                    versions[look.annotation.version or "unknown"] += 1
                if progress is not None:
                    progress(Progress(count, len(found.sources), 0.0, look.source.id))
        for desk in desks:
            if desk is not None:
                desk.close()
        findings += similar_labels(found, settings)
        findings.sort(key=lambda each: (each.code, each.source, -1 if each.shape is None else each.shape, each.detail))
        if out is not None:
            write_atomically(Path(out) / "findings.jsonl", b"".join(line(row_of(each)) for each in findings))
            write_atomically(Path(out) / "relabel.csv", queue.table(findings).encode())
    except OSError as error:
        raise ThreecadError(f"{error.filename}: cannot be written ({error.strerror})") from error
    table = tuple(
        Row(category, row["images"], sum(row[action.value] for action in Action), *(row[action.value] for action in Action))
        for category, row in sorted(rows.items())
    )
    return Check(
        out=None if out is None else Path(out),
        rows=table,
        findings=tuple(findings),
        images=len(found.sources) + sum(each.code is Code.UNANNOTATED for each in found.findings),
        annotated=annotated,
        versions=dict(sorted(versions.items())),
        relabel=len(desks[0].files) if desks[0] is not None else 0,
        seconds=time.monotonic() - began,
    )


class _Look(NamedTuple):
    source: Source
    annotation: Annotation | None
    shapes: dict[Action, int]
    findings: list[Finding]


class _Desk:
    """A folder that checks write labelme files into; it remembers which, so that the next check clears just those."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: list[str] = []

    def clear(self) -> None:
        mark = self.folder / MARK
        if self.folder.is_dir() and any(self.folder.iterdir()) and not mark.is_file():
            raise LayoutError(f"{self.folder}{os.sep} holds files that threecad did not write; choose another folder")
        if mark.is_file():
            for path in mark.read_text(encoding="utf-8").splitlines():
                target = self.folder / path
                if target.resolve().is_relative_to(self.folder.resolve()):
                    target.unlink(missing_ok=True)
        write_atomically(mark, b"")

    def put(self, path: str, text: str) -> None:
        self.files.append(path)
        write_atomically(self.folder / path, text.encode())

    def close(self) -> None:
        write_atomically(self.folder / MARK, "".join(f"{path}\n" for path in sorted(self.files)).encode())


def _look(task: Task, decode: bool, desks: tuple[_Desk | None, _Desk | None], source: Source) -> _Look:
    """Account for everything drawn on one image, and lay out what a person has to look at."""
    findings: list[Finding] = []
    reader = Reader(task.root, task.settings.read)
    texts = {path: reader.bytes_of(path, source.id, findings) for path in task.files(source) if path != source.image}
    annotation = task.annotation(source, texts, findings)
    if decode:
        image = {source.image: reader.bytes_of(source.image, source.id, findings)} if source.image is not None else {}
        picture = task.picture(source, texts | image, findings)
        size = None if picture is None else Size(*picture.pixels.shape[:2])
    else:
        size = task.size(source, texts, findings)
    _, more, shapes = task.account(source, annotation, size, task.second(source, texts))
    findings += more
    if annotation is not None and annotation.shapes and size is not None:
        _lay_out(task, source, annotation, size, findings, texts, desks)
    return _Look(source, annotation, shapes, findings)


def _lay_out(
    task: Task,
    source: Source,
    annotation: Annotation,
    size: Size,
    findings: list[Finding],
    texts: dict[str, bytes | None],
    desks: tuple[_Desk | None, _Desk | None],
) -> None:
    relabel, fixed = desks
    assert source.annotation is not None
    mine = [finding for finding in findings if finding.shape is not None and finding.source == source.id]
    queued = {each.shape for each in mine if each.action is Action.QUEUED}
    notes: defaultdict[int, list[str]] = defaultdict(list)
    for finding in mine:
        if finding.shape is not None and finding.shape in queued:
            notes[finding.shape].append(f"{finding.code.value} {finding.detail}")
    reasons = {index: "threecad: " + "; ".join(parts) for index, parts in notes.items()}
    embedded = None
    if source.image is None and (text := texts[source.annotation]) is not None:
        embedded = labelme.embedded_bytes(text, source.annotation)
    if relabel is not None and queued:
        path = f"relabel/{source.annotation}"
        image = _image(task, source, relabel.folder / path)
        relabel.put(path, labelme.write(annotation, image, size, reasons, embedded=embedded))
    if fixed is not None:
        mended = replace(annotation, shapes=tuple(_mended(annotation, size, mine, task.settings)))
        image = _image(task, source, fixed.folder / source.annotation)
        fixed.put(source.annotation, labelme.write(mended, image, size, embedded=embedded))


def _image(task: Task, source: Source, file: Path) -> str:
    """imagePath of a labelme file that lies elsewhere: relative, with forward slashes, as labelme joins it."""
    if source.image is None:
        return f"{PurePosixPath(source.id).stem}.png"
    return Path(os.path.relpath(task.root / source.image, file.resolve().parent)).as_posix()


def _mended(annotation: Annotation, size: Size, findings: list[Finding], settings: Pipeline) -> Iterator[Shape]:
    """The shapes, each repaired one replaced by its repaired outline; the others as drawn, so that nothing is lost."""
    outcomes = polygons.outcomes(annotation, findings)
    groups = [shape.group for shape in annotation.shapes if shape.group is not None]
    group, index = max(groups, default=0) + 1, 0
    for shape in annotation.shapes:
        mended = [shape]
        if outcomes[shape.index] is Action.REPAIRED:
            geometry, _ = polygons.repair(shape, size, annotation.source, settings.repair)
            if geometry is not None:
                own = shape.group if shape.group is not None else group
                group += shape.group is None
                several = len(getattr(geometry, "geoms", ())) > 1
                mended = labelme.shapes_of(
                    geometry,
                    shape.label,
                    group=own if several or shape.group is not None else None,
                    description=shape.description,
                )
        for each in mended:
            yield replace(each, index=index)
            index += 1
