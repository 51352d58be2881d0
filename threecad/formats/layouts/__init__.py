"""Finished data sets as their authors hand them out: one module a layout, each of which gives the same entries.

`read` recognises the layout by what stands in the folder, or takes the one that is asked for. A layout's module has `NAME`,
`recognises(tree)`, which looks at names only and never raises, and `read(tree, request)`. docs/layouts.md tells them all, in the
order in which they are tried.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from threecad.errors import LayoutError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from threecad.domain import Entry, Finding
    from threecad.formats.layouts.files import Tree

NAMES = ("threecad", "visa", "realiad", "manifest", "deeppcb", "mvtec", "index", "pair", "beside", "folder")
"""The layouts in the order in which they are tried."""


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


class _Layout(Protocol):
    """What a layout's module has."""

    NAME: str

    def recognises(self, tree: Tree) -> bool: ...
    def read(self, tree: Tree, request: Request) -> Listing: ...


def read(root: Path, request: Request | None = None) -> Listing:
    """The images of the data set at `root`. LayoutError where no layout fits, or the one asked for does not; ReadError names the
    list, and the line of it, that cannot be read."""
    # Imported here, not above: the modules need the two classes, and who asks for help needs none of the modules.
    from threecad.formats.layouts import (
        beside,
        deeppcb,
        folder,
        index,
        manifest,
        mvtec,
        pair,
        realiad,
        threecad,
        visa,
    )
    from threecad.formats.layouts.files import shown, walk

    modules: tuple[_Layout, ...] = (threecad, visa, realiad, manifest, deeppcb, mvtec, index, pair, beside, folder)
    request = request or Request()
    wanted = request.layout
    if wanted is not None and wanted not in NAMES:
        raise LayoutError(f"found layout {wanted!r}; expected one of {', '.join(NAMES)}")
    if wanted is None and request.masks is not None:
        wanted = "index" if request.names else "pair"
    tree = walk(root)
    threecad.refuse_unfinished(root)
    found = next((each for each in modules if wanted == each.NAME or (wanted is None and each.recognises(tree))), None)
    if found is None:
        raise folder.refusal(tree)
    if wanted is None and found is pair and request.names:
        found = index
    _refuse_unheard(root, found.NAME, request)
    listing = found.read(tree, request)
    if not listing.entries and found is not threecad:  # of a conversion the findings tell why, and the queue
        why = f" ({shown(listing.findings[0].source)}: {listing.findings[0].detail})" if listing.findings else ""
        raise LayoutError(f"{root}: found layout {found.NAME} without an image that can be used{why}; expected at least one")
    return listing


_HEARD = {"images": ("pair", "index", "realiad"), "masks": ("pair", "index"), "table": ("visa", "realiad", "manifest")}
_HEARD |= {"names": ("visa", "index")}
"""Which layouts a request's parts are for."""


def _refuse_unheard(root: Path, layout: str, request: Request) -> None:
    """LayoutError where a person says something that the layout has no use for: it is another data set than they think."""
    for part, layouts in _HEARD.items():
        if layout not in layouts and getattr(request, part) is not None:
            raise LayoutError(f"{root}: found layout {layout}, for which no {part} can be named; expected {' or '.join(layouts)}")
