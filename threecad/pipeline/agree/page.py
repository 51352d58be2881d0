"""The page of `threecad agree`: the numbers, and the disagreements drawn over the photograph; one file, no network."""

from __future__ import annotations

import base64
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from threecad import __version__
from threecad.curation import sizes
from threecad.curation.agreement import Comparison, Verdict
from threecad.domain import Region, Shape, Size, Source
from threecad.formats.jpeg import encode_jpeg
from threecad.imaging import crops
from threecad.pipeline import threads
from threecad.pipeline.agree.reading import Bench, Job, Sheet
from threecad.pipeline.agree.result import Agreement, LeftOut, Line, Scores
from threecad.pipeline.agree.words import distance, share, short
from threecad.pipeline.convert import budget
from threecad.pipeline.sources import Reader, Task

LOOSE = 0.5
"""IoU under which two outlines of one defect are shown as a disagreement, although they match and agree on the type."""
MOST_DRAWN = 24
"""Disagreements of one kind and one annotator that are drawn: as many as somebody looks at; the CSV lists all."""
LONGEST = 480
"""Pixels of the longer side of an embedded picture: some 20 kB."""
MOST_LISTED = 200
"""Images that were not compared, listed for each annotator."""

_MOST_CORNERS = 1_500  # of one outline on the page
_MOST_AROUND = 60  # outlines around a disagreement
_BESIDE = 8.0  # px between a shape that cannot be used and the defect that it was probably meant for
_MOST_TEXT = 120  # letters of a name or a label
_MOST_TYPES = 12  # types that a table of confusions has room for
_MOST_CONFUSIONS = 50


def page(done: Agreement, bench: Bench, workers: int) -> str:
    """The whole page as HTML. Its bytes depend on the folders, the pipeline and the bars alone."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("threecad.pipeline"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(text=partial(short, most=_MOST_TEXT), share=share, number=_number, pixels=distance)
    chosen = _chosen(done.lines)
    counts = Counter((each.annotator, _kind(each.comparison)) for each in done.lines)
    cards = _cards(bench, chosen, workers)
    types = sorted({name for card in cards for name in card.types})
    return environment.get_template("agree.html.j2").render(
        done=done,
        cards=cards,
        types=types,
        kinds=[kind for kind in KINDS if any(card.kind == kind for card in cards)],
        labels=LABELS,
        sizes=[size for size in _sizes(done.annotators) if any(card.size == size for card in cards)],
        matrices={each.name: _matrix(each) for each in done.annotators},
        disagreements=sum(count for (_, kind), count in counts.items() if kind),
        left_out={each.name: [one for one in done.left_out if one.annotator == each.name] for each in done.annotators},
        reasons={each.name: _reasons(done.left_out, each.name) for each in done.annotators},
        most_listed=MOST_LISTED,
        most_drawn=MOST_DRAWN,
        loose=LOOSE,
        version=__version__,
    )


# What is drawn

KINDS = ("missed", "extra", "other", "unusable", "loose")
LABELS = {
    "missed": "Missed",
    "extra": "Extra",
    "other": "Other type",
    "unusable": "Unusable",
    "loose": "Loose outline",
}
_OF = {
    Verdict.MISSED: "missed",
    Verdict.EXTRA: "extra",
    Verdict.OTHER_TYPE: "other",
    Verdict.UNUSABLE: "unusable",
}


@dataclass(frozen=True, slots=True)
class Card:
    """One disagreement, drawn. `view` is left, top, width and height in the image, `picture` a data URI or None; the paths are
    those of SVG in pixels of the image, `dots` the corners of a shape that cannot be used."""

    line: Line
    kind: str
    types: tuple[str, ...]
    size: str | None
    view: tuple[int, int, int, int]
    picture: str | None
    reference: str
    drawn: str
    around_reference: tuple[str, ...]
    around_drawn: tuple[str, ...]
    dots: tuple[tuple[float, float], ...]
    told: str


def _kind(one: Comparison) -> str:
    """Which kind of disagreement it is, "" for none."""
    if one.verdict is Verdict.AGREED:
        return "loose" if one.iou is not None and one.iou < LOOSE else ""
    return _OF.get(one.verdict, "")


def _chosen(lines: Iterable[Line]) -> list[Line]:
    """For each annotator the worst of each kind: the largest areas, the least overlaps; in the order of KINDS."""
    groups: defaultdict[str, defaultdict[str, list[Line]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        kind = _kind(line.comparison)
        if kind:
            groups[line.annotator][kind].append(line)
    return [
        line for kinds in groups.values() for kind in KINDS for line in sorted(kinds.get(kind, ()), key=_mildness)[:MOST_DRAWN]
    ]


def _mildness(line: Line) -> tuple[float, str, tuple[int, ...], tuple[int, ...]]:
    one = line.comparison
    area = one.reference_area or one.drawn_area or 0.0
    mild = one.iou if one.verdict is Verdict.AGREED and one.iou is not None else -area
    return round(mild, 6), line.image, one.reference_shapes, one.drawn_shapes


def _cards(bench: Bench, lines: Sequence[Line], workers: int) -> list[Card]:
    """A card a line, in their order. Each image is read and decoded once more, for everything that is drawn on it."""
    jobs = {job.reference.id: job for job in bench.jobs}
    wanted: defaultdict[str, list[int]] = defaultdict(list)
    for number, line in enumerate(lines):
        wanted[line.image].append(number)
    work = threads.work(
        [(jobs[image], [(number, lines[number]) for number in numbers]) for image, numbers in sorted(wanted.items())],
        partial(_open, bench),
        workers=workers,
        budget=budget(),
        weigh=lambda one: bench.reference.weigh(one[0].reference),
    )
    with closing(work):
        cards = dict(card for made in work for card in made)
    return [cards[number] for number in sorted(cards)]


def _open(bench: Bench, wanted: tuple[Job, list[tuple[int, Line]]]) -> threads.Opened[list[tuple[int, Card]]]:
    made = list(_drawn(bench, *wanted))
    return threads.Opened([], lambda: made)


def _drawn(bench: Bench, job: Job, lines: Iterable[tuple[int, Line]]) -> Iterator[tuple[int, Card]]:
    seen = bench.read(job)
    numbers = {name: number for number, name in enumerate(bench.names)}
    pixels = _photograph(bench, job, seen.size)
    for number, line in lines:
        theirs, ours = seen.reference, seen.others.get(numbers[line.annotator])
        if isinstance(theirs, Sheet) and isinstance(ours, Sheet):  # else it was overwritten since it was compared
            yield number, _card(line, theirs, ours, seen.size, pixels)


def _photograph(bench: Bench, job: Job, size: Size | None) -> NDArray[Any] | None:
    """The pixels of the image, from the first side that has it in the size the outlines were read in."""
    sides = [(bench.reference, job.reference)]
    sides += [(bench.annotators[number], source) for number, source in sorted(job.others.items())]
    for task, source in sides:
        pixels = _decoded(task, source)
        if pixels is not None and Size(*pixels.shape[:2]) == size:
            return pixels
    return None


def _decoded(task: Task, source: Source) -> NDArray[Any] | None:
    reader = Reader(task.root, task.settings.read)
    texts = {path: reader.bytes_of(path, source.id, []) for path in task.files(source) if path != source.image}
    picture = task.picture(source, reader.image_of(source, []), texts, [])
    return None if picture is None else picture.pixels


def _card(line: Line, theirs: Sheet, ours: Sheet, size: Size | None, pixels: NDArray[Any] | None) -> Card:
    one = line.comparison
    reference = _found(theirs.regions, one.reference_shapes)
    drawn = _found(ours.regions, one.drawn_shapes) if one.verdict is not Verdict.UNUSABLE else None
    bad = next((each for each in ours.unusable if one.verdict is Verdict.UNUSABLE and (each.number,) == one.drawn_shapes), None)
    points = _corners(bad.shape) if bad is not None and bad.shape is not None else []
    shown: list[BaseGeometry] = [region.geometry for region in (reference, drawn) if region is not None]
    if points:  # what the shape was probably meant for
        shown += _beside(theirs.regions, points)
    extent = [point for area in shown for point in (area.bounds[:2], area.bounds[2:])] + points
    view = crops.around(extent, size) if size is not None else (0, 0, crops.LEAST, crops.LEAST)
    fine = max(view[2:]) / LONGEST / 2  # half a pixel of the picture
    return Card(
        line=line,
        kind=_kind(one),
        types=tuple(sorted({name for name in (one.reference, one.drawn) if name is not None})),
        size=one.size,
        view=view,
        picture=None if pixels is None else _embedded(pixels, view),
        reference="" if reference is None else path(reference.geometry, fine),
        drawn=_open_path(points) if drawn is None else path(drawn.geometry, fine),
        around_reference=_around(theirs.regions, reference, view, fine),
        around_drawn=_around(ours.regions, drawn, view, fine),
        dots=tuple(points),
        told=_told(one),
    )


def _found(regions: Iterable[Region], shapes: tuple[int, ...]) -> Region | None:
    return next((region for region in regions if shapes and region.shapes == shapes), None)


def _around(regions: Iterable[Region], own: Region | None, view: tuple[int, int, int, int], fine: float) -> tuple[str, ...]:
    """What else this side drew in the part that is shown, areas to ignore left out."""
    left, top, width, height = view
    frame = shapely.box(left, top, left + width, top + height)
    others = [region for region in regions if region is not own and not region.ignore]
    hits = shapely.intersects(np.array([region.geometry for region in others], dtype=object), frame) if others else ()
    near = [region for region, hit in zip(others, hits, strict=True) if hit]
    return tuple(path(region.geometry, fine) for region in near[:_MOST_AROUND])


def _beside(regions: Iterable[Region], points: Sequence[tuple[float, float]]) -> list[BaseGeometry]:
    line = shapely.linestrings([*points, points[0]])
    return [region.geometry for region in regions if not region.ignore and shapely.dwithin(region.geometry, line, _BESIDE)]


def _corners(shape: Shape) -> list[tuple[float, float]]:
    """The points of a shape that can be shown; of very many every n-th."""
    usable = [(float(x), float(y)) for x, y in shape.points if math.isfinite(x) and math.isfinite(y)]
    usable = [(round(x, 1), round(y, 1)) for x, y in usable if max(abs(x), abs(y)) < 1e7]
    return usable[:: -(-len(usable) // 200) or 1]


def path(area: BaseGeometry, fine: float) -> str:
    """An area as an SVG path, a subpath a ring; corners that change it by less than `fine` px are left out, more where there
    are very many.

    >>> path(shapely.box(1, 2, 3, 4.25), 0.1)
    'M3 2L3 4.2L1 4.2L1 2z'
    """
    shown = area
    while True:
        simple = shapely.simplify(area, fine, preserve_topology=False)
        if simple.is_empty:
            break  # a sliver stays as it was drawn
        shown = simple
        if shapely.get_num_coordinates(shown) <= _MOST_CORNERS:
            break
        fine = max(2 * fine, 0.1)
    text, left = "", _MOST_CORNERS
    for ring in shapely.get_parts(shown.boundary):
        corners = shapely.get_coordinates(ring)[:-1][:left].tolist()
        text += "M" + "L".join(_point(x, y) for x, y in corners) + "z" if corners else ""
        left -= len(corners)
    return text


def _open_path(points: Sequence[tuple[float, float]]) -> str:
    """The line through points in the order in which they were drawn, back to the first."""
    return "M" + "L".join(_point(x, y) for x, y in points) + "z" if len(points) > 1 else ""


def _point(x: float, y: float) -> str:
    return f"{round(x, 1):.10g} {round(y, 1):.10g}"


def _embedded(pixels: NDArray[Any], view: tuple[int, int, int, int]) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(encode_jpeg(crops.part(pixels, view, LONGEST))).decode()}"


# What is said


def _told(one: Comparison) -> str:
    """The numbers of one disagreement, in a line."""
    if one.verdict in (Verdict.AGREED, Verdict.OTHER_TYPE):
        parts = [f"IoU {share(one.iou)}"]
        if one.distance is not None:
            parts.append(f"outlines {distance(one.distance)} px apart, {distance(one.hausdorff)} at most")
        return "; ".join([*parts, f"area ratio {share(one.area_ratio)}"])
    area = one.reference_area if one.drawn_area is None else one.drawn_area
    return one.detail if area is None else f"{_number(round(area))} px²" + (f"; {one.detail}" if one.detail else "")


def _sizes(annotators: Iterable[Scores]) -> list[str]:
    names = dict.fromkeys(row.name for each in annotators for row in each.sizes if row.name is not None)
    return [name for name in sizes.NAMES if name in names]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Who was called what: a row a type of the reference, a column a type drawn, then what was missed; last what was extra.
    Where there are too many types for that, `worst` lists the commonest confusions instead."""

    types: tuple[str, ...]
    rows: tuple[tuple[str, tuple[int, ...], int], ...]
    extra: tuple[int, ...]
    worst: tuple[tuple[str, str, int], ...]


def _matrix(each: Scores) -> Matrix | None:
    tallies = {row.name: row.tally for row in each.types if row.name is not None}
    types = tuple(tallies)
    confused = sorted((-count, one, other) for (one, other), count in each.confusion.items() if one != other)
    worst = tuple((one, other, -count) for count, one, other in confused[:_MOST_CONFUSIONS])
    if len(types) < 2:
        return None
    if len(types) > _MOST_TYPES:
        return Matrix((), (), (), worst)
    rows = tuple(
        (one, tuple(each.confusion.get((one, other), 0) for other in types), tallies[one].missed)
        for one in types
        if tallies[one].reference
    )
    return Matrix(types, rows, tuple(tallies[name].extra for name in types), worst)


def _reasons(left_out: Iterable[LeftOut], annotator: str) -> Mapping[tuple[str, str], int]:
    return Counter((each.side, each.reason) for each in left_out if each.annotator == annotator)


def _number(value: int) -> str:
    return f"{value:,}"
