"""From records to a data set: assign splits, move the files into place, write the lists, audit, write the manifest last."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from threecad import __version__
from threecad.curation import duplicates, labels, splitting
from threecad.domain import Action, Code, Finding, Sample, Source, Split, State
from threecad.errors import ReadError, ThreecadError
from threecad.formats import coco, layout, queue
from threecad.formats.cases import CASES, DECISIONS, Decisions
from threecad.formats.cases import row_of as row_of_case
from threecad.formats.dataset import (
    MANIFEST,
    MOST_BYTES,
    SAMPLES,
    SUMS,
    Category,
    Manifest,
    Shapes,
    Type,
    line,
    read_manifest,
    read_samples,
    row_of,
)
from threecad.formats.raw import Found
from threecad.formats.regular import read_regular
from threecad.pipeline import config
from threecad.pipeline.config import Pipeline
from threecad.pipeline.files import HOME, Files
from threecad.pipeline.record import CASE, File, Outline, Record, used
from threecad.pipeline.sources import Known
from threecad.pipeline.store import Store

UNUSED = "unused"
UNUSED_FILES = f"{HOME}/unused"
FINISHED = f"{HOME}/finished"


@dataclass(frozen=True, slots=True)
class Placement:
    """Where everything goes: the split of each source, its group, and the folders of categories and types.

    `doubted` are sources that are called good while the same photograph lies elsewhere with a defect drawn on it: not used.
    """

    splits: Mapping[str, Split]
    groups: Mapping[str, str]
    folders: Mapping[str, str]
    types: Mapping[str, Mapping[str, str]]
    doubted: frozenset[str]
    settings: Pipeline

    def sample(self, record: Record, number: int) -> Sample:
        """The manifest's row of one tile, with the paths its files shall have."""
        piece = record.tiles[number]
        source = record.source
        split = None
        if record.size is not None and source.id not in self.doubted:
            split = used(piece, record, self.splits[source.id], self.settings.tiling.clean)
        areas: Counter[str] = Counter()
        for defect in piece.defects:
            areas[defect.label] += defect.area
        kinds = sorted(areas)
        stem = layout.stem(source.id, piece.window)
        paths: dict[str, str | None] = dict.fromkeys(("image", "mask", "types", "ignore"))
        if split is not None:
            folder = layout.GOOD
            if piece.state is State.DEFECT:
                names = self.types[source.category]
                rule = self.settings.write.several_types
                folder = layout.type_folder(kinds, [areas[kind] for kind in kinds], rule, names)
            places = layout.place(self.folders[source.category], split, folder, stem, self.settings.write.mask_suffix)
            paths = {role: getattr(places, role) if role in piece.files else None for role in paths}
        return Sample(
            id=stem,
            source=source.id,
            category=source.category,
            window=piece.window,
            split=split,
            state=piece.state,
            labels=tuple(kinds),
            areas=tuple(areas[kind] for kind in kinds),
            defects=piece.defects,
            digest=piece.files["image"].sha256 if split is not None else None,
            clean=piece.state is State.GOOD and not record.trainable,
            **paths,
        )

    def places(self, record: Record) -> dict[tuple[int, str], str]:
        """Where the files of a source shall be: (number of the tile, role) → path. What no split uses is kept out of sight."""
        found = {}
        for number, piece in enumerate(record.tiles):
            if piece.files:
                sample = self.sample(record, number)
                folder = self.folders[record.source.category]
                for role in piece.files:
                    path = f"previews/{folder}/{sample.id}.png" if role == "preview" else getattr(sample, role)
                    found[number, role] = path if sample.split is not None else f"{UNUSED_FILES}/{sample.id}-{role}.png"
        for shape in record.pictures:
            found[shape, CASE] = layout.case_picture(record.source.id, shape)
        return found


def publish(
    store: Store,
    ids: list[str],
    known: Mapping[str, Known],
    found: Found,
    types: Mapping[str, Mapping[str, int]],
    settings: Pipeline,
    raw: str,
    *,
    fresh: bool,
    decisions: Decisions,
) -> tuple[Manifest, bool]:
    """Make the output folder the data set of these records, and say whether anything had to change; `fresh` records always do.

    Raises ThreecadError when the audit of what was written finds a leak: that would be a bug of ours, and no manifest is written.
    """
    origin = made_from(ids, known, found, settings, raw, decisions)
    if not fresh and stands(store.out, origin, store.files):
        store.fold(ids)
        store.clean()
        return read_manifest(store.out), False

    placement, findings = _assign(ids, known, found, types, settings)
    store.drop(MANIFEST)
    store.drop(FINISHED)
    tally = _Tally(placement, types)
    digests: dict[str, str] = {}
    outputs = 0
    written: set[int] = set()
    with (
        _sheet(store, SAMPLES, digests) as samples,
        _sheet(store, "regions.jsonl", digests) as regions,
        _sheet(store, "sources.jsonl", digests) as sources,
        _sheet(store, CASES, digests) as cases,
        _sheet(store, SUMS, digests) as sums,
    ):
        for record in store.publish(ids, placement.places):
            findings += record.findings
            for outline in record.regions:
                regions.write(_region(record.source, outline))
            for number, piece in enumerate(record.tiles):
                sample = placement.sample(record, number)
                samples.write(line(row_of(sample)))
                tally.tile(sample)
                for file in piece.files.values() if sample.split is not None else ():
                    written.add(hash(file.path))
                    sums.write(f"{file.sha256}  {file.path}\n".encode())
                    outputs += 1
            sources.write(line(_source(record, placement)))
            for case in record.cases:
                picture = record.pictures.get(case.shape)
                cases.write(line(row_of_case(replace(case, picture=picture.path if picture else None))))
            for file in record.pictures.values():
                sums.write(f"{file.sha256}  {file.path}\n".encode())
                outputs += 1
            tally.source(record)
    findings += _strangers(store.files, placement, written)
    findings += nobodys(decisions, ids)
    findings += splitting.audit(read_samples(store.out / SAMPLES), placement.groups)
    leaks = [finding for finding in findings if finding.code is Code.LEAK and finding.action is not Action.KEPT]
    if leaks:
        raise ThreecadError(
            f"{store.place}: the audit found {len(leaks)} leaks between splits, the first: {leaks[0].source}: {leaks[0].detail}"
        )
    findings.sort(key=lambda each: (each.code, each.source, -1 if each.shape is None else each.shape, each.detail))
    with _sheet(store, "findings.jsonl", digests) as sheet:
        for finding in findings:
            sheet.write(line(row_of(finding)))
            tally.finding(finding, found.categories)
    digests["relabel.csv"] = store.write("relabel.csv", queue.table(findings).encode())
    digests["pipeline.toml"] = store.write("pipeline.toml", config.dump(settings).encode())
    if decisions:
        digests[DECISIONS] = store.write(DECISIONS, decisions.text().encode())
    elif store.decides():
        store.drop(DECISIONS)
    names = {category: list(indices) for category, indices in types.items()}
    for split in Split:
        path = f"coco/{split.value}.json"
        if split in placement.splits.values():
            with _sheet(store, path, digests) as sheet:
                coco.write(sheet, partial(_annotated, store, ids, placement, split), names, f"{raw}, {split.value}")
        else:
            store.drop(path)
    manifest = Manifest(
        threecad=__version__,
        raw=raw,
        pipeline=settings.model_dump(mode="json"),
        categories=tally.categories(),
        findings=tally.findings(),
        digests=digests,
        inputs=sum(len(known[id_].inputs) for id_ in ids),
        outputs=outputs + len(digests),
    )
    _finish(store, origin, digests | {MANIFEST: store.write(MANIFEST, manifest.text().encode())})
    store.clean()
    return manifest, True


def _assign(
    ids: Sequence[str], known: Mapping[str, Known], found: Found, types: Mapping[str, Mapping[str, int]], settings: Pipeline
) -> tuple[Placement, list[Finding]]:
    """Splits from whole sources: their groups, equal files, near-duplicates, types and names. No tile has a say."""
    findings = list(found.findings)
    candidates = [
        replace(candidate, group=splitting.group_of(id_, settings.split.group))
        for id_ in ids
        if (candidate := known[id_].candidate) is not None
    ]
    digests = {candidate.id: known[candidate.id].image for candidate in candidates}
    prints = {candidate.id: print_ for candidate in candidates if (print_ := known[candidate.id].fingerprint) is not None}
    bound, copies = duplicates.alike(digests, prints, settings.split)
    splits, more = splitting.assign(candidates, bound, settings.split)
    findings += copies + more + similar_labels(found, settings)
    folders = layout.folders(types, layout.RESERVED_CATEGORIES)
    kinds = {category: layout.folders(names, layout.RESERVED_TYPES) for category, names in types.items()}
    doubted, doubts = _doubted({candidate.id for candidate in candidates if candidate.trainable}, ids, known)
    placement = Placement(splits, splitting.units(candidates, bound), folders, kinds, doubted, settings)
    return placement, findings + doubts


def _doubted(good: set[str], ids: Iterable[str], known: Mapping[str, Known]) -> tuple[frozenset[str], list[Finding]]:
    """Sources called good whose very bytes lie elsewhere with something drawn on them, or with an annotation nobody can read."""
    drawn = {known[id_].image: id_ for id_ in ids if known[id_].image and id_ not in good}
    doubted = [id_ for id_ in sorted(good) if known[id_].image in drawn]
    return frozenset(doubted), [
        Finding(Code.EXACT_DUPLICATE, Action.QUEUED, id_, None, f"called good, but {other} is the same image and is not")
        for id_ in doubted
        for other in (drawn[known[id_].image],)
    ]


def _strangers(files: Files, placement: Placement, written: set[int]) -> Iterator[Finding]:
    """A finding for each image in a category's folder that is none of ours: whoever reads the folder will take it for one."""
    for category, folder in placement.folders.items():
        for path in files.names(folder):
            if hash(path) not in written:
                detail = f"{path} is not threecad's, but readers of the folder take it for a tile"
                yield Finding(Code.FOREIGN_FILE, Action.KEPT, category, None, detail)


def keeps_decisions(out: Path) -> bool:
    """Whether `decisions.json` in a folder is ours: its manifest lists it. Anybody's file may be called so."""
    try:
        return DECISIONS in read_manifest(out).digests
    except ReadError:
        return False


def nobodys(decisions: Decisions, sources: Iterable[str]) -> Iterator[Finding]:
    """A finding for each source that somebody decided about and that is not there; those that are tell of their own."""
    for source in decisions.strangers(sources):
        detail = f"{len(decisions[source])} of a photograph that is not in the raw folder"
        yield Finding(Code.DECISION_STALE, Action.KEPT, source, None, detail)


def similar_labels(found: Found, settings: Pipeline) -> list[Finding]:
    """A finding for labels of one category that probably mean the same, where no label table says what they mean."""
    seen: defaultdict[str, set[str]] = defaultdict(set)
    for source in found.sources:
        peek = found.peeks.get(source.annotation or "")
        seen[source.category] |= set(peek.labels if peek else ())
    return [
        Finding(Code.SIMILAR_LABELS, Action.KEPT, category, None, " · ".join(alike))
        for category, spellings in sorted(seen.items())
        if config.table(settings.labels, category) is None
        for alike in labels.suspicious_spellings(spellings)
    ]


class _Tally:
    """Counts for the manifest, while the records pass by."""

    def __init__(self, placement: Placement, types: Mapping[str, Mapping[str, int]]) -> None:
        self.placement = placement
        self.types = types
        self._sources: Counter[tuple[str, str]] = Counter()
        self._tiles: defaultdict[str, Counter[tuple[str, State]]] = defaultdict(Counter)
        self._shapes: defaultdict[str, Counter[Action]] = defaultdict(Counter)
        self._codes: defaultdict[str, Counter[Code]] = defaultdict(Counter)
        self._actions: defaultdict[Code, Counter[Action]] = defaultdict(Counter)

    def source(self, record: Record) -> None:
        category = record.source.category
        self._sources[category, "good" if record.trainable else "defective"] += record.size is not None
        self._sources[category, "all"] += 1
        self._shapes[category].update(record.shapes)

    def tile(self, sample: Sample) -> None:
        split = UNUSED if sample.split is None else sample.split.value
        self._tiles[sample.category][split, sample.state] += 1

    def finding(self, finding: Finding, categories: Mapping[str, str]) -> None:
        self._actions[finding.code][finding.action] += 1
        category = categories.get(finding.source, finding.source)
        if category in self.types:
            self._codes[category][finding.code] += 1

    def findings(self) -> dict[Code, dict[Action, int]]:
        return {code: dict(actions) for code, actions in self._actions.items()}

    def categories(self) -> dict[str, Category]:
        made = {}
        for category, indices in self.types.items():
            tiles: defaultdict[str, dict[State, int]] = defaultdict(dict)
            for (split, state), count in sorted(self._tiles[category].items()):
                tiles[split][state] = count
            shapes = self._shapes[category]
            folders = self.placement.types[category]
            made[category] = Category(
                folder=self.placement.folders[category],
                sources=self._sources[category, "all"],
                good=self._sources[category, "good"],
                defective=self._sources[category, "defective"],
                tiles=dict(tiles),
                shapes=Shapes(total=sum(shapes.values()), **{action.value: shapes[action] for action in Action}),
                findings=dict(self._codes[category]),
                types=tuple(Type(index=index, name=name, folder=folders[name]) for name, index in indices.items()),
            )
        return made


class _Sheet:
    """A file of the data set that is written in pieces."""

    def __init__(self, path: Path) -> None:
        self._beside = path.with_name(f".{path.name}.new")
        self._beside.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._file = self._beside.open("wb")
        self._hash = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        return self._file.write(data)

    def leave(self) -> None:
        self._file.close()

    def close(self) -> str:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._beside.replace(self._path)
        return self._hash.hexdigest()


@contextmanager
def _sheet(store: Store, path: str, digests: dict[str, str]) -> Iterator[Any]:
    sheet = _Sheet(store.out / path)
    try:
        yield sheet
    except BaseException:
        sheet.leave()
        raise
    digests[path] = sheet.close()
    store.files.send(path)


def _annotated(store: Store, ids: Iterable[str], placement: Placement, split: Split) -> Iterator[tuple[Sample, tuple[str, ...]]]:
    for id_ in ids:
        if placement.splits.get(id_) is split:
            record = store.record(id_)
            for number, piece in enumerate(record.tiles):
                sample = placement.sample(record, number)
                if sample.split is split:
                    yield sample, piece.segmentations


def _region(source: Source, outline: Outline) -> bytes:
    """One line of regions.jsonl, keys sorted; the geometry is text already."""
    before = line({"area": outline.area, "category": source.category})
    after = {
        "ignore": outline.ignore,
        "label": outline.label,
        "pixels": outline.pixels,
        "shapes": list(outline.shapes),
        "source": source.id,
        "uid": outline.uid,
    }
    return before[:-2] + b',"geometry":' + outline.geometry.encode() + b"," + line(after)[1:]


def _source(record: Record, placement: Placement) -> dict[str, Any]:
    source = record.source
    split = placement.splits.get(source.id)
    return {
        "annotation": source.annotation,
        "category": source.category,
        "good": record.trainable,
        "group": placement.groups.get(source.id),
        "id": source.id,
        "image": source.image,
        "inputs": record.inputs,
        "shapes": {action.value: record.shapes.get(action, 0) for action in Action},
        "size": None if record.size is None else [record.size.height, record.size.width],
        "split": None if split is None else split.value,
    }


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def made_from(
    ids: Iterable[str], known: Mapping[str, Known], found: Found, settings: Pipeline, raw: str, decisions: Decisions
) -> str:
    """Digest of everything a data set is made from: settings, what the raw folder holds, decisions, the key of every record."""
    findings = [row_of(each) for each in found.findings]
    keys = [(id_, known[id_].key) for id_ in ids]
    return _digest([settings.model_dump(mode="json"), findings, keys, raw, decisions.text()])


def stands(out: Path, origin: str, files: Files) -> bool:
    """Whether the folder already is the data set made from `origin`, its lists untouched (`Store.load` saw to the tiles)."""
    try:
        noted = json.loads(read_regular(out / FINISHED, MOST_BYTES))
        return noted["made_from"] == origin and all(
            files.holds(path, File(*kept), digest=False) for path, kept in noted["lists"].items()
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return False  # none, or damaged


def _finish(store: Store, origin: str, digests: Mapping[str, str]) -> None:
    """Note what the data set was made from, and how its lists look: what tells the next run that nothing changed."""
    lists = {}
    for path, digest in digests.items():
        now = (store.out / path).stat()
        lists[path] = [digest, now.st_size, now.st_mtime_ns]
    note = json.dumps({"lists": lists, "made_from": origin}, sort_keys=True)
    store.write(FINISHED, note.encode() + b"\n")
