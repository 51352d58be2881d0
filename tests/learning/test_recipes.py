"""The recipes that ship with threecad: each loads by its name and sets what it says, and nothing else."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from threecad.cli import main
from threecad.errors import ConfigError
from threecad.learning import config
from threecad.learning.config import Recipe
from threecad.pipeline import config as pipelines
from threecad.pipeline.config import Pipeline

FOLDER = Path(__file__).parents[2] / "pipelines"
THIRD = 1 / 3
ABLATIONS: dict[str, dict[str, object]] = {
    "wrc": {"model.recovery": False},
    "ws": {"model.segmentation": False},
    "wp": {"loss.push": False},
    "wc": {"model.hint": False},
    "wh": {"model.heterogeneous": False},
    "weights-thirds": {"loss.distillation": THIRD, "loss.recovery": THIRD, "loss.segmentation": THIRD},
    "weights-recovery-tenth": {"loss.recovery": 0.1},
    "weights-distillation-tenth": {"loss.distillation": 0.1},
    "weights-segmentation-tenth": {"loss.segmentation": 0.1},
}
"""Tables 6 and 9: what each file changes of cfrg."""


def flat(tree: dict[str, Any], where: str = "") -> dict[str, Any]:
    """A tree of settings by dotted path."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= flat(value, f"{where}{key}.") if isinstance(value, dict) else {where + key: value}
    return found


def changes(recipe: Recipe) -> dict[str, Any]:
    """What a recipe sets that cfrg does not."""
    base = flat(config.load("cfrg").model_dump())
    return {key: value for key, value in flat(recipe.model_dump()).items() if value != base[key]}


def written(name: str) -> dict[str, Any]:
    """What a recipe's file says."""
    return flat(tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8")))


def test_cfrg_says_every_setting_and_all_of_them_are_the_defaults() -> None:
    assert config.load("cfrg") == Recipe()
    assert written("cfrg").keys() == flat(Recipe().model_dump(exclude_none=True)).keys()


def test_upstream_is_the_protocol_of_that_name_with_all_that_it_changes_written_out() -> None:
    assert config.load("cfrg-upstream") == Recipe(protocol="upstream")
    assert written("cfrg-upstream").keys() == changes(Recipe(protocol="upstream")).keys()


def test_small_changes_the_teacher_and_the_length_of_the_training_alone() -> None:
    different = {"model.teacher", "train.batch_size", "train.epochs", "train.learning_rate"}
    assert changes(config.load("cfrg-small")).keys() == different


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_changes_what_its_name_says_and_nothing_else(name: str) -> None:
    assert changes(config.load(f"ablations/{name}")) == pytest.approx(ABLATIONS[name])
    assert written(f"ablations/{name}").keys() == ABLATIONS[name].keys()


def test_every_ablation_that_ships_is_one_of_the_papers_tables() -> None:
    assert {path.stem for path in (FOLDER / "ablations").iterdir()} == ABLATIONS.keys()


# Recipes and pipelines lie in one folder, but are not offered for one another


def test_no_section_is_in_both_kinds_of_files() -> None:
    assert not Recipe.model_fields.keys() & Pipeline.model_fields.keys()


def test_every_file_that_ships_loads_as_one_kind_and_is_offered_for_that_alone() -> None:
    names = {path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.rglob("*.toml")}
    recipes = {"cfrg", "cfrg-small", "cfrg-upstream", *(f"ablations/{name}" for name in ABLATIONS)}
    for load, mine, kind in ((config.load, recipes, "recipe"), (pipelines.load, names - recipes, "pipeline")):
        for name in mine:
            load(name)
        with pytest.raises(ConfigError) as refused:
            load("nothing")
        offer = ", ".join(sorted(mine))
        assert str(refused.value) == f"no {kind} named 'nothing'; there are {offer}, or pass a TOML file"


def test_a_recipe_is_no_pipeline_by_its_name_nor_a_pipeline_a_recipe() -> None:
    with pytest.raises(ConfigError, match=r"no pipeline named 'cfrg'; there are 3cad, smoke, or"):
        pipelines.load("cfrg")
    with pytest.raises(ConfigError, match=r"no recipe named '3cad'; there are ablations/"):
        config.load("3cad")


# threecad init


def test_the_template_holds_every_default_of_a_recipe() -> None:
    text = pipelines.template(Recipe)
    assert pipelines.parse_as(Recipe, text, "template") == Recipe()
    assert flat(tomllib.loads(text)).keys() == flat(Recipe().model_dump(exclude_none=True)).keys()
    assert text.startswith("# A recipe of threecad.")
    assert "# teacher_weights =" in text


def test_init_writes_a_recipe_and_says_what_it_is_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["init", "--cfrg"], catch_exceptions=False)
    assert result.exit_code == 0
    assert result.stdout == "cfrg.toml written. Next: threecad train-cfrg DATASET --pipeline cfrg.toml\n"
    assert config.load("cfrg.toml") == Recipe()
    again = CliRunner().invoke(main, ["init", "line7.toml", "--cfrg"], catch_exceptions=False)
    assert again.stdout.startswith("line7.toml written.")
    assert config.load("line7.toml") == Recipe()


def test_init_never_replaces_a_recipe_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cfrg.toml").write_text("[train]\nepochs = 1\n", encoding="utf-8")
    assert CliRunner().invoke(main, ["init", "--cfrg"], catch_exceptions=False).exit_code == 2
    assert config.load("cfrg.toml").train.epochs == 1
    assert CliRunner().invoke(main, ["init", "--cfrg", "--force"], catch_exceptions=False).exit_code == 0
    assert config.load("cfrg.toml") == Recipe()
