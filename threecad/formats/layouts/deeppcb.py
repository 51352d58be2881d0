"""DeepPCB (https://github.com/tangsanli5201/DeepPCB): tested boards beside their flawless templates, and boxes apart.

group20085/20085/20085000_test.jpg      a defective board
group20085/20085/20085000_temp.jpg      the template: good
group20085/20085_not/20085000.txt       left top right bottom type, a line a box
trainval.txt, test.txt                  which belong to which split; they name 20085000.jpg, which does not exist
"""

from __future__ import annotations

from collections.abc import Iterator

from threecad.domain import Action, Code, Entry, Finding, MaskFile, Split, State
from threecad.errors import LayoutError
from threecad.formats.layouts import Listing, Request
from threecad.formats.layouts.files import (
    Tree,
    contents,
    in_order,
    inside,
    joined,
    listing,
    orphan,
    shown,
    titled,
    told,
    without_mask,
)

NAME = "deeppcb"
_TYPES = ((1, "open"), (2, "short"), (3, "mousebite"), (4, "spur"), (5, "copper"), (6, "pin-hole"))
_LISTS = {"trainval.txt": Split.TRAIN, "test.txt": Split.TEST}


def recognises(tree: Tree) -> bool:
    return any(True for _ in _boards(tree))


def _boards(tree: Tree) -> Iterator[tuple[str, str]]:
    """(folder of boards, folder of boxes): siblings of which one is called like the other and `_not`."""
    for folder in tree.folders:
        boxes = f"{folder}_not"
        if folder and tree.files(folder, "_test.jpg") and tree.files(boxes, ".txt"):
            yield folder, boxes


def read(tree: Tree, request: Request) -> Listing:
    entries: list[Entry] = []
    findings: list[Finding] = []
    splits, lost = _splits(tree)
    for folder, shelf in _boards(tree):
        boxes = {name[:-4]: joined(shelf, name) for name in tree.files(shelf, ".txt")}
        for stem, name in tree.images(folder):
            path, board = joined(folder, name), stem.removesuffix("_test").removesuffix("_temp")
            split = splits.get(joined(folder, board))
            state = State.GOOD if stem.endswith("_temp") else State.DEFECT if stem.endswith("_test") else None
            mask = boxes.pop(board, None) if state is State.DEFECT else None
            masks = (MaskFile(mask, "boxes", _TYPES),) if mask else ()
            if state is None:
                detail = "called neither …_test nor …_temp"
                findings.append(Finding(Code.NOT_LISTED, Action.DROPPED, path, None, detail))
                continue
            entries.append(Entry(path, titled(tree), split, state, (), path, masks, path))
            if state is State.DEFECT and not mask:
                findings.append(without_mask(path, f"no {board}.txt in {shelf}"))
        findings += [orphan(path, f"of no board in {folder}") for path in boxes.values()]
    if not entries:
        raise LayoutError(f"{tree.root}: found {contents(tree.root)}; expected <number>/…_test.jpg beside <number>_not/….txt")
    there = {entry.id.rpartition(".")[0].removesuffix("_test").removesuffix("_temp") for entry in entries}
    findings += [finding for board, finding in lost.items() if board not in there]
    return Listing(NAME, in_order(entries), told(tree.findings, findings))


def _splits(tree: Tree) -> tuple[dict[str, Split], dict[str, Finding]]:
    """Board, as a path without suffix → its split, and what to say of it if it is not there."""
    splits: dict[str, Split] = {}
    findings: dict[str, Finding] = {}
    for folder in tree.folders:
        for name, split in _LISTS.items():
            if not tree.holds(joined(folder, name)) or not any(child.startswith("group") for child in tree.children(folder)):
                continue
            lines = listing(tree, joined(folder, name)).decode("utf-8", "surrogateescape").splitlines()
            for number, text in enumerate(lines, 1):
                board = (inside(text.split()[0], folder) or "").rpartition(".")[0] if text.split() else ""
                if board:
                    splits.setdefault(board, split)
                    detail = f"{joined(folder, name)}, line {number}: there is no such board"
                    findings[board] = Finding(Code.LISTED_MISSING, Action.DROPPED, shown(board), None, detail)
    return splits, findings
