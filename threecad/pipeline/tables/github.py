"""The tables in GitHub's Markdown, which shows other people's names and never obeys them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from threecad.curation.statistics import Statistics
from threecad.pipeline.summary import plain
from threecad.pipeline.tables.grid import Grid, grids
from threecad.pipeline.tables.judgement import verdict


def markdown(statistics: Statistics, compared: Sequence[Statistics] = ()) -> str:
    """All tables as GitHub shows them, each under its title, and the verdict."""
    parts = [f"**{mark_down(verdict(statistics))}**"]
    for grid in grids(statistics, compared):
        parts += [f"### {mark_down(grid.title)}", "\n".join(_pipes(grid))]
        if grid.more:
            parts.append(f"… and {grid.more:,} more.")
        if grid.note:
            parts.append(mark_down(grid.note))
    return "\n\n".join(parts) + "\n"


def _pipes(grid: Grid) -> Iterable[str]:
    heads = [mark_down(column.replace("\n", " ")) for column in grid.columns]
    yield f"| {' | '.join(heads)} |"
    yield f"| {' | '.join('---:' if align == 'r' else ':---' for align in grid.align)} |"
    for row in grid.rows:
        yield f"| {' | '.join(mark_down(cell) for cell in row)} |"


def mark_down(text: str) -> str:
    r"""Text that Markdown shows as it is, in a cell or outside.

    >>> print(mark_down("a|b <b>_c_</b> `d` $e$"))
    a\|b &lt;b&gt;\_c\_&lt;/b&gt; \`d\` \$e\$
    """
    marks = {"<": "&lt;", ">": "&gt;", "&": "&amp;", **{char: f"\\{char}" for char in "\\`*_[]|$~#"}}
    return "".join(marks.get(char, char) for char in plain(text))
