"""The relabel queue: what a person has to look at, as a table and as labelme files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from threecad.domain import MEANING, Action, Finding

COLUMNS = ("source", "shape", "code", "reason", "detail", "x", "y")


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
            rows.writerow(_plain(cell) for cell in cells)
    return text.getvalue()


def _plain(cell: object) -> str:
    text = str(cell).encode("utf-8", "backslashreplace").decode()
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) and not _number(text) else text


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
