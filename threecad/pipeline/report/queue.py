"""What the page's relabel queue knows of each case: what filters and decisions need, and apart from that what is drawn."""

from __future__ import annotations

import json
import math
from base64 import b64encode
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from threecad.domain import MEANING, Action, Case
from threecad.pipeline.report.beside import Beside
from threecad.pipeline.report.cards import inside
from threecad.pipeline.report.shelf import Shelf, embeddable

EMBED_PICTURES = 4_000_000
"""Bytes of photographs up to which they stand in the page; beyond, the page shows the data set's own files."""
EMBED_DETAILS = 2_000_000
"""Characters of what is drawn up to which it stands in the page."""
_BLOCK = 40  # cases a script
_LARGEST_PICTURE = 2_000_000  # bytes; ours have 640 pixels a side and a tenth of that
_OUTCOMES = (Action.QUEUED, Action.REPAIRED, Action.KEPT, Action.DROPPED)


def told(root: str, cases: Sequence[Case], beside: Beside) -> dict[str, Any]:
    """The queue for the page; `root` is the data set's real path. Cases are sorted by source and shape."""
    ordered = sorted(cases, key=lambda case: (case.source, case.shape))
    outcomes = [action for action in _OUTCOMES if any(case.action is action for case in cases)]
    codes = sorted({code for case in cases for code in case.codes})
    categories = sorted({case.category for case in cases})
    pictures = _pictures(root, ordered)
    details = [_detail(case, picture) for case, picture in zip(ordered, pictures, strict=True)]
    drawn = sum(len(embeddable(detail | {"picture": ""})) for detail in details)
    shelf = Shelf("cases", _BLOCK, None if drawn <= EMBED_DETAILS else beside)
    for detail in details:
        shelf.add(detail)
    rows = [
        {
            "source": case.source,
            "shape": case.shape,
            "digest": case.digest,
            "label": case.label,
            "category": categories.index(case.category),
            "action": outcomes.index(case.action),
            "codes": [codes.index(code) for code in case.codes],
            "decision": case.decision and case.decision.value,
            "can": bool(detail["outline"]),
        }
        for case, detail in zip(ordered, details, strict=True)
    ]
    return {
        "cases": rows,
        "names": {"action": [str(each) for each in outcomes], "category": categories, "code": [str(code) for code in codes]},
        "meanings": [MEANING[code] for code in codes],
        "details": shelf.told(),
    }


def _detail(case: Case, picture: str) -> dict[str, Any]:
    outline = path_of(case.outline) if case.outline else ""
    points = [[_rounded(x), _rounded(y)] for x, y in case.points]
    step = max(1, case.step)
    thinned = {"step": step, "vertices": max(case.vertices, len(points))} if step > 1 else {}
    return {
        "annotation": case.annotation,
        "kind": case.kind,
        "points": points,
        "place": None if case.place is None else [_rounded(each) for each in case.place],
        "details": list(case.details),
        "outline": outline,
        "view": list(case.view) if case.view else _around(points),
        "picture": picture,
        **thinned,
    }


def _pictures(root: str, cases: Sequence[Case]) -> list[str]:
    """The photograph of each case: all of them in the page, or all as paths in the data set; "" where there is none."""
    found = [inside(root, case.picture) if case.picture and case.view else None for case in cases]
    nbytes = [path.stat().st_size if path else 0 for path in found]
    if sum(nbytes) > EMBED_PICTURES:
        return [case.picture or "" if path else "" for case, path in zip(cases, found, strict=True)]
    return [_embedded(path) if path and size <= _LARGEST_PICTURE else "" for path, size in zip(found, nbytes, strict=True)]


def _embedded(path: Path) -> str:
    data = path.read_bytes()
    return f"data:image/jpeg;base64,{b64encode(data).decode()}" if data.startswith(b"\xff\xd8\xff") else ""


def path_of(geojson: str, left: float = 0.0, top: float = 0.0) -> str:
    """A GeoJSON Polygon or MultiPolygon as an SVG path, "" for anything else; (left, top) becomes the path's origin.

    >>> path_of('{"type": "Polygon", "coordinates": [[[0, 0], [4, 0], [4, 2.5], [0, 0]]]}', left=1)
    'M-1 0L3 0L3 2.5z'
    """
    try:
        shape = json.loads(geojson)
        kind, parts = shape["type"], shape["coordinates"]
        polygons = [parts] if kind == "Polygon" else parts if kind == "MultiPolygon" else []
        return "".join(_ring(ring, left, top) for polygon in polygons for ring in polygon)
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError):  # what lies in a data set may be anybody's
        return ""


def _ring(ring: list[list[float]], left: float, top: float) -> str:
    points = [(float(x) - left, float(y) - top) for x, y, *_ in ring[:-1]]
    if not all(math.isfinite(each) for point in points for each in point):
        raise ValueError("not finite")
    return "M" + "L".join(f"{_number(x)} {_number(y)}" for x, y in points) + "z" if points else ""


def _number(value: float) -> str:
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 2)


def _around(points: Sequence[Sequence[float | None]]) -> list[float]:
    """The part of the plane that holds the points, where there is no photograph to show: left, top, width, height."""
    places = list(_places(points)) or [(0.0, 0.0)]
    low = [min(values) for values in zip(*places, strict=True)]
    high = [max(values) for values in zip(*places, strict=True)]
    side = max(high[0] - low[0], high[1] - low[1], 16.0) * 1.4
    return [round((a + b - side) / 2, 2) for a, b in zip(low, high, strict=True)] + [round(side, 2)] * 2


def _places(points: Sequence[Sequence[float | None]]) -> Iterator[tuple[float, float]]:
    for x, y in points:
        if x is not None and y is not None:
            yield x, y
