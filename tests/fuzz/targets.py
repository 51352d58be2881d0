"""What is fuzzed: each target takes bytes and ends quietly, or raises what nobody promised.

What is promised of hostile input: a value, or one `ThreecadError` of one bounded sentence. Never another exception, never a
warning (the driver and pytest make errors of these), never seconds for some kilobytes, and nothing in a value that a JSON line or
a message could not hold. The driver of atheris and `tests/formats/test_fuzzed.py` both run these.
"""

from __future__ import annotations

import io
import json
import math
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import shapely
from PIL import Image

from threecad.domain import Annotation, Code, Entry, Finding, MaskFile, Sample, Shape, Size, Split, State, Window
from threecad.errors import ThreecadError
from threecad.formats import images, labelme, maps, masks, png
from threecad.formats.cases import Decisions, read_choices
from threecad.formats.dataset import line as line_of
from threecad.formats.dataset import row_of
from threecad.formats.layouts import (
    Listing,
    Request,
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
from threecad.formats.layouts.files import Folder, Tree, walk
from threecad.imaging import polygons
from threecad.settings import Repairing

SECONDS = 2.0
"""Of the processor's time, for an input of some kilobytes."""
MOST_PIXELS = 1 << 20
"""The limit that images, masks and maps are read with here, so that what goes beyond it shows in the memory."""
SMALL = ((maps, "MOST_PIXELS", MOST_PIXELS), (masks, "MOST_PIXELS", MOST_PIXELS), (masks, "_MAX_PLANE_BYTES", 64 << 20))
"""(module, name of a limit, its value here)"""
SENTENCE = 2_000
"""Characters of a message."""


class Broken(AssertionError):
    """A promise that did not hold."""


def hold(promise: object, what: str) -> None:
    if not promise:
        raise Broken(what)


@contextmanager
def promised() -> Iterator[None]:
    """Only a ThreecadError of one sentence may come, and soon."""
    start = time.process_time()
    try:
        yield
    except ThreecadError as error:
        text = str(error)
        hold(len(text) <= SENTENCE, f"a message of {len(text)} characters: {text[:200]}")
    taken = time.process_time() - start
    hold(taken < SECONDS * slowness, f"{taken:.1f} s")


slowness = 1.0
"""How many times slower the code runs under the driver, which counts its branches."""


def is_text(*values: str) -> bool:
    """Whether a file in UTF-8 can hold them: no lone surrogates."""
    try:
        "".join(values).encode()
    except UnicodeEncodeError:
        return False
    return True


# labelme


def fuzz_labelme(data: bytes) -> None:
    """The reader, the peek and the embedded image; the geometry of what was read; and what would be written for a person."""
    with promised():
        labelme.embedded_bytes(data, "a.json")
    with promised():
        labelme.peek_bytes(data, "a.json")
    with promised():
        annotation = labelme.parse(data, "a.json", "a.png")
        look = labelme.peek_bytes(data, "a.json")
        hold((look.shapes, look.flags) == (len(annotation.shapes), annotation.flags), "the peek tells something else")
        hold(look.labels == tuple(sorted({shape.label for shape in annotation.shapes})), "the peek tells other labels")
        texts = [annotation.image, annotation.version, *annotation.flags]
        for shape in annotation.shapes:
            texts += [shape.label, shape.kind, shape.description, shape.fault or "", *shape.flags]
            hold(len(shape.fault or "") < SENTENCE, "a fault longer than a sentence")
        hold(is_text(*texts), "a text that no file can hold")
        _draw(annotation)


def _draw(annotation: Annotation) -> None:
    size = annotation.size if annotation.size is not None and annotation.size.area <= MOST_PIXELS else Size(150, 220)
    for settings in (Repairing(), Repairing(line_width=3.0, point_radius=2.0, two_points="line:2")):
        found, findings = polygons.regions(annotation, size, None, settings)
        _told(findings)
        drawn = {index for region in found for index in region.shapes}
        told = {finding.shape for finding in findings}
        hold({shape.index for shape in annotation.shapes} <= drawn | told, "a shape that nobody speaks of")
        for region in found:
            hold(region.geometry.is_valid and region.geometry.area > 0, "a region that is no area")
            hold(shapely.box(0, 0, size.width, size.height).covers(region.geometry), "a region beyond its image")
    written = labelme.write(annotation, "a.png", size)
    again = labelme.parse(written.encode(), "a.json", "a.png")
    hold(len(again.shapes) == len(annotation.shapes), "a shape was lost in writing")
    hold(labelme.write(again, "a.png", size) == written, "what was written reads as something else")


def _told(findings: Iterable[Finding]) -> None:
    for finding in findings:
        hold(is_text(finding.source, finding.detail), "a finding that no file can hold")
        hold("\n" not in finding.detail and "\r" not in finding.detail, "a finding of several lines")
        hold(len(finding.detail) <= SENTENCE, f"a finding of {len(finding.detail)} characters")
        x, y = finding.place or (0.0, 0.0)
        hold(math.isfinite(x) and math.isfinite(y), "a finding nowhere")


# The PNG writer


def fuzz_png(data: bytes) -> None:
    """An array made of the bytes, written and read back by OpenCV, Pillow and us: the same pixels, and the same bytes again."""
    if len(data) < 4:
        return
    shape, height, width, view = data[0], data[1] % 61 + 1, data[2] % 61 + 1, data[3]
    kind = np.dtype([np.uint8, np.uint16, ">u2"][shape % 3])
    channels = (3,) if shape & 8 else ()
    bits = np.frombuffer((data[4:] or b"\0") * (1 + height * width * 6 // max(1, len(data) - 4)), np.uint8)
    count = height * width * (channels or (1,))[0]
    pixels: Any = np.frombuffer(bits[: count * kind.itemsize].tobytes(), kind).reshape(height, width, *channels)
    pixels = pixels[:: -1 if view & 1 else 1, :: -1 if view & 2 else 1]
    pixels = pixels.swapaxes(0, 1) if view & 4 else pixels
    pixels = pixels[:: 2 if view & 8 else 1, :: 2 if view & 16 else 1]
    plain = np.ascontiguousarray(pixels, kind.newbyteorder("="))
    _round_trip(
        plain, png.encode_png(pixels, "small" if shape & 16 else "fast"), png.encode_png(plain, "small" if shape & 16 else "fast")
    )
    if not channels:
        _round_trip(plain, png.encode_mask(pixels), png.encode_mask(plain))
    if not channels and kind.itemsize == 1:
        colours = max(1, view)
        palette = [(n, 255 - n, n * 7 % 256) for n in range(colours)]
        with_colours = png.encode_mask(pixels % colours, palette)
        with Image.open(io.BytesIO(with_colours)) as image:
            hold(image.mode == "P" and np.array_equal(np.asarray(image), plain % colours), "other indices")


def _round_trip(pixels: Any, data: bytes, again: bytes) -> None:
    hold(data == again, "other strides, other bytes")
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    hold(found is not None, "OpenCV cannot read it")
    found = found if found.ndim == 2 else found[..., ::-1]
    hold(found.dtype == pixels.dtype and np.array_equal(found, pixels), "OpenCV reads other pixels")
    if pixels.dtype == np.uint8 or pixels.ndim == 2:  # Pillow has no 16-bit colours
        with Image.open(io.BytesIO(data)) as image:
            hold(np.array_equal(np.asarray(image), pixels), "Pillow reads other pixels")
    own = images.decode(data, "it", 1 << 20).pixels
    hold(own.dtype == pixels.dtype and np.array_equal(own, pixels), "we read other pixels")


# Images and masks


def fuzz_images(data: bytes) -> None:
    """The size from the header, and the pixels: of that size, within the limit, of a known kind."""
    size = None
    with promised():
        size = images.size_of(data, "a.png")
    with promised():
        picture = images.decode(data, "a.png", MOST_PIXELS)
        hold(size == picture.size, "the header tells another size than the pixels")
        hold(picture.size.area <= MOST_PIXELS, "more pixels than the limit")
        hold(picture.pixels.dtype in (np.uint8, np.uint16), "a kind of number nobody promised")
        hold(picture.pixels.ndim == 2 or picture.pixels.shape[2] == 3, "channels nobody promised")
        hold(all(isinstance(code, Code) and len(detail) < SENTENCE for code, detail in picture.notes), "odd notes")
        png.encode_png(picture.pixels[:64, :64])


MASKS = (
    MaskFile("m"),
    MaskFile("m", "binary", ((0, "dent"),)),
    MaskFile("m", "index", ((1, "dent"), (2, ""), (3, "pit"))),
    MaskFile("m", "index", ((masks.COLOUR + 0xFF0000, "dent"), (masks.COLOUR + 0xFFFFFF, ""))),
    MaskFile("m", "boxes", ((1, "open"), (2, "short"))),
)


def fuzz_masks(data: bytes) -> None:
    """The bytes as a mask of every kind, for an image of the size it states: the first byte chooses."""
    if not data:
        return
    mask, body = MASKS[data[0] % len(MASKS)], data[1:]
    size = Size(6, 8)
    if mask.kind != "boxes":
        with promised():
            size = images.size_of(body, "mask")
        if size.area > MOST_PIXELS:
            size = Size(6, 8)
    state = (State.DEFECT, State.GOOD, None)[data[0] // len(MASKS) % 3]
    entry = Entry("a", "part", None, state, ("dent",) if state is State.DEFECT else (), "a.png", (mask,), "a")
    with promised():
        named, flaws = masks.planes([body], entry, size)
        for name, plane in named.items():
            hold(plane.shape == (size.height, size.width) and plane.dtype == np.bool_, "a plane of another size")
            hold(is_text(name) and plane.any(), "a plane of nothing")
        hold(all(len(detail) <= SENTENCE and is_text(detail) for _, detail in flaws), "a flaw that is no sentence")


def fuzz_bitmaps(data: bytes) -> None:
    """The bytes as the bitmap of a labelme mask, of the size its header states: drawn, and written for a person."""
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    corners = ((2.0, 1.0), (min(width, 10**6) + 1.0, float(min(height, 10**6))))
    annotation = Annotation("a.png", Size(150, 220), (Shape(0, "dent", "mask", corners, mask=data),))
    with promised():
        labelme.write(annotation, "a.png", annotation.size)
    with promised():
        _draw(annotation)


# Score maps


def fuzz_maps(data: bytes) -> None:
    with promised():
        scores = maps.decode_map(data, "a.map")
        hold(scores.ndim == 2 and scores.size and scores.dtype == np.float32, "no map")
        hold(np.isfinite(scores).all(), "scores that are no numbers")
        hold(scores.size <= maps.MOST_PIXELS, "more scores than the limit")
        if scores.size <= 10_000 and scores.max() < 1e30 and scores.min() > -1e30:
            maps.decode_map(maps.encode_map(scores), "again")


# Decisions


@cache
def _place() -> Path:
    """A folder of our own, gone when the process ends."""
    import atexit

    place = tempfile.mkdtemp(prefix="threecad-fuzz-")
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return Path(place)


def fuzz_decisions(data: bytes) -> None:
    path = _place() / "decisions.json"
    path.write_bytes(data)
    with promised():
        choices = read_choices(path)
        decisions = Decisions().changed(choices)
        text = decisions.text().encode()
        path.write_bytes(text)
        again = Decisions().changed(read_choices(path))
        hold(again == decisions and again.text().encode() == text, "decisions that read as others")
        for source in decisions:
            hold(decisions.of(source), "a source without decisions")


# Layouts

LISTS: tuple[tuple[ModuleType, str, str], ...] = (
    (visa, "split_csv/1cls.csv", "obj/image_anno.csv"),
    (visa, "obj/image_anno.csv", "split_csv/1cls.csv"),
    (realiad, "realiad_jsons/part.json", ""),
    (manifest, "a.manifest", ""),
    (manifest, "train_class.manifest", "a.manifest"),
    (deeppcb, "group1/test.txt", ""),
    (index, "classes.txt", ""),
    (index, "classes.json", ""),
    (threecad, "samples.jsonl", "manifest.json"),
    (threecad, "manifest.json", "samples.jsonl"),
)
"""Layout, the list that is fuzzed, and one beside it that the tree draws soundly."""

_FILES = (
    *("obj/Data/Images/Normal/0.JPG", "obj/Data/Images/Anomaly/1.JPG", "obj/Data/Masks/Anomaly/1.png"),
    *("realiad_1024/part/OK/a.jpg", "realiad_1024/part/NG/b.jpg", "realiad_1024/part/NG/b.png"),
    *("images/a.jpg", "masks/a.png", "group1/0001/00010000_test.jpg", "group1/0001/00010000_temp.jpg"),
    *("group1/0001_not/00010000.txt", "part/train/good/a.png", "part/test/dent/b.png", "part/ground_truth/dent/b_mask.png"),
)


@cache
def tree_for(number: int) -> tuple[Path, Tree]:
    """A folder with files of every layout, and the tree of it."""
    _, path, beside = LISTS[number]
    root = _place() / f"layout{number}"
    for name in (*_FILES, path, *([beside] if beside else [])):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(seeds_of_lists().get(name, b""))
    return root, walk(root)


def fuzz_layouts(data: bytes) -> None:
    """The first byte chooses the list that the rest is."""
    if not data:
        return
    number = data[0] % len(LISTS)
    layout, path, _ = LISTS[number]
    root, tree = tree_for(number)
    (root / path).write_bytes(data[1:])
    with promised():
        listing = layout.read(tree, Request())
        _listed(tree, listing, drawn=layout is threecad)


def _listed(tree: Tree, listing: Listing, drawn: bool = False) -> None:
    _told(listing.findings)
    for entry in listing.entries:
        hold(is_text(entry.id, entry.category, *entry.labels, entry.source), f"an entry that no file can hold: {entry!r}"[:500])
        for path in (entry.image, *(mask.path for mask in entry.masks)):
            hold(path is None or tree.holds(path), f"an entry names what is not there: {path!r}"[:500])
        hold(drawn or entry.image is not None, "an entry without an image")
        hold(all(is_text(name) for mask in entry.masks for _, name in mask.types), "a type that no file can hold")
    hold(listing.entries == sorted(listing.entries, key=lambda e: (e.category, e.split or "", e.image or "", e.id)), "no order")
    hold(len(json.dumps([finding.detail for finding in listing.findings])) < 1 << 24, "findings without end")


_LAYOUTS = (visa, realiad, manifest, deeppcb, mvtec, index, pair, beside, folder)


def fuzz_names(data: bytes) -> None:
    """Lines as the paths of a data set's files: every layout that recognises them reads them."""
    root = _place() / "names"
    root.mkdir(exist_ok=True)
    folders: dict[str, tuple[list[str], dict[str, None]]] = {"": ([], {})}
    for line in data.decode("utf-8", "ignore").split("\n")[:200]:
        parts = [part for part in line.split("/") if part not in ("", ".", "..") and "\0" not in part][:8]
        here = ""
        for depth, part in enumerate(parts):
            inner, files = folders[here]
            path = f"{here}/{part}" if here else part
            if depth == len(parts) - 1:
                if part not in inner and PurePosixPath(part).suffix:
                    files[part] = None
                break
            if part in files:
                break
            if path not in folders:
                inner.append(part)
                folders[path] = ([], {})
            here = path
    tree = Tree(
        root, {path: Folder(tuple(sorted(inner)), dict(sorted(files.items()))) for path, (inner, files) in folders.items()}, ()
    )
    for layout in _LAYOUTS:
        with promised():
            if layout.recognises(tree):
                _listed(tree, layout.read(tree, Request()))


TARGETS: dict[str, Callable[[bytes], None]] = {
    "bitmaps": fuzz_bitmaps,
    "decisions": fuzz_decisions,
    "images": fuzz_images,
    "labelme": fuzz_labelme,
    "layouts": fuzz_layouts,
    "maps": fuzz_maps,
    "masks": fuzz_masks,
    "names": fuzz_names,
    "png": fuzz_png,
}


@cache
def seeds_of_lists() -> dict[str, bytes]:
    """A sound form of every list."""
    shades = {"0": {"class-name": "BACKGROUND", "hex-color": "#ffffff"}, "1": {"class-name": "cracked", "hex-color": "#23A436"}}
    about = {"class-name": "anomaly", "type": "groundtruth/image-classification"}
    told = {"source-ref": "s3://bucket/images/a.jpg", "anomaly-label": 1, "anomaly-label-metadata": about}
    told |= {"mask-ref": "s3://bucket/masks/a.png"}
    told |= {"mask-ref-metadata": {"type": "groundtruth/semantic-segmentation", "internal-color-map": shades}}
    sample = {"category": "part", "anomaly_class": "OK", "image_path": "part/OK/a.jpg", "mask_path": None}
    flawed = sample | {"anomaly_class": "NG", "image_path": "part/NG/b.jpg", "mask_path": "part/NG/b.png"}
    image, mask = "part/test/dent/b.png", "part/ground_truth/dent/b_mask.png"
    window, labels, areas = Window(0, 0, Size(6, 8)), ("dent",), (3,)
    row = Sample("b", "b.png", "part", window, Split.TEST, State.DEFECT, labels, areas, (), image, mask, None, None, None)
    kinds = {"folder": "part", "sources": 1, "good": 0, "defective": 1, "tiles": {}, "shapes": {}, "findings": {}}
    kinds |= {"types": [{"index": 1, "name": "dent", "folder": "dent"}]}
    whole = {"format": 1, "threecad": "0", "raw": "raw", "pipeline": {}, "categories": {"part": kinds}, "findings": {}}
    whole |= {"digests": {}, "inputs": 1, "outputs": 1}
    return {
        "split_csv/1cls.csv": b"object,split,label,image,mask\nobj,train,normal,obj/Data/Images/Normal/0.JPG,\n"
        b"obj,test,anomaly,obj/Data/Images/Anomaly/1.JPG,obj/Data/Masks/Anomaly/1.png\n",
        "obj/image_anno.csv": b'image,label,mask\nobj/Data/Images/Anomaly/1.JPG,"bent,melt",obj/Data/Masks/Anomaly/1.png\n',
        "realiad_jsons/part.json": json.dumps(
            {"meta": {"normal_class": "OK", "prefix": "part"}, "train": [sample], "test": [sample, flawed]}
        ).encode(),
        "a.manifest": json.dumps(told).encode() + b"\n",
        "train_class.manifest": json.dumps(told).encode() + b"\n",
        "group1/test.txt": b"0001/00010000.jpg 0001_not/00010000.txt\n",
        "group1/0001_not/00010000.txt": b"1 1 5 5 2\n",
        "classes.txt": b"_background_\ndent\npit\n",
        "classes.json": b'{"1": "dent", "2": "pit"}',
        "samples.jsonl": line_of(row_of(row)),
        "manifest.json": json.dumps(whole).encode(),
    }
