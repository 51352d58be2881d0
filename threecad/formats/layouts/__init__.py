"""Finished data sets as their authors hand them out: one module a layout, each of which gives the same entries.

`read` recognises the layout by what stands in the folder, or takes the one that is asked for. A layout's module has `NAME`,
`recognises(root)`, which looks at names only and never raises, and `read(root, request)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from threecad.domain import Entry, Finding


@dataclass(frozen=True, slots=True)
class Request:
    """What a person may say about a data set that its folders do not: `layout` by name; for a pair of folders, where `images`
    and `masks` lie; `table` is a split file (VisA's CSV, Real-IAD's JSON) when there are several; `names` pairs the values of
    index masks with types."""

    layout: str | None = None
    images: str | None = None
    masks: str | None = None
    table: str | None = None
    names: Mapping[int, str] | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """A data set's images, sorted by category, split and image; what is amiss with its files as far as names tell."""

    layout: str
    entries: list[Entry]
    findings: list[Finding]


def read(root: Path, request: Request | None = None) -> Listing:
    """The images of the data set at `root`. LayoutError where no layout fits, or the one asked for does not."""
    raise NotImplementedError
