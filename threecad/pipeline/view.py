"""`threecad view`: one photograph or one tile as a picture that shows what was drawn on it and what became of that."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from threecad.domain import MEANING, Action, Annotation, Code, Finding, Sample, Size, State, Window
from threecad.errors import ConfigError, LayoutError, ReadError, ThreecadError
from threecad.formats import images, labelme, layouts, masks, raw
from threecad.formats.dataset import SAMPLES, is_written, read_findings, read_manifest, read_samples
from threecad.formats.layout import GROUND_TRUTH
from threecad.formats.layouts import Request
from threecad.formats.png import encode_png
from threecad.imaging import drawing, polygons, raster
from threecad.pipeline import config, journey
from threecad.pipeline.config import Pipeline
from threecad.pipeline.store import HOME, write_atomically

LEAST, MOST = 16, 8192
"""Pixels of the longer side that a picture may be asked to have."""

_LISTED = 200
"""Findings that are told one by one on the terminal."""
_SPLITS = ("train", "test", "validation", "val")
_FINDINGS = "findings.jsonl"
_FARTHEST = 2**31
_MAX_PIXELS = 400_000_000
_ELSEWHERE = frozenset({Code.IMAGE_BY_NAME, Code.IMAGE_MISSING, Code.EMBEDDED_IMAGE, Code.PATH_OUTSIDE})
"""What is said where an image does not lie where its annotation says; then it matters what the other annotations say."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A picture to look at. `pixels` is (height, width, 3) uint8 RGB: the image at the top left, below it the strip that says
    what the marks mean. `findings` are in the order of their numbers in the picture (`drawing.numbered` gives these).

    `name` is what a file of it is called by default, `root` the folder of photographs or tiles in which it must not be put.
    """

    pixels: NDArray[np.uint8]
    title: str
    legend: tuple[drawing.Key, ...]
    findings: tuple[Finding, ...]
    name: str
    root: Path


def view(
    path: str | Path,
    *,
    data: str | Path | None = None,
    raw: str | Path | None = None,
    images: str | Path | None = None,
    pipeline: Pipeline | str | Path | None = None,
    windows: bool = False,
    longest: int = 1600,
    shape: int | None = None,
) -> View:
    """One image with its masks, outlines and findings.

    `path` is a labelme file, a photograph of a raw folder, a tile of a data set that threecad wrote, an image in a tree of
    MVTec's layout, or, where `data` names a data set in any layout, an image of it, a mask or an id. `raw` is the raw folder, by
    default the file's own folder: nothing outside it is opened, but for a folder that `images` names. Image and shapes are
    found, repaired and judged as a conversion with that `pipeline` does it.

    `windows` draws where tiles will be cut and what they will be called, `shape` shows only that shape (its number in the
    annotation, from 0) and what is around it. The longer side of the image has at most `longest` pixels.

    Raises ConfigError for a wrong number or option, LayoutError where a file is not where it should be, ReadError where one
    cannot be read.
    """
    if not LEAST <= longest <= MOST:
        raise ConfigError(f"longest: expected {LEAST} to {MOST} pixels, found {longest}")
    settings = pipeline if isinstance(pipeline, Pipeline) else Pipeline() if pipeline is None else config.load(pipeline)
    ask = _Ask(longest, windows, shape)
    if data is not None:
        folder = Path(data)
        return _tile(folder, str(path), ask) if is_written(folder) else _in_folders(folder, str(path), Request(), ask)
    file = Path(path)
    if not _is_file(file):
        found = "a folder" if _is_folder(file) else "no such file"
        raise LayoutError(
            f"{file}: {found}; expected an annotation, an image or a tile (a sample's id needs its data set: --data)"
        )
    if raw is None and images is None and file.suffix.lower() != ".json":
        root = _data_set(file)
        if root is not None:
            return _tile(root, str(path), ask)
        category = _category(file)
        if category is not None and not _beside(file):
            return _in_folders(category, str(path), Request(layout="mvtec"), ask)
    return _annotated(file, raw, images, settings, ask)


def save(seen: View, file: str | Path | None = None, force: bool = False) -> Path:
    """Write the picture as a PNG, all of it or nothing, and say where: `<name>.view.png` in the current folder where no `file` is
    named, which replaces an earlier one.

    ConfigError where `file` is no PNG's name, exists (but for `force`), or its folder does not; LayoutError where it would lie
    among the photographs or tiles it shows, and the next conversion would take it for one of them (but for `force`).
    """
    path = Path(f"{seen.name}.view.png" if file is None else file)
    if path.suffix.lower() != ".png":
        raise ConfigError(f"{path}: expected a name that ends in .png")
    if not _is_folder(path.parent):
        raise ConfigError(f"{path}: there is no folder {path.parent}; make it first or choose another")
    if _is_folder(path) or (os.path.lexists(path) and not force and file is not None):
        raise ConfigError(f"{path} exists already; choose another name or pass --force")
    if not force and path.parent.resolve().is_relative_to(seen.root):
        raise LayoutError(
            f"{path} would lie among the images it shows, and pass for one of them later; name a file outside "
            f"{seen.root.name or seen.root} with --out, or pass --force"
        )
    try:
        write_atomically(path, encode_png(seen.pixels))
    except OSError as error:
        raise ThreecadError(f"{path}: cannot be written ({error.strerror})") from error
    return path


def show(seen: View) -> bool:
    """Draw the picture on the terminal; False where there is none, or it has no protocol for images (Sixel, or Kitty's)."""
    keys, screen = sys.__stdin__, sys.__stdout__
    if keys is None or screen is None or sys.stdout is not screen or not (keys.isatty() and screen.isatty()):
        return False
    if not os.get_terminal_size(screen.fileno()).columns:  # one that does not know its own size cannot be drawn on
        return False
    from PIL import Image
    from rich.console import Console
    from textual_image import renderable  # asks the terminal what it can do, and so must not be imported without one

    if renderable.Image not in (renderable.SixelImage, renderable.TGPImage):
        return False
    Console().print(renderable.Image(Image.fromarray(seen.pixels), width="auto", height="auto"))
    return True


def describe(seen: View) -> list[str]:
    """What the picture has no room or no letters for, a line each: the legend's full names, and every finding with its detail."""
    lines = [f"{key.text}: {key.name}" for key in seen.legend if key.style == "type" and key.text != key.name]
    for number, finding in drawing.numbered(seen.findings)[:_LISTED]:
        which = "" if finding.shape is None else f"shape {finding.shape}: "
        mark = "-" if number is None else str(number)
        meaning = f"{MEANING[finding.code]}; {finding.detail}" if finding.detail else MEANING[finding.code]
        lines.append(f"{mark:>3}  {finding.code.value} {finding.action.value}  {which}{meaning}")
    if len(seen.findings) > _LISTED:
        lines.append(f"     and {len(seen.findings) - _LISTED:,} more findings")
    return lines


def _is_file(path: Path) -> bool:
    """Whether there is such a file; a name that no file can have is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _is_folder(path: Path) -> bool:
    """Whether there is such a folder; a name that no folder can have is none."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


@dataclass(frozen=True, slots=True)
class _Ask:
    """How it is to be shown."""

    longest: int
    windows: bool
    shape: int | None


def _made(scene: drawing.Scene, shown: drawing.Frame, name: str, root: Path, ask: _Ask) -> View:
    """The view of a scene; where one shape is asked for, with what is said about it and its surroundings."""
    if ask.shape is not None:
        near = [each for each in scene.findings if each.shape == ask.shape or (each.place and shown.holds(each.place))]
        scene = replace(scene, findings=near)
    pixels, legend = drawing.draw(scene, shown)
    ordered = tuple(finding for _, finding in drawing.numbered(scene.findings))
    short = name.encode("utf-8", "ignore")[:120].decode("utf-8", "ignore").strip(". ") or "image"
    return View(pixels, scene.title, legend, ordered, short, root)


def _measures(size: Size, shown: drawing.Frame) -> str:
    text = f"{size.width} × {size.height} px"
    window = shown.window
    if window.size != size:
        text += f", of these {window.size.width} × {window.size.height} from ({window.left}, {window.top})"
    times = (
        shown.size.width / window.size.width
        if window.size.width >= window.size.height
        else shown.size.height / window.size.height
    )
    return text if times == 1 else f"{text}, enlarged {times:.0f} times" if times > 1 else f"{text}, shown at {times:.0%}"


# Annotations and the photographs of a raw folder


@dataclass(frozen=True, slots=True)
class _Found:
    """One image of a raw folder. `source` is its id; `image` is None where only the annotation holds it; `others` says that there
    are further annotations of it, `good` that nothing is drawn on it and somebody vouches for that."""

    source: str
    category: str
    image: Path | None
    annotation: Path | None
    others: bool
    good: bool
    findings: tuple[Finding, ...]


def _annotated(file: Path, folder: str | Path | None, images_: str | Path | None, settings: Pipeline, ask: _Ask) -> View:
    root = Path(os.path.realpath(file.parent if folder is None else folder))
    if not _is_folder(root):
        raise LayoutError(f"{folder}: no such folder; expected the raw folder")
    settings, apart = _with_images(settings, root, images_)
    found = _source(file, root, apart, settings, ask)
    annotation = Annotation(found.source, None, ())
    text = b""
    if found.annotation is not None:
        text = labelme.load(found.annotation, found.annotation.name, max_bytes=_json_limit(settings))
        annotation = labelme.parse(text, found.annotation.name, found.source)
    limit = int(settings.read.max_megapixels * 1e6)
    if found.image is not None:
        picture = images.decode_file(found.image, found.source, limit)
    else:
        picture = images.decode(labelme.embedded_bytes(text, file.name), found.source, limit)
    made = journey.plan(annotation, picture.size, found.category, settings, poisoned=found.others)
    notes = [Finding(code, Action.KEPT, found.source, None, detail) for code, detail in picture.notes]
    findings = [*found.findings, *notes, *(each for each in made.findings if ask.windows or each.code not in _OF_TILES)]
    shown = drawing.frame(picture.size, ask.longest, _around(annotation, ask.shape, file.name))
    names, inks, outlines = _painted(made, shown, config.table(settings.labels, found.category))
    outcomes = polygons.outcomes(annotation, made.findings)
    drawn = [(shape, outcomes[shape.index]) for shape in annotation.shapes]
    known = found.annotation is not None or found.good
    scene = drawing.Scene(
        pixels=picture.pixels,
        title=found.source,
        facts=_facts(found, annotation, outcomes.values(), _measures(picture.size, shown)),
        names=names,
        inks=inks,
        outlines=outlines,
        drawn=[(shape, action) for shape, action in drawn if action in (Action.QUEUED, Action.DROPPED)],
        windows=[(window, state) for window, state, _ in made.tiles] if ask.windows and known else (),
        findings=findings,
    )
    return _made(scene, shown, file.stem, root, ask)


_OF_TILES = frozenset({Code.NOT_SHOWN, Code.TILE_TOO_SMALL})
"""Findings about windows, which nobody wants to hear of who did not ask for windows."""


def _facts(found: _Found, annotation: Annotation, outcomes: Iterable[Action], measures: str) -> list[str]:
    facts = [measures, f"category {found.category}" if found.category else ""]
    counts = Counter(outcomes)
    total = len(annotation.shapes)
    told = ", ".join(f"{counts[action]} {action}" for action in Action if counts[action])
    if found.annotation is None:
        facts.append("good: a folder vouches for it" if found.good else "not annotated")
    else:
        facts.append(
            f"{total} shape{'' if total == 1 else 's'}{f' ({told})' if told else ', nothing is drawn'} in {found.annotation.name}"
        )
    if annotation.flags:
        facts.append("flags " + ", ".join(flag[:40] for flag in annotation.flags[:8]))
    return [fact for fact in facts if fact]


def _around(annotation: Annotation, number: int | None, name: str) -> tuple[float, float, float, float] | None:
    """Left, top, right and bottom of a shape as drawn, None for the whole image: also of a shape that lies nowhere."""
    if number is None:
        return None
    shape = next((each for each in annotation.shapes if each.index == number), None)
    if shape is None:
        count = len(annotation.shapes)
        has = f"its shapes are numbered 0 to {count - 1}" if count else "it has none"
        raise ConfigError(f"{name}: there is no shape {number}; {has}")
    lines = drawing.traces(shape)
    if not lines:
        return None
    points = np.concatenate(lines)
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return left, top, right, bottom


def _painted(
    made: journey.Plan, shown: drawing.Frame, labels: dict[str, str] | None
) -> tuple[list[str | None], NDArray[Any], list[tuple[int, list[Any]]]]:
    """The types, the frame's pixels as their numbers, and the regions' geometries by number.

    Where a label table fits the palette a type has the same colour on every image.
    """
    used = {region.label for region in made.regions if not region.ignore}
    table = [name for name in dict.fromkeys((labels or {}).values()) if name not in (polygons.IGNORE, polygons.BACKGROUND)]
    names: list[str | None] = []
    names += table if len(table) <= len(drawing.PALETTE) and used <= set(table) else sorted(used)
    number: dict[str | None, int] = {name: ink for ink, name in enumerate(names, 1)}
    if any(region.ignore for region in made.regions):
        names.append(None)
        number[None] = len(names)
    own = [number[None if region.ignore else region.label] for region in made.regions]
    inks = raster.paint(
        raster.crop(made.spans, shown.window), shown.window.size, own, np.uint8 if len(names) <= 255 else np.uint16
    )
    outlines: dict[int, list[Any]] = {}
    for ink, region in zip(own, made.regions, strict=True):
        outlines.setdefault(ink, []).append(region.geometry)
    return names, inks, sorted(outlines.items())


def _with_images(settings: Pipeline, root: Path, folder: str | Path | None) -> tuple[Pipeline, Path | None]:
    """The settings for the search, with the folder of images where it lies in the raw folder; else that folder beside them."""
    reading = settings.read.model_copy(update={"unannotated": "skip"}) if settings.read.unannotated == "error" else settings.read
    apart = None
    if folder is not None:
        places = [Path(os.path.realpath(place)) for place in (Path(folder), root / folder)]
        place = next((place for place in places if _is_folder(place)), None)
        if place is None:
            raise LayoutError(f"{folder}: no such folder; expected the folder of the images")
        if place.is_relative_to(root):
            inside = place.relative_to(root).as_posix()
            reading = reading.model_copy(update={"images": None if inside == "." else inside})
        else:
            apart = place
    return settings.model_copy(update={"read": reading}), apart


def _json_limit(settings: Pipeline) -> int:
    return int(settings.read.max_json_megabytes * 1e6)


def _source(file: Path, root: Path, apart: Path | None, settings: Pipeline, ask: _Ask) -> _Found:
    """The image that is meant. LayoutError where there is none."""
    is_image = file.suffix.lower() != ".json"
    if is_image and file.suffix.lower() not in raw.IMAGE_SUFFIXES:
        expected = ", ".join(sorted({".json", *raw.IMAGE_SUFFIXES}))
        raise ReadError(f"{file}: found a file that ends in {file.suffix or 'nothing'!r}; expected {expected}")
    look = None if is_image else labelme.peek(file, file.name, max_bytes=_json_limit(settings))
    here = Path(os.path.realpath(file.parent), file.name)
    found = None
    if apart is None and here.is_relative_to(root):
        wanted = here.relative_to(root).as_posix()
        found = _search(root, wanted, settings, every=ask.windows)
        doubtful = found is None or (
            found.annotation is None if is_image else any(each.code in _ELSEWHERE for each in found.findings)
        )
        if doubtful and not ask.windows:
            found = _search(root, wanted, settings, every=True)
    if found is None and look is not None:
        found = _led_to(here, look, root, apart, settings)
    if found is None:
        raise LayoutError(
            f"{file}: is not among the images of {root.name or root}; a link that leads out of a folder is not followed"
        )
    if found.image is None and not (look and look.embedded):
        named = (
            f"imagePath {look.image[:120]!r} leads to no image" if look and look.image else "it names no image, and there is none"
        )
        raise LayoutError(
            f"{file}: {named} in {(apart or root).name}; pass its folder with --images, or with --raw one that holds both"
        )
    return found


def _search(root: Path, wanted: str, settings: Pipeline, every: bool) -> _Found | None:
    """What a conversion of the raw folder makes of one of its files, None where it would not see the file.

    Other annotations are told by their names unless `every` one is to be opened: in a folder of thousands that takes a while,
    and only matters for an image that does not lie where its annotation says, or that several annotations claim.
    """
    stem = PurePosixPath(wanted).stem
    limit = _json_limit(settings)

    def peek(path: Path, name: str) -> labelme.Peek:
        if every or PurePosixPath(name).stem == stem:
            return labelme.peek(path, name, max_bytes=limit)
        return labelme.Peek("", (), 1, (), False)

    def unflagged(path: Path, name: str) -> labelme.Peek:
        return replace(peek(path, name), flags=()) if name == wanted else peek(path, name)

    def meant(found: raw.Found) -> _Found | None:
        for source in found.sources:
            others = found.second.get(source.id, ())
            if wanted in (source.image, source.annotation, *others):
                annotation = wanted if wanted in others else source.annotation
                findings = tuple(each for each in found.findings if each.source in (source.id, wanted))
                return _Found(
                    source=source.id,
                    category=source.category,
                    image=None if source.image is None else root / source.image,
                    annotation=None if annotation is None else root / annotation,
                    others=bool(others),
                    good=source.good,
                    findings=findings,
                )
        return None

    found = raw.find(root, settings.read, peek)
    result = meant(found)
    if result is None and wanted.lower().endswith(".json"):
        # An image flag without any shape keeps a source out of a conversion, but it is there to be seen.
        result = meant(raw.find(root, settings.read, unflagged))
        if result is not None:
            result = replace(result, good=False, findings=tuple(each for each in found.findings if each.source == result.source))
    elif result is None and wanted in found.categories:
        findings = tuple(each for each in found.findings if each.source == wanted)
        result = _Found(wanted, found.categories[wanted], root / wanted, None, False, False, findings)
    return result


def _led_to(file: Path, look: labelme.Peek, root: Path, apart: Path | None, settings: Pipeline) -> _Found:
    """The image of an annotation that the raw folder does not hold, or whose images lie elsewhere: where its imagePath leads
    inside the folder, else, in a folder of images alone, the one of its name or stem."""
    home = root if apart is None else apart
    text = look.image.replace("\\", "/")
    tries = []
    if text and "\0" not in text and apart is None:
        tries = [file.parent / text]
    elif apart is not None:
        name = PurePosixPath(text).name
        tries = [apart / name] if name and "\0" not in name else []
        same = [entry for entry in sorted(apart.iterdir()) if entry.stem == file.stem]
        same = [entry for entry in same if entry.suffix.lower() in raw.IMAGE_SUFFIXES]
        tries += same if len(same) == 1 else []
    for place in tries:
        image = Path(os.path.realpath(place))
        if image.is_relative_to(home) and image.suffix.lower() in raw.IMAGE_SUFFIXES and _is_file(image):
            source = image.relative_to(home).as_posix()
            return _Found(source, settings.read.category or "", image, file, False, False, ())
    note = Finding(Code.EMBEDDED_IMAGE, Action.KEPT, file.name, None, f"imagePath {look.image[:120]!r} leads nowhere")
    return _Found(file.name, settings.read.category or "", None, file, False, False, (note,))


# Tiles of a data set


def _data_set(file: Path) -> Path | None:
    """The folder of the data set that threecad wrote in which a file lies. LayoutError where its conversion is not finished."""
    for folder in Path(os.path.realpath(file)).parents:
        if is_written(folder):
            return folder
        if (folder / HOME).is_dir():
            raise LayoutError(f"{folder.name} is not finished: run the same threecad convert again")
    return None


def _tile(folder: Path, name: str, ask: _Ask) -> View:
    _no_windows(ask, name)
    root = Path(os.path.realpath(folder))
    manifest = read_manifest(root)
    sample = _sample(root, name)
    planes = {role: _plane(root, sample, role) for role in ("image", "mask", "types", "ignore")}
    pixels = planes["image"]
    if pixels is None:
        raise LayoutError(
            f"{sample.id}: no file was written of this tile ({sample.state}, no split uses it); view its source {sample.source!r}"
        )
    size = Size(*pixels.shape[:2])
    category = manifest.categories.get(sample.category)
    names = {kind.index: kind.name for kind in category.types} if category else {}
    told, inks = _inked(planes, names)
    around = None
    if ask.shape is not None:
        numbers = {_number(defect.uid): defect for defect in sample.defects}
        if ask.shape not in numbers:
            has = f"it shows {', '.join(map(str, sorted(numbers)[:20]))}" if numbers else "it shows no defect"
            raise ConfigError(f"{sample.id}: shape {ask.shape} is not on this tile; {has}")
        left, top, width, height = numbers[ask.shape].bbox
        around = (float(left), float(top), float(left + width), float(top + height))
    shown = drawing.frame(size, ask.longest, around)
    scene = drawing.Scene(
        pixels=pixels,
        title=sample.id,
        facts=_tile_facts(sample, _measures(size, shown)),
        names=told,
        inks=_part(inks, shown.window),
        findings=_in_window(root, sample),
        state=sample.state,
    )
    return _made(scene, shown, PurePosixPath(sample.id).name, root, ask)


def _number(uid: str) -> int:
    """The number of a region's first shape, -1 where its name does not tell."""
    number = uid.rpartition("#")[2]
    return int(number) if number.isascii() and number.isdecimal() and len(number) < 10 else -1


def _no_windows(ask: _Ask, name: str) -> None:
    if ask.windows:
        raise ConfigError(f"{name}: --windows shows where tiles will be cut; this is a tile already")


def _part(plane: NDArray[Any], window: Window) -> NDArray[Any]:
    return plane[window.top : window.top + window.size.height, window.left : window.left + window.size.width]


def _sample(root: Path, name: str) -> Sample:
    """The row of a tile, told by its id or by any of its files."""
    path = Path(os.path.realpath(name)) if "\0" not in name else root
    wanted, paths = {name}, {name}
    if path.is_relative_to(root) and _is_file(path):
        inside = path.relative_to(root).as_posix()
        paths.add(inside)
        if inside.startswith(f"{HOME}/unused/"):
            wanted.add(path.stem.rpartition("-")[0])
        elif inside.startswith("previews/"):
            wanted.add(path.stem)
    for sample in read_samples(root / SAMPLES):
        if sample.id in wanted or not paths.isdisjoint({sample.image, sample.mask, sample.types, sample.ignore}):
            window = sample.window
            numbers = (window.left, window.top, *(length for defect in sample.defects for length in defect.bbox))
            if any(abs(number) > _FARTHEST for number in numbers):
                raise ReadError(f"{SAMPLES}: the window or a box of {sample.id[:200]!r} lies where no image reaches")
            return sample
    raise LayoutError(f"{name}: is no sample of {root.name}; expected an id or a file that its {SAMPLES} names")


def _plane(root: Path, sample: Sample, role: str) -> NDArray[Any] | None:
    """The pixels of one of the tile's files, None where it has none. What no split uses stands out of sight, if anywhere."""
    named = getattr(sample, role)
    name = named or f"{HOME}/unused/{sample.id}-{role}.png"
    if not named and not ("\0" not in name and _is_file(root / name)):
        return None
    path = _inside(root, name)
    pixels = images.decode_file(path, name, _MAX_PIXELS).pixels
    return pixels if role == "image" or pixels.ndim == 2 else pixels.max(axis=2)


def _inked(planes: dict[str, NDArray[Any] | None], names: dict[int, str]) -> tuple[list[str | None], NDArray[Any]]:
    """Types and the pixels as their numbers, from a tile's masks. What only the mask marks is a type of its own."""
    pixels = planes["image"]
    assert pixels is not None
    for role in ("mask", "types", "ignore"):
        plane = planes[role]
        if plane is not None and plane.shape != pixels.shape[:2]:
            found, expected = (f"{width} × {height}" for height, width in (plane.shape, pixels.shape[:2]))
            raise ReadError(f"the tile's {role} file is {found} pixels (width × height), expected {expected} as its image")
    types, mask, ignore = planes["types"], planes["mask"], planes["ignore"]
    inks = np.zeros(pixels.shape[:2], np.uint16) if types is None else types.astype(np.uint16)
    present = np.unique(inks[inks > 0]).tolist()
    told: list[str | None] = []
    if max([*present, *names], default=0) <= len(drawing.PALETTE):
        told += [names.get(index, f"index {index}") for index in range(1, max([*present, *names], default=0) + 1)]
    else:  # the colours go to those that are here
        told += [names.get(index, f"index {index}") for index in present]
        inks = np.where(inks > 0, np.searchsorted(np.array(present), inks) + 1, 0).astype(np.uint16)
    if mask is not None and ((mask > 0) & (inks == 0)).any():
        told.append("defect" if types is None else "mask without type")
        inks[(mask > 0) & (inks == 0)] = len(told)
    if ignore is not None and ignore.any():
        told.append(None)
        inks[ignore > 0] = len(told)
    return told, inks


def _tile_facts(sample: Sample, measures: str) -> list[str]:
    place = f"at ({sample.window.left}, {sample.window.top}) of {sample.source}"
    facts = [f"split {sample.split}" if sample.split else "in no split", f"category {sample.category}", measures, place]
    if sample.clean:
        facts.append("good by the annotator's word alone")
    for defect in sorted(sample.defects, key=lambda each: _number(each.uid))[:8]:
        facts += [f"shape {_number(defect.uid)}: {defect.area:,} px, {defect.share:.0%} of it"]
    if len(sample.defects) > 8:
        facts.append(f"and {len(sample.defects) - 8} more defects")
    return facts


def _in_window(root: Path, sample: Sample) -> list[Finding]:
    """The findings about the tile's source whose place the tile shows, in the tile's frame."""
    if not _is_file(root / _FINDINGS):
        return []
    window = sample.window
    found = []
    for finding in read_findings(root / _FINDINGS):
        if finding.source == sample.source and finding.place is not None:
            x, y = finding.place[0] - window.left, finding.place[1] - window.top
            if 0 <= x <= window.size.width and 0 <= y <= window.size.height:
                found.append(replace(finding, place=(x, y)))
    return found


# Other people's folders


def _beside(file: Path) -> bool:
    """Whether an annotation of the image's own name lies beside it."""
    return any(_is_file(file.with_suffix(suffix)) for suffix in (".json", ".JSON"))


def _category(file: Path) -> Path | None:
    """The category's folder in MVTec's layout: the file is <category>/<split or ground_truth>/<type>/<file>."""
    parents = Path(os.path.realpath(file)).parents
    if len(parents) < 3 or parents[1].name not in (*_SPLITS, GROUND_TRUTH):
        return None
    return parents[2] if any(_is_folder(parents[2] / name) for name in ("train", "test")) else None


def _in_folders(folder: Path, name: str, request: Request, ask: _Ask) -> View:
    """An image of somebody else's data set, told by its id, its path or one of its masks'."""
    if ask.windows:
        raise ConfigError(f"{name}: --windows shows where tiles of a raw folder will be cut; this is a finished data set")
    if ask.shape is not None:
        raise ConfigError(f"{name}: --shape names a shape of an annotation; this image has a mask, whose shapes have no numbers")
    root = Path(os.path.realpath(folder))
    listing = layouts.read(root, request)
    path = Path(os.path.realpath(name)) if "\0" not in name else root
    wanted = {name, path.relative_to(root).as_posix()} if path.is_relative_to(root) else {name}
    found = (each for each in listing.entries if wanted & {each.id, each.image, *(mask.path for mask in each.masks)})
    entry = next(found, None)
    if entry is None or entry.image is None:
        raise LayoutError(
            f"{name}: is no image of {root.name}, nor the mask of one, as far as its layout ({listing.layout}) tells"
        )
    pixels = images.decode_file(_inside(root, entry.image), entry.image, _MAX_PIXELS).pixels
    size = Size(*pixels.shape[:2])
    data = [_bytes(_inside(root, mask.path)) for mask in entry.masks]
    planes, flaws = masks.planes(data, entry, size)
    lost = (Code.MASK_OTHER_SIZE, Code.MASK_UNREADABLE)
    findings = [each for each in listing.findings if each.source in (entry.id, entry.image)]
    findings += [Finding(code, Action.DROPPED if code in lost else Action.KEPT, entry.id, None, text) for code, text in flaws]
    kinds = sorted(planes)
    inks = np.zeros(pixels.shape[:2], np.uint16)
    for kind in sorted(kinds, key=lambda each: -np.count_nonzero(planes[each])):  # the smaller on top
        inks[planes[kind]] = kinds.index(kind) + 1
    shown = drawing.frame(size, ask.longest)
    labels = f"type{'s' if len(entry.labels) > 1 else ''} {', '.join(entry.labels[:8])}" if entry.labels else ""
    told = [f"mask {mask.path}" for mask in entry.masks[:4]] or ["no mask"]
    facts = (f"split {entry.split}" if entry.split else "", f"category {entry.category}", labels, _measures(size, shown), *told)
    scene = drawing.Scene(
        pixels=pixels,
        title=entry.image,
        facts=[fact for fact in facts if fact],
        names=[kind or "defect" for kind in kinds],
        inks=inks,
        findings=findings,
        state=entry.state or (State.DEFECT if kinds else State.GOOD),
    )
    return _made(scene, shown, PurePosixPath(entry.image).stem, root, ask)


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(images.most_bytes(_MAX_PIXELS))
    except OSError as error:
        raise ReadError(f"{path.name}: cannot be read: {error.strerror}") from None


def _inside(root: Path, name: str) -> Path:
    """The file of that name in the data set. LayoutError where it leads out of it, or there is none."""
    path = Path(os.path.realpath(root / name)) if "\0" not in name else root
    if not path.is_relative_to(root):
        raise LayoutError(f"{name[:200]!r} leads out of the data set {root.name}")
    if not _is_file(path):
        raise LayoutError(f"{name[:200]}: no such file in {root.name}")
    return path
