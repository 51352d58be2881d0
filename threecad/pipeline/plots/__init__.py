"""The figures of `threecad stats --plots DIR`: Figure 3 of the paper, and what no table shows well.

They are made for print: one column (3.3 in) wide where that can be read, 7 pt type, vector and 300 dpi, colours that stay apart
for colour-blind readers and in grey. The same numbers give the same bytes with the same matplotlib and fonts. A figure is drawn
from `Statistics` alone and comes out for an empty data set too.

Matplotlib's objects are used without pyplot; its settings are changed while a figure is made and put back after.

style.py    widths, type, colours             lettering.py                   fonts, and names that fit
frames.py   what the figures have in common   spreads.py, bars.py, maps.py   the figures
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from threecad.curation.statistics import Statistics
from threecad.errors import LayoutError, ThreecadError
from threecad.pipeline.files import write_atomically
from threecad.pipeline.plots import bars, maps, spreads
from threecad.pipeline.plots.lettering import Sheet, letter, names_in, quiet, styled
from threecad.pipeline.summary import plain

FORMATS = ("svg", "pdf", "png")
TITLES = {
    "balance": "Images by split and state",
    "figure-3": "Area ratio and aspect ratio of the defects",
    "heat": "Where defects lie",
    "looks": "Brightness, contrast and sharpness",
    "sizes": "Types by size class",
    "survival": "Defects that vanish at model size",
    "together": "Types in the same image",
}


def draw(statistics: Statistics, folder: Path, compared: Sequence[Statistics] = ()) -> list[Path]:
    """Write every figure as SVG, PDF and PNG into `folder`, which is made; the files, sorted.

    LayoutError if the folder is a file or its parent is none, ThreecadError if a figure cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise LayoutError(f"{folder} is a file; expected a folder to write figures into")
    if not folder.exists() and not folder.parent.is_dir():
        raise LayoutError(f"{folder}: no folder {folder.parent}; expected one to make the folder of figures in")
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
    figures: dict[str, Callable[[Sheet], Figure]] = {
        "balance": bars.balance,
        "figure-3": lambda sheet: spreads.figure_3(sheet, compared),
        "heat": maps.heat,
        "looks": spreads.looks,
        "sizes": bars.types,
        "survival": bars.survival,
        "together": maps.together,
    }
    with quiet():
        lettering = letter(names_in(statistics, compared))
    for name, make in figures.items():
        if only and name not in only:
            continue
        with quiet(), styled(lettering):
            figure = make(Sheet(statistics, lettering))
            made = [(f"{name}.{form}", saved(figure, form, f"{plain(statistics.name)}: {TITLES[name]}")) for form in formats]
        yield from made  # outside, so that whoever takes them never sees our style


def saved(figure: Figure, form: str, title: str, dpi: float | None = None) -> bytes:
    """A figure as a file, without the day, the program's version, or anything else that differs from run to run; 300 dpi if not
    said otherwise."""
    told: dict[str, dict[str, Any]] = {
        "svg": {"Date": None, "Creator": None, "Title": title},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None, "Title": title},
        "png": {"Software": None, "Title": title},
    }
    file = io.BytesIO()
    figure.savefig(file, format=form, metadata=told[form], dpi=dpi)
    return file.getvalue()
