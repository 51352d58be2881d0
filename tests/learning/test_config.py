"""A recipe: what the protocols set, and that a file says what it says."""

from __future__ import annotations

import pytest

from threecad.errors import ConfigError
from threecad.learning.config import UPSTREAM, Recipe, override
from threecad.pipeline.config import dump, parse_as


def parsed(text: str) -> Recipe:
    return parse_as(Recipe, text, "recipe")


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as error:
        parsed(text)
    return str(error.value)


def test_the_defaults_are_the_papers() -> None:
    recipe = Recipe()
    assert (recipe.data.size, recipe.train.epochs, recipe.train.batch_size, recipe.train.learning_rate) == (256, 50, 32, 5e-4)
    assert [share * recipe.train.epochs for share in recipe.train.milestones] == [40, 45]
    assert (recipe.train.optimizer, recipe.train.decay, recipe.score.sigma, recipe.score.pro_limit) == ("adamw", 0.2, 4.0, 0.3)
    assert (recipe.loss.levels, recipe.loss.cosine) == ("sum", "position")


def test_upstream_sets_everything_that_its_authors_ran_otherwise() -> None:
    recipe, paper = Recipe(protocol="upstream"), Recipe()
    for section, values in UPSTREAM.items():
        for key, value in values.items():
            assert getattr(getattr(recipe, section), key) == value
            assert getattr(getattr(paper, section), key) != value
    untouched = {
        section: {key: value for key, value in settings.items() if key not in UPSTREAM.get(section, {})}
        for section, settings in recipe.model_dump().items()
        if isinstance(settings, dict)
    }
    for section, settings in untouched.items():
        assert settings == {key: getattr(getattr(paper, section), key) for key in settings}


def test_what_is_said_besides_still_holds() -> None:
    recipe = parsed('protocol = "upstream"\n[train]\noptimizer = "adamw"\nepochs = 3\n[model]\nteacher = "resnet18"\n')
    assert (recipe.train.optimizer, recipe.train.epochs, recipe.train.betas) == ("adamw", 3, (0.5, 0.999))
    assert (recipe.model.teacher, recipe.score.align_corners) == ("resnet18", True)


def test_what_is_said_holds_even_where_it_is_the_papers_default() -> None:
    assert parsed('protocol = "upstream"\n[train]\nweight_decay = 0.01\n').train.weight_decay == 0.01


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(),
        Recipe(protocol="upstream"),
        Recipe.model_validate({"protocol": "upstream", "train": {"betas": (0.9, 0.95), "milestones": ()}}),
        Recipe.model_validate({"model": {"teacher_weights": "Gewichte/größe 1.pth"}, "data": {"resize": "tile", "size": 64}}),
        Recipe.model_validate({"train": {"learning_rate": 1e-12, "seed": -(2**40)}, "score": {"sigma": 0}}),
    ],
)
def test_a_recipe_that_is_written_reads_as_itself(recipe: Recipe) -> None:
    assert parsed(dump(recipe)) == recipe


def test_settings_that_are_unset_are_left_out_of_the_file() -> None:
    assert "teacher_weights" not in dump(Recipe())
    assert 'teacher_weights = "a.pth"' in dump(Recipe.model_validate({"model": {"teacher_weights": "a.pth"}}))


def test_what_the_command_line_says_comes_last() -> None:
    recipe = override(Recipe(protocol="upstream"), {"train.epochs": 7, "train.optimizer": None})
    assert (recipe.train.epochs, recipe.train.optimizer, recipe.protocol) == (7, "adam", "upstream")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[train]\nepoch = 3", "recipe: train.epoch is not a setting; did you mean epochs?"),
        ("[train]\nlearning-rate = 1", "recipe: train.learning-rate is not a setting; did you mean learning_rate?"),
        ('[model]\nteachers = "a"', "recipe: model.teachers is not a setting; did you mean teacher?"),
        ("[training]\nepochs = 3", "recipe: training is not a setting; did you mean train?"),
        (
            "[loss]\nx = 1",
            "recipe: loss.x is not a setting; there are distillation, recovery, segmentation, push, levels, cosine",
        ),
        ('protocol = "upstream"\n[train]\nepoch = 3', "recipe: train.epoch is not a setting; did you mean epochs?"),
    ],
)
def test_a_key_that_is_no_setting_is_told_with_the_nearest_that_is(text: str, message: str) -> None:
    assert refused(text) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[data]\nsize = 100", "data.size: input should be a multiple of 32, found 100"),
        ("[data]\nsize = 32", "data.size: input should be greater than or equal to 64, found 32"),
        ("[train]\nepochs = 0", "train.epochs: input should be greater than or equal to 1, found 0"),
        ("[train]\nlearning_rate = nan", "train.learning_rate: input should be a finite number, found nan"),
        ("[train]\nbetas = [0.9]", "train.betas.1: field required"),
        ('[loss]\nlevels = "max"', "loss.levels: input should be 'sum' or 'mean', found 'max'"),
        ("train = 3", "train: input should be a valid dictionary or instance of Training, found 3"),
        ('protocol = "upstream"\ntrain = 3', "train: input should be a valid dictionary or instance of Training, found 3"),
        ('protocol = "mine"', "protocol: input should be 'paper' or 'upstream', found 'mine'"),
        ("[score]\nfalse_positive_rate = 1.0", "score.false_positive_rate: input should be less than 1, found 1.0"),
    ],
)
def test_a_value_that_does_not_fit_is_told_with_what_does(text: str, message: str) -> None:
    assert refused(text).startswith(f"recipe: {message}")


def test_something_must_give_a_map() -> None:
    assert refused("[model]\nrecovery = false\nsegmentation = false") == (
        "recipe: model.recovery and model.segmentation cannot both be off: nothing would give a map"
    )


def test_the_recovery_must_be_heard_by_one_level_at_least() -> None:
    assert refused("[score]\nlevels = [0, 0, 0]").startswith("recipe: score.levels: at least one level must weigh more than 0")
    assert Recipe(model={"recovery": False}, score={"levels": [0, 0, 0]}).score.levels == (0, 0, 0)


def test_a_recipe_cannot_be_changed() -> None:
    recipe = Recipe()
    with pytest.raises(ValueError, match="frozen"):
        recipe.train.epochs = 3
