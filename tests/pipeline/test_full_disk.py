"""A disk that is full, or is no longer to be written: one sentence, exit code 1, and the next run completes to the same bytes."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from photographs import contents, factory

resource = pytest.importorskip("resource")

WORDS = ["--slice-size", "96"]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return factory(tmp_path_factory.mktemp("raw") / "line7")


@pytest.fixture(scope="module")
def whole(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("whole") / "out"
    assert threecad("convert", raw, out)[0] == 3
    return contents(out)


def threecad(command: str, raw: Path, out: Path, *more: str, before: Callable[[], object] | None = None) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of one command; `before` runs in its process, before it."""
    words = [
        sys.executable,
        "-m",
        "threecad",
        command,
        str(raw),
        *([str(out), *WORDS] if command == "convert" else ["--out", str(out)]),
    ]
    done = subprocess.run([*words, *more], capture_output=True, text=True, preexec_fn=before, check=False, timeout=120)
    return done.returncode, done.stdout, done.stderr


def bound() -> None:
    """Permissions will bind the program that this process becomes, root's too: it cannot have the right to pass them over."""
    if os.geteuid() == 0:
        for right in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            assert ctypes.CDLL(None).prctl(24, right, 0, 0, 0) == 0  # PR_CAPBSET_DROP


def assert_one_sentence(done: tuple[int, str, str], out: Path, reason: str) -> None:
    code, printed, told = done
    assert (code, printed) == (1, "")
    assert re.fullmatch(rf"threecad: {re.escape(str(out))}\S*: cannot be written \({reason}\).*\n", told), told


def mounted(*words: str) -> bool:
    """Whether a mount could be made; the right to do so is rare even for root, in a container."""
    done = subprocess.run(["mount", *words], capture_output=True, check=False)
    return done.returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with 1 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small file system")
    if not mounted("-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)):
        pytest.skip("mounting is not permitted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def lockable(tmp_path: Path) -> Iterator[Callable[[Path, bool], None]]:
    """Makes a folder read-only even to root, by mounting it over itself, and writable again."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a folder over itself")
    held: list[Path] = []

    def lock(folder: Path, locked: bool) -> None:
        if locked:
            if not mounted("--bind", str(folder), str(folder)):
                pytest.skip("mounting is not permitted here")
            held.append(folder)
            if not mounted("-o", "remount,ro,bind", str(folder)):
                pytest.skip("mounting is not permitted here")
        else:
            subprocess.run(["umount", "-l", str(folder)], check=True)
            held.remove(folder)

    yield lock
    for folder in held:
        subprocess.run(["umount", "-l", str(folder)], check=True)


class TestNoFileMayGrow:
    """RLIMIT_FSIZE: whatever file is the first to exceed so many bytes cannot be written."""

    @pytest.mark.parametrize("limit", [0, 200, 3000, 9000, 20_000, 40_000])
    def test_a_conversion(self, raw: Path, whole: dict[str, bytes], tmp_path: Path, limit: int) -> None:
        out = tmp_path / "out"
        done = threecad("convert", raw, out, before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        assert_one_sentence(done, out, "File too large")
        assert not (out / "manifest.json").exists()
        assert threecad("convert", raw, out)[0] == 3
        assert contents(out) == whole

    @pytest.mark.parametrize("limit", [0, 100, 1000])
    def test_a_check(self, raw: Path, tmp_path: Path, limit: int) -> None:
        out = tmp_path / "findings"
        done = threecad("check", raw, out, before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        assert_one_sentence(done, out, "File too large")
        assert threecad("check", raw, out)[0] == threecad("check", raw, tmp_path / "other")[0] == 3
        ours, theirs = (contents(folder) for folder in (out, tmp_path / "other"))
        assert ours.keys() == theirs.keys()
        assert ours["findings.jsonl"] == theirs["findings.jsonl"]

    def test_an_update_leaves_the_earlier_data_set_until_there_is_room(
        self, raw: Path, whole: dict[str, bytes], tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        threecad("convert", raw, out)
        more = ["--edge", "remainder"]
        done = threecad("convert", raw, out, *more, before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000)))
        assert_one_sentence(done, out, "File too large")
        assert contents(out) == whole
        assert threecad("convert", raw, out, *more)[0] == 3
        assert threecad("convert", raw, tmp_path / "straight", *more)[0] == 3
        assert contents(out) == contents(tmp_path / "straight")


class TestSmallDisk:
    def test_a_conversion_goes_on_when_there_is_room(self, raw: Path, whole: dict[str, bytes], small_disk: Path) -> None:
        out = small_disk / "out"
        assert_one_sentence(threecad("convert", raw, out), out, "No space left on device")
        kept = {path.name for path in (out / ".threecad/staging").rglob("*.png")}
        assert kept
        assert mounted("-o", "remount,size=30m", str(small_disk))
        code, printed, _ = threecad("convert", raw, out)
        assert code == 3
        assert re.match(r"\d+ sources converted, [1-9]\d* unchanged in ", printed)
        assert contents(out) == whole

    def test_every_amount_of_room_ends_well(self, raw: Path, whole: dict[str, bytes], small_disk: Path) -> None:
        """Room for a little more at every try, so that the disk is full in every phase, publishing and lists among them."""
        out = small_disk / "out"
        need = sum(map(len, whole.values()))
        failures = 0
        for room in range(need // 2, 4 * need, need // 6):
            assert mounted("-o", f"remount,size={room}", str(small_disk))
            done = threecad("convert", raw, out)
            if done[0] == 3:
                break
            assert_one_sentence(done, out, "No space left on device")
            failures += 1
        assert failures >= 2
        assert contents(out) == whole

    def test_a_disk_that_is_full_from_the_start(self, raw: Path, whole: dict[str, bytes], small_disk: Path) -> None:
        with pytest.raises(OSError, match="No space left"):
            (small_disk / "film.avi").write_bytes(bytes(2_000_000))
        out = small_disk / "out"
        assert_one_sentence(threecad("convert", raw, out), out, "No space left on device")
        assert_one_sentence(threecad("check", raw, small_disk / "findings"), small_disk / "findings", "No space left on device")
        (small_disk / "film.avi").unlink()
        assert mounted("-o", "remount,size=30m", str(small_disk))
        assert threecad("convert", raw, out)[0] == 3
        assert contents(out) == whole


class TestReadOnly:
    def test_a_place_that_is_read_only(self, raw: Path, tmp_path: Path, lockable: Callable[[Path, bool], None]) -> None:
        place = tmp_path / "archive"
        place.mkdir()
        lockable(place, True)
        for command in ("convert", "check"):
            assert_one_sentence(threecad(command, raw, place / "out"), place / "out", "Read-only file system")
        assert list(place.iterdir()) == []

    def test_a_data_set_that_became_read_only_is_still_whole(
        self, raw: Path, whole: dict[str, bytes], tmp_path: Path, lockable: Callable[[Path, bool], None]
    ) -> None:
        out = tmp_path / "out"
        threecad("convert", raw, out)
        lockable(out, True)
        assert_one_sentence(threecad("convert", raw, out, "--seed", "1"), out, "Read-only file system")
        assert threecad("convert", raw, out, "--dry-run")[1].startswith("Nothing to do: 17 sources unchanged")
        lockable(out, False)
        assert contents(out) == whole
        assert threecad("convert", raw, out)[1].startswith("Nothing to do: 17 sources unchanged")

    def test_a_raw_folder_that_is_read_only_is_all_one_needs(
        self, raw: Path, whole: dict[str, bytes], tmp_path: Path, lockable: Callable[[Path, bool], None]
    ) -> None:
        lockable(raw, True)
        assert threecad("convert", raw, tmp_path / "out")[0] == 3
        assert threecad("check", raw, tmp_path / "findings", "--write-fixed", str(tmp_path / "fixed"))[0] == 3
        assert contents(tmp_path / "out") == whole

    @pytest.mark.skipif(os.geteuid() == 0 and sys.platform != "linux", reason="permissions do not bind root")
    def test_a_folder_one_may_not_write_into(self, raw: Path, tmp_path: Path) -> None:
        place = tmp_path / "theirs"
        place.mkdir(mode=0o555)
        for command in ("convert", "check"):
            assert_one_sentence(threecad(command, raw, place / "out", before=bound), place / "out", "Permission denied")
