"""Which squares a step sees, and how they get to the device."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from threecad.learning.cache import Squares

_SHARE = 0.5
"""Of the device's free memory that the training images may take, so that the networks have the rest."""


def seed_of(*names: object) -> int:
    """A number of 63 bits that follows from names and seeds alone.

    >>> seed_of(0, "glass") == seed_of(0, "glass") != seed_of(1, "glass")
    True
    """
    text = ":".join(map(str, names))
    return int.from_bytes(hashlib.sha256(text.encode(errors="backslashreplace")).digest()[:8], "big") >> 1


def shares(count: int, batch_size: int, world: int, seed: int) -> list[list[NDArray[np.int64]]]:
    """An epoch's order: a list of steps, each a list of one index array a device.

    Every image is seen once, in batches as even as can be and none above `batch_size`, so that no last batch of a single image
    upsets the batch normalisation. With fewer images than devices some are seen twice.

    >>> [[len(part) for part in step] for step in shares(10, 4, 1, seed=0)]
    [[4], [3], [3]]
    """
    order = np.random.default_rng(seed).permutation(count)
    steps = -(-count // (batch_size * world))
    if count < steps * world:
        order = np.resize(order, steps * world)
    parts = np.array_split(order, steps * world)
    return [[part.astype(np.int64) for part in parts[at * world : (at + 1) * world]] for at in range(steps)]


def as_images(pixels_BHW3: Tensor) -> Tensor:
    """(B, 3, H, W) float32 from 0 to 1, as the networks take them, of uint8 pixels; channels last in memory, as the pixels lie.

    >>> as_images(torch.full((1, 2, 2, 3), 255, dtype=torch.uint8)).unique().tolist()
    [1.0]
    """
    return pixels_BHW3.permute(0, 3, 1, 2).float() / 255


class Batches:
    """The squares of a set on a device, batch by batch.

    They lie on the device as a whole where they fit in half of its free memory; else a thread fetches the next batch while this
    one trains. `waited` are the seconds that were spent waiting for data.
    """

    def __init__(self, squares: Squares, device: torch.device, *, by_position: bool = False) -> None:
        self._pixels = squares.pixels
        self._numbers = np.arange(len(squares.pixels)) if by_position else squares.numbers
        self._device = device
        self._resident: Tensor | None = None
        self.waited = 0.0
        if device.type == "cuda" and self._pixels.nbytes < _SHARE * torch.cuda.mem_get_info(device)[0]:
            self._resident = _copied(self._pixels).to(device)

    def __len__(self) -> int:
        return len(self._pixels)

    def run(self, order: list[NDArray[np.int64]]) -> Iterator[tuple[Tensor, Tensor]]:
        """(B, H, W, 3) uint8 and the numbers (B,) int64 of each batch, on the device."""
        with ThreadPoolExecutor(1, "fetching", self._choose_device) as pool:
            coming = pool.submit(self._fetch, order[0]) if order else None
            for at in range(len(order)):
                began = time.perf_counter()
                assert coming is not None
                images, numbers = coming.result()
                self.waited += time.perf_counter() - began
                coming = pool.submit(self._fetch, order[at + 1]) if at + 1 < len(order) else None
                yield images, numbers

    def _choose_device(self) -> None:
        """Each thread has a device of its own, the first unless told: to pin memory it would open that one a second time."""
        if self._device.type == "cuda":
            torch.cuda.set_device(self._device)

    def _fetch(self, indices: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        numbers = torch.from_numpy(self._numbers[indices])
        if self._resident is not None:
            return self._resident[torch.from_numpy(indices).to(self._device)], numbers.to(self._device)
        images = _copied(self._pixels[indices])
        if self._device.type == "cuda":
            images = images.pin_memory()
        return images.to(self._device, non_blocking=True), numbers.to(self._device)


def _copied(pixels: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.array(pixels))  # memory maps are read-only, which torch warns of
