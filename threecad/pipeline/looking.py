"""The shapes of a source that a person should look at: as drawn, what became of each, and what could be made of it."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable

from threecad.domain import Action, Annotation, Case, Code, Finding, Shape, Size, Source
from threecad.formats.cases import Decisions, digest_of
from threecad.imaging import crops, polygons
from threecad.pipeline.config import Pipeline
from threecad.settings import Repairing

MOST_POINTS = 5_000
"""Vertices of an outline that a page can show and a person can follow; of a longer one every n-th is kept."""


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
    mine = (shape for shape in annotation.shapes if outcomes[shape.index] is not Action.KEPT or shape.index in decided)
    cases = []
    for shape in mine:
        own = sorted(flaws[shape.index], key=lambda each: (each.code is Code.DECIDED, -each.action.gravity, each.code))
        if outcomes[shape.index] is Action.DROPPED and shape.index not in decided:
            continue  # covered by a background that somebody drew on purpose
        elsewhere = any(each.code is Code.SIZE_MISMATCH for each in own)  # its points mean another image
        waiting = {each.code for each in own if each.action is Action.QUEUED}
        usable = size is not None and not elsewhere and waiting <= {Code.READINGS_DISAGREE, Code.DECIDED}
        cases.append(
            Case(
                source=source.id,
                shape=shape.index,
                category=source.category,
                annotation=source.annotation or "",
                label=shape.label,
                kind=shape.kind,
                points=_few(shape.points),
                action=outcomes[shape.index],
                codes=tuple(each.code for each in own),
                details=tuple(each.detail for each in own),
                place=next((each.place for each in own if each.place is not None), None),
                outline=_outline(shape, size, settings.repair) if size is not None and usable else None,
                digest=digest_of(shape),
                decision=decided.get(shape.index),
                view=None if size is None else crops.around(() if elsewhere else shape.points, size),
            )
        )
    return cases


def _outline(shape: Shape, size: Size, settings: Repairing) -> str | None:
    """GeoJSON of what is, or could be, made of a shape, coordinates to a hundredth of a pixel."""
    area = polygons.proposal(shape, size, settings)
    if area is None:
        return None
    shown = area.__geo_interface__
    return json.dumps(_rounded(shown), separators=(",", ":"), sort_keys=True)


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return round(value, 2)
    if isinstance(value, tuple | list):
        return [_rounded(each) for each in value]
    return {key: _rounded(each) for key, each in value.items()} if isinstance(value, dict) else value


def _few(points: tuple[tuple[float, float], ...]) -> tuple[tuple[float | None, float | None], ...]:
    step = -(-len(points) // MOST_POINTS) or 1
    return tuple((_finite(x), _finite(y)) for x, y in points[::step])


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
