"""What threecad itself writes: a manifest, and samples.jsonl with a row for every tile, those that no split uses among them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from threecad.domain import Action, Code, Entry, Finding, MaskFile, Sample
from threecad.errors import LayoutError
from threecad.formats.dataset import MANIFEST, SAMPLES, is_written, read_manifest, read_samples, refuse_unfinished
from threecad.formats.layouts import Listing, Request
from threecad.formats.layouts.files import Tree, contents, in_order, inside, joined, shown, told, without_mask

__all__ = ["NAME", "read", "recognises", "refuse_unfinished"]

NAME = "threecad"


def recognises(tree: Tree) -> bool:
    return is_written(tree.root)


def read(tree: Tree, request: Request) -> Listing:
    """Unused tiles have no image. ReadError names the row that cannot be read."""
    if not tree.holds(MANIFEST):
        raise LayoutError(f"{tree.root}: found {contents(tree.root)}; expected {MANIFEST}, as threecad writes it")
    manifest = read_manifest(tree.root)
    types = {name: tuple((kind.index, kind.name) for kind in category.types) for name, category in manifest.categories.items()}
    entries: list[Entry] = []
    findings: list[Finding] = []
    named: set[str | None] = set()
    for sample in read_samples(tree.root / SAMPLES):
        named |= {sample.image, sample.mask}  # also where one of them is gone: the other is still no stranger's
        entry = _entry(sample, types.get(sample.category, ()))
        if entry.image is not None and not _there(tree, entry.image):
            findings.append(_missing(entry.image))
            continue
        lost = [mask for mask in entry.masks if not _there(tree, mask.path)]
        findings += [without_mask(entry.image or entry.id, f"{SAMPLES} names {mask.path}, which is not there") for mask in lost]
        entries.append(replace(entry, masks=tuple(mask for mask in entry.masks if mask not in lost)) if lost else entry)
    findings += _strangers(tree, named, [category.folder for category in manifest.categories.values()])
    return Listing(NAME, in_order(entries), told(tree.findings, findings))


def _there(tree: Tree, path: str) -> bool:
    return inside(path) == path and tree.holds(path)


def _missing(path: str) -> Finding:
    code = Code.LISTED_MISSING if inside(path) == path else Code.PATH_OUTSIDE
    return Finding(code, Action.DROPPED, shown(path), None, f"named by {SAMPLES}")


def _strangers(tree: Tree, named: Collection[str | None], categories: list[str]) -> Iterator[Finding]:
    """Images in a category's folders that no row names: loaders of folders take them for tiles."""
    detail = f"not named by {SAMPLES}, but readers of the folder take it for a tile"
    for home in (place for folder in categories for place in (folder, joined("validation", folder))):
        for folder in tree.below(home):
            for _, name in tree.images(folder):
                if (path := joined(folder, name)) not in named:
                    yield Finding(Code.FOREIGN_FILE, Action.KEPT, path, None, detail)


def _entry(sample: Sample, types: tuple[tuple[int, str], ...]) -> Entry:
    masks = []
    if sample.mask is not None:
        masks.append(MaskFile(sample.mask))
    if sample.types is not None:
        masks.append(MaskFile(sample.types, "index", types))
    return Entry(
        id=sample.id,
        category=sample.category,
        split=sample.split,
        state=sample.state,
        labels=tuple(sorted(sample.labels)),
        image=sample.image,
        masks=tuple(masks),
        source=sample.source,
        window=sample.window,
    )
