"""`threecad train-cfrg` as a person meets it: where a run goes, what is printed, how a mistake ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from toys import TEACHER

from threecad.cli import main
from threecad.cli.learning import free

DONE, USAGE = 0, 2
SMALL = ("--epochs", "1", "--batch-size", "4", "--devices", "cpu", "--set", "data.size=64")


@pytest.fixture
def parts(drawn: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    root = drawn(train=4, good=1, scratches=1)
    monkeypatch.chdir(root.parent)
    return root


def train(*words: object) -> Result:
    return CliRunner().invoke(main, ["train-cfrg", "parts", *SMALL, *map(str, words)], catch_exceptions=False)


def test_a_run_goes_where_none_is_and_the_next_commands_are_told(parts: Path, teacher_file: Path) -> None:
    teacher = ("--teacher", TEACHER, "--teacher-weights", teacher_file)
    without = train("--teacher", TEACHER, "--teacher-weights", "nowhere.pth")
    assert (without.exit_code, without.stdout) == (USAGE, "")
    said = f"threecad: nowhere.pth: no such file; expected the weights of {TEACHER} (--teacher-weights)"
    assert without.stderr.splitlines()[-1] == said
    folder = train("--teacher", TEACHER, "--teacher-weights", parts)
    assert (folder.exit_code, folder.stdout) == (USAGE, "")
    assert "parts: a folder; expected the weights of" in folder.stderr.splitlines()[-1]

    done = train(*teacher)
    assert done.exit_code == DONE, done.stderr
    assert done.stdout.startswith("metal: 4 images, ")
    assert done.stdout.endswith(
        "runs/parts · next: threecad evaluate runs/parts parts · threecad predict runs/parts PHOTOGRAPHS/ OUT/\n"
    )
    assert "epoch 1/1" in done.stderr

    again = train(*teacher, "--json")
    told = json.loads(again.stdout)
    assert (told["run"], [model["name"] for model in told["models"]]) == ("runs/parts-2", ["metal"])


def test_the_first_name_without_a_training_is_free_and_the_last_with_one_goes_on(tmp_path: Path) -> None:
    assert free(tmp_path, "a", resume=False) == free(tmp_path, "a", resume=True) == tmp_path / "a"
    (tmp_path / "a").mkdir()
    (tmp_path / "a/.threecad-run").touch()
    assert free(tmp_path, "a", resume=False) == tmp_path / "a", "a training that never began left its mark alone"
    (tmp_path / "a/recipe.toml").touch()
    (tmp_path / "a-2").write_text("a file")
    (tmp_path / "a-3").symlink_to("nowhere")
    assert free(tmp_path, "a", resume=False) == tmp_path / "a-4"
    (tmp_path / "a-2").unlink()
    assert free(tmp_path, "a", resume=True) == tmp_path / "a"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--set", "epochs=2"), "found --set 'epochs=2'; expected SECTION.KEY=VALUE such as model.recovery=false"),
        (("--set", "train.epoch=2"), "train.epoch is not a setting; did you mean epochs?"),
        (("--category", "glass"), "glass"),
        (("--textures", "nowhere"), "nowhere"),
        (("--pipeline", "smoke"), "no recipe named 'smoke'"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_no_folder(parts: Path, words: tuple[str, ...], sentence: str) -> None:
    done = train(*words)
    assert (done.exit_code, done.stdout) == (USAGE, "")
    assert sentence in done.stderr.splitlines()[-1]
    assert not Path("runs").exists()
