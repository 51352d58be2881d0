"""What anomalies are painted with: pictures of textures from a folder, or where there is none, made ones.

Made textures are drawn patterns and patches of the training images, half of each: the patterns are what no product looks like,
the patches what this one looks like, at another scale, turned, and in other colours.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from threecad.domain import Action, Code, Window
from threecad.errors import ConfigError, ReadError
from threecad.formats.images import decode_file, size_of
from threecad.formats.layouts.files import counted, joined, shown, walk
from threecad.learning.fitting import Fit, fit_image
from threecad.pipeline.convert import budget, cores
from threecad.pipeline.threads import Opened, work

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from threecad.formats.layouts.files import Tree

    Pixels = NDArray[np.uint8]
    Field = NDArray[np.float64]

LIMIT = 8192
"""Pictures taken from a folder at most: DTD has 5,640."""
_MOST_BYTES = 2 << 30
"""Of all textures together: 8,192 of 256² are less, of 1024² it is 682."""
_MOST_PIXELS = 100_000_000
"""Of one picture; a larger one is no texture, and would take a gigabyte to open."""
_LARGEST = 512
"""Side of what is drawn, pixels; larger textures are enlarged: no pattern needs more, and at 2048² they would take minutes."""
_UNLIKE = 40
"""Levels of 255 by which a made texture differs from the images' mean colour, in the channel that differs most, on average."""
_TRIES = 8
"""Of a texture that is too much like the images; the last is kept."""
_LOOKED_AT = 64
"""Images whose mean colour is taken."""
_OPEN = 13  # bytes a pixel: 16-bit RGB as decoded, the same in 8 bits, and Pillow's copy in four


@dataclass(frozen=True, slots=True, eq=False)
class Textures:
    """`pixels_THW3` are uint8 RGB, at the size of the model's input; there is at least one."""

    pixels_THW3: Tensor
    source: Literal["folder", "made"]

    def __post_init__(self) -> None:
        shape = tuple(self.pixels_THW3.shape)
        if len(shape) != 4 or shape[3] != 3 or not all(shape) or self.pixels_THW3.dtype != torch.uint8:
            raise ValueError(f"found textures of shape {shape}, {self.pixels_THW3.dtype}; expected (T, H, W, 3), uint8")

    def __len__(self) -> int:
        return len(self.pixels_THW3)

    def to(self, device: torch.device | str) -> Textures:
        return replace(self, pixels_THW3=self.pixels_THW3.to(device))

    def digest(self) -> str:
        """SHA-256 of shape and pixels.

        >>> black = Textures(torch.zeros(1, 2, 2, 3, dtype=torch.uint8), "made")
        >>> black.digest() == Textures(black.pixels_THW3 + 1, "made").digest()
        False
        """
        pixels = self.pixels_THW3.cpu().contiguous().numpy()
        told = hashlib.sha256(f"{pixels.shape}\n".encode())
        told.update(pixels.data)
        return told.hexdigest()


def read_textures(
    folder: Path,
    size: int,
    *,
    limit: int = LIMIT,
    note: Callable[[str], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
) -> Textures:
    """The pictures in the folder and all folders below it, by path, each squashed to `size` × `size`.

    DTD's `images/<class>/*.jpg` is such a folder. Of more than `limit` pictures, or more than fit in 2 GB, so many are taken,
    evenly spread over the sorted paths. Gray ones become RGB, 16 bits become 8. Those that cannot be read, that lead out of the
    folder or have more than 100 MP are left out, and `note` is told how many and which first; it is told of a choice, too.
    `progress` is called with the pictures done and their number. Few are decoded at a time, within half the memory.

    ConfigError where there is no such folder, or not one picture in it that can be read.
    """
    if not folder.is_dir():
        raise ConfigError(
            f"{shown(str(folder))}: {'a file' if folder.exists() else 'no such folder'}; expected a folder of textures"
        )
    tree = walk(folder)
    faults = [f"{each.source}: {each.detail}" for each in tree.findings if each.action is Action.DROPPED and _tells(each.code)]
    found = _pictures(tree)
    most = max(1, min(limit, _MOST_BYTES // (3 * size**2)))
    chosen = [found[number * len(found) // most] for number in range(most)] if len(found) > most else found
    name = shown(str(folder))
    if len(chosen) < len(found) and note is not None:
        note(f"{name}: {counted(len(found), 'texture')}, of which {len(chosen)} are used, evenly spread over the sorted paths")
    pixels, unread = _read(folder, chosen, size, workers or cores(), progress)
    faults = unread + faults
    first = f"; the first: {faults[0]}" if faults else ""
    if not len(pixels):
        raise ConfigError(
            f"{name}: found no texture that can be read ({counted(len(faults), 'fault')}{first}); "
            "expected PNG, JPEG, BMP, TIFF or WebP, such as the folder images of DTD"
        )
    if faults and note is not None:
        note(f"{name}: {counted(len(faults), 'texture')} left out{first}")
    return Textures(torch.from_numpy(pixels), "folder")


def _tells(code: Code) -> bool:
    """Whether a finding is about pictures that might have been used."""
    return code in (Code.PATH_OUTSIDE, Code.FILE_UNREADABLE)


def _pictures(tree: Tree) -> list[str]:
    """Their paths relative to the folder, sorted."""
    return sorted(joined(folder, name) for folder in tree.folders for _, name in tree.images(folder))


def _read(
    folder: Path, names: list[str], size: int, workers: int, progress: Callable[[int, int], None] | None
) -> tuple[Pixels, list[str]]:
    """Those that can be read, in their order, and what is wrong with the others."""
    pixels = np.empty((len(names), size, size, 3), np.uint8)
    faults: dict[int, str] = {}

    def weigh(number: int) -> int:
        try:
            area = size_of(folder / names[number], "").area
        except ReadError:
            return 0  # which reading tells
        return _OPEN * area if area <= _MOST_PIXELS else 0

    def start(number: int) -> Opened[int]:
        try:
            picture = decode_file(folder / names[number], shown(names[number]), _MOST_PIXELS)
        except ReadError as error:
            faults[number] = str(error)
        else:
            found: NDArray[Any] = picture.pixels
            rgb = found if found.ndim == 3 else np.repeat(found[..., None], 3, 2)
            pixels[number] = fit_image(rgb, Fit(Window(0, 0, picture.size), (0, 0, size, size)), size)
        return Opened([], lambda: number)

    going = work(range(len(names)), start, workers=workers, budget=budget(), weigh=weigh)
    with closing(going):
        for done, _ in enumerate(going, 1):
            if progress is not None:
                progress(done, len(names))
    kept = [number for number in range(len(names)) if number not in faults]
    for place, number in enumerate(kept):  # moved up where they lie, for there is no room for them twice
        if place != number:
            pixels[place] = pixels[number]
    return pixels[: len(kept)], [faults[number] for number in sorted(faults)]


def make_textures(images_NHW3: Pixels, size: int, seed: int, count: int = 256) -> Textures:
    """`count` textures, drawn patterns and patches of the training images (uint8 RGB, may be mapped from a file) by turns.

    Of no images patterns alone are made, of textures above 2 GB as many as fit. One that looks like the images on average is
    drawn again, for an anomaly that nobody can see teaches nothing. Each follows from the seed and its own number, so that a
    larger `count` only adds to a smaller one.

    >>> made = make_textures(np.zeros((0, 32, 32, 3), np.uint8), size=32, seed=0, count=2)
    >>> tuple(made.pixels_THW3.shape), made.source
    ((2, 32, 32, 3), 'made')
    """
    count = max(1, min(count, _MOST_BYTES // (3 * size**2)))
    usual = _usual(images_NHW3)
    pixels = np.empty((count, size, size, 3), np.uint8)
    for number in range(count):
        random = np.random.default_rng([seed % 2**64, number])
        for _ in range(_TRIES):
            # Patterns go round in turn, so that few textures are varied as well.
            drawn = number % 2 == 0 or not len(images_NHW3)
            side = min(size, _LARGEST)
            texture = _pattern(random, side, number // 2) if drawn else _patch(random, side, images_NHW3)
            pixels[number] = _squashed(np.clip(texture * 255 + 0.5, 0, 255).astype(np.uint8), size)
            if usual is None or np.abs(pixels[number] - usual).max(2).mean() >= _UNLIKE:
                break
    return Textures(torch.from_numpy(pixels), "made")


def _usual(images_NHW3: Pixels) -> Field | None:
    """The mean colour of some of the images."""
    if not len(images_NHW3):
        return None
    return np.asarray(images_NHW3[:: -(-len(images_NHW3) // _LOOKED_AT)].mean((0, 1, 2), dtype=np.float64))


# Patches


def _patch(random: np.random.Generator, size: int, images_NHW3: Pixels) -> Field:
    """(size, size, 3): a part of an image, turned, mirrored and in other colours; enlarged, or shrunk and set side by side."""
    image = np.asarray(images_NHW3[random.integers(len(images_NHW3))])
    if random.random() < 0.6:
        share = 2.0 ** random.uniform(-3, -0.5)
        patch = _squashed(_cut(random, image, share), size)
    else:
        copies = int(random.integers(2, 7))
        small = _squashed(_cut(random, image, random.uniform(0.6, 1)), -(-size // copies))
        # Mirrored at each seam, where a plain repetition would show an edge.
        row = np.concatenate([small[:, :: (-1) ** place] for place in range(copies)], axis=1)
        patch = np.concatenate([row[:: (-1) ** place] for place in range(copies)], axis=0)[:size, :size]
    patch = np.rot90(patch, int(random.integers(4)))
    if random.random() < 0.5:
        patch = patch[:, ::-1]
    return _recoloured(random, patch / 255)


def _cut(random: np.random.Generator, image: Pixels, share: float) -> Pixels:
    """A window of that share of the image's height and width, anywhere."""
    height, width = (max(2, round(share * length)) for length in image.shape[:2])
    top, left = (int(random.integers(whole - part + 1)) for whole, part in zip(image.shape, (height, width), strict=False))
    return image[top : top + height, left : left + width]


def _recoloured(random: np.random.Generator, patch: Field) -> Field:
    """Stretched to its own darkest and brightest by halves, for a plain surface would be a plain patch; then other colours."""
    if random.random() < 0.7:
        low, high = np.quantile(patch, (0.01, 0.99))
        patch = patch + random.uniform(0.4, 1) * ((patch - low) / max(high - low, 0.02) - patch)
    if random.random() < 0.3:
        patch = 1 - patch
    if random.random() < 0.5:
        patch = patch[..., random.permutation(3)]
    patch = np.clip(patch, 0, 1) ** 2.0 ** random.uniform(-1.2, 1.2)
    grays = random.random() < 0.4
    gain, offset = random.uniform(0.5, 1.3, 1 if grays else 3), random.uniform(-0.15, 0.25, 1 if grays else 3)
    return patch * gain + offset


# Patterns: each a field (size, size) of 0 to 1, which is coloured afterwards


def _pattern(random: np.random.Generator, size: int, number: int) -> Field:
    """(size, size, 3): the pattern whose turn it is, in a few colours, with more or less grain."""
    field = _PATTERNS[number % len(_PATTERNS)](random, size)
    if random.random() < 0.35:  # two patterns in one
        other = _PATTERNS[random.integers(len(_PATTERNS))](random, size)
        field = field + random.uniform(0.2, 0.6) * (other - field)
    texture = _coloured(random, field)
    shade = random.uniform(0, 0.5) * (_clouds(random, size, 2) - 0.5)
    grain = random.choice([0, 0.01, 0.03, 0.08]) * random.standard_normal((size, size, 1))
    return np.asarray(texture * (1 + shade[..., None]) + grain)


def _stripes(random: np.random.Generator, size: int) -> Field:
    return _wave(random, _wobbling(random, size, random.uniform(0, math.pi), _frequency(random)))


def _checks(random: np.random.Generator, size: int) -> Field:
    """Two sets of stripes, crossing at a right angle or another: squares, diamonds, a weave, dots."""
    angle, frequency = random.uniform(0, math.pi), _frequency(random)
    across = angle + (math.pi / 2 if random.random() < 0.6 else random.uniform(0.8, 1.6))
    one, other = (_wave(random, _wobbling(random, size, each, frequency, most=0.3)) for each in (angle, across))
    kind = random.integers(3)
    if kind == 0:
        return np.asarray(np.abs(one - other))
    return np.asarray(one * other if kind == 1 else np.maximum(one, other))


def _cells(random: np.random.Generator, size: int) -> Field:
    """Voronoi cells of random points: tiles of different brightness, bubbles, or a net of cracks."""
    points = random.random((int(2 ** random.uniform(3, 7.5)), 2))
    y, x = _plane(size)
    nearest, second = np.full((size, size), np.inf), np.full((size, size), np.inf)
    owner = np.zeros((size, size), np.intp)
    for number, (down, right) in enumerate(points):
        away = (y - down) ** 2 + (x - right) ** 2
        closer = away < nearest
        second = np.minimum(second, np.where(closer, nearest, away))
        owner[closer] = number
        np.minimum(nearest, away, out=nearest)
    scale = math.sqrt(len(points))
    inner = np.clip(np.sqrt(nearest) * scale, 0, 1)
    border = np.clip((np.sqrt(second) - np.sqrt(nearest)) * scale / random.uniform(0.1, 0.6), 0, 1)
    tiles = random.random(len(points))[owner]
    return np.asarray((tiles * border, inner, border, tiles * (1 - inner))[random.integers(4)])


def _blotches(random: np.random.Generator, size: int) -> Field:
    """Clouds, soft or cut into a few levels as if by a contour line."""
    clouds = _clouds(random, size, int(2 ** random.uniform(1, 5)), octaves=int(random.integers(1, 5)))
    levels = random.integers(2, 6)
    return clouds if random.random() < 0.5 else np.floor(clouds * levels * 0.999) / (levels - 1)


def _gradient(random: np.random.Generator, size: int) -> Field:
    """From one side to the other, or outwards from a point, once or in rings."""
    y, x = _plane(size)
    if random.random() < 0.5:
        way = _slope(size, random.uniform(0, 2 * math.pi))
    else:
        down, right = random.uniform(-0.2, 1.2, 2)
        way = np.hypot(y - down, x - right)
    way = way + random.uniform(0, 0.15) * _clouds(random, size, 4)
    return _unit(way) if random.random() < 0.6 else _wave(random, way * random.uniform(2, 20))


def _speckle(random: np.random.Generator, size: int) -> Field:
    """Grains of one size, few or many, on an even ground."""
    grains = _scaled(random.random((cells := int(size / 2 ** random.uniform(0, 3.5)), cells)), size)
    least = random.uniform(0.3, 0.95)
    return np.clip((grains - least) / (1 - least) * random.uniform(1, 4), 0, 1)


def _brushed(random: np.random.Generator, size: int) -> Field:
    """Lines of random brightness along one axis, as if brushed, scratched or grained like wood."""
    fine, long = int(size / 2 ** random.uniform(0, 4)), int(2 ** random.uniform(0.5, 4))
    lines = _unit(_scaled(random.random((max(fine, 2), long)) ** random.uniform(1, 6), size))
    return lines if random.random() < 0.5 else lines.T


def _marble(random: np.random.Generator, size: int) -> Field:
    clouds = _clouds(random, size, int(random.integers(2, 6)), octaves=4)
    return _wave(random, _slope(size, random.uniform(0, math.pi)) * random.uniform(0, 6) + clouds * random.uniform(3, 12))


_PATTERNS = (_stripes, _cells, _blotches, _checks, _speckle, _gradient, _brushed, _marble)


def _plane(size: int) -> tuple[Field, Field]:
    """Row and column of each pixel, from 0 to 1."""
    line = np.linspace(0, 1, size)
    return line[:, None], line[None, :]


def _slope(size: int, angle: float) -> Field:
    y, x = _plane(size)
    return np.asarray(math.cos(angle) * x + math.sin(angle) * y)


def _frequency(random: np.random.Generator) -> float:
    """Periods over the whole width: broad and fine ones alike often."""
    return float(2 ** random.uniform(1.5, 5.5))


def _wobbling(random: np.random.Generator, size: int, angle: float, frequency: float, most: float = 1.5) -> Field:
    """The phase of stripes, in periods."""
    phase = _slope(size, angle) * frequency
    return phase + (random.uniform(0, most) * _clouds(random, size, 4) if random.random() < 0.6 else 0)


def _wave(random: np.random.Generator, phase: Field) -> Field:
    """A sine, a saw or bars of the phase, which counts periods."""
    kind = random.integers(3)
    if kind == 0:
        return np.asarray(0.5 + 0.5 * np.sin(2 * math.pi * phase))
    saw = phase % 1
    return saw if kind == 1 else (saw < random.uniform(0.2, 0.8)).astype(np.float64)


def _clouds(random: np.random.Generator, size: int, cells: int, octaves: int = 3) -> Field:
    """Smooth noise from 0 to 1 with so many bumps along an axis, and finer ones of half the height upon it."""
    total = sum(_scaled(random.random((cells << octave, cells << octave)), size) / 2**octave for octave in range(octaves))
    return _unit(np.asarray(total))


def _unit(field: Field) -> Field:
    """Stretched to 0 to 1."""
    low, high = field.min(), field.max()
    return np.asarray((field - low) / max(high - low, 1e-9))


def _scaled(field: Field, size: int) -> Field:
    from PIL import Image

    picture = Image.fromarray(field.astype(np.float32)).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(picture, np.float64)


def _squashed(pixels: Pixels, size: int) -> Pixels:
    """(size, size, 3)."""
    from PIL import Image

    if pixels.shape[:2] == (size, size):
        return pixels
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize((size, size), Image.Resampling.BICUBIC))


def _coloured(random: np.random.Generator, field: Field) -> Field:
    """(size, size, 3): the field's values run through two to four colours, of which a third are grays."""
    stops = np.sort(random.random(int(random.integers(2, 5))))
    stops[0], stops[-1] = 0, 1
    colours = random.random((len(stops), 3))
    if random.random() < 0.35:
        colours = np.repeat(colours[:, :1], 3, 1)
    elif random.random() < 0.4:  # shades of one colour
        colours = colours[:1] * random.uniform(0.2, 1.4, (len(stops), 1))
    return np.stack([np.interp(field, stops, colours[:, channel]) for channel in range(3)], axis=2)
