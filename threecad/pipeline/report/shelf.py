"""Rows that a page shows a few at a time: in the page where they are few, else in scripts beside it that it loads on demand."""

from __future__ import annotations

import json
from typing import Any

from threecad.pipeline.report.beside import Beside


def embeddable(value: object) -> str:
    r"""JSON that may stand inside a script element, whatever strings it holds.

    >>> embeddable({"label": "</script><img onerror=x>\u2028"})
    '{"label":"\\u003c/script\\u003e\\u003cimg onerror=x\\u003e\\u2028"}'
    """
    text = json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


class Shelf:
    """Rows in blocks of `size`. With a `beside`, each block becomes a script there as soon as it is full."""

    def __init__(self, name: str, size: int, beside: Beside | None) -> None:
        self._name = name
        self._size = size
        self._beside = beside
        self._rows: list[Any] = []
        self._files: list[str] = []

    def add(self, row: Any) -> None:
        self._rows.append(row)
        if self._beside is not None and len(self._rows) == self._size:
            self._put()

    def told(self) -> dict[str, Any]:
        """What the page has to know: the rows themselves, or where they are."""
        if self._beside is None:
            return {"size": max(len(self._rows), 1), "rows": self._rows}
        if self._rows:
            self._put()
        return {"size": self._size, "files": self._files}

    def _put(self) -> None:
        assert self._beside is not None
        told = f"{embeddable(self._name)},{len(self._files)},{embeddable(self._rows)}"
        self._files.append(self._beside.script(f"threecadRows({told});\n"))
        self._rows = []
