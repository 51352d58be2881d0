"""Names in figures: fonts that have their letters, and names so short that they fit."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from matplotlib import font_manager, style
from matplotlib.font_manager import FontProperties
from matplotlib.ft2font import FT2Font
from matplotlib.textpath import text_to_path

from threecad.curation.statistics import Statistics
from threecad.pipeline.plots.style import NAME, STYLE
from threecad.pipeline.summary import plain

LONGEST = 300
"""Letters of a name that are measured to make it fit."""
MOST_FONTS = 300
"""Fonts looked at in the search for one that has a name's letters."""


@dataclass(frozen=True, slots=True)
class Lettering:
    """Fonts that have the letters of all names, but for those `missing`; `truetype` where a PDF can take them as they are."""

    families: tuple[str, ...]
    missing: frozenset[str]
    truetype: bool

    def write(self, name: str) -> str:
        """A name as it can be drawn: what no font has stands as its escape."""
        return "".join(_escaped(char) if char in self.missing else char for char in plain(name))

    def label(self, names: Sequence[str], inches: float, weight: str = "normal") -> list[str]:
        """The names so short that they fit; those that would become equal get their number in front."""
        texts = [self.write(name) for name in names]
        short = [fit(text, inches, NAME, weight) for text in texts]
        twice = {text for text in short if short.count(text) > 1} if len(set(short)) < len(short) else set()
        return [
            fit(f"{number} {text}", inches, NAME, weight) if there in twice else there
            for number, (text, there) in enumerate(zip(texts, short, strict=True), 1)
        ]

    @property
    def note(self) -> str:
        """What the small print of a figure says of the letters that are missing."""
        return "\\u…: no font that is installed has the letter" if self.missing else ""


@dataclass(frozen=True, slots=True)
class Sheet:
    """What a figure is drawn from."""

    statistics: Statistics
    lettering: Lettering

    def label(self, names: Sequence[str], inches: float, weight: str = "normal") -> list[str]:
        """As `Lettering.label`."""
        return self.lettering.label(names, inches, weight)


@contextmanager
def styled(lettering: Lettering) -> Iterator[None]:
    """Our style alone, whatever the user's matplotlibrc says."""
    # As type 42 other outlines would be embedded under a wrong name.
    fonts = {"font.family": list(lettering.families), "pdf.fonttype": 42 if lettering.truetype else 3}
    with style.context(["default", STYLE | fonts]):
        yield


@contextmanager
def quiet() -> Iterator[None]:
    """That a Chinese font has no bold is no news to the user."""
    log = logging.getLogger("matplotlib.font_manager")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def names_in(statistics: Statistics, compared: Sequence[Statistics] = ()) -> set[str]:
    """All names that figures of a data set show."""
    names = {statistics.name, *(other.name for other in compared)}
    for rows in (statistics.overview, statistics.types, statistics.heat, statistics.survival, statistics.looks):
        names |= {row.category for row in rows}
    names |= {row.type for row in statistics.types}
    return names | {text for pair in statistics.together for text in (pair.category, pair.first, pair.second)}


def letter(names: Iterable[str]) -> Lettering:
    """Matplotlib's own font, and installed ones for the letters of these names which it lacks."""
    families, truetype = ["DejaVu Sans"], True
    missing = frozenset(char for name in names for char in plain(name)) - letters_of(families[0])
    if missing:
        found = {font.name for font in font_manager.fontManager.ttflist if font.style == "normal"}
        # Chinese is what is missing most often, and its fonts say so; Last Resort draws a box for everything.
        ordered = sorted(found, key=lambda name: (not name.endswith("CJK SC"), "Hei" not in name, name))
        for family in [name for name in ordered if not name.startswith("Last Resort")][:MOST_FONTS]:
            letters = missing & letters_of(family)
            if letters:
                families.append(family)
                missing -= letters
                truetype = truetype and not _is_postscript(font_manager.findfont(FontProperties(family=[family])))
            if not missing:
                break
    return Lettering(tuple(families), missing, truetype)


def _is_postscript(font: str) -> bool:
    """Whether an OpenType file holds PostScript outlines, as Noto's Chinese fonts do."""
    with Path(font).open("rb") as file:
        start = file.read(16)
        if start[:4] == b"ttcf":  # a collection: the first font's place is its first number
            file.seek(int.from_bytes(start[12:16], "big"))
            start = file.read(4)
    return start[:4] == b"OTTO"


def letters_of(family: str) -> frozenset[str]:
    """The characters that a font draws, both upright and bold; none where it cannot be read or has no outlines."""
    both = []
    for weight in ("normal", "bold"):
        with suppress(OSError, RuntimeError, ValueError):
            face = FT2Font(font_manager.findfont(FontProperties(family=[family], weight=weight), fallback_to_default=False))
            both.append(frozenset(map(chr, face.get_charmap())) if face.scalable else frozenset())
    return frozenset.intersection(*both) if both else frozenset()


def _escaped(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"


def fit(text: str, inches: float, points: float, weight: str = "normal") -> str:
    """The text, or its beginning and end with … between, so that it is not wider."""
    if len(text) > LONGEST:
        text = _without_middle(text, LONGEST)
    if width_of(text, points, weight) <= inches:
        return text
    fits, too_long = 0, len(text)
    while too_long - fits > 1:
        kept = (fits + too_long) // 2
        fits, too_long = (kept, too_long) if width_of(_without_middle(text, kept), points, weight) <= inches else (fits, kept)
    return _without_middle(text, fits)


def _without_middle(text: str, kept: int) -> str:
    return f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"


def width_of(text: str, points: float, weight: str = "normal") -> float:
    """Inches that a text takes in the present style."""
    font = FontProperties(size=points, weight=weight)
    width: float = text_to_path.get_text_width_height_descent(text, font, False)[0]
    return width / 72
