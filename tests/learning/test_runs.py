"""A run on disk: what was written is read, and what somebody changed is told in one sentence."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from toys import TEACHER

from threecad import __version__
from threecad.errors import ConfigError, LayoutError, ReadError, ThreecadError
from threecad.learning import runs, weights
from threecad.learning.config import Recipe
from threecad.learning.model import Cfrg, backbone
from threecad.learning.runs import Contents, Cut, Run, Threshold, Trained, writing

SETTINGS = {"data": {"size": 64}, "model": {"teacher": TEACHER, "student": "test_efficientnet"}}
LIMIT = Threshold(image=2.5, photograph=3.0, false_positive_rate=0.01, images=9, photographs=4, source="training")
CUT = Cut(slice_size=512, overlap_ratio=0.2, edge="shift")


def trained(name: str, *categories: str) -> Trained:
    return Trained(name=name, categories=categories or (name,), folder=name, images=5, seconds=2.0)


def made(root: Path, *models: Trained, **settings: Any) -> tuple[Run, dict[str, Cfrg]]:
    """A run of random networks, and these."""
    recipe = Recipe.model_validate(SETTINGS | settings)
    networks: dict[str, Cfrg] = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        teacher = backbone(TEACHER)
        digest = runs.write_teacher(root, teacher)
        runs.write_recipe(root, recipe)
        for model in models or (trained("metal"),):
            networks[model.name] = Cfrg(recipe.model, teacher)
            runs.write_model(root / model.folder, networks[model.name])
            runs.write_json(root / model.folder / runs.THRESHOLD, LIMIT)
    contents = Contents(threecad=__version__, dataset="parts", cut=CUT, teacher=digest, models=models or (trained("metal"),))
    runs.write_json(root / runs.RUN, contents)
    return Run(root), networks


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs") / "run"
    made(root)
    return root


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Run:
    """One of its own for each test, to be damaged."""
    return Run(shutil.copytree(whole, tmp_path / "run"))


def change(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


# What was written is read


def test_a_run_reads_as_it_was_written(tmp_path: Path) -> None:
    run, networks = made(tmp_path / "run", trained("glass"), trained("metal"))
    assert run.recipe == Recipe.model_validate(SETTINGS)
    assert run.contents.models == (trained("glass"), trained("metal"))
    assert (run.contents.cut, run.contents.dataset) == (CUT, "parts")
    assert run.threshold(run.model("glass")) == LIMIT
    for name, network in networks.items():
        read = run.detector(run.model(name)).network.state_dict()
        assert read.keys() == network.state_dict().keys()
        assert all(torch.equal(read[key], value) for key, value in network.state_dict().items())


def test_a_detector_is_ready_for_use(run: Run) -> None:
    detector = run.detector(run.model())
    assert not detector.training
    assert not any(module.training for module in detector.modules())
    assert detector.smooth.radius == 16


@pytest.mark.parametrize("model", [{"recovery": False}, {"segmentation": False}, {"hint": False}, {"heterogeneous": False}])
def test_so_does_one_of_an_ablation(tmp_path: Path, model: dict[str, Any]) -> None:
    run, networks = made(tmp_path, model=SETTINGS["model"] | model)
    read = run.detector(run.model()).network.state_dict()
    assert all(torch.equal(read[key], value) for key, value in networks["metal"].state_dict().items())


def test_a_model_holds_no_teacher_and_the_teacher_is_there_once(run: Run) -> None:
    held = load_file(run.root / "metal" / runs.MODEL)
    assert {key.split(".")[0] for key in held} == {"student", "adapters", "fusion", "recovery", "segmentation"}
    assert weights.digest(load_file(run.root / runs.TEACHER)) == run.contents.teacher


def test_the_same_run_is_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "other"):
        made(tmp_path / name)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*"))
    assert files
    assert all((tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes() for file in files)


def test_where_the_teachers_weights_lay_is_not_told(tmp_path: Path) -> None:
    run, _ = made(tmp_path, model=SETTINGS["model"] | {"teacher_weights": "home/anna/secret.pth"})
    assert "anna" not in (run.root / runs.RECIPE).read_text(encoding="utf-8")


# Which model


def test_a_model_is_found_by_its_category(tmp_path: Path) -> None:
    run, _ = made(tmp_path, trained("glass"), trained("metal"))
    assert run.model("metal").name == "metal"
    with pytest.raises(ConfigError, match=r"2 models; expected one of glass, metal \(--category\)"):
        run.model()
    with pytest.raises(ConfigError, match=r"no model of 'wood'; expected one of glass, metal"):
        run.model("wood")


def test_a_joint_model_is_that_of_each_of_its_categories(tmp_path: Path) -> None:
    run, _ = made(tmp_path, trained("joint", "glass", "metal"))
    assert run.model() == run.model("glass") == run.model("metal")


# What is not there, or was changed


def test_a_folder_without_a_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=r"holds no run\.json; expected the folder of a run of threecad train-cfrg"):
        Run(tmp_path)
    with pytest.raises(LayoutError, match=r"holds no run\.json"):
        Run(tmp_path / "missing")


def test_a_training_that_was_cut_off_is_told_as_such(tmp_path: Path) -> None:
    runs.write_recipe(tmp_path, Recipe())
    with pytest.raises(LayoutError, match="a training that is not finished; run the same threecad train-cfrg with --resume"):
        Run(tmp_path)


@pytest.mark.parametrize(
    "folder", ["../metal", "..", "/etc", "metal/../../x", ".hidden", "a/b", "a\\b", "", "C:", "metal\n", "Metal", "~root"]
)
def test_no_model_lies_outside_the_run(run: Run, folder: str) -> None:
    change(run.root / runs.RUN, models=[trained("metal").model_dump(mode="json") | {"folder": folder}])
    with pytest.raises(ReadError, match=r"run\.json: models\.0\.folder: String should match pattern"):
        Run(run.root)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "found format 2, this version of threecad reads up to 1"),
        ({"format": 2, "models": "elsewhere", "nodes": 3}, "found format 2, this version of threecad reads up to 1"),
        ({"format": "new"}, "format: Input should be a valid integer"),
        ({"models": []}, "models: Tuple should have at least 1 item"),
        ({"surprise": 1}, "surprise: Extra inputs are not permitted"),
        ({"cut": {"slice_size": 0, "overlap_ratio": 0.2, "edge": "shift"}}, "cut.slice_size: Input should be greater than"),
        ({"cut": {"slice_size": 64, "overlap_ratio": 1.0, "edge": "shift"}}, "cut.overlap_ratio: Input should be less than 1"),
        ({"cut": {"slice_size": 64, "overlap_ratio": 0.2, "edge": "ragged"}}, "cut.edge: Input should be 'shift'"),
    ],
)
def test_contents_that_are_not_ours_are_told(run: Run, changes: dict[str, Any], message: str) -> None:
    change(run.root / runs.RUN, **changes)
    with pytest.raises(ReadError) as refused:
        Run(run.root)
    assert str(refused.value).startswith(f"{run.root / runs.RUN}: {message}")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "[" * 100_000, '{"format": 1e999}', "\x00", "\udcff"])
def test_contents_that_are_no_json_of_ours_are_told(run: Run, text: str) -> None:
    (run.root / runs.RUN).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ReadError, match="expected a file that threecad train-cfrg wrote"):
        Run(run.root)


def test_contents_larger_than_any_are_not_read(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "_LARGEST_JSON", 100)
    with pytest.raises(ReadError, match="expected a file that threecad train-cfrg wrote"):
        Run(run.root)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_threshold_is_a_number(run: Run, value: float) -> None:
    """With NaN, no image would ever be defective."""
    path = run.root / "metal" / runs.THRESHOLD
    change(path, image=value)
    with pytest.raises(ReadError, match=r"threshold\.json: image: "):
        run.threshold(run.model())
    with pytest.raises(ValidationError):
        Threshold(**(LIMIT.model_dump() | {"photograph": value}))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders here")
def test_a_pipe_in_the_place_of_a_file_is_told_and_not_waited_for(run: Run) -> None:
    for name, read in ((runs.THRESHOLD, run.threshold), (runs.MODEL, run.detector)):
        path = run.root / "metal" / name
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(ReadError, match=f"{name}.*pipe or a device; expected"):
            read(run.model())


def test_files_that_are_missing_are_told(run: Run) -> None:
    (run.root / "metal" / runs.THRESHOLD).unlink()
    with pytest.raises(ReadError, match=r"threshold\.json: cannot be read \(No such file or directory\)"):
        run.threshold(run.model())
    (run.root / "metal" / runs.MODEL).unlink()
    with pytest.raises(ReadError, match=r"model\.safetensors: cannot be read"):
        run.detector(run.model())
    (run.root / runs.RECIPE).unlink()
    with pytest.raises(ConfigError, match=r"recipe\.toml: cannot be read"):
        Run(run.root)


def test_a_damaged_model_is_told(run: Run) -> None:
    path = run.root / "metal" / runs.MODEL
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ReadError, match=r"model\.safetensors: is damaged"):
        run.detector(run.model())


def test_another_teacher_is_told(run: Run) -> None:
    state = load_file(run.root / runs.TEACHER)
    save_file({key: value + 1 if value.is_floating_point() else value for key, value in state.items()}, run.root / runs.TEACHER)
    with pytest.raises(ReadError, match=r"not the teacher that this run was trained with; expected digest [0-9a-f]{12}…"):
        run.detector(run.model())


def test_a_model_cannot_bring_a_teacher_of_its_own(run: Run) -> None:
    path = run.root / "metal" / runs.MODEL
    held = load_file(path)
    theirs = load_file(run.root / runs.TEACHER)
    save_file({**held, **{f"teacher.{key}": torch.zeros_like(value) for key, value in theirs.items()}}, path)
    teacher = run.detector(run.model()).network.teacher.state_dict()
    assert weights.digest(teacher) == run.contents.teacher


@pytest.mark.parametrize(
    ("was", "becomes", "file"),
    [
        ('teacher = "test_resnet"', 'teacher = "test_efficientnet"', "teacher"),
        ('student = "test_efficientnet"', 'student = "test_resnet"', "model"),
        ("recovery = true", "recovery = false", "model"),
        ("segmentation = true", "segmentation = false", "model"),
    ],
)
def test_a_recipe_that_was_changed_by_hand_is_told(run: Run, was: str, becomes: str, file: str) -> None:
    path = run.root / runs.RECIPE
    text = path.read_text(encoding="utf-8")
    assert was in text
    path.write_text(text.replace(was, becomes), encoding="utf-8")
    with pytest.raises(ReadError, match=rf"{file}\.safetensors: is not of the settings in recipe\.toml \(") as refused:
        Run(run.root).detector(run.model())
    assert "\n" not in str(refused.value)


def test_a_recipe_with_a_setting_that_is_none_is_told(run: Run) -> None:
    with (run.root / runs.RECIPE).open("a", encoding="utf-8") as file:
        file.write("\n[trian]\nepochs = 3\n")
    with pytest.raises(ConfigError, match=r"recipe\.toml: trian is not a setting; did you mean train\?"):
        Run(run.root)


# Writing


def half_written(path: Path, error: Exception) -> None:
    with writing(path) as beside:
        beside.write_bytes(b"half")
        raise error


def test_what_is_written_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    with writing(path) as beside:
        beside.write_bytes(b"one")
        assert not path.exists()
    assert path.read_bytes() == b"one"
    with pytest.raises(KeyError):
        half_written(path, KeyError())
    assert path.read_bytes() == b"one"
    assert [each.name for each in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "No space left on device"),
        (RuntimeError("[enforce fail at inline_container.cc:671] . unexpected pos 64 vs 0"), "torch's writer failed"),
    ],
)
def test_a_full_disk_is_a_sentence_and_leaves_what_was(tmp_path: Path, error: Exception, why: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    with pytest.raises(ThreecadError, match=rf"file: cannot be written \({why}"):
        half_written(path, error)
    assert path.read_bytes() == b"before"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_any_other_error_while_writing_is_a_bug_and_stays_one(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="shapes"), writing(tmp_path / "file"):
        raise RuntimeError("shapes do not agree")


@pytest.mark.parametrize("step", ["write_model", "write_teacher", "write_json", "write_recipe"])
def test_every_file_of_a_run_is_written_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    teacher = backbone(TEACHER)
    network = Cfrg(Recipe.model_validate(SETTINGS).model, teacher)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ThreecadError, match=r"cannot be written \(No space left on device\)"):
        {
            "write_model": lambda: runs.write_model(tmp_path, network),
            "write_teacher": lambda: runs.write_teacher(tmp_path, teacher),
            "write_json": lambda: runs.write_json(tmp_path / "a.json", LIMIT),
            "write_recipe": lambda: runs.write_recipe(tmp_path, Recipe()),
        }[step]()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX permissions")
def test_files_may_be_read_by_whom_the_umask_lets(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        runs.write_teacher(tmp_path, backbone(TEACHER))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / runs.TEACHER).stat().st_mode) == 0o644
