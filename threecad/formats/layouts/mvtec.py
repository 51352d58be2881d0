"""The layout of MVTec-AD, which MPDD, BTAD and 3CAD share, and into which people cut VisA:

    [<category>/]{train,test,validation}/{good,<type>}/<name>.png
    [<category>/]ground_truth/<type>/<name>_mask.png      or <name>.png, or a folder <name>/ of masks (MVTec LOCO)
    [<category>/]ground_truth/{train,test}/<type>/…       where a split has masks of its own
    validation/<category>/{good,<type>,ground_truth}/…    as threecad itself writes it

BTAD says `ok` and `ko`; an image and its mask may differ in suffix. 3CAD came out twice, its types called in Pinyin and then in
English; nothing else of the layout differs. A folder `dent+scratch` means both types, `combined` several that nobody names.
"""

from __future__ import annotations

from collections.abc import Iterator

from threecad.domain import Action, Code, Entry, Finding, MaskFile, Split, State
from threecad.errors import LayoutError
from threecad.formats.layout import COMBINED, GROUND_TRUTH
from threecad.formats.layouts import Listing, Request
from threecad.formats.layouts.files import (
    SPLITS,
    Tree,
    annotation,
    contents,
    counted,
    in_order,
    is_good,
    joined,
    listed,
    orphan,
    pair,
    shown,
    titled,
    told,
    without_mask,
)
from threecad.formats.layouts.pair import is_pair

NAME = "mvtec"
_FOLDERS = ("train", "test", "validation", "val")


def recognises(tree: Tree) -> bool:
    """A folder of a type in train/ or test/, of the data set itself or of a folder of it; with masks, or without annotations."""
    homes = [folder for folder in ("", *tree.children("")) if _is_category(tree, folder)]
    shelves = [joined(home, name) for home in homes for name in ("train", "test")]
    if not any(tree.children(shelf) and not is_pair(tree, shelf) for shelf in shelves):
        return False
    return any(joined(home, GROUND_TRUTH) in tree.folders for home in homes) or annotation(tree) is None


def _is_category(tree: Tree, folder: str) -> bool:
    """Whether it holds train/ or test/ (and these are not categories that are called so)."""
    inner = (joined(folder, name) for name in ("train", "test"))
    return any(path in tree.folders and not {"train", "test"} & set(tree.children(path)) for path in inner)


def read(tree: Tree, request: Request) -> Listing:
    categories = [""] if _is_category(tree, "") else [name for name in tree.children("") if _is_category(tree, name)]
    if not categories:
        expected = "train/ and test/, or folders of categories that hold them"
        raise LayoutError(f"{tree.root}: found {contents(tree.root)}; expected {expected}")
    entries: list[Entry] = []
    findings: list[Finding] = []
    for home in categories:
        places = {name: joined(home, name) for name in _FOLDERS}
        for folders, ground in ((places, home), ({"validation": f"validation/{home}"} if home else {}, f"validation/{home}")):
            found, faults = _category(tree, home or titled(tree), folders, joined(ground, GROUND_TRUTH))
            entries += found
            findings += faults
    if not entries:
        names = listed(name or titled(tree) for name in categories)
        raise LayoutError(f"{tree.root}: found no image in {names}; expected {'/'.join(_FOLDERS)} folders with a folder a type")
    return Listing(NAME, in_order(entries), told(tree.findings, findings))


def _category(tree: Tree, category: str, folders: dict[str, str], ground: str) -> tuple[list[Entry], list[Finding]]:
    """The images of one category, whose types lie in `folders` (by the split's name) and whose masks below `ground`."""
    entries: list[Entry] = []
    findings: list[Finding] = []
    apart = {name for name in folders if name in tree.children(ground) and tree.children(joined(ground, name))}
    shelves = [joined(ground, kind) for kind in tree.children(ground) if kind not in apart]
    shelves += [joined(joined(ground, name), kind) for name in sorted(apart) for kind in tree.children(joined(ground, name))]
    left = {shelf: _masks(tree, shelf) for shelf in shelves}
    # The masks of ground_truth/ are the test split's; another split's defective images may only take what is left over.
    for name, folder in sorted(folders.items(), key=lambda item: SPLITS[item[0]] is not Split.TEST):
        for kind in tree.children(folder):
            place, shelf = joined(folder, kind), joined(joined(ground, name) if name in apart else ground, kind)
            if place == ground:
                continue
            images = list(tree.images(place))
            masks = pair([stem for stem, _ in images], {stem: stem for stem in left.get(shelf, ())})
            for stem, file in images:
                entry = _entry(
                    category, SPLITS[name], kind, joined(place, file), left[shelf][masks[stem]] if stem in masks else ()
                )
                entries.append(entry)
                if entry.state is State.DEFECT and not entry.masks:
                    inner = shelf.removeprefix(f"{ground.rpartition('/')[0]}/")
                    detail = f"no {inner}/{stem}_mask.png and no {stem}.png there: an empty mask stands in"
                    findings.append(without_mask(entry.id, detail))
            for taken in masks.values():
                del left[shelf][taken]
            findings += _passed_over(tree, [joined(place, child) for child in tree.children(place)], "below a type's folder")
        findings += _passed_over(tree, [folder], "in no type's folder")
    for shelf, rest in left.items():
        detail = f"of no image in test/{shelf.rpartition('/')[2]}, or of one that has another"
        findings += [orphan(path, detail) for paths in rest.values() for path in paths]
    return entries, findings + _passed_over(tree, [ground] if folders else [], "in no type's folder")


def _masks(tree: Tree, shelf: str) -> dict[str, tuple[str, ...]]:
    """Stem → its masks in a folder of ground_truth/: one file, or the files in a folder of that name."""
    found: dict[str, tuple[str, ...]] = {stem: (joined(shelf, file),) for stem, file in tree.images(shelf)}
    twice = [(stem, joined(shelf, file)) for stem, file in tree.images(shelf) if found[stem] != (joined(shelf, file),)]
    for stem, path in twice:  # a_mask.bmp beside a_mask.png: under a name that no image has, it stays over
        found[f"{stem}/{path}"] = (path,)
    for stem in tree.children(shelf):
        parts = tuple(joined(joined(shelf, stem), file) for _, file in tree.images(joined(shelf, stem)))
        if parts:
            found.setdefault(stem, parts)
    return found


def _entry(category: str, split: Split, kind: str, image: str, masks: tuple[str, ...]) -> Entry:
    state = State.GOOD if is_good(kind) else State.DEFECT
    return Entry(image, category, split, state, types_of(kind), image, tuple(map(MaskFile, masks)), image)


def types_of(folder: str) -> tuple[str, ...]:
    """The types that a folder names.

    >>> types_of("scratch+dent"), types_of("good"), types_of("combined")
    (('dent', 'scratch'), (), ())
    """
    if is_good(folder) or folder == COMBINED:
        return ()
    return tuple(sorted({part for part in folder.split("+") if part} or {folder}))


def _passed_over(tree: Tree, folders: list[str], where: str) -> list[Finding]:
    return list(_passed(tree, folders, where))


def _passed(tree: Tree, folders: list[str], where: str) -> Iterator[Finding]:
    for folder in folders:
        count = sum(1 for _ in tree.images(folder))
        if count:
            detail = f"{counted(count, 'image')} {where}, passed over"
            yield Finding(Code.UNKNOWN_FOLDER, Action.DROPPED, shown(folder), None, detail)
