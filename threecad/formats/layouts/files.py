"""What stands in the folder of a data set, by names alone: the one walk that all layouts share, and how names are read.

Nothing outside the folder is ever opened: a link that leads out of it is left out with a finding, and so is a name that no text
can hold. Hidden files (`.DS_Store`, `._a.png`) and files that are neither image nor list do not count.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from pathlib import Path
from posixpath import splitext

from threecad.domain import Action, Code, Entry, Finding, Split
from threecad.errors import LayoutError, ReadError

SUFFIXES = frozenset({".png", ".bmp", ".jpg", ".jpeg", ".tif", ".tiff", ".webp"})
"""Of images and masks, in any case."""
_COUNTED = SUFFIXES | {".csv", ".json", ".jsonl", ".manifest", ".txt"}
GOOD_FOLDERS = frozenset({"good", "ok", "normal"})
"""Folders whose images are free of defects, in any case."""
PHOTO_FOLDERS = frozenset({"images", "imgs", "image", "img"})
"""Folders that say no more than that images lie in them, in any case."""
SPLITS = {
    "train": Split.TRAIN,
    "test": Split.TEST,
    "validation": Split.VALIDATION,
    "val": Split.VALIDATION,
    "valid": Split.VALIDATION,
}
"""Folders, and words in lists, that name a split."""
_MOST_FILES = 5_000_000
"""More are no data set but somebody's whole disk."""
_MOST_LIST_BYTES = 500_000_000


@dataclass(frozen=True, slots=True)
class Folder:
    """The names in one folder, sorted; those of files in a dict, for it is often asked whether one is there."""

    folders: tuple[str, ...]
    files: Mapping[str, None]


@dataclass(frozen=True, slots=True)
class Tree:
    """All that counts below `root`: POSIX path of a folder relative to it ("" for itself) → what it holds; parents come first."""

    root: Path
    folders: Mapping[str, Folder]
    findings: tuple[Finding, ...]

    def children(self, folder: str) -> tuple[str, ...]:
        """Names of the folders in the folder, none where it does not exist."""
        return self.folders[folder].folders if folder in self.folders else ()

    def files(self, folder: str, suffix: str) -> list[str]:
        """Names of the files in the folder that end so, in any case, none where it does not exist."""
        return [name for name in (self.folders[folder].files if folder in self.folders else ()) if name.lower().endswith(suffix)]

    def images(self, folder: str) -> Iterator[tuple[str, str]]:
        """Stem and name of each image in the folder, sorted by name."""
        for name in self.folders[folder].files if folder in self.folders else ():
            stem, suffix = splitext(name)
            if suffix.lower() in SUFFIXES:
                yield stem, name

    def holds(self, path: str) -> bool:
        """Whether there is such a file."""
        folder, _, name = path.rpartition("/")
        return folder in self.folders and name in self.folders[folder].files

    def below(self, folder: str) -> list[str]:
        """The folder and all folders below it, parents first; none where it does not exist."""
        found = [folder] if folder in self.folders else []
        for path in found:  # grows while it is gone through
            found += [joined(path, child) for child in self.children(path)]
        return found


def walk(root: Path) -> Tree:
    """Everything that counts below `root`. LayoutError where there is no such folder, or more in it than any data set has.

    Links to folders are not followed: what they lead to is found where it lies, if it lies inside, and a loop has no end.
    """
    if not root.is_dir():
        raise LayoutError(f"{root}: a file; expected the folder of a data set" if root.exists() else f"{root}: no such folder")
    base = os.path.realpath(root)
    folders: dict[str, Folder] = {}
    findings: list[Finding] = []
    count = 0
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(os.path.join(base, folder)) as listing:  # noqa: PTH118  Path is slow on 100,000 names
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            detail = f"the folder cannot be listed: {error.strerror or type(error).__name__}"
            if not folder:
                raise LayoutError(f"{root}: {detail}") from None
            findings.append(Finding(Code.FILE_UNREADABLE, Action.DROPPED, folder, None, detail))
            continue
        children: list[str] = []
        files: dict[str, None] = {}
        for entry in entries:
            kind = _kind(entry, base)
            if kind == "folder":
                children.append(entry.name)
            elif kind == "file":
                files[entry.name] = None
            elif isinstance(kind, tuple):
                findings.append(Finding(kind[0], Action.DROPPED, shown(joined(folder, entry.name)), None, kind[1]))
        folders[folder] = Folder(tuple(children), files)
        findings += _clashes(folder, files)
        waiting += [joined(folder, child) for child in reversed(children)]
        count += len(files) + len(children)
        if count > _MOST_FILES:
            raise LayoutError(f"{root}: found more than {_MOST_FILES} files; expected the folder of one data set")
    return Tree(root, folders, tuple(findings))


def _kind(entry: os.DirEntry[str], base: str) -> str | tuple[Code, str] | None:
    """`folder` or `file`; what is wrong with something that looks like one of these; None for what does not count."""
    if entry.name.startswith("."):
        return None
    try:
        is_folder = entry.is_dir()
        if not is_folder and splitext(entry.name)[1].lower() not in _COUNTED:
            return None
        if entry.is_symlink():
            if not _lies_in(base, os.path.realpath(entry.path)):
                return Code.PATH_OUTSIDE, "a link that leaves the data set"
            if is_folder:
                return Code.UNKNOWN_FOLDER, "a link to a folder is not followed"
        if not is_folder and not entry.is_file():
            return Code.FILE_UNREADABLE, "expected a file, found a link that leads nowhere, a device, a pipe or a socket"
    except OSError as error:
        return Code.FILE_UNREADABLE, f"cannot be looked at: {error.strerror or type(error).__name__}"
    try:
        entry.name.encode()
    except UnicodeEncodeError:
        return Code.FILE_UNREADABLE, "the name is not UTF-8"
    return "folder" if is_folder else "file"


def _lies_in(base: str, path: str) -> bool:
    return path == base or path.startswith(base if base.endswith("/") else f"{base}/")


def _clashes(folder: str, names: Mapping[str, None]) -> list[Finding]:
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        alike[unicodedata.normalize("NFC", name).casefold()].append(name)
    if len(alike) == len(names):
        return []
    return [
        Finding(
            Code.CASE_CLASH,
            Action.KEPT,
            joined(folder, name),
            None,
            f"also {', '.join(shown(other) for other in group if other != name)}",
        )
        for group in alike.values()
        if len(group) > 1
        for name in group
    ]


def joined(folder: str, name: str) -> str:
    """
    >>> joined("", "a.png"), joined("part/good", "a.png")
    ('a.png', 'part/good/a.png')
    """
    return f"{folder}/{name}" if folder else name


def is_good(folder: str) -> bool:
    """Whether a folder of that name vouches for its images."""
    return folder.casefold() in GOOD_FOLDERS


def shown(name: str, most: int = 4096) -> str:
    """A name as a message may hold it: controls, ends of lines and bytes that are not UTF-8 are escaped. Of more than `most`
    characters, beyond which no system has a path, the middle is left out, for a list may spell a name of a megabyte.

    >>> print(shown("a\\n\\udcff.png"))
    a\\n\\udcff.png
    >>> shown("1234567890.png", most=8)
    '123456 … ng'
    """
    name = _cut(name, most)
    if name.isprintable():
        return name
    unsafe = {"Cc", "Cs", "Cf", "Zl", "Zp"}
    escaped = (each.encode("unicode_escape").decode() if unicodedata.category(each) in unsafe else each for each in name)
    return _cut("".join(escaped), most)


def _cut(name: str, most: int) -> str:
    return name if len(name) <= most else f"{name[: most - most // 4]} … {name[len(name) - most // 4 :]}"


def writable(name: str) -> str:
    """A name that a list tells, as a file in UTF-8 can hold it: bytes that are none, and halves of letters, which JSON can spell,
    are escaped.

    >>> print(writable("dent\\udcff"))
    dent\\udcff
    """
    return name if name.isprintable() else name.encode("utf-8", "backslashreplace").decode()


def listed(names: Iterable[str], most: int = 8) -> str:
    """Names for a message: the first of them, and how many more there are.

    >>> listed(["b", "a", "c"], most=2)
    'a, b and 1 more'
    """
    ordered = sorted(names)
    more = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(shown(name, 100) for name in ordered[:most]) + more or "nothing"


def contents(root: Path) -> str:
    """What stands in the folder, for a message, whether it counts or not."""
    with os.scandir(root) as listing:
        return listed(entry.name for entry in listing if not entry.name.startswith("."))


def annotation(tree: Tree) -> str | None:
    """A JSON file that seems to be an annotation: one called like an image, or any where there is no image at all."""
    images = {stem for folder in tree.folders for stem, _ in tree.images(folder)}
    for folder in tree.folders:
        for name in tree.files(folder, ".json"):
            if not images or splitext(name)[0] in images:
                return joined(folder, name)
    return None


def titled(tree: Tree) -> str:
    """The data set's own folder as a category."""
    return shown(Path(os.path.realpath(tree.root)).name) or "data"


_ELSEWHERE = re.compile(r"/|[A-Za-z]:[/\\]|[A-Za-z][A-Za-z0-9+.-]*://")
_ODD = re.compile(r"[\\\0:]|//|(^|/)(\.\.?)?(/|$)")


def inside(text: str, folder: str = "") -> str | None:
    """Where a path that a list in `folder` names leads, relative to the data set; None where it leaves it.

    >>> inside("./images/../a.png"), inside(r"images\\a.png"), inside("../a.png"), inside("/etc/passwd")
    ('a.png', 'images/a.png', None, None)
    """
    if not _ODD.search(text):  # a list may have a million lines
        return joined(folder, text)
    text = text.replace("\\", "/")
    if _ELSEWHERE.match(text) or "\0" in text:
        return None
    parts = folder.split("/") if folder else []
    for part in text.split("/"):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts) or None


def chosen(tree: Tree, text: str, what: str) -> str:
    """The folder that a person names, relative to the data set. LayoutError where there is none."""
    path = "" if text in ("", ".") else inside(text)
    if path is None or path not in tree.folders:
        raise LayoutError(f"{tree.root}: {what} {text!r}: expected a folder of the data set, found none")
    return path


def listing(tree: Tree, path: str) -> bytes:
    """The bytes of a list in the tree. ReadError where it cannot be read, or is larger than any list."""
    try:
        with (tree.root / path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > _MOST_LIST_BYTES:
                raise ReadError(f"{tree.root / path}: more than {_MOST_LIST_BYTES / 1e6:g} MB; expected a list of images")
            return file.read(size)
    except OSError as error:
        raise ReadError(f"{tree.root / path}: {error.strerror}") from None


def in_order(entries: list[Entry]) -> list[Entry]:
    """Sorted by category, split (none first) and image, as every `Listing` is."""
    return sorted(entries, key=lambda entry: (entry.category, entry.split or "", entry.image or "", entry.id))


def told(*findings: Iterable[Finding]) -> list[Finding]:
    """All of them once, sorted by what they are about."""
    ordered = sorted(chain(*findings), key=attrgetter("source", "code", "detail"))
    return [each for number, each in enumerate(ordered) if not number or each != ordered[number - 1]]


def without_mask(image: str, detail: str) -> Finding:
    return Finding(Code.MASK_MISSING, Action.KEPT, image, None, shown(detail))


def orphan(mask: str, detail: str) -> Finding:
    return Finding(Code.MASK_ORPHAN, Action.DROPPED, mask, None, shown(detail))


def counted(number: int, noun: str) -> str:
    """
    >>> counted(1, "image"), counted(2, "image")
    ('1 image', '2 images')
    """
    return f"{number} {noun}" + ("" if number == 1 else "s")


def pair(stems: Iterable[str], masks: Mapping[str, str], suffixes: tuple[str, ...] = ("_mask", "")) -> dict[str, str]:
    """Stem of an image → file of its mask. Where names allow both readings (images a and a_mask), the folder's habit decides.

    >>> pair(["a", "a_mask"], {"a_mask": "a_mask.png", "a_mask_mask": "a_mask_mask.png"})
    {'a': 'a_mask.png', 'a_mask': 'a_mask_mask.png'}
    """
    stems = list(stems)
    pairs: dict[str, str] = {}
    claimed: set[str] = set()
    for suffix in sorted(suffixes, key=lambda suffix: -sum(stem + suffix in masks for stem in stems)):
        for stem in stems:
            if stem not in pairs and stem + suffix in masks and stem + suffix not in claimed:
                pairs[stem] = masks[stem + suffix]
                claimed.add(stem + suffix)
    return pairs
