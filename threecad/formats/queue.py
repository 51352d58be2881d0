"""The relabel queue: what a person has to look at, as a table and as labelme files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from threecad.domain import MEANING, Action, Finding

COLUMNS = ("source", "shape", "code", "reason", "detail", "x", "y")
_FORMULA = ("=", "+", "-", "@", "|", "%", "＝", "＋", "－", "＠")
"""What a formula begins with; the full-width signs count where the spreadsheet speaks Chinese or Japanese."""


def table(findings: Iterable[Finding]) -> str:
    """The queued findings as CSV, a line each: file, number of the shape, code, reason, detail, and where to look.

    A cell that a spreadsheet would take for a formula begins with an apostrophe.

    >>> from threecad.domain import Code
    >>> print(table([Finding(Code.NO_AREA, Action.QUEUED, "=a.png", 0, "3 points in a line", (1.0, 2.0))]))
    source,shape,code,reason,detail,x,y
    '=a.png,0,TC103,the outline encloses no area,3 points in a line,1.0,2.0
    <BLANKLINE>
    """
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for finding in findings:
        if finding.action is Action.QUEUED:
            x, y = finding.place or ("", "")
            shape = "" if finding.shape is None else finding.shape
            cells = (finding.source, shape, finding.code.value, MEANING[finding.code], finding.detail, x, y)
            rows.writerow(map(cell, cells))
    return text.getvalue()


def cell(value: object) -> object:
    """A value as a cell of a CSV file: a number as it is, text without what a spreadsheet would run.

    Text that begins with a sign of a formula, behind any blanks, gets an apostrophe before it.

    >>> [cell(value) for value in (-0.25, None, True, "a", "=1+1", " @x", "＝1", "-3")]
    [-0.25, '', 'true', 'a', "'=1+1", "' @x", "'＝1", "'-3"]
    """
    if value is None or isinstance(value, bool):
        return "" if value is None else str(value).lower()
    if isinstance(value, int | float):
        return value
    text = str(value).encode("utf-8", "backslashreplace").decode()
    return f"'{text}" if text.startswith(("\t", "\r")) or text.lstrip().startswith(_FORMULA) else text
