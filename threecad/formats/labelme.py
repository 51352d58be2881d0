"""labelme's JSON: text to `Annotation` and back.

Reading never loses a shape: what does not read as labelme's becomes a `Shape` with its fault in words. Only a file that is
not JSON, or not labelme's at all, is an error. Writing gives a file that labelme opens, whatever the shapes are.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import reprlib
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypedDict

import numpy as np
import shapely
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError, WithJsonSchema, create_model
from pydantic.json_schema import SkipJsonSchema
from shapely import MultiPolygon, Polygon

from threecad.domain import Annotation, Shape, Size
from threecad.errors import ReadError
from threecad.formats.containers import Fault, in_memory
from threecad.formats.containers.codecs import by_pillow
from threecad.formats.containers.png import SIGNATURE, Png
from threecad.formats.remote import Place
from threecad.settings import Reading

VERSION = "5.5.0"
"""What a written file says it comes from: the first version with every key that is written."""

KINDS = ("polygon", "rectangle", "oriented_rectangle", "circle", "line", "linestrip", "point", "points", "mask")
"""Every shape_type labelme 6 opens; any other, and the whole file is refused."""

_COUNTS = {"rectangle": (1, 2), "mask": (1, 2), "circle": (1, 2), "oriented_rectangle": (1, 2, 4)}
"""Numbers of points without which labelme stops with an assertion while it draws."""

_REACH = 1e6
"""Pixels from the origin beyond which nobody finds a shape on the screen."""

MOST_SHAPES = 100_000
"""Of one file; the default of `read.max_shapes`. Two million empty ones fit in 6 MB, and would take minutes and gigabytes."""

_MAX_MASK_BYTES = 64 * 2**20
"""An encoded bitmap larger than this is no mask of one shape, so it is not decoded."""

_MAX_MASK_PIXELS = 64_000_000
"""Below Pillow's own alarm at 89 million, which would be a warning and not an answer."""


class Limits(TypedDict):
    """How large a file may be: what `peek`, `read` and their like take by name."""

    max_bytes: int
    max_shapes: int


def limits(settings: Reading) -> Limits:
    """Those that the settings name.

    >>> limits(Reading(max_json_megabytes=0.5))
    {'max_bytes': 500000, 'max_shapes': 100000}
    """
    return Limits(max_bytes=int(settings.max_json_megabytes * 1e6), max_shapes=settings.max_shapes)


class NotLabelme(ReadError):
    """The file is JSON, but nothing in it says that labelme, or anything like it, wrote it."""


@dataclass(frozen=True, slots=True)
class Peek:
    """What the search for sources has to know of an annotation file.

    `image` is its imagePath as written, `labels` the different labels in order of code points, `shapes` their number,
    `flags` the image flags that are set, and `embedded` says whether it carries a copy of the image.
    """

    image: str
    labels: tuple[str, ...]
    shapes: int
    flags: tuple[str, ...]
    embedded: bool


# The mirror of the file. Every field accepts anything, since one odd value must not cost the whole file; the type tried first
# is what a sound file holds, so that points become tuples of floats inside pydantic's parser. The schemas say what is read.

_Coordinate = Annotated[float, Strict()]
_Points = Annotated[
    tuple[tuple[_Coordinate, _Coordinate], ...] | Any,
    Field(union_mode="left_to_right"),
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
            "description": "[x, y] in pixels; x to the right, y down, from the outer top left corner of the image",
        }
    ),
]
_Flags = Annotated[Any, WithJsonSchema({"type": ["object", "null"], "description": "Name → whether it is set"})]
_Label = Annotated[Any, WithJsonSchema({"type": ["string", "number", "null"]})]
_Group = Annotated[
    Any,
    WithJsonSchema(
        {"type": ["integer", "number", "string", "null"], "description": "Shapes of one number are parts of one defect"}
    ),
]
_Kind = Annotated[
    Any, WithJsonSchema({"type": ["string", "null"], "description": f"One of {', '.join(KINDS)}; null is a polygon"})
]
_Bitmap = Annotated[
    Any, WithJsonSchema({"type": ["string", "null"], "description": "PNG in base64, its first pixel at the first point"})
]
_Text = Annotated[Any, WithJsonSchema({"type": ["string", "null"]})]
_Version = Annotated[Any, WithJsonSchema({"type": ["string", "number", "null"]})]
_Embedded = Annotated[Any, WithJsonSchema({"type": ["string", "null"], "description": "The image file in base64"})]
_Length = Annotated[Any, WithJsonSchema({"type": ["integer", "null"], "description": "Pixels"})]


class _Shape(BaseModel):
    """One outline; keys that are not named here are ignored."""

    model_config = ConfigDict(
        extra="ignore",
        title="Shape",
        field_title_generator=lambda name, _: name,
        json_schema_extra={"required": ["label", "points"]},
    )

    label: _Label = None
    points: _Points = None
    shape_type: _Kind = None
    group_id: _Group = None
    flags: _Flags = None
    description: _Text = None
    mask: _Bitmap = None


class _File(BaseModel):
    """A labelme file of any version; keys that are not named here are ignored."""

    model_config = ConfigDict(
        extra="ignore",
        title="labelme annotation",
        field_title_generator=lambda name, _: name,
        json_schema_extra={"required": ["shapes"]},
    )

    version: _Version = None
    flags: _Flags = None
    shapes: Annotated[
        list[Annotated[_Shape | SkipJsonSchema[Any], Field(union_mode="left_to_right")]] | SkipJsonSchema[Any],
        Field(union_mode="left_to_right"),
    ] = None
    imagePath: _Text = None  # noqa: N815 - these are labelme's spellings
    imageData: _Embedded = None  # noqa: N815
    imageHeight: _Length = None  # noqa: N815
    imageWidth: _Length = None  # noqa: N815


class _Named(BaseModel):
    """What a look at a file takes of an outline: its points stay text, which is most of the work."""

    label: Any = None


@cache
def _file_of(shape: type[_Shape | _Named], most: int) -> type[_File]:
    """The mirror of a file of at most so many shapes: those of a longer list stay as they are, which costs next to nothing."""
    entry = Annotated[shape | Any, Field(union_mode="left_to_right")]  # type: ignore[valid-type]
    shapes = Annotated[Annotated[list[entry], Field(max_length=most)] | Any, Field(union_mode="left_to_right")]
    return create_model("_File", __base__=_File, shapes=(shapes, None))


def schema() -> dict[str, Any]:
    """JSON Schema of what is read of a labelme file. It tells the sound form; the reader takes far more.

    >>> sorted(schema()["properties"])
    ['flags', 'imageData', 'imageHeight', 'imagePath', 'imageWidth', 'shapes', 'version']
    """
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_File.model_json_schema()}


# Reading


def load(path: Place, name: str, *, max_bytes: int) -> bytes:
    """The bytes of the annotation file at `path`, which messages call `name`.

    Raises ReadError when it cannot be opened, is no regular file (a pipe would wait for ever) or is larger than `max_bytes`.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ReadError(f"{name}: expected a file, found a folder, a device or a pipe")
        if status.st_size > max_bytes:
            raise ReadError(f"{name}: {status.st_size} bytes, more than the limit of {max_bytes} (max_json_megabytes)")
        with path.open("rb", buffering=0) as file:
            # One byte more than there should be: a file that grows meanwhile must not pass for a whole one.
            data = file.read(status.st_size + 1) or b""
    except OSError as error:
        raise ReadError(f"{name}: cannot be opened: {error.strerror or type(error).__name__}") from error
    if len(data) != status.st_size:
        raise ReadError(f"{name}: expected {status.st_size} bytes, found {len(data)}: it changed while it was read")
    return data


def read(path: Path, source: str, *, max_bytes: int, max_shapes: int = MOST_SHAPES) -> Annotation:
    """The annotation in the file at `path` for the source of that id; raises ReadError or NotLabelme, which tell no folder."""
    return parse(load(path, path.name, max_bytes=max_bytes), path.name, source, max_shapes=max_shapes)


def peek(path: Place, name: str | None = None, *, max_bytes: int, max_shapes: int = MOST_SHAPES) -> Peek:
    """What the file at `path`, called `name` in messages, is about, without its outlines; raises as `read` does."""
    name = path.name if name is None else name
    return peek_bytes(load(path, name, max_bytes=max_bytes), name, max_shapes=max_shapes)


def embedded_image(path: Path, *, max_bytes: int, max_shapes: int = MOST_SHAPES) -> bytes:
    """The image file embedded in the file at `path`; raises as `read` does, and ReadError when there is none."""
    return embedded_bytes(load(path, path.name, max_bytes=max_bytes), path.name, max_shapes=max_shapes)


def parse(data: bytes, name: str, source: str, *, max_shapes: int = MOST_SHAPES) -> Annotation:
    """The annotation that `data` holds, in UTF-8, UTF-16, UTF-32 or GBK; messages call the file `name`.

    Every entry of `shapes` becomes the `Shape` of that number. One that does not read as labelme's says why in `fault` and
    keeps the points that can be read, so that there is a place to look at. Raises ReadError, also for more than `max_shapes`
    of them, or NotLabelme.

    >>> annotation = parse(b'{"shapes": [{"label": 7, "points": [[1, 2], "x"]}], "imagePath": "a.png"}', "a.json", "a.png")
    >>> annotation.shapes[0].label, annotation.shapes[0].points, annotation.shapes[0].fault
    ('7', ((1.0, 2.0),), "point 1: expected [x, y], found 'x'")
    """
    file = _parse(data, name, _file_of(_Shape, max_shapes), max_shapes)
    return Annotation(
        source=source,
        size=_size(file.imageHeight, file.imageWidth),
        shapes=tuple(_shape(index, shape) for index, shape in enumerate(file.shapes)),
        flags=_flags(file.flags),
        image=_text(file.imagePath),
        embedded=_is_embedded(file),
        version=_label(file.version)[0],
    )


def peek_bytes(data: bytes, name: str, *, max_shapes: int = MOST_SHAPES) -> Peek:
    """What `data` is about, without its outlines; raises as `parse` does.

    >>> peek_bytes(b'{"shapes": [], "flags": {"good": true, "cat": false}, "imagePath": "a.png"}', "a.json")
    Peek(image='a.png', labels=(), shapes=0, flags=('good',), embedded=False)
    """
    file = _parse(data, name, _file_of(_Named, max_shapes), max_shapes)
    labels = {_label(shape.label)[0] if isinstance(shape, _Named) else "" for shape in file.shapes}
    return Peek(_text(file.imagePath), tuple(sorted(labels)), len(file.shapes), _flags(file.flags), _is_embedded(file))


def embedded_bytes(data: bytes, name: str, *, max_shapes: int = MOST_SHAPES) -> bytes:
    """The image file embedded in `data`; raises as `parse` does, and ReadError when there is none or it is not base64."""
    file = _parse(data, name, _file_of(_Named, max_shapes), max_shapes)
    if not _is_embedded(file):
        raise ReadError(f"{name}: expected an image in imageData, found none")
    image = _decoded(file.imageData)
    if not image:
        raise ReadError(f"{name}: imageData: expected base64, found {_shown(file.imageData)}")
    return image


def _parse(data: bytes, name: str, mirror: type[_File], max_shapes: int) -> _File:
    text: bytes | str = data
    encoding = json.detect_encoding(data)
    if encoding == "utf-8-sig":
        text = data[3:]
    elif encoding != "utf-8":
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError as error:
            raise ReadError(f"{name}: not text: expected {encoding.upper()} at byte {error.start}") from None
    try:
        file = _validated(text, name, mirror)
    except ReadError:
        # Chinese Windows writes GBK. GB 18030 contains it; whether the bytes are UTF-8 is asked only when they do not parse.
        if isinstance(text, str) or _is_utf8(text):
            raise
        try:
            text = text.decode("gb18030")
        except UnicodeDecodeError as error:
            raise ReadError(f"{name}: not text: expected UTF-8 or GBK at byte {error.start}") from None
        file = _validated(text, name, mirror)
    if not isinstance(file.shapes, list):
        found = _shown(file.shapes) if "shapes" in file.model_fields_set else "none"
        message = f"{name}: shapes: expected a list, found {found}"
        # Who speaks of an imagePath or imageData meant labelme's format: that file is broken, not foreign.
        raise (ReadError if file.model_fields_set & {"imagePath", "imageData"} else NotLabelme)(message)
    if len(file.shapes) > max_shapes:
        raise ReadError(f"{name}: {len(file.shapes):,} shapes, more than the limit of {max_shapes:,} (read.max_shapes)")
    return file


def _validated(text: bytes | str, name: str, mirror: type[_File]) -> _File:
    try:
        return mirror.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] != "json_invalid":
            raise NotLabelme(f"{name}: expected an object with shapes, found another JSON value") from None
        what = str(first["ctx"]["error"])
        place = re.fullmatch(r"(.*) at line (\d+) column (\d+)", what, re.DOTALL)
        if place is not None:
            raise ReadError(f"{name}: not JSON at line {place[2]}, column {place[3]}: {place[1]}") from None
        raise ReadError(f"{name}: not JSON: {what}") from None


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_embedded(file: _File) -> bool:
    return isinstance(file.imageData, str) and bool(file.imageData)


def _shape(index: int, raw: object) -> Shape:
    if not isinstance(raw, _Shape):
        return Shape(index, "", "", (), fault=f"expected an object, found {_shown(raw)}")
    label, label_fault = _label(raw.label)
    points, points_fault = _points(raw.points)
    kind, kind_fault = _kind(raw.shape_type)
    return Shape(
        index=index,
        label=label,
        kind=kind,
        points=points,
        group=_group(raw.group_id),
        flags=_flags(raw.flags),
        mask=_decoded(raw.mask, _MAX_MASK_BYTES) if isinstance(raw.mask, str) and raw.mask else None,
        description=_text(raw.description),
        fault="; ".join(filter(None, (label_fault, points_fault, kind_fault))) or None,
    )


def _label(raw: object) -> tuple[str, str]:
    """The label as text, and what is wrong with it."""
    if isinstance(raw, str):
        return raw, ""
    if raw is None:
        return "", ""
    if isinstance(raw, int | float) and not isinstance(raw, bool):
        return str(raw), ""
    return "", f"label: expected a text, found {_shown(raw)}"


def _kind(raw: object) -> tuple[str, str]:
    if raw is None:  # version 3 had nothing but polygons, and no word for them
        return "polygon", ""
    if isinstance(raw, str):
        return raw, ""
    return "", f"shape_type: expected a text, found {_shown(raw)}"


def _points(raw: object) -> tuple[tuple[tuple[float, float], ...], str]:
    """The readable points, and what is wrong with the first that is not."""
    if isinstance(raw, tuple):
        return raw, ""
    if not isinstance(raw, list):
        return (), f"points: expected a list, found {_shown(raw)}"
    points = []
    fault = ""
    for number, entry in enumerate(raw):
        x, y = (_coordinate(value) for value in entry[:2]) if isinstance(entry, list) and len(entry) >= 2 else (None, None)
        if x is not None and y is not None:
            points.append((x, y))
            if len(entry) == 2:
                continue
        fault = fault or f"point {number}: expected [x, y], found {_shown(entry)}"
    return tuple(points), fault


def _coordinate(raw: object) -> float | None:
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        return None
    try:
        return float(raw)
    except OverflowError:  # an integer of more than 308 digits
        return math.inf if raw > 0 else -math.inf


def _group(raw: object) -> int | None:
    if isinstance(raw, str) and re.fullmatch(r"[+-]?[0-9]{1,18}", raw.strip()):
        return int(raw)
    if isinstance(raw, float) and raw.is_integer():
        return int(raw)
    return raw if isinstance(raw, int) and not isinstance(raw, bool) else None


def _flags(raw: object) -> tuple[str, ...]:
    """Names of the flags that are set; some tools write just a list of these."""
    if isinstance(raw, dict):
        return tuple(name for name, value in raw.items() if value)
    return tuple(name for name in raw if isinstance(name, str)) if isinstance(raw, list) else ()


def _text(raw: object) -> str:
    return raw if isinstance(raw, str) else ""


def _size(height: object, width: object) -> Size | None:
    tall, wide = _pixels(height), _pixels(width)
    return Size(tall, wide) if tall > 0 and wide > 0 else None


def _pixels(raw: object) -> int:
    """A whole number of pixels, 0 for anything else."""
    if isinstance(raw, float) and raw.is_integer():
        return int(raw)
    return raw if isinstance(raw, int) and not isinstance(raw, bool) else 0


def _decoded(text: str, limit: int | None = None) -> bytes | None:
    """The bytes behind base64 text, or None. Line breaks are passed over, and so is the head of a data URI."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    if limit is not None and len(text) > limit // 3 * 4:
        return None
    try:
        return binascii.a2b_base64(text)
    except ValueError:  # binascii.Error, or characters beyond ASCII
        return None


def _shown(raw: object) -> str:
    """A short look at a value of unknown size, in JSON's words."""
    if isinstance(raw, _Shape | dict):
        return "an object"
    return {"None": "null", "True": "true", "False": "false"}.get(text := reprlib.repr(raw), text)


# Writing


def write(
    annotation: Annotation,
    image: str,
    size: Size | None,
    notes: Mapping[int, str] | None = None,
    *,
    embedded: bytes | None = None,
) -> str:
    """The text of a file that labelme opens: the annotation's shapes, with `notes[number]` added to a shape's description.

    `image` is the imagePath to write, relative to the folder the file will lie in. `size` is what the image measures once its
    EXIF orientation is applied; labelme refuses a file that states another, None states none. `embedded` is an image file to
    carry along where `image` is not there.

    A shape on which labelme would refuse the whole file, or that nobody could find on the screen, is replaced by a point or a
    linestrip where it is, or in the middle of the image where it is nowhere; its description tells what it was. Neither kind
    has an area, so a replacement that nobody drew anew is not taken for a defect later.
    """
    payload = {
        "version": VERSION,
        "flags": dict.fromkeys(annotation.flags, True),
        "shapes": [_written(shape, size, (notes or {}).get(shape.index, "")) for shape in annotation.shapes],
        "imagePath": image,
        "imageData": None if embedded is None else base64.b64encode(embedded).decode("ascii"),
        "imageHeight": None if size is None else size.height,
        "imageWidth": None if size is None else size.width,
    }
    return json.dumps(payload, ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def _written(shape: Shape, size: Size | None, note: str) -> dict[str, Any]:
    told = ""
    if not _opens(shape):
        bitmap = "" if shape.mask is None else f" with a bitmap of {len(shape.mask)} bytes"
        told = f"originally {shape.kind or 'a shape'}{bitmap} {[list(point) for point in shape.points]}"
        points = _placed(shape.points, size)
        shape = replace(shape, kind="point" if len(points) == 1 else "linestrip", points=points)
    return {
        "label": shape.label,
        "points": [list(point) for point in shape.points],
        "group_id": shape.group,
        "description": "\n".join(filter(None, (shape.description, note, shape.fault, told))),
        "shape_type": shape.kind,
        "flags": dict.fromkeys(shape.flags, True),
        # labelme decodes the bitmap of whatever kind and refuses the file over a bad one, but shows it for masks alone.
        "mask": base64.b64encode(shape.mask).decode("ascii") if shape.kind == "mask" and shape.mask is not None else None,
    }


def _opens(shape: Shape) -> bool:
    return (
        shape.fault is None
        and shape.kind in KINDS
        and len(shape.points) in _COUNTS.get(shape.kind, (len(shape.points) or 1,))
        and all(abs(value) <= _REACH for point in shape.points for value in point)  # False for NaN
        and (shape.kind != "mask" or shape.mask is None or _is_bitmap(shape.mask))
    )


def _is_bitmap(mask: bytes) -> bool:
    """Whether labelme, which has Pillow open it, finds one number a pixel in it."""
    from PIL.PngImagePlugin import PngImageFile

    if not mask.startswith(SIGNATURE):
        return False
    try:
        header = Png.parse(in_memory(memoryview(mask)))
        # Pillow would warn of a broken animation.
        if header.size.area > _MAX_MASK_PIXELS or any(kind == b"acTL" for kind, _, _ in header.chunks):
            return False
        return len(by_pillow(PngImageFile, mask).getbands()) == 1
    except Fault:
        return False


def _placed(points: Iterable[tuple[float, float]], size: Size | None) -> tuple[tuple[float, float], ...]:
    """The points a person can find: those without NaN, far ones brought to the border, repeated ones once; at least one."""
    right, lower = (_REACH, _REACH) if size is None else (float(size.width), float(size.height))

    def near(value: float, end: float) -> float:
        return value if abs(value) <= _REACH else min(max(value, 0.0), end)

    found = dict.fromkeys((near(x, right), near(y, lower)) for x, y in points if not (math.isnan(x) or math.isnan(y)))
    if found:
        return tuple(found)
    return ((0.0, 0.0) if size is None else (size.width / 2, size.height / 2),)


def shapes_of(
    geometry: Polygon | MultiPolygon, label: str, *, index: int = 0, group: int | None = None, description: str = ""
) -> list[Shape]:
    """The geometry as labelme polygons, numbered from `index`: one a part, which `group` holds together.

    labelme knows no holes, so a part with holes becomes one outline that runs to each hole and back along the same line.
    The even-odd and the non-zero reading of it are both the part. Raises ValueError for several parts without a group.

    >>> frame = Polygon([(0, 0), (9, 0), (9, 9)], [[(4, 1), (8, 1), (8, 5)]])
    >>> [shape] = shapes_of(frame, "crack")
    >>> shape.points[:4], shape.points[4:]
    (((0.0, 0.0), (4.0, 0.0), (4.0, 1.0), (8.0, 5.0)), ((8.0, 1.0), (4.0, 1.0), (4.0, 0.0), (9.0, 0.0), (9.0, 9.0)))
    """
    parts = shapely.get_parts(geometry)
    if len(parts) > 1 and group is None:
        raise ValueError(f"{len(parts)} parts: expected a group to hold them together, found none")
    return [
        Shape(index + number, label, "polygon", _outline(part), group=group, description=description)
        for number, part in enumerate(parts)
    ]


def _outline(polygon: Polygon) -> tuple[tuple[float, float], ...]:
    """One ring, not closed, around the polygon and its holes.

    The holes are joined in the order of a minimum spanning tree: each bridge is the shortest there is between a hole and what
    is joined already, so no bridge crosses an outline or another bridge.
    """
    polygon = shapely.orient_polygons(polygon)
    outline = shapely.get_coordinates(polygon.exterior)[:-1]
    holes = list(polygon.interiors)
    distances = shapely.distance(polygon.exterior, holes)
    ends = [polygon.exterior] * len(holes)  # of the joined rings, the one nearest to each hole
    for _ in holes:
        number = int(np.argmin(distances))
        hole = holes[number]
        start, end = shapely.get_coordinates(shapely.shortest_line(ends[number], hole))
        ring = shapely.get_coordinates(hole)[:-1]
        ring = np.roll(ring, -1 - _edge(ring, end), axis=0)
        outline = np.insert(outline, _edge(outline, start) + 1, [start, end, *ring, end, start], axis=0)
        reached = shapely.distance(hole, holes)
        ends = [hole if new < old else ring for new, old, ring in zip(reached, distances, ends, strict=True)]
        distances = np.where(np.isfinite(distances), np.minimum(distances, reached), math.inf)
        distances[number] = math.inf
    # A bridge that starts at a corner repeats it.
    fresh = np.any(outline != np.roll(outline, 1, axis=0), axis=1)
    return tuple((x, y) for x, y in outline[fresh].tolist())


def _edge(ring: NDArray[np.float64], point: NDArray[np.float64]) -> int:
    """Number of the edge of the closed ring that passes nearest to the point; edge k starts at corner k."""
    along = np.roll(ring, -1, axis=0) - ring
    squares = np.maximum((along**2).sum(axis=1), np.finfo(float).tiny)
    share = np.clip(((point - ring) * along).sum(axis=1) / squares, 0, 1)
    return int(np.argmin(((ring + share[:, None] * along - point) ** 2).sum(axis=1)))
