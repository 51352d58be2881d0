"""The tables of the paper as LaTeX, which prints other people's names and never obeys them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from threecad.curation.statistics import ALL, Statistics
from threecad.pipeline.summary import plain
from threecad.pipeline.tables.grid import SPREADS, Grid, grids, stacked
from threecad.pipeline.tables.writing import NO, YES

_LATEX = {
    **{char: f"\\{char}" for char in "{}$&#%_"},
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"$\sim$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"{\char34}",
    "`": r"{\char96}",
    "*": "{*}",  # after a line's end a star or a bracket would be its argument
    "[": "{[}",
    "]": "{]}",
    YES: r"$\checkmark$",
    NO: r"$\times$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "±": r"$\pm$",
    "µ": r"$\mu$",
    "°": r"$^\circ$",
    "²": "$^2$",
    "³": "$^3$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "–": "--",
    "—": "---",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "ı": r"\i{}",
}
_ACCENTS = dict(
    zip("\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0327", "`'^~=u.\"rHvc", strict=True),
)


def latex(statistics: Statistics, compared: Sequence[Statistics] = ()) -> str:
    r"""Tables 1 and 2 and the quantiles of Figure 3 as LaTeX, each a `table*` with a caption and a label to refer to.

    They need the packages booktabs and amssymb, and any engine. Letters that plain LaTeX lacks stand as `\uXXXX`, and a comment
    says what they are.
    """
    chosen = [grid for grid in grids(statistics, compared) if grid.key in ("overview", "comparison", *dict(SPREADS))]
    lines = [f"% threecad stats: {plain(statistics.name)}", r"% \usepackage{booktabs,amssymb}"]
    names = dict.fromkeys(row[0] for grid in chosen for row in grid.rows)
    lines += [f"% {spelled}: {plain(name)}" for name in names if (spelled := spelled_out(plain(name))) != plain(name)]
    for grid in chosen:
        lines += ["", *_tabular(grid, statistics.name)]
    return "\n".join(lines) + "\n"


def _tabular(grid: Grid, name: str) -> Iterator[str]:
    title = grid.title.partition(": ")[2] if grid.title.startswith(("Table", "Figure")) else grid.title
    caption = f"{title[:1].upper()}{title[1:]} ({plain(name)})." + (f" {grid.note}" if grid.note else "")
    yield r"\begin{table*}[t]"
    yield r"\centering"
    yield f"\\caption{{{escaped(caption)}}}"
    yield f"\\label{{tab:{grid.key.replace('_', '-')}}}"
    yield f"\\begin{{tabular}}{{{grid.align.replace('p', 'l')}}}"
    yield r"\toprule"
    for line in zip(*stacked(grid.columns), strict=True):  # a heading of several lines, as several rows: needs no package
        yield " & ".join(map(escaped, line)) + r" \\"
    yield r"\midrule"
    for row in grid.rows:
        if row[0] == ALL and len(grid.rows) > 1:
            yield r"\midrule"
        yield " & ".join(escaped(cell) for cell in row) + r" \\"
    yield r"\bottomrule"
    yield r"\end{tabular}"
    yield r"\end{table*}"


def escaped(text: str) -> str:
    r"""Text that LaTeX prints and never obeys.

    >>> print(escaped("a_b & 50 % of é"), escaped("1~6/1~1"), escaped(r"\input{x}"))
    a\_b \& 50 \% of \'{e} 1$\sim$6/1$\sim$1 \textbackslash{}input\{x\}
    >>> print(escaped("划痕"))
    \textbackslash{}u5212\textbackslash{}u75d5
    """
    # Two equal signs in a row would become one, as -- becomes a dash.
    return "".join(map(_glyph, re.sub(r"([-',])(?=\1)", "\\1\0", plain(text)))).replace("\0", "{}")


def _glyph(char: str) -> str:
    if char in _LATEX:
        return _LATEX[char]
    if char.isascii():
        return char
    parts = unicodedata.normalize("NFD", char)
    base, mark = parts[0], parts[1:]
    if base.isascii() and base.isalpha() and mark in _ACCENTS:
        dotless = "\\" if base in "ij" else ""
        return f"\\{_ACCENTS[mark]}{{{dotless}{base}}}"
    return "".join(_LATEX.get(each, each) for each in _code_point(char))


def spelled_out(text: str) -> str:
    """The text as LaTeX shows it: what plain LaTeX lacks is spelled."""
    return "".join(_code_point(char) if _glyph(char).startswith(r"\textbackslash{}u") and char != "\\" else char for char in text)


def _code_point(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"
