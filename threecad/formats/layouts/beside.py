"""Image and mask in one folder, as the magnetic tiles and Kolektor's surfaces come:

    MT_Blowhole/Imgs/a.jpg     its mask a.png, or a_mask, a_label, a_gt of any suffix

`places` says what the folders tell: category, split, good or of which type.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from posixpath import splitext

from threecad.domain import Entry, Finding, MaskFile, State
from threecad.errors import LayoutError
from threecad.formats.layouts import Listing, Request
from threecad.formats.layouts.files import Tree, contents, in_order, joined, orphan, titled, told, without_mask
from threecad.formats.layouts.places import Place, places

NAME = "beside"
_MARKED = re.compile(r"(.+)[_-](mask|label|gt)", re.IGNORECASE)


def recognises(tree: Tree) -> bool:
    """A folder in which at least half of the images have their mask beside them, and none a JSON file."""
    return any(_is_beside(tree, folder) for folder in tree.folders)


def _is_beside(tree: Tree, folder: str) -> bool:
    images, masks, _ = _sorted_out(tree, folder)
    annotated = {splitext(name)[0] for name in tree.files(folder, ".json")}
    return bool(masks) and 2 * len(masks) >= len(images) and not any(stem in annotated for stem in masks)


def _sorted_out(tree: Tree, folder: str) -> tuple[list[tuple[str, str]], Mapping[str, str], list[str]]:
    """(stem, name) of the images, name of an image → name of its mask, and the masks of no image."""
    files = list(tree.images(folder))
    stems = {stem for stem, _ in files}
    lossless = {stem for stem, name in files if name.lower().endswith(".png")}
    others = {stem for stem, name in files if not name.lower().endswith(".png")}
    masks: dict[str, str] = {}
    images: list[tuple[str, str]] = []
    lost: list[str] = []
    for stem, name in files:
        marked = _MARKED.fullmatch(stem)
        own = marked[1] if marked and marked[1] in stems else None
        if own is None and stem in lossless & others and name.lower().endswith(".png"):
            own = stem
        if own is None:
            images.append((stem, name))
        elif own in masks:
            lost.append(name)
        else:
            masks[own] = name
    return images, masks, lost


def read(tree: Tree, request: Request) -> Listing:
    knowledge = places((folder for folder in tree.folders if any(tree.images(folder))), titled(tree))
    entries: list[Entry] = []
    findings: list[Finding] = []
    for folder, place in knowledge.items():
        images, masks, lost = _sorted_out(tree, folder)
        found, faults = _folder(folder, place, images, masks)
        entries += found
        findings += [*faults, *(orphan(joined(folder, name), "of an image that has another mask") for name in lost)]
    if not any(entry.masks for entry in entries):
        raise LayoutError(f"{tree.root}: found {contents(tree.root)}; expected a.png or a_mask.png beside an image a.jpg")
    return Listing(NAME, in_order(entries), told(tree.findings, findings))


def _folder(
    folder: str, place: Place, images: list[tuple[str, str]], masks: Mapping[str, str]
) -> tuple[list[Entry], list[Finding]]:
    entries: list[Entry] = []
    findings: list[Finding] = []
    for stem, name in images:
        path = joined(folder, name)
        files = (MaskFile(joined(folder, masks[stem])),) if stem in masks else ()
        entries.append(Entry(path, place.category, place.split, place.state, place.labels, path, files, path))
        if not files and place.state is not State.GOOD:
            findings.append(without_mask(path, f"no {stem}.png and no {stem}_mask beside it"))
    return entries, findings
