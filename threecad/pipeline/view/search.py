"""Which image of a raw folder is meant, and what belongs to it: as a conversion finds it, but opening as little as it can."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from threecad.domain import Action, Code, Finding
from threecad.errors import LayoutError, ReadError
from threecad.formats import labelme, raw
from threecad.formats.remote import Place
from threecad.pipeline.config import Pipeline
from threecad.pipeline.view.picture import Ask
from threecad.pipeline.view.places import is_file, is_folder

_ELSEWHERE = frozenset({Code.IMAGE_BY_NAME, Code.IMAGE_MISSING, Code.EMBEDDED_IMAGE, Code.PATH_OUTSIDE})
"""What is said where an image does not lie where its annotation says; then it matters what the other annotations say."""


@dataclass(frozen=True, slots=True)
class Found:
    """One image of a raw folder. `source` is its id; `image` is None where only the annotation holds it; `others` says that there
    are further annotations of it, `good` that nothing is drawn on it and somebody vouches for that."""

    source: str
    category: str
    image: Path | None
    annotation: Path | None
    others: bool
    good: bool
    findings: tuple[Finding, ...]


def with_images(settings: Pipeline, root: Path, folder: str | Path | None) -> tuple[Pipeline, Path | None]:
    """The settings for the search, with the folder of images where it lies in the raw folder; else that folder beside them."""
    reading = settings.read.model_copy(update={"unannotated": "skip"}) if settings.read.unannotated == "error" else settings.read
    apart = None
    if folder is not None:
        places = [Path(os.path.realpath(place)) for place in (Path(folder), root / folder)]
        place = next((place for place in places if is_folder(place)), None)
        if place is None:
            raise LayoutError(f"{folder}: no such folder; expected the folder of the images")
        if place.is_relative_to(root):
            inside = place.relative_to(root).as_posix()
            reading = reading.model_copy(update={"images": None if inside == "." else inside})
        else:
            apart = place
    return settings.model_copy(update={"read": reading}), apart


def find(file: Path, root: Path, apart: Path | None, settings: Pipeline, ask: Ask) -> Found:
    """The image that is meant. LayoutError where there is none."""
    is_image = file.suffix.lower() != ".json"
    if is_image and file.suffix.lower() not in raw.IMAGE_SUFFIXES:
        expected = ", ".join(sorted({".json", *raw.IMAGE_SUFFIXES}))
        raise ReadError(f"{file}: found a file that ends in {file.suffix or 'nothing'!r}; expected {expected}")
    look = None if is_image else labelme.peek(file, file.name, **labelme.limits(settings.read))
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


def _search(root: Path, wanted: str, settings: Pipeline, every: bool) -> Found | None:
    """What a conversion of the raw folder makes of one of its files, None where it would not see the file.

    Other annotations are told by their names unless `every` one is to be opened: in a folder of thousands that takes a while,
    and only matters for an image that does not lie where its annotation says, or that several annotations claim.
    """
    stem = PurePosixPath(wanted).stem
    limits = labelme.limits(settings.read)

    def peek(path: Place, name: str) -> labelme.Peek:
        if every or PurePosixPath(name).stem == stem:
            return labelme.peek(path, name, **limits)
        return labelme.Peek("", (), 1, (), False)

    def unflagged(path: Place, name: str) -> labelme.Peek:
        return replace(peek(path, name), flags=()) if name == wanted else peek(path, name)

    def meant(found: raw.Found) -> Found | None:
        for source in found.sources:
            others = found.second.get(source.id, ())
            if wanted in (source.image, source.annotation, *others):
                annotation = wanted if wanted in others else source.annotation
                findings = tuple(each for each in found.findings if each.source in (source.id, wanted))
                return Found(
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
        result = Found(wanted, found.categories[wanted], root / wanted, None, False, False, findings)
    return result


def _led_to(file: Path, look: labelme.Peek, root: Path, apart: Path | None, settings: Pipeline) -> Found:
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
        if image.is_relative_to(home) and image.suffix.lower() in raw.IMAGE_SUFFIXES and is_file(image):
            source = image.relative_to(home).as_posix()
            return Found(source, settings.read.category or "", image, file, False, False, ())
    note = Finding(Code.EMBEDDED_IMAGE, Action.KEPT, file.name, None, f"imagePath {look.image[:120]!r} leads nowhere")
    return Found(file.name, settings.read.category or "", None, file, False, False, (note,))
