"""What fuzzing found, kept: the corpus of `tests/fuzz` is run again, without atheris; then files built wrong on purpose.

The promise is told in SECURITY.md: a value or one sentence, within the time and the memory that the limits allow.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from threecad.domain import Annotation, Shape, Size
from threecad.errors import ReadError
from threecad.formats import images, labelme, maps
from threecad.formats.layouts import Request, read
from threecad.imaging import polygons
from threecad.settings import Repairing

FUZZ = Path(__file__).parents[1] / "fuzz"
sys.path.append(str(FUZZ))

import corpus  # noqa: E402
import seeds  # noqa: E402
import targets  # noqa: E402
from targets import TARGETS  # noqa: E402


@pytest.fixture(autouse=True)
def _small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those the driver sets, so that no input of the corpus is refused here that was read there."""
    monkeypatch.setattr(targets, "slowness", 5.0)  # of a machine that does other things besides
    for limit in targets.SMALL:
        monkeypatch.setattr(*limit)


# The corpus


@pytest.mark.parametrize("target", TARGETS)
def test_every_kept_input_ends_in_a_value_or_a_sentence(target: str) -> None:
    inputs = corpus.kept(target)
    assert inputs
    for data in (*inputs, *seeds.SEEDS[target]()):
        TARGETS[target](data)


def test_every_target_can_be_run_and_the_corpus_is_small() -> None:
    assert (
        {path.stem for path in FUZZ.glob("fuzz_*.py")}
        == {f"fuzz_{target}" for target in TARGETS}
        == set(re.findall(r"`(fuzz_\w+)\.py`", (FUZZ / "README.md").read_text(encoding="utf-8")))
    )
    assert set(json.loads(corpus.KEPT.read_text(encoding="ascii"))) == set(TARGETS) == set(seeds.SEEDS)
    assert corpus.KEPT.stat().st_size < 300_000


# Forms that bytes changed blindly seldom reach


def _png(*chunks: tuple[bytes, bytes]) -> bytes:
    """The chunks behind a signature, their checksums right."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


def _tiff(tags: dict[int, tuple[int, tuple[int, ...]]], body: bytes = b"") -> bytes:
    """Tag → (type, values), little-endian; `body` stands at 1000."""
    entries, beyond = b"", b""
    place = 8 + 2 + 12 * len(tags) + 4
    for tag, (kind, values) in sorted(tags.items()):
        packed = struct.pack(f"<{len(values)}{ {1: 'B', 3: 'H', 4: 'I', 7: 'B'}[kind] }", *values)
        entries += struct.pack("<HHI", tag, kind, len(values))
        if len(packed) > 4:
            entries += struct.pack("<I", place + len(beyond))
            beyond += packed
        else:
            entries += packed.ljust(4, b"\0")
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + beyond
    return head.ljust(1000, b"\0") + body


sides = st.integers(0, 40) | st.sampled_from([255, 256, 65535, 65536, 2**31 - 1, 2**32 - 1])
bodies = (
    st.binary(max_size=60)
    | st.binary(max_size=200).map(zlib.compress)
    | st.integers(0, 3000).map(lambda n: zlib.compress(bytes(n)))
)


@st.composite
def pngs(draw: st.DrawFn) -> bytes:
    header = struct.pack(
        ">IIBBBBB",
        draw(sides),
        draw(sides),
        draw(st.sampled_from([1, 2, 4, 8, 8, 16, 3])),
        draw(st.sampled_from([0, 2, 3, 4, 6, 1])),
        *(draw(st.sampled_from([0, 0, 0, 1])) for _ in range(3)),
    )
    kinds = st.sampled_from(
        [b"IDAT", b"IDAT", b"PLTE", b"tRNS", b"eXIf", b"acTL", b"fcTL", b"fdAT", b"tEXt", b"iCCP", b"IHDR", b"IEND"]
    )
    more = draw(st.lists(st.tuples(kinds, bodies), max_size=6))
    return _png((b"IHDR", header), *more, (b"IEND", draw(st.sampled_from([b"", b"x"])))) + draw(st.binary(max_size=30))


@st.composite
def tiffs(draw: st.DrawFn) -> bytes:
    body = draw(bodies)
    place = st.just(1000) | st.integers(0, 1100)
    length = st.just(len(body)) | sides
    tags: dict[int, Any] = {
        256: (4, (draw(sides),)),
        257: (4, (draw(sides),)),
        258: (3, tuple(draw(st.lists(st.sampled_from([1, 2, 4, 8, 8, 16, 32, 64]), min_size=1, max_size=4)))),
        259: (3, (draw(st.sampled_from([1, 1, 2, 3, 4, 5, 5, 7, 8, 32773, 34925, 50000, 50001, 34712])),)),
        262: (3, (draw(st.sampled_from([0, 1, 1, 2, 2, 3, 4, 5, 6, 8])),)),
        277: (3, (draw(st.integers(0, 6)),)),
        339: (3, (draw(st.sampled_from([1, 1, 1, 2, 3, 4])),)),
    }
    pieces = draw(st.sampled_from([(273, 279), (324, 325)]))
    count = draw(st.integers(0, 4))
    tags |= {pieces[0]: (4, tuple(draw(place) for _ in range(count))), pieces[1]: (4, tuple(draw(length) for _ in range(count)))}
    for tag, values in (
        (266, st.integers(0, 3)),
        (274, st.integers(0, 9)),
        (278, sides),
        (284, st.integers(0, 3)),
        (317, st.integers(0, 4)),
    ):
        if draw(st.booleans()):
            tags[tag] = (4, (draw(values),))
    if pieces[0] == 324 or draw(st.booleans()):
        tags |= {322: (4, (draw(sides),)), 323: (4, (draw(sides),))}
    if draw(st.booleans()):
        tags[320] = (3, tuple(range(3 * 2 ** draw(st.sampled_from([1, 4, 8])))))
    return _tiff(tags, body)[: draw(st.just(100_000) | st.integers(0, 1100))]


@given(pngs())
@settings(max_examples=150)
def test_any_row_of_chunks_is_an_image_a_mask_and_a_bitmap_or_a_sentence(data: bytes) -> None:
    targets.fuzz_images(data)
    targets.fuzz_maps(data)
    targets.fuzz_masks(b"\0" + data)
    targets.fuzz_masks(b"\2" + data)
    targets.fuzz_bitmaps(data)


@given(tiffs())
@settings(max_examples=150)
def test_any_directory_of_a_tiff_is_an_image_and_a_map_or_a_sentence(data: bytes) -> None:
    targets.fuzz_images(data)
    targets.fuzz_maps(data)


words = st.sampled_from(
    ["descr", "fortran_order", "shape", "<f4", "|b1", "|O", ">i8", "True", "False", "L", "(2, 3)", "()", "None"]
)


@given(
    st.lists(words.map(repr) | words | st.sampled_from([":", ",", "{", "}", "(", ")", " ", "\n", "1", "2", "10"]), max_size=16)
)
@settings(max_examples=150)
def test_any_header_of_an_array_is_scores_or_a_sentence(parts: list[str]) -> None:
    for text in ("".join(parts), "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)" + "".join(parts)):
        targets.fuzz_maps(b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text.encode() + bytes(24))


cells = st.text(st.characters(codec="utf-8"), max_size=6) | st.sampled_from(
    [
        "obj",
        "obj/Data/Images/Normal/0.JPG",
        "obj/Data/Images/Anomaly/1.JPG",
        "../x.png",
        "/etc/passwd",
        "train",
        "test",
        "normal",
        "anomaly",
    ]
)


@given(
    st.sampled_from([0, 1, 5, 6]),
    st.lists(st.lists(cells, max_size=6), max_size=6),
    st.sampled_from(["utf-8", "utf-16", "gb18030"]),
)
@settings(max_examples=100)
def test_any_table_is_a_listing_or_a_sentence(number: int, rows: list[list[str]], encoding: str) -> None:
    head = {0: "object,split,label,image,mask\n", 1: "image,label,mask\n"}.get(number, "")
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    targets.fuzz_layouts(bytes([number]) + (head + text.getvalue()).encode(encoding))


# What fuzzing and building found, each by its name


def refused(data: bytes) -> str:
    with pytest.raises(ReadError) as caught:
        images.decode(data, "a", 10**6)
    return str(caught.value)


GRAY = struct.pack(">IIBBBBB", 17, 15, 8, 0, 0, 0, 0)
ROWS = zlib.compress(bytes(18 * 15))


def test_what_stands_in_and_behind_the_end_of_a_png_reaches_no_decoder() -> None:
    """OpenCV read on there: 184 bytes took five seconds and two gigabytes."""
    found = base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAABEAAAAPCAIAAACN07NGAAAALklFTkQASUVORAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA6q+ko+CGZKw"
        "AAABdlWElmTU0AKgAAAAgAAQMAAGL4RKoeAAIGzvfYlB+eikmT9UlFTkQASUVORAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA6q+ko+CGZKw=="
    )
    targets.fuzz_images(found)
    assert refused(found) == "a: damaged: a PNG without pixels"
    end = found[found.index(b"IEND") - 4 :]
    whole = _png((b"IHDR", GRAY), (b"IDAT", ROWS)) + end
    targets.fuzz_images(whole)
    assert images.decode(whole, "a", 10**6).size == Size(15, 17)


def _jpeg_of_scans(count: int, side: int = 400, *, progressive: bool) -> bytes:
    """A gray picture refined over and over, or one whose first channel is stored over and over: ten bytes a time."""
    drawn = io.BytesIO()
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(drawn, "JPEG", progressive=progressive, subsampling=0)
    data = bytearray(drawn.getvalue())
    frame = data.index(b"\xff\xc2" if progressive else b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", side, side)
    scan = b"\xff\xda\x00\x08\x01\x01\x00" + (b"\x01\x3f\x00" if progressive else b"\x00\x3f\x00")
    return bytes(data[: data.index(b"\xff\xda")]) + scan * count + b"\xff\xd9"


@pytest.mark.parametrize("progressive", [True, False])
def test_a_jpeg_of_thousands_of_scans_is_given_up(progressive: bool) -> None:
    """A picture of 4 MP with ten thousand scans, 168 kB, took ten seconds: as long as somebody has bytes to spend."""
    assert refused(_jpeg_of_scans(101, progressive=progressive)) == "a: damaged: a JPEG of more than 100 scans"
    assert "scans" not in refused(_jpeg_of_scans(100, progressive=progressive))


def test_tiles_far_larger_than_their_image_are_refused() -> None:
    """libtiff made room for them: 517 bytes took 1.6 GB for an image of 100 pixels."""
    tags = {256: (4, (10,)), 257: (4, (10,)), 258: (3, (8,)), 259: (3, (8,)), 262: (3, (1,)), 277: (3, (1,))}
    body = zlib.compress(bytes(256 * 256))

    def tiled(side: int) -> bytes:
        return _tiff(tags | {322: (4, (side,)), 323: (4, (side,)), 324: (4, (1000,)), 325: (4, (len(body),))}, body)

    assert images.decode(tiled(256), "a", 10**6).size == Size(10, 10)
    assert "TIFF tiles of 40000 × 40000 pixels" in refused(tiled(40_000))


def test_a_header_that_numpy_would_mend_with_a_warning_is_refused_or_read_without_one() -> None:
    """A line of blanks behind it, or a number as Python 2 wrote it, made NumPy warn."""

    def stored(text: str) -> bytes:
        return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text.encode() + bytes(6)

    sound = "{'descr': '|b1', 'fortran_order': True, 'shape': (2, 3), }"
    assert maps.decode_map(stored(f"{sound}  \n    "), "a").shape == (2, 3)
    for text in (sound.replace("3", "3 L"), sound.replace("3", "True"), sound.replace("'|b1'", "'|b1', 'descr': '|b1'")):
        with pytest.raises(ReadError, match="header is damaged"):
            maps.decode_map(stored(text), "a")


def _visa(folder: Path, table: bytes, annotations: bytes) -> Path:
    Image.new("L", (8, 6)).save(_made(folder / "obj/Data/Images/Anomaly/1.JPG"))
    _made(folder / "split_csv/1cls.csv").write_bytes(b"object,split,label,image,mask\n" + table)
    _made(folder / "obj/image_anno.csv").write_bytes(annotations)
    return folder


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_names_in_a_list_that_are_no_text_are_told_as_text(tmp_path: Path) -> None:
    """Their bytes came through as half letters, on which the first file that was to hold them ended."""
    path = b"obj/Data/Images/Anomaly/1.JPG"
    root = _visa(tmp_path, b"ob\xff,test,anomaly," + path + b",\n", b"image,label\n" + path + b',"be\xfft,melt"\n')
    [entry] = read(root).entries
    assert entry.category == "ob\\udcff"
    [entry] = read(_visa(tmp_path, b"obj,test,anomaly," + path + b",\n", b"image,label\n" + path + b',"be\xfft,melt"\n')).entries
    assert entry.labels == ("be\\udcfft", "melt")
    assert json.dumps(entry.labels, ensure_ascii=False).encode()


def test_no_message_is_as_long_as_the_list_it_is_about(tmp_path: Path) -> None:
    root = _visa(tmp_path, b"obj,test,anomaly,obj/Data/Images/Anomaly/1.JPG," + b"x" * 100_000 + b".png\n", b"image,label\n")
    assert all(len(finding.detail) < 500 for finding in read(root).findings)
    _visa(tmp_path, b"", b"image,label\n")
    (root / "split_csv/1cls.csv").write_bytes(b"\xff" * 1_000_000)
    with pytest.raises(ReadError) as caught:
        read(root, Request(layout="visa"))
    assert len(str(caught.value)) < 1000 + len(str(root))


# Bombs: what unpacks to far more than it takes


def _deflated(count: int) -> bytes:
    """So many zeros, deflated; a thousandth of them."""
    packer = zlib.compressobj(9)
    block = bytes(1 << 20)
    return b"".join([*(packer.compress(block) for _ in range(count >> 20)), packer.flush()])


def bombs() -> dict[str, bytes]:
    """Files below half a megabyte that state a small image, and unpack to a quarter of a gigabyte or would take it."""
    huge = _deflated(256 << 20)
    small = struct.pack(">IIBBBBB", 10, 10, 8, 0, 0, 0, 0)
    pixels = (b"IDAT", zlib.compress(bytes(110)))
    tags = {256: (4, (10,)), 257: (4, (10,)), 258: (3, (8,)), 259: (3, (8,)), 262: (3, (1,)), 277: (3, (1,)), 278: (4, (10,))}
    webp = io.BytesIO()
    Image.new("RGB", (10, 10)).save(
        webp, "WEBP", lossless=True, exif=b"MM\0*\0\0\0\x08\xff\xff" + b"\x01\x0f\0\x02\xff\xff\xff\xff" * 40
    )
    return {
        "png, rows": _png((b"IHDR", small), (b"IDAT", huge), (b"IEND", b"")),
        "png, profile": _png((b"IHDR", small), (b"iCCP", b"a\0\0" + huge), pixels, (b"IEND", b"")),
        "png, text": _png((b"IHDR", small), (b"zTXt", b"a\0\0" + huge), pixels, (b"iTXt", b"a\0\1\0\0\0" + huge), (b"IEND", b"")),
        "png, end": _png((b"IHDR", small), pixels, (b"IEND", huge)) + huge,
        "tiff, strip": _tiff(tags | {273: (4, (1000,)), 279: (4, (len(huge),))}, huge),
        "tiff, tile": _tiff(tags | {322: (4, (30_000,)), 323: (4, (30_000,)), 324: (4, (1000,)), 325: (4, (len(huge),))}, huge),
        "webp, exif": webp.getvalue(),
        "jpeg, scans": _jpeg_of_scans(30_000, 3000, progressive=True),
    }


BOMB = """
import base64, json, resource, sys, time, warnings
warnings.simplefilter("error")
import numpy as np
from threecad.domain import Annotation, Shape, Size
from threecad.errors import ReadError
from threecad.formats import images, labelme, png
from threecad.imaging import polygons
from threecad.settings import Repairing

def use(data):
    try:
        images.decode(data, "a", 1_000_000)
    except ReadError:
        pass
    shape = Shape(0, "dent", "mask", ((0.0, 0.0), (9.0, 9.0)), mask=data)
    annotation = Annotation("a", Size(99, 99), (shape,))
    polygons.regions(annotation, Size(99, 99), None, Repairing())
    labelme.write(annotation, "a", Size(99, 99))

use(png.encode_png(np.zeros((9, 9), np.uint8)))
files = {name: base64.b64decode(text) for name, text in json.load(sys.stdin).items()}
taken = {}
for name, data in files.items():
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    use(data)
    megabytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    taken[name] = (time.process_time() - start, megabytes)
print(json.dumps(taken))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is told in kilobytes there")
def test_no_bomb_takes_memory_or_time() -> None:
    """As an image, and as the bitmap of a labelme mask."""
    files = json.dumps({name: base64.b64encode(data).decode() for name, data in bombs().items()})
    done = subprocess.run([sys.executable, "-c", BOMB], input=files.encode(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    taken = json.loads(done.stdout)
    assert len(taken) == 8
    assert {name: each for name, each in taken.items() if each[0] > 5 or each[1] > 60} == {}


def test_a_bitmap_larger_than_any_mask_is_not_even_decoded_from_its_letters() -> None:
    text = "A" * (4 * labelme._MAX_MASK_BYTES // 3 + 8)
    file = json.dumps({"shapes": [{"label": "dent", "points": [[0, 0], [9, 9]], "shape_type": "mask", "mask": text}]}).encode()
    [shape] = labelme.parse(file, "a.json", "a.png").shapes
    assert shape.mask is None


# Outlines of a million vertices


@pytest.mark.parametrize("form", ["sound", "tangled", "doubled", "far"])
def test_an_outline_of_a_million_vertices_is_judged_within_seconds(form: str) -> None:
    turn = np.linspace(0, 2 * np.pi, 1_000_000 if form in ("sound", "tangled") else 100_000, endpoint=False)
    xy = {
        "sound": np.column_stack([2000 + 1500 * np.cos(turn), 2000 + 1500 * np.sin(turn)]),
        "tangled": np.random.default_rng(1).uniform(0, 4000, (len(turn), 2)),
        "doubled": np.full((len(turn), 2), 7.0),
        "far": np.full((len(turn), 2), 1e308) * np.where(np.arange(len(turn)) % 2, 1, -1)[:, None],
    }[form]
    shape = Shape(0, "dent", "polygon", tuple(map(tuple, xy.tolist())))
    with targets.promised():  # two seconds, five times over on a busy machine
        found, findings = polygons.regions(Annotation("a", None, (shape,)), Size(4000, 4000), None, Repairing())
    assert len(found) == (form == "sound")
    assert {finding.code.name for finding in findings} == {
        "sound": set(),
        "tangled": {"READINGS_DISAGREE"},
        "doubled": {"TOO_FEW_POINTS"},
        "far": {"NOT_FINITE"},
    }[form]


# Names that would be more than names


EVIL = (
    *(
        "=HYPERLINK(1)",
        "+1+1",
        "-2+3",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "＝1",
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
    ),
    *("\\input{/etc/passwd}", "$\\write18{id}$", "$(id)", "`id`", "; rm -rf ~", "[x](javascript:alert(1))", "[red]x[/red]"),
    *(
        "\x1b[2J\x1b]0;gotcha\x07",
        "\x1b]8;;https://example.org\x1b\\here\x1b]8;;\x1b\\",
        "\x9b31m",
        "\u202egnp.exe",
        "\u2066x\u2069",
        "a\nb",
    ),
)


def test_labels_that_are_more_than_labels_stay_text_from_the_check_to_the_report(tmp_path: Path) -> None:
    """Nothing printed obeys them; no page, table or formula is made of them."""
    from threecad.cli import main

    raw = tmp_path / "line7"
    for number, label in enumerate(EVIL):
        Image.fromarray(np.random.default_rng(number).integers(0, 255, (64, 64), np.uint8)).save(
            _made(raw / f"part/{number:02}.png")
        )
        outline = [[9, 9], [40, 9], [40, 40], [9, 40]]
        shapes = [{"label": label, "points": outline}, {"label": label, "points": outline[:2], "description": label}]
        (raw / f"part/{number:02}.json").write_text(
            json.dumps({"shapes": shapes, "imagePath": f"{number:02}.png", "flags": {label: True}})
        )
    out = tmp_path / "data"
    runs = [["check", raw, "--out", tmp_path / "checked"], ["convert", raw, out], ["stats", out], ["report", out]]
    runs += [["stats", out, form] for form in ("--csv", "--latex", "--markdown")]
    runs += [["view", raw / "part/00.json", "--out", tmp_path / "00.png"]]
    texts = {}
    for run in runs:
        done = CliRunner().invoke(main, [str(word) for word in run])
        assert done.exit_code in (0, 3), done.output
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", done.output), run
        texts[" ".join(map(str, run[2:]))] = done.output
    for text in ((out / "relabel.csv").read_text(encoding="utf-8"), texts["--csv"]):
        for row in csv.reader(io.StringIO(text)):
            assert not [
                cell for cell in row if cell.lstrip().startswith(("=", "+", "@", "|", "＝")) or re.match(r"\s*-[^\d.]", cell)
            ]
    assert "\\input" not in texts["--latex"]
    assert "\\write" not in texts["--latex"]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "<img src=x" not in page
