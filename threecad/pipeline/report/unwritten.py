"""Tiles that no split uses have no image; where defects lie in them, the conversion's regions tell."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from threecad.domain import Entry, Window
from threecad.formats.regular import open_regular
from threecad.pipeline.report.cards import Outlines
from threecad.pipeline.report.queue import path_of

REGIONS = "regions.jsonl"
_LONGEST = 20_000  # characters of one outline: what is longer is no sliver that somebody has to see


def outlines_of(data: Path, entries: Iterable[Entry]) -> dict[str, Outlines]:
    """Entry's id → outlines in the tile's frame, for those of `entries` without an image. Nothing where regions.jsonl is none."""
    tiles: defaultdict[str, list[tuple[str, Window]]] = defaultdict(list)
    for entry in entries:
        if entry.image is None and entry.window is not None:
            tiles[entry.source].append((entry.id, entry.window))
    found: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    if not tiles:
        return {}
    try:
        with open_regular(data / REGIONS) as file:
            for line in file:
                row = json.loads(line)
                if row.get("ignore"):
                    continue
                for id_, window in tiles.get(row["source"], ()):
                    path = path_of(json.dumps(row["geometry"]), window.left, window.top)
                    if path and len(path) <= _LONGEST:
                        found[id_].append((str(row["label"]), path))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):  # what lies there may be anybody's
        return {}
    return {id_: tuple(paths) for id_, paths in found.items()}
