from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from threecad.learning import synthesis
from threecad.learning.config import Recipe, Synthesis
from threecad.learning.synthesis import Painted, paint, perlin
from threecad.learning.textures import Textures

UPSTREAM = Recipe(protocol="upstream").synthesis


def plain(size: int, value: int, count: int = 1) -> Textures:
    return Textures(torch.full((count, size, size, 3), value, dtype=torch.uint8), "made")


def photographs(count: int, size: int) -> Tensor:
    random = np.random.default_rng(1)
    return torch.from_numpy(random.integers(0, 256, (count, size, size, 3), dtype=np.uint8))


def painted(numbers: Tensor, size: int, settings: Synthesis, *, epoch: int = 0, seed: int = 0) -> Painted:
    """White anomalies on black."""
    images = torch.zeros(len(numbers), size, size, 3, dtype=torch.uint8)
    return paint(images, numbers, epoch, seed, plain(size, 255), settings)


def masks(count: int, size: int, settings: Synthesis) -> Tensor:
    """(count, size, size) bool."""
    keys = synthesis._keys(torch.arange(count), 0, 0).split(max(1, 2**18 // size**2))
    return torch.cat([synthesis._masks(part, size, size, settings) for part in keys])


# ---------------------------------------------------------------- statistics


@pytest.mark.parametrize(("size", "count"), [(128, 4000), (256, 300)])
def test_masks_are_as_often_empty_and_as_large_as_upstream(size: int, count: int) -> None:
    """Upstream's way written anew in NumPy, turned by OpenCV, leaves 5.3 % of masks empty (of 27,000 drawn with few cells, where
    empty ones come from; ± 0.07) and covers 4.8 % (of 6,000, ± 0.04); ours 5.1 % (± 0.07) and 4.94 % (of 20,000, ± 0.02): to
    turn a picture of the noise blurs its peaks a little. Of upstream itself 4.6 % and 4.9 % were counted, in a smaller sample.
    """
    coverage = masks(count, size, UPSTREAM).float().mean((1, 2))
    empty = (coverage == 0).float().mean().item()
    assert abs(empty - 0.051) < 3 * math.sqrt(0.051 * 0.949 / count)  # binomial
    assert abs(coverage.mean().item() - 0.049) < 3 * 0.031 / math.sqrt(count)  # 3.1 % is one mask's standard deviation


def test_a_second_drawing_leaves_few_masks_empty_and_the_others_alone() -> None:
    once = masks(2000, 32, Synthesis())
    twice = masks(2000, 32, Synthesis(redraw=True))
    empty = ~once.flatten(1).any(1)
    assert 0.03 < empty.float().mean().item() < 0.07
    assert (~twice.flatten(1).any(1)).float().mean().item() < 0.008  # 0.05² of them
    assert torch.equal(once[~empty], twice[~empty])


def test_noise_spans_the_range_that_it_states() -> None:
    noise = torch.cat([perlin(keys, 64, 64, Synthesis(rotation=0)) for keys in torch.arange(2000).split(200)])
    assert 0.9 < noise.max().item() <= 1
    assert -1 <= noise.min().item() < -0.9
    assert abs(noise.mean().item()) < 3 * 0.16 / math.sqrt(2000)  # the mean of one image strays by 0.16 where cells are few


def test_neighbouring_numbers_have_nothing_in_common() -> None:
    noise = perlin(torch.arange(400), 32, 32, Synthesis()).flatten(1)
    noise = noise - noise.mean(1, keepdim=True)
    unit = noise / noise.norm(dim=1, keepdim=True)
    assert abs((unit[1:] * unit[:-1]).sum(1).mean().item()) < 0.05


# ---------------------------------------------------------------- the noise against a slow one

ONES = (1 << 64) - 1


def drawn(key: int, counter: int) -> int:
    """The 64 bits that SplitMix64 started at `key` gives as its `counter`-th number."""
    value = (key + counter * 0x9E3779B97F4A7C15) & ONES
    value = ((value ^ value >> 30) * 0xBF58476D1CE4E5B9) & ONES
    value = ((value ^ value >> 27) * 0x94D049BB133111EB) & ONES
    return value ^ value >> 31


def uniform(bits: int) -> float:
    return (bits >> 40) / 2**24


class Slow:
    """Gradient noise in float64, pixel by pixel, with the vectors that `perlin` draws for this key."""

    def __init__(self, key: int, size: int, settings: Synthesis) -> None:
        self.size = size
        self.cells = tuple(2 ** ((drawn(key, axis) >> 33) % settings.perlin_scale) for axis in (1, 2))
        self.angle = (2 * uniform(drawn(key, 3)) - 1) * math.radians(settings.rotation)
        self.vectors = drawn(key, 4)

    def place(self, row: int, column: int) -> tuple[float, float]:
        middle = (self.size - 1) / 2
        down, right = row - middle, column - middle
        sine, cosine = math.sin(self.angle), math.cos(self.angle)
        return cosine * down - sine * right + middle, sine * down + cosine * right + middle

    def at(self, y: float, x: float) -> float:
        y, x = y * self.cells[0] / self.size, x * self.cells[1] / self.size
        top, left = math.floor(y), math.floor(x)

        def along(row: int, column: int) -> float:
            angle = 2 * math.pi * uniform(drawn(self.vectors, row * 65536 + column))
            return math.sin(angle) * (y - row) + math.cos(angle) * (x - column)

        def mixed(one: float, other: float, t: float) -> float:
            return one + (other - one) * (6 * t**5 - 15 * t**4 + 10 * t**3)

        upper = mixed(along(top, left), along(top, left + 1), x - left)
        lower = mixed(along(top + 1, left), along(top + 1, left + 1), x - left)
        return math.sqrt(2) * mixed(upper, lower, y - top)

    def noise(self) -> NDArray[np.float64]:
        """NaN on the very border of what is covered, where rounding decides."""
        found = np.zeros((self.size, self.size))
        for row in range(self.size):
            for column in range(self.size):
                y, x = self.place(row, column)
                depth = min(y, x, self.size - 1 - y, self.size - 1 - x)
                found[row, column] = np.nan if abs(depth) < 1e-4 else self.at(y, x) if depth > 0 else 0
        return found


@pytest.mark.parametrize("scale", [1, 4, 6, 8])
def test_noise_is_what_a_slow_loop_says(scale: int) -> None:
    settings = Synthesis(perlin_scale=scale)
    keys = [3, -5, 2**63 - 1, 77, -(2**63)]
    noise = perlin(torch.tensor(keys), 48, 48, settings).numpy()
    for key, found in zip(keys, noise, strict=True):
        expected = Slow(key, 48, settings).noise()
        sure = np.isfinite(expected)
        assert sure.mean() > 0.9
        np.testing.assert_allclose(found[sure], expected[sure], atol=3e-5)


def test_unturned_noise_is_zero_on_the_lattice() -> None:
    settings = Synthesis(rotation=0)
    keys = torch.arange(60)
    noise = perlin(keys, 64, 64, settings)
    seen = set()
    for key in keys.tolist():
        down, right = Slow(key, 64, settings).cells
        assert (noise[key, :: 64 // down, :: 64 // right] == 0).all()
        assert noise[key].abs().max() > 0
        seen.add((down, right))
    assert {down for down, _ in seen} == {right for _, right in seen} == {1, 2, 4, 8, 16, 32}


def test_noise_is_continuous_from_cell_to_cell() -> None:
    """Its slope is below 5 a cell, of which there are four at most: a step between pixels is below 5 · 4 / 256."""
    noise = perlin(torch.arange(40), 256, 256, Synthesis(perlin_scale=3, rotation=0))
    assert noise.diff(dim=1).abs().max().item() < 5 * 4 / 256
    assert noise.diff(dim=2).abs().max().item() < 5 * 4 / 256


def test_noise_may_be_of_any_height_and_width() -> None:
    noise = perlin(torch.arange(8), 37, 90, Synthesis())
    assert noise.shape == (8, 37, 90)
    assert noise.isfinite().all()
    assert (noise.flatten(1).abs().amax(1) > 0).all()


def test_the_hash_is_splitmix64() -> None:
    """Its first numbers from 0, as its authors' program prints them; and any others as Python's own integers have them."""
    assert [drawn(0, counter) for counter in (1, 2)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]
    keys = [0, 1, -1, 2**63 - 1, -(2**63), 1234567890123456789]
    for counter in (1, 2, 5):
        found = synthesis._drawn(torch.tensor(keys), counter).tolist()
        assert [value & ONES for value in found] == [drawn(key, counter) for key in keys]


# ---------------------------------------------------------------- the same and not the same


@pytest.mark.parametrize("size", [32, 45, 256])
def test_an_image_is_painted_alike_in_any_batch_and_any_order(size: int) -> None:
    images, numbers = photographs(11, size), torch.arange(11) * 7919 - 30000
    textures = Textures(photographs(5, size), "folder")
    together = paint(images, numbers, 3, 1, textures, Synthesis(redraw=True))
    order = torch.randperm(11, generator=torch.Generator().manual_seed(0))
    shuffled = paint(images[order], numbers[order], 3, 1, textures, Synthesis(redraw=True))
    assert torch.equal(shuffled.images_B3HW, together.images_B3HW[order])
    assert torch.equal(shuffled.masks_B1HW, together.masks_B1HW[order])
    for number in (0, 6, 10):
        alone = paint(images[number : number + 1], numbers[number : number + 1], 3, 1, textures, Synthesis(redraw=True))
        assert torch.equal(alone.images_B3HW[0], together.images_B3HW[number])
        assert torch.equal(alone.masks_B1HW[0], together.masks_B1HW[number])


@pytest.mark.parametrize("other", [{"epoch": 1}, {"epoch": -1}, {"seed": 1}, {"seed": -1}, {"seed": 2**63}, {"seed": 2**64 + 1}])
def test_another_epoch_or_seed_gives_other_anomalies(other: dict[str, int]) -> None:
    numbers = torch.arange(20)
    one, two = painted(numbers, 32, Synthesis()), painted(numbers, 32, Synthesis(), **other)
    same = (one.masks_B1HW == two.masks_B1HW).flatten(1).all(1)
    assert same.sum() <= 2  # two empty ones are the same


def test_painting_leaves_the_images_and_the_global_generator_alone() -> None:
    images = photographs(3, 32)
    before, state = images.clone(), torch.get_rng_state()
    paint(images, torch.arange(3), 0, 0, plain(32, 255), Synthesis())
    assert torch.equal(images, before)
    assert torch.equal(torch.get_rng_state(), state)


# ---------------------------------------------------------------- blending


def test_the_blend_is_the_papers_equation() -> None:
    """x (1 - M) + (1 - β) t M + β x M at β = 0.25, with x = 100 / 255 and t = 20, 40, 200 / 255, by hand."""
    image = torch.full((1, 2, 2, 3), 100, dtype=torch.uint8)
    texture = torch.tensor([20, 40, 200], dtype=torch.uint8).expand(1, 2, 2, 3)
    mask = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    blended = synthesis._blended(image, texture, mask, torch.tensor([0.25]))
    anomalous = torch.tensor([40.0, 55.0, 175.0]) / 255
    normal = torch.full((3,), 100.0) / 255
    torch.testing.assert_close(blended[0], torch.stack([torch.stack([anomalous, normal]), torch.stack([normal, anomalous])]))


def test_outside_the_mask_nothing_changes_by_a_bit() -> None:
    images = photographs(12, 64)
    found = paint(images, torch.arange(12), 0, 0, Textures(photographs(4, 64), "folder"), Synthesis())
    own = images.permute(0, 3, 1, 2).float() / 255
    outside = (found.masks_B1HW == 0).expand_as(own)
    assert torch.equal(found.images_B3HW[outside], own[outside])
    assert (found.images_B3HW[~outside] != own[~outside]).float().mean().item() > 0.95


def test_what_comes_out_is_ready_for_a_network() -> None:
    images = torch.cat([photographs(4, 32), torch.full((2, 32, 32, 3), 255, dtype=torch.uint8)])
    found = paint(images, torch.arange(6), 0, 0, plain(32, 255), Synthesis(threshold=-2))
    assert found.images_B3HW.shape == (6, 3, 32, 32)
    assert found.masks_B1HW.shape == (6, 1, 32, 32)
    assert found.images_B3HW.dtype == found.masks_B1HW.dtype == torch.float32
    assert found.images_B3HW.is_contiguous(memory_format=torch.channels_last)
    assert found.masks_B1HW.unique().tolist() == [1]  # such a threshold marks all
    assert 0 <= found.images_B3HW.min() <= found.images_B3HW.max() <= 1


def test_images_that_are_left_out_are_whole_and_unmarked() -> None:
    images = photographs(8, 32)
    found = paint(images, torch.arange(8), 0, 0, plain(32, 255), Synthesis(probability=0))
    assert not found.masks_B1HW.any()
    assert torch.equal(found.images_B3HW, images.permute(0, 3, 1, 2).float() / 255)


def test_probability_is_the_share_of_images_with_an_anomaly() -> None:
    always, half = (masks(1000, 32, Synthesis(probability=share)).flatten(1) for share in (1.0, 0.5))
    kept = half.any(1)
    assert 0.42 < kept.sum().item() / always.any(1).sum().item() < 0.58
    assert torch.equal(half[kept], always[kept])


@pytest.mark.parametrize("transparency", [0.0, 0.8, 1.0])
def test_as_much_of_the_image_shows_through_as_was_drawn(transparency: float) -> None:
    """White on black is 1 - β: from 1 down to, not including, 1 - transparency, evenly, one value an image."""
    found = painted(torch.arange(600), 32, Synthesis(transparency=transparency))
    marked = found.masks_B1HW.expand(-1, 3, -1, -1) > 0
    shown = [image[where].unique() for image, where in zip(found.images_B3HW, marked, strict=True) if where.any()]
    assert all(len(values) == 1 for values in shown)
    beta = 1 - torch.cat(shown)
    assert beta.min().item() >= 0
    assert beta.max().item() <= transparency
    assert beta.min().item() < 0.01
    assert beta.max().item() > transparency * 0.98 - 1e-9
    assert abs(beta.mean().item() - transparency / 2) < 3 * transparency / math.sqrt(12 * 550) + 1e-9


# ---------------------------------------------------------------- textures


def shades(count: int, size: int = 32) -> Textures:
    return Textures(torch.arange(1, count + 1, dtype=torch.uint8)[:, None, None, None].expand(-1, size, size, 3) * 10, "made")


def chosen(numbers: Tensor, settings: Synthesis, epoch: int = 0) -> list[int]:
    """Which of 20 textures each image got."""
    images = torch.zeros(len(numbers), 32, 32, 3, dtype=torch.uint8)
    found = paint(images, numbers, epoch, 0, shades(20), settings)
    return [round(image.max().item() * 25.5) - 1 for image in found.images_B3HW]


def test_by_index_the_images_number_says_which_texture() -> None:
    settings = Synthesis(texture="index", transparency=0, threshold=-2)
    numbers = torch.tensor([0, 1, 19, 20, 45, -1, 2**63 - 1])
    assert chosen(numbers, settings) == chosen(numbers, settings, epoch=5) == [0, 1, 19, 0, 5, 19, (2**63 - 1) % 20]


def test_at_random_all_textures_are_used_and_change_with_the_epoch() -> None:
    settings = Synthesis(transparency=0, threshold=-2)
    first, second = (chosen(torch.arange(1000), settings, epoch) for epoch in (0, 1))
    counts = np.bincount(first, minlength=20)
    assert 25 < counts.min() <= counts.max() < 80  # 50, give or take 4 standard deviations
    assert 20 < sum(one == two for one, two in zip(first, second, strict=True)) < 80


def test_textures_of_another_size_are_a_mistake_in_the_program() -> None:
    with pytest.raises(ValueError, match=r"\(1, 16, 16, 3\)"):
        paint(photographs(1, 32), torch.arange(1), 0, 0, plain(16, 1), Synthesis())


# ---------------------------------------------------------------- devices


@pytest.mark.parametrize("settings", [Synthesis(), Synthesis(redraw=True, texture="index", probability=0.5)])
def test_nothing_that_is_painted_has_to_be_looked_at(settings: Synthesis) -> None:
    """Tensors without values raise where a program would wait for the device to tell one."""
    images = torch.empty(40, 256, 256, 3, dtype=torch.uint8, device="meta")
    numbers = torch.empty(40, dtype=torch.int64, device="meta")
    found = paint(images, numbers, 0, 0, plain(256, 0).to("meta"), settings)
    assert found.images_B3HW.shape == (40, 3, 256, 256)
    assert found.masks_B1HW.device.type == "meta"


@pytest.mark.parametrize("pixels", [1, 5000, 1 << 30])
def test_it_does_not_matter_how_many_are_painted_at_a_time(pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def made() -> Painted:
        return paint(photographs(7, 40), torch.arange(7), 0, 0, Textures(photographs(3, 40), "folder"), Synthesis())

    expected = made()
    monkeypatch.setattr(synthesis, "_CACHED", pixels)
    assert torch.equal(made().images_B3HW, expected.images_B3HW)


def silent(work: Callable[[], Painted]) -> Painted:
    """The work's result; an error where it made the host wait."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        return work()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_paints_what_a_cpu_paints_without_waiting() -> None:
    images, numbers, textures = photographs(40, 256), torch.arange(40), Textures(photographs(9, 256), "folder")
    ours = paint(images, numbers, 2, 3, textures, Synthesis(redraw=True))
    there = images.cuda(), numbers.cuda(), textures.to("cuda")
    paint(there[0], there[1], 0, 0, there[2], Synthesis(redraw=True))  # the first call loads its kernels
    theirs = silent(lambda: paint(there[0], there[1], 2, 3, there[2], Synthesis(redraw=True)))
    different = theirs.masks_B1HW.cpu() != ours.masks_B1HW
    assert different.float().mean().item() < 1e-5
    same = ~different.expand(-1, 3, -1, -1)
    torch.testing.assert_close(theirs.images_B3HW.cpu()[same], ours.images_B3HW[same], atol=1e-6, rtol=0)
