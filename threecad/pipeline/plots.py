"""The figures of `threecad stats --plots DIR`: Figure 3 of the paper, and what no table shows well.

They are made for print: one column (3.3 in) wide where that can be read, 7 pt type, vector and 300 dpi, colours that stay apart
for colour-blind readers and in grey. The same numbers give the same bytes with the same matplotlib and fonts. A figure is drawn
from `Statistics` alone and comes out for an empty data set too.

Matplotlib's objects are used without pyplot; its settings are changed while a figure is made and put back after.
"""

from __future__ import annotations

import io
import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from matplotlib import colormaps, font_manager, style
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ft2font import FT2Font
from matplotlib.patches import Patch
from matplotlib.textpath import text_to_path
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from threecad.curation import sizes
from threecad.curation.statistics import ALL, Distribution, HeatMap, Looks, Quantiles, Statistics, Survival, TypeRow
from threecad.domain import HEAT, SHRINKINGS
from threecad.errors import LayoutError, ThreecadError
from threecad.pipeline.store import write_atomically
from threecad.pipeline.summary import plain

if TYPE_CHECKING:
    from numpy.typing import NDArray

_Row = TypeVar("_Row", HeatMap, Looks, Survival)

FORMATS = ("svg", "pdf", "png")
COLUMN, PAGE = 3.3, 7.0
"""Widths in inches: one column of a two-column paper, and both."""
PITCH = 0.135
"""Height of a row in inches: 6.5 pt type with air."""
MOST_ROWS = 120
"""Rows of a figure; a figure of more would be read by nobody."""
MOST_PANELS = 120
MOST_TOGETHER = 20
"""Types of one category in the figure of types that occur together."""
LONGEST = 300
"""Letters of a name that are measured to make it fit."""
MOST_FONTS = 300
"""Fonts looked at in the search for one that has a name's letters."""
NAME = 6.5
"""Size of names and ticks in points."""
NAMES = 1.15
"""Inches for names at the left; longer ones lose their middle."""

BLUE, SKY, GREEN, ORANGE, RED, PURPLE = "#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7"
"""Of Okabe and Ito's palette, which colour-blind readers can tell apart."""
GREY, PALE, INK = "#8C8C8C", "#D9D9D9", "#222222"
ORDERED = ("#08306B", "#2F7EBC", "#8DC1DD", "#DCE9F6")
"""From tiny to large: the smaller, the darker."""
LINES = ((RED, "-"), (GREEN, "--"), (PURPLE, "-."), (ORANGE, ":"), (INK, "-"), (SKY, "--"))
"""For data sets to compare with: colour and dashes both."""

STYLE: dict[str, Any] = {
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 7,
    "axes.linewidth": 0.5,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": NAME,
    "ytick.labelsize": NAME,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.5,
    "xtick.minor.width": 0.4,
    "ytick.major.width": 0.5,
    "xtick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "ytick.major.size": 2.5,
    "xtick.major.pad": 2,
    "ytick.major.pad": 2,
    "legend.fontsize": NAME,
    "legend.frameon": False,
    "legend.handlelength": 1.2,
    "legend.handletextpad": 0.4,
    "legend.columnspacing": 1.0,
    "legend.borderpad": 0,
    "legend.borderaxespad": 0,
    "hatch.linewidth": 0.4,
    "text.color": INK,
    "text.parse_math": False,  # a name may hold dollar signs
    "figure.dpi": 100,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,  # printers of proceedings refuse type 3
    "svg.fonttype": "path",  # looks the same where the font is missing
    "svg.hashsalt": "threecad",
}


def draw(statistics: Statistics, folder: Path, compared: Sequence[Statistics] = ()) -> list[Path]:
    """Write every figure as SVG, PDF and PNG into `folder`, which is made; the files, sorted.

    LayoutError if the folder is a file, ThreecadError if a figure cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise LayoutError(f"{folder} is a file; expected a folder to write figures into")
    written = []
    try:
        for name, data in render(statistics, compared):
            write_atomically(folder / name, data)
            written.append(folder / name)
    except OSError as error:
        raise ThreecadError(f"{error.filename or folder}: cannot be written ({error.strerror})") from error
    return sorted(written)


def render(
    statistics: Statistics,
    compared: Sequence[Statistics] = (),
    formats: Sequence[str] = FORMATS,
    only: Sequence[str] = (),
) -> Iterator[tuple[str, bytes]]:
    """(file name, bytes) of every figure, or of `only` those, one after the other: `figure-3.svg`."""
    figures: dict[str, tuple[str, Callable[[_Sheet], Figure]]] = {
        "balance": ("Images by split and state", _balance),
        "figure-3": ("Area ratio and aspect ratio of the defects", lambda sheet: _spreads(sheet, compared)),
        "heat": ("Where defects lie", _heat),
        "looks": ("Brightness, contrast and sharpness", _looks),
        "sizes": ("Types by size class", _sizes),
        "survival": ("Defects that vanish at model size", _survival),
        "together": ("Types in the same image", _together),
    }
    with _quiet():
        lettering = _letter(statistics, compared)
    for name, (title, make) in figures.items():
        if only and name not in only:
            continue
        with _quiet(), _styled(lettering):
            figure = make(_Sheet(statistics, lettering))
            made = [(f"{name}.{form}", _saved(figure, form, f"{plain(statistics.name)}: {title}")) for form in formats]
        yield from made  # outside, so that whoever takes them never sees our style


def _saved(figure: Figure, form: str, title: str) -> bytes:
    """A figure as a file, without the day, the program's version, or anything else that differs from run to run."""
    told: dict[str, dict[str, Any]] = {
        "svg": {"Date": None, "Creator": None, "Title": title},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None, "Title": title},
        "png": {"Software": None, "Title": title},
    }
    file = io.BytesIO()
    figure.savefig(file, format=form, metadata=told[form])
    return file.getvalue()


# Lettering


@dataclass(frozen=True, slots=True)
class _Lettering:
    """Fonts that have the letters of all names, but for those `missing`; `truetype` where a PDF can take them as they are."""

    families: tuple[str, ...]
    missing: frozenset[str]
    truetype: bool

    def write(self, name: str) -> str:
        """A name as it can be drawn: what no font has stands as its escape."""
        return "".join(_escaped(char) if char in self.missing else char for char in plain(name))


@dataclass(frozen=True, slots=True)
class _Sheet:
    """What a figure is drawn from."""

    statistics: Statistics
    lettering: _Lettering

    def label(self, names: Sequence[str], inches: float, weight: str = "normal") -> list[str]:
        """The names so short that they fit; those that would become equal get their number in front."""
        texts = [self.lettering.write(name) for name in names]
        short = [_fit(text, inches, NAME, weight) for text in texts]
        twice = {text for text in short if short.count(text) > 1} if len(set(short)) < len(short) else set()
        return [
            _fit(f"{number} {text}", inches, NAME, weight) if there in twice else there
            for number, (text, there) in enumerate(zip(texts, short, strict=True), 1)
        ]


@contextmanager
def _styled(lettering: _Lettering) -> Iterator[None]:
    """Our style alone, whatever the user's matplotlibrc says."""
    # As type 42 other outlines would be embedded under a wrong name.
    fonts = {"font.family": list(lettering.families), "pdf.fonttype": 42 if lettering.truetype else 3}
    with style.context(["default", STYLE | fonts]):
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """That a Chinese font has no bold is no news to the user."""
    log = logging.getLogger("matplotlib.font_manager")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def _letter(statistics: Statistics, compared: Sequence[Statistics]) -> _Lettering:
    """Matplotlib's own font, and installed ones for the letters which it lacks."""
    names = {statistics.name, *(other.name for other in compared)}
    for rows in (statistics.overview, statistics.types, statistics.heat, statistics.survival, statistics.looks):
        names |= {row.category for row in rows}
    names |= {row.type for row in statistics.types}
    names |= {text for pair in statistics.together for text in (pair.category, pair.first, pair.second)}
    families, truetype = ["DejaVu Sans"], True
    missing = frozenset(char for name in names for char in plain(name)) - _letters(families[0])
    if missing:
        found = {font.name for font in font_manager.fontManager.ttflist if font.style == "normal"}
        # Chinese is what is missing most often, and its fonts say so; Last Resort draws a box for everything.
        ordered = sorted(found, key=lambda name: (not name.endswith("CJK SC"), "Hei" not in name, name))
        for family in [name for name in ordered if not name.startswith("Last Resort")][:MOST_FONTS]:
            letters = missing & _letters(family)
            if letters:
                families.append(family)
                missing -= letters
                truetype = truetype and not _is_postscript(font_manager.findfont(FontProperties(family=[family])))
            if not missing:
                break
    return _Lettering(tuple(families), missing, truetype)


def _is_postscript(font: str) -> bool:
    """Whether an OpenType file holds PostScript outlines, as Noto's Chinese fonts do."""
    with Path(font).open("rb") as file:
        start = file.read(16)
        if start[:4] == b"ttcf":  # a collection: the first font's place is its first number
            file.seek(int.from_bytes(start[12:16], "big"))
            start = file.read(4)
    return start[:4] == b"OTTO"


def _letters(family: str) -> frozenset[str]:
    """The characters that a font draws, both upright and bold; none where it cannot be read or has no outlines."""
    both = []
    for weight in ("normal", "bold"):
        with suppress(OSError, RuntimeError, ValueError):
            face = FT2Font(font_manager.findfont(FontProperties(family=[family], weight=weight), fallback_to_default=False))
            both.append(frozenset(map(chr, face.get_charmap())) if face.scalable else frozenset())
    return frozenset.intersection(*both) if both else frozenset()


def _escaped(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"


def _fit(text: str, inches: float, points: float, weight: str = "normal") -> str:
    """The text, or its beginning and end with … between, so that it is not wider."""
    if len(text) > LONGEST:
        text = _without_middle(text, LONGEST)
    if _width(text, points, weight) <= inches:
        return text
    fits, too_long = 0, len(text)
    while too_long - fits > 1:
        kept = (fits + too_long) // 2
        fits, too_long = (kept, too_long) if _width(_without_middle(text, kept), points, weight) <= inches else (fits, kept)
    return _without_middle(text, fits)


def _without_middle(text: str, kept: int) -> str:
    return f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"


def _width(text: str, points: float, weight: str = "normal") -> float:
    """Inches that a text takes in the present style."""
    font = FontProperties(size=points, weight=weight)
    width: float = text_to_path.get_text_width_height_descent(text, font, False)[0]
    return width / 72


# Frames


def _place(figure: Figure, left: float, top: float, width: float, height: float, **more: Any) -> Axes:
    """Axes at a place in inches from the figure's upper left corner."""
    whole_width, whole_height = figure.get_size_inches()
    box = (left / whole_width, 1 - (top + height) / whole_height, width / whole_width, height / whole_height)
    return figure.add_axes(box, **more)


def _write(figure: Figure, left: float, top: float, text: str, **more: Any) -> None:
    """A text at a place in inches from the figure's upper left corner."""
    width, height = figure.get_size_inches()
    figure.text(left / width, 1 - top / height, text, va="top", **more)


def _nothing(text: str, width: float = COLUMN) -> Figure:
    """A figure that says that there is nothing to show."""
    figure = Figure(figsize=(width, 0.8))
    figure.text(0.5, 0.5, text, ha="center", va="center", color=GREY, size=8)
    return figure


def _rows(axes: Axes, labels: Sequence[str]) -> None:
    """Rows from top to bottom, each with its label at the left."""
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    for label in axes.get_yticklabels():
        if label.get_text() == ALL:
            label.set_fontweight("bold")


def _side(sheet: _Sheet, categories: Iterable[str]) -> tuple[list[str], list[str], float, tuple[str, str]]:
    """The categories that have a row (the first ones, and `All`), their labels, inches for these, and what to say below."""
    names = list(dict.fromkeys(categories))
    last = [ALL] if names and names[-1] == ALL else []
    shown = [*names[: len(names) - len(last)][: MOST_ROWS - 1], *last]
    labels = sheet.label(shown, NAMES - 0.1)
    margin = max(_width(label, NAME, "bold" if name == ALL else "normal") for name, label in zip(shown, labels, strict=True))
    return shown, labels, margin + 0.14, (_more(len(names) - len(shown), "category", "categories"), _spelled(sheet))


def _apart(rows: Sequence[_Row]) -> list[_Row]:
    """Without `All` where it only repeats the one category."""
    return [row for row in rows if row.category != ALL or len({each.category for each in rows}) > 2]


def _legend(figure: Figure, handles: list[Any], texts: Sequence[str], columns: int) -> None:
    """What the colours mean, at the upper edge."""
    corner = (0.06 / figure.get_figwidth(), 1 - 0.06 / figure.get_figheight())
    figure.legend(handles, texts, loc="upper left", ncols=columns, bbox_to_anchor=corner)


def _footnote(figure: Figure, *texts: str) -> None:
    """Small print at the lower edge."""
    notes = [text for text in texts if text]
    if notes:
        figure.text(
            0.06 / figure.get_figwidth(), 0.04 / figure.get_figheight(), "\n".join(notes), size=5.5, color=GREY, va="bottom"
        )


def _spelled(sheet: _Sheet) -> str:
    return "\\u…: no font that is installed has the letter" if sheet.lettering.missing else ""


def _foot(*texts: str) -> float:
    """Inches for the small print."""
    return 0.1 * sum(bool(text) for text in texts)


# Figure 3


def _spreads(sheet: _Sheet, compared: Sequence[Statistics]) -> Figure:
    """(a) area ratio and (b) aspect ratio, as shares of all regions; other data sets as lines."""
    others = compared[: len(LINES)]
    head = 0.16 * ((len(others) + 2) // 2) if others else 0.0
    figure = Figure(figsize=(COLUMN, 3.5 + head))
    panels = (
        ("(a)", "area of the region, share of the image", "area_ratio", _percent),
        ("(b)", "aspect ratio of the smallest rectangle around the region", "aspect_ratio", _ratio),
    )
    for number, (letter, label, key, tick) in enumerate(panels):
        axes = _place(figure, 0.46, 0.2 + head + 1.72 * number, COLUMN - 0.66, 1.18)
        own = getattr(sheet.statistics, key).get(ALL)
        spreads = [own, *(getattr(other, key).get(ALL) for other in others)]
        _histogram(axes, spreads, tick)
        axes.set_xlabel(label)
        axes.set_ylabel("regions, %")
        axes.set_title(letter)
    if others:
        names = sheet.label([sheet.statistics.name, *(other.name for other in others)], COLUMN / 2 - 0.4)
        handles: list[Any] = [Patch(facecolor=SKY, edgecolor=BLUE, linewidth=0.6)]
        axes = figure.axes[0]
        handles += [axes.plot([], [], color=color, linestyle=dash, linewidth=1)[0] for color, dash in LINES[: len(others)]]
        figure.legend(
            handles, names, loc="upper left", ncols=2, bbox_to_anchor=(0.46 / COLUMN, 1 - 0.05 / figure.get_figheight())
        )
    return figure


def _histogram(axes: Axes, spreads: Sequence[Distribution | None], tick: Callable[[float], str]) -> None:
    """The first one filled, with its median; the others as lines. Only bins from the least to the greatest value are shown."""
    filled = [spread for spread in spreads if spread is not None and any(spread.histogram.counts)]
    if not filled:
        axes.text(0.5, 0.5, "no defects", ha="center", va="center", color=GREY, size=8, transform=axes.transAxes)
        axes.set_xticks([])
        axes.set_yticks([])
        return
    edges = filled[0].histogram.edges
    logarithmic = edges[0] > 0 and edges[-1] / edges[0] > 20
    if logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
    lows, highs = [], []
    for number, spread in enumerate(spreads):
        if spread is None or not any(spread.histogram.counts):
            continue
        counts = np.array(spread.histogram.counts, dtype=float)
        used = np.flatnonzero(counts)
        lows.append(spread.histogram.edges[used[0]])
        highs.append(spread.histogram.edges[used[-1] + 1])
        shares = 100 * counts / counts.sum()
        if number == 0:
            axes.stairs(shares, spread.histogram.edges, fill=True, facecolor=SKY, alpha=0.55, linewidth=0)
            axes.stairs(shares, spread.histogram.edges, color=BLUE, linewidth=0.7)
        else:
            color, dash = LINES[number - 1]
            axes.stairs(shares, spread.histogram.edges, color=color, linestyle=dash, linewidth=1)
    low, high = min(lows), max(highs)
    if logarithmic and high / low < 10:  # a single bin would be all there is to see
        low, high = max(edges[0], low / 3), min(edges[-1], high * 3)
    axes.set_xlim(low, high)
    ticks = _log_ticks(low, high) if logarithmic else [float(each) for each in MaxNLocator(6).tick_values(low, high)]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    own = spreads[0]
    if own is not None and own.quantiles is not None:
        axes.axvline(own.quantiles.q50, color=BLUE, linewidth=0.8, linestyle=(0, (4, 2)))
        text = f"median {tick(own.quantiles.q50)} · n = {own.quantiles.count:,}"
        axes.text(0.99, 1.03, text, ha="right", va="bottom", size=NAME, color=BLUE, transform=axes.transAxes)


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 10, 100, … or, where that is too few, 1, 2, 5, 10, …"""
    for steps in ((1,), (1, 3), (1, 2, 5)):
        exponents = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
        ticks = [step * 10.0**exponent for exponent in exponents for step in steps]
        ticks = [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]
        if len(ticks) >= 4:
            break
    return ticks or [low, high]


def _percent(share: float) -> str:
    """
    >>> [_percent(share) for share in (1, 0.05, 0.00123, 0.0000001)]
    ['100 %', '5 %', '0.12 %', '0.00001 %']
    """
    value = 100 * share
    if value >= 1 or not value:
        return f"{value:.3g} %"
    text = f"{value:.{1 - math.floor(math.log10(value))}f}".rstrip("0")
    return f"{text} %"


def _ratio(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


# Where defects lie


def _heat(sheet: _Sheet) -> Figure:
    """A map a category, each scaled to its own greatest value."""
    maps = _apart(sheet.statistics.heat)[:MOST_PANELS]
    if not maps:
        return _nothing("no defects")
    across = min(len(maps), 4 if len(maps) <= 12 else 8)
    width = COLUMN if len(maps) <= 12 else PAGE
    side = min(1.3, (width - 0.1) / across - 0.08)
    step, tall = side + 0.08, side + 0.34
    frames = sorted({each.frame for each in maps})
    notes = (
        f"In the frame of the {' and the '.join({'source': 'photograph'}.get(frame, frame) for frame in frames)}. "
        + "Darkest: the share given above.",
        _more(len(_apart(sheet.statistics.heat)) - len(maps), "category", "categories"),
        _spelled(sheet),
    )
    height = 0.05 + tall * math.ceil(len(maps) / across) + 0.05 + _foot(*notes)
    figure = Figure(figsize=(width, height))
    colors = colormaps["magma_r"]
    labels = sheet.label([each.category for each in maps], side, "bold")
    for number, (each, label) in enumerate(zip(maps, labels, strict=True)):
        row, column = divmod(number, across)
        left, top = 0.06 + column * step, 0.05 + row * tall
        cells = np.array(each.cells, dtype=float).reshape(HEAT, HEAT)
        most = float(cells.max())
        axes = _place(figure, left, top + 0.24, side, side)
        axes.imshow(cells, cmap=colors, norm=Normalize(0, most or 1), interpolation="nearest", aspect="auto")
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set(visible=True, linewidth=0.4, edgecolor=GREY)
        _write(figure, left, top + 0.02, label, size=NAME, weight="bold")
        small = 5.5 if side > 0.6 else 4.8
        told = (
            f"{_percent(most)} · n {each.images:,}" if len(frames) == 1 else f"{_percent(most)} · n {each.images:,} {each.frame}"
        )
        _write(figure, left, top + 0.135, _fit(told, side + 0.04, small), size=small, color=GREY)
    _footnote(figure, *notes)
    return figure


def _more(count: int, one: str, several: str) -> str:
    return f"and {count:,} more {one if count == 1 else several}" if count > 0 else ""


# Survival


def _survival(sheet: _Sheet) -> Figure:
    """A panel a way to shrink, a row a category: bars for regions that vanish, dots for images left without a defect."""
    rows = _apart(sheet.statistics.survival)
    if not rows:
        return _nothing("no defects")
    found = {(row.category, row.shrinking): row for row in rows}
    ways = [name for name in SHRINKINGS if any(row.shrinking == name for row in rows)]
    ways += sorted({row.shrinking for row in rows} - set(ways))
    categories, labels, margin, notes = _side(sheet, (row.category for row in rows))
    head, foot = 0.46, 0.36 + _foot(*notes)
    figure = Figure(figsize=(COLUMN, head + PITCH * len(categories) + foot))
    each = (COLUMN - margin - 0.04) / len(ways)
    shares = [100 * row.lost_regions / row.regions for row in rows if row.regions]
    shares += [100 * row.lost_images / row.images for row in rows if row.images]
    most = max([*shares, 10.0])
    dot: dict[str, Any] = {"marker": "o", "markersize": 2.4, "color": INK, "markeredgewidth": 0, "linestyle": ""}
    for number, way in enumerate(ways):
        axes = _place(figure, margin + each * number, head, each - 0.07, PITCH * len(categories))
        there = [(line, found[category, way]) for line, category in enumerate(categories) if (category, way) in found]
        there = [(line, row) for line, row in there if row.regions]
        gone = [100 * row.lost_regions / row.regions for _, row in there]
        alone = [100 * row.lost_images / row.images if row.images else 0.0 for _, row in there]
        tones = [BLUE if row.category == ALL else SKY for _, row in there]
        axes.barh([line for line, _ in there], gone, height=0.68, color=tones, linewidth=0)
        axes.plot(alone, [line for line, _ in there], **dot)
        for (line, _), share, dotted in zip(there, gone, alone, strict=True):
            beside = max(share, dotted + 0.04 * most) + 0.03 * most
            axes.text(beside, line, f"{share:.0f}", size=5.5, va="center_baseline", ha="left")
        _rows(axes, labels if number == 0 else [""] * len(categories))
        axes.set_xlim(0, most * 1.3)
        axes.xaxis.set_major_locator(MaxNLocator(2, integer=True))
        axes.set_title(way.replace("-", "\n"), size=NAME, weight="normal", pad=2)
        axes.spines["left"].set_visible(True)
    handles = [Patch(facecolor=SKY), figure.axes[0].plot([], [], **dot)[0]]
    texts = ["regions that vanish", "images left without a defect"]
    _legend(figure, handles, texts, 2)
    middle = (margin + COLUMN) / 2 / COLUMN
    figure.text(middle, (foot - 0.33) / figure.get_figheight(), "lost, %", ha="center", va="bottom")
    _footnote(figure, *notes)
    return figure


# Types by size class


def _sizes(sheet: _Sheet) -> Figure:
    """A bar a type, cut by size class; categories as headings."""
    types = [row for row in sheet.statistics.types if row.category != ALL and row.regions]
    if not types:
        return _nothing("no defects")
    kept = set(sorted(types, key=lambda row: (-row.regions, row.category, row.type))[:MOST_ROWS])
    blocks: dict[str, list[TypeRow]] = {}
    for row in types:
        if row in kept:
            blocks.setdefault(row.category, []).append(row)
    labels = {category: sheet.label([row.type for row in rows], NAMES - 0.1) for category, rows in blocks.items()}
    headings = sheet.label(list(blocks), COLUMN - 0.5, "bold")
    margin = max(_width(label, NAME) for texts in labels.values() for label in texts) + 0.2
    notes = (_more(len(types) - len(kept), "type", "types"), _spelled(sheet))
    lines, head, foot = len(kept) + len(blocks), 0.24, 0.36 + _foot(*notes)
    figure = Figure(figsize=(COLUMN, head + PITCH * lines + foot))
    wide = COLUMN - margin - 0.42
    axes = _place(figure, margin, head, wide, PITCH * lines)
    beside: dict[str, Any] = {"size": 6, "va": "center_baseline", "transform": axes.get_yaxis_transform(), "color": GREY}
    texts: list[str] = []
    bars: list[tuple[int, TypeRow]] = []
    for heading, (category, rows) in zip(headings, blocks.items(), strict=True):
        axes.text(-(margin - 0.06) / wide, len(texts), heading, **beside | {"size": NAME, "weight": "bold", "color": INK})
        bars += [(len(texts) + 1 + number, row) for number, row in enumerate(rows)]
        texts += ["", *labels[category]]
    axes.text(1.02, 0, "n", **beside)
    left = np.zeros(len(bars))
    for number, color in enumerate(ORDERED):
        shares = np.array([100 * row.sizes[number] / row.regions for _, row in bars])
        axes.barh([line for line, _ in bars], shares, left=left, height=0.74, color=color, linewidth=0)
        left += shares
    for line, row in bars:
        axes.text(1.02, line, f"{row.regions:,}", **beside)
    _rows(axes, texts)
    axes.set_xlim(0, 100)
    axes.set_xlabel("regions, %")
    bounds = [f" < {math.isqrt(int(bound))}²" if math.isfinite(bound) else "" for bound in sizes.BOUNDS.values()]
    handles = [Patch(facecolor=color, edgecolor=GREY, linewidth=0.3) for color in ORDERED]
    told = [f"{name}{bound}" for name, bound in zip(sizes.NAMES, bounds, strict=True)]
    _legend(figure, handles, told, 4)
    _footnote(figure, *notes)
    return figure


# Balance


def _balance(sheet: _Sheet) -> Figure:
    """A bar a category: images by split and state, and the tiles that no split uses where that is known."""
    statistics = sheet.statistics
    parts: dict[str, dict[str, int]] = {row.category: {} for row in statistics.overview if row.category != ALL}
    for row in statistics.overview:
        if row.category != ALL:
            counts = {"train": row.train, "validation": row.validation, "test, good": row.good, "test, defect": row.defect}
            parts[row.category].update(counts)
    for step in statistics.balance:
        if step.category in parts and step.step in ("ambiguous", "poisoned", "clean, unused"):
            parts[step.category][f"{step.step.removesuffix(', unused')}, unused"] = step.good + step.defect
        if step.category in parts and step.step == "train" and step.defect:
            parts[step.category]["train"] = step.good
            parts[step.category]["train, defect"] = step.defect
    looks = {
        "train": (BLUE, ""),
        "train, defect": (PURPLE, "xxxx"),
        "validation": (GREEN, ""),
        "test, good": (SKY, ""),
        "test, defect": (RED, ""),
        "ambiguous, unused": (PALE, "////"),
        "poisoned, unused": (PALE, "xxxx"),
        "clean, unused": (PALE, ""),
    }
    if not any(sum(counts.values()) for counts in parts.values()):
        return _nothing("no images")
    categories, labels, margin, notes = _side(sheet, parts)
    used = [part for part in looks if any(counts.get(part) for counts in parts.values())]
    head, foot = 0.12 + 0.13 * math.ceil(len(used) / 3), 0.36 + _foot(*notes)
    figure = Figure(figsize=(COLUMN, head + PITCH * len(categories) + foot))
    axes = _place(figure, margin, head, COLUMN - margin - 0.42, PITCH * len(categories))
    left = np.zeros(len(categories))
    for part in used:
        numbers = np.array([parts[category].get(part, 0) for category in categories])
        color, hatch = looks[part]
        axes.barh(range(len(numbers)), numbers, left=left, height=0.74, color=color, hatch=hatch, edgecolor=GREY, linewidth=0)
        left += numbers
    for line, total in enumerate(left):
        axes.text(1.02, line, f"{total:,.0f}", size=6, va="center_baseline", transform=axes.get_yaxis_transform(), color=GREY)
    _rows(axes, labels)
    axes.set_xlim(0, left.max() or 1)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel("images")
    handles = [Patch(facecolor=looks[part][0], hatch=looks[part][1], edgecolor=GREY, linewidth=0) for part in used]
    _legend(figure, handles, used, 3)
    _footnote(figure, *notes)
    return figure


# Looks


def _looks(sheet: _Sheet) -> Figure:
    """Boxes from 25 to 75 %, lines from 5 to 95 %, a stroke at the median; a colour a split."""
    rows = _apart(sheet.statistics.looks)
    if not rows:
        return _nothing("no images")
    found = {(row.category, row.split): row for row in rows}
    categories, labels, margin, below = _side(sheet, (row.category for row in rows))
    colors = {"train": BLUE, "validation": GREEN, "test": RED}
    splits = [split for split in colors if any(row.split == split for row in rows)]
    splits += sorted({row.split for row in rows} - set(splits))
    pitch = max(PITCH, 0.07 * len(splits) + 0.03)
    notes = ("Box: the middle half; line: 5 to 95 %; stroke: median.", *below)
    head, foot = 0.36, 0.22 + _foot(*notes)
    figure = Figure(figsize=(COLUMN, head + pitch * len(categories) + foot))
    each = (COLUMN - margin - 0.06) / 3
    high = 0.8 / len(splits)
    for number, key in enumerate(("brightness", "contrast", "sharpness")):
        axes = _place(figure, margin + each * number, head, each - 0.1, pitch * len(categories))
        for order, split in enumerate(splits):
            there = [(line, found[category, split]) for line, category in enumerate(categories) if (category, split) in found]
            places = [line - 0.4 + high * (order + 0.5) for line, _ in there]
            _boxes(axes, [getattr(row, key) for _, row in there], np.array(places), high * 0.72, colors.get(split, GREY))
        _rows(axes, labels if number == 0 else [""] * len(categories))
        values: list[Quantiles] = [getattr(row, key) for row in rows]
        low, most = min(value.q5 for value in values), max(value.q95 for value in values)
        if low > 0 and most / low > 30:
            axes.set_xscale("log")
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set_xlim(low / 1.2, most * 1.2)
            ticks = _log_ticks(low / 1.2, most * 1.2)
            axes.xaxis.set_major_locator(FixedLocator(ticks[:: math.ceil(len(ticks) / 3)]))
        else:
            axes.set_xlim(max(0.0, low - 0.08 * (most - low)), most + 0.08 * (most - low) + (most == low))
            axes.xaxis.set_major_locator(MaxNLocator(2))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}" if value < 1000 else f"{value:,.0f}"))
        axes.set_title(key, size=NAME, weight="normal", pad=2)
        between = [line - 0.5 for line in range(1, len(categories))]
        axes.hlines(between, 0, 1, color=PALE, linewidth=0.3, zorder=0, transform=axes.get_yaxis_transform())
    handles = [Patch(facecolor=colors.get(split, GREY)) for split in splits]
    _legend(figure, handles, [split or "no split" for split in splits], 4)
    _footnote(figure, *notes)
    return figure


def _boxes(axes: Axes, values: Sequence[Quantiles], lines: NDArray[np.float64], high: float, color: str) -> None:
    axes.hlines(lines, [each.q5 for each in values], [each.q95 for each in values], color=color, linewidth=0.6)
    widths = [each.q75 - each.q25 for each in values]
    axes.barh(lines, widths, left=[each.q25 for each in values], height=high, color=color, linewidth=0, alpha=0.85)
    for shade, width in (("white", 1.1), (INK, 0.5)):
        axes.vlines([each.q50 for each in values], lines - high / 2, lines + high / 2, color=shade, linewidth=width)


# Types together


def _together(sheet: _Sheet) -> Figure:
    """Of each category half a matrix of the types that share images: how many, and the types' numbers on the diagonal."""
    pairs = [pair for pair in sheet.statistics.together if pair.category != ALL and pair.images]
    if not pairs:
        return _nothing("no image shows two types")
    often: dict[str, Counter[str]] = {}
    for pair in pairs:
        often.setdefault(pair.category, Counter()).update({pair.first: pair.images, pair.second: pair.images})
    blocks: list[tuple[str, list[str]]] = []
    for category, found in often.items():
        kept = sorted(found, key=lambda kind: (-found[kind], kind))[:MOST_TOGETHER]
        if sum(len(kinds) + 2 for _, kinds in blocks) + len(kept) > MOST_ROWS:
            break
        blocks.append((category, sorted(kept)))
    counts = {(pair.category, frozenset((pair.first, pair.second))): pair.images for pair in pairs}
    named = {category: set(kinds) for category, kinds in blocks}
    shown = [images for (category, kinds), images in counts.items() if kinds <= named.get(category, set())]
    most = max(len(kinds) for _, kinds in blocks)
    cell = min(0.24, max(PITCH, 1.9 / most))
    width = max(COLUMN, NAMES + 0.2 + cell * most)
    notes = (
        "Images that show both types, of row and column.",
        _more(len(counts) - len(shown), "pair", "pairs"),
        _spelled(sheet),
    )
    lines = sum(len(kinds) + 1.4 for _, kinds in blocks)
    figure = Figure(figsize=(width, 0.14 + PITCH * lines + _foot(*notes)))
    colors, scale = colormaps["Blues"], math.log1p(max(shown, default=1))
    top = 0.06
    for category, kinds in blocks:
        _write(figure, 0.06, top, sheet.label([category], width - 0.2, "bold")[0], size=NAME, weight="bold")
        top += PITCH * 0.9
        labels = sheet.label(kinds, width - cell * most - 0.46)
        axes = _place(figure, width - cell * most - 0.06, top, cell * len(kinds), PITCH * len(kinds))
        axes.set_xlim(0, len(kinds))
        axes.set_ylim(len(kinds), 0)
        axes.axis("off")
        for row, (kind, label) in enumerate(zip(kinds, labels, strict=True)):
            _write(figure, width - cell * most - 0.12, top + PITCH * (row + 0.18), f"{label}  {row + 1}", size=NAME, ha="right")
            axes.text(row + 0.5, row + 0.5, f"{row + 1}", size=5.5, ha="center", va="center_baseline", color=GREY)
            for column in range(row):
                images = counts.get((category, frozenset((kind, kinds[column]))), 0)
                tone = 0.12 + 0.8 * math.log1p(images) / scale if images else 0.0
                axes.barh(
                    row + 0.5, 0.94, left=column + 0.03, height=0.9, color=colors(tone) if images else "#F5F5F5", linewidth=0
                )
                if images:
                    text = f"{images:,}" if cell >= 0.2 or images < 100 else "⁺" if images > 999 else f"{images}"
                    color = "white" if tone > 0.55 else INK
                    axes.text(
                        column + 0.5,
                        row + 0.5,
                        text,
                        size=5 if cell >= 0.2 else 4,
                        ha="center",
                        va="center_baseline",
                        color=color,
                    )
        top += PITCH * (len(kinds) + 0.5)
    _footnote(figure, *notes)
    return figure
