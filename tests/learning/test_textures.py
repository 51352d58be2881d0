from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from threecad.errors import ConfigError
from threecad.formats.png import encode_png
from threecad.learning import textures
from threecad.learning.textures import Textures, make_textures, read_textures


def put(path: Path, pixels: NDArray[np.uint8] | NDArray[np.uint16] | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pixels if isinstance(pixels, bytes) else encode_png(pixels))


def flat(*colour: int, side: int = 40) -> NDArray[np.uint8]:
    return np.full((side, side, 3), colour, np.uint8)


def photographs(count: int = 6, side: int = 64, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(60, 140, (count, side, side, 3), dtype=np.uint8)


def colours(found: Textures) -> list[list[int]]:
    return [texture[0, 0].tolist() for texture in found.pixels_THW3]


def huge() -> bytes:
    """A PNG that states 60,000 × 60,000 pixels and holds none."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


# ---------------------------------------------------------------- a folder


def test_pictures_of_all_folders_are_read_in_the_order_of_their_paths(tmp_path: Path) -> None:
    put(tmp_path / "b" / "a.png", flat(3, 0, 0))
    put(tmp_path / "a" / "z" / "a.PNG", flat(2, 0, 0))
    put(tmp_path / "a" / "b.png", flat(1, 0, 0))
    put(tmp_path / "c.png", flat(4, 0, 0))
    put(tmp_path / "a" / "notes.txt", b"no picture")
    put(tmp_path / ".hidden.png", flat(9, 9, 9))
    found = read_textures(tmp_path, 32)
    assert found.source == "folder"
    assert found.pixels_THW3.shape == (4, 32, 32, 3)
    assert found.pixels_THW3.dtype == torch.uint8
    assert colours(found) == [[1, 0, 0], [2, 0, 0], [3, 0, 0], [4, 0, 0]]


def test_a_picture_is_squashed_to_the_models_square(tmp_path: Path) -> None:
    halves = np.zeros((50, 200, 3), np.uint8)
    halves[:, 100:] = 250, 100, 50
    put(tmp_path / "a.png", halves)
    texture = read_textures(tmp_path, 32).pixels_THW3[0]
    assert texture[:, :15].eq(0).all()
    assert texture[:, 17:].eq(torch.tensor([250, 100, 50], dtype=torch.uint8)).all()


def test_gray_and_16_bit_pictures_become_8_bit_rgb(tmp_path: Path) -> None:
    put(tmp_path / "a.png", np.full((40, 40), 77, np.uint8))
    put(tmp_path / "b.png", np.full((40, 40), 77 * 257, np.uint16))
    put(tmp_path / "c.png", np.full((40, 40, 3), (257, 514, 65535), np.uint16))
    assert colours(read_textures(tmp_path, 32)) == [[77, 77, 77], [77, 77, 77], [1, 2, 255]]


def test_of_too_many_some_are_taken_evenly_and_it_is_told(tmp_path: Path) -> None:
    for number in range(10):
        put(tmp_path / f"{number}.png", flat(number, 0, 0))
    told: list[str] = []
    assert [red for red, _, _ in colours(read_textures(tmp_path, 32, limit=4, note=told.append))] == [0, 2, 5, 7]
    assert len(told) == 1
    assert "10 textures, of which 4 are used" in told[0]
    read_textures(tmp_path, 32, limit=10, note=told.append)
    assert len(told) == 1


def test_memory_limits_their_number_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(10):
        put(tmp_path / f"{number}.png", flat(number, 0, 0))
    monkeypatch.setattr(textures, "_MOST_BYTES", 3 * 32 * 32 * 5)
    assert len(read_textures(tmp_path, 32)) == 5
    assert len(make_textures(photographs(), 32, 0)) == 5


def _symlink_out(folder: Path) -> None:
    put(folder.parent / "secret.png", flat(255, 0, 0))
    (folder / "bad.png").symlink_to(folder.parent / "secret.png")


def _dangling(folder: Path) -> None:
    (folder / "bad.png").symlink_to(folder / "nowhere.png")


def _folder_out(folder: Path) -> None:
    put(folder.parent / "elsewhere" / "secret.png", flat(255, 0, 0))
    (folder / "bad").symlink_to(folder.parent / "elsewhere")


FAULTS: dict[str, Callable[[Path], object]] = {
    "text": lambda folder: put(folder / "bad.jpg", b"This is not a picture.\n"),
    "empty": lambda folder: put(folder / "bad.png", b""),
    "page": lambda folder: put(folder / "bad.jpg", b"<html><body>404</body></html>"),
    "huge header": lambda folder: put(folder / "bad.png", huge()),
    "cut off": lambda folder: put(folder / "bad.png", encode_png(photographs(1)[0])[:-2000]),
    "link out": _symlink_out,
    "link nowhere": _dangling,
    "folder link out": _folder_out,
    "pipe": lambda folder: os.mkfifo(folder / "bad.png"),
}


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_what_cannot_be_read_is_left_out_and_counted(fault: str, tmp_path: Path) -> None:
    folder = tmp_path / "textures"
    put(folder / "a.png", flat(1, 0, 0))
    put(folder / "z.png", flat(2, 0, 0))
    FAULTS[fault](folder)
    told: list[str] = []
    assert colours(read_textures(folder, 32, note=told.append)) == [[1, 0, 0], [2, 0, 0]]
    assert len(told) == 1
    assert "1 texture left out" in told[0]
    assert "bad" in told[0]


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_a_folder_without_a_texture_is_a_sentence(fault: str, tmp_path: Path) -> None:
    folder = tmp_path / "textures"
    folder.mkdir()
    FAULTS[fault](folder)
    with pytest.raises(ConfigError, match=r"textures: found no texture that can be read \(1 fault; the first: bad.*expected PNG"):
        read_textures(folder, 32)


def test_an_empty_folder_none_and_a_file_are_sentences(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    put(tmp_path / "file.png", flat(0, 0, 0))
    for name, found in (("empty", "no texture"), ("missing", "no such folder"), ("file.png", "a file")):
        with pytest.raises(ConfigError, match=f"{name}: .*{found}.*expected"):
            read_textures(tmp_path / name, 32)


def test_loops_of_folders_end(tmp_path: Path) -> None:
    put(tmp_path / "a" / "a.png", flat(1, 0, 0))
    (tmp_path / "a" / "b").symlink_to(tmp_path / "a")
    assert len(read_textures(tmp_path, 32)) == 1


def test_a_link_to_a_file_inside_counts(tmp_path: Path) -> None:
    put(tmp_path / "a.png", flat(1, 0, 0))
    (tmp_path / "b.png").symlink_to(tmp_path / "a.png")
    assert len(read_textures(tmp_path, 32)) == 2


def test_names_cannot_upset_a_terminal(tmp_path: Path) -> None:
    put(tmp_path / "a.png", flat(1, 0, 0))
    put(tmp_path / "bad\x1b[2J\n.png", b"")
    told: list[str] = []
    read_textures(tmp_path, 32, note=told.append)
    assert told[0].isprintable()


def test_the_number_of_workers_changes_nothing(tmp_path: Path) -> None:
    for number in range(30):
        put(tmp_path / f"{number:02}.png", b"" if number % 7 == 3 else flat(number, 0, 0, side=20 + number))
    steps: list[tuple[int, int]] = []
    told: list[list[str]] = [[], []]
    one = read_textures(tmp_path, 32, workers=1, note=told[0].append, progress=lambda *step: steps.append(step))
    two = read_textures(tmp_path, 32, workers=4, note=told[1].append)
    assert one.digest() == two.digest()
    assert told[0] == told[1]
    assert steps == [(done, 30) for done in range(1, 31)]


def test_dtd_is_such_a_folder(shared: Path) -> None:
    told: list[str] = []
    found = read_textures(shared / "dtd10_dev", 64, note=told.append)
    assert len(found) == 80
    assert told == []
    assert found.pixels_THW3.float().flatten(1).std(1).min() > 5  # none is flat


# ---------------------------------------------------------------- made ones


def test_made_textures_follow_from_the_seed_alone() -> None:
    images = photographs()
    one, two = make_textures(images, 64, 3, 24), make_textures(images, 64, 3, 24)
    assert one.source == "made"
    assert one.pixels_THW3.shape == (24, 64, 64, 3)
    assert one.digest() == two.digest()
    other = make_textures(images, 64, 4, 24)
    assert (one.pixels_THW3 == other.pixels_THW3).flatten(1).all(1).sum() == 0
    fewer = make_textures(images, 64, 3, 10)
    assert torch.equal(one.pixels_THW3[:10], fewer.pixels_THW3)


@pytest.mark.parametrize("seed", [-1, 2**63, 2**70])
def test_any_whole_number_is_a_seed(seed: int) -> None:
    assert len(make_textures(photographs(), 32, seed, 2)) == 2


def test_half_are_patches_of_the_images() -> None:
    """With other images, of the same mean colour, every second texture is another."""
    images = photographs(16)
    shuffled = np.random.default_rng(1).permutation(images.reshape(-1, 3)).reshape(images.shape)
    one, two = make_textures(images, 64, 0, 40), make_textures(shuffled, 64, 0, 40)
    same = (one.pixels_THW3 == two.pixels_THW3).flatten(1).all(1)
    assert same[::2].all()
    assert not same[1::2].any()


def test_made_textures_are_varied() -> None:
    """No two are alike, colours and grays both occur, and hardly one is flat."""
    made = make_textures(photographs(), 64, 0, 64).pixels_THW3.float()
    apart = torch.cdist(made.flatten(1), made.flatten(1), p=1) / made[0].numel()
    apart.fill_diagonal_(255)
    assert apart.min() > 8
    assert (made.flatten(1).std(1) > 8).float().mean() > 0.9
    gray = (made.amax(3) - made.amin(3)).flatten(1).amax(1) < 3
    assert 0.05 < gray.float().mean() < 0.6
    assert (made.mean((1, 2, 3)) < 100).sum() > 8
    assert (made.mean((1, 2, 3)) > 140).sum() > 8


@pytest.mark.parametrize("level", [0, 90, 255])
def test_no_made_texture_looks_like_the_images(level: int) -> None:
    images = np.full((4, 64, 64, 3), level, np.uint8)
    made = make_textures(images, 64, 0, 64).pixels_THW3.float()
    unlike = (made - level).abs().amax(3).mean((1, 2))
    assert (unlike > 35).float().mean() > 0.95  # after some tries one is taken as it is


def test_without_images_there_are_patterns_alone() -> None:
    made = make_textures(np.zeros((0, 64, 64, 3), np.uint8), 64, 0, 16)
    assert len(made) == 16
    assert made.pixels_THW3.float().flatten(1).std(1).median() > 8


def test_one_small_image_that_is_mapped_from_a_file_does(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", photographs(1, 32))
    images = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert make_textures(images, 32, 0, 20).pixels_THW3.shape == (20, 32, 32, 3)


def test_large_textures_are_made_in_bearable_time() -> None:
    made = make_textures(photographs(2, 32), 1024, 0, 2)
    assert made.pixels_THW3.shape == (2, 1024, 1024, 3)


# ---------------------------------------------------------------- the value


def test_textures_of_no_use_are_a_mistake_in_the_program() -> None:
    for pixels in (
        torch.zeros(0, 4, 4, 3, dtype=torch.uint8),
        torch.zeros(1, 3, 4, 4, dtype=torch.uint8),
        torch.zeros(1, 4, 4, 3),
    ):
        with pytest.raises(ValueError, match="expected"):
            Textures(pixels, "made")


def test_textures_keep_their_source_and_digest_on_another_device() -> None:
    made = make_textures(photographs(), 32, 0, 4)
    moved = made.to("cpu")
    assert (moved.source, moved.digest(), len(moved)) == ("made", made.digest(), 4)
    assert made.to("meta").pixels_THW3.device.type == "meta"
