"""The output folder: whose it is, what in it is finished, and what was made of which file.

    OUT/scores.jsonl                 a row an image, sorted by path; written last
    OUT/failed.jsonl                 which images could not be read, and why
    OUT/maps/NAME.png                the map, 16 bits, with its scale
    OUT/overlays/NAME.jpg            the photograph with the map over it
    OUT/labelme/NAME.json            the regions, as labelme opens them; beside it a copy of the image where that was asked for
    OUT/.threecad-predict/           which images are finished

A row of the journal is added when all files of an image are in their places, so what is in it is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from posixpath import splitext
from typing import BinaryIO

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from threecad.errors import BusyError, LayoutError
from threecad.formats.dataset import line
from threecad.formats.layouts.files import inside
from threecad.formats.raw import PREDICTED
from threecad.pipeline.files import write_atomically

HOME = PREDICTED
SCORES, FAILED = "scores.jsonl", "failed.jsonl"
MAPS, OVERLAYS, LABELME = "maps", "overlays", "labelme"
_JOURNAL, _NOTE, _LOCK = "journal.jsonl", "images.json", "lock"


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Counted(_Row):
    """The regions of one image, in pixels of its map at or above the threshold."""

    count: int
    area: int
    worst: float | None
    """The greatest score of a region; None where there is none."""


class Verdict(_Row):
    """One image: a row of scores.jsonl."""

    path: str
    """POSIX, relative to the folder of images."""
    name: str
    """What the files made of it are called: maps/NAME.png, overlays/NAME.jpg, labelme/NAME.json."""
    model: str
    """The model that looked at it."""
    size: tuple[PositiveInt, PositiveInt]
    """Height and width, the right way up."""
    windows: int
    """How many it was cut into."""
    score: float
    """The greatest of its squares' scores."""
    threshold: float
    defective: bool
    """Whether the score reaches the threshold."""
    peak: tuple[int, int]
    """Column and row of the map's greatest value."""
    regions: Counted


class Record(_Row):
    """A row of the journal."""

    key: str
    """Digest of the model and of all settings that the files depend on; empty: to be made anew."""
    nbytes: int
    mtime_ns: int
    copied: bool
    """Whether a copy of the image lies beside the annotation."""
    maps: bool
    overlays: bool
    annotation: str
    """sha256 of the annotation as it was written, so that nobody's corrections are written over; empty: whatever it is."""
    verdict: Verdict

    @property
    def told(self) -> str:
        """POSIX path of the annotation, relative to the output folder."""
        return f"{LABELME}/{self.verdict.name}.json"

    def files(self) -> list[str]:
        """POSIX paths of all files made of the image, relative to the output folder."""
        name = self.verdict.name
        return [
            *([f"{MAPS}/{name}.png"] if self.maps else []),
            *([f"{OVERLAYS}/{name}.jpg"] if self.overlays else []),
            *([f"{LABELME}/{name}{splitext(self.verdict.path)[1]}"] if self.copied else []),
            self.told,
        ]


def refuse_foreign(out: Path, images: str, *, overwrite: bool) -> None:
    """LayoutError where `out` is a file, or a folder that no prediction wrote, or one of other images; as `convert` does."""
    if out.exists() and not out.is_dir():
        raise LayoutError(f"{out} is a file; expected a folder to write what is found into")
    if out.is_symlink() and not out.exists():
        raise LayoutError(f"{out} is a link that leads nowhere; expected a folder to write what is found into")
    if overwrite:
        return
    if out.is_dir() and not (out / HOME).is_dir() and any(out.iterdir()):
        raise LayoutError(
            f"{out}{os.sep} holds files that threecad predict did not write; choose another folder or pass --overwrite"
        )
    before = _noted(out / HOME / _NOTE)
    if before not in (None, images):
        raise LayoutError(f"{out}{os.sep} was made from {before!r}, not {images!r}; choose another folder or pass --overwrite")


def _noted(note: Path) -> str | None:
    try:
        name = json.loads(note.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return name if isinstance(name, str) else None


@contextmanager
def hold(out: Path, images: str, *, overwrite: bool) -> Iterator[Ledger]:
    """Lock an output folder for one run; made if missing. `images` is the name of what is looked at. Raises as `refuse_foreign`,
    and BusyError where another run holds the folder."""
    refuse_foreign(out, images, overwrite=overwrite)
    home = out / HOME
    home.mkdir(parents=True, exist_ok=True)
    lock = FileLock(home / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise BusyError(f"{out}{os.sep} is being written by another run; wait for it, or choose another folder") from None
    ledger = None
    try:
        refuse_foreign(out, images, overwrite=overwrite)  # the run that held it may just have made it
        write_atomically(home / _NOTE, json.dumps(images, ensure_ascii=False).encode() + b"\n")
        ledger = Ledger(out, forget=overwrite)
        yield ledger
    finally:
        if ledger is not None:
            ledger.close()
        lock.release()


class Ledger:
    """What is finished in an output folder. `forget`: nothing is, but it is still known what lies there."""

    def __init__(self, out: Path, *, forget: bool = False) -> None:
        self.out = out
        path = out / HOME / _JOURNAL
        rows: list[Record] = []
        if path.exists():
            with path.open("rb") as file:
                for text in file:
                    with suppress(ValidationError):  # torn, where a run was killed
                        row = Record.model_validate_json(text)
                        if _stays(row):
                            rows.append(row.model_copy(update={"key": "", "annotation": ""}) if forget else row)
        self.known = {row.verdict.path: row for row in rows}
        self._made = {file: row.annotation for row in rows for file in row.files()}
        """Every file that was ever written → what its annotation was then."""
        self._rows = {row.told: row for row in rows}
        """Annotation → what it is of."""
        write_atomically(path, b"".join(map(_line, rows)))
        self._journal: BinaryIO = path.open("ab")

    def finished(self, path: str, name: str, key: str, look: os.stat_result) -> Record | None:
        """What is known of an image if nothing has to be done about it."""
        record = self.known.get(path)
        if record is None or (record.key, record.nbytes, record.mtime_ns) != (key, look.st_size, look.st_mtime_ns):
            return None
        whole = record.verdict.name == name and all(self._holds(file) for file in record.files())
        return record if whole else None

    def _holds(self, file: str) -> bool:
        try:
            return (self.out / file).stat().st_size > 0
        except OSError:
            return False

    def edited(self, file: str) -> bool:
        """Whether somebody has changed that annotation since it was written; one that cannot be read counts as changed."""
        if not self._made.get(file):
            return False
        try:
            return hashlib.sha256((self.out / file).read_bytes()).hexdigest() != self._made[file]
        except FileNotFoundError:
            return False
        except OSError:
            return True

    def guards(self, name: str, path: str) -> bool:
        """Whether the annotation of that name is of another image than `path`, and somebody has changed it."""
        row = self._rows.get(f"{LABELME}/{name}.json")
        return row is not None and row.verdict.path != path and self.edited(row.told)

    def keep(self, record: Record) -> None:
        """Note an image all files of which are in their places."""
        self._journal.write(_line(record))
        self._journal.flush()
        self.known[record.verdict.path] = record
        self._made.update(dict.fromkeys(record.files(), record.annotation))
        self._rows[record.told] = record

    def finish(self, paths: Iterable[str], failed: Mapping[str, str]) -> list[Verdict]:
        """Write the lists and return all verdicts; what was made of images that are gone, or cannot be read any more, goes."""
        kept = {path: self.known[path] for path in sorted(set(paths) - failed.keys()) if path in self.known}
        current = {file for record in kept.values() for file in record.files()}
        edited = [file for file in sorted(self._made.keys() - current) if self._remove(file)]
        alone = {"key": "", "copied": False, "maps": False, "overlays": False}
        left = [self._rows[file].model_copy(update=alone) for file in edited]  # so that it is still known whose they are
        write_atomically(self.out / SCORES, b"".join(_line(record.verdict) for record in kept.values()))
        if failed:
            told = (line({"path": path, "reason": reason}) for path, reason in sorted(failed.items()))
            write_atomically(self.out / FAILED, b"".join(told))
        else:
            (self.out / FAILED).unlink(missing_ok=True)
        write_atomically(self.out / HOME / _JOURNAL, b"".join(map(_line, [*left, *kept.values()])))
        return [record.verdict for record in kept.values()]

    def _remove(self, file: str) -> bool:
        """Delete a file of ours, and folders that become empty; an annotation that somebody has changed stays. Whether it did."""
        path = self.out / file
        if file in self._rows and self.edited(file):
            return True
        if path.is_file() or path.is_symlink():
            path.unlink()
        with suppress(OSError):  # others keep theirs there
            for folder in list(Path(file).parents)[:-1]:
                (self.out / folder).rmdir()
        return False

    def close(self) -> None:
        self._journal.close()


def _stays(record: Record) -> bool:
    """Whether its files lie in the output folder; a journal may be anybody's, and files are removed by it."""
    return inside(record.verdict.name) == record.verdict.name and inside(record.verdict.path) == record.verdict.path


def _line(row: BaseModel) -> bytes:
    return line(row.model_dump(mode="json"))
