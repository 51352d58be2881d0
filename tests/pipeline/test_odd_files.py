"""Where a list of a data set should be lies a pipe, a device or a link: every command says so, and none waits."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from photographs import SMALL, photograph, put, square

from threecad.cli import main
from threecad.formats import regular
from threecad.pipeline.config import dump
from threecad.pipeline.convert import convert

pytestmark = [
    pytest.mark.timeout(120),  # who opens a pipe waits for ever
    pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders here"),
]

LISTS = ("manifest.json", "samples.jsonl", "SHA256SUMS", "decisions.json", "cases.jsonl")
MEMORY = ("state.jsonl", "journal.jsonl", "moves.jsonl", "decisions.json", "finished", "raw", "lock", "staging")
READING = ("stats", "card", "audit", "report")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    put(folder / "raw", "part/a.png", photograph(1), [square("dent", 40, 40, 30)])
    put(folder / "raw", "part/b.png", photograph(2), [])
    (folder / "small.toml").write_text(dump(SMALL))
    convert(folder / "raw", folder / "out", SMALL)
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "copy"))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)), catch_exceptions=False)


def again(place: Path) -> Result:
    return run("convert", place / "raw", place / "out", "--pipeline", place / "small.toml", "--no-report")


def put_odd(kind: str, path: Path) -> None:
    path.unlink(missing_ok=True) if not path.is_dir() else shutil.rmtree(path)
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(os.devnull if kind == "null" else "/dev/zero")


def test_what_is_untouched_is_converted_again(place: Path) -> None:
    assert again(place).exit_code == 0


@pytest.mark.parametrize("kind", ["pipe", "zero"])
@pytest.mark.parametrize("name", [*LISTS, *(f".threecad/{name}" for name in MEMORY)])
def test_convert_refuses_what_is_no_file_of_its_own(place: Path, name: str, kind: str) -> None:
    put_odd(kind, place / "out" / name)
    result = again(place)
    assert (result.exit_code, result.output.count("\n")) == (2, 1), result.output
    assert f"{name}: found a " in result.output
    assert "expected a file that threecad wrote" in result.output


@pytest.mark.parametrize("command", READING)
@pytest.mark.parametrize(("name", "kind"), [("samples.jsonl", "pipe"), ("samples.jsonl", "zero"), ("manifest.json", "zero")])
def test_commands_that_read_do_not_wait(place: Path, command: str, name: str, kind: str) -> None:
    put_odd(kind, place / "out" / name)
    result = run(command, place / "out")
    assert result.exit_code in (1, 2)
    said = "is not finished" if name == "manifest.json" else "samples.jsonl: found a pipe or a device; expected a file"
    assert said in result.output


def test_lists_may_be_links_to_files(place: Path) -> None:
    """As programs that keep versions of data leave them."""
    for name in LISTS[:3]:
        (place / "out" / name).rename(place / f"kept-{name}")
        (place / "out" / name).symlink_to(place / f"kept-{name}")
    assert again(place).exit_code == 0


def test_the_memory_of_a_run_is_no_link(place: Path) -> None:
    (place / "out" / ".threecad").rename(place / "elsewhere")
    (place / "out" / ".threecad").symlink_to(place / "elsewhere")
    before = {path: path.stat().st_mtime_ns for path in (place / "elsewhere").rglob("*")}
    for more in ((), ("--overwrite",)):
        result = run("convert", place / "raw", place / "out", "--pipeline", place / "small.toml", "--no-report", *more)
        assert result.exit_code == 2
        assert ".threecad is a link; expected a folder that threecad made" in result.output
    assert {path: path.stat().st_mtime_ns for path in (place / "elsewhere").rglob("*")} == before


@pytest.mark.parametrize("card", [{"evil": 1}, [1], "x", {"name": 7}])
@pytest.mark.parametrize("command", [("card",), ("export", "--to", "parquet"), ("stats",)])
def test_a_manifest_whose_card_is_none_ends_in_a_sentence(place: Path, command: tuple[str, ...], card: object) -> None:
    path = place / "out" / "manifest.json"
    manifest = json.loads(path.read_text("utf-8"))
    manifest["pipeline"]["card"] = card
    path.write_text(json.dumps(manifest), "utf-8")
    more = [place / "exported"] if command[0] == "export" else []
    result = run(command[0], place / "out", *more, *command[1:])
    if command[0] == "stats":
        assert result.exit_code in (0, 3), "it needs a name at most"
    else:
        assert result.exit_code == 1
        assert "pipeline.card" in result.output


def test_rows_of_a_category_that_the_manifest_does_not_have_end_in_a_sentence(place: Path) -> None:
    path = place / "out" / "manifest.json"
    manifest = json.loads(path.read_text("utf-8"))
    manifest["categories"] = {}
    path.write_text(json.dumps(manifest), "utf-8")
    result = run("export", place / "out", place / "exported", "--to", "webdataset")
    assert result.exit_code == 1
    assert "samples.jsonl: found category 'part', which manifest.json does not have" in result.output


def test_the_card_shows_no_sign_that_a_terminal_or_a_page_would_obey(tmp_path: Path) -> None:
    """Labels and folders are anybody's."""
    labels = ["\x1b[2Jx", "\u202egnp", "$x^2$", "<script>alert(1)</script>", "a|b`c`", "new\nline", "&lt;b&gt;"]
    shapes = [square(label, 10 + 25 * number, 20, 20) for number, label in enumerate(labels)]
    put(tmp_path / "raw", "=cat|\x1b[31m/a.png", photograph(1), shapes)
    put(tmp_path / "raw", "=cat|\x1b[31m/good/b.png", photograph(2))
    convert(tmp_path / "raw", tmp_path / "out", SMALL)
    assert run("card", tmp_path / "out").exit_code == 0
    text = (tmp_path / "out" / "dataset_card.md").read_text("utf-8")
    assert all(char.isprintable() or char == "\n" for char in text)
    assert "<script>" not in text
    rows = [line for line in text.splitlines() if line.startswith("| =cat")]
    assert len(rows) == 1 + len(labels)
    assert {row.replace("\\|", "").count("|") for row in rows} == {4, 8}


@pytest.mark.parametrize("command", READING)
def test_a_line_longer_than_any_row_is_told_before_it_is_parsed(
    place: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(regular, "MOST_OF_A_LINE", 1 << 20)
    with (place / "out" / "samples.jsonl").open("ab") as file:
        file.write(b'{"id": "' + b"x" * (1 << 20) + b'"}\n')
    result = run(command, place / "out")
    assert result.exit_code == 1
    assert "is longer than 1 MB" in result.output
