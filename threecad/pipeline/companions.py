"""The page and the card that lie beside a data set's manifest, kept in step with it: `threecad convert` ends with them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from threecad.errors import LayoutError
from threecad.formats.dataset import MANIFEST
from threecad.formats.remote import Place, Remote
from threecad.pipeline import mirrors
from threecad.pipeline.card import CROISSANT, card
from threecad.pipeline.convert import Progress
from threecad.pipeline.report import NAME, is_report, made_for, report
from threecad.pipeline.store import locked


@dataclass(frozen=True, slots=True)
class Companions:
    """Where the page is, and what its audit, which looks at tiles, says of the split: None where the page was there already."""

    page: Place
    clean: bool | None


def refuse_foreign_page(out: Place) -> None:
    """Raise LayoutError where something else stands in the page's place: before hours of work, not after them."""
    if isinstance(out, Remote):
        with mirrors.mirrored(out, names=[NAME]) as mirror:
            if (mirror.folder / NAME).exists() and not is_report(mirror.folder / NAME):
                raise LayoutError(f"{out / NAME} is not a report of threecad's; move it away, or pass --no-report")
        return
    page = out / NAME
    if page.exists() and not is_report(page):
        raise LayoutError(f"{page} is not a report of threecad's; move it away, or pass --no-report")


def accompany(out: Place, *, workers: int | None = None, progress: Callable[[Progress], None] | None = None) -> Companions:
    """Write the page and the card of the data set in `out`, each only where it was not made for the manifest as it stands.
    BusyError where another run has begun to write it.

    From a store the data set is brought to this machine for that, where there is something to write; raises `mirrors.TooMuch`
    where it is too large for that.
    """
    if isinstance(out, Remote):
        with mirrors.mirrored(out, names=[MANIFEST, CROISSANT, NAME]) as mirror:
            digest = hashlib.sha256((mirror.folder / MANIFEST).read_bytes()).hexdigest()
            if _catalogued(mirror.folder / CROISSANT) == made_for(mirror.folder / NAME) == digest:
                return Companions(out / NAME, None)
        with mirrors.mirrored(out) as mirror:
            # Nobody else knows this folder, and a lock in it would be delivered with the rest.
            made = _made(mirror.folder, workers, progress)
            mirror.deliver()
        return Companions(out / NAME, made.clean)
    with locked(out):  # of two runs that write the same file beside its place one would lose it
        return _made(out, workers, progress)


def _made(out: Path, workers: int | None, progress: Callable[[Progress], None] | None) -> Companions:
    digest = hashlib.sha256((out / MANIFEST).read_bytes()).hexdigest()
    if _catalogued(out / CROISSANT) != digest:
        card(out)
    page = out / NAME
    if made_for(page) == digest:
        return Companions(page, None)
    return Companions(page, report(out, page, workers=workers, progress=progress).clean)


def _catalogued(croissant: Path) -> str | None:
    """The digest of the manifest that a catalogue was made for."""
    with suppress(OSError, ValueError, TypeError, AttributeError, LookupError, RecursionError):
        for file in json.loads(croissant.read_bytes())["distribution"]:
            if file["@id"] == MANIFEST:
                digest = file["sha256"]
                return digest if isinstance(digest, str) else None
    return None
