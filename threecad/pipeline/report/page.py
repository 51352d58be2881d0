"""The page itself: what was gathered, put into the template together with its style and its script."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from threecad import __version__
from threecad.curation import sizes
from threecad.curation.statistics import ALL, Statistics
from threecad.domain import Action, Case, Decision, Finding
from threecad.pipeline import config, tables
from threecad.pipeline.report import findings as found
from threecad.pipeline.report.gallery import Gallery
from threecad.pipeline.report.shelf import embeddable
from threecad.pipeline.summary import count, plain

if TYPE_CHECKING:
    from threecad.formats.dataset import Manifest

FIXED = "\u00a0"
"""A space at which no line ends."""

_SHORT = 24  # characters that need no room kept free for them
_INVISIBLE = " \u00a0\u115f\u1160\u2800\u3164\uffa0"  # nothing is seen of them, and yet they are taken for letters or symbols
_FIGURES = ("figure-3", "heat", "sizes", "survival")
_IN_TABLES = ("overview", "comparison", "area_ratio", "image_ratio", "aspect_ratio")
_IN_AUDIT = ("copies",)
_ELSEWHERE = ("findings",)


@dataclass(frozen=True, slots=True)
class Gathered:
    """Everything that the page tells. `cases` and `queue` are None where the data set has no relabel queue, `images` and `beside`
    are where the page finds the data set and its own folder, as beginnings of URLs; `folder` is that folder's name."""

    statistics: Statistics
    manifest: Manifest | None
    digest: str
    gallery: Gallery
    cases: Sequence[Case] | None
    queue: Mapping[str, Any] | None
    findings: Sequence[Finding]
    images: str
    beside: str
    folder: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """One of the first sentences of the page: `kind` is good, warn or bad, `link` the section that tells more."""

    kind: str
    title: str
    text: str
    link: str = ""
    where: str = ""


@dataclass(frozen=True, slots=True)
class Number:
    """A count that is shown large."""

    name: str
    value: str


def render(told: Gathered) -> bytes:
    """The page as HTML. Its bytes depend on the data set, and on where the page and the data set lie from one another, alone."""
    import jinja2
    from markupsafe import Markup

    style, script = _part("report.css"), _part("report.js")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("threecad.pipeline"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
    )
    statistics = told.statistics
    grids = tables.grids(statistics)
    apart = (*_IN_TABLES, *_IN_AUDIT, *_ELSEWHERE)
    groups = found.by_code(told.findings)
    queued = told.queue is not None and len(told.queue["cases"]) > 0
    data = {
        "digest": told.digest,
        "images": told.images,
        "beside": told.beside,
        "sizes": sizes.NAMES,
        "tiles": told.gallery.told(),
        "queue": told.queue if queued else None,
    }
    html = environment.get_template("report.html.j2").render(
        name=statistics.name,
        made_for=told.digest if told.manifest else "",
        clip=_clipped,
        subtitle=_subtitle(told),
        contents=_contents(told, len(groups)),
        verdicts=_verdicts(told),
        numbers=_numbers(told),
        all=ALL,
        tables=[grid for grid in grids if grid.key in _IN_TABLES],
        beyond=[grid for grid in grids if grid.key not in apart],
        audit=[grid for grid in grids if grid.key in _IN_AUDIT],
        figures=_figures(statistics),
        queue=queued,
        groups=groups,
        rest="`findings.jsonl`" if told.manifest else "`threecad stats --json`",
        sentence=tables.verdict(statistics),
        copies=found.copies(statistics, told.gallery.number),
        more_copies=max(0, len(statistics.copies) - found.MOST_COPIES),
        overlaps=statistics.overlaps[: found.MOST_OVERLAPS],
        more_overlaps=max(0, len(statistics.overlaps) - found.MOST_OVERLAPS),
        versions=_versions(told),
        pipeline=_pipeline(told.manifest),
        digests=sorted(told.manifest.digests.items()) if told.manifest else [],
        folder=told.folder,
        policy=_policy(style, script),
        # Files of ours, and data that is escaped for a script element.
        style=Markup(style),  # nosec B704
        script=Markup(script),  # nosec B704
        data=Markup(embeddable(data)),  # nosec B704
        version=__version__,
    )
    return html.encode("utf-8", "backslashreplace")


def _shown(value: object) -> object:
    """Text without what a name or a label could do to the page's lines; markup is our own."""
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    return FIXED.join(map(plain, value.split(FIXED)))


def _clipped(text: str, most: int = 80) -> str:
    """Text for a narrow place, such as a table's cell: what is long has a width it needs, what is longer than `most` is cut
    short, and whoever points at it is told the rest.

    >>> _clipped("dent"), _clipped(" "), str(_clipped("a" * 90, 30))[-37:]
    ('dent', '(no label)', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaa…</span>')
    """
    from markupsafe import Markup

    whole = str(_shown(text))
    if text and not text.strip(_INVISIBLE):
        return "(no label)"
    if len(whole) <= _SHORT:
        return whole
    if len(whole) <= most:
        return Markup('<span class="long">{}</span>').format(whole)
    return Markup('<span class="long" title="{}">{}…</span>').format(whole, whole[: most - 1])


@cache
def _part(name: str) -> str:
    return (resources.files("threecad.pipeline") / "templates" / name).read_text(encoding="utf-8")


def _figures(statistics: Statistics) -> list[tuple[str, str]]:
    """Title and address of the figures that say more than their tables: those of `threecad stats --plots`, inside the page."""
    from threecad.pipeline import plots  # matplotlib takes a second to come

    drawn = plots.render(statistics, formats=("svg",), only=_FIGURES)
    return [(plots.TITLES[Path(name).stem], f"data:image/svg+xml;base64,{b64encode(svg).decode()}") for name, svg in drawn]


def _policy(style: str, script: str) -> str:
    """Nothing is loaded from anywhere but this page, its folder and the data set; nothing runs but our own script."""
    kinds = {
        "default-src": "'none'",
        "img-src": "data: 'self' file:",
        "style-src": _hash(style),
        "script-src": f"{_hash(script)} 'self' file:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{kind} {allowed}" for kind, allowed in kinds.items())


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _subtitle(told: Gathered) -> str:
    made = "made by threecad" if told.manifest else f"layout {told.statistics.layout}"
    rows = [row for row in told.statistics.overview if row.category != ALL]
    return f"{count(told.statistics.images, 'image')} in {count(len(rows), 'category', 'categories')}, {made}."


def _contents(told: Gathered, codes: int) -> list[tuple[str, str, int | None]]:
    entries: list[tuple[str, str, int | None]] = [
        ("summary", "Summary", None),
        ("tables", "Tables", None),
        ("beyond", "Beyond the tables", None),
        ("figures", "Figures", None),
        ("gallery", "Gallery", len(told.gallery)),
    ]
    if told.queue is not None and told.queue["cases"]:
        entries.append(("queue", "Relabel queue", len(told.queue["cases"])))
    return [
        *entries,
        ("findings", "Findings", codes),
        ("audit", "Split audit", None),
        ("configuration", "Configuration", None),
    ]


def _verdicts(told: Gathered) -> list[Verdict]:
    statistics = told.statistics
    sentence = tables.verdict(statistics).partition(": ")[2]
    split = Verdict(
        "good" if statistics.clean else "bad",
        "The split is clean" if statistics.clean else "The split is not clean",
        f"{sentence[:1].upper()}{sentence[1:]}",
        "audit",
        "The audit",
    )
    verdicts = [split, *([_waiting(told)] if told.manifest else [])]
    if statistics.findings:
        text = f"{count(len({each.source for each in statistics.findings}), 'file')} of the data set with something to look at."
        verdicts.append(Verdict("warn", count(len(statistics.findings), "fault") + " of files", text, "findings", "By code"))
    else:
        verdicts.append(Verdict("good", "The files are sound", "Every image and mask could be read, and they fit one another."))
    return verdicts


def _waiting(told: Gathered) -> Verdict:
    """How many wait for a person, in shapes and in files."""
    queued = [finding for finding in told.findings if finding.action is Action.QUEUED]
    files = len({(each.code, each.source) for each in queued if each.shape is None})
    open_cases = [case for case in told.cases or () if case.action is Action.QUEUED]
    known = {(case.source, case.shape) for case in open_cases}
    lone = {(each.source, each.shape) for each in queued if each.shape is not None} - known
    shapes = sum(case.decision is None for case in open_cases) + len(lone)
    again = sum(case.decision is Decision.RELABEL for case in open_cases)
    parts = [count(number, word) for number, word in ((shapes, "shape"), (files, "file")) if number]
    redrawn = f" {count(again, 'shape')} {'is' if again == 1 else 'are'} to be drawn again." if again else ""
    if parts:
        verb = "waits" if shapes + files == 1 else "wait"
        link = ("queue", "The queue") if told.cases else ("findings", "By code")
        return Verdict("warn", f"{' and '.join(parts)} {verb} for a person", f"They are not in the data set.{redrawn}", *link)
    repaired = sum(case.action is Action.REPAIRED for case in told.cases or ())
    text = f"{count(repaired, 'shape')} {'was' if repaired == 1 else 'were'} repaired." if repaired else "No shape is in doubt."
    return Verdict(
        "good", "Nothing waits for a person", f"{text}{redrawn}", *(("queue", "The queue") if repaired or again else ())
    )


def _numbers(told: Gathered) -> list[Number]:
    statistics = told.statistics
    total = next((row for row in statistics.overview if row.category == ALL), None)
    sources = next((row for row in statistics.sources if row.category == ALL), None)
    counts = [("images", statistics.images)]
    if total is not None:
        counts += [
            ("train", total.train),
            ("validation", total.validation),
            ("test, good", total.good),
            ("test, defect", total.defect),
        ]
        counts += [("types of defects", total.types)]
    spread = statistics.area_ratio.get(ALL)
    if spread is not None and spread.quantiles is not None:
        counts.append(("regions", spread.quantiles.count))
    if sources is not None:
        counts += [("photographs", sources.photographs), ("defects in photographs", sources.defects)]
    if told.cases:
        counts.append(("shapes in the queue", len(told.cases)))
    return [Number(name, f"{count:,}") for name, count in counts if count or name != "validation"]


def _versions(told: Gathered) -> list[tuple[str, str]]:
    rows = [("layout", told.statistics.layout), ("report written by", f"threecad {__version__}")]
    if told.manifest is not None:
        rows += [
            ("data set written by", f"threecad {told.manifest.threecad}, format {told.manifest.format}"),
            ("made from", told.manifest.raw),
            ("files read, files written", f"{told.manifest.inputs:,}, {told.manifest.outputs:,}"),
        ]
    what = "SHA-256 of manifest.json" if told.manifest else "SHA-256 of all images' digests"
    return [*rows, (what, told.digest)]


def _pipeline(manifest: Manifest | None) -> list[str]:
    """The settings as TOML; as JSON where they are those of a version that had others."""
    if manifest is None:
        return []
    try:
        return config.dump(config.Pipeline.model_validate(manifest.pipeline)).splitlines()
    except ValidationError:
        return json.dumps(manifest.pipeline, indent=2, sort_keys=True).splitlines()
