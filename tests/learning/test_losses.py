"""The losses against values that were computed by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from threecad.learning.config import Loss
from threecad.learning.losses import distillation, losses, recovery, segmentation
from threecad.learning.model import Features

R = torch.tensor([[[0.1, 0.2], [0.3, 0.4]]])
"""1 − cos of a level, (1, 2, 2)."""
MASK = torch.tensor([[[[0.0, 0.0], [1.0, 1.0]]]])
"""The lower row is anomalous."""


def vectors(*columns: tuple[float, float]) -> Tensor:
    """A feature map (1, 2, 1, n) of one vector a position."""
    return torch.tensor(columns).T.reshape(1, 2, 1, -1)


# L_dis, equation 2


def test_good_pixels_pull_and_anomalous_ones_push() -> None:
    assert float(distillation((R,), MASK)) == pytest.approx((0.1 + 0.2 + 0.7 + 0.6) / 4)


def test_without_push_good_pixels_alone_count_over_the_mean_of_all() -> None:
    assert float(distillation((R,), MASK, push=False)) == pytest.approx((0.1 + 0.2) / 4)


def test_levels_add_up_or_are_averaged() -> None:
    three = (R, R * 2, torch.zeros_like(R))
    each = [0.4, (0.2 + 0.4 + 0.4 + 0.2) / 4, 0.5]
    assert float(distillation(three, MASK)) == pytest.approx(sum(each))
    assert float(distillation(three, MASK, levels="mean")) == pytest.approx(sum(each) / 3)


def test_a_level_is_enlarged_bilinearly_to_the_masks_size() -> None:
    coarse = torch.tensor([[[0.0, 1.0]]])  # becomes 0, ¼, ¾, 1
    mask = torch.tensor([[[[1.0, 0.0, 0.0, 0.0]]]])
    assert float(distillation((coarse,), mask)) == pytest.approx((1 + 0.25 + 0.75 + 1) / 4)


def test_distances_beyond_1_push_no_further_than_they_are_far() -> None:
    far = torch.full((1, 2, 2), 2.0)
    assert float(distillation((far,), torch.ones(1, 1, 2, 2))) == -1.0


# L_rec


def test_the_recovery_is_judged_at_each_position() -> None:
    normal = vectors((1, 0), (0, 1), (1, 0), (2, 0))
    found = vectors((3, 0), (1, 0), (-1, 0), (1, 1))
    wanted = (0 + 1 + 2 + (1 - math.sqrt(0.5))) / 4
    assert float(recovery((found,), (normal,))) == pytest.approx(wanted)


def test_or_of_each_level_as_one_vector() -> None:
    normal, found = vectors((1, 0), (0, 2)), vectors((1, 0), (2, 0))
    # (1, 0, 0, 2) with (1, 2, 0, 0), channels first: 1 / (√5 · √5)
    assert float(recovery((found,), (normal,), cosine="flattened")) == pytest.approx(1 - 1 / 5)
    assert float(recovery((found,), (normal,))) == pytest.approx(0.5)


def test_a_level_as_one_vector_is_one_of_each_sample() -> None:
    normal = torch.cat([vectors((1, 0), (0, 1)), vectors((1, 0), (0, 1))])
    found = torch.cat([vectors((1, 0), (0, 1)), vectors((0, 1), (1, 0))])
    assert float(recovery((found,), (normal,), cosine="flattened")) == pytest.approx((0 + 1) / 2)


@pytest.mark.parametrize("cosine", ["position", "flattened"])
def test_levels_of_the_recovery_add_up(cosine: str) -> None:
    right, wrong = vectors((1, 0)), vectors((0, 1))
    assert float(recovery((right, wrong, wrong), (right, right, right), cosine=cosine)) == pytest.approx(2)


# L_bce, equation 4


def test_the_cross_entropy_is_of_the_sigmoid() -> None:
    logits = torch.tensor([[[[0.0, math.log(3)], [-math.log(3), 0.0]]]])  # ½, ¾, ¼, ½
    mask = torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]])
    assert float(segmentation(logits, mask)) == pytest.approx((2 * math.log(2) + 2 * math.log(4 / 3)) / 4)


def test_a_logit_however_wrong_costs_what_it_is_wrong_by() -> None:
    assert float(segmentation(torch.full((1, 1, 2, 2), 500.0), torch.zeros(1, 1, 2, 2))) == pytest.approx(500)


# The sum, equation 5


def features(**parts: object) -> Features:
    whole = {
        "teacher": (vectors((1, 0)),),
        "distances": (R,),
        "recovered": (vectors((0, 1)),),
        "logits_B1HW": torch.zeros(1, 1, 2, 2),
    }
    return Features(**(whole | parts))  # type: ignore[arg-type]


def test_the_total_weighs_each_part() -> None:
    settings = Loss(distillation=2, recovery=0.5, segmentation=3)
    found = losses(features(), (vectors((1, 0)),), MASK, settings)
    assert (float(found.distillation), float(found.recovery)) == (pytest.approx(0.4), pytest.approx(1))
    assert float(found.segmentation) == pytest.approx(math.log(2))
    assert float(found.total) == pytest.approx(2 * 0.4 + 0.5 + 3 * math.log(2))


def test_the_settings_are_handed_on() -> None:
    settings = Loss(push=False, levels="mean", cosine="flattened")
    normal, found = vectors((1, 0), (0, 2)), vectors((1, 0), (2, 0))
    told = losses(features(distances=(R, R), recovered=(found,)), (normal,), MASK, settings)
    assert float(told.distillation) == pytest.approx(0.075)
    assert float(told.recovery) == pytest.approx(0.8)


def test_what_is_not_built_costs_nothing() -> None:
    found = losses(features(recovered=()), (), MASK, Loss())
    assert float(found.recovery) == 0
    assert float(found.total) == pytest.approx(0.4 + math.log(2))
    found = losses(features(distances=(), logits_B1HW=None), (vectors((1, 0)),), MASK, Loss())
    assert (float(found.distillation), float(found.segmentation), float(found.total)) == (0, 0, pytest.approx(1))


def test_losses_are_float32_under_autocast_however_rough_the_features() -> None:
    generator = torch.Generator().manual_seed(0)
    mine, theirs = (torch.randn(2, 256, 4, 4, generator=generator).bfloat16() for _ in range(2))
    logits = torch.randn(2, 1, 8, 8, generator=generator).bfloat16()
    mask = (torch.rand(2, 1, 8, 8, generator=generator) > 0.5).float()
    distance = torch.rand(2, 4, 4, generator=generator)
    with torch.autocast("cpu", torch.bfloat16):
        found = losses(Features((theirs,), (distance,), (mine,), logits), (theirs,), mask, Loss())
    exact = losses(Features((theirs,), (distance.double(),), (mine.double(),), logits.double()), (theirs,), mask, Loss())
    for one, other in zip(found, exact, strict=True):
        assert one.dtype == torch.float32
        assert float(one) == pytest.approx(float(other), abs=1e-6)


@pytest.mark.parametrize("cosine", ["position", "flattened"])
def test_features_of_nothing_give_a_loss_and_a_gradient_that_are_numbers(cosine: str) -> None:
    found = torch.zeros(1, 4, 2, 2, requires_grad=True)
    loss = recovery((found,), (torch.zeros(1, 4, 2, 2),), cosine=cosine) + recovery(
        (found,), (torch.ones(1, 4, 2, 2),), cosine=cosine
    )
    loss.backward()
    assert loss.isfinite()
    assert found.grad is not None
    assert found.grad.isfinite().all()
