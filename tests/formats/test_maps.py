"""Score maps: every kind of file that detectors write, read back exactly; what is wrong with others, in a sentence."""

from __future__ import annotations

import io
import json
import os
import struct
import tracemalloc
import warnings
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from threecad.domain import Size
from threecad.errors import LayoutError, ReadError
from threecad.formats.maps import Scale, decode_map, encode_map, find, read_map, size_of_map, write_map
from threecad.formats.png import encode_png

HEIGHT, WIDTH = 37, 53


def scores(seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=(HEIGHT, WIDTH)).astype(np.float32)


def saved(array: Any, version: tuple[int, int] | None = None, pickle: bool = False) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version, allow_pickle=pickle)
    return file.getvalue()


def raw(header: str, data: bytes = b"", version: bytes = b"\1\0") -> bytes:
    """A .npy with whatever header."""
    return b"\x93NUMPY" + version + len(header).to_bytes(2 if version[0] == 1 else 4, "little") + header.encode("latin-1") + data


def stated(descr: str, shape: str, data: bytes = b"") -> bytes:
    return raw(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n", data)


def pillow(array: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, options.pop("format", "TIFF"), **options)
    return file.getvalue()


def opencv(array: Any, suffix: str = ".tiff") -> bytes:
    return bytes(cv2.imencode(suffix, array)[1])


def refused(data: bytes) -> str:
    with pytest.raises(ReadError) as caught:
        decode_map(data, "map")
    message = str(caught.value)
    assert message.startswith("map: ")
    assert "\n" not in message
    return message


# Arrays


@pytest.mark.parametrize("kind", ["<f2", "<f4", ">f4", "<f8", ">f8", "u1", "<u2", ">u2", "<i4", "<i8", "i1", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_of_any_real_numbers_is_read_as_it_was_saved(kind: str, order: Any) -> None:
    array = (scores() * 50).astype(kind, order=order)
    found = decode_map(saved(array), "map")
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    assert np.array_equal(found, array.astype(np.float32))


@pytest.mark.parametrize("shape", [(1, HEIGHT, WIDTH), (1, 1, HEIGHT, WIDTH), (HEIGHT, WIDTH, 1), (1, HEIGHT, WIDTH, 1)])
def test_axes_of_length_one_around_height_and_width_say_nothing(shape: tuple[int, ...]) -> None:
    for order in ("C", "F"):
        data = saved(np.asarray(scores().reshape(shape), order=order))  # type: ignore[call-overload]
        assert np.array_equal(decode_map(data, "map"), scores())


def test_a_map_of_one_row_or_column_keeps_its_shape() -> None:
    for shape in ((1, 7), (7, 1), (1, 1)):
        assert decode_map(saved(np.ones(shape)), "map").shape == shape


def test_an_array_of_the_second_version_is_read() -> None:
    assert np.array_equal(decode_map(saved(scores(), (2, 0)), "map"), scores())


ARRAYS = {
    "several channels": (saved(np.zeros((3, 9, 9))), "3 channels"),
    "channels last": (saved(np.zeros((9, 9, 3))), "3 channels"),
    "a stack": (saved(np.zeros((20, 9, 9))), "20 maps"),
    "a row": (saved(np.zeros(9)), "shape (9,)"),
    "a number": (saved(np.array(9.0)), "shape ()"),
    "no row": (saved(np.zeros((0, 9))), "0 × 9"),
    "no column": (saved(np.zeros((9, 0))), "9 × 0"),
    "complex": (saved(np.zeros((9, 9), complex)), "complex numbers"),
    "text": (saved(np.full((9, 9), "a")), "text"),
    "fields": (saved(np.zeros((9, 9), [("a", "f4")])), "fields"),
    "long double": (saved(np.zeros((9, 9), np.longdouble)), "at most 64 bits"),
    "NaN": (saved(np.full((9, 9), np.nan)), "81 of 81 scores are NaN"),
    "infinite": (saved(np.diag([np.inf] * 9)), "9 of 81 scores are NaN, infinite"),
    "beyond float32": (saved(np.full((9, 9), 1e300)), "beyond float32"),
    "cut off": (saved(scores())[:-1], "cut off"),
    "header cut off": (saved(scores())[:60], "cut off"),
    "more behind": (saved(scores()) + saved(scores()), "not one array"),
    "1e9 pixels": (stated("'<f4'", "(40000, 25000)"), "40000 × 25000"),
    "more than can be counted": (stated("'<f4'", f"({2**62}, {2**62})"), "at most 100 million"),
    "negative": (stated("'<f4'", "(-1, -9)"), "damaged"),
    "text as shape": (stated("'<f4'", "'ab'"), "damaged"),
    "true as shape": (stated("'<f4'", "(2.5, 3)", bytes(24)), "damaged"),
    "no shape": (raw("{'descr': '<f4', 'fortran_order': False}"), "damaged"),
    "key of bytes": (raw("{'descr': '<f4', b'fortran_order': False, 'shape': (2, 2)}", bytes(16)), "damaged"),
    "key of bytes besides": (raw("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), b'x': 1}", bytes(16)), "damaged"),
    "key of numbers besides": (raw("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), 1: 1}", bytes(16)), "damaged"),
    "type stated twice": (raw("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), 'descr': '|O'}", bytes(16)), "damaged"),
    "type in pieces": (raw("{'descr': '<f8', 'fortran_order': False, 'shape': (2, 2), 'des' 'cr': '|O'}", bytes(32)), "damaged"),
    "NaN that warns": (stated("'<f8'", "(1, 1)", b"\1\0\0\0\0\0\xf0\x7f"), "1 of 1 scores are NaN"),
    "subarray": (stated("('<f4', (2,))", "(2, 2)", bytes(32)), "no plain type"),
    "empty tuple": (stated("()", "(2, 2)"), "no plain type"),
    "deep": (raw("{'descr': '<f4', 'shape': " + "(" * 900), "damaged"),
    "code": (raw("__import__('os').system('true') or {'descr': '<f4'}"), "damaged"),
    "long header": (raw(" " * 20_000), "header of 20000 bytes"),
    "longest header": (b"\x93NUMPY\2\0\xff\xff\xff\xff", "header of 4294967295 bytes"),
    "third version": (raw("{}", version=b"\3\0"), "version 3.0"),
    "Python 2": (stated("'<f4'", "(2L, 2L)", bytes(16)), "damaged"),
    "dates": (stated("'<M8'", "(2, 2)", bytes(32)), "type M8"),
    "nothing": (b"", "empty"),
    "magic alone": (b"\x93NUMPY", "cut off"),
    "zip": (b"PK\3\4" + bytes(99), ".npz"),
    "pickle": (b"\x80\4\x95" + bytes(99), "never opened"),
    "JPEG": (opencv(np.zeros((9, 9), np.uint8), ".jpg"), "JPEG"),
    "text file": (b"0.1 0.2 0.3", "it starts with 30 2e 31 20"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ARRAYS)
def test_what_is_no_plain_array_of_scores_is_told_in_a_sentence(name: str) -> None:
    data, phrase = ARRAYS[name]
    assert phrase in refused(data)


class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("a pickle was opened",)


def test_pickled_objects_are_never_opened() -> None:
    array = np.array([[Trap()]], dtype=object)
    assert "pickled objects, which are never opened" in refused(saved(array, pickle=True))


# TIFF


@pytest.mark.parametrize("write", [pillow, opencv])
def test_a_float_tiff_of_pillow_or_opencv_is_read_exactly(write: Callable[[Any], bytes]) -> None:
    assert np.array_equal(decode_map(write(scores()), "map"), scores())


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_a_compressed_float_tiff_is_read_exactly(compression: str) -> None:
    assert np.array_equal(decode_map(pillow(scores(), compression=compression), "map"), scores())


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float64])
def test_a_tiff_of_other_numbers_is_read_exactly(kind: Any) -> None:
    array = (abs(scores()) * 60).astype(kind)
    assert np.array_equal(decode_map(opencv(array), "map"), array.astype(np.float32))


@pytest.mark.parametrize("kind", ["float32", "float64", "uint16"])
@pytest.mark.parametrize("order", ["LITTLE", "BIG"])
@pytest.mark.parametrize("big", ["NO", "YES"])
def test_tiles_predictors_and_byte_orders_are_read_exactly(tmp_path: Path, kind: str, order: str, big: str) -> None:
    rasterio = pytest.importorskip("rasterio")
    array = (abs(scores()) * 60).astype(kind)
    for compress in ("NONE", "LZW", "DEFLATE"):
        for predictor in (1, 2, 3) if kind != "uint16" else (1, 2):
            for tiles in ({}, {"tiled": True, "blockxsize": 32, "blockysize": 16}):
                options = dict(compress=compress, ENDIANNESS=order, BIGTIFF=big, **tiles)
                if compress != "NONE":
                    options["predictor"] = predictor
                shape = {"height": HEIGHT, "width": WIDTH, "count": 1, "dtype": kind}
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # a map has no place on the Earth
                    with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", **shape, **options) as file:
                        file.write(array, 1)
                assert np.array_equal(read_map(tmp_path / "a.tif"), array.astype(np.float32)), (options, predictor)
                assert size_of_map(tmp_path / "a.tif") == Size(HEIGHT, WIDTH)


def tiff(size: tuple[int, int] = (2, 2), data: bytes = bytes(16), **tags: int) -> bytes:
    """A little-endian TIFF of float32 with these tags besides or instead, given as t258=16."""
    told = {256: size[1], 257: size[0], 258: 32, 259: 1, 262: 1, 273: 8, 277: 1, 278: size[0], 279: len(data), 339: 3}
    told |= {int(name[1:]): value for name, value in tags.items()}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(told.items()))
    following = struct.pack("<I", 0)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(told)) + entries + following


def test_the_tiff_of_these_tests_is_read() -> None:
    assert np.array_equal(decode_map(tiff(data=np.arange(4, dtype="<f4").tobytes()), "map"), [[0, 1], [2, 3]])


def pages() -> bytes:
    file = io.BytesIO()
    one = Image.fromarray(scores())
    one.save(file, "TIFF", save_all=True, append_images=[one])
    return file.getvalue()


def whole_pages() -> bytes:
    file = io.BytesIO()
    one = Image.fromarray(np.zeros((9, 9), np.uint8))
    one.save(file, "TIFF", save_all=True, append_images=[one])
    return file.getvalue()


TIFFS = {
    "three channels": (opencv(np.zeros((9, 9, 3), np.float32)), "several channels"),
    "colours": (pillow(np.zeros((9, 9, 3), np.uint8)), "3 channels"),
    "pages": (pages(), "several pages"),
    "pages of whole numbers": (whole_pages(), "several pages"),
    "signed": (tiff(t339=2), "signed samples of 32 bits"),
    "complex": (tiff(t339=6, t258=64), "complex samples"),
    "32 bits, unsigned": (tiff(t339=1), "unsigned samples of 32 bits"),
    "24 bits": (tiff(t258=24), "samples of 24 bits"),
    "turned": (tiff(t274=6), "turned"),
    "inverted": (tiff(t262=0), "inverted"),
    "compressed oddly": (tiff(t259=34887), "compression 34887"),
    "predicted oddly": (tiff(t317=9), "predictor 9"),
    "1e9 pixels": (tiff(size=(40000, 25000)), "40000 × 25000"),
    "no pixel": (tiff(size=(0, 2)), "0 × 2"),
    "cut off": (tiff()[:-9], "cut off"),
    "strip outside": (tiff(t273=4000), "cut off"),
    "strip too short": (tiff(t279=15), "cut off"),
    "tiles without a size": (tiff(t324=8, t325=16), "tiles of 0 × 0"),
    "huge tiles": (tiff(t322=2**31, t323=2**31, t324=8, t325=16), "tiles of"),
    "NaN": (tiff(data=np.full(4, np.nan, "<f4").tobytes()), "4 of 4 scores are NaN"),
}


@pytest.mark.parametrize("name", TIFFS)
def test_what_is_no_tiff_of_scores_is_told_in_a_sentence(name: str) -> None:
    data, phrase = TIFFS[name]
    assert phrase in refused(data)


def test_a_cut_off_tiff_is_never_read_in_part() -> None:
    for compression in (None, "tiff_lzw", "tiff_adobe_deflate"):
        whole = pillow(scores(), compression=compression)
        for length in [*range(0, len(whole), 97), *range(len(whole) - 150, len(whole) - 4)]:
            refused(whole[:length])


# PNG, and what is written


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_gray_png_gives_its_levels(kind: Any) -> None:
    array = (abs(scores()) * 60).astype(kind)
    assert np.array_equal(decode_map(encode_png(array), "map"), array.astype(np.float32))


def test_a_png_in_colours_or_with_transparency_is_refused() -> None:
    assert "3 channels" in refused(encode_png(np.zeros((9, 9, 3), np.uint8)))
    assert "transparency" in refused(pillow(np.full((9, 9, 2), 7, np.uint8), format="PNG"))


@pytest.mark.parametrize(("least", "most"), [(0, 7), (-3.5, 900), (1e-9, 2e-9), (-1e30, 1e30)])
def test_written_scores_come_back_within_half_a_step(tmp_path: Path, least: float, most: float) -> None:
    scale = Scale.between(least, most)
    array = np.random.default_rng(1).uniform(least, most, (40, 60)).astype(np.float32).clip(least, most)
    write_map(tmp_path / "a.png", array, scale)
    found = read_map(tmp_path / "a.png")
    rounding = np.spacing(np.float32(max(abs(least), abs(most)))) / 2
    assert abs(found.astype(np.float64) - array).max() <= scale.slope / 2 + rounding
    assert size_of_map(tmp_path / "a.png") == Size(40, 60)


def test_without_a_scale_the_map_s_own_range_is_taken() -> None:
    found = decode_map(encode_map(scores()), "map")
    assert (found.min(), found.max()) == (scores().min(), scores().max())
    assert (decode_map(encode_map(np.full((3, 3), 0.7, np.float32)), "map") == np.float32(0.7)).all()


def test_other_programs_see_the_levels_of_a_written_map(tmp_path: Path) -> None:
    write_map(tmp_path / "a.png", np.array([[0, 7], [3.5, 1]], np.float32), Scale.between(0, 7))
    for levels in (cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED), np.asarray(Image.open(tmp_path / "a.png"))):
        assert np.array_equal(levels, [[0, 65535], [32768, 9362]])


def test_equal_scores_are_written_as_equal_bytes_and_nothing_is_left_beside(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "b.png"):
        write_map(tmp_path / name, scores())
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_scores_that_could_not_be_given_back_are_not_written(tmp_path: Path) -> None:
    scale = Scale.between(0, 1)
    for bad in (np.full((2, 2), 1.5, np.float32), np.full((2, 2), np.nan, np.float32), np.zeros((2, 2, 3), np.float32)):
        with pytest.raises(ValueError, match=r"scale reaches|NaN|expected \(height, width\)"):
            write_map(tmp_path / "a.png", bad, scale)
    assert not list(tmp_path.iterdir())
    for slope in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="slope"):
            Scale(slope, 0.0)


def with_text(png: bytes, text: bytes) -> bytes:
    chunk = b"tEXtthreecad.scores\0" + text
    return png[:33] + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + png[33:]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"1",
        b"{}",
        b'{"slope": 1}',
        b'{"slope": "a", "offset": 0}',
        b'{"slope": 0, "offset": 0}',
        b'{"slope": NaN, "offset": 0}',
        b'{"slope": 1e308, "offset": 1e308}',
        b'{"slope": 1' + b"0" * 4000 + b', "offset": 0}',
        b'{"slope": 1' + b"0" * 900 + b', "offset": 0}',
        b"[" * 900,
        b"\xff",
    ],
)
def test_a_scale_that_makes_no_sense_is_told_in_a_sentence(text: bytes) -> None:
    png = encode_png(np.full((3, 3), 9, np.uint16))
    assert any(phrase in refused(with_text(png, text)) for phrase in ("threecad.scores", "beyond float32"))


def test_a_text_of_another_name_is_nobody_s_scale() -> None:
    png = encode_png(np.full((3, 3), 9, np.uint16))
    other = with_text(png, json.dumps({"slope": 2, "offset": 1}).encode())
    assert (decode_map(other, "map") == 19).all()
    renamed = b"tEXtthreecad.scored\0{}"
    data = png[:33] + struct.pack(">I", len(renamed) - 4) + renamed + struct.pack(">I", zlib.crc32(renamed)) + png[33:]
    assert (decode_map(data, "map") == 9).all()


# Hostile files


WHOLE = {
    "npy": saved(scores()),
    "tiff": pillow(scores()),
    "lzw": pillow(scores(), compression="tiff_lzw"),
    "deflate": pillow(scores(), compression="tiff_adobe_deflate"),
    "uint16": opencv((abs(scores()) * 60).astype(np.uint16)),
    "png": encode_map(scores()),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_damaged_file_is_a_sentence_or_finite_scores_never_a_traceback(name: str) -> None:
    random = np.random.default_rng(7)
    whole = WHOLE[name]
    for _ in range(200):
        data = bytearray(whole)
        for at in random.integers(0, min(len(data), 400), random.integers(1, 4)):
            data[at] = random.choice([0, 1, 127, 128, 255, int(random.integers(256))])
        if name != "npy" and random.random() < 0.5:  # a TIFF's directory is at its end
            data[-int(random.integers(1, 200))] ^= int(random.integers(1, 256))
        with suppress(ReadError):
            assert np.isfinite(decode_map(bytes(data), "map")).all()


@pytest.mark.parametrize(
    "data",
    [
        stated("'<f8'", "(10000, 10000)", bytes(99)),
        stated("'<f4'", "(100000, 100000)"),
        tiff(size=(10000, 10000)),
        tiff(size=(10000, 10000), t259=8),
        encode_png(np.zeros((1, 1), np.uint16)).replace(struct.pack(">II", 1, 1), struct.pack(">II", 50000, 50000)),
    ],
)
def test_no_memory_is_taken_for_what_a_file_only_claims(data: bytes) -> None:
    tracemalloc.start()
    try:
        refused(data)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.npy")
    for read in (read_map, size_of_map):
        with pytest.raises(ReadError, match="not a file"):
            read(tmp_path / "a.npy")


def test_a_file_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="No such file"):
        read_map(tmp_path / "a.npy")


def test_the_size_is_told_from_the_header_alone(tmp_path: Path) -> None:
    for name, data in WHOLE.items():
        (tmp_path / name).write_bytes(data)
        assert size_of_map(tmp_path / name) == Size(HEIGHT, WIDTH)


# The folder


def test_maps_are_found_in_all_folders_and_nothing_else(tmp_path: Path) -> None:
    root = tmp_path / "maps"
    for name in ("b/1.NPY", "b/c/2.tif", "a.png", "d.tiff", "notes.txt", "e.npz", ".hidden.npy", ".git/3.npy"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / "within.npy").symlink_to("a.png")
    (root / "loop").symlink_to(".")
    (root / "loop.npy").symlink_to("b")
    (root / "nowhere").symlink_to("nowhere")
    assert find(root) == ["a.png", "b/1.NPY", "b/c/2.tif", "d.tiff", "within.npy"]
    assert find(root, (".tif", ".tiff")) == ["b/c/2.tif", "d.tiff"]


@pytest.mark.parametrize(
    ("name", "to", "sentence"),
    [
        ("a.npy", "../outside.npy", "found no file, or a link that leaves the folder; expected a score map"),
        ("a.npy", "a.npy", "found no file, or a link that leaves the folder; expected a score map"),
        ("a.npy", "nowhere", "found no file, or a link that leaves the folder; expected a score map"),
        ("more", "..", "a link to a folder elsewhere, which is not followed; expected the maps themselves"),
    ],
)
def test_a_link_that_leaves_the_folder_is_told_and_not_passed_over(tmp_path: Path, name: str, to: str, sentence: str) -> None:
    (tmp_path / "outside.npy").touch()
    root = tmp_path / "maps"
    root.mkdir()
    (root / "b.npy").touch()
    (root / name).symlink_to(to)
    with pytest.raises(LayoutError) as caught:
        find(root)
    assert str(caught.value) == f"{root / name}: {sentence}"


def test_a_folder_of_more_files_than_any_maps_are_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("threecad.formats.maps._MOST_FILES", 3)
    for number in range(4):
        (tmp_path / f"{number}.txt").touch()
    with pytest.raises(LayoutError, match="found more than 3 files; expected a folder of score maps"):
        find(tmp_path)


def test_a_folder_without_maps_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "a.npz").touch()
    with pytest.raises(LayoutError, match=r"found a\.npz; expected score maps \(\.npy, \.png, \.tif, \.tiff\)"):
        find(tmp_path)
    with pytest.raises(LayoutError, match="a file; expected a folder"):
        find(tmp_path / "a.npz")
    with pytest.raises(LayoutError, match="no such folder"):
        find(tmp_path / "b")


def test_an_array_of_more_axes_than_numpy_takes_is_told() -> None:
    assert "a .npy of 400 axes; expected at most 32" in refused(stated("'|u1'", f"({'1,' * 400})", b"\0"))
