"""The strip below the image, which says what the marks mean: title, facts, legend and findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from threecad.domain import MEANING, Action, Finding
from threecad.imaging.drawing.lettering import DIGITS, HEAD, LETTERS, fitting, legible, plain, typeface, wrapped
from threecad.imaging.drawing.scene import (
    ACTIONS,
    AS_DRAWN,
    CROSSING,
    GROUND,
    IGNORED,
    MOST_KEYS,
    PALETTE,
    SHARE,
    STATES,
    Colour,
    Key,
    Picture,
    Scene,
    numbered,
)

NARROWEST = 640  # px of a strip that can be read
_BRIGHT: Colour = (236, 238, 242)
_FAINT: Colour = (160, 166, 176)
_MOST_SHAPES = 12  # named in one line of findings


def legend(scene: Scene, colours: Picture, present: Set[int], crossed: int) -> tuple[Key, ...]:
    """The legend of what the picture holds; `present` are the inks in it."""
    several = len(scene.names) > len(PALETTE)
    keys = []
    for ink, name in enumerate(scene.names, 1):
        if ink in present:
            red, green, blue = colours[ink].tolist()
            text = "to ignore" if name is None else name if name and legible(name) else f"type {ink}"
            tag = f"t{ink} " if several and name is not None else ""
            keys.append(Key(name or text, (red, green, blue), "ignore" if name is None else "type", tag + text))
    actions = Counter(action for _, action in scene.drawn)
    if actions[Action.QUEUED]:
        keys.append(Key("queued", AS_DRAWN, "queued", f"queued, as drawn ({actions[Action.QUEUED]})"))
    if crossed:
        keys.append(Key("crossing", CROSSING, "crossing", f"crosses itself ({crossed})"))
    if actions[Action.DROPPED]:
        keys.append(Key("dropped", IGNORED, "dropped", f"dropped, as drawn ({actions[Action.DROPPED]})"))
    states = Counter(state for _, state in scene.windows)
    keys += [Key(state, STATES[state], "window", f"{state} window ({states[state]})") for state in STATES if states[state]]
    return tuple(keys)


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of findings: their numbers, whose colour is `fill`, and what they say."""

    numbers: str
    fill: Colour
    text: str


def _rows(findings: Sequence[Finding]) -> list[_Row]:
    """The findings as the strip lists them: one line a code and outcome, since a hundred shapes may share one."""
    rows = []
    listed = numbered(findings)
    for (action, code), group in groupby(listed, key=lambda item: (item[1].action, item[1].code)):
        own = list(group)
        numbers = [number for number, _ in own if number is not None]
        shapes = sorted({finding.shape for _, finding in own if finding.shape is not None})
        named = ", ".join(map(str, shapes[:_MOST_SHAPES])) + (
            f" and {len(shapes) - _MOST_SHAPES} more" if shapes[_MOST_SHAPES:] else ""
        )
        which = f" · shape{'s' if len(shapes) > 1 else ''}\u00a0{named}" if shapes else ""
        span = "" if not numbers else str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}–{numbers[-1]}"
        rows.append(_Row(span, ACTIONS[action], f"{code.value} {action.value}: {MEANING[code]}{which}"))
    return rows


def below(width: int, scene: Scene, keys: Sequence[Key]) -> Picture:
    """What stands below the image: title, facts, legend, findings."""
    from PIL import Image, ImageDraw

    pad, step = 12, 24
    letters, head = typeface(LETTERS), typeface(HEAD, bold=True)
    inner = width - 2 * pad
    legend = _laid_out(keys, inner, letters)
    rows = [(row, line) for row in _rows(scene.findings) for line in wrapped(row.text.split(" "), " ", letters, inner - 64)]
    facts = wrapped(map(plain, scene.facts), " · ", letters, inner)
    height = 2 * pad + step * (1 + len(facts) + len(legend) + len(rows)) + (6 if legend else 0) + (6 if rows else 0)
    strip = Image.new("RGB", (width, height), GROUND)
    pen = ImageDraw.Draw(strip)
    y = pad
    chip = 0
    if scene.state is not None:
        chip = round(letters.getlength(scene.state)) + 26
        pen.rounded_rectangle((pad, y, pad + chip - 10, y + 20), 10, fill=STATES[scene.state])
        pen.text((pad + 8, y + 10), scene.state, fill=(0, 0, 0), font=letters, anchor="lm")
    pen.text(
        (pad + chip, y + 10),
        fitting(plain(scene.title), head, inner - chip, from_end=True),
        fill=_BRIGHT,
        font=head,
        anchor="lm",
    )
    y += step
    for line in facts:
        pen.text((pad, y + 10), line, fill=_FAINT, font=letters, anchor="lm")
        y += step
    y += 6 if legend else 0
    for entries in legend:
        for x, key, text in entries:
            _swatch(pen, pad + x, y + 3, key)
            pen.text((pad + x + 30, y + 10), text, fill=_BRIGHT, font=letters, anchor="lm")
        y += step
    y += 6 if rows else 0
    before = None
    for row, line in rows:
        if row is not before and row.numbers:
            numbers = typeface(DIGITS, bold=True)
            reach = numbers.getlength(row.numbers) + 12
            pen.rounded_rectangle((pad, y + 1, pad + reach, y + 18), 9, fill=row.fill, outline=(255, 255, 255))
            pen.text((pad + reach / 2, y + 9.5), row.numbers, fill=(255, 255, 255), font=numbers, anchor="mm")
        elif row is not before:
            pen.ellipse((pad + 6, y + 6, pad + 13, y + 13), fill=row.fill, outline=(255, 255, 255))
        pen.text((pad + 64, y + 10), line, fill=_BRIGHT, font=letters, anchor="lm")
        before = row
        y += step
    return np.array(strip, np.uint8)


def _laid_out(keys: Sequence[Key], width: float, font: Any) -> list[list[tuple[float, Key, str]]]:
    """The legend in lines: where each entry begins, and its text."""
    if len(keys) > MOST_KEYS:
        more = f"and {len(keys) - MOST_KEYS + 1} more"
        keys = [*keys[: MOST_KEYS - 1], Key(more, GROUND, "type", more)]
    lines: list[list[tuple[float, Key, str]]] = []
    x = width
    for key in keys:
        text = fitting(key.text, font, min(width - 30, 300))
        reach = 30 + font.getlength(text) + 22
        if x + reach - 22 > width:
            lines.append([])
            x = 0.0
        lines[-1].append((x, key, text))
        x += reach
    return lines


def _swatch(pen: Any, x: float, y: float, key: Key) -> None:
    """What the marks of an entry look like, 22 × 14 px."""
    box = (x, y, x + 22, y + 14)
    if key.style in ("type", "ignore"):
        faint = tuple(round(SHARE * value + (1 - SHARE) * 128) for value in key.colour)
        pen.rectangle(box, fill=faint if key.style == "type" else (105, 105, 105), outline=key.colour, width=2)
        if key.style == "ignore":
            for start in (5, 11, 17):
                pen.line((x + start - 4, y + 12, x + start + 6, y + 2), fill=key.colour, width=1)
    elif key.style == "crossing":
        pen.polygon([(x + 11, y - 1), (x + 19, y + 7), (x + 11, y + 15), (x + 3, y + 7)], outline=key.colour, width=2)
    elif key.style == "window":
        for start in (0, 8, 16):
            pen.line((x + start, y + 1, x + min(start + 5, 22), y + 1), fill=key.colour, width=2)
            pen.line((x + start, y + 13, x + min(start + 5, 22), y + 13), fill=key.colour, width=2)
    else:
        pen.line((x, y + 7, x + 22, y + 7), fill=(255, 255, 255), width=3)
        for start in (0, 9, 18):
            pen.line((x + start, y + 7, x + min(start + 5, 22), y + 7), fill=key.colour, width=3)
