"""Images in folders and no masks at all, as photographs of textures come: the last layout to be tried.

`places` says what the folders tell: category, split, good or of which type. Where they do not, nobody knows what an image shows.
"""

from __future__ import annotations

from threecad.domain import Entry, Finding, State
from threecad.errors import LayoutError
from threecad.formats.layouts import NAMES, Listing, Request
from threecad.formats.layouts.files import Tree, annotation, contents, in_order, joined, titled, told, without_mask
from threecad.formats.layouts.places import places

NAME = "folder"


def recognises(tree: Tree) -> bool:
    return annotation(tree) is None and any(True for folder in tree.folders for _ in tree.images(folder))


def read(tree: Tree, request: Request) -> Listing:
    knowledge = places((folder for folder in tree.folders if any(tree.images(folder))), titled(tree))
    entries: list[Entry] = []
    findings: list[Finding] = []
    for folder, place in knowledge.items():
        for _, name in tree.images(folder):
            path = joined(folder, name)
            entries.append(Entry(path, place.category, place.split, place.state, place.labels, path, (), path))
            if place.state is State.DEFECT:
                findings.append(without_mask(path, "there are no masks in this layout"))
    if not entries:
        raise refusal(tree)
    return Listing(NAME, in_order(entries), told(tree.findings, findings))


def refusal(tree: Tree) -> LayoutError:
    """Why no layout fits."""
    found = annotation(tree)
    if found is not None:
        return LayoutError(
            f"{tree.root}: found annotations such as {found}; expected a finished data set: run threecad convert first"
        )
    return LayoutError(
        f"{tree.root}: found {contents(tree.root)}; expected a data set in one of these layouts: {', '.join(NAMES)}"
    )
