"""Anomalies painted on good images: gradient noise says where, a texture says what (3CAD paper, "Anomaly synthetic").

A whole batch is painted at once on the device that holds it, without a look at any value from the host. Nothing is drawn from a
generator: each random number is a hash of the seed, the epoch, the image's own number and what it is for. So an image is painted
alike in any batch and any order, on any device, and what has been drawn before plays no part.

The noise is Perlin's: a unit vector at each point of a lattice, and at a pixel the distances along the vectors of the four
points around it, faded into one another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from threecad.learning.config import Synthesis
    from threecad.learning.textures import Textures

# What a random number is for. Never use one for two things, and never change one: every mask would be another.
_CHOSEN, _TEXTURE, _TRANSPARENCY, _NOISE, _NOISE_AGAIN = 1, 2, 3, 4, 5
_CELLS_Y, _CELLS_X, _TURN, _GRADIENTS = 1, 2, 3, 4  # of the noise, from its own key

_ROW = 1 << 16
"""Numbers kept for each row of the lattice, so that a corner has the same vector whatever `perlin_scale` is."""
_CACHED = 1 << 18
"""Pixels painted at a time on a CPU, so that what is in work stays in its cache: three times as fast as 32 images of 256²."""
_FITTING = 1 << 22
"""Pixels painted at a time elsewhere, where a large piece is quickest: some 250 MB in work."""


@dataclass(frozen=True, slots=True, eq=False)
class Painted:
    """`images_B3HW` are float32 from 0 to 1 and lie channels last in memory, `masks_B1HW` float32: 1 where painted, else 0."""

    images_B3HW: Tensor
    masks_B1HW: Tensor


def paint(
    images_BHW3: Tensor,
    numbers_B: Tensor,
    epoch: int,
    seed: int,
    textures: Textures,
    settings: Synthesis,
) -> Painted:
    """Paint anomalies on good images: x (1 - M) + (1 - β) t M + β x M, for image x, texture t and mask M.

    The images are uint8, `numbers_B` int64, a number for each image that stays its own through all epochs; textures are on the
    same device and of the images' size. Outside the mask an image is x / 255 to the bit. An image that `probability` leaves out
    has an empty mask, and so has one in twenty whose noise is nowhere above the threshold; with `redraw`, one in 400.

    Beside its result and the images it takes 20 MB on a CPU, whatever the batch (32 of 256²: 34 MB come out).

    >>> from threecad.learning.config import Synthesis
    >>> from threecad.learning.textures import Textures
    >>> textures = Textures(torch.full((1, 64, 64, 3), 255, dtype=torch.uint8), "made")
    >>> images = torch.zeros(2, 64, 64, 3, dtype=torch.uint8)
    >>> painted = paint(images, torch.tensor([7, 8]), epoch=0, seed=0, textures=textures, settings=Synthesis(transparency=0))
    >>> bool((painted.images_B3HW == painted.masks_B1HW).all()), painted.masks_B1HW.mean((1, 2, 3)).gt(0).tolist()
    (True, [True, True])
    """
    count, height, width = images_BHW3.shape[:3]
    if textures.pixels_THW3.shape[1:] != images_BHW3.shape[1:]:
        raise ValueError(f"textures of shape {tuple(textures.pixels_THW3.shape)} for images of {tuple(images_BHW3.shape)}")
    painted_BHW3 = torch.empty(images_BHW3.shape, device=images_BHW3.device)
    masks_BHW = torch.empty(count, height, width, device=images_BHW3.device)
    keys_B = _keys(numbers_B, epoch, seed)
    step = max(1, (_CACHED if images_BHW3.device.type == "cpu" else _FITTING) // (height * width))
    for first in range(0, count, step):
        part = slice(first, first + step)
        masks_BHW[part] = _masks(keys_B[part], height, width, settings)
        textures_BHW3 = textures.pixels_THW3.index_select(0, _textures(keys_B[part], numbers_B[part], len(textures), settings))
        beta_B = settings.transparency * _uniform(_drawn(keys_B[part], _TRANSPARENCY))
        painted_BHW3[part] = _blended(images_BHW3[part], textures_BHW3, masks_BHW[part], beta_B)
    return Painted(painted_BHW3.permute(0, 3, 1, 2), masks_BHW[:, None])


def perlin(keys_B: Tensor, height: int, width: int, settings: Synthesis) -> Tensor:
    """Gradient noise (B, height, width) float32 from -1 to 1, an image's own for each key (int64).

    Along each axis there are 2^k cells, the first lattice point at the first pixel's centre, the last one a pixel beyond the
    last; there the noise is 0. Vectors are of length 1 and the noise is multiplied by √2, so that 1 is the most it can be. It is
    turned about the middle of the image, and 0 where the turned lattice leaves the image uncovered.

    >>> from threecad.learning.config import Synthesis
    >>> noise = perlin(torch.tensor([7]), 64, 64, Synthesis(perlin_scale=1, rotation=0))  # a single cell
    >>> noise[0, 0, 0].item(), bool((noise.abs() <= 1).all())
    (0.0, True)
    """
    device = keys_B.device
    cells_yB, cells_xB = (
        torch.ones_like(keys_B) << _below(_drawn(keys_B, axis), settings.perlin_scale) for axis in (_CELLS_Y, _CELLS_X)
    )
    y_BHW, x_BHW, inside_BHW = _turned(keys_B, height, width, settings.rotation)
    y_BHW *= (cells_yB.float() / height)[:, None, None]
    x_BHW *= (cells_xB.float() / width)[:, None, None]
    row_BHW, column_BHW = y_BHW.floor(), x_BHW.floor()
    y_BHW -= row_BHW
    x_BHW -= column_BHW

    side = (1 << settings.perlin_scale - 1) + 1
    downwards, rightwards = _gradients(keys_B, side)
    corner = (row_BHW.mul_(side).add_(column_BHW)).to(torch.int32)
    corner += torch.arange(len(keys_B), dtype=torch.int32, device=device)[:, None, None] * side**2
    corner = corner.flatten()

    def along(down: int, right: int, y: Tensor, x: Tensor) -> Tensor:
        """How far the pixels lie along the vector of the corner that is so many rows down and columns right."""
        at = corner + (down * side + right)
        return downwards.index_select(0, at).view_as(y).mul_(y).add_(rightwards.index_select(0, at).view_as(x).mul_(x))

    # In place, and each operation alone: a fused one rounds differently from device to device.
    before_y, before_x = y_BHW - 1, x_BHW - 1
    fade_x = _fade(x_BHW)
    upper = _mixed(along(0, 0, y_BHW, x_BHW), along(0, 1, y_BHW, before_x), fade_x)
    lower = _mixed(along(1, 0, before_y, x_BHW), along(1, 1, before_y, before_x), fade_x)
    return _mixed(upper, lower, _fade(y_BHW)).mul_(math.sqrt(2)).mul_(inside_BHW)


def _masks(keys_B: Tensor, height: int, width: int, settings: Synthesis) -> Tensor:
    """(B, H, W) bool."""
    masks = perlin(_drawn(keys_B, _NOISE), height, width, settings) > settings.threshold
    if settings.redraw:
        # Both are drawn for all images, for to look which are empty would make the host wait for the device.
        again = perlin(_drawn(keys_B, _NOISE_AGAIN), height, width, settings) > settings.threshold
        masks = torch.where(masks.flatten(1).any(1)[:, None, None], masks, again)
    return masks & (_uniform(_drawn(keys_B, _CHOSEN)) < settings.probability)[:, None, None]


def _textures(keys_B: Tensor, numbers_B: Tensor, count: int, settings: Synthesis) -> Tensor:
    """Which of `count` textures each image gets."""
    return numbers_B % count if settings.texture == "index" else _below(_drawn(keys_B, _TEXTURE), count)


def _blended(images_BHW3: Tensor, textures_BHW3: Tensor, masks_BHW: Tensor, beta_B: Tensor) -> Tensor:
    """As x + (1 - β) M (t - x) in units of 255: where M is 0 that is x exactly, and it is never below 0 or above 1."""
    own = images_BHW3.float()
    change = textures_BHW3.float().sub_(own)
    change *= (masks_BHW * (1 - beta_B)[:, None, None])[..., None]
    return own.add_(change).div_(255)


# The noise


def _turned(keys_B: Tensor, height: int, width: int, rotation: float) -> tuple[Tensor, Tensor, Tensor]:
    """Row and column (B, H, W) from which each pixel's noise is taken, and whether that lies between the outermost pixels."""
    # In float64, so that after rounding all devices agree.
    angle = (2 * _uniform(_drawn(keys_B, _TURN)).double() - 1) * math.radians(rotation)
    cosine, sine = (value.float()[:, None, None] for value in (angle.cos(), angle.sin()))
    middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
    down = (torch.arange(height, device=keys_B.device) - middle_y)[None, :, None]
    right = (torch.arange(width, device=keys_B.device) - middle_x)[None, None, :]
    y = (cosine * down + middle_y) - sine * right
    x = (sine * down + middle_x) + cosine * right
    nearest_y, nearest_x = y.clamp(0, height - 1), x.clamp(0, width - 1)
    return nearest_y, nearest_x, (y == nearest_y) & (x == nearest_x)


def _gradients(keys_B: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """The components down and right of the unit vectors at all side × side lattice points, one sample's after the other's."""
    number = torch.arange(side, device=keys_B.device)
    hashed = _hash(_drawn(keys_B, _GRADIENTS)[:, None, None] + (number[:, None] * _ROW + number) * _GOLDEN)
    angle = _uniform(hashed).double().flatten() * (2 * math.pi)
    return angle.sin().float(), angle.cos().float()


def _fade(t: Tensor) -> Tensor:
    """6t⁵ - 15t⁴ + 10t³: from 0 to 1 with no slope and no curvature at either end (Perlin 2002)."""
    return (t * 6).sub_(15).mul_(t).add_(10).mul_(t).mul_(t).mul_(t)


def _mixed(one: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """Their own memory is used for it."""
    return one.add_(other.sub_(one).mul_(share))


# Random numbers


def _signed(number: int) -> int:
    """The 64 lowest bits as torch's int64 holds them, which wraps around as the hash wants it."""
    low = number & (1 << 64) - 1
    return low - (1 << 64) if low >> 63 else low


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_FIRST, _SECOND = _signed(0xBF58476D1CE4E5B9), _signed(0x94D049BB133111EB)


def _hash(numbers: Tensor) -> Tensor:
    """SplitMix64's finaliser (Steele, Lea, Flood 2014): int64 in, int64 out, one to one, each bit hanging on all bits."""
    for shift, factor in ((30, _FIRST), (27, _SECOND)):
        numbers = (numbers ^ _shifted(numbers, shift)) * factor
    return numbers ^ _shifted(numbers, 31)


def _shifted(numbers: Tensor, bits: int) -> Tensor:
    """To the right, with zeros coming in: torch brings in the sign."""
    return (numbers >> bits) & ((1 << 64 - bits) - 1)


def _keys(numbers_B: Tensor, epoch: int, seed: int) -> Tensor:
    begin = _hash(_hash(torch.tensor(_signed(seed), device="cpu")) + epoch).item()
    return _hash(numbers_B + begin)


def _drawn(keys: Tensor, purpose: int) -> Tensor:
    """64 random bits for each key, others for each purpose."""
    return _hash(keys + _signed(purpose * _GOLDEN))


def _uniform(bits: Tensor) -> Tensor:
    """From 0 to below 1, in steps of 2⁻²⁴, which float32 holds exactly."""
    return _shifted(bits, 40).float() * 2.0**-24


def _below(bits: Tensor, count: int) -> Tensor:
    """A whole number from 0 to below `count`; of so few none is likelier by more than a millionth."""
    return _shifted(bits, 33) % count
