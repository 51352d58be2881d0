"""What the page's gallery knows: of every image what filters need, in columns; of those that are looked at, everything."""

from __future__ import annotations

from base64 import b64encode
from pathlib import PurePosixPath
from typing import Any

from threecad.curation import sizes
from threecad.curation.statistics import kinds_of, state_of
from threecad.domain import MEANING, Split, Spot, State
from threecad.pipeline.report.beside import Beside
from threecad.pipeline.report.cards import Card, shows
from threecad.pipeline.report.shelf import Shelf

UNUSED = "unused"
"""The split of a tile that no split uses."""
UNTOLD = "no split"
"""That of an image whose data set names none."""
UNKNOWN = "unknown"
"""The state of an image without a mask that could tell it."""
UNNAMED = "(no type)"
"""A defect that neither a folder nor a mask names."""
MOST_SPOTS = 24
"""Defects of one image that are listed one by one, the largest first."""
_BLOCK = 240  # images a script: a page of the gallery is rarely spread over many

_STATES = (*(state.value for state in State), UNKNOWN)


class Gallery:
    """Takes cards in the gallery's order. With `beside`, thumbnails and details stand there; else all is in the page. `without`
    is what the split of an image is called that is in none."""

    def __init__(self, beside: Beside | None, without: str = UNUSED) -> None:
        self._beside = beside
        self._splits = (*(split.value for split in Split), without)
        self._shelf = Shelf("tiles", _BLOCK, beside)
        self._columns: dict[str, list[Any]] = {
            key: [] for key in ("id", "category", "split", "state", "types", "sizes", "largest")
        }
        self._names: dict[str, dict[str, int]] = {"category": {}, "type": {}}
        self._paths: dict[str, int] = {}

    @property
    def apart(self) -> bool:
        """Whether thumbnails and details stand beside the page."""
        return self._beside is not None

    def __len__(self) -> int:
        return len(self._columns["id"])

    def number(self, path: str) -> int | None:
        """Where in the gallery the image with that path is."""
        return self._paths.get(path)

    def add(self, card: Card) -> None:
        entry, spots = card.entry, card.measure.spots if card.measure else ()
        state = state_of(entry, card.measure, card.findings)
        if entry.image is not None:
            self._paths[entry.image] = len(self)
        columns = self._columns
        columns["id"].append(entry.id)
        columns["category"].append(self._known("category", entry.category))
        columns["split"].append(list(Split).index(entry.split) if entry.split else len(Split))
        columns["state"].append(_STATES.index(state or UNKNOWN))
        columns["types"].append([self._type(name) for name in _types(card, state)])
        columns["sizes"].append(sorted({sizes.NAMES.index(sizes.size_class(spot.area)) for spot in spots}))
        columns["largest"].append(max((spot.area for spot in spots), default=0))
        self._shelf.add(self._detail(card))

    def told(self) -> dict[str, Any]:
        """Everything, for the page. Names of types and categories are sorted, those of states and sizes in their own order."""
        columns, names = self._columns, {key: sorted(known) for key, known in self._names.items()}
        for key, column in (("category", "category"), ("type", "types")):
            place = {self._names[key][name]: number for number, name in enumerate(names[key])}
            columns = columns | {column: [_renumbered(value, place) for value in columns[column]]}
        # Details were written before all types were known: they number them as they came, and the page translates.
        order = {key: [names[key].index(name) for name in known] for key, known in self._names.items()}
        for key, all_names, column in (
            ("state", _STATES, "state"),
            ("split", self._splits, "split"),
            ("size", sizes.NAMES, "sizes"),
        ):
            seen = {value for row in columns[column] for value in (row if isinstance(row, list) else [row])}
            kept = [number for number in range(len(all_names)) if number in seen]
            columns = columns | {
                column: [_renumbered(value, {old: new for new, old in enumerate(kept)}) for value in columns[column]]
            }
            names[key] = [str(all_names[number]) for number in kept]
        return {**columns, "names": names, "order": order["type"], "details": self._shelf.told()}

    def _known(self, kind: str, name: str) -> int:
        return self._names[kind].setdefault(name, len(self._names[kind]))

    def _detail(self, card: Card) -> dict[str, Any]:
        entry, measure = card.entry, card.measure
        detail: dict[str, Any] = {
            "path": entry.image or "",
            "why": card.why,
            "thumb": self._thumb(card),
            "outlines": [[self._type(name), path] for name, path in card.outlines],
        }
        if entry.image is not None and not shows(entry.image):
            detail["kind"] = PurePosixPath(entry.image).suffix.lstrip(".").upper()
        if entry.source not in (entry.id, entry.image):
            detail["source"] = entry.source
        if entry.window is not None:
            detail["window"] = [entry.window.left, entry.window.top, entry.window.size.width, entry.window.size.height]
        size = measure.size if measure else entry.window.size if entry.window else None
        if size is not None:
            detail |= {"width": size.width, "height": size.height}
        if measure is not None:
            spots = sorted(measure.spots, key=lambda spot: (-spot.area, spot.bbox))
            detail |= {
                "depth": f"{'gray' if measure.channels == 1 else 'colour'}, {measure.bits} bits",
                "areas": [[self._type(name), area] for name, area in measure.areas],
                "spots": [_spot(spot) for spot in spots[:MOST_SPOTS]],
                "more": max(0, len(spots) - MOST_SPOTS),
                "lost": list(measure.lost),
            }
        detail["flaws"] = [
            f"{each.code.value}: {MEANING[each.code]}{f' ({each.detail})' if each.detail else ''}" for each in card.findings
        ]
        return {key: value for key, value in detail.items() if value not in ("", [], 0)}

    def _type(self, name: str) -> int:
        return self._known("type", name or UNNAMED)

    def _thumb(self, card: Card) -> str:
        if card.name is None:
            return ""
        if self._beside is None:
            assert card.thumbnail is not None
            return f"data:image/jpeg;base64,{b64encode(card.thumbnail).decode()}"
        return self._beside.picture(card.name, card.thumbnail)


def _spot(spot: Spot) -> list[float]:
    """Size class, pixels, long and short side, left and top."""
    return [
        sizes.NAMES.index(sizes.size_class(spot.area)),
        spot.area,
        round(spot.long, 1),
        round(spot.short, 1),
        *spot.bbox[:2],
    ]


def _types(card: Card, state: State | None) -> list[str]:
    """The types an image shows, as the tables count them; of a tile without an image, those its row names."""
    if card.measure is None or state in (State.GOOD, None):
        return list(card.entry.labels)
    return sorted(kinds_of(card.entry, card.measure))


def _renumbered(value: int | list[int], place: dict[int, int]) -> int | list[int]:
    return sorted(place[each] for each in value) if isinstance(value, list) else place[value]
