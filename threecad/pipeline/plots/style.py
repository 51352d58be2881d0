"""How every figure looks: widths, type and colours, for print, for colour-blind readers and for grey."""

from __future__ import annotations

from typing import Any

COLUMN, PAGE = 3.3, 7.0
"""Widths in inches: one column of a two-column paper, and both."""
PITCH = 0.135
"""Height of a row in inches: 6.5 pt type with air."""
MOST_ROWS = 120
"""Rows of a figure; a figure of more would be read by nobody."""
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
