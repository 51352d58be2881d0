"""Two folders side by side, one of images and one of masks: `images/a.jpg` and `masks/a.png` or `masks/a_mask.png`.

Both may lie anywhere (`bottle/train/images` and `bottle/train/masks`) and hold the same folders (`images/test/a.jpg`,
`masks/test/a.png`); `places` says what these tell. Unless they do, only the mask knows whether an image is good.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

from threecad.domain import Entry, Finding, MaskFile, State
from threecad.errors import LayoutError
from threecad.formats.layouts import Listing, Request
from threecad.formats.layouts.files import (
    PHOTO_FOLDERS,
    Tree,
    chosen,
    contents,
    in_order,
    joined,
    orphan,
    pair,
    titled,
    told,
    without_mask,
)
from threecad.formats.layouts.places import Place, places

NAME = "pair"
_MASK_FOLDERS = ("masks", "mask", "ground_truth", "labels")
"""In this order, where a folder holds several of them with images in."""


def recognises(tree: Tree) -> bool:
    return next(pairs(tree), None) is not None


def is_pair(tree: Tree, parent: str) -> bool:
    """Whether the folder holds one of images and one of masks."""
    return _pair_in(tree, parent) is not None


def pairs(tree: Tree) -> Iterator[tuple[str, str]]:
    """(folder of images, folder of masks) of every pair; none lies in another."""
    taken: set[str] = set()
    for folder in tree.folders:  # parents first
        if folder in taken:
            taken.update(joined(folder, child) for child in tree.children(folder))
        elif (found := _pair_in(tree, folder)) is not None:
            taken.update(found)
            yield found


def _pair_in(tree: Tree, parent: str) -> tuple[str, str] | None:
    children = {name.casefold(): joined(parent, name) for name in reversed(tree.children(parent))}
    images, masks = (
        next((children[name] for name in names if name in children and _has_images(tree, children[name])), None)
        for names in (sorted(PHOTO_FOLDERS), _MASK_FOLDERS)
    )
    return (images, masks) if images is not None and masks is not None else None


def _has_images(tree: Tree, folder: str) -> bool:
    return any(True for path in tree.below(folder) for _ in tree.images(path))


def read(tree: Tree, request: Request) -> Listing:
    return listing_of(tree, request, NAME, lambda _, path: MaskFile(path))


def listing_of(tree: Tree, request: Request, layout: str, mask_file: Callable[[str, str], MaskFile]) -> Listing:
    """The images of all pairs; `mask_file(parent, path)` tells what a mask is; `parent` holds its pair."""
    found = asked(tree, request)
    if not any(_has_images(tree, images) for images, _ in found):
        expected = f"a folder of images ({', '.join(sorted(PHOTO_FOLDERS))}) beside one of masks ({', '.join(_MASK_FOLDERS)})"
        raise LayoutError(f"{tree.root}: found {contents(tree.root)}; expected {expected}, with images in both")
    inner = {folder: folder[len(images) :].strip("/") for images, _ in found for folder in tree.below(images)}
    homes = {folder: joined(images.rpartition("/")[0], inner[folder]) for images, _ in found for folder in tree.below(images)}
    knowledge = places(homes.values(), titled(tree))
    entries: list[Entry] = []
    findings: list[Finding] = []
    for images, masks in found:
        parent = images.rpartition("/")[0]
        left = {folder: {stem: joined(folder, name) for stem, name in tree.images(folder)} for folder in tree.below(masks)}
        stems = Counter(stem for folder in tree.below(images) for stem, _ in tree.images(folder))
        for folder in tree.below(images):
            shelf = joined(masks, inner[folder]).rstrip("/")
            if shelf not in left and stems.most_common(1)[0][1] == 1:
                shelf = masks  # the images are sorted into folders, the masks are not
            own, faults = _folder(tree, folder, left.get(shelf, {}), shelf, knowledge[homes[folder]], partial(mask_file, parent))
            entries += own
            findings += faults
        findings += [orphan(path, f"of no image in {images}") for shelf in left.values() for path in shelf.values()]
    return Listing(layout, in_order(entries), told(tree.findings, findings))


def asked(tree: Tree, request: Request) -> list[tuple[str, str]]:
    """The pair that a person names, or those that are there."""
    if request.images is None and request.masks is None:
        return list(pairs(tree))
    if request.images is None or request.masks is None:
        raise LayoutError(f"{tree.root}: found only one folder named; expected images and masks")
    images, masks = chosen(tree, request.images, "images"), chosen(tree, request.masks, "masks")
    if images == masks or joined(masks, "").startswith(joined(images, "")) or joined(images, "").startswith(joined(masks, "")):
        raise LayoutError(f"{tree.root}: found images {request.images!r} and masks {request.masks!r}; expected two folders apart")
    return [(images, masks)]


def _folder(
    tree: Tree, folder: str, masks: dict[str, str], shelf: str, place: Place, mask_file: Callable[[str], MaskFile]
) -> tuple[list[Entry], list[Finding]]:
    """The images of one folder; the masks that they take go from `masks` (stem → path)."""
    images = list(tree.images(folder))
    pairing = pair([stem for stem, _ in images], masks)
    entries: list[Entry] = []
    findings: list[Finding] = []
    for stem, name in images:
        path = joined(folder, name)
        files = (mask_file(pairing[stem]),) if stem in pairing else ()
        entries.append(Entry(path, place.category, place.split, place.state, place.labels, path, files, path))
        if not files and place.state is not State.GOOD:
            findings.append(without_mask(path, f"no {stem} and no {stem}_mask in {shelf}"))
    taken = set(pairing.values())
    for stem in [stem for stem, path in masks.items() if path in taken]:
        del masks[stem]
    return entries, findings
