"""What `threecad stats` tells of a data set, as text: for the terminal, JSON, CSV, LaTeX and Markdown.

The tables are laid out once, as text (`grids`); the terminal, LaTeX and Markdown differ in how a cell is escaped and a rule is
drawn. JSON and CSV hold the numbers themselves. Names and labels are other people's: no format lets them do anything.

grid.py       every table, laid out as text    writing.py          how a number is written
terminal.py   the terminal                     judgement.py        the verdict in one sentence
data.py       JSON, its schema, CSV            tex.py, github.py   LaTeX, Markdown
"""

from __future__ import annotations

from threecad.pipeline.tables.data import CSV_COLUMNS, as_json, csv_text, schema
from threecad.pipeline.tables.github import markdown
from threecad.pipeline.tables.grid import grids
from threecad.pipeline.tables.judgement import verdict
from threecad.pipeline.tables.terminal import show
from threecad.pipeline.tables.tex import latex

__all__ = ["CSV_COLUMNS", "as_json", "csv_text", "grids", "latex", "markdown", "schema", "show", "verdict"]
