"""Sound inputs, from which fuzzing starts: small files of every kind that is read, drawn here."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin
from targets import LISTS, MASKS, seeds_of_lists

from threecad.formats import maps, png


def _saved(pixels: Any, kind: str, mode: str | None = None, **options: Any) -> bytes:
    image = Image.fromarray(pixels)
    buffer = io.BytesIO()
    (image.convert(mode) if mode else image).save(buffer, kind, **options)
    return buffer.getvalue()


def images() -> Iterator[bytes]:
    gray = (np.arange(15 * 17, dtype=np.uint16).reshape(15, 17) * 7 % 256).astype(np.uint8)
    deep = gray.astype(np.uint16) * 257
    colour = np.dstack([gray, gray[::-1], gray[:, ::-1]])
    clear = np.dstack([colour, gray])
    turned = Image.Exif()
    turned[0x0112] = 6
    for kind in ("PNG", "BMP", "TIFF"):
        yield from (_saved(gray, kind), _saved(colour, kind), _saved(gray, kind, "P"), _saved(gray > 99, kind))
    yield from (_saved(deep, "PNG"), _saved(deep, "TIFF"), _saved(clear, "PNG"), _saved(clear, "TIFF"), _saved(clear, "BMP"))
    yield from (_saved(clear, "PNG", "LA"), _saved(colour, "PNG", exif=turned), _saved(gray, "PNG", bits=2, mode="P"))
    yield from (_saved(gray, "JPEG"), _saved(colour, "JPEG", exif=turned), _saved(colour, "JPEG", progressive=True))
    yield from (_saved(colour, "JPEG", "CMYK"), _saved(colour, "WEBP"), _saved(colour, "WEBP", lossless=True, exif=turned))
    yield _saved(clear, "WEBP", save_all=True, append_images=[Image.fromarray(clear[::-1])])
    for packing in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "zstd", "lzma"):
        yield _saved(colour, "TIFF", compression=packing)
    yield from (_saved(gray > 99, "TIFF", compression="group4"), _saved(gray, "TIFF", tile=(16, 16), compression="tiff_lzw"))
    yield from (
        _saved(deep, "TIFF", compression="tiff_lzw"),
        _saved(colour, "TIFF", big_tiff=True),
        _saved(colour, "TIFF", "CMYK"),
    )
    yield _saved(gray, "TIFF", save_all=True, append_images=[Image.fromarray(gray)])


def masks() -> Iterator[bytes]:
    spots = np.zeros((6, 8), np.uint8)
    spots[2, 2:5], spots[4, 1:3] = 1, 3
    palette = [(0, 0, 0), (255, 0, 0), (0, 255, 0), (255, 255, 255)]
    clear = np.dstack([np.zeros((6, 8, 3), np.uint8) + 9, (spots > 0).astype(np.uint8) * 255])
    drawn = [png.encode_mask(spots), png.encode_mask(spots, palette), _saved(spots * 80, "PNG"), _saved(spots, "BMP", "P")]
    drawn += [_saved(clear, "PNG"), _saved(np.dstack([spots * 85] * 3), "PNG"), _saved(spots * 80, "JPEG"), _saved(spots, "TIFF")]
    drawn += [_saved(spots, "PNG", "P", transparency=0), _saved(spots, "PNG", "P", bits=2), b"1 1 5 5 2\n0,0,3,3,1\n"]
    yield from (bytes([number]) + data for number in range(3 * len(MASKS)) for data in drawn)


def bitmaps() -> Iterator[bytes]:
    spots = np.zeros((6, 8), np.uint8)
    spots[2, 2:5], spots[4, 1:3] = 1, 3
    text = PngImagePlugin.PngInfo()
    text.add_text("a", "b" * 99, zip=True)
    text.add_itxt("a", "b" * 99, zip=True)
    yield from (_saved(spots > 0, "PNG"), _saved(spots * 80, "PNG"), _saved(spots, "PNG", "P", transparency=0), b"x" * 40)
    yield from (_saved(np.dstack([spots] * 4), "PNG"), _saved(np.dstack([spots] * 2), "PNG"), _saved(spots, "PNG", "P", bits=2))
    yield _saved(spots, "PNG", pnginfo=text, icc_profile=b"x" * 200, dpi=(9, 9))
    yield _saved(spots, "PNG", save_all=True, append_images=[Image.fromarray(spots[::-1])])


def labelme() -> Iterator[bytes]:
    square = [[30, 30], [70, 30.5], [70, 70], [30, 70]]
    bow = [[30, 30], [70, 70], [70, 30], [30, 70]]
    bitmap = base64.b64encode(_saved(np.eye(5, 6) > 0, "PNG")).decode()
    shapes: list[dict[str, Any]] = [
        {"label": "dent", "points": square, "shape_type": "polygon", "flags": {"a": True}, "group_id": 1, "description": "x"},
        {"label": "dent", "points": bow, "group_id": 1},
        {"label": "__ignore__", "points": square[::2], "shape_type": "rectangle"},
        {"label": "_background_", "points": square[:2], "shape_type": "circle"},
        {"label": "pit", "points": square, "shape_type": "oriented_rectangle"},
        {"label": "pit", "points": square, "shape_type": "linestrip"},
        {"label": 7, "points": square, "shape_type": "points"},
        {"label": "pit", "points": [[10, 10], [15, 14]], "shape_type": "mask", "mask": bitmap},
        {"label": "", "points": [[-5, -5], [400, 3], [1e9, 20]]},
        {"label": "keyhole", "points": [[0, 0], [9, 0], [9, 9], [4, 4], [5, 4], [5, 5], [4, 4], [0, 9]]},
    ]
    more = {"version": "5.5.0", "flags": {"good": True}, "imagePath": "a.png", "imageHeight": 150, "imageWidth": 220}
    embedded = base64.b64encode(_saved(np.zeros((2, 3), np.uint8), "PNG")).decode()
    for shape in shapes:
        yield json.dumps({"shapes": [shape], **more}).encode()
    whole = json.dumps({"shapes": shapes, **more, "imageData": embedded}, ensure_ascii=False)
    yield from (whole.encode(), whole.replace("dent", "划痕").encode("gb18030"), whole.encode("utf-16"), b"\xef\xbb\xbf{}")
    yield from _absurd()


def score_maps() -> Iterator[bytes]:
    scores = np.linspace(-1, 3, 60).reshape(6, 10)
    for kind in ("<f4", ">f8", "<f2", "|u1", "<i8", "|b1"):
        for array in (scores.astype(kind), np.asfortranarray(scores.astype(kind)), scores.astype(kind)[None, None]):
            buffer = io.BytesIO()
            np.save(buffer, array)
            yield buffer.getvalue()
    single = scores.astype(np.float32)
    yield from (maps.encode_map(single), png.encode_png(single.astype(np.uint8)), _saved(single, "TIFF"))
    for packing in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd"):
        yield _saved(single, "TIFF", compression=packing)
    yield from (_saved(single, "TIFF", compression="tiff_lzw", tiffinfo={317: 3}), _saved(single.astype(np.uint16), "TIFF"))


def _absurd() -> Iterator[bytes]:
    """JSON that parsers stumble over, wherever a JSON text is read."""
    for depth in (150, 990, 3900):
        yield from (b"[" * depth + b"]" * depth, b'{"a":' * depth + b"0" + b"}" * depth)
    digits = b"9" * 4299
    yield from (digits, b"-" + digits + b"9", digits + b"99", b'{"1": ' + digits + b"}", b'{"format": ' + digits + b"}")
    yield from (b'"\\ud800"', b'{"\\ud800": 1}', b"NaN", b"1e999", b'{"a": 1, "a": 2}', b"\xff\xfe[\0", b"\xed\xa0\x80")


def decisions() -> Iterator[bytes]:
    row = {"decision": "accept", "digest": "ff72a2ebf88696b0", "source": "part/a.png", "shape": 3}
    yield json.dumps({"format": 1, "decisions": [row, row | {"decision": "none"}, row | {"source": "e\u0301"}]}).encode()
    yield b'\xef\xbb\xbf{"decisions": []}'
    yield from _absurd()


def layouts() -> Iterator[bytes]:
    for number, (_, path, _) in enumerate(LISTS):
        yield bytes([number]) + seeds_of_lists()[path]
    yield b"\x06__ignore__\n_background_\ndent\n"
    yield b"\x061: dent\n2: pit\n"
    yield b'\x07["background", "dent"]'
    yield b'\x07{"dent": 1}'
    yield from (bytes([number]) + data for number in (2, 3, 7, 8) for data in _absurd())


def names() -> Iterator[bytes]:
    trees = (
        ("a/Data/Images/Normal/1.JPG", "a/Data/Images/Anomaly/1.JPG", "a/Data/Masks/Anomaly/1.png"),
        (
            "train/good/1.png",
            "test/dent/1.png",
            "test/dent+pit/1.png",
            "ground_truth/dent/1_mask.png",
            "ground_truth/dent/2/1.png",
        ),
        ("part/train/ok/1.bmp", "part/test/ko/1.bmp", "part/ground_truth/test/ko/1.png", "validation/part/good/1.png"),
        ("images/test/1.jpg", "masks/test/1_mask.png", "masks/2.png"),
        ("MT_Free/Imgs/1.jpg", "MT_Free/Imgs/1.png", "MT_Blowhole/Imgs/1.jpg", "MT_Blowhole/Imgs/1_gt.png"),
        ("g/1/1_test.jpg", "g/1/1_temp.jpg", "g/1_not/1.txt"),
        ("textures/a.jpg", "defect-free/a.jpg", "scratch/a.jpg"),
    )
    yield from ("\n".join(paths).encode() for paths in trees)


def arrays() -> Iterator[bytes]:
    for shape in (0, 1, 2, 8, 16, 24, 25):
        for view in (0, 3, 5, 31):
            yield bytes([shape, 7, 12, view]) + bytes(range(0, 256, 5)) * 2


SEEDS: dict[str, Callable[[], Iterator[bytes]]] = {
    "bitmaps": bitmaps,
    "decisions": decisions,
    "images": images,
    "labelme": labelme,
    "layouts": layouts,
    "maps": score_maps,
    "masks": masks,
    "names": names,
    "png": arrays,
}
