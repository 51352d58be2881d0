"""The page and the card of a data set are those of the data set as it stands."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from threecad.cli import main
from threecad.errors import BusyError, LayoutError
from threecad.pipeline import companions
from threecad.pipeline.store import locked


@pytest.fixture
def raw(tmp_path: Path, examples: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(examples / "glass", tmp_path / "raw" / "glass")
    return tmp_path / "raw"


def convert(*more: str) -> Result:
    return CliRunner().invoke(main, ["convert", "raw", "out", "--pipeline", "smoke", *more])


def relabel(raw: Path, label: str) -> None:
    file = next(path for path in sorted((raw / "glass").rglob("*.json")) if json.loads(path.read_bytes())["shapes"])
    text = json.loads(file.read_bytes())
    text["shapes"][0]["label"] = label
    file.write_text(json.dumps(text))


def told(label: str) -> dict[str, bool]:
    names = ("report.html", "dataset_card.md", "metadata.jsonl")
    return {name: label in (Path("out") / name).read_text(encoding="utf-8") for name in names}


def test_a_run_without_a_report_leaves_the_next_one_to_write_it(raw: Path) -> None:
    convert()
    relabel(raw, "freckle")
    convert("--no-report")
    assert not any(told("freckle").values())
    assert "Nothing to do" in convert().stdout
    assert all(told("freckle").values())


def test_a_report_that_was_interrupted_is_written_by_the_next_run(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    convert()
    relabel(raw, "freckle")
    with monkeypatch.context() as patch:

        def interrupted(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(companions, "report", interrupted)
        assert convert().exit_code == 130
    convert()
    assert all(told("freckle").values())


def test_what_is_in_step_is_not_written_again(raw: Path) -> None:
    convert()
    before = {path: path.stat().st_mtime_ns for path in Path("out").iterdir() if path.is_file()}
    convert()
    assert {path: path.stat().st_mtime_ns for path in Path("out").iterdir() if path.is_file()} == before


def test_somebody_elses_page_is_told_before_any_work(raw: Path) -> None:
    Path("out").mkdir()
    (Path("out") / "report.html").write_text("<html>minutes")
    with pytest.raises(LayoutError, match="--no-report"):
        companions.refuse_foreign_page(Path("out"))
    result = convert("--overwrite")
    assert result.exit_code == 2
    assert not (Path("out") / "manifest.json").exists()
    assert convert("--overwrite", "--no-report").exit_code == 0
    assert (Path("out") / "report.html").read_text() == "<html>minutes"


def test_no_report_means_no_card_either(raw: Path) -> None:
    convert("--no-report")
    assert not {"report.html", "dataset_card.md", "croissant.json", "metadata.jsonl"} & {
        path.name for path in Path("out").iterdir()
    }


def test_of_two_runs_that_end_at_once_one_writes_the_page_and_the_card(raw: Path) -> None:
    convert("--no-report")
    with locked(Path("out")), pytest.raises(BusyError):
        companions.accompany(Path("out"))
    assert not (Path("out") / "dataset_card.md").exists()
    companions.accompany(Path("out"))
    assert (Path("out") / "dataset_card.md").exists()
