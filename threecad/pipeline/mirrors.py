"""A data set of a store in a folder on this machine, for what has to look at tiles: its report, its card and its figures."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from threecad.errors import BusyError, LayoutError, ThreecadError
from threecad.formats.dataset import MANIFEST
from threecad.formats.remote import AT_ONCE, Looks, Remote, flaw_of
from threecad.pipeline.files import HOME
from threecad.pipeline.remote import alone

MOST = 4_000_000_000
"""Bytes of a data set that are brought to this machine for its report, its card and its figures."""


class TooMuch(ThreecadError):
    """A data set that is too large to be brought to this machine."""


@dataclass(frozen=True, slots=True)
class Mirror:
    """A data set of a store in a folder on this machine. What is written to the folder goes to the store by `deliver`."""

    out: Remote
    folder: Path
    before: Mapping[str, int]

    def deliver(self) -> None:
        """Send what was written since, in the order in which it was.

        BusyError where another run is at work there, or has written the data set anew: what was made here is not of it.
        """
        with alone(self.out) as (_, flag):
            flag.keep(lambda: None)
            if MANIFEST in self.before and (self.folder / MANIFEST).read_bytes() != (self.out / MANIFEST).read_bytes():
                raise BusyError(f"{self.out}: another run has written the data set anew meanwhile, and tells of it itself")
            self._send()

    def _send(self) -> None:
        now = {
            path.relative_to(self.folder).as_posix(): path.stat().st_mtime_ns for path in self.folder.rglob("*") if path.is_file()
        }
        for path in sorted(now, key=lambda path: (now[path], path)):
            if self.before.get(path) != now[path]:
                (self.out / path).send(self.folder / path)


@contextmanager
def mirrored(out: Remote, most: int = MOST, names: Collection[str] | None = None) -> Iterator[Mirror]:
    """Bring a data set, or those of its files that are named, to this machine, for what has to look at tiles.

    Raises LayoutError where nothing is there, or something that no folder can hold; TooMuch where it is more than `most` bytes.
    """
    found, total = [], 0
    for path, looks in _named(out, names) if names is not None else _all_of(out):
        if (flaw := flaw_of(path)) is not None:
            raise LayoutError(f"{out}: {path!r}: no folder can hold it: {flaw}")
        found.append((path, looks.st_size))
        total += looks.st_size
        if total > most:
            raise TooMuch(
                f"{out}: more than the {most / 1e9:g} GB that are brought to this machine to be looked at; copy it to a folder, "
                "and name that"
            )
    if not found and names is None:
        raise LayoutError(f"{out}: no such folder")
    with tempfile.TemporaryDirectory(prefix="threecad-") as parent, ThreadPoolExecutor(AT_ONCE) as pool:
        folder = Path(parent, out.name or "data")
        folder.mkdir()
        if (out / HOME).is_dir():
            (folder / HOME).mkdir()  # a conversion that was interrupted is seen to be one
        try:
            for done in [pool.submit((out / path).bring, folder / path, size) for path, size in found]:
                done.result()
        except (NotADirectoryError, IsADirectoryError, FileExistsError) as error:
            raise LayoutError(f"{out}: {Path(str(error.filename)).name!r} is a file and a folder") from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # after Ctrl-C, no more than what is on its way
        yield Mirror(out, folder, {path: (folder / path).stat().st_mtime_ns for path, _ in found})


def _named(out: Remote, names: Collection[str]) -> Iterator[tuple[str, Looks]]:
    for name in names:
        with suppress(FileNotFoundError):
            yield name, (out / name).now()


def _all_of(out: Remote) -> Iterator[tuple[str, Looks]]:
    """All files that are not in folders which begin with a dot."""
    with suppress(FileNotFoundError):
        for path, looks in out.files():
            if not any(part.startswith(".") and part not in (".", "..") for part in path.split("/")):
                yield path, looks
