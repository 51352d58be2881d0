"""Industrial inspection data sets: from labelled photographs to validated masks, tiles and leak-free splits.

    import threecad

    threecad.convert("line7", "data")
    data = threecad.Dataset("data", split="test", category="camera_cover")

Everything is imported when it is first used: `import threecad` itself costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from threecad import metrics
    from threecad.domain import (
        Action,
        Annotation,
        Case,
        Code,
        Decision,
        Entry,
        Finding,
        Measure,
        Region,
        Sample,
        Shape,
        Size,
        Source,
        Split,
        State,
        Tile,
        Window,
    )
    from threecad.errors import BusyError, ConfigError, LayoutError, ReadError, ThreecadError
    from threecad.formats.cases import Decisions
    from threecad.formats.dataset import Dataset, Manifest
    from threecad.formats.layouts import Request
    from threecad.pipeline.agree import agree
    from threecad.pipeline.audit import audit
    from threecad.pipeline.card import card
    from threecad.pipeline.check import check
    from threecad.pipeline.config import Pipeline
    from threecad.pipeline.convert import convert
    from threecad.pipeline.profile import statistics
    from threecad.pipeline.report import report
    from threecad.pipeline.scoring import score
    from threecad.pipeline.shards import export
    from threecad.pipeline.single import read_labelme, regions
    from threecad.pipeline.view import view

_HOMES = {
    "threecad.domain": (
        *("Action", "Annotation", "Case", "Code", "Decision", "Entry", "Finding", "Measure", "Region", "Sample", "Shape"),
        *("Size", "Source", "Split", "State", "Tile", "Window"),
    ),
    "threecad.errors": ("BusyError", "ConfigError", "LayoutError", "ReadError", "ThreecadError"),
    "threecad.formats.cases": ("Decisions",),
    "threecad.formats.dataset": ("Dataset", "Manifest"),
    "threecad.formats.layouts": ("Request",),
    "threecad.pipeline.agree": ("agree",),
    "threecad.pipeline.audit": ("audit",),
    "threecad.pipeline.card": ("card",),
    "threecad.pipeline.check": ("check",),
    "threecad.pipeline.config": ("Pipeline",),
    "threecad.pipeline.convert": ("convert",),
    "threecad.pipeline.profile": ("statistics",),
    "threecad.pipeline.report": ("report",),
    "threecad.pipeline.scoring": ("score",),
    "threecad.pipeline.shards": ("export",),
    "threecad.pipeline.view": ("view",),
    "threecad.pipeline.single": ("read_labelme", "regions"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [  # noqa: RUF022 - in the order of a first reading
    "convert", "check", "Dataset", "statistics", "audit", "report", "view", "card", "agree", "score", "export", "metrics",
    "Pipeline", "Decisions", "Request",
    "read_labelme", "regions",
    "Action", "Annotation", "Case", "Code", "Decision", "Entry", "Finding", "Manifest", "Measure", "Region", "Sample", "Shape",
    "Size", "Source", "Split", "State", "Tile", "Window", "BusyError", "ConfigError", "LayoutError", "ReadError", "ThreecadError",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name == "metrics":
        return importlib.import_module("threecad.metrics")
    if name not in _HOME:
        raise AttributeError(f"module 'threecad' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
