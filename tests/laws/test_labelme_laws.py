"""Whatever bytes a file holds, reading ends in an annotation or a ReadError, and no shape is lost on the way."""

import base64
import json
import math

from hypothesis import example, given
from hypothesis import strategies as st
from shapely import Point, Polygon, make_valid, unary_union

from threecad.domain import Annotation, Shape, Size
from threecad.errors import ReadError
from threecad.formats import labelme

text = st.text(st.characters(codec="utf-8"), max_size=8)
number = st.floats() | st.integers(-(10**12), 10**12) | st.sampled_from([10**400, -(10**400), 2**63])
anything = st.recursive(
    st.none() | st.booleans() | number | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=3),
)
entry = anything | st.fixed_dictionaries(
    {},
    optional={
        "label": text | anything,
        "points": st.lists(st.lists(number, min_size=2, max_size=2), max_size=5) | st.lists(anything, max_size=3) | anything,
        "shape_type": st.sampled_from(labelme.KINDS) | anything,
        "group_id": st.integers() | anything,
        "flags": st.dictionaries(text, st.booleans(), max_size=2) | anything,
        "description": anything,
        "mask": text | anything,
        "other": anything,
    },
)
file = st.fixed_dictionaries(
    {"shapes": st.lists(entry, max_size=5)},
    optional={
        "version": anything,
        "flags": anything,
        "imagePath": anything,
        "imageData": anything,
        "imageHeight": anything,
        "imageWidth": anything,
        "lineColor": anything,
    },
)


@given(file)
def test_every_entry_of_any_file_is_one_shape(value):
    annotation = labelme.parse(json.dumps(value).encode(), "a.json", "a.png")
    assert [shape.index for shape in annotation.shapes] == list(range(len(value["shapes"])))
    for shape, raw in zip(annotation.shapes, value["shapes"], strict=True):
        assert isinstance(shape.label, str)
        assert isinstance(shape.kind, str)
        assert shape.fault or isinstance(raw, dict)
        if isinstance(raw, dict) and isinstance(raw.get("label"), str):
            assert shape.label == raw["label"]
        if shape.fault is None:
            assert len(shape.points) == len(raw["points"])
    look = labelme.peek_bytes(json.dumps(value).encode(), "a.json")
    assert look.shapes == len(value["shapes"])
    assert look.labels == tuple(sorted({shape.label for shape in annotation.shapes}))
    assert (look.image, look.flags, look.embedded) == (annotation.image, annotation.flags, annotation.embedded)


SOUND = json.dumps(
    {
        "version": "5.5.0",
        "flags": {"角": True},
        "shapes": [{"label": "角位", "points": [[1.5, 2], [3, 4e2], [-5, 6]], "group_id": None, "mask": "QUJD"}] * 3,
        "imagePath": "a.png",
        "imageData": "QUJDQUJD",
        "imageHeight": 600,
    },
    ensure_ascii=False,
)


@given(
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "gbk", "utf-16"]),
    edits=st.lists(st.tuples(st.integers(0, 600), st.integers(0, 3), st.binary(max_size=3)), min_size=1, max_size=4),
)
def test_a_damaged_file_is_an_annotation_or_a_read_error(encoding, edits):
    data = SOUND.encode(encoding)
    for place, length, patch in edits:
        data = data[:place] + patch + data[place + length :]
    assert survives(labelme.parse, data, "a.json", "a")
    assert survives(labelme.peek_bytes, data, "a.json")


def survives(use, *given):
    """Whether `use` answers, or says in a ReadError which file is to blame; anything else comes through as it is."""
    try:
        use(*given)
    except ReadError as error:
        return str(error).startswith("a.json: ")
    return True


@given(st.binary(max_size=60))
@example(b"\x00" * 4)
@example(b"\xff\xfe\x00\x00")
@example(b'"\\ud800"')
def test_any_bytes_are_an_annotation_or_a_read_error(data):
    assert survives(labelme.embedded_bytes, data, "a.json")


coordinate = st.floats(-1e6, 1e6)
point = st.tuples(coordinate, coordinate)
sound = st.one_of(
    st.tuples(st.sampled_from(["polygon", "line", "linestrip", "point", "points"]), st.lists(point, min_size=1, max_size=6)),
    st.tuples(st.sampled_from(["rectangle", "circle", "mask"]), st.lists(point, min_size=1, max_size=2)),
    st.tuples(st.just("oriented_rectangle"), st.lists(point, min_size=4, max_size=4)),
)
wild = st.tuples(st.sampled_from([*labelme.KINDS, "spline", ""]), st.lists(st.tuples(st.floats(), st.floats()), max_size=5))
size = st.none() | st.builds(Size, st.integers(1, 9999), st.integers(1, 9999))
flags = st.lists(text, max_size=2, unique=True).map(tuple)


@st.composite
def annotations(draw, outlines, faults):
    shapes = [
        Shape(
            index=index,
            label=draw(text),
            kind=kind,
            points=tuple(points),
            group=draw(st.none() | st.integers(-(10**17), 10**17)),
            flags=draw(flags),
            description=draw(text),
            mask=draw(st.none() | st.binary(max_size=9)) if faults else None,
            fault=draw(st.none() | text) if faults else None,
        )
        for index, (kind, points) in enumerate(draw(st.lists(outlines, max_size=4)))
    ]
    return Annotation("a.png", draw(size), tuple(shapes), draw(flags), image="a.png", version=labelme.VERSION)


@given(annotations(sound, faults=False))
def test_reading_what_was_written_is_the_identity(annotation):
    written = labelme.write(annotation, "a.png", annotation.size)
    assert labelme.parse(written.encode(), "a.json", "a.png") == annotation


@given(annotations(wild, faults=True), st.dictionaries(st.integers(0, 4), text))
def test_whatever_is_written_opens_in_labelme_and_keeps_every_shape(annotation, notes):
    written = labelme.write(annotation, "a.png", annotation.size, notes)
    again = labelme.parse(written.encode(), "a.json", "a.png")
    assert len(again.shapes) == len(annotation.shapes)
    for shape, original in zip(again.shapes, annotation.shapes, strict=True):
        assert shape.fault is None
        assert shape.points
        assert all(math.isfinite(value) and abs(value) <= 1e6 for point in shape.points for value in point)
        assert shape.kind in labelme.KINDS
        assert shape.kind not in ("rectangle", "circle", "mask") or len(shape.points) <= 2
        assert (shape.label, shape.group, shape.flags) == (original.label, original.group, original.flags)
        assert shape.description.startswith(original.description)
        assert notes.get(shape.index, "") in shape.description
        changed = (shape.kind, shape.points) != (original.kind, original.points)
        assert not changed or "originally" in shape.description
    # A replacement was put where it opens, so writing once more changes nothing.
    assert labelme.write(again, "a.png", annotation.size) == written


circle = st.builds(lambda x, y, r: Point(x, y).buffer(r, quad_segs=3), st.floats(10, 90), st.floats(10, 90), st.floats(1, 12))


@given(st.lists(circle, min_size=1, max_size=8))
def test_an_outline_around_holes_reads_back_as_the_region(holes):
    region = Polygon([(0, 0), (100, 0), (100, 100), (0, 100)]).difference(unary_union(holes))
    again = [make_valid(Polygon(shape.points), method="structure") for shape in labelme.shapes_of(region, "ring", group=0)]
    assert unary_union(again).symmetric_difference(region).area < 1e-6


@given(st.binary(min_size=1, max_size=99))
def test_an_embedded_image_comes_back_byte_for_byte(image):
    written = labelme.write(Annotation("a.json", None, ()), "a.png", None, embedded=image)
    assert json.loads(written)["imageData"] == base64.b64encode(image).decode()
    assert labelme.embedded_bytes(written.encode(), "a.json") == image
