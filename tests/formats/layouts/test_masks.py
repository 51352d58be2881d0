"""Masks as people save them, and what each pixel of them means."""

from __future__ import annotations

import io
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from threecad.domain import Code, Entry, MaskFile, Size, State
from threecad.formats import masks
from threecad.formats.masks import COLOUR, planes, union
from threecad.formats.png import encode_png

SIZE = Size(4, 6)
TYPES = ((1, "dent"), (2, "pit"))


def saved(pixels: Any, suffix: str = "png", **options: Any) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    out = io.BytesIO()
    image.save(out, {"jpg": "jpeg"}.get(suffix, suffix), **options)
    return out.getvalue()


def gray(*values: int, dtype: Any = np.uint8) -> Any:
    """A mask of 6 × 4 pixels that begins with these values."""
    mask = np.zeros(24, dtype)
    mask[: len(values)] = values
    return mask.reshape(4, 6)


def entry(*files: MaskFile, state: State | None = State.DEFECT, labels: tuple[str, ...] = ("dent",)) -> Entry:
    return Entry("a", "part", None, state, labels, "a.png", files, "a")


BINARY = MaskFile("m.png")
INDEX = MaskFile("m.png", "index", TYPES)
BOXES = MaskFile("m.txt", "boxes", TYPES)


def counts(data: bytes, file: MaskFile = BINARY, **about: Any) -> dict[str, int]:
    """Type → number of its pixels, for a mask without flaws."""
    named, flaws = planes([data], entry(file, **about), SIZE)
    assert flaws == []
    return {name: int(plane.sum()) for name, plane in named.items()}


def flaw(data: bytes, file: MaskFile = BINARY, size: Size = SIZE, **about: Any) -> tuple[str, str, dict[str, int]]:
    """Name and words of the one flaw of a mask, and the pixels there are all the same."""
    named, ((code, detail),) = planes([data], entry(file, **about), size)
    return code.name, detail, {name: int(plane.sum()) for name, plane in named.items()}


# Binary masks


@pytest.mark.parametrize("value", [1, 128, 255])
@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff"])
def test_any_one_value_marks_a_defect(value: int, suffix: str) -> None:
    assert counts(saved(gray(value, 0, value), suffix)) == {"dent": 2}


def test_sixteen_bits_and_one_bit_are_masks_too() -> None:
    assert counts(encode_png(gray(65535, 0, 65535, dtype=np.uint16))) == {"dent": 2}
    assert counts(saved(Image.fromarray(gray(255, 255, 255)).convert("1"))) == {"dent": 3}
    assert counts(saved(Image.fromarray(gray(255, 255, 255)).convert("1"), "tiff", compression="group4")) == {"dent": 3}


def test_grays_between_are_kept_and_told() -> None:
    name, detail, pixels = flaw(saved(gray(255, 255, 1, 90, 90)))
    assert (name, pixels) == ("MASK_NOT_BINARY", {"dent": 5})
    assert detail == "3 of 5 marked pixels are neither 0 nor 255 but 2 values between (1, 90); all of them count"
    assert "8 values between (1, 2, 3, 4, 5, 6 … 8)" in flaw(saved(gray(255, *range(9))))[1]


def test_in_a_lossy_mask_half_the_range_decides_and_nothing_is_told() -> None:
    mask = np.zeros((32, 32), np.uint8)
    mask[8:24, 8:24] = 255
    for suffix, options in (("jpg", {"quality": 20}), ("webp", {"quality": 20})):
        data = saved(Image.fromarray(mask).convert("RGB"), suffix, **options)
        named, flaws = planes([data], entry(BINARY), Size(32, 32))
        assert flaws == []
        assert abs(int(named["dent"].sum()) - 256) < 20
    assert flaw(saved(np.dstack([gray(255, 90)] * 3), "webp", lossless=True))[0] == "MASK_NOT_BINARY"


def test_of_colours_the_brightest_channel_decides() -> None:
    colours = np.zeros((4, 6, 3), np.uint8)
    colours[0, :2] = 0, 0, 200
    assert counts(saved(colours)) == {"dent": 2}


def painted(colour: tuple[int, int, int], alphas: Any, background: tuple[int, int, int] = (0, 0, 0)) -> Any:
    pixels = np.zeros((4, 6, 4), np.uint8)
    pixels[..., :3] = background
    pixels[..., 3] = alphas
    pixels[alphas > 0, :3] = colour
    return pixels


def test_a_mask_of_one_colour_tells_by_its_transparency() -> None:
    for colour in ((0, 0, 0), (255, 255, 255), (35, 164, 54)):
        assert counts(saved(painted(colour, gray(255, 255), colour))) == {"dent": 2}
    assert counts(saved(Image.fromarray(np.dstack([gray(), gray(255, 255, 255)]), "LA"))) == {"dent": 3}


def test_what_nobody_can_see_is_not_marked() -> None:
    pixels = painted((35, 164, 54), gray(255, 255, 255))
    pixels[3] = 35, 164, 54, 0
    assert counts(saved(pixels)) == {"dent": 3}
    pixels[1] = 0, 0, 0, 255  # opaque black is background, as without transparency
    assert counts(saved(pixels)) == {"dent": 3}


def test_a_transparency_that_is_the_same_everywhere_tells_nothing() -> None:
    for alpha in (0, 7, 255):
        pixels = painted((9, 9, 9), gray())
        pixels[0, :4, :3] = 255
        pixels[..., 3] = alpha
        assert counts(saved(pixels)) == {"dent": 4}


def test_a_palette_tells_by_its_colours_and_their_transparency() -> None:
    image = Image.fromarray(gray(1, 2, 3), "P")
    image.putpalette([0, 0, 0, 35, 164, 54, 35, 164, 54, 35, 164, 54] + [0] * 756)
    assert counts(saved(image)) == {"dent": 3}
    assert counts(saved(image, transparency=b"\x00\x00\xff\xff")) == {"dent": 2}
    white = Image.fromarray(gray(1), "P")
    white.putpalette([255, 255, 255, 0, 0, 0] + [0] * 762)
    assert counts(saved(white)) == {"dent": 23}


def test_a_mask_is_turned_as_its_image_is() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(np.ascontiguousarray(gray(255).T), "png", exif=exif)
    named, _ = planes([data], entry(BINARY), SIZE)
    assert named["dent"].tolist()[0] == [False] * 5 + [True]


# Flaws of files


def test_a_mask_of_another_size_gives_no_plane() -> None:
    name, detail, pixels = flaw(saved(gray(255)), size=Size(4, 7))
    assert (name, pixels) == ("MASK_OTHER_SIZE", {})
    assert detail == "the mask is 6 × 4 pixels (width × height), its image 7 × 4"


@pytest.mark.parametrize("data", [b"", b"GIF89a", saved(gray(255))[:-9], saved(gray(255))[:50]])
def test_a_mask_that_cannot_be_read_gives_no_plane(data: bytes) -> None:
    for file in (BINARY, INDEX):
        name, detail, pixels = flaw(data, file)
        assert (name, pixels) == ("MASK_UNREADABLE", {})
        assert not detail.startswith("mask")


def test_a_mask_of_too_many_pixels_is_never_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masks, "MOST_PIXELS", 10)
    name, detail, _ = flaw(saved(gray(255)))
    assert name == "MASK_UNREADABLE"
    assert "max_megapixels" not in detail


def test_a_defect_without_a_pixel_is_told() -> None:
    for file, data in ((BINARY, saved(gray())), (INDEX, saved(gray())), (BOXES, b"")):
        assert flaw(data, file)[::2] == ("MASK_EMPTY", {})
        assert planes([data], entry(file, state=None), SIZE) == ({}, [])
        assert planes([data], entry(file, state=State.GOOD), SIZE) == ({}, [])
    assert planes([], entry(), SIZE) == ({}, [])


def test_a_good_image_with_a_pixel_is_told_and_the_pixels_stay() -> None:
    name, detail, pixels = flaw(saved(gray(255)), state=State.GOOD, labels=())
    assert (name, pixels) == ("MASK_OF_GOOD", {"": 1})
    assert detail.endswith("1 of no type")


def test_flaws_of_several_masks_say_which() -> None:
    found = planes([saved(gray(255)), b""], entry(BINARY, INDEX), SIZE)[1]
    assert [(code, detail[:13]) for code, detail in found] == [(Code.MASK_UNREADABLE, "mask 2 of 2: ")]


# Whose pixels they are


def test_untyped_pixels_go_to_the_only_label() -> None:
    data = saved(gray(255))
    assert counts(data, labels=("pit",)) == {"pit": 1}
    assert counts(data, labels=()) == {"": 1}
    assert counts(data, labels=("dent", "pit")) == {"": 1}
    assert counts(data, MaskFile("m.png", types=((0, "torn"),)), labels=()) == {"torn": 1}


def test_of_an_untyped_mask_only_what_no_other_names_is_left() -> None:
    union_, types = saved(gray(255, 255, 255, 255)), saved(gray(1, 2, 2))
    for labels, expected in ((("dent", "pit"), {"": 1, "dent": 1, "pit": 2}), (("dent",), {"dent": 2, "pit": 2})):
        named, flaws = planes([union_, types], entry(BINARY, INDEX, labels=labels), SIZE)
        assert flaws == []
        assert {name: int(plane.sum()) for name, plane in named.items()} == expected
    named, _ = planes([types, saved(gray(255, 255))], entry(INDEX, BINARY, labels=()), SIZE)
    assert list(named) == ["dent", "pit"]


def test_masks_of_the_same_type_are_united() -> None:
    files = (MaskFile("1.png", types=((0, "dent"),)), MaskFile("2.png", types=((0, "dent"),)), MaskFile("3.png", "index", TYPES))
    named, _ = planes([saved(gray(255)), saved(gray(0, 255)), saved(gray(0, 0, 1))], entry(*files), SIZE)
    assert {name: int(plane.sum()) for name, plane in named.items()} == {"dent": 3}
    assert union(named, SIZE).sum() == 3
    assert not union({}, SIZE).any()


@given(arrays(np.uint8, (4, 6), elements=st.integers(0, 4)), arrays(np.uint8, (4, 6), elements=st.sampled_from([0, 255])))
def test_every_marked_pixel_is_owned_and_no_other(types: Any, binary: Any) -> None:
    named, _ = planes([encode_png(binary), encode_png(types)], entry(BINARY, INDEX, labels=()), SIZE)
    assert (union(named, SIZE) == ((types > 0) | (binary > 0))).all()
    assert all(plane.any() for plane in named.values())
    assert [name for name in named if name not in ("", "dent", "pit", "value-3", "value-4")] == []


# Index masks


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff"])
def test_values_are_types(suffix: str) -> None:
    assert counts(saved(gray(1, 2, 2), suffix), INDEX) == {"dent": 1, "pit": 2}
    same = np.repeat(gray(1, 2, 2)[:, :, None], 3, axis=2)
    assert counts(saved(same, suffix), INDEX) == {"dent": 1, "pit": 2}


def test_sixteen_bit_values_are_types() -> None:
    file = MaskFile("m.png", "index", ((300, "dent"),))
    assert counts(encode_png(gray(300, 300, dtype=np.uint16)), file) == {"dent": 2}


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_palette_is_read_by_its_places_not_by_its_colours(bits: int) -> None:
    image = Image.fromarray(gray(1, 0, 1), "P")
    image.putpalette([255, 0, 0, 0, 0, 0] + [9] * 762)
    assert counts(saved(image, bits=bits), INDEX) == {"dent": 2}
    assert counts(saved(image, "bmp"), INDEX) == {"dent": 2}


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_of_gray_are_read_as_stored(bits: int) -> None:
    import struct
    import zlib

    rows = b"\0" + bytes([1 << (8 - bits)]) + b"\0" * (6 * bits // 8 + (6 * bits % 8 > 0) - 1)
    body = rows + (b"\0" * len(rows)) * 3

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 6, 4, bits, 0, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")
    assert counts(data, INDEX) == {"dent": 1}


def test_values_without_a_name_are_told_and_named_by_their_number() -> None:
    name, detail, pixels = flaw(saved(gray(1, 7, 7, 255)), INDEX)
    assert (name, pixels) == ("UNKNOWN_VALUE", {"dent": 1, "value-255": 1, "value-7": 2})
    assert detail == "no type is named for value-7 (2 pixels), value-255 (1 pixel)"
    assert "and 4 more" in flaw(saved(gray(*range(3, 13))), INDEX)[1]


def test_a_value_called_nothing_is_background() -> None:
    assert counts(saved(gray(1, 7)), MaskFile("m.png", "index", ((1, "dent"), (7, "")))) == {"dent": 1}


def test_numbers_in_a_lossy_file_mean_nothing() -> None:
    assert flaw(saved(gray(1), "jpg"), INDEX)[0] == "MASK_UNREADABLE"


def test_colours_are_types_where_they_are_named() -> None:
    red, green = COLOUR + 0xFF0000, COLOUR + 0x00FF00
    file = MaskFile("m.png", "index", ((red, "dent"), (green, "pit"), (COLOUR + 0xFFFFFF, "")))
    colours = np.zeros((4, 6, 3), np.uint8)
    colours[0, :3], colours[1, :2], colours[3] = (255, 0, 0), (0, 255, 0), (255, 255, 255)
    for suffix in ("png", "bmp", "tiff"):
        assert counts(saved(colours, suffix), file) == {"dent": 3, "pit": 2}
    assert counts(saved(Image.fromarray(colours).convert("P", palette=Image.Palette.ADAPTIVE)), file) == {"dent": 3, "pit": 2}
    name, _, pixels = flaw(saved(colours), MaskFile("m.png", "index", TYPES))
    assert (name, pixels) == ("UNKNOWN_VALUE", {"colour-00ff00": 2, "colour-ff0000": 3, "colour-ffffff": 6})


def test_masks_of_countless_values_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masks, "_MAX_PLANE_BYTES", 100)
    assert "10 different values" in flaw(saved(gray(*range(11))), INDEX)[1]
    assert "5 different values" in flaw(b"".join(b"0 0 1 1 %d\n" % value for value in range(5)), BOXES)[1]


# Boxes


def test_boxes_end_before_their_right_and_lower_edge() -> None:
    named, flaws = planes([b"\xef\xbb\xbf1 1 3 2 1\r\n\r\n0,0,6,4,2\n2 1 4 2 1\n"], entry(BOXES), SIZE)
    assert flaws == []
    assert named["dent"].astype(int).tolist() == [[0] * 6, [0, 1, 1, 1, 0, 0], [0] * 6, [0] * 6]
    assert named["pit"].all()


def test_an_edge_that_was_meant_inclusive_is_cut_off() -> None:
    assert counts(b"5 3 7 5 1", BOXES) == {"dent": 1}


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        (b"1 1 3 2", "MASK_UNREADABLE", "line 1: '1 1 3 2'"),
        (b"1 1 3 2 1\n1 1 3 x 1", "MASK_UNREADABLE", "line 2"),
        (b"1.5 1 3 2 1", "MASK_UNREADABLE", "line 1"),
        (b"-1 1 3 2 1", "MASK_UNREADABLE", "line 1"),
        (b"3 1 3 2 1", "MASK_UNREADABLE", "without area"),
        (b"\xff\xfe\0\0", "MASK_UNREADABLE", "line 1"),
        (b"1 1 8 2 1", "MASK_OTHER_SIZE", "6 × 4"),
        (b"6 1 7 2 1", "MASK_OTHER_SIZE", "6 × 4"),
        (b"0 0 6 4 1\n" * 101, "MASK_UNREADABLE", "100 times"),
        (b"0 0 1 1 9", "UNKNOWN_VALUE", "value-9 (1 pixel)"),
    ],
)
def test_boxes_that_make_no_sense_are_told(text: bytes, name: str, words: str) -> None:
    found, detail, pixels = flaw(text, BOXES)
    assert (found, words in detail) == (name, True), detail
    assert pixels == ({"value-9": 1} if name == "UNKNOWN_VALUE" else {})


# Anything


def test_no_bytes_end_in_a_traceback() -> None:
    """Masks of every kind with a few bytes changed, or cut off: each gives planes of the image's size, or a flaw."""
    chance = random.Random(7)
    image = Image.fromarray(gray(1, 2, 3), "P")
    image.putpalette([0, 0, 0, 35, 164, 54, 200, 0, 0, 0, 0, 9] + [0] * 756)
    originals = [
        saved(gray(1, 2)),
        saved(image, transparency=b"\0\x09"),
        saved(image, "bmp"),
        saved(painted((9, 9, 9), gray(255, 7))),
        saved(gray(1, 2), "tiff"),
        saved(gray(255), "jpg"),
        b"1 1 3 2 1\n0 0 2 2 2\n",
    ]
    coloured = MaskFile("m.png", "index", ((COLOUR + 0x23A436, "dent"),))
    for number in range(600):
        data = bytearray(originals[number % len(originals)])
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        cut = bytes(data[: chance.randint(1, len(data))] if number % 3 == 0 else data)
        for file in (BINARY, INDEX, BOXES, coloured):
            named, flaws = planes([cut], entry(file), SIZE)
            assert all(plane.shape == (4, 6) and plane.dtype == bool and plane.any() for plane in named.values())
            assert named or flaws
            assert all(isinstance(code, Code) and detail and "\n" not in detail for code, detail in flaws)
