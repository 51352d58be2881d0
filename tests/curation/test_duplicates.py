import io
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from threecad.curation.duplicates import alike, bind, equal, fingerprint, near
from threecad.domain import Action, Code
from threecad.settings import Splitting

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
STEP = Splitting().near_distance


def photograph(part: int, height: int = 600, width: int = 800) -> np.ndarray:
    """A machined plate in a fixture: the same dark frame and holes for every part, its own marks on the surface, noise."""
    rng = np.random.default_rng(part)
    picture = np.full((height, width), 140.0)
    marks = cv2.GaussianBlur(rng.standard_normal((height, width)), (0, 0), width / 60)
    picture += 12 * marks / marks.std()
    frame = np.zeros((height, width), np.uint8)
    cv2.rectangle(frame, (width // 10, height // 10), (width * 9 // 10, height * 9 // 10), 255, -1)
    for column in range(1, 4):
        cv2.circle(frame, (width * column // 4, height // 2), height // 12, 0, -1)
    picture = np.where(frame > 0, picture, 35.0) + rng.normal(0, 2, (height, width))
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    with io.BytesIO() as file:
        Image.fromarray(pixels).save(file, "JPEG", quality=quality)
        return np.array(Image.open(file))


COPIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "JPEG 90": lambda pixels: jpeg(pixels, 90),
    "JPEG 75": lambda pixels: jpeg(pixels, 75),
    "half size": lambda pixels: cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "73 %": lambda pixels: cv2.resize(pixels, None, fx=0.73, fy=0.73, interpolation=cv2.INTER_LINEAR),
    "brighter": lambda pixels: np.clip(np.rint(pixels * 1.05), 0, 255).astype(np.uint8),
    "darker": lambda pixels: np.rint(pixels * 0.95).astype(np.uint8),
    "in colour": lambda pixels: np.repeat(pixels[:, :, None], 3, axis=2) if pixels.ndim == 2 else pixels,
    "16 bits": lambda pixels: pixels.astype(np.uint16) * 16,
}


def furthest_cell(one: bytes | None, other: bytes | None) -> int:
    assert one is not None
    assert other is not None
    return int(np.abs(np.frombuffer(one, np.int8).astype(int) - np.frombuffer(other, np.int8)).max())


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_of_a_photograph_keeps_its_fingerprint(copy):
    picture = photograph(1)
    assert furthest_cell(fingerprint(picture), fingerprint(COPIES[copy](picture))) <= STEP


def test_parts_in_one_fixture_have_fingerprints_of_their_own():
    prints = [fingerprint(photograph(part)) for part in range(8)]
    assert min(furthest_cell(one, other) for one, other in combinations(prints, 2)) > 3 * STEP


def test_a_fingerprint_is_the_same_on_every_machine():
    ramp = (np.arange(90 * 70).reshape(90, 70) ** 2 % 251).astype(np.uint8)
    value = fingerprint(ramp)
    assert value is not None
    assert len(value) == 256
    assert value[:16].hex() == "e20dd70af505e04430f40428e65e32e0"
    colour = fingerprint(np.stack([ramp, ramp[::-1], ramp[:, ::-1]], axis=2))
    assert colour is not None
    assert colour[:16].hex() == "06283adb0bf000033ed80cfc0d3c50e7"


@pytest.mark.parametrize("shape", [(18, 18), (19, 400), (37, 41), (200, 331, 3)])
def test_cells_are_weighed_by_the_share_of_each_pixel_they_cover(shape):
    pixels = np.random.default_rng(5).integers(0, 256, shape, dtype=np.uint8)
    enlarged = pixels.repeat(3, axis=0).repeat(3, axis=1)
    assert fingerprint(enlarged) == fingerprint(pixels)


@pytest.mark.parametrize(
    "pixels",
    [
        pytest.param(np.full((500, 500), 200, np.uint8), id="nothing to see"),
        pytest.param(np.tile(np.arange(256, dtype=np.uint8), (300, 1)), id="light from one side"),
        pytest.param(np.random.default_rng(0).normal(128, 3, (600, 800)).astype(np.uint8), id="noise alone"),
        pytest.param(np.random.default_rng(0).normal(2000, 60, (600, 800)).astype(np.uint16), id="noise of 12 bits in 16"),
        pytest.param(np.random.default_rng(0).integers(0, 255, (17, 400), dtype=np.uint8), id="too small"),
    ],
)
def test_a_picture_without_detail_has_no_fingerprint(pixels):
    assert fingerprint(pixels) is None


def test_the_brightest_gigantic_values_do_not_overflow():
    board = np.zeros((36, 36), np.uint16)
    board[::4] = 65535
    assert furthest_cell(fingerprint(board), fingerprint((board >> 8).astype(np.uint8))) <= 1


def some_prints(rng: np.random.Generator, count: int, spread: float) -> dict[str, bytes]:
    base = rng.normal(0, 60, 256)
    values = np.clip(np.rint(base + rng.normal(0, spread, (count, 256))), -127, 127).astype(np.int8)
    return {f"{number:04}": value.tobytes() for number, value in enumerate(values)}


@pytest.mark.parametrize("spread", [0.0, 0.7, 1.0, 1.3, 1.6, 3.0, 40.0])
@pytest.mark.parametrize("distance", [0, 2, 4, 64])
def test_near_finds_exactly_the_groups_that_comparing_all_pairs_finds(spread, distance):
    prints = some_prints(np.random.default_rng(int(10 * spread) + distance), 120, spread)
    pairs = [pair for pair in combinations(prints, 2) if furthest_cell(prints[pair[0]], prints[pair[1]]) <= distance]
    assert near(prints, distance) == bind(pairs)


@pytest.mark.parametrize("cell", [0, 100, 255])
def test_one_cell_keeps_pictures_apart_even_if_it_varies_nowhere_else(cell):
    values = np.random.default_rng(cell).integers(-127, 128, (100, 256)).astype(np.int8)
    values[:, cell] = 0
    values[1] = values[0]
    values[1, cell] = 5
    prints = {f"{number:02}": value.tobytes() for number, value in enumerate(values)}
    assert near(prints, 4) == []
    assert near(prints, 5) == [frozenset({"00", "01"})]


def test_near_finds_chains_whatever_the_order():
    base = np.zeros(256, np.int8)
    chain = {}
    for number in range(30):
        base[number % 3] = min(127, base[number % 3] + 4)
        chain[f"{number * 7 % 30:02}"] = base.tobytes()
    assert near(chain, 4) == [frozenset(chain)]
    assert near(dict(sorted(chain.items())), 3) == []
    assert near({}, 3) == []


@pytest.mark.timeout(60)
def test_many_pictures_that_are_all_alike_take_no_longer():
    prints = some_prints(np.random.default_rng(3), 20_000, 0.5)
    assert [len(group) for group in near(prints, 64)] == [20_000]
    assert near(dict.fromkeys(prints, prints["0000"]), 0) == [frozenset(prints)]


def test_equal_and_bind_leave_out_nobody_and_invent_nobody():
    assert equal({"b": "1", "a": "1", "c": "2"}) == [frozenset("ab")]
    assert bind([["d"], ["a", "c"], [], ["e", "b"], ["b", "c"]]) == [frozenset("abce"), frozenset("d")]


def test_every_duplicate_is_reported_once_and_bound():
    picture = photograph(1)
    prints = {
        name: value
        for name, pixels in {
            "a.png": picture,
            "copy of a.png": picture,
            "small a.jpg": jpeg(COPIES["half size"](picture), 85),
            "b.png": photograph(2),
        }.items()
        if (value := fingerprint(pixels))
    }
    digests = {"a.png": "1", "copy of a.png": "1", "small a.jpg": "2", "b.png": "3", "blank.png": "4", "blank again.png": "4"}
    groups, findings = alike(digests, prints, Splitting())
    assert groups == [frozenset({"a.png", "copy of a.png", "small a.jpg"}), frozenset({"blank.png", "blank again.png"})]
    assert [(finding.code, finding.source) for finding in findings] == [
        (Code.EXACT_DUPLICATE, "blank.png"),
        (Code.EXACT_DUPLICATE, "copy of a.png"),
        (Code.NEAR_DUPLICATE, "small a.jpg"),
    ]
    assert {finding.action for finding in findings} == {Action.KEPT}
    groups, findings = alike(digests, prints, Splitting(near_duplicates=False))
    assert groups == equal(digests)
    assert {finding.code for finding in findings} == {Code.EXACT_DUPLICATE}


def test_a_crowd_is_reported_and_only_its_closest_are_bound():
    rng = np.random.default_rng(8)
    prints = some_prints(rng, 40, 0.9)  # all within 6 steps, none within 2
    prints["twin of 0007"] = bytes(np.frombuffer(prints["0007"], np.int8) ^ (np.arange(256) == 9).astype(np.int8))
    groups, findings = alike({name: name for name in prints}, prints, Splitting(near_distance=6, near_crowd=5))
    assert groups == [frozenset({"0007", "twin of 0007"})]
    assert [(finding.code, finding.source) for finding in findings] == [
        (Code.NEAR_DUPLICATE, "twin of 0007"),
        (Code.CROWD, "0000"),
    ]
    assert "one of 41 that look nearly the same" in findings[1].detail
    copies = {f"copy {number}": "same bytes" for number in range(30)}
    assert [len(group) for group in alike(copies, {}, Splitting(near_crowd=5))[0]] == [30], "equal files are never a crowd"


def real(folder: str, pattern: str, step: int = 1) -> dict[str, np.ndarray]:
    if not (SHARED / folder).is_dir():
        pytest.skip(f"no {folder} in ../shared/data")
    return {path.name: np.array(Image.open(path)) for path in sorted((SHARED / folder).rglob(pattern))[::step]}


@pytest.mark.shared
@pytest.mark.parametrize(("folder", "step"), [("bsdata_dev", 12), ("cookie", 2), ("deeppcb_dev", 3)])
def test_copies_of_real_photographs_are_found(folder, step):
    found = total = 0
    for pixels in real(folder, "*.jpg", step).values():
        for name in ("JPEG 75", "JPEG 90", "half size", "brighter", "darker"):
            total += 1
            found += furthest_cell(fingerprint(pixels), fingerprint(COPIES[name](pixels))) <= STEP
    assert total >= 100
    assert found / total >= 0.95


@pytest.mark.shared
def test_no_two_real_photographs_of_different_things_are_bound():
    prints = {}
    for folder in ("cookie", "deeppcb_dev", "magnetic_tile_dev", "nuts_labelme"):
        prints |= {f"{folder}/{name}": fingerprint(pixels) for name, pixels in real(folder, "*.jpg").items()}
    assert sum(value is None for value in prints.values()) <= 3
    assert near({name: value for name, value in prints.items() if value}, STEP) == []


@pytest.mark.shared
def test_a_wear_sequence_binds_neighbours_in_time_at_one_place_only():
    prints = {name: value for name, pixels in real("bsdata_dev", "*.jpg").items() if (value := fingerprint(pixels))}
    assert len(prints) == 587
    groups = near(prints, STEP)
    assert sum(map(len, groups)) <= 20
    for group in groups:
        assert len({name.split("_", 2)[2] for name in group}) == 1, sorted(group)
