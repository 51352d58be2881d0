"""The squares of a data set are decoded once, kept whole, and never those of another data set."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from threecad.domain import Size
from threecad.errors import ConfigError, ReadError, ThreecadError
from threecad.formats.dataset import Dataset
from threecad.formats.png import encode_png
from threecad.learning import cache
from threecad.learning.cache import home, squares, trim
from threecad.learning.config import Data
from threecad.learning.fitting import fit_image, fits
from threecad.learning.plan import plan

SMALL = Data(size=64)


def picture(number: int, height: int = 80, width: int = 130, kind: type[Any] = np.uint8) -> NDArray[Any]:
    high = np.iinfo(kind).max + 1
    return np.random.default_rng(number).integers(0, high, (height, width, 3)).astype(kind)


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    """Six images of three sizes, one of them gray and one of 16 bits."""
    folder = tmp_path / "nut" / "train" / "good"
    folder.mkdir(parents=True)
    for number in range(4):
        (folder / f"{number}.png").write_bytes(encode_png(picture(number)))
    (folder / "4.png").write_bytes(encode_png(picture(4, 40, 190)[:, :, 0]))
    (folder / "5.png").write_bytes(encode_png(picture(5, 200, 65, np.uint16)))
    return Dataset(tmp_path / "nut")


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "kept"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def only(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


@pytest.mark.parametrize("resize", ["squash", "letterbox", "tile"])
@pytest.mark.parametrize("workers", [1, 3])
def test_the_squares_are_those_of_each_image_in_order(data: Dataset, kept: Path, resize: Any, workers: int) -> None:
    settings = Data(size=64, resize=resize)
    found = squares(data, settings, kept, workers=workers)
    expected, rows = [], []
    for number, item in enumerate(data):
        pixels = item["image"]
        for fit in fits(Size(*pixels.shape[:2]), settings):
            expected.append(fit_image(pixels, fit, 64))
            rows.append(number)
    assert np.array_equal(found.pixels, np.stack(expected))
    assert found.rows.tolist() == rows
    assert found.numbers.dtype == found.rows.dtype == np.int64
    assert len(set(found.numbers.tolist())) == len(rows)
    assert found.numbers.min() >= 0


def test_a_second_call_opens_the_file_and_decodes_nothing(data: Dataset, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = squares(data, SMALL, kept)
    before = hashlib.sha256(only(kept).read_bytes()).digest()
    monkeypatch.setattr(Dataset, "_load", lambda *_: pytest.fail("decoded again"))
    told: list[Any] = []
    second = squares(data, SMALL, kept, progress=lambda *now: told.append(now))
    assert np.array_equal(first.pixels, second.pixels)
    assert first.numbers.tolist() == second.numbers.tolist()
    assert hashlib.sha256(only(kept).read_bytes()).digest() == before
    assert told == []


def test_the_squares_are_mapped_and_cannot_be_written(data: Dataset, kept: Path) -> None:
    found = squares(data, SMALL, kept)
    assert isinstance(found.pixels, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        found.pixels[0] = 0


def test_the_file_is_numpys_own_format(data: Dataset, kept: Path) -> None:
    found = squares(data, SMALL, kept)
    assert np.array_equal(np.load(only(kept), allow_pickle=False), found.pixels)


def test_progress_counts_the_images(data: Dataset, kept: Path) -> None:
    told: list[tuple[int, int]] = []
    squares(data, SMALL, kept, progress=lambda done, total: told.append((done, total)))
    assert told == [(number, 6) for number in range(1, 7)]


def test_the_bytes_do_not_depend_on_the_number_of_workers(data: Dataset, tmp_path: Path) -> None:
    written = set()
    for workers in (1, 2, 5):
        squares(data, Data(size=64, resize="tile"), tmp_path / f"{workers}", workers=workers)
        written.add(only(tmp_path / f"{workers}").read_bytes())
    assert len(written) == 1


def test_numbers_belong_to_the_image_and_not_to_its_company(data: Dataset, kept: Path) -> None:
    settings = Data(size=64, resize="tile")
    every = squares(data, settings, kept)
    some = squares(data[3:], settings, kept)
    assert some.numbers.tolist() == every.numbers[every.rows >= 3].tolist()


def test_a_data_set_without_images_has_no_squares_and_no_file(data: Dataset, kept: Path) -> None:
    found = squares(data[:0], SMALL, kept)
    assert found.pixels.shape == (0, 64, 64, 3)
    assert found.numbers.shape == found.rows.shape == (0,)
    assert not kept.exists()


def test_the_transform_of_a_data_set_plays_no_part(data: Dataset, kept: Path) -> None:
    expected = squares(data, SMALL, kept).pixels
    data.transform = lambda item: pytest.fail("called")
    only(kept).unlink()
    assert np.array_equal(squares(data, SMALL, kept).pixels, expected)


# What makes other squares


@pytest.mark.parametrize(
    "settings",
    [
        Data(size=96),
        Data(size=64, resize="letterbox"),
        Data(size=64, resize="tile"),
        Data(size=64, resize="tile", overlap_ratio=0.5),
    ],
)
def test_other_settings_have_another_file(data: Dataset, kept: Path, settings: Data) -> None:
    squares(data, SMALL, kept)
    squares(data, Data(size=64, resize="tile", overlap_ratio=0.3), kept)
    squares(data, settings, kept)
    assert len(names(kept)) == 3


def test_settings_that_make_no_difference_share_a_file(data: Dataset, kept: Path) -> None:
    squares(data, SMALL, kept)
    squares(data, Data(size=64, overlap_ratio=0.7, validation=0.3, joint=True), kept)
    assert len(names(kept)) == 1


def test_a_changed_image_is_decoded_anew(data: Dataset, kept: Path) -> None:
    squares(data, SMALL, kept)
    path = data.root / data.rows[2].image
    look = path.stat()
    path.write_bytes(encode_png(picture(99)))
    os.utime(path, ns=(look.st_atime_ns, look.st_mtime_ns + 1))
    found = squares(data, SMALL, kept)
    assert np.array_equal(found.pixels[2], fit_image(picture(99), fits(Size(80, 130), SMALL)[0], 64))


def test_files_that_look_alike_in_another_data_set_are_not_taken_for_these(tmp_path: Path, kept: Path) -> None:
    for name, value in (("one", 1), ("two", 2)):
        path = tmp_path / name / "nut" / "train" / "good" / "0.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(encode_png(np.full((32, 32), value, np.uint8)))
        os.utime(path, ns=(0, 0))
    for name, value in (("one", 1), ("two", 2)):
        assert (squares(Dataset(tmp_path / name), SMALL, kept).pixels == value).all()


# Damage


@pytest.mark.parametrize("harm", ["cut", "longer", "header", "empty", "folder"])
def test_a_damaged_file_is_made_anew(data: Dataset, kept: Path, harm: str) -> None:
    expected = np.array(squares(data, SMALL, kept).pixels)
    path = only(kept)
    whole = path.read_bytes()
    if harm == "folder":
        path.unlink()
        path.mkdir()
        with pytest.raises(ThreecadError, match="cannot be kept"):
            squares(data, SMALL, kept)
        assert names(kept) == [path.name]
        return
    path.write_bytes({"cut": whole[:-1], "longer": whole + b"x", "header": b"\x93NUMPZ" + whole[6:], "empty": b""}[harm])
    assert np.array_equal(squares(data, SMALL, kept).pixels, expected)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("resize", ["squash", "tile"])
@pytest.mark.parametrize("content", [b"", b"no image", encode_png(picture(1))[:900]])
def test_an_unreadable_image_is_named_and_leaves_nothing_behind(data: Dataset, kept: Path, resize: Any, content: bytes) -> None:
    (data.root / data.rows[3].image).write_bytes(content)
    with pytest.raises(ReadError, match=r"3\.png"):
        squares(data, Data(size=64, resize=resize), kept)
    assert not kept.exists() or names(kept) == []


def test_an_image_that_is_gone_is_named(data: Dataset, kept: Path) -> None:
    (data.root / data.rows[3].image).unlink()
    with pytest.raises(ReadError, match=r"3\.png: cannot be read: No such file"):
        squares(data, SMALL, kept)


@pytest.mark.parametrize(
    "image", ["../secret.png", "/etc/hostname", "train/good/link.png", "train/good/pipe.png", "a\0b.png", "train"]
)
@pytest.mark.parametrize("resize", ["squash", "tile"])
def test_a_row_that_leads_astray_is_refused_before_anything_is_opened(data: Dataset, kept: Path, image: str, resize: Any) -> None:
    (data.root.parent / "secret.png").write_bytes(encode_png(picture(1)))
    (data.root / "train/good/link.png").symlink_to(data.root.parent / "secret.png")
    os.mkfifo(data.root / "train/good/pipe.png")
    data.rows = (data.rows[0]._replace(image=image),)
    with pytest.raises(ReadError, match=r"leads out of the data set|not a file|no file can have"):
        squares(data, Data(size=64, resize=resize), kept)
    assert not kept.exists()


# Disks and neighbours


def test_a_disk_without_room_is_told_at_once(data: Dataset, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=9000))
    with pytest.raises(ThreecadError, match=r"6 squares of 64 pixels .*found 0.009 MB.*set THREECAD_CACHE") as caught:
        squares(data, SMALL, kept)
    assert "\n" not in str(caught.value)
    assert names(kept) == []


def test_a_disk_that_fills_up_meanwhile_ends_in_one_sentence_with_nothing_left_behind(data: Dataset, kept: Path) -> None:
    resource = pytest.importorskip("resource", reason="needs limits on the size of files")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9000, limits[1]))
    try:
        with pytest.raises(ThreecadError, match=r"kept: 6 squares .*File too large.*make room") as caught:
            squares(data, SMALL, kept, workers=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.EFBIG
    assert names(kept) == []
    assert len(squares(data, SMALL, kept).pixels) == 6


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_told(data: Dataset, kept: Path) -> None:
    kept.mkdir(mode=0o500)
    with pytest.raises(ThreecadError, match="Permission denied"):
        squares(data, SMALL, kept)


def test_a_file_in_the_way_of_the_folder_is_told(data: Dataset, kept: Path) -> None:
    kept.write_bytes(b"")
    with pytest.raises(ThreecadError, match="cannot be kept there"):
        squares(data, SMALL, kept)


def test_a_run_that_is_interrupted_leaves_nothing_behind(data: Dataset, kept: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        squares(data, SMALL, kept, progress=stop)
    assert names(kept) == []
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("threecad-")]


def test_two_processes_may_make_the_same_squares_at_once(data: Dataset, kept: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from threecad.formats.dataset import Dataset\n"
        "from threecad.learning.cache import squares\n"
        "from threecad.learning.config import Data\n"
        "print(int(squares(Dataset(sys.argv[1]), Data(size=64), Path(sys.argv[2])).pixels.sum()))\n"
    )
    command = [sys.executable, "-c", program, str(data.root), str(kept)]
    going = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = {process.communicate()[0] for process in going}
    assert told == {f"{int(squares(data, SMALL, kept).pixels.sum())}\n"}
    assert len(names(kept)) == 1


def test_few_images_are_open_at_once(data: Dataset, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "budget", lambda: 1)
    load, lock, now, most = Dataset._load, threading.Lock(), [0], [0]

    def counting(self: Dataset, row: Any) -> Any:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.005)
        item = load(self, row)
        with lock:
            now[0] -= 1
        return item

    monkeypatch.setattr(Dataset, "_load", counting)
    squares(data, SMALL, kept, workers=4)
    assert most == [1]


# How much is kept


def lay(folder: Path, name: str, nbytes: int, age: float) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(bytes(nbytes))
    then = time.time() - age
    os.utime(folder / name, (then, then))


def called(letter: str) -> str:
    return f"squares-{letter * 32}.npy"


def test_those_not_used_for_longest_go_first(kept: Path) -> None:
    for age, letter in enumerate("abcd"):
        lay(kept, called(letter), 100, age * 10)
    trim(kept, 250)
    assert names(kept) == [called("a"), called("b")]
    trim(kept, 250)
    assert len(names(kept)) == 2
    trim(kept, 0)
    assert names(kept) == []


def test_what_broken_off_runs_left_goes_and_what_is_being_written_or_another_s_stays(kept: Path) -> None:
    lay(kept, ".squares-abc.new", 10, 10 * 86400)
    lay(kept, ".squares-def.new", 10, 60)
    lay(kept, "measures.sqlite", 10**6, 10 * 86400)
    lay(kept, "squares-mine.npy", 10**6, 10 * 86400)
    trim(kept, 0)
    assert names(kept) == [".squares-def.new", "measures.sqlite", "squares-mine.npy"]


def test_a_folder_that_is_not_there_needs_no_trimming(kept: Path) -> None:
    trim(kept)
    assert not kept.exists()


def test_making_squares_keeps_the_folder_within_its_limit(data: Dataset, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "LIMIT", 95_000)
    lay(kept, called("a"), 15_000, 10)
    lay(kept, called("b"), 15_000, 20)
    squares(data, SMALL, kept)  # 74 kB
    assert len(names(kept)) == 2
    assert called("a") in names(kept)


def test_squares_that_are_used_again_count_as_new(data: Dataset, kept: Path) -> None:
    squares(data, SMALL, kept)
    path = only(kept)
    os.utime(path, (0, 0))
    squares(data, SMALL, kept)
    assert time.time() - path.stat().st_mtime < 600


def test_the_folder_is_the_one_that_the_environment_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THREECAD_CACHE", str(tmp_path))
    assert home() == tmp_path
    monkeypatch.setenv("THREECAD_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: Path("~") / ".cache")
    with pytest.raises(ConfigError, match="set THREECAD_CACHE"):
        home()


# Real data


@pytest.mark.parametrize(
    ("name", "resize"), [("magnetic_tile_dev", "squash"), ("magnetic_tile_dev", "tile"), ("cookie", "letterbox")]
)
def test_real_images_become_squares(shared: Path, kept: Path, name: str, resize: Any) -> None:
    settings = Data(size=64, resize=resize)
    (found,), _ = plan(shared / name, settings)
    data = found.validation
    made = squares(data, settings, kept)
    assert made.rows[0] == 0
    assert made.rows[-1] == len(data) - 1
    assert made.pixels.std() > 5
    assert json.dumps(made.numbers.tolist()) == json.dumps(squares(data, settings, kept).numbers.tolist())
