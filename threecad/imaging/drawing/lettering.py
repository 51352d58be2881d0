"""Letters on a picture: which of them the font has, how much of a text fits, and where there is room for it."""

from __future__ import annotations

import importlib.util
import math
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from threecad.imaging.drawing.framing import Floats
from threecad.imaging.drawing.scene import Colour, Picture

LETTERS, HEAD, DIGITS = 15, 17, 12  # px: the strip, its title, numbers on the image
_AROUND = ((1, -1), (1, 1), (-1, -1), (-1, 1), (0, -1), (0, 1), (1, 0), (-1, 0))
"""Where a text is tried: at the upper right of its place first, then all around it."""
MOST_TEXTS = 2_000  # numbers on one picture; nobody reads more


@dataclass(frozen=True, slots=True)
class Text:
    """A few letters near a place of the picture, on a pill where there is a `fill`; `needed` ones are never left out."""

    place: tuple[float, float]
    text: str
    fill: Colour | None = None
    colour: Colour = (255, 255, 255)
    needed: bool = False


def typeface(size: int, bold: bool = False) -> Any:
    """DejaVu Sans, which has the letters of Europe and comes with matplotlib; Pillow's own, which has fewer, where it is not."""
    return _fonts(size, bold)


@cache
def _fonts(size: int, bold: bool) -> Any:
    from PIL import ImageFont

    found = importlib.util.find_spec("matplotlib")  # without running it
    for folder in (found and found.submodule_search_locations) or ():
        file = Path(folder) / "mpl-data" / "fonts" / "ttf" / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")
        if file.is_file():
            return ImageFont.truetype(str(file), size, layout_engine=ImageFont.Layout.BASIC)
    return ImageFont.load_default(size)


@lru_cache(maxsize=4096)
def _has(letter: str) -> bool:
    """Whether the font has a picture of the letter that can be put beside others from left to right."""
    if letter == " ":
        return True
    if not letter.isprintable() or unicodedata.bidirectional(letter) in ("R", "AL") or unicodedata.combining(letter):
        return False
    font = typeface(LETTERS)
    own, missing = font.getmask(letter), font.getmask("\uffff")
    return bool(own.size != missing.size or bytes(own) != bytes(missing))


def legible(text: str) -> bool:
    """Whether the picture can show this text letter by letter.

    >>> legible("Kratzer é × 2"), legible("划痕"), legible("a\\nb")
    (True, False, False)
    """
    return all(map(_has, text[:1000]))


def plain(text: str) -> str:
    r"""The text with escapes for the letters that a picture cannot show.

    >>> plain("样品_3.png")
    '\\u6837\\u54c1_3.png'
    """
    return "".join(letter if _has(letter) else letter.encode("unicode_escape").decode() for letter in text[:1000])


def fitting(text: str, font: Any, width: float, *, from_end: bool = False) -> str:
    """The text; where it is longer than `width` px, as much of its beginning, or of its end, as there is room for."""
    if font.getlength(text) <= width:
        return text

    def cut(count: int) -> str:
        return f"…{text[len(text) - count :]}" if from_end else f"{text[:count]}…"

    low, high = 0, min(len(text), 1000)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if font.getlength(cut(middle)) <= width else (low, middle - 1)
    return cut(low)


def wrapped(words: Iterable[str], between: str, font: Any, width: float) -> list[str]:
    """The words in lines of at most `width` px, `between` them where they share a line; a longer word is cut."""
    lines: list[str] = []
    for word in words:
        if lines and font.getlength(f"{lines[-1]}{between}{word}") <= width:
            lines[-1] = f"{lines[-1]}{between}{word}"
        else:
            lines.append(fitting(word, font, width))
    return lines


def write(canvas: Picture, texts: Sequence[Text], pins: Floats) -> None:
    """Put each text beside its place where it hides no other and no place in `pins`; one that finds no room is left out, or,
    if it is needed, put to the upper right all the same."""
    from PIL import Image, ImageDraw

    if not texts:
        return
    picture = Image.fromarray(canvas)
    pen = ImageDraw.Draw(picture)
    font = typeface(DIGITS, bold=True)
    taken = np.zeros(canvas.shape[:2], bool)
    for x, y in pins.astype(int).tolist():
        taken[max(y - 6, 0) : y + 6, max(x - 6, 0) : x + 6] = True
    for text in texts[:MOST_TEXTS]:
        width, height = math.ceil(font.getlength(text.text)) + (10 if text.fill else 4), DIGITS + 4
        room = _room(text, width, height, taken)
        if room is None:
            continue
        left, top = room
        taken[top : top + height, left : left + width] = True
        middle = (left + width / 2, top + height / 2)
        if text.fill:
            box = (left, top, left + width - 1, top + height - 1)
            pen.rounded_rectangle(box, height / 2, fill=text.fill, outline=text.colour)
            pen.text(middle, text.text, fill=text.colour, font=font, anchor="mm")
        else:
            pen.text(middle, text.text, fill=text.colour, font=font, anchor="mm", stroke_width=2, stroke_fill=(0, 0, 0))
    canvas[:] = np.asarray(picture)


def _room(text: Text, width: int, height: int, taken: NDArray[np.bool_]) -> tuple[int, int] | None:
    """Left and top of a free place for a text, None where there is none."""
    x, y = text.place
    away = 8 if text.needed else 3
    lowest, rightmost = taken.shape[0] - height, taken.shape[1] - width
    for farther in (0, 9):
        for across, down in _AROUND:
            left = round(x - width / 2 + across * (away + farther + width / 2))
            top = round(y - height / 2 + down * (away + farther + height / 2))
            if 0 <= left <= rightmost and 0 <= top <= lowest and not taken[top : top + height, left : left + width].any():
                return left, top
    if not text.needed:
        return None
    return round(min(max(x + away, 0), max(rightmost, 0))), round(min(max(y - away - height, 0), max(lowest, 0)))
