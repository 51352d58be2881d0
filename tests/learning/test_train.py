"""Training: what comes out is a run that works, whatever happens on the way."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from toys import TEACHER, fit_and_die, fit_with_a_number_lost, scratched, surface, write

from threecad.errors import BusyError, ConfigError, LayoutError, ReadError, ThreecadError
from threecad.learning import cache, export, home, loop, plan, runs, weights
from threecad.learning import evaluate as evaluation
from threecad.learning import train as training
from threecad.learning.config import Recipe, override
from threecad.learning.evaluate import evaluate
from threecad.learning.home import DONE
from threecad.learning.model import Cfrg
from threecad.learning.runs import Run
from threecad.learning.train import folders, train
from threecad.metrics import Meter

Drawn = Callable[..., Path]


@pytest.fixture
def recipe(teacher_file: Path) -> Recipe:
    changes = {
        "data.size": 64,
        "data.validation": 0.34,
        "model.teacher": TEACHER,
        "model.teacher_weights": str(teacher_file),
        "model.student": TEACHER,
        "train.epochs": 2,
        "train.batch_size": 4,
        "train.checkpoint_minutes": 0.0,
    }
    return override(Recipe(), changes)


def bytes_of(run: Path, model: str = "metal") -> bytes:
    return (run / model / "model.safetensors").read_bytes()


def test_a_run_holds_the_recipe_the_model_its_threshold_and_a_row_an_epoch(drawn: Drawn, recipe: Recipe, tmp_path: Path) -> None:
    seen: list[loop.Progress] = []
    done = train(drawn(), tmp_path / "run", recipe, progress=seen.append)
    assert done.recipe.train == recipe.train
    assert done.recipe.model.teacher_weights is None
    assert str(tmp_path) not in "".join(
        path.read_text("utf-8") for path in (tmp_path / "run").glob("*.*") if path.suffix != ".safetensors"
    )
    assert [model.name for model in done.contents.models] == ["metal"]
    assert done.contents.models[0].images == 4
    limit = done.threshold(done.model())
    assert (limit.images, limit.source) == (2, "validation")
    rows = list(csv.DictReader((tmp_path / "run" / "metal" / "log.csv").read_text("utf-8").splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert all(float(row[part]) > 0 for row in rows for part in loop.PARTS)
    assert not list((tmp_path / "run").rglob("state.pt"))
    assert not list((tmp_path / "run").rglob(DONE))
    assert (seen[-1].epoch, seen[-1].done, seen[-1].total) == (2, 4, 4)


def test_four_images_are_learnt_in_seconds_and_a_painted_scratch_is_found(drawn: Drawn, recipe: Recipe, tmp_path: Path) -> None:
    root = drawn(train=4, good=2, scratches=2)
    changes = {"data.validation": 0.0, "train.epochs": 60, "train.learning_rate": 2e-3, "score.sigma": 1.0}
    done = train(root, tmp_path / "run", override(recipe, changes))
    detector = done.detector(done.model())
    meter = Meter()
    for index in range(4):
        pixels, mask = scratched(surface(index, 64), index)
        with torch.inference_mode():
            said = detector(torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255)
        meter.update(said.map_BHW, mask[None])
    found = meter.compute().pixel_auroc
    assert found is not None
    assert float(found) > 0.9


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(drawn: Drawn, recipe: Recipe, tmp_path: Path) -> None:
    root = drawn()
    for name in ("one", "other"):
        train(root, tmp_path / name, recipe)
    train(root, tmp_path / "third", override(recipe, {"train.seed": 1}))
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "other")
    assert bytes_of(tmp_path / "one") != bytes_of(tmp_path / "third")


def test_training_leaves_the_random_state_of_others_alone(drawn: Drawn, recipe: Recipe, tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    train(drawn(), tmp_path / "run", override(recipe, {"train.epochs": 1}))
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_training_that_was_killed_goes_on_to_the_same_bytes(drawn: Drawn, recipe: Recipe, tmp_path: Path) -> None:
    from threecad.pipeline import config

    root = drawn()
    longer = override(recipe, {"train.epochs": 12})
    file = tmp_path / "recipe.toml"
    file.write_text(config.dump(longer), "utf-8")
    train(root, tmp_path / "whole", longer)
    command = [sys.executable, "-m", "threecad", "train-cfrg", str(root), "--pipeline", str(file), "--run", str(tmp_path / "cut")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([*command, "--devices", "cpu"], env=environment, stderr=subprocess.PIPE, text=True) as process:
        state = tmp_path / "cut" / "metal" / "state.pt"
        for _ in range(1200):
            if state.exists() or process.poll() is not None:
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert state.is_file()
    assert not (tmp_path / "cut" / "run.json").exists()
    with pytest.raises(LayoutError, match="--resume"):
        Run(tmp_path / "cut")
    with pytest.raises(ConfigError, match="cut off; go on with --resume"):
        train(root, tmp_path / "cut", longer)
    train(root, tmp_path / "cut", longer, resume=True)
    assert bytes_of(tmp_path / "cut") == bytes_of(tmp_path / "whole")
    assert (tmp_path / "cut" / "metal" / "threshold.json").read_bytes() == (
        tmp_path / "whole" / "metal" / "threshold.json"
    ).read_bytes()


class _Cut(Exception):
    """Stands for a kill between two epochs."""


def cut_off(monkeypatch: pytest.MonkeyPatch, root: Path, run: Path, recipe: Recipe, *, epochs: int) -> None:
    """Train, and fall once the state after so many epochs is written."""
    write_state = loop.checkpoints.write

    def write_and_fall(folder: Path, state: Any, mark: Any) -> None:
        write_state(folder, state, mark)
        if state.epoch == epochs:
            raise _Cut

    with monkeypatch.context() as patch:
        patch.setattr(loop.checkpoints, "write", write_and_fall)
        with pytest.raises(_Cut):
            train(root, run, recipe)


def test_the_best_epoch_is_kept_across_an_interruption(
    drawn: Drawn, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = drawn(train=9)
    best = override(recipe, {"train.keep": "best", "train.epochs": 5})
    train(root, tmp_path / "whole", best)
    cut_off(monkeypatch, root, tmp_path / "cut", best, epochs=2)
    train(root, tmp_path / "cut", best, resume=True)
    assert bytes_of(tmp_path / "cut") == bytes_of(tmp_path / "whole")
    rows = list(csv.DictReader((tmp_path / "cut" / "metal" / "log.csv").read_text("utf-8").splitlines()))
    assert all(0 <= float(row["validation_ap"]) <= 1 for row in rows)


def test_going_on_with_other_settings_is_refused_by_name(
    drawn: Drawn, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = drawn()
    cut_off(monkeypatch, root, tmp_path / "run", recipe, epochs=1)
    with pytest.raises(ConfigError, match=r"begun with train\.batch_size = 4, found 3"):
        train(root, tmp_path / "run", override(recipe, {"train.batch_size": 3}), resume=True)
    write(root / "metal" / "train" / "good" / "new.png", surface(99))
    with pytest.raises(ConfigError, match="begun with other images"):
        train(root, tmp_path / "run", recipe, resume=True)


def test_a_damaged_state_is_a_sentence(drawn: Drawn, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = drawn()
    cut_off(monkeypatch, root, tmp_path / "run", recipe, epochs=1)
    state = tmp_path / "run" / "metal" / "state.pt"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(ReadError, match="is damaged"):
        train(root, tmp_path / "run", recipe, resume=True)


def test_what_is_in_the_way_is_named_and_never_deleted(drawn: Drawn, recipe: Recipe, tmp_path: Path) -> None:
    root = drawn()
    quick = override(recipe, {"train.epochs": 1})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(ConfigError, match=r"not of a run, such as thesis\.txt"):
            train(root, tmp_path / "mine", quick, overwrite=overwrite)
    train(root, tmp_path / "run", quick)
    (tmp_path / "run" / "notes").mkdir()
    (tmp_path / "run" / "notes" / "a.txt").write_text("mine")
    with pytest.raises(ConfigError, match="finished run"):
        train(root, tmp_path / "run", quick)
    train(root, tmp_path / "run", override(quick, {"train.seed": 3}), overwrite=True)
    assert (tmp_path / "run" / "notes" / "a.txt").read_text() == "mine"
    assert Run(tmp_path / "run").recipe.train.seed == 3


def test_nothing_of_a_former_run_is_deleted_before_its_successor_can_begin(drawn: Drawn, recipe: Recipe, tmp_path: Path) -> None:
    root, quick = drawn(), override(recipe, {"train.epochs": 1})
    train(root, tmp_path / "run", quick)
    before = bytes_of(tmp_path / "run")
    with pytest.raises(ConfigError, match=r"nope\.pth: no such file"):
        train(root, tmp_path / "run", override(quick, {"model.teacher_weights": "nope.pth"}), overwrite=True)
    with pytest.raises(ConfigError, match="nope"):
        train(root, tmp_path / "run", quick, textures=tmp_path / "nope", overwrite=True)
    assert bytes_of(tmp_path / "run") == before
    assert Run(tmp_path / "run").models


def test_a_folder_whose_names_only_look_like_a_runs_is_somebody_elses(drawn: Drawn, recipe: Recipe, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    (mine / "results").mkdir(parents=True)
    for name in ("recipe.toml", "results/log.csv", "results/thesis.txt"):
        (mine / name).write_text("mine")
    with pytest.raises(ConfigError, match="not of a run"):
        train(drawn(), mine, recipe, overwrite=True)
    assert {path.read_text() for path in mine.rglob("*") if path.is_file()} == {"mine"}


def test_overwriting_leaves_a_strangers_file_in_a_models_folder(drawn: Drawn, recipe: Recipe, tmp_path: Path) -> None:
    root, quick, told = drawn(), override(recipe, {"train.epochs": 1}), []
    train(root, tmp_path / "run", quick)
    (tmp_path / "run" / "metal" / "notes.txt").write_text("mine")
    train(root, tmp_path / "run", quick, overwrite=True, note=told.append)
    assert (tmp_path / "run" / "metal" / "notes.txt").read_text() == "mine"
    assert any("left there, and not of this run: metal" in text for text in told)


def test_overwriting_clears_what_was_found_out_with_the_former_model_and_nothing_else(
    drawn: Drawn, recipe: Recipe, tmp_path: Path
) -> None:
    root, quick, told = drawn(scratches=1, good=1), override(recipe, {"train.epochs": 1}), []
    done = train(root, tmp_path / "run", quick)
    results, exports = tmp_path / "run" / "evaluation", tmp_path / "run" / "export"
    found = evaluate(done, root, maps=results / "maps", device="cpu")
    evaluation.write(found, results / "parts")
    runs.write_json(exports / "metal.json", export.card(done, done.model()))
    (exports / "metal.onnx").write_bytes(b"a model")
    assert len([path for path in results.rglob("*") if path.is_file()]) > 8
    theirs = {
        **{results / name: b"mine" for name in ("notes.txt", "parts/thesis.tex", "maps/metal/test/sketch.png")},
        **{results / name: b"{}" for name in ("other/metrics.json", "other/images.jsonl")},
        **{exports / name: b"{}" for name in ("line.json", "line.onnx")},
    }
    for path, content in theirs.items():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    train(root, tmp_path / "run", override(quick, {"train.seed": 3}), overwrite=True, note=told.append)
    left = {path for folder in (results, exports) for path in folder.rglob("*") if path.is_file()}
    assert left == set(theirs)
    assert all(path.read_bytes() == content for path, content in theirs.items())
    assert any("left there, and not of this run: evaluation, export" in text for text in told)


def test_overwriting_leaves_no_folder_of_the_former_run(drawn: Drawn, recipe: Recipe, tmp_path: Path) -> None:
    root, quick, told = drawn("glass", "metal", scratches=1, good=1), override(recipe, {"train.epochs": 1}), []
    done = train(root, tmp_path / "run", quick)
    evaluation.write(evaluate(done, root, cases=False, device="cpu"), tmp_path / "run" / "evaluation" / "parts", figures=False)
    runs.write_json(tmp_path / "run" / "export" / "metal.json", export.card(done, done.model("metal")))
    (tmp_path / "run" / "glass" / ".model.safetensors.new").write_bytes(b"half of it, for the process was killed")
    train(root, tmp_path / "run", quick, categories=["metal"], overwrite=True, note=told.append)
    assert sorted(path.name for path in (tmp_path / "run").iterdir() if path.is_dir()) == ["metal"]
    assert not any("left there" in text for text in told)


def test_a_link_in_the_folder_of_a_run_is_not_followed(drawn: Drawn, recipe: Recipe, tmp_path: Path) -> None:
    root, quick = drawn(scratches=1, good=1), override(recipe, {"train.epochs": 1})
    done = train(root, tmp_path / "run", quick)
    evaluation.write(evaluate(done, root, cases=False, device="cpu"), tmp_path / "elsewhere" / "parts", figures=False)
    (tmp_path / "run" / "evaluation").mkdir()
    for name in ("run/evaluation/link", "run/export"):
        (tmp_path / name).symlink_to(tmp_path / "elsewhere" / "parts")
    train(root, tmp_path / "run", quick, overwrite=True)
    assert (tmp_path / "elsewhere" / "parts" / "metrics.json").is_file()


def test_overwriting_a_training_that_was_cut_off_may_change_its_settings(
    drawn: Drawn, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = drawn()
    cut_off(monkeypatch, root, tmp_path / "run", recipe, epochs=1)
    done = train(root, tmp_path / "run", override(recipe, {"train.epochs": 1}), overwrite=True)
    assert done.recipe.train.epochs == 1


def test_resuming_where_there_is_nothing_begins_and_says_so(drawn: Drawn, recipe: Recipe, tmp_path: Path) -> None:
    told: list[str] = []
    train(drawn(), tmp_path / "run", override(recipe, {"train.epochs": 1}), resume=True, note=told.append)
    assert f"{tmp_path / 'run'}: holds no training to go on with (--resume), so this one begins" in told


def test_resume_and_overwrite_are_not_both_possible(drawn: Drawn, recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--resume and --overwrite together"):
        train(drawn(), tmp_path / "run", recipe, resume=True, overwrite=True)


def test_two_trainings_cannot_hold_one_folder(drawn: Drawn, recipe: Recipe, tmp_path: Path) -> None:
    with home.hold(tmp_path / "run", resume=False, overwrite=False), pytest.raises(BusyError, match="another training"):
        train(drawn(), tmp_path / "run", recipe)


def test_a_model_that_was_finished_with_other_settings_is_not_taken(
    drawn: Drawn, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = drawn("glass", "metal")
    real = training._train

    def falls(task: Any, *args: Any) -> Any:
        if task.plan.name == "metal":
            raise _Cut
        return real(task, *args)

    with monkeypatch.context() as patch:
        patch.setattr(training, "_train", falls)
        with pytest.raises(_Cut):
            train(root, tmp_path / "run", recipe)
    assert (tmp_path / "run" / "glass" / DONE).is_file()
    with pytest.raises(ConfigError, match=r"begun with train\.epochs = 2, found 3"):
        train(root, tmp_path / "run", override(recipe, {"train.epochs": 3}), resume=True)
    with pytest.raises(ConfigError, match="begun with other images"):
        train(root, tmp_path / "run", recipe, categories=["glass"], resume=True)
    assert sorted(train(root, tmp_path / "run", recipe, resume=True).models) == ["glass", "metal"]


def test_a_model_that_ran_away_in_its_last_step_is_no_run(drawn: Drawn, recipe: Recipe, tmp_path: Path) -> None:
    wild = override(recipe, {"train.epochs": 1, "train.learning_rate": 1e30, "train.batch_size": 32})
    with pytest.raises(ThreecadError, match="no finite number"):
        train(drawn(), tmp_path / "run", wild)
    assert not (tmp_path / "run" / "run.json").exists()


@pytest.mark.parametrize(
    ("happens", "message"),
    [
        (fit_with_a_number_lost, r"metal: a \w+ loss is no finite number in epoch 1"),
        (fit_and_die, "metal: a device's process ended or fell silent without a word.*--resume"),
    ],
)
def test_what_happens_to_one_of_two_devices_ends_both_in_one_sentence(
    happens: Any, message: str, drawn: Drawn, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_fit_there", happens)
    with pytest.raises(ThreecadError, match=message):
        train(drawn(), tmp_path / "run", recipe, device="cpu:2")
    assert not multiprocessing.active_children()
    assert not (tmp_path / "run" / "run.json").exists()


def test_the_first_mistake_of_several_trainings_does_not_wait_for_the_others() -> None:
    going: Future[int] = Future()
    failed: Future[int] = Future()
    failed.set_exception(ReadError("broken"))
    with pytest.raises(ReadError, match="broken"):
        training._results([going, failed], queue.Queue(), None, print)


def test_nor_is_one_the_best_whose_scores_are_no_numbers(drawn: Drawn, recipe: Recipe, tmp_path: Path) -> None:
    changes = {"train.epochs": 1, "train.learning_rate": 1e30, "train.batch_size": 32, "train.keep": "best"}
    with pytest.raises(ThreecadError, match="metal: a score is no finite number in epoch 1"):
        train(drawn(), tmp_path / "run", override(recipe, changes))


def test_one_image_is_enough_to_train(drawn: Drawn, recipe: Recipe, tmp_path: Path) -> None:
    told: list[str] = []
    done = train(drawn(train=1), tmp_path / "run", recipe, note=told.append)
    assert done.threshold(done.model()).source == "training"
    assert "metal: a single image trains." in told
    assert (
        "metal: the threshold rests on 1 good image that trained the model, which promises nothing: new ones score higher; "
        "1 % was asked for (data.validation)"
    ) in told


def test_a_threshold_says_what_the_images_held_out_can_promise(drawn: Drawn, recipe: Recipe, tmp_path: Path) -> None:
    told: list[str] = []
    few = override(recipe, {"train.epochs": 1, "data.validation": 0.2})
    done = train(drawn(train=5), tmp_path / "run", few, note=told.append)
    assert (done.threshold(done.model()).images, done.threshold(done.model()).source) == (1, "validation")
    assert (
        "metal: the threshold rests on 1 good image, which promises only that at most 50 % of good ones are taken for defective; "
        "1 % was asked for (data.validation)"
    ) in told


def test_without_a_good_image_there_is_nothing_to_train(drawn: Drawn, recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="good"):
        train(drawn(train=0), tmp_path / "run", recipe)
    assert not (tmp_path / "run").exists()


def test_textures_that_are_missing_are_named(drawn: Drawn, recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="dtd"):
        train(drawn(), tmp_path / "run", recipe, textures=tmp_path / "dtd")


def test_a_loss_that_is_no_number_is_a_sentence(
    drawn: Drawn, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = loop.paint

    def broken(*args: Any, **kwargs: Any) -> Any:
        painted = real(*args, **kwargs)
        return type(painted)(painted.images_B3HW * float("nan"), painted.masks_B1HW)

    monkeypatch.setattr(loop, "paint", broken)
    with pytest.raises(ThreecadError, match=r"metal: a \w+ loss is no finite number in epoch 1.*learning_rate"):
        train(drawn(), tmp_path / "run", recipe)


def test_too_little_memory_is_a_sentence(drawn: Drawn, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **kwargs: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(loop, "paint", full)
    with pytest.raises(ThreecadError, match=r"too small for train\.batch_size \(--batch-size\) = 4; try 2"):
        train(drawn(), tmp_path / "run", recipe)


def test_no_weights_are_a_sentence_and_never_random_ones(
    drawn: Drawn, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(name: str, *, pretrained: bool = False) -> Any:
        assert pretrained
        raise FileNotFoundError("An error happened while trying to locate the file on the Hub")

    monkeypatch.setattr(weights, "backbone", unreachable)
    tree = recipe.model_dump()
    tree["model"]["teacher_weights"] = None
    with pytest.raises(ConfigError, match=r"no ImageNet weights for test_resnet: the hub is out of reach.*--teacher-weights"):
        train(drawn(), tmp_path / "run", Recipe.model_validate(tree))


@pytest.mark.parametrize("keep", ["last", "best"])
def test_normalised_maps_have_mean_zero_and_deviation_one_on_the_good_images_held_out(
    keep: str, drawn: Drawn, recipe: Recipe, tmp_path: Path
) -> None:
    root = drawn()
    plain = train(root, tmp_path / "plain", override(recipe, {"train.keep": keep}))
    assert plain.threshold(plain.model()).spreads == ()
    changes = {"score.normalise": True, "train.keep": keep}
    done = train(root, tmp_path / "run", override(recipe, changes))
    if keep == "last":
        assert bytes_of(tmp_path / "run") == bytes_of(tmp_path / "plain"), "how maps are added changes no model"
    detector = done.detector(done.model())
    held = plan.plan(root, done.recipe.data, seed=0)[0][0].validation
    squares = cache.squares(held, done.recipe.data, cache.home(), workers=1)
    with torch.inference_mode():
        parts = detector.parts(torch.from_numpy(np.array(squares.pixels)).permute(0, 3, 1, 2).float() / 255)
        for part, (mean, deviation) in zip(parts, detector.spreads_P2.tolist(), strict=True):
            scaled = (detector.smooth(part) - mean) / deviation
            assert float(scaled.mean()) == pytest.approx(0, abs=1e-4)
            assert float(scaled.std(correction=0)) == pytest.approx(1, abs=1e-4)


def test_spreads_of_another_number_of_maps_are_a_damaged_run(drawn: Drawn, recipe: Recipe, tmp_path: Path) -> None:
    train(drawn(), tmp_path / "run", override(recipe, {"score.normalise": True}))
    path = tmp_path / "run" / "metal" / runs.THRESHOLD
    told = json.loads(path.read_bytes())
    path.write_text(json.dumps({**told, "spreads": told["spreads"][:1]}), "utf-8")
    run = Run(tmp_path / "run")
    with pytest.raises(ReadError, match=r"threshold\.json: is not of the settings in recipe\.toml \(1 spreads"):
        run.detector(run.model())
    path.write_text(json.dumps({**told, "spreads": [{"mean": 0, "deviation": 0}] * 2}), "utf-8")
    with pytest.raises(ReadError, match=r"spreads\.0\.deviation"):
        run.detector(run.model())


@pytest.mark.parametrize("part", ["recovery", "segmentation", "hint", "heterogeneous"])
def test_each_ablation_trains_and_detects(part: str, drawn: Drawn, recipe: Recipe, tmp_path: Path) -> None:
    done = train(drawn(scratches=1, good=1), tmp_path / "run", override(recipe, {f"model.{part}": False, "train.epochs": 1}))
    detector = done.detector(done.model())
    with torch.inference_mode():
        said = detector(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert said.map_BHW.shape == (1, 64, 64)
    assert bool(torch.isfinite(said.map_BHW).all())


def test_the_teacher_is_never_trained_and_stands_in_no_checkpoint(drawn: Drawn, recipe: Recipe, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    train(drawn(), tmp_path / "run", recipe)
    kept = load_file(tmp_path / "run" / "teacher.safetensors")
    theirs = load_file(Path(str(recipe.model.teacher_weights)))
    assert all(torch.equal(value, theirs[key]) for key, value in kept.items())
    assert not any(key.startswith("teacher") for key in load_file(tmp_path / "run" / "metal" / "model.safetensors"))


def test_one_joint_model_stands_for_all_categories(drawn: Drawn, recipe: Recipe, tmp_path: Path) -> None:
    done = train(drawn("glass", "metal"), tmp_path / "run", override(recipe, {"data.joint": True, "train.epochs": 1}))
    assert [model.categories for model in done.contents.models] == [("glass", "metal")]
    assert done.model("glass") == done.model("metal")


def test_categories_trained_side_by_side_are_those_trained_in_turn(drawn: Drawn, recipe: Recipe, tmp_path: Path) -> None:
    root = drawn("glass", "metal", train=4)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        train(root, tmp_path / "turn", recipe)
    finally:
        torch.set_num_threads(threads)
    seen: list[loop.Progress] = []
    train(root, tmp_path / "side", recipe, device="cpu:2", progress=seen.append)
    assert {step.model for step in seen} == {"glass", "metal"}
    for model in ("glass", "metal"):
        one, other = (np.frombuffer(bytes_of(tmp_path / run, model), np.uint8) for run in ("turn", "side"))
        assert np.array_equal(one, other)


def test_a_loss_is_the_mean_over_the_images_of_all_devices() -> None:
    def all_reduce(told: torch.Tensor, *, reduce_op: str) -> None:
        assert reduce_op == "sum"
        told += torch.tensor([9.0, 9.0, 9.0, 3.0], dtype=told.dtype)  # of the other device, which saw three images

    going: Any = SimpleNamespace(fabric=SimpleNamespace(world_size=2, all_reduce=all_reduce))
    sums = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    assert loop._Run._of_all(going, sums, 1).tolist() == [2.5, 2.75, 3.0]


def test_one_model_trains_on_two_devices_together(drawn: Drawn, recipe: Recipe, tmp_path: Path) -> None:
    told: list[str] = []
    seen: list[loop.Progress] = []
    together = override(recipe, {"train.batch_size": 2})
    done = train(drawn(train=6), tmp_path / "run", together, device="cpu:2", progress=seen.append, note=told.append)
    assert done.detector(done.model()) is not None
    assert "metal: trains on 2 devices together, up to 4 images a step" in told
    assert [(step.epoch, step.done, step.total) for step in seen if step.epoch and step.done == step.total] == [
        (1, 2, 2),
        (2, 2, 2),
    ]


# torch.compile


def compiled_by(monkeypatch: pytest.MonkeyPatch, call: Callable[..., Any]) -> None:
    """`call(network, ...)` stands in the place of the compiled networks."""

    def compile_(network: Any) -> None:
        network._compiled_call_impl = partial(call, network)

    monkeypatch.setattr(Cfrg, "compile", compile_)


def test_compiled_networks_are_tried_with_batches_of_every_size_and_learn_the_same(
    drawn: Drawn, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, uneven = drawn(train=7), override(recipe, {"data.validation": 0.0, "train.epochs": 1})
    train(root, tmp_path / "plain", uneven)
    tried: list[int] = []

    def call(network: Any, images: Any, *args: Any) -> Any:
        tried.append(len(images))
        return network._call_impl(images, *args)

    compiled_by(monkeypatch, call)
    told: list[str] = []
    train(root, tmp_path / "compiled", override(uneven, {"train.compile": True}), note=told.append)
    assert tried == [4, 3, 4, 3]  # the trial, then the epoch
    assert bytes_of(tmp_path / "plain") == bytes_of(tmp_path / "compiled")
    assert not any("compile" in text for text in told)


class _Backward(torch.autograd.Function):
    """Fails as a compiler may that is first called for the gradients."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor) -> torch.Tensor:
        return values.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        raise RuntimeError("CppCompileError: no compiler\nhere")


@pytest.mark.parametrize("place", ["compile", "forward", "backward"])
def test_where_torch_cannot_compile_the_training_goes_on_without_and_says_so(
    place: str, drawn: Drawn, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = drawn()
    train(root, tmp_path / "plain", recipe)

    def fail(*args: Any) -> Any:
        raise RuntimeError("CppCompileError: no compiler\nhere")

    def fail_in_backward(network: Any, *args: Any) -> Any:
        features = network._call_impl(*args)
        return features._replace(logits_B1HW=_Backward.apply(features.logits_B1HW))

    if place == "compile":
        monkeypatch.setattr(Cfrg, "compile", fail)
    else:
        compiled_by(monkeypatch, fail if place == "forward" else fail_in_backward)
    told: list[str] = []
    train(root, tmp_path / "run", override(recipe, {"train.compile": True}), note=told.append)
    assert "metal: torch.compile cannot (CppCompileError: no compiler); the training goes on without" in told
    assert bytes_of(tmp_path / "run") == bytes_of(tmp_path / "plain")


@pytest.mark.parametrize("bug", [RuntimeError, TypeError])
def test_a_bug_is_not_taken_for_a_compiler_that_cannot(
    bug: type[Exception], drawn: Drawn, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forward(*args: Any) -> Any:
        raise bug("sizes do not agree")

    compiled_by(monkeypatch, lambda network, *args: network._call_impl(*args))
    monkeypatch.setattr(Cfrg, "forward", forward)
    with pytest.raises(bug, match="sizes do not agree"):
        train(drawn(), tmp_path / "run", override(recipe, {"train.compile": True}))


# TensorBoard


def test_tensorboard_is_told_each_epoch_once_though_the_training_was_cut_off(
    drawn: Drawn, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    root, longer = drawn(), override(recipe, {"train.epochs": 4})
    real = loop.checkpoints.write

    def write_once(folder: Path, state: Any, mark: Any) -> None:
        if state.epoch > 2:
            raise _Cut  # after the board was told of an epoch that will have to be done again
        real(folder, state, mark)

    with monkeypatch.context() as patch:
        patch.setattr(loop.checkpoints, "write", write_once)
        with pytest.raises(_Cut):
            train(root, tmp_path / "run", longer, tensorboard=True)
    train(root, tmp_path / "run", longer, tensorboard=True, resume=True)
    read = accumulator.EventAccumulator(str(tmp_path / "run" / "metal" / "tensorboard"))
    read.Reload()
    rows = list(csv.DictReader((tmp_path / "run" / "metal" / "log.csv").read_text("utf-8").splitlines()))
    assert set(read.Tags()["scalars"]) == set(rows[0]) - {"epoch"}
    for name in read.Tags()["scalars"]:
        assert [event.step for event in read.Scalars(name)] == [1, 2, 3, 4]
    assert [event.value for event in read.Scalars("recovery")] == pytest.approx([float(row["recovery"]) for row in rows], 1e-4)
    told: list[str] = []
    train(root, tmp_path / "run", override(recipe, {"train.epochs": 1}), overwrite=True, note=told.append)
    assert not (tmp_path / "run" / "metal" / "tensorboard").exists()
    assert not any("left there" in text for text in told)


def test_tensorboard_that_is_not_installed_is_asked_for_before_anything_is_deleted(
    drawn: Drawn, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'threecad\[tensorboard\]'"):
        train(drawn(), tmp_path / "run", recipe, tensorboard=True)
    assert not (tmp_path / "run").exists()


def test_folders_are_plain_and_never_the_same() -> None:
    names = folders(["../up", "a b", "a-b", "con", "\u73bb\u7483", "x" * 300, "evaluation", "export"])
    assert len(set(names)) == len(names)
    assert not {"evaluation", "export"} & set(names)
    assert all(name.replace("-", "a").isalnum() and len(name) < 50 for name in names)
