"""The cache gives back what was kept, never anything else, and never stops a run."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from threecad.domain import HEAT, Code, Entry, MaskFile, Measure, Size, Split, Spot, State
from threecad.pipeline import measures
from threecad.pipeline.measures import FILE, Measures, hint_of, key_of

IMAGE, MASK = "ab" * 32, "cd" * 32
MEASURE = Measure(
    size=Size(30, 40),
    channels=3,
    bits=16,
    brightness=1 / 3,
    contrast=0.1 + 0.2,
    sharpness=1e-17,
    fingerprint="0f" * 256,
    digest=IMAGE,
    spots=(Spot(7, (1, 2, 3, 4), 4.5, 2.5, ("dent", "划痕"), ("nearest-256",)),),
    areas=(("dent", 7), ("划痕", 1)),
    heat=bytes(range(256)) * (HEAT * HEAT // 256),
    lost=("nearest-256",),
    flaws=((Code.MASK_NOT_BINARY, "12 pixels\nin between"),),
)
ENTRY = Entry(
    "a", "part", Split.TEST, State.DEFECT, ("dent",), "part/a.png", (MaskFile("part/a_mask.png", "binary", ((0, "dent"),)),), "a"
)
KEY = key_of(ENTRY, IMAGE, [MASK])


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "cache"
    if (tmp_path / "cache").is_dir():
        (tmp_path / "cache").chmod(0o700)


def fill(folder: Path, many: int = 1) -> None:
    with closing(Measures(folder)) as kept:
        for number in range(many):
            key = KEY if number == 0 else number.to_bytes(32, "big")
            kept.keep(key, MEASURE)
        assert kept.note is None


def found(folder: Path) -> tuple[Measure | None, str | None]:
    with closing(Measures(folder)) as kept:
        return kept.find(KEY, IMAGE), kept.note


def old_file(path: Path, data: bytes = b"data") -> os.stat_result:
    path.write_bytes(data)
    past = time.time() - 3600
    os.utime(path, (past, past))
    looked = path.stat()
    return os.stat_result(
        (*looked[:9], looked.st_ctime), {"st_mtime_ns": looked.st_mtime_ns, "st_ctime_ns": looked.st_ctime_ns - 10**10}
    )


def test_a_measure_comes_back_as_it_was(folder: Path) -> None:
    fill(folder)
    assert found(folder) == (MEASURE, None)


def test_a_measure_is_found_by_its_image_alone(folder: Path) -> None:
    fill(folder)
    with closing(Measures(folder)) as kept:
        assert kept.of_image(IMAGE) == MEASURE
        assert kept.of_image(MASK) is None


def test_a_measure_of_another_image_is_never_given(folder: Path) -> None:
    fill(folder)
    with closing(Measures(folder)) as kept:
        assert kept.find(KEY, "ef" * 32) is None


def test_hints_tell_the_keys_there_are(folder: Path) -> None:
    fill(folder, 3)
    with closing(Measures(folder)) as kept:
        assert kept.hints().tolist() == sorted(hint_of(key) for key in (KEY, *(n.to_bytes(32, "big") for n in (1, 2))))
    with closing(Measures(None)) as kept:
        assert kept.hints().size == 0


@pytest.mark.parametrize(
    "other",
    [
        key_of(ENTRY, MASK, [MASK]),
        key_of(ENTRY, IMAGE, [IMAGE]),
        key_of(replace(ENTRY, labels=("scratch",)), IMAGE, [MASK]),
        key_of(replace(ENTRY, state=State.GOOD), IMAGE, [MASK]),
        key_of(replace(ENTRY, masks=(MaskFile("part/a_mask.png", "index", ((0, "dent"),)),)), IMAGE, [MASK]),
        key_of(replace(ENTRY, masks=(MaskFile("part/a_mask.png", "binary", ((0, "scratch"),)),)), IMAGE, [MASK]),
        key_of(replace(ENTRY, masks=()), IMAGE, []),
    ],
)
def test_the_key_tells_everything_that_a_measure_depends_on(other: bytes) -> None:
    assert other != KEY


def test_the_key_holds_the_format(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "FORMAT", measures.FORMAT + 1)
    assert key_of(ENTRY, IMAGE, [MASK]) != KEY


def test_where_an_image_lies_makes_no_difference() -> None:
    moved = replace(ENTRY, id="b", category="other", split=Split.TRAIN, image="b.png", source="b")
    assert key_of(moved, IMAGE, [MASK]) == KEY


def test_a_file_that_looks_the_same_keeps_its_digest(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    looked = old_file(path)
    with closing(Measures(folder)) as kept:
        kept.remember(str(path), looked, IMAGE)
    with closing(Measures(folder)) as kept:
        assert kept.digest(str(path), looked) == IMAGE
        assert kept.digest(str(path), path.stat()) is None, "its ctime is another"
        assert kept.digest(str(tmp_path / "b.png"), looked) is None


def test_a_young_file_is_not_trusted(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"data")
    with closing(Measures(folder)) as kept:
        kept.remember(str(path), path.stat(), IMAGE)
    with closing(Measures(folder)) as kept:
        assert kept.digest(str(path), path.stat()) is None


def test_a_name_that_is_not_utf8_is_remembered(folder: Path, tmp_path: Path) -> None:
    looked = old_file(tmp_path / "a.png")
    with closing(Measures(folder)) as kept:
        kept.remember("/data/\udcff.png", looked, IMAGE)
        kept.flush()
        assert kept.digest("/data/\udcff.png", looked) == IMAGE


def test_no_cache_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(measures.ENVIRONMENT, str(tmp_path))
    with closing(Measures(None)) as kept:
        kept.keep(KEY, MEASURE)
        assert (kept.find(KEY, IMAGE), kept.note) == (None, None)
    assert not list(tmp_path.iterdir())


def test_the_environment_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(measures.ENVIRONMENT, str(tmp_path / "elsewhere"))
    with closing(Measures()) as kept:
        kept.keep(KEY, MEASURE)
    assert (tmp_path / "elsewhere" / FILE).is_file()
    assert stat.S_IMODE((tmp_path / "elsewhere").stat().st_mode) & 0o077 == 0, "it tells names of files"


# What may be wrong with the file


def test_a_file_of_something_else_is_put_aside_and_the_next_run_has_a_cache(folder: Path) -> None:
    folder.mkdir()
    (folder / FILE).write_bytes(b"not a database, but long enough to be one " * 100)
    measure, note = found(folder)
    assert measure is None
    assert note is not None
    assert "damaged" in note
    assert "\n" not in note
    assert (folder / f"{FILE}.damaged").is_file()
    fill(folder)
    assert found(folder) == (MEASURE, None)


@pytest.mark.parametrize("where", range(0, 100, 10))
def test_a_damaged_file_gives_the_right_measure_or_none(folder: Path, where: int) -> None:
    fill(folder, 300)
    data = bytearray((folder / FILE).read_bytes())
    start = where * len(data) // 100
    data[start : start + len(data) // 10] = bytes(byte ^ 0x5A for byte in data[start : start + len(data) // 10])
    (folder / FILE).write_bytes(data)
    measure, note = found(folder)
    assert measure in (MEASURE, None)
    assert note is None or "\n" not in note


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9])
def test_a_cut_off_file_gives_the_right_measure_or_none(folder: Path, share: float) -> None:
    fill(folder, 300)
    data = (folder / FILE).read_bytes()
    (folder / FILE).write_bytes(data[: int(len(data) * share)])
    assert found(folder)[0] in (MEASURE, None)
    with closing(Measures(folder)) as kept:
        kept.keep(KEY, MEASURE)


def test_a_bit_that_fell_over_inside_a_measure_is_noticed(folder: Path) -> None:
    fill(folder)
    base = sqlite3.connect(folder / FILE, isolation_level=None)
    base.execute("PRAGMA synchronous = OFF")
    ((value,),) = base.execute("SELECT value FROM measures").fetchall()
    for flip in range(0, 8 * len(value), 37):
        damaged = bytearray(value)
        damaged[flip // 8] ^= 1 << flip % 8
        base.execute("UPDATE measures SET value = ?", (bytes(damaged),))
        assert found(folder) in ((None, None), (MEASURE, None)), f"bit {flip}"
    base.close()


@pytest.mark.parametrize("value", [None, 5, "text", b"", b"\x78\x9c\x03\x00\x00\x00\x00\x01"])
def test_a_measure_that_is_none_is_passed_over(folder: Path, value: object) -> None:
    fill(folder)
    base = sqlite3.connect(folder / FILE)
    base.execute("DROP TABLE measures")
    base.execute("CREATE TABLE measures (key, image, used, value)")
    base.execute("INSERT INTO measures VALUES (?, ?, 'x', ?)", (KEY, bytes.fromhex(IMAGE), value))
    base.commit()
    base.close()
    assert found(folder) == (None, None)


def test_the_database_of_another_program_is_left_alone(folder: Path) -> None:
    folder.mkdir()
    base = sqlite3.connect(folder / FILE)
    base.execute("CREATE TABLE files (theirs)")
    base.commit()
    base.close()
    before = (folder / FILE).read_bytes()
    measure, note = found(folder)
    assert measure is None
    assert note is not None
    assert "another program" in note
    assert (folder / FILE).read_bytes() == before


def test_a_cache_of_a_later_version_is_left_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as later:
        later.setattr(measures, "_TABLES", 99)
        fill(folder)
    assert "a later threecad" in (found(folder)[1] or "")
    with monkeypatch.context() as later:
        later.setattr(measures, "_TABLES", 99)
        assert found(folder) == (MEASURE, None)


def test_a_cache_of_an_earlier_version_is_begun_anew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(folder)
    monkeypatch.setattr(measures, "_TABLES", 2)
    assert found(folder) == (None, None)
    fill(folder)
    assert found(folder) == (MEASURE, None)


def test_tables_that_are_missing_are_no_more_than_a_note(folder: Path) -> None:
    fill(folder)
    base = sqlite3.connect(folder / FILE)
    base.execute("DROP TABLE measures")
    base.commit()
    base.close()
    measure, note = found(folder)
    assert measure is None
    assert note is not None
    assert "cannot be used" in note


# What may be wrong with the place


def as_nobody(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run Python code as a user whom permissions bind, who may read but not write what is not hers."""
    if os.geteuid() != 0:
        command = [sys.executable, "-c", code, *map(str, arguments)]
    elif shutil.which("setpriv"):
        who = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
        command = [*who, sys.executable, "-c", code, *map(str, arguments)]
    else:
        pytest.skip("permissions do not bind root, and there is no setpriv")
    return subprocess.run(command, capture_output=True, text=True, check=False)


LOOK = f"""
import sys
from contextlib import closing
from pathlib import Path
from threecad.pipeline.measures import Measures
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_measures import IMAGE, KEY, MEASURE
with closing(Measures(Path(sys.argv[1]))) as kept:
    print(kept.find(KEY, IMAGE) == MEASURE)
    kept.keep(bytes(32), MEASURE)
print(kept.note)
"""


def test_a_cache_that_may_only_be_read_is_read(folder: Path) -> None:
    fill(folder)
    (folder / FILE).chmod(0o400)
    folder.chmod(0o500)
    done = as_nobody(LOOK, folder)
    hit, note = done.stdout.splitlines()
    assert (hit, "cannot be written" in note) == ("True", True), done.stderr


def test_a_folder_that_cannot_be_made_is_no_more_than_a_note(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with closing(Measures(tmp_path / "file" / "cache")) as kept:
        kept.keep(KEY, MEASURE)
    assert kept.note is not None
    assert "cannot be made" in kept.note


def test_a_folder_in_the_place_of_the_file_is_no_more_than_a_note(folder: Path) -> None:
    (folder / FILE).mkdir(parents=True)
    assert found(folder)[0] is None
    assert found(folder)[1] is not None


def test_a_full_disk_loses_what_was_not_written_and_nothing_else(folder: Path) -> None:
    fill(folder)
    with closing(Measures(folder)) as kept:
        base = kept._base
        assert base is not None
        base.execute(f"PRAGMA max_page_count = {base.execute('PRAGMA page_count').fetchone()[0]}")  # as a full disk does
        for number in range(1, 500):
            kept.keep(number.to_bytes(32, "big"), MEASURE)
        kept.flush()
        assert kept.note is not None
        assert "full" in kept.note
        assert kept.find(KEY, IMAGE) == MEASURE
    assert found(folder) == (MEASURE, None)


def test_a_cache_that_another_process_holds_is_not_waited_for_long(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(folder)
    monkeypatch.setattr(measures, "_PATIENCE", 0.1)
    holder = sqlite3.connect(folder / FILE, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    began = time.monotonic()
    with closing(Measures(folder)) as kept:
        kept.keep(KEY, MEASURE)
        assert kept.find(KEY, IMAGE) is None
    assert time.monotonic() - began < 5
    assert kept.note is not None
    assert "locked" in kept.note
    holder.close()
    assert found(folder) == (MEASURE, None)


def test_several_processes_write_at_once(folder: Path) -> None:
    code = f"""
import sys
from contextlib import closing
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_measures import MEASURE
from threecad.pipeline.measures import Measures
with closing(Measures(Path(sys.argv[1]))) as kept:
    for number in range(20):
        kept.keep((int(sys.argv[2]) * 1000 + number).to_bytes(32, "big"), MEASURE)
        kept.flush()
assert kept.note is None, kept.note
"""
    runs = [subprocess.Popen([sys.executable, "-c", code, str(folder), str(number)]) for number in range(3)]
    assert [run.wait() for run in runs] == [0, 0, 0]
    with closing(Measures(folder)) as kept:
        assert kept.hints().size == 60


# What is kept


def test_what_was_used_least_recently_goes_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(folder, 400)
    base = sqlite3.connect(folder / FILE)
    base.execute("UPDATE measures SET used = used - 10")
    base.commit()
    base.close()
    with closing(Measures(folder)) as kept:
        assert kept.find(KEY, IMAGE) == MEASURE  # that counts as used
    size = (folder / FILE).stat().st_size
    monkeypatch.setattr(measures, "LIMIT", size)
    with closing(Measures(folder)) as kept:
        for number in range(1000, 1300):
            kept.keep(number.to_bytes(32, "big"), MEASURE)
            if number % 50 == 0:
                kept.flush()
    assert kept.note is None
    assert (folder / FILE).stat().st_size < 1.3 * size
    assert found(folder)[0] == MEASURE
    with closing(Measures(folder)) as kept:
        assert kept.find((1299).to_bytes(32, "big"), IMAGE) == MEASURE
        assert kept.find((1).to_bytes(32, "big"), IMAGE) is None


def test_a_second_look_on_the_same_day_writes_nothing(folder: Path) -> None:
    fill(folder)
    before = (folder / FILE).read_bytes(), (folder / FILE).stat().st_mtime_ns
    assert found(folder)[0] == MEASURE
    assert before == ((folder / FILE).read_bytes(), (folder / FILE).stat().st_mtime_ns)


def test_a_measure_too_long_to_keep_is_not_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "_LONGEST", 100)
    fill(folder)
    monkeypatch.undo()
    assert found(folder) == (None, None)
