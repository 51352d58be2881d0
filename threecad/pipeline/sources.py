"""From a source's files to its record: read once, decode, plan, encode; on any thread, in any order, with the same result."""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import BinaryIO, TypeVar

from threecad.curation import duplicates, splitting
from threecad.domain import Action, Annotation, Code, Finding, Size, Source, State
from threecad.errors import LayoutError, ReadError
from threecad.formats import images, jpeg, labelme, png, raw
from threecad.formats.cases import Decisions
from threecad.formats.remote import Looks, Place, Remote
from threecad.imaging import crops, polygons, tiling
from threecad.pipeline import config, journey, threads
from threecad.pipeline.config import Pipeline
from threecad.pipeline.files import Files
from threecad.pipeline.looking import cases_of
from threecad.pipeline.record import CASE, File, Outline, Piece, Record, key_of, remembered
from threecad.settings import Reading

_D = TypeVar("_D", bytes, memoryview)

BYTES_A_PIXEL = 6
"""Of 16-bit RGB, the most a decoded image takes."""

RACY_NS = 2_000_000_000
"""A file changed less than this before it was read might change again without its time showing it."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a run keeps in memory of a record that stands in the store. `image` is the digest of the file that holds it."""

    key: str
    inputs: dict[str, str]
    seen: dict[str, tuple[int, int, int] | None]
    retry: bool
    peeks: dict[str, labelme.Peek]
    candidate: splitting.Candidate | None
    fingerprint: bytes | None
    image: str

    @classmethod
    def of(cls, record: Record) -> Known:
        source = record.source
        candidate = None
        if record.size is not None:
            candidate = splitting.Candidate(
                source.id, source.category, frozenset(record.types), record.trainable, None, source.split
            )
        return cls(
            record.key,
            record.inputs,
            record.seen,
            record.retry,
            record.peeks,
            candidate,
            bytes.fromhex(record.fingerprint) if record.fingerprint else None,
            record.inputs.get(source.image or source.annotation or "", ""),
        )


@dataclass(frozen=True, slots=True)
class Finished:
    """What came of one source. `record` is None where that of an earlier run holds, though its files look as in `seen` now."""

    source: Source
    record: Record | None
    seen: dict[str, tuple[int, int, int] | None]


@dataclass(frozen=True, slots=True)
class Task:
    """What every source of a run needs to become a record; `start` runs on any thread, and `alone` on any machine.

    `staging` is where tiles go at first; None where none are made.
    """

    root: Place
    settings: Pipeline
    types: Mapping[str, Mapping[str, int]]
    found: raw.Found
    staging: Files | None
    decisions: Decisions = field(default_factory=Decisions)

    def alone(self, source: Source) -> Task:
        """The same for this source only: what another process needs of it."""
        second = self.found.second.get(source.id, ())
        paths = [path for path in (source.annotation, *second) if path in self.found.peeks]
        found = raw.Found(
            sources=(source,),
            findings=(),
            peeks={path: self.found.peeks[path] for path in paths if path is not None},
            second={source.id: second} if second else {},
        )
        types = {source.category: self.types.get(source.category, {})}
        return Task(self.root, self.settings, types, found, self.staging, self.decisions.only(source.id))

    def files(self, source: Source) -> list[str]:
        """The files a source is read from: image, annotation, further annotations."""
        own = [path for path in (source.image, source.annotation) if path is not None]
        return own + list(self.found.second.get(source.id, ()))

    def done(self, source: Source, known: Known | None) -> bool:
        """Whether the store holds this very source already, as far as sizes and times of its files tell."""
        return (
            known is not None
            and not known.retry
            and known.inputs.keys() == set(self.files(source))
            and all(remembered(self.root / path, known.seen.get(path)) for path in known.inputs)
            and self.key(source, known.inputs) == known.key
        )

    def unchanged(self, source: Source, known: Known | None) -> bool:
        """As `done`, but files that were touched, or that were very young when they were read, are read again."""
        if known is None or self.done(source, known):
            return known is not None
        reader = Reader(self.root, self.settings.read)
        for path in self.files(source):
            reader.bytes_of(path, source.id, [])
        return not known.retry and self.key(source, reader.inputs) == known.key

    def key(self, source: Source, inputs: Mapping[str, str]) -> str:
        peek = self.found.peeks.get(source.annotation or "")
        names = self.types.get(source.category, {})
        labels = config.table(self.settings.labels, source.category)
        type_of = polygons.lookup(labels)
        shown = {type_of(label) for label in (peek.labels if peek else ())}
        numbers = ((name, index) for name, index in names.items() if name in shown)
        decided = self.decisions.of(source.id)
        return key_of(source, inputs, numbers, len(names) > journey.NARROW, self.settings, decided)

    def size(self, source: Source, data: Mapping[str, bytes | None], findings: list[Finding]) -> Size | None:
        """What the image's header states; None, with a finding, where it cannot be read or is too large."""
        try:
            if source.image is not None:
                size = images.size_of(self.root / source.image, source.id)
            elif source.annotation is not None and (text := data[source.annotation]) is not None and self._embedded(source):
                size = images.size_of(self.embedded(text, source.annotation), source.id)
            else:
                return None
        except ReadError as error:
            findings.append(Finding(Code.IMAGE_UNREADABLE, Action.DROPPED, source.id, None, str(error)))
            return None
        except OSError as error:
            detail = f"{source.image}: it cannot be read ({error.strerror})"
            findings.append(Finding(Code.FILE_UNREADABLE, Action.DROPPED, source.id, None, detail))
            return None
        limit = self.settings.read.max_megapixels
        if size.area > limit * 1e6:
            detail = f"{size.width} × {size.height}, more than the limit of {limit:g} MP (read.max_megapixels)"
            findings.append(Finding(Code.TOO_LARGE, Action.DROPPED, source.id, None, detail))
            return None
        return size

    def weigh(self, source: Source) -> int:
        """The bytes that the image may take once it is decoded, from its header; 0 where it will not be."""
        size = self.size(source, {}, []) if source.image is not None else None
        return 0 if size is None else size.area * BYTES_A_PIXEL

    def _embedded(self, source: Source) -> bool:
        """Whether the annotation carries the image; where it does not, `find` has said that the image is missing."""
        peek = self.found.peeks.get(source.annotation or "")
        return peek is not None and peek.embedded

    def start(self, before: str | None, source: Source) -> threads.Opened[Finished]:
        """Read one source and plan it; the pieces left to do encode its tiles.

        `before` is the key of the record that an earlier run made of it; None where it has to be made anew in any case.
        """
        staging = self.staging
        assert staging is not None
        reading = Reader(self.root, self.settings.read)
        findings: list[Finding] = []
        encoded = reading.image_of(source, findings)
        data = {path: reading.bytes_of(path, source.id, findings) for path in self.files(source) if path != source.image}
        key = self.key(source, reading.inputs)
        if before == key and not findings:
            return threads.Opened([], lambda: Finished(source, None, reading.seen))

        annotation = self.annotation(source, data, findings)
        picture = self.picture(source, encoded, data, findings)
        del encoded  # not a moment longer in memory than it takes to decode it
        base = Record(
            source=source,
            key=key,
            inputs=reading.inputs,
            seen=reading.seen,
            size=None,
            trainable=False,
            types=(),
            shapes={},
            fingerprint=None,
            findings=(),
            regions=(),
            tiles=(),
            retry=any(finding.code is Code.FILE_UNREADABLE for finding in findings),
            peeks={path: self.found.peeks[path] for path in self.files(source) if path in self.found.peeks},
        )
        seconds = self.second(source, data)
        size = None if picture is None else Size(*picture.pixels.shape[:2])
        made, more, shapes = self.account(source, annotation, size, seconds)
        findings += more
        base = replace(base, shapes=shapes)
        if picture is None or annotation is None or made is None:
            shown = cases_of(source, annotation, size, findings, self.settings, self.decisions) if annotation else []
            record = replace(base, findings=tuple(findings), cases=tuple(replace(case, view=None) for case in shown))
            return threads.Opened([], lambda: Finished(source, record, reading.seen))

        doubtful = any(finding.action is Action.QUEUED for finding in findings)
        trainable = source.good and not annotation.shapes and not doubtful
        names = self.types.get(source.category, {})
        clean = trainable or self.settings.tiling.clean == "test"
        canvas = journey.canvas(made, source.id, picture.pixels, names)
        wanted = [
            number for number, (_, state, _) in enumerate(made.tiles) if state is State.DEFECT or (state is State.GOOD and clean)
        ]
        windows = [window for window, _, _ in made.tiles]
        effort = self.settings.write.png
        overlapping = png.Overlapping(picture.pixels, windows, {windows[number] for number in wanted}, effort)
        stored: dict[int, dict[str, File]] = {}
        segments: dict[int, tuple[str, ...]] = {}

        def encode(number: int) -> None:
            window, state, defects = made.tiles[number]
            tile = tiling.cut(canvas, window, state, defects)
            files = {"image": overlapping.encode(window, tile.pixels)}
            if tile.state is State.DEFECT:
                files["mask"] = png.encode_mask(tile.mask)
                files["types"] = png.encode_mask(tile.types)
                segments[number] = journey.segmentations(made, number)
                if self.settings.write.previews:
                    from threecad.imaging import drawing

                    files["preview"] = png.encode_png(drawing.preview(tile), effort)
            if tile.ignore is not None and tile.ignore.any():
                files["ignore"] = png.encode_mask(tile.ignore)
            stored[number] = {role: staging.stage(key, number, role, encoded) for role, encoded in files.items()}

        def finish() -> Finished:
            print_ = duplicates.fingerprint(picture.pixels)
            shown = cases_of(source, annotation, size, findings, self.settings, self.decisions)
            record = replace(
                base,
                size=size,
                trainable=trainable,
                types=tuple(sorted({region.label for region in made.regions if not region.ignore})),
                fingerprint=print_.hex() if print_ else None,
                findings=tuple(findings),
                regions=_outlines(made),
                tiles=tuple(
                    Piece(window, state, defects, segments.get(number, ()), stored.get(number, {}))
                    for number, (window, state, defects) in enumerate(made.tiles)
                ),
                narrow=made.narrow,
                cases=tuple(shown),
                pictures={
                    case.shape: staging.stage(key, case.shape, CASE, jpeg.encode_jpeg(crops.part(picture.pixels, case.view)))
                    for case in shown
                    if case.view is not None
                },
            )
            return Finished(source, record, reading.seen)

        return threads.Opened([partial(encode, number) for number in wanted], finish, picture.pixels.nbytes)

    def account(
        self, source: Source, annotation: Annotation | None, size: Size | None, seconds: Sequence[Finding]
    ) -> tuple[journey.Plan | None, list[Finding], dict[Action, int]]:
        """What becomes of everything drawn on one image: the plan, its findings, and how many shapes had which outcome.

        Without a usable image there is no plan and every shape is queued; `seconds` are those of further annotations.
        """
        findings = list(seconds)
        shapes: Counter[Action] = Counter(finding.action for finding in seconds if finding.shape is not None)
        made = None
        if annotation is not None and size is not None:
            second = bool(self.found.second.get(source.id))  # also one that cannot be read
            decided = self.decisions.about(source.id, annotation.shapes)
            made = journey.plan(annotation, size, source.category, self.settings, poisoned=second, decisions=decided)
            findings += made.findings
            shapes += made.shapes
        elif annotation is not None:
            lost = "its image cannot be used"
            orphans = [Finding(Code.ORPHAN_SHAPE, Action.QUEUED, source.id, shape.index, lost) for shape in annotation.shapes]
            more = polygons.settle(orphans, self.decisions.about(source.id, annotation.shapes))
            shapes += Counter(polygons.outcomes(annotation, more).values())
            findings += more
        stale = self.decisions.stale(source.id, annotation.shapes) if annotation is not None else []
        findings += [
            Finding(Code.DECISION_STALE, Action.KEPT, source.id, None, f"{decision} of a shape {digest}, which is not drawn")
            for digest, decision in stale
        ]
        return made, findings, {action: shapes[action] for action in Action}

    def embedded(self, text: bytes, name: str) -> bytes:
        """The image file that an annotation carries along; ReadError where it carries none."""
        return labelme.embedded_bytes(text, name, max_shapes=self.settings.read.max_shapes)

    def annotation(self, source: Source, data: Mapping[str, bytes | None], findings: list[Finding]) -> Annotation | None:
        if source.annotation is None:
            return Annotation(source.id, None, ())
        text = data[source.annotation]
        if text is None:
            return None
        before = self.found.peeks.get(source.annotation)  # None: `find` could not read it, and has said so
        try:
            now = labelme.peek_bytes(text, source.annotation, max_shapes=self.settings.read.max_shapes)
        except ReadError:
            now = None
        if now != before:
            # Categories' types and the key rest on what was seen then; the next run sees it as it is now.
            detail = f"{source.annotation}: it changed during the run"
            findings.append(Finding(Code.FILE_UNREADABLE, Action.QUEUED, source.id, None, detail))
            return None
        if now is None:
            return None
        try:
            return labelme.parse(text, source.annotation, source.id, max_shapes=self.settings.read.max_shapes)
        except ReadError as error:
            findings.append(Finding(Code.ANNOTATION_UNREADABLE, Action.QUEUED, source.id, None, str(error)))
            return None

    def picture(
        self,
        source: Source,
        encoded: bytes | memoryview | None,
        texts: Mapping[str, bytes | None],
        findings: list[Finding],
    ) -> images.Picture | None:
        """The decoded image, from its file's bytes, which are spent on it, or from those that its annotation carries."""
        limit = int(self.settings.read.max_megapixels * 1e6)
        try:
            if source.image is None and source.annotation is not None and self._embedded(source):
                text = texts[source.annotation]
                encoded = None if text is None else self.embedded(text, source.annotation)
            if encoded is None:
                return None
            picture = images.decode(encoded, source.id, limit, spend=True)
        except images.TooLarge as error:
            findings.append(Finding(Code.TOO_LARGE, Action.DROPPED, source.id, None, str(error)))
            return None
        except ReadError as error:
            findings.append(Finding(Code.IMAGE_UNREADABLE, Action.DROPPED, source.id, None, str(error)))
            return None
        findings += [Finding(code, Action.KEPT, source.id, None, detail) for code, detail in picture.notes]
        return picture

    def second(self, source: Source, data: Mapping[str, bytes | None]) -> list[Finding]:
        """Every shape of a further annotation of the same image, queued: nobody knows which of the two is meant."""
        lost = []
        for path in self.found.second.get(source.id, ()):
            text = data[path]
            if text is not None:
                try:
                    shapes = labelme.parse(text, path, path, max_shapes=self.settings.read.max_shapes).shapes
                except ReadError:
                    continue
                lost += [
                    Finding(Code.ORPHAN_SHAPE, Action.QUEUED, path, shape.index, f"{source.id} has another annotation")
                    for shape in shapes
                ]
        return lost


class Reader:
    """Reads a source's files once each, and remembers their digests and how they looked."""

    def __init__(self, root: Place, settings: Reading) -> None:
        self.root = root
        self.limits = labelme.limits(settings)["max_bytes"], images.most_bytes(int(settings.max_megapixels * 1e6))
        self.inputs: dict[str, str] = {}
        self.seen: dict[str, tuple[int, int, int] | None] = {}

    def bytes_of(self, path: str, source: str, findings: list[Finding]) -> bytes | None:
        """The file's bytes, or None with a finding. What is larger than any image or annotation may be is only digested."""
        return self._read(path, source, findings, lambda file, size: file.read(size))

    def image_of(self, source: Source, findings: list[Finding]) -> bytes | memoryview | None:
        """As `bytes_of`, of the source's image if it has one; where it can be, in memory that may be written to."""
        return None if source.image is None else self._read(source.image, source.id, findings, images.read_into)

    def _read(self, path: str, source: str, findings: list[Finding], read: Callable[[BinaryIO, int], _D]) -> _D | bytes | None:
        limit = self.limits[not path.lower().endswith(".json")]
        try:
            for _ in range(3):
                data, digest, before, after = _fetched(self.root / path, limit, read)
                if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns):
                    break
            else:
                self._fail(path, source, "it changes while it is read", findings)
                return None
        except OSError as error:
            self._fail(path, source, f"it cannot be read ({error.strerror})", findings)
            return None
        self.inputs[path] = digest
        told = isinstance(after, Looks) and after.st_ctime_ns != 0  # by the store: any change will show, and clocks do not matter
        young = not told and time.time_ns() - max(after.st_mtime_ns, after.st_ctime_ns) < RACY_NS
        self.seen[path] = None if young else (after.st_size, after.st_mtime_ns, after.st_ctime_ns)
        if data is None and path == source:
            detail = f"{after.st_size} bytes, more than an image of read.max_megapixels can need"
            findings.append(Finding(Code.TOO_LARGE, Action.DROPPED, source, None, detail))
        return data

    def _fail(self, path: str, source: str, why: str, findings: list[Finding]) -> None:
        findings.append(Finding(Code.FILE_UNREADABLE, Action.DROPPED, source, None, f"{path}: {why}"))


def _fetched(
    place: Place, limit: int, read: Callable[[BinaryIO, int], _D]
) -> tuple[_D | bytes | None, str, Looks | os.stat_result, Looks | os.stat_result]:
    """A file's bytes, None where they are more than `limit`; its sha256; and how it looked before and after."""
    if isinstance(place, Remote):
        return place.fetch(limit)
    with place.open("rb") as file:
        before = os.fstat(file.fileno())
        # What grows meanwhile shows by its size; it is not followed to its new end, which may be anywhere.
        data = read(file, before.st_size) if before.st_size <= limit else None
        digest = hashlib.sha256(data) if data is not None else hashlib.file_digest(file, "sha256")
        after = os.fstat(file.fileno())
    return data, digest.hexdigest(), before, after


def read_folder(root: Place, settings: Reading, known: Iterable[Known] = ()) -> raw.Found:
    """`raw.find`, which reads only what is not `known`. Raises LayoutError where there is nothing at all to make data of."""
    found = raw.find(root, settings, remembering(root, known, settings))
    if not found.sources and all(finding.code is Code.NOT_LABELME for finding in found.findings):
        raise LayoutError(f"{root.name}: expected images and labelme annotations, found none; is it the right folder?")
    return found


def type_lists(found: raw.Found, settings: Pipeline) -> dict[str, dict[str, int]]:
    """Category → (type → index in the type masks, from 1 on): the label table's order, else alphabetical."""
    seen: dict[str, set[str]] = {}
    for source in found.sources:
        peek = found.peeks.get(source.annotation or "")
        labels = config.table(settings.labels, source.category)
        names = seen.setdefault(source.category, set())
        if labels is None and peek is not None:
            names |= {name for label in peek.labels if (name := polygons.lookup(None)(label)) is not None}
    lists = {}
    for category, names in sorted(seen.items()):
        labels = config.table(settings.labels, category)
        ordered = sorted(names) if labels is None else list(dict.fromkeys(labels.values()))
        types = (name for name in ordered if name not in (polygons.IGNORE, polygons.BACKGROUND))
        lists[category] = {name: index for index, name in enumerate(types, 1)}
        if len(lists[category]) > journey.MOST:
            raise LayoutError(
                f"category {category}: found {len(lists[category]):,} types, a type mask tells at most {journey.MOST:,} apart; "
                "are labels numbers of parts? A label table maps them to types"
            )
    return lists


def _outlines(made: journey.Plan) -> tuple[Outline, ...]:
    texts = journey.outlines(region.geometry for region in made.regions)
    return tuple(
        Outline(region.uid, region.label, region.shapes, region.ignore, float(region.geometry.area), pixels, geometry)
        for region, pixels, geometry in zip(made.regions, made.pixels, texts, strict=True)
    )


def remembering(root: Place, known: Iterable[Known], settings: Reading) -> Callable[[Place, str], labelme.Peek]:
    """`labelme.peek`, but an annotation that looks as it did is not read again."""
    peeks = {path: (record.seen.get(path), peek) for record in known if not record.retry for path, peek in record.peeks.items()}
    limits = labelme.limits(settings)

    def peek(path: Place, name: str) -> labelme.Peek:
        seen, before = peeks.get(name, (None, None))
        if before is not None and remembered(path, seen):
            return before
        return labelme.peek(path, name, **limits)

    return peek
