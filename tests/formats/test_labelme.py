"""labelme's files, of every version and in every state of repair."""

import base64
import io
import json
import math
import os
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from PIL import Image
from shapely import MultiPolygon, Point, Polygon, box, make_valid

from threecad.domain import Annotation, Shape, Size
from threecad.errors import ReadError
from threecad.formats import labelme
from threecad.formats.labelme import NotLabelme

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
real = pytest.mark.skipif(not SHARED.is_dir(), reason="the real data (../shared/data) is not beside the checkout")
LIMIT = 10**8


def bitmap(pixels):
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()


def parsed(value, **changes):
    text = value if isinstance(value, str) else json.dumps(value | changes, ensure_ascii=False)
    return labelme.parse(text.encode(), "a.json", "a.png")


def one(**entry):
    [shape] = parsed({"imagePath": "a.png", "shapes": [{"label": "scratch", "points": [[1, 2], [3, 4]]} | entry]}).shapes
    return shape


V3 = {
    "flags": {},
    "shapes": [{"label": "角位漏底", "line_color": None, "fill_color": None, "points": [[1, 2], [3.5, 4], [5, 6]]}],
    "lineColor": [0, 255, 0, 128],
    "fillColor": [255, 0, 0, 128],
    "imagePath": "a.jpg",
    "imageData": "QUJD",
}
V5 = {
    "version": "5.5.0",
    "flags": {"checked": True, "blurred": False},
    "shapes": [
        {
            "label": "dent",
            "points": [[1.5, 2.5], [9, 9]],
            "group_id": 3,
            "description": "left of the hole",
            "shape_type": "mask",
            "flags": {"occluded": True},
            "mask": base64.b64encode(bitmap(np.ones((7, 8), np.uint8))).decode(),
        }
    ],
    "imagePath": "..\\data\\a.png",
    "imageData": None,
    "imageHeight": 600,
    "imageWidth": 2000,
}


def test_a_file_of_version_3_holds_polygons_and_states_no_size():
    annotation = parsed(V3)
    [shape] = annotation.shapes
    assert (annotation.version, annotation.size, annotation.image, annotation.embedded) == ("", None, "a.jpg", True)
    assert (shape.label, shape.kind, shape.fault) == ("角位漏底", "polygon", None)
    assert shape.points == ((1.0, 2.0), (3.5, 4.0), (5.0, 6.0))


def test_a_file_of_version_5_keeps_all_that_labelme_knows():
    annotation = parsed(V5)
    assert annotation == Annotation(
        source="a.png",
        size=Size(600, 2000),
        shapes=(
            Shape(
                index=0,
                label="dent",
                kind="mask",
                points=((1.5, 2.5), (9.0, 9.0)),
                group=3,
                flags=("occluded",),
                mask=bitmap(np.ones((7, 8), np.uint8)),
                description="left of the hole",
            ),
        ),
        flags=("checked",),
        image="..\\data\\a.png",
        embedded=False,
        version="5.5.0",
    )


@pytest.mark.parametrize("version", ["4.5.6", "6.3.1", "7.0.0-beta", 5.4])
def test_the_version_is_noted_and_decides_nothing(version):
    assert parsed(V5, version=version) == replace(parsed(V5), version=str(version))


def test_keys_that_nobody_knows_are_passed_over():
    shape = V5["shapes"][0] | {"difficult": True, "attributes": {"deep": [[[]]]}}
    assert parsed(V5, shapes=[shape], **{"x-tool": {"a": [1, None]}}) == parsed(V5)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "gbk", "gb18030"])
def test_chinese_labels_read_alike_in_every_encoding(encoding):
    data = json.dumps(V3, ensure_ascii=False).encode(encoding)
    assert labelme.parse(data, "a.json", "a.png").shapes[0].label == "角位漏底"
    assert labelme.peek_bytes(data, "a.json").labels == ("角位漏底",)


@pytest.mark.parametrize(
    ("written", "group"),
    [
        (7, 7),
        ("7", 7),
        (" -2 ", -2),
        (7.0, 7),
        (7.5, None),
        ("seven", None),
        (None, None),
        (True, None),
        ([], None),
        ("9" * 99, None),
    ],
)
def test_a_group_is_a_whole_number_or_none(written, group):
    assert one(group_id=written).group == group
    assert one(group_id=written).fault is None


@pytest.mark.parametrize(("written", "label"), [("scratch", "scratch"), (None, ""), (3, "3"), (1.5, "1.5"), ("", "")])
def test_a_label_is_text_numbers_included(written, label):
    assert (one(label=written).label, one(label=written).fault) == (label, None)


@pytest.mark.parametrize("written", [True, [], {}, [["scratch"]]])
def test_a_label_that_is_no_text_is_a_fault(written):
    assert "label: expected a text" in one(label=written).fault


@pytest.mark.parametrize(
    ("points", "fault", "readable"),
    [
        ("1,2 3,4", "points: expected a list, found '1,2 3,4'", ()),
        (None, "points: expected a list, found null", ()),
        ({"x": 1}, "points: expected a list, found an object", ()),
        ([[1, 2], [3]], "point 1: expected [x, y], found [3]", ((1.0, 2.0),)),
        ([[1, 2], ["3", "4"]], "point 1: expected [x, y], found ['3', '4']", ((1.0, 2.0),)),
        ([[1, 2], [3, 4, 5]], "point 1: expected [x, y], found [3, 4, 5]", ((1.0, 2.0), (3.0, 4.0))),
        ([[[1, 2], [3, 4]]], "point 0: expected [x, y], found [[1, 2], [3, 4]]", ()),
        ([1, 2, 3, 4], "point 0: expected [x, y], found 1", ()),
        ([[1, -(10**400)], "?"], "point 1: expected [x, y], found '?'", ((1.0, -math.inf),)),
        ([[1, None], [True, 2], [5, 6]], "point 0: expected [x, y], found [1, None]", ((5.0, 6.0),)),
    ],
)
def test_a_malformed_outline_keeps_its_shape_its_fault_and_its_readable_points(points, fault, readable):
    shape = one(points=points)
    assert (shape.label, shape.fault, shape.points) == ("scratch", fault, readable)


@pytest.mark.parametrize("entry", [None, 3, "polygon", [], [[1, 2]], True])
def test_an_entry_that_is_no_object_is_a_shape_with_a_fault(entry):
    shapes = parsed({"shapes": [entry, {"label": "x", "points": [[1, 2]]}]}).shapes
    assert "expected an object" in shapes[0].fault
    assert (shapes[1].index, shapes[1].fault) == (1, None)


def test_every_entry_is_the_shape_of_its_number():
    entries = [{"label": str(number), "points": [] if number % 3 else "?"} for number in range(20)]
    assert [(shape.index, shape.label) for shape in parsed({"shapes": entries}).shapes] == [(n, str(n)) for n in range(20)]


def test_a_kind_that_is_no_text_is_a_fault_and_one_nobody_knows_is_kept():
    assert one(shape_type=4).fault == "shape_type: expected a text, found 4"
    assert (one(shape_type="spline").kind, one(shape_type="spline").fault) == ("spline", None)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 400])
def test_numbers_beyond_floats_are_read_as_what_they_are(number):
    shape = parsed('{"shapes": [{"label": "x", "points": [[1, N], [2, 3]]}]}'.replace("N", number, 1)).shapes[0]
    assert not math.isfinite(shape.points[0][1])
    assert (shape.points[1], shape.fault) == ((2.0, 3.0), None)


def test_a_number_of_4300_digits_is_a_number_and_a_longer_one_an_error():
    assert len(parsed('{"shapes": [{"label": ' + "9" * 4300 + ', "points": []}]}').shapes[0].label) == 4300
    with pytest.raises(ReadError, match="not JSON at line 1"):
        parsed('{"shapes": [{"label": ' + "9" * 5000 + ', "points": []}]}')


def test_of_a_key_given_twice_the_last_counts():
    text = '{"shapes": [], "imagePath": "a", "imagePath": "b", "shapes": [{"label": "x", "label": "y", "points": []}]}'
    assert (parsed(text).image, [shape.label for shape in parsed(text).shapes]) == ("b", ["y"])


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [(6, 8, Size(6, 8)), (6.0, 8, Size(6, 8)), (0, 8, None), (-6, 8, None), (6, None, None), (True, 8, None), ("6", "8", None)],
)
def test_a_size_is_two_positive_numbers_or_not_stated(height, width, size):
    assert parsed({"shapes": [], "imageHeight": height, "imageWidth": width}).size == size


def test_flags_are_the_names_that_are_set():
    assert one(flags={"a": True, "b": False, "c": 1, "d": None}).flags == ("a", "c")
    assert one(flags=["a", 3]).flags == ("a",)
    assert one(flags=None).flags == one(flags="a").flags == ()


def test_a_bitmap_that_is_no_base64_is_left_to_whoever_decodes_it():
    assert one(mask="角").mask is None
    assert one(mask="QUJD\n").mask == b"ABC"
    assert one(mask="data:image/png;base64,QUJD").mask == b"ABC"
    assert one(mask=None).mask is one(mask="").mask is one(mask=3).mask is None


def test_a_bitmap_of_unreasonable_length_is_not_decoded(monkeypatch):
    monkeypatch.setattr(labelme, "_MAX_MASK_BYTES", 30)
    assert one(mask="QUJD" * 10).mask == b"ABC" * 10
    assert one(mask="QUJD" * 11).mask is None


@pytest.mark.parametrize("text", ["[]", "3", "null", '"shapes"', "{}", '{"images": [], "annotations": []}', '{"shapes": null}'])
def test_json_that_is_not_labelme_is_told_from_a_broken_file(text):
    with pytest.raises(NotLabelme, match=r"^a\.json: .*expected"):
        parsed(text)


@pytest.mark.parametrize("shapes", [None, {}, "[]", 0])
def test_shapes_that_are_no_list_break_a_file_that_speaks_of_an_image(shapes):
    with pytest.raises(ReadError, match=r"^a\.json: shapes: expected a list, found") as caught:
        parsed({"shapes": shapes, "imagePath": "a.png"})
    assert not isinstance(caught.value, NotLabelme)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "a.json: not JSON at line 1, column 0: EOF while parsing a value"),
        (b'{"shapes":\n\n [}', "a.json: not JSON at line 3, column 3: expected value"),
        (b"[" * 10**6, "a.json: not JSON at line 1, column 202: recursion limit exceeded"),
        (b'{"shapes": "\xff\xff"}', "a.json: not text: expected UTF-8 or GBK at byte 12"),
        (b"\xff\xfe{\x00\x00", "a.json: not text: expected UTF-16 at byte 4"),
        (b'{"shapes": []} {}', "a.json: not JSON at line 1, column 16: trailing characters"),
    ],
)
def test_what_is_not_json_is_an_error_that_names_the_file_and_the_place(data, message):
    with pytest.raises(ReadError) as caught:
        labelme.parse(data, "a.json", "a.png")
    assert str(caught.value) == message
    assert not isinstance(caught.value, NotLabelme)


def test_a_file_is_read_peeked_at_and_its_image_taken_out(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(V3), encoding="utf-8")
    assert labelme.read(path, "a.png", max_bytes=LIMIT) == parsed(V3)
    assert labelme.peek(path, max_bytes=LIMIT) == labelme.Peek("a.jpg", ("角位漏底",), 1, (), True)
    assert labelme.embedded_image(path, max_bytes=LIMIT) == b"ABC"


def test_a_peek_tells_the_labels_that_reading_tells():
    shapes = [{"label": "b"}, {"label": 3}, {"label": None}, {"label": "a"}, {"label": "b"}, {"label": []}, None]
    data = json.dumps({"shapes": shapes, "flags": {"cat": True}}).encode()
    read = labelme.parse(data, "a.json", "a.png")
    assert labelme.peek_bytes(data, "a.json").labels == tuple(sorted({shape.label for shape in read.shapes}))
    assert labelme.peek_bytes(data, "a.json").shapes == 7


@pytest.mark.parametrize("embedded", [None, "", 3])
def test_an_image_that_is_not_embedded_is_an_error(embedded):
    with pytest.raises(ReadError, match=r"^a\.json: expected an image in imageData, found none$"):
        labelme.embedded_bytes(json.dumps({"shapes": [], "imageData": embedded}).encode(), "a.json")


def test_an_embedded_image_that_is_no_base64_is_an_error():
    with pytest.raises(ReadError, match=r"^a\.json: imageData: expected base64"):
        labelme.embedded_bytes(json.dumps({"shapes": [], "imageData": "角位"}).encode(), "a.json")


def test_a_file_larger_than_the_limit_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    path.write_bytes(b'{"shapes": []}')
    assert labelme.read(path, "a.png", max_bytes=14).shapes == ()
    monkeypatch.setattr(Path, "open", None)
    with pytest.raises(ReadError, match=r"^a\.json: 14 bytes, more than the limit of 13"):
        labelme.read(path, "a.png", max_bytes=13)


def test_a_file_that_cannot_be_opened_is_an_error_without_its_folder(tmp_path):
    for path in (tmp_path / "missing.json", tmp_path):
        with pytest.raises(ReadError) as caught:
            labelme.read(path, "a.png", max_bytes=LIMIT)
        assert str(caught.value).startswith(f"{path.name}: ")
        assert str(tmp_path.parent) not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.json")
    with pytest.raises(ReadError, match="expected a file, found a folder, a device or a pipe"):
        labelme.read(tmp_path / "a.json", "a.png", max_bytes=LIMIT)


def test_the_schema_takes_sound_files_and_refuses_broken_ones():
    Draft202012Validator.check_schema(labelme.schema())
    valid = Draft202012Validator(labelme.schema()).is_valid
    assert all(valid(file) for file in (V3, V5, V5 | {"more": 1}, {"shapes": []}))
    assert not any(valid(file) for file in ([], {}, {"shapes": {}}, V5 | {"shapes": [{"label": "x"}]}))
    assert not valid({"shapes": [{"label": "x", "points": [[1, 2, 3]]}]})


# Writing


def opens_in_labelme(text):
    """What labelme 5 and 6 check when they load and draw a file, said again; True only when nothing would stop them."""
    file = json.loads(text, parse_constant=lambda _: pytest.fail("not a number"))
    assert {"version", "imageData", "imagePath", "imageHeight", "imageWidth", "flags", "shapes"} <= file.keys()
    for shape in file["shapes"]:
        assert isinstance(shape["label"], str)
        assert isinstance(shape["description"], str)
        assert shape["group_id"] is None or isinstance(shape["group_id"], int)
        assert all(value is True for value in shape["flags"].values())
        assert shape["points"]
        assert all(len(point) == 2 and all(isinstance(value, float) for value in point) for point in shape["points"])
        assert shape["shape_type"] in labelme.KINDS
        if shape["shape_type"] in ("rectangle", "circle", "mask"):
            assert len(shape["points"]) in (1, 2)
        if shape["shape_type"] == "oriented_rectangle":
            assert len(shape["points"]) in (1, 2, 4)
        if shape["mask"] is not None:
            assert np.asarray(Image.open(io.BytesIO(base64.b64decode(shape["mask"])))).ndim == 2
    return True


SIZE = Size(80, 100)


def written(*shapes, size=SIZE, notes=None):
    text = labelme.write(Annotation("a.png", size, shapes), "../raw/a.png", size, notes)
    assert opens_in_labelme(text)
    return labelme.parse(text.encode(), "a.json", "a.png").shapes


NAN, INF = math.nan, math.inf
TRIANGLE = ((1.0, 2.0), (30.25, 4.0), (5.0, 60.0))


def test_what_labelme_opens_is_written_as_it_is():
    annotation = replace(parsed(V5), image="../raw/a.png")
    text = labelme.write(annotation, "../raw/a.png", annotation.size)
    assert opens_in_labelme(text)
    assert labelme.parse(text.encode(), "a.json", "a.png") == annotation
    assert text.endswith("}\n")


@pytest.mark.parametrize("points", [TRIANGLE, TRIANGLE[:2], TRIANGLE[:1]])
def test_a_polygon_of_too_few_points_opens_as_it_is(points):
    shape = Shape(0, "crack", "polygon", points)
    assert written(shape) == (shape,)


def test_a_note_is_added_to_the_description():
    shapes = written(
        Shape(0, "a", "polygon", TRIANGLE, description="by night shift"),
        Shape(1, "b", "polygon", TRIANGLE),
        notes={0: "TC105", 1: "?"},
    )
    assert [shape.description for shape in shapes] == ["by night shift\nTC105", "?"]


@pytest.mark.parametrize(
    ("shape", "kind", "points"),
    [
        (Shape(0, "x", "polygon", ()), "point", ((50.0, 40.0),)),
        (Shape(0, "x", "polygon", ((NAN, 3.0), (4.0, INF), (7.0, 8.0))), "linestrip", ((4.0, 80.0), (7.0, 8.0))),
        (Shape(0, "x", "polygon", ((NAN, 3.0), (7.0, 8.0))), "point", ((7.0, 8.0),)),
        (Shape(0, "x", "polygon", ((-1e300, 3.0), (1e300, -1e300))), "linestrip", ((0.0, 3.0), (100.0, 0.0))),
        (Shape(0, "x", "spline", TRIANGLE), "linestrip", TRIANGLE),
        (Shape(0, "x", "rectangle", TRIANGLE), "linestrip", TRIANGLE),
        (Shape(0, "x", "oriented_rectangle", TRIANGLE), "linestrip", TRIANGLE),
        (Shape(0, "", "", (), fault="expected an object, found 3"), "point", ((50.0, 40.0),)),
        (Shape(0, "x", "mask", TRIANGLE[:2], mask=b"no bitmap"), "linestrip", TRIANGLE[:2]),
        (Shape(0, "x", "mask", TRIANGLE[:2], mask=bitmap(np.ones((5, 6, 3), np.uint8))), "linestrip", TRIANGLE[:2]),
        (Shape(0, "x", "mask", TRIANGLE[:2], mask=bitmap(np.ones((50, 60), np.uint8))[:-30]), "linestrip", TRIANGLE[:2]),
    ],
)
def test_what_labelme_would_refuse_becomes_a_mark_where_it_is(shape, kind, points):
    [replaced] = written(shape)
    assert (replaced.kind, replaced.points, replaced.mask) == (kind, points, None)
    assert f"originally {shape.kind or 'a shape'}" in replaced.description
    assert str([list(point) for point in shape.points]) in replaced.description
    assert (shape.fault or "") in replaced.description


def test_a_bitmap_of_huge_sides_is_not_unpacked():
    header = bitmap(np.ones((5, 6), np.uint8))
    huge = header[:16] + (60_000).to_bytes(4, "big") * 2 + header[24:]
    assert written(Shape(0, "x", "mask", TRIANGLE[:2], mask=huge))[0].kind == "linestrip"


def test_a_shape_that_is_nowhere_lies_at_the_origin_of_an_unknown_image():
    assert written(Shape(0, "x", "polygon", ()), size=None)[0].points == ((0.0, 0.0),)


def test_an_image_can_be_carried_along():
    text = labelme.write(Annotation("a.json", None, ()), "a.png", Size(3, 4), embedded=b"ABC")
    assert labelme.embedded_bytes(text.encode(), "a.json") == b"ABC"


# Repaired regions as labelme's polygons


def area_of(shapes):
    return MultiPolygon([part for shape in shapes for part in _parts(make_valid(Polygon(shape.points), method="structure"))])


def _parts(geometry):
    return list(geometry.geoms) if isinstance(geometry, MultiPolygon) else [geometry]


def test_a_plain_polygon_is_one_shape_of_its_points():
    [shape] = labelme.shapes_of(box(0, 0, 4, 3), "dent", index=7, group=2, description="mended")
    assert (shape.index, shape.label, shape.kind, shape.group, shape.description) == (7, "dent", "polygon", 2, "mended")
    assert set(shape.points) == {(0.0, 0.0), (4.0, 0.0), (4.0, 3.0), (0.0, 3.0)}
    assert len(shape.points) == 4


def test_several_parts_are_several_shapes_of_one_group():
    parts = MultiPolygon([box(0, 0, 1, 1), box(5, 5, 6, 7), box(8, 8, 9, 9)])
    shapes = labelme.shapes_of(parts, "dent", index=3, group=9)
    assert [(shape.index, shape.group) for shape in shapes] == [(3, 9), (4, 9), (5, 9)]
    assert area_of(shapes).equals(parts)
    with pytest.raises(ValueError, match="3 parts: expected a group"):
        labelme.shapes_of(parts, "dent")


def signed_area(points):
    x, y = np.array(points).T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


@pytest.mark.parametrize("seed", range(8))
def test_holes_survive_as_an_outline_whose_readings_agree(seed):
    random_ = random.Random(seed)
    region = Point(50, 50).buffer(50, quad_segs=random_.choice([2, 8]))
    for _ in range(random_.randrange(1, 12)):
        region = region.difference(Point(random_.uniform(20, 80), random_.uniform(20, 80)).buffer(random_.uniform(1, 9)))
    parts = _parts(region)
    shapes = labelme.shapes_of(region, "ring", group=1)
    for part, shape in zip(parts, shapes, strict=True):
        again = make_valid(Polygon(shape.points), method="structure")
        assert again.symmetric_difference(part).area < 1e-6 * part.area  # the even-odd reading
        assert signed_area(shape.points) == pytest.approx(part.area, rel=1e-9)  # winding number 1 everywhere: the other one


def test_a_hole_that_touches_the_outline_survives():
    region = Polygon([(0, 0), (10, 0), (10, 10), (0, 10)], [[(0, 5), (4, 3), (4, 7)], [(4, 3), (8, 2), (8, 4)]])
    assert region.is_valid
    assert area_of(labelme.shapes_of(region, "ring")).symmetric_difference(region).area < 1e-9


# Real files


@pytest.mark.shared
@real
@pytest.mark.parametrize(
    ("folder", "files", "shapes"),
    [
        ("bsdata_dev/label", 201, 258),
        ("nuts_labelme", 18, 165),
        ("labelme_examples_min", 18, 72),
        ("aluminium_labelme_v3", 4, 10),
    ],
)
def test_every_shape_of_the_real_files_reads_and_writes(folder, files, shapes):
    annotations = [labelme.read(path, path.name, max_bytes=LIMIT) for path in sorted((SHARED / folder).rglob("*.json"))]
    assert (len(annotations), sum(len(annotation.shapes) for annotation in annotations)) == (files, shapes)
    for annotation in annotations:
        assert all(shape.fault is None for shape in annotation.shapes)
        text = labelme.write(annotation, annotation.image, annotation.size)
        assert opens_in_labelme(text)
        assert labelme.parse(text.encode(), "a.json", annotation.source).shapes == annotation.shapes


@pytest.mark.shared
@real
def test_a_file_that_names_itself_carries_its_image():
    path = SHARED / "labelme_examples_min" / "tutorial" / "apc2016_obj3.json"
    annotation = labelme.read(path, "apc2016_obj3.json", max_bytes=LIMIT)
    assert (annotation.image, annotation.embedded) == ("apc2016_obj3.json", True)
    with Image.open(io.BytesIO(labelme.embedded_image(path, max_bytes=LIMIT))) as picture:
        assert Size(picture.height, picture.width) == annotation.size
