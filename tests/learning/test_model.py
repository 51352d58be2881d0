"""The networks: their size, what reaches what, and maps that are what the paper says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.flop_counter import FlopCounterMode
from toys import TEACHER

from threecad.errors import ConfigError
from threecad.learning import model as networks
from threecad.learning.config import Loss, Model, Scoring
from threecad.learning.losses import Losses, losses
from threecad.learning.model import Cfrg, Detector, Features, Gaussian, backbone, channels, cosine_distance, rectified

STUDENT = "test_efficientnet"
PARTS = ("teacher", "student", "adapters", "fusion", "recovery", "segmentation")
ABLATIONS: dict[str, dict[str, Any]] = {
    "all": {},
    "wrc": {"recovery": False},
    "ws": {"segmentation": False},
    "wc": {"hint": False},
    "wh": {"heterogeneous": False},
}


def built(teacher: str = TEACHER, **settings: Any) -> Cfrg:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Cfrg(Model.model_validate({"teacher": teacher, "student": STUDENT} | settings), backbone(teacher))


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


# The paper's networks, on the device that has shapes and no numbers


@pytest.fixture(scope="module")
def papers() -> Cfrg:
    with pytest.MonkeyPatch.context() as patch, torch.device("meta"):
        patch.setattr(networks, "rectified", lambda net: True)  # which nothing without numbers can tell
        return Cfrg(Model(), backbone(Model().teacher)).eval()


@pytest.mark.parametrize(
    ("part", "millions"),
    [("teacher", 24.86), ("student", 0.85), ("adapters", 0.29), ("fusion", 58.89), ("recovery", 24.92), ("segmentation", 20.36)],
)
def test_each_part_has_the_parameters_it_needs_and_no_more(papers: Cfrg, part: str, millions: float) -> None:
    assert sum(each.numel() for each in getattr(papers, part).parameters()) / 1e6 == pytest.approx(millions, abs=0.005)


def test_together_they_have_130_million_of_which_105_train(papers: Cfrg) -> None:
    counts = [(each.numel(), each.requires_grad) for each in papers.parameters()]
    assert sum(count for count, _ in counts) / 1e6 == pytest.approx(130.2, abs=0.05)
    assert sum(count for count, trains in counts if trains) / 1e6 == pytest.approx(105.3, abs=0.05)


def test_an_image_costs_what_the_networks_were_designed_for(papers: Cfrg) -> None:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        papers(torch.zeros(1, 3, 256, 256, device="meta"))
    counted = {name: sum(counts.values()) / 2e9 for name, counts in counter.get_flop_counts().items()}  # GMAC
    adapters = sum(value for name, value in counted.items() if name.startswith("Cfrg.adapters.") and name.count(".") == 2)
    expected = {"teacher": 12.00, "student": 0.32, "fusion": 7.31, "recovery": 11.14, "segmentation": 32.79}
    assert {name: counted[f"Cfrg.{name}"] for name in expected} == pytest.approx(expected, abs=0.005)
    assert adapters == pytest.approx(0.15, abs=0.005)
    assert counted["Global"] == pytest.approx(63.7, abs=0.05)


def test_the_papers_levels_are_as_it_draws_them(papers: Cfrg) -> None:
    features: Features = papers(torch.zeros(2, 3, 256, 256, device="meta"))
    levels = [(2, 256, 64, 64), (2, 512, 32, 32), (2, 1024, 16, 16)]
    assert [tuple(level.shape) for level in features.teacher] == levels
    assert [tuple(level.shape) for level in features.recovered] == levels
    assert channels(papers.student) == (24, 40, 112)  # type: ignore[arg-type]


# Any teacher, any size


@pytest.mark.parametrize("size", [64, 96, 256])
@pytest.mark.parametrize("teacher", [TEACHER, "tf_efficientnet_lite0", "test_convnext"])
def test_what_comes_out_has_the_shapes_that_go_in(teacher: str, size: int) -> None:
    net = built(teacher).eval()
    with torch.no_grad():
        features = net(noise(1, 3, size, size))
    wide = channels(net.teacher)
    levels = [(1, count, size // stride, size // stride) for count, stride in zip(wide, (4, 8, 16), strict=True)]
    assert [tuple(level.shape) for level in features.teacher] == levels
    assert [tuple(level.shape) for level in features.recovered] == levels
    assert [tuple(level.shape) for level in features.distances] == [(1, high, across) for _, _, high, across in levels]
    assert features.logits_B1HW is not None
    assert features.logits_B1HW.shape == (1, 1, size, size)


def test_images_need_not_be_square() -> None:
    with torch.no_grad():
        found = Detector(built().eval(), Scoring())(noise(2, 3, 64, 96))
    assert found.map_BHW.shape == (2, 64, 96)


def test_relu_ends_what_imitates_a_teacher_of_which_it_ends_and_no_other() -> None:
    for teacher, ends in ((TEACHER, True), ("tf_efficientnet_lite0", False)):
        net = built(teacher).eval()
        assert rectified(net.teacher) is ends
        with torch.no_grad():
            features = net(noise(1, 3, 64, 64))
            imitated = net.adapters[0](net.student(noise(1, 3, 64, 64))[0])  # type: ignore[index, misc]
        assert all(bool((level >= 0).all()) is ends for level in (*features.recovered, imitated))


def test_a_backbone_ends_at_stride_16() -> None:
    assert not any(name.startswith("layer4") for name, _ in backbone(TEACHER).named_parameters())
    lite = backbone("tf_efficientnet_lite0")
    found: list[str] = []
    for name, module in lite.named_modules():
        module.register_forward_hook(lambda *_, name=name: found.append(name))
    lite(noise(1, 3, 64, 64))
    assert {name for name, module in lite.named_modules() if isinstance(module, nn.Conv2d)} <= set(found)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet1800", r"'resnet1800' is no timm backbone with features at several strides"),
        ("test_vit", r"test_vit: has features at strides 16, 16, 16; expected 4, 8 and 16 among them"),
        ("dla46_c", r"dla46_c: makes features of shapes .* of 64 × 64 pixels; expected \[\(32, 16, 16\)"),
    ],
)
def test_a_network_that_cannot_be_a_backbone_is_told(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        backbone(name)


def test_looking_at_a_backbone_leaves_it_as_it_was() -> None:
    net = backbone(TEACHER)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    assert net.training
    rectified(net)
    assert net.training
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())


def test_images_are_normalised_as_the_teachers_weights_want_them() -> None:
    half = built("tf_efficientnet_lite0")
    assert torch.equal(half.normalise(torch.ones(1, 3, 1, 1)), torch.ones(1, 3, 1, 1))
    teacher = backbone(TEACHER)
    teacher.pretrained_cfg = None  # type: ignore[assignment]
    usual = Cfrg(Model(teacher=TEACHER, student=STUDENT), teacher)  # ImageNet's
    torch.testing.assert_close(usual.normalise(torch.ones(1, 3, 1, 1))[0, 0, 0, 0], torch.tensor((1 - 0.485) / 0.229))
    assert not any(key.startswith(("mean", "std")) for key in half.state_dict())


# What is left out is not built, and what is built is used


@pytest.mark.parametrize("name", ABLATIONS)
def test_what_is_left_out_is_not_built(name: str) -> None:
    net = built(**ABLATIONS[name])
    missing = {"wrc": {"fusion", "recovery"}, "ws": {"student", "adapters", "segmentation"}}.get(name, set())
    assert {part for part in PARTS if getattr(net, part) is None} == missing
    assert {key.split(".")[0] for key in net.state_dict()} == set(PARTS) - missing
    if name == "wh":
        assert channels(net.student) == channels(net.teacher)  # type: ignore[arg-type]
        assert net.student is not net.teacher


@pytest.mark.parametrize("name", ABLATIONS)
def test_everything_that_is_built_learns(name: str) -> None:
    found = reached(built(**ABLATIONS[name]), "total")
    assert found.pop("teacher") == 0
    assert set(found.values()) == {1.0}


@pytest.mark.parametrize("name", ABLATIONS)
def test_whatever_is_left_out_a_map_remains(name: str) -> None:
    with torch.no_grad():
        found = Detector(built(**ABLATIONS[name]).eval(), Scoring())(noise(2, 3, 64, 64))
    assert found.map_BHW.shape == (2, 64, 64)
    assert found.map_BHW.isfinite().all()
    assert found.map_BHW.std() > 0


# What reaches what


def losses_of(net: Cfrg) -> Losses:
    """Of a step: images, the same with something painted on them, and where."""
    images, painted = (net.normalise(noise(2, 3, 64, 64, seed=seed)) for seed in (1, 2))
    masks = torch.zeros(2, 1, 64, 64)
    masks[:, :, 10:30, 20:40] = 1
    return losses(net(painted), net.observe(images), masks, Loss())


def reached(net: Cfrg, part: str) -> dict[str, float]:
    """The share of each part's parameters to which a gradient comes; of residual blocks, it is 0 at the start."""
    net.train().zero_grad()
    getattr(losses_of(net), part).backward()
    for module in net.children():
        given = [each.grad for each in module.parameters() if each.grad is not None]
        assert not given or any(bool((each != 0).any()) for each in given)
    return {
        name: sum(each.grad is not None for each in module.parameters()) / len(list(module.parameters()))
        for name, module in net.named_children()
    }


def test_the_segmentations_loss_reaches_all_that_trains() -> None:
    assert reached(built(), "segmentation") == {part: float(part != "teacher") for part in PARTS}


def test_the_distillations_loss_reaches_student_and_adapters_alone() -> None:
    assert reached(built(), "distillation") == {part: float(part in ("student", "adapters")) for part in PARTS}


def test_the_recoverys_loss_reaches_fusion_and_recovery_alone() -> None:
    assert reached(built(), "recovery") == {part: float(part in ("fusion", "recovery")) for part in PARTS}


def test_without_the_hint_the_segmentations_loss_does_not_reach_the_recovery() -> None:
    trained = ("student", "adapters", "segmentation")
    assert reached(built(hint=False), "segmentation") == {part: float(part in trained) for part in PARTS}


def test_the_teacher_is_frozen_and_stays_in_eval_mode() -> None:
    net = built().train()
    assert not any(each.requires_grad for each in net.teacher.parameters())
    assert not any(module.training for module in net.teacher.modules())
    assert all(module.training for name, module in net.named_modules() if name and not name.startswith("teacher"))
    assert not any(module.training for module in net.eval().modules())


def statistics(net: Cfrg) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in net.state_dict().items() if "running" in key or "num_batches" in key}


def test_statistics_come_from_synthetic_images_alone_and_never_to_the_teacher() -> None:
    net = built().train()
    before = statistics(net)
    net.observe(noise(2, 3, 64, 64, seed=1))
    assert all(torch.equal(before[key], value) for key, value in statistics(net).items())
    net(noise(2, 3, 64, 64, seed=2))
    moved = {key for key, value in statistics(net).items() if not torch.equal(before[key], value)}
    assert moved == {key for key in before if not key.startswith("teacher.")}
    assert all(int(value) == 1 for key, value in statistics(net).items() if "num_batches" in key and key in moved)


def test_features_that_are_known_already_give_the_same() -> None:
    net, images = built().eval(), noise(2, 3, 64, 64)
    with torch.no_grad():
        one, other = net(images), net(images, net.observe(images))
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(one.recovered, other.recovered, strict=True))
    assert torch.equal(one.logits_B1HW, other.logits_B1HW)


def test_a_student_that_is_given_is_taken() -> None:
    student = backbone(STUDENT)
    assert Cfrg(Model(teacher=TEACHER, student=STUDENT), backbone(TEACHER), student).student is student


def test_the_hint_weighs_what_is_segmented(monkeypatch: pytest.MonkeyPatch) -> None:
    """in_t = (1 − cos(T, S)) · T, and in_s = (1 − cos(T, R)) · in_t."""
    for hint in (True, False):
        net, images = built(hint=hint).eval(), noise(1, 3, 64, 64)
        seen: list[list[Tensor]] = []
        assert net.segmentation is not None
        monkeypatch.setattr(net.segmentation, "forward", lambda levels, seen=seen: seen.append(levels))
        with torch.no_grad():
            features = net(images)
        for at, level in enumerate(features.teacher):
            wanted = level * features.distances[at][:, None]
            if hint:
                wanted = wanted * cosine_distance(level, features.recovered[at])[:, None]
            torch.testing.assert_close(seen[0][at], wanted)


# Maps and scores


@pytest.mark.parametrize("align_corners", [False, True])
def test_a_map_is_the_distances_to_what_was_recovered_plus_what_was_segmented(align_corners: bool) -> None:
    net, images = built().eval(), noise(2, 3, 64, 64)
    with torch.no_grad():
        found = Detector(net, Scoring(sigma=0, align_corners=align_corners))(images)
        features = net(net.normalise(images))
    wanted = torch.sigmoid(features.logits_B1HW)
    for level, recovered in zip(features.teacher, features.recovered, strict=True):
        distance = 1 - F.cosine_similarity(level, recovered, dim=1)
        wanted = wanted + F.interpolate(distance[:, None], (64, 64), mode="bilinear", align_corners=align_corners)
    torch.testing.assert_close(found.map_BHW, wanted[:, 0])


def test_levels_weigh_what_they_are_set_to_and_one_of_weight_nothing_is_not_heard() -> None:
    net, images = built().eval(), noise(2, 3, 64, 64)
    with torch.no_grad():
        coarse, twice, all_, finer = (
            Detector(net, Scoring(sigma=0, levels=levels)).parts(images)[0]
            for levels in ((0, 0, 1), (0, 0, 2), (1, 1, 1), (1, 1, 0))
        )
        features = net(net.normalise(images))
    distance = cosine_distance(features.teacher[2], features.recovered[2])[:, None]
    torch.testing.assert_close(coarse, F.interpolate(distance, (64, 64), mode="bilinear"))
    assert torch.equal(twice, 2 * coarse)
    torch.testing.assert_close(finer + coarse, all_)


def test_normalised_maps_are_added_on_one_scale() -> None:
    net, images = built().eval(), noise(2, 3, 64, 64)
    with torch.no_grad():
        found = Detector(net, Scoring(sigma=0, normalise=True), [(1.5, 0.5), (-4.0, 2.0)])(images)
        recovery, logits = Detector(net, Scoring(sigma=0, normalise=True)).parts(images)
    torch.testing.assert_close(logits, net(net.normalise(images)).logits_B1HW, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.map_BHW, ((recovery - 1.5) / 0.5 + (logits + 4) / 2)[:, 0], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("normalise", "spreads"), [(True, [(0.0, 1.0)]), (False, [(0.0, 1.0), (0.0, 1.0)])])
def test_spreads_that_are_not_the_detectors_are_refused(normalise: bool, spreads: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="spreads for a detector of 2 parts"):
        Detector(built(), Scoring(normalise=normalise), spreads)


def test_the_score_is_the_smoothed_maps_maximum() -> None:
    with torch.no_grad():
        found = Detector(built().eval(), Scoring())(noise(3, 3, 64, 64))
    assert found.score_B.tolist() == [float(each.max()) for each in found.map_BHW]


def test_the_batch_an_image_is_in_does_not_change_its_map() -> None:
    detector, images = Detector(built().eval(), Scoring()), noise(3, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(detector(images).map_BHW[1:2], detector(images[1:2]).map_BHW, atol=1e-5, rtol=0)


def test_maps_are_float32_whatever_the_networks_compute_in() -> None:
    detector, images = Detector(built().eval(), Scoring()), noise(1, 3, 64, 64)
    with torch.no_grad():
        exact = detector(images)
        with torch.autocast("cpu", torch.bfloat16):
            found = detector(images)
    assert found.map_BHW.dtype == found.score_B.dtype == torch.float32
    torch.testing.assert_close(found.map_BHW, exact.map_BHW, atol=0.1, rtol=0)


def test_an_image_of_one_colour_gives_numbers() -> None:
    for net in (built(), built("tf_efficientnet_lite0")):
        with torch.no_grad():
            for value in (0.0, 1.0):
                assert Detector(net.eval(), Scoring())(torch.full((1, 3, 64, 64), value)).map_BHW.isfinite().all()


# Cosines


def test_the_distance_goes_from_0_to_2_by_direction_alone() -> None:
    one = torch.tensor([3.0, 0.0]).view(1, 2, 1, 1)
    for other, wanted in (([5.0, 0.0], 0.0), ([0.0, 0.1], 1.0), ([-2.0, 0.0], 2.0), ([1.0, 1.0], 1 - 0.5**0.5)):
        assert float(cosine_distance(one, torch.tensor(other).view(1, 2, 1, 1))) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-10, 1e10])
def test_vectors_of_no_or_any_length_give_numbers_and_gradients_that_are_numbers(size: float) -> None:
    one = torch.full((1, 4, 2, 2), size, requires_grad=True)
    other = noise(1, 4, 2, 2).requires_grad_()
    for pair in ((one, other), (other, one), (one, one)):
        found = cosine_distance(*pair)
        assert found.isfinite().all()
        one.grad = other.grad = None
        found.sum().backward()
        assert all(each.grad is None or each.grad.isfinite().all() for each in (one, other))


def test_the_distance_is_computed_in_float32_under_autocast() -> None:
    one, other = noise(1, 512, 2, 2).bfloat16(), noise(1, 512, 2, 2, seed=1).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = cosine_distance(one, other)
    wanted = 1 - F.cosine_similarity(one.double(), other.double(), dim=1)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), wanted, atol=1e-6, rtol=0)


# The Gaussian


@pytest.mark.parametrize("sigma", [0.4, 1.0, 2.5, 4.0])
@pytest.mark.parametrize("shape", [(64, 64), (40, 90)])
def test_the_gaussian_is_scipys(sigma: float, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).random(shape)
    found = Gaussian(sigma)(torch.from_numpy(image).float()[None, None])[0, 0]
    wanted = ndimage.gaussian_filter(image, sigma, mode="mirror", truncate=4)
    np.testing.assert_allclose(found, wanted, atol=1e-6, rtol=0)


def test_no_sigma_smooths_nothing() -> None:
    image = noise(1, 1, 8, 8)
    assert torch.equal(Gaussian(0)(image), image)


@pytest.mark.parametrize("shape", [(1, 1), (2, 30), (16, 17), (64, 64)])
def test_a_constant_stays_constant_however_small_the_map(shape: tuple[int, int]) -> None:
    torch.testing.assert_close(Gaussian(4)(torch.full((1, 1, *shape), 0.3)), torch.full((1, 1, *shape), 0.3))
