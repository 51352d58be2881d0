"""The raw folder: which files are images, which annotation belongs to which, and what that makes of them.

Nothing outside the folder is ever opened: an imagePath is looked up among the files that the walk has found, never on the
disk, and a link that leads out of the folder is left out. What follows depends on the files' names and contents alone, not
on where the folder lies, nor on the order in which the disk lists it.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from posixpath import basename, dirname, normpath, splitext

from threecad.domain import Action, Code, Finding, Source, Split
from threecad.errors import LayoutError, ReadError
from threecad.formats import labelme
from threecad.formats.labelme import NotLabelme, Peek
from threecad.formats.remote import Place, Remote
from threecad.settings import Reading

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})

OUTPUT_MARK = ".threecad"
"""A folder of this name makes the folder that holds it an output of threecad, which is never read as raw data."""

REPORT_FOLDER = "threecad-check"
"""Where `threecad check` writes its report by default, annotations to relabel among it; a dot before it marks any other place."""
PREDICTED = ".threecad-predict"
"""Marks what `threecad predict` wrote: what a detector found is no annotation until a person has looked at it."""

SPLIT_FOLDERS = {
    "train": Split.TRAIN,
    "val": Split.VALIDATION,
    "valid": Split.VALIDATION,
    "validation": Split.VALIDATION,
    "test": Split.TEST,
}


PHOTO_FOLDERS = frozenset({"images", "image", "imgs", "img", "photos", "pictures", "data", "raw"})
"""Folders that say no more than that photographs lie in them."""

_NO_CATEGORY = PHOTO_FOLDERS | SPLIT_FOLDERS.keys()


@dataclass(frozen=True, slots=True)
class Found:
    """What the raw folder holds.

    `sources` stand in the order of their ids, `findings` in that of the files they are about. `peeks` tells, under its path,
    what each labelme file is about; a file that cannot be read has none. `second` lists, under a source's id, the further
    annotations of its image: their shapes are to be queued. A source whose image is None is embedded in its annotation where
    `peeks[annotation].embedded`; otherwise the image is missing. `categories` tells that of every image, of those left out
    too, and of every annotation that counts.
    """

    sources: tuple[Source, ...]
    findings: tuple[Finding, ...]
    peeks: Mapping[str, Peek]
    second: Mapping[str, tuple[str, ...]]
    categories: Mapping[str, str] = field(default_factory=dict)


def find(root: Place, settings: Reading, peek: Callable[[Place, str], Peek] | None = None) -> Found:
    """Every source of the raw folder; `peek(path, name)` looks into one annotation file, by default with `labelme.peek`.

    An annotation's image is, in this order, the file its imagePath leads to; the one of that name beside it; the one beside it
    with its own stem; the same two in a folder of images that differs from its own folder of annotations in one place
    (`label/a.json`, `data/a.jpg`); the same two anywhere, among images nothing else claims or vouches for; the embedded copy.

    A source's category is the first folder of its path. Folders that name a split, or only say that photographs lie in them
    (`PHOTO_FOLDERS`), are passed over there. If any of these first folders is named like a normal one they all tell
    states, and everything is of one category, called like the raw folder, as is what lies in no folder.

    An image without annotation is never good while an annotation may be meant for it: one that fits several images, or one of
    its stem beside it (`a.jpg` where `a.json` names `a.png`).

    Raises LayoutError when the raw folder or one that the settings name is missing, lies outside or is an output of threecad,
    and when images lack an annotation while the settings call that an error.
    """
    if peek is None:
        peek = partial(labelme.peek, **labelme.limits(settings))
    tree = _walk(root)
    places = _Places(
        images=_chosen(settings.images, "images", tree),
        annotations=_chosen(settings.annotations, "annotations", tree),
        title=_title(tree.base.name) or "raw",
        normal=frozenset(name.casefold() for name in settings.normal_folders),
    )
    findings = [*tree.findings, *_case_clashes([*tree.images, *tree.annotations])]
    peeks: dict[str, Peek] = {}
    unreadable: dict[str, str] = {}
    for path in tree.annotations:
        if _lies_in(path, places.annotations):
            try:
                peeks[path] = peek(tree.base / path, path)
            except NotLabelme as error:
                findings.append(Finding(Code.NOT_LABELME, Action.DROPPED, path, None, str(error).removeprefix(f"{path}: ")))
            except ReadError as error:
                unreadable[path] = str(error)

    images = [path for path in tree.images if _lies_in(path, places.images)]
    annotations = sorted([*peeks, *unreadable])
    shelf = _Shelf(images, annotations, places if settings.images is not None else None, tree.base.name or "raw")
    matches = _matches(shelf, annotations, peeks, places)
    claims = _claims(matches)
    ids = [*images, *(path for path, match in matches.items() if match.image is None)]
    categories = _categories(ids, settings, places, shelf.apart(matches))

    sources: list[Source] = []
    second: dict[str, tuple[str, ...]] = {}

    def add(identity: str, image: str | None, annotation: str | None, good: bool) -> None:
        sources.append(Source(identity, categories[identity], image, annotation, good, _split(identity)))

    for path, match in matches.items():
        identity = match.image or path
        look = peeks.get(path)
        if look is None:
            findings.append(Finding(Code.ANNOTATION_UNREADABLE, Action.QUEUED, identity, None, unreadable[path]))
            if match.image is None:
                continue  # whose image it was meant for nobody can tell, so there is no source
        else:
            findings += _notes(path, look, match)
        first, *others = claims.get(identity, [path])
        if path != first:
            count = "unreadable" if look is None else _counted(look.shapes, "shape")
            detail = f"{path}: {count}; {first} is used"
            findings.append(Finding(Code.SECOND_ANNOTATION, Action.QUEUED, identity, None, detail))
            continue
        if others:
            second[identity] = tuple(others)
        if look is None:
            add(identity, match.image, path, good=False)
        elif look.shapes:
            if places.is_normal(identity):
                detail = _counted(look.shapes, "shape")
                findings.append(Finding(Code.SHAPES_IN_GOOD_FOLDER, Action.KEPT, identity, None, detail))
            add(identity, match.image, path, good=False)
        else:
            states = [flag for flag in look.flags if flag.casefold() not in places.normal]
            if states and not others:
                detail = f"flag {_quoted(states[0])} is set"
                findings.append(Finding(Code.FLAG_WITHOUT_SHAPE, Action.DROPPED, identity, None, detail))
            else:
                # What another annotation draws on it has to be looked at before it may be called good.
                add(identity, match.image, path, good=not others)

    doubtful = shelf.doubtful(matches)
    left_out = []
    for image in images:
        if image not in claims:
            if image not in doubtful and (places.is_normal(image) or settings.unannotated == "good"):
                add(image, image, None, good=True)
            else:
                left_out.append(image)
    if left_out and settings.unannotated == "error":
        raise LayoutError(
            f"{places.title}: expected an annotation for each image, found {_counted(len(left_out), 'image')} without, the first "
            f"{left_out[0]}; name their folder in normal_folders, or set unannotated to skip or good"
        )
    for image in left_out:
        detail = f"{doubtful[image]} may be meant for it" if image in doubtful else "no annotation"
        findings.append(Finding(Code.UNANNOTATED, Action.DROPPED, image, None, detail))
    return Found(
        sources=tuple(sorted(sources, key=lambda source: source.id)),
        findings=tuple(sorted(findings, key=lambda finding: (finding.source, finding.code, finding.detail))),
        peeks=peeks,
        second=second,
        categories=categories | {other: categories[identity] for identity, others in second.items() for other in others},
    )


# The walk


@dataclass(frozen=True, slots=True)
class _Tree:
    """The visible files below `base`, as POSIX paths relative to it, in the order of code points."""

    base: Place
    folders: frozenset[str]
    images: tuple[str, ...]
    annotations: tuple[str, ...]
    findings: tuple[Finding, ...]


def _walk(root: Place) -> _Tree:
    base = root if isinstance(root, Remote) else Path(os.path.realpath(root))
    name = _title(base.name)
    folders: set[str] = set()
    images: list[str] = []
    annotations: list[str] = []
    findings: list[Finding] = []
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            entries = _in_store(base, folder) if isinstance(base, Remote) else _on_disk(str(base), folder)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            if not folder:
                raise LayoutError(f"{name}: expected a folder to read, found none: {reason}") from error
            findings.append(Finding(Code.FILE_UNREADABLE, Action.DROPPED, folder, None, f"folder cannot be listed: {reason}"))
            continue
        if not folder and OUTPUT_MARK in entries:
            raise LayoutError(f"{name}: expected a raw folder, found an output of threecad (it holds {OUTPUT_MARK})")
        if folder and entries.keys() & {OUTPUT_MARK, f".{REPORT_FOLDER}", PREDICTED}:
            continue
        folders.add(folder)
        for entry, kind in entries.items():
            path = f"{folder}/{entry}" if folder else entry
            if kind == "folder":
                waiting.append(path)
            elif kind == "image":
                images.append(path)
            elif kind == "annotation":
                annotations.append(path)
            elif isinstance(kind, Finding):
                # The finding knows the entry's own name; where it lies is known here.
                findings.append(replace(kind, source=_escaped(path)))
    return _Tree(base, frozenset(folders), tuple(sorted(images)), tuple(sorted(annotations)), tuple(findings))


def _on_disk(base: str, folder: str) -> dict[str, str | Finding | None]:
    with os.scandir(f"{base}/{folder}") as listing:
        return {entry.name: _kind(entry, base) for entry in list(listing)}


def _in_store(base: Remote, folder: str) -> dict[str, str | Finding | None]:
    """As on a disk; in a store there are no links, and what has the form of a folder is one."""
    kinds: dict[str, str | Finding | None] = {}
    for name, is_folder, flaw in base.entries(folder):
        if flaw is not None:
            lost = _suffix_kind(name) is not None
            kinds[name] = Finding(Code.FILE_UNREADABLE, Action.DROPPED, name, None, flaw) if lost else None
            continue
        hidden = name.startswith(".") or name == REPORT_FOLDER
        kinds[name] = None if hidden else "folder" if is_folder else _suffix_kind(name)
        if kinds[name] is not None and _escaped(name) != name:
            kinds[name] = Finding(Code.FILE_UNREADABLE, Action.DROPPED, name, None, "the name is not UTF-8")
    return kinds


def _suffix_kind(name: str) -> str | None:
    suffix = splitext(name)[1].lower()
    return "image" if suffix in IMAGE_SUFFIXES else "annotation" if suffix == ".json" else None


def _kind(entry: os.DirEntry[str], base: str) -> str | Finding | None:
    """`folder`, `image` or `annotation`; a Finding for what would be one of these if it could be read; None for all else."""
    name = entry.name
    if name.startswith(".") or name == REPORT_FOLDER:
        return None
    kind = _suffix_kind(name)
    try:
        is_folder = entry.is_dir()
        if not is_folder and kind is None:
            return None
        if entry.is_symlink():
            target = os.path.realpath(entry.path)
            if os.path.commonpath([base, target]) != base:
                return Finding(Code.PATH_OUTSIDE, Action.DROPPED, name, None, "a link that leaves the raw folder")
            if is_folder:
                return None  # what it leads to is found where it lies, and a loop has no end
        if not is_folder and not entry.is_file():
            found = "a link that leads nowhere" if entry.is_symlink() else "a device, a pipe or a socket"
            return Finding(Code.FILE_UNREADABLE, Action.DROPPED, name, None, f"expected a file, found {found}")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        return Finding(Code.FILE_UNREADABLE, Action.DROPPED, name, None, f"cannot be looked at: {reason}")
    if _escaped(name) != name:
        return Finding(Code.FILE_UNREADABLE, Action.DROPPED, name, None, "the name is not UTF-8")
    return "folder" if is_folder else kind


def _escaped(name: str) -> str:
    """The name with the bytes that are not UTF-8 as \\xNN, for such a name cannot be written to any file of the output."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name).decode("utf-8", "backslashreplace")
    return name


def _title(name: str) -> str:
    """The raw folder's own name as a category and in messages: what no UTF-8 line of text can hold is escaped.

    >>> _title("line\\udcff7\\r")
    'line\\\\udcff7\\\\r'
    """
    unsafe = {"Cc", "Cs", "Zl", "Zp"}  # controls, bytes that are not UTF-8, separators of lines and paragraphs
    return "".join(each.encode("unicode_escape").decode() if unicodedata.category(each) in unsafe else each for each in name)


def _chosen(text: str | None, setting: str, tree: _Tree) -> str:
    """The folder that a setting names, relative to the raw folder; the raw folder itself, "", where it names none."""
    if text is None:
        return ""
    path, leaves = _followed("", text)
    if leaves:
        raise LayoutError(f"{setting} = {text!r}: expected a folder inside {_title(tree.base.name)}, found a path that leaves it")
    folder = "" if path == "." else path
    if folder not in tree.folders:
        raise LayoutError(
            f"{setting} = {text!r}: expected a folder inside {_title(tree.base.name)}, found none that is visible there"
        )
    return folder


def _case_clashes(paths: Iterable[str]) -> list[Finding]:
    alike = defaultdict(list)
    for path in paths:
        alike[dirname(path), _folded(basename(path))].append(path)
    return [
        Finding(
            Code.CASE_CLASH, Action.KEPT, path, None, f"also {', '.join(basename(other) for other in group if other != path)}"
        )
        for group in alike.values()
        if len(group) > 1
        for path in group
    ]


# Which image belongs to an annotation


@dataclass(frozen=True, slots=True)
class _Match:
    """The image of one annotation, or None. `plain`: found where it belongs, so that nobody has to hear of it; `leaves`: the
    imagePath leads out of the raw folder; `rivals`: groups of images of which none could be preferred. Annotations that are
    alike share their groups, for in a folder of thousands each may have thousands of rivals."""

    image: str | None
    plain: bool = False
    leaves: bool = False
    rivals: tuple[tuple[str, ...], ...] = ()


class _Shelf:
    """The images of a raw folder by path, by name and by stem. Case and Unicode form count only where they tell two apart."""

    def __init__(self, images: Sequence[str], annotations: Iterable[str], chosen: _Places | None, title: str) -> None:
        self.images = images
        self._title = title
        self._chosen = chosen
        self._paths = _grouped(images, _folded)
        self._stems = _grouped(images, lambda path: _folded(splitext(path)[0]))
        self._by_name = _grouped(images, lambda path: _folded(basename(path)))
        self._by_stem = _grouped(images, lambda path: _folded(_stem(path)))
        self._holding = {dirname(path) for path in images}
        # Folders of images without annotations, under what is left of their path when one folder is taken out of it, with
        # the gap (label/a and data/a leave the same) and without (a and data/a, a and a/data).
        self._pure = self._holding - {dirname(path) for path in annotations}
        self._alike = _grouped(sorted(self._pure), _folded)
        self._known: dict[tuple[str, str, bool], tuple[str, ...]] = {}
        self._gaps: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        self._shorter: defaultdict[str, list[str]] = defaultdict(list)
        for folder in sorted(self._pure):
            for before, after in _gaps(folder):
                self._gaps[before, after].append(folder)
                self._shorter[_joined(before, after)].append(folder)

    def named(self, path: str) -> list[str]:
        """The image at that path, else those at a path that differs in case only."""
        found = self._paths.get(_folded(path), [])
        return [path] if path in found else found

    def like(self, stem: str) -> list[str]:
        """The images whose path without suffix is `stem`, else those where it differs in case only."""
        found = self._stems.get(_folded(stem), [])
        return [path for path in found if splitext(path)[0] == stem] or found

    def partners(self, folder: str) -> list[str]:
        """The folders of images that belong to this folder of annotations."""
        found: dict[str, None] = {}
        if (chosen := self._counterpart(folder)) is not None:
            found[chosen] = None
        if folder not in self._holding:
            for before, after in _gaps(folder):
                found.update(dict.fromkeys(self._gaps.get((before, after), ())))
                if (shorter := _joined(before, after)) in self._pure:
                    found[shorter] = None
            found.update(dict.fromkeys(self._shorter.get(folder, ())))
        return list(found)

    def _counterpart(self, folder: str) -> str | None:
        """The partner that the settings name, None where they name none."""
        if self._chosen is None:
            return None
        inner = "" if folder == self._chosen.annotations else _relative(folder, self._chosen.annotations)
        return _joined(self._chosen.images, inner)

    def _rank(self, folder: str, place: str) -> tuple[int, int, str] | None:
        """Where `place` stands among the partners of the folder, None where it is not one; without listing them all."""
        if place == self._counterpart(folder):
            return 0, 0, ""
        if folder in self._holding or place not in self._pure:
            return None
        theirs = _gaps(place)
        for number, (before, after) in enumerate(_gaps(folder)):
            if (before, after) in theirs:
                return 1, 2 * number, place
            if _joined(before, after) == place:
                return 1, 2 * number + 1, place
        return (2, 0, place) if any(_joined(*gap) == folder for gap in theirs) else None

    def _in_partners(self, folder: str, name: str, is_stem: bool) -> tuple[str, ...]:
        """The images of that name, or of that stem, in the partners of the folder, in the order of the partners."""
        key = folder, name, is_stem
        if key not in self._known:
            look_up = self.like if is_stem else self.named
            index = self._by_stem if is_stem else self._by_name
            places = self._worth_a_look(folder, index.get(_folded(name), ()))
            self._known[key] = tuple(image for place in places for image in look_up(_joined(place, name)))
        return self._known[key]

    def _worth_a_look(self, folder: str, images: Sequence[str]) -> list[str]:
        """The partners of the folder, in their order; those that hold none of these images may lack.

        There may be thousands of partners (labels/*.json, S00001/front1.png) as well as thousands of images of one name
        (S00001/img/front1.png); whichever is fewer is gone through.
        """
        if not images:
            return []
        if sum(len(self._gaps.get(gap, ())) for gap in _gaps(folder)) + len(self._shorter.get(folder, ())) <= len(images):
            return self.partners(folder)
        places = {place for image in images for place in self._alike.get(_folded(dirname(image)), ())}
        if (chosen := self._counterpart(folder)) is not None:
            places.add(chosen)
        ranks = ((self._rank(folder, place), place) for place in places)
        return [place for _, place in sorted((rank, place) for rank, place in ranks if rank is not None)]

    def match(self, path: str, image: str) -> _Match:
        """The image that the annotation at `path` means when its imagePath is `image`; anywhere else it is not looked for."""
        folder, stem = dirname(path), _stem(path)
        target, leaves = _followed(folder, image)
        # Linux knows names that hold a backslash, so the text is tried as it is before it is read as a path.
        for exact in (_joined(folder, image), target, self._returning(image) if leaves else ""):
            if self.named(exact) == [exact]:
                return _Match(exact, plain=True)
        name = basename(image.replace("\\", "/"))
        rivals: tuple[tuple[str, ...], ...] = ()
        for found, plain in (
            (self.named(target), False),
            (self.named(_joined(folder, name)), False),
            (self.like(_joined(folder, stem))[:1], False),  # several are the same picture in several formats
            (self._in_partners(folder, name, is_stem=False), name == image),
            (self._in_partners(folder, stem, is_stem=True), False),
        ):
            if len(found) == 1:
                return _Match(found[0], plain and basename(found[0]) == name, leaves)
            if found:
                rivals += (tuple(found),)
        return _Match(None, leaves=leaves, rivals=rivals)

    def _returning(self, image: str) -> str:
        """What an imagePath that leaves the raw folder says behind the folder's own name: it comes back in by that door.

        So ../../line7/part/a.png of a file that was relabelled elsewhere, or D:\\line7\\part\\a.png, is part/a.png of line7.
        """
        _, door, inside = image.replace("\\", "/").rpartition(f"/{self._title}/")
        return normpath(inside) if door and inside else ""

    def doubtful(self, matches: Mapping[str, _Match]) -> dict[str, str]:
        """Image → an annotation that may be meant for it: one that could not choose, or one of its stem beside it."""
        found: dict[str, str] = {}
        seen: set[int] = set()  # of groups that many annotations share, by identity: comparing them takes as long as reading
        for path, match in matches.items():
            fresh = [group for group in match.rivals if id(group) not in seen]
            seen.update(map(id, fresh))
            for group in (*fresh, self.like(splitext(path)[0])):
                for image in group:
                    found.setdefault(image, path)
        return found

    def apart(self, matches: Mapping[str, _Match]) -> frozenset[str]:
        """The name of the one folder that keeps images apart from annotations, and that of its counterpart (data, label).

        Empty unless it is one name, and on the path of every annotated image: folders that differ otherwise are categories.
        """
        pairs = {(dirname(match.image), dirname(path)) for path, match in matches.items() if match.image is not None}
        theirs: set[str] = set()
        others: set[str] = set()
        for folder, counterpart in pairs:
            if self._rank(counterpart, folder) is not None:
                lost, gained = _difference(counterpart, folder)
                others.add(lost)
                theirs.add(gained)
        theirs.discard("")
        others.discard("")
        if len(theirs) == 1 and not all(theirs & set(folder.split("/")) for folder, _ in pairs):
            return frozenset()
        return frozenset().union(*(names for names in (theirs, others) if len(names) == 1))


def _matches(shelf: _Shelf, annotations: Sequence[str], peeks: Mapping[str, Peek], places: _Places) -> dict[str, _Match]:
    """The match of every annotation; one that has none yet may take an image anywhere that nothing else lays claim to.

    Good ones are not up for that: what lost its image among defects would find the same number there.
    """
    matches = {path: shelf.match(path, peeks[path].image if path in peeks else "") for path in annotations}
    taken = {match.image for match in matches.values()}
    free = [image for image in shelf.images if image not in taken and not places.is_normal(image)]
    names = _grouped(free, lambda image: _folded(basename(image)))
    stems = _grouped(free, lambda image: _folded(_stem(image)))
    for path, match in matches.items():
        if match.image is None:
            name = basename(peeks[path].image.replace("\\", "/")) if path in peeks else ""
            for found in (names.get(_folded(name), ()), stems.get(_folded(_stem(path)), ())):
                if len(found) == 1:
                    matches[path] = replace(match, image=found[0])
                    break
    return matches


def _claims(matches: Mapping[str, _Match]) -> dict[str, list[str]]:
    """Image → its annotations, the one to use first: that of its own stem, then one in its folder, then the first by name."""
    claims: defaultdict[str, list[str]] = defaultdict(list)
    for path, match in matches.items():
        if match.image is not None:
            claims[match.image].append(path)
    for image, paths in claims.items():
        paths.sort(key=lambda path: (_stem(path) != _stem(image), dirname(path) != dirname(image), path))
    return dict(claims)


def _notes(path: str, look: Peek, match: _Match) -> list[Finding]:
    """What is to be said about the way from an annotation to its image."""
    source = match.image or path
    lost = f"imagePath {_quoted(look.image)} leads nowhere" if look.image else "no imagePath"
    notes = []
    if match.image is None and look.embedded:
        notes.append(Finding(Code.EMBEDDED_IMAGE, Action.KEPT, source, None, lost))
    elif match.image is None:
        among = f", {len(set().union(*match.rivals))} images could be it" if match.rivals else ""
        notes.append(Finding(Code.IMAGE_MISSING, Action.QUEUED, source, None, f"{lost}{among}; {_counted(look.shapes, 'shape')}"))
    elif not match.plain:
        notes.append(Finding(Code.IMAGE_BY_NAME, Action.KEPT, source, None, f"{path}: {lost}; {match.image} is used"))
    if match.leaves:
        action = Action.KEPT if match.image is not None or look.embedded else Action.QUEUED
        detail = f"imagePath {_quoted(look.image)} leaves the raw folder; images must lie inside it"
        notes.append(Finding(Code.PATH_OUTSIDE, action, source, None, detail))
    return notes


# What the folders tell


@dataclass(frozen=True, slots=True)
class _Places:
    """The folders named for images and for annotations ("" for none), the raw folder's name, and names of normal folders."""

    images: str
    annotations: str
    title: str
    normal: frozenset[str]

    def is_normal(self, identity: str) -> bool:
        return any(folder.casefold() in self.normal for folder in dirname(identity).split("/"))


def _categories(ids: Iterable[str], settings: Reading, places: _Places, apart: frozenset[str]) -> dict[str, str]:
    """The category of every id, as `find` describes it."""
    if settings.category is not None:
        return dict.fromkeys(ids, settings.category)
    first = {}
    for identity in ids:
        root = places.images if _lies_in(identity, places.images) else places.annotations
        folders = dirname(_relative(identity, root)).split("/")
        first[identity] = next((name for name in folders if name not in apart and name.casefold() not in _NO_CATEGORY), "")
    if any(name.casefold() in places.normal for name in first.values()):
        first = dict.fromkeys(first, "")
    pattern = re.compile(settings.category_pattern) if settings.category_pattern is not None else None
    return {identity: _searched(pattern, identity) or name or places.title for identity, name in first.items()}


def _searched(pattern: re.Pattern[str] | None, identity: str) -> str:
    """Group `category`, the first group or the whole of what the pattern finds; "" when it finds nothing."""
    found = pattern.search(identity) if pattern is not None else None
    if found is None:
        return ""
    return found.groupdict().get("category") or next(filter(None, found.groups()), None) or found[0]


def _split(identity: str) -> Split | None:
    return next((SPLIT_FOLDERS[name] for name in dirname(identity).casefold().split("/") if name in SPLIT_FOLDERS), None)


# Paths: POSIX, relative to the raw folder, which itself is ""


def _followed(folder: str, text: str) -> tuple[str, bool]:
    """Where a path written in a file of that folder leads, and whether it leaves the raw folder ("" then, and for no path)."""
    text = text.replace("\\", "/")
    if not text:
        return "", False
    if text.startswith("/") or re.match(r"[A-Za-z]:/|[A-Za-z][A-Za-z0-9+.-]*://", text):
        return "", True
    path = normpath(_joined(folder, text))
    return ("", True) if path == ".." or path.startswith("../") else (path, False)


def _lies_in(path: str, folder: str) -> bool:
    return not folder or path == folder or path.startswith(f"{folder}/")


def _relative(path: str, folder: str) -> str:
    """The path as seen from the folder; itself where it does not lie in it."""
    return path[len(folder) + 1 :] if folder and _lies_in(path, folder) else path


def _joined(before: str, after: str) -> str:
    return f"{before}/{after}" if before and after else before or after


def _gaps(folder: str) -> list[tuple[str, str]]:
    """What stands before and after each folder on the path.

    >>> _gaps("a/b/c")
    [('', 'b/c'), ('a', 'c'), ('a/b', '')]
    """
    names = folder.split("/") if folder else []
    return [("/".join(names[:place]), "/".join(names[place + 1 :])) for place in range(len(names))]


def _difference(left: str, right: str) -> tuple[str, str]:
    """What stands in the one path, and what in the other, between their common beginning and their common end.

    >>> _difference("label/train", "data/train"), _difference("a", "a/images"), _difference("", "data")
    (('label', 'data'), ('', 'images'), ('', 'data'))
    """
    ours, theirs = (path.split("/") if path else [] for path in (left, right))
    for end in (0, -1):
        while ours and theirs and ours[end] == theirs[end]:
            del ours[end], theirs[end]
    return "/".join(ours), "/".join(theirs)


def _stem(path: str) -> str:
    return splitext(basename(path))[0]


def _folded(name: str) -> str:
    """The name as file systems compare it that ignore case; macOS also decomposes its letters."""
    return unicodedata.normalize("NFC", name).casefold()


def _grouped(paths: Iterable[str], key: Callable[[str], str]) -> dict[str, list[str]]:
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for path in paths:
        groups[key(path)].append(path)
    return dict(groups)


def _quoted(text: str) -> str:
    """The text between quotes, control characters escaped, its middle left out when it is long."""
    return repr(text if len(text) <= 120 else f"{text[:60]}…{text[-59:]}")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
