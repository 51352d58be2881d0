"""`threecad report`: the page by which people decide whether a data set is fit, and what goes back to the annotators.

page.py      what was gathered, put into templates/report.html.j2 with its style and script
gallery.py   what is known of each image        cards.py      its thumbnail and outlines
queue.py     what is known of each case         findings.py   findings by code, copies
shelf.py, beside.py   what stands beside the page
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from threecad.errors import ConfigError, ThreecadError

if TYPE_CHECKING:
    from threecad.formats.layouts import Request
    from threecad.pipeline.convert import Progress
    from threecad.pipeline.measures import Place
    from threecad.pipeline.profile import Profile, Profiled
    from threecad.pipeline.report.beside import Beside
    from threecad.pipeline.report.cards import Card
    from threecad.pipeline.report.gallery import Gallery

NAME = "report.html"
EMBED_IMAGES = 300
"""Images up to which their thumbnails stand in the page, some 3 MB; those of larger data sets lie in a folder beside it."""
GENERATOR = b'<meta name="generator" content="threecad report">'
"""By it a page of ours is told from somebody else's file."""

_HEAD = 8 << 10  # bytes in which a page of ours says so, and what it was made for
_MADE_FOR = re.compile(rb'<meta name="threecad-manifest" content="([0-9a-f]{64})">')


@dataclass(frozen=True, slots=True)
class Report:
    """A page that was written: `beside` is the folder that goes with it, None where the page is all there is.

    `images` are in the gallery, `unwritten` of them have no file, such as tiles that no split uses: `stats` does not count those.
    `cases` are in the relabel queue, `waiting` of them for a decision; `findings` counts the findings.
    """

    out: Path
    beside: Path | None
    images: int
    unwritten: int
    cases: int
    waiting: int
    findings: int
    clean: bool


def report(
    root: str | Path,
    out: str | Path | None = None,
    request: Request | None = None,
    *,
    workers: int | None = None,
    cache: Place = "default",
    progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Write a page about the data set at `root`, which threecad made or somebody else did in a layout that it reads.

    `out` is report.html in a data set of threecad's, and `<name>-report.html` in the current folder for all others: nothing is
    written into them unasked. A page about more than EMBED_IMAGES images needs the folder `<out's stem>-files` beside it. The
    page refers to the images where they lie, by relative paths. The same data set gives the same bytes, whatever the number
    of `workers`. Raises LayoutError where there is no such data set, ConfigError where `out` is somebody else's file.
    """
    try:
        return _report(Path(root), out, request, workers, cache, progress)
    except OSError as error:
        where = error.filename or out or root
        raise ThreecadError(
            f"{where}: cannot be written ({error.strerror}); what is finished is kept, run the same command again"
        ) from error


def is_report(page: Path) -> bool:
    """Whether a page is a report of threecad's, of this version or an earlier one."""
    return GENERATOR in _head(page)


def made_for(page: Path) -> str | None:
    """The SHA-256 of the manifest.json of the data set that a report is about, told by its first lines.

    None where `page` is no report of threecad's, or one that does not say so: an earlier version's, or one about a data set that
    threecad did not make. Nor is anything known of a page that cannot be read.
    """
    head = _head(page)
    told = _MADE_FOR.search(head) if GENERATOR in head else None
    return told[1].decode() if told else None


def _head(page: Path) -> bytes:
    try:
        if not page.is_file():  # a pipe would never end
            return b""
        with page.open("rb") as file:
            return file.read(_HEAD)
    except OSError:
        return b""


def _report(
    data: Path,
    out: str | Path | None,
    request: Request | None,
    workers: int | None,
    cache: Place,
    progress: Callable[[Progress], None] | None,
) -> Report:
    from threecad.domain import Action
    from threecad.formats.cases import CASES, read_cases
    from threecad.formats.dataset import MANIFEST, read_findings, read_manifest
    from threecad.pipeline.files import write_atomically
    from threecad.pipeline.profile import profile, summed
    from threecad.pipeline.report import page, queue
    from threecad.pipeline.report.beside import Beside
    from threecad.pipeline.report.cards import look_at
    from threecad.pipeline.report.gallery import UNTOLD, UNUSED, Gallery

    whole = profile(data, request, workers=workers, cache=cache, progress=progress, look=look_at)
    ours = whole.listing.layout == "threecad"
    # Before anything else of the data set: a page whose data set is converted anew meanwhile is stale, and can be told so.
    made = hashlib.sha256((data / MANIFEST).read_bytes()).hexdigest() if ours else None
    manifest = read_manifest(data) if ours else None
    place = _place(data, out, ours)
    beside = Beside(place.with_name(f"{place.stem}-files"))
    pictures = sum(entry.image is not None for entry in whole.listing.entries)
    gallery = Gallery(beside if pictures > EMBED_IMAGES else None, UNUSED if ours else UNTOLD)
    content = hashlib.sha256()
    found = summed(whole, _shown(whole, gallery, beside, content, workers))
    cases = list(read_cases(data / CASES)) if ours and (data / CASES).is_file() else None
    findings = [*(read_findings(data / "findings.jsonl") if ours else ()), *found.findings]
    told = page.Gathered(
        statistics=found,
        manifest=manifest,
        digest=made or content.hexdigest(),
        gallery=gallery,
        cases=cases,
        queue=None if cases is None else queue.told(os.path.realpath(data), cases, beside),
        findings=findings,
        images=_address(data, place.parent),
        beside=f"{quote(beside.folder.name)}/",
        folder=beside.folder.name,
    )
    write_atomically(place, page.render(told))
    beside.sweep()
    return Report(
        out=place,
        beside=beside.folder if beside.used else None,
        images=len(gallery),
        unwritten=len(gallery) - pictures,
        cases=len(cases or ()),
        waiting=sum(case.action is Action.QUEUED and case.decision is None for case in cases or ()),
        findings=len(findings),
        clean=found.clean,
    )


def _shown(whole: Profile, gallery: Gallery, beside: Beside, content: hashlib._Hash, workers: int | None) -> Iterator[Profiled]:
    """What is profiled, handed on after it has gone into the gallery; `content` becomes a digest of all images and their ids."""
    from threecad.pipeline.convert import cores
    from threecad.pipeline.report.cards import card_of, in_order
    from threecad.pipeline.report.unwritten import outlines_of

    drawn = outlines_of(whole.root, whole.listing.entries)
    real = os.path.realpath(whole.root)

    def work(job: tuple[Profiled, object]) -> Card:
        return card_of(real, *job, beside.has if gallery.apart else _nowhere, drawn)

    jobs = ((profiled, whole.seen) for profiled in whole)
    with closing(in_order(work, jobs, workers or cores())) as cards:
        for card in cards:
            gallery.add(card)
            image = card.measure.digest if card.measure else ""
            content.update(f"{card.entry.id}\0{image}\n".encode("utf-8", "surrogatepass"))
            yield card.entry, card.measure, list(card.findings)


def _nowhere(name: str) -> bool:
    return False


def _place(data: Path, out: str | Path | None, ours: bool) -> Path:
    """Where the page goes. ConfigError where something else stands there."""
    name = Path(os.path.realpath(data)).name
    place = Path(out) if out is not None else data / NAME if ours else Path(f"{name}-{NAME}")
    if place.is_dir():
        raise ConfigError(f"{place}: is a folder; expected the name of a page, such as {place / NAME}")
    if place.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"{place}: expected a name that ends in .html")
    if place.exists() and not is_report(place):
        raise ConfigError(f"{place}: exists and is not a report of threecad's; delete it, or choose another --out")
    return place


def _address(data: Path, home: Path) -> str:
    """How a page in `home` finds the data set: a relative URL that ends in a slash; an absolute one from another drive."""
    real, base = os.path.realpath(data), os.path.realpath(home)
    try:
        path = os.path.relpath(real, base).replace(os.sep, "/")
    except ValueError:
        return f"{Path(real).as_uri()}/"
    return f"{quote(os.fsencode(path))}/"
