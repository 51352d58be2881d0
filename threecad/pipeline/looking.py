"""The shapes of a source that a person should look at: as drawn, what became of each, and what could be made of it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

from threecad.domain import Action, Annotation, Case, Code, Finding, Shape, Size, Source
from threecad.formats.cases import Decisions, digest_of
from threecad.imaging import crops, polygons
from threecad.pipeline import journey
from threecad.pipeline.config import Pipeline

_ACCEPTABLE = {Code.READINGS_DISAGREE, Code.DECIDED}
"""What may queue a shape of which something can be made all the same."""
_DIGITS = 2
"""What is, or could be, made of a shape is told to a hundredth of a pixel."""
MOST_POINTS = 5_000
"""Vertices of an outline that a page can show and a person can follow; of a longer one every n-th is told."""


def cases_of(
    source: Source,
    annotation: Annotation,
    size: Size | None,
    findings: Iterable[Finding],
    settings: Pipeline,
    decisions: Decisions,
) -> list[Case]:
    """A case for each shape that was repaired or queued, or about which somebody decided, in the order of the shapes.

    `size` is the image's own, None where there is no usable image; then nothing can be shown, nor made of a queued shape.
    """
    flaws: defaultdict[int, list[Finding]] = defaultdict(list)
    for finding in findings:
        if finding.source == annotation.source and finding.shape is not None:
            flaws[finding.shape].append(finding)
    outcomes = polygons.outcomes(annotation, (each for own in flaws.values() for each in own))
    decided = decisions.about(source.id, annotation.shapes)
    mine = [
        shape
        for shape in annotation.shapes
        # What is dropped without a decision is covered by a background that somebody drew on purpose.
        if shape.index in decided or outcomes[shape.index] in (Action.REPAIRED, Action.QUEUED)
    ]
    codes = {shape.index: {each.code for each in flaws[shape.index]} for shape in mine}
    elsewhere = {index for index, own in codes.items() if Code.SIZE_MISMATCH in own}  # its points mean another image
    waiting = {index: {each.code for each in flaws[index] if each.action is Action.QUEUED} for index in codes}
    usable = [shape for shape in mine if shape.index not in elsewhere and waiting[shape.index] <= _ACCEPTABLE]
    areas = polygons.proposals(usable, size, settings.repair) if size is not None else [None] * len(usable)
    shown_areas = {shape.index: area for shape, area in zip(usable, areas, strict=True) if area is not None}
    outlines = dict(zip(shown_areas, journey.outlines(shown_areas.values(), _DIGITS), strict=True))
    cases = []
    for shape in mine:
        own = sorted(flaws[shape.index], key=lambda each: (each.code is Code.DECIDED, -each.action.gravity, each.code))
        shown = () if shape.index in elsewhere else shape.points
        cases.append(
            Case(
                source=source.id,
                shape=shape.index,
                category=source.category,
                annotation=source.annotation or "",
                label=shape.label,
                kind=shape.kind,
                points=tuple((_finite(x), _finite(y)) for x, y in shape.points[:: _step(shape)]),
                action=outcomes[shape.index],
                codes=tuple(each.code for each in own),
                details=tuple(each.detail for each in own),
                place=next((each.place for each in own if each.place is not None), None),
                outline=outlines.get(shape.index),
                digest=digest_of(shape),
                decision=decided.get(shape.index),
                view=None if size is None else crops.around(shown, size),
                step=_step(shape),
                vertices=len(shape.points),
            )
        )
    return cases


def _step(shape: Shape) -> int:
    return max(1, -(-len(shape.points) // MOST_POINTS))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
