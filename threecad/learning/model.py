"""CFRG: a teacher, a student that agrees with it on what is normal, a recovery of normal features, and a segmentation.

3CAD, "Method" and Figure 4. Widths are multiples of the teacher's channels, so that any backbone gives a model in proportion; the
numbers in comments are those of WideResNet50-2 at 256 × 256 pixels. Three levels lie at strides 4, 8 and 16.

Shapes: B images, C channels, H and W the input's height and width, h and w a level's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from threecad.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from threecad.learning.config import Model, Scoring

STRIDES = (4, 8, 16)
Levels = tuple[Tensor, ...]


class Features(NamedTuple):
    """What the networks make of a batch; what is not built is empty, or None."""

    teacher: Levels
    """(B, C_i, h_i, w_i), three levels."""
    distances: Levels
    """1 − cos(teacher, student), (B, h_i, w_i): equation 1."""
    recovered: Levels
    """As `teacher`: the normal features that the recovery takes it for, equation 3."""
    logits_B1HW: Tensor | None
    """Of the segmentation, before the sigmoid."""


class Prediction(NamedTuple):
    """What a detector says of a batch."""

    map_BHW: Tensor
    """Anomaly score of each pixel, smoothed; higher is more anomalous."""
    score_B: Tensor
    """The map's maximum."""


def cosine_distance(one_BCHW: Tensor, other_BCHW: Tensor) -> Tensor:
    """1 − cos over the channels, (B, H, W) in float32, from 0 (same direction) to 2: equation 1.

    >>> cosine_distance(torch.tensor([[[[1.0]], [[0.0]]]]), torch.tensor([[[[0.0]], [[2.0]]]]))
    tensor([[[1.]]])
    """
    return 1 - F.cosine_similarity(one_BCHW.float(), other_BCHW.float(), dim=1)


def backbone(name: str, *, pretrained: bool = False) -> nn.Module:
    """timm's backbone `name` up to stride 16, giving its features at strides 4, 8 and 16 (B, C, h, w); nothing beyond is kept.

    ConfigError where timm has no such network or it has no such features. `pretrained` fetches weights from the hub.
    """
    if set(name) & set(":/"):  # another place to fetch from, which timm's names do not say
        raise ConfigError(f"found backbone {name!r}; expected a name of timm's such as resnet18, without : and /")
    import timm

    try:
        whole: Any = timm.create_model(name, features_only=True)
    except (RuntimeError, AttributeError, AssertionError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{name!r} is no timm backbone with features at several strides ({error}); expected one like resnet18"
        ) from None
    reductions = whole.feature_info.reduction()
    if not set(STRIDES) <= set(reductions):
        raise ConfigError(f"{name}: has features at strides {', '.join(map(str, reductions))}; expected 4, 8 and 16 among them")
    levels = tuple(len(reductions) - 1 - reductions[::-1].index(stride) for stride in STRIDES)
    net: Any = timm.create_model(name, features_only=True, out_indices=levels, pretrained=pretrained)
    if isinstance(getattr(net, "blocks", None), nn.Sequential) and hasattr(net, "_stage_out_idx"):
        net.blocks = net.blocks[: max(net._stage_out_idx)]  # EfficientNets and their kin keep what nobody asks for
    found = _shapes(net, name)
    wanted = [(count, _PROBE // stride, _PROBE // stride) for count, stride in zip(channels(net), STRIDES, strict=True)]
    if found != wanted:
        raise ConfigError(f"{name}: makes features of shapes {found} of {_PROBE} × {_PROBE} pixels; expected {wanted}")
    return net  # type: ignore[no-any-return]


_PROBE = 64
"""Pixels: the least that has a level of every stride with something to normalise over."""


def _shapes(net: nn.Module, name: str) -> list[tuple[int, ...]]:
    """Of the levels, without the batch; what timm says of them does not hold for all of its networks."""
    there = next(net.parameters())
    training = net.training
    try:
        with torch.no_grad():
            levels = net.eval()(torch.zeros(1, 3, _PROBE, _PROBE, device=there.device, dtype=there.dtype))
    except (AssertionError, RuntimeError) as error:
        raise ConfigError(f"{name}: takes no image of {_PROBE} × {_PROBE} pixels ({error}); expected one like resnet18") from None
    net.train(training)
    return [tuple(level.shape[1:]) for level in levels]


def channels(net: nn.Module) -> tuple[int, ...]:
    """Channels of a backbone's three levels."""
    return tuple(net.feature_info.channels())  # type: ignore[operator, union-attr]


def rectified(net: nn.Module) -> bool:
    """Whether a backbone's features come out of a ReLU, so that what imitates them has to end in one as well.

    Networks of ResNet's family do; those of EfficientNet's are linear, and half of the directions would be out of a ReLU's reach.
    """
    noise = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    training = net.training
    with torch.no_grad():
        levels = net.eval()(noise * 4 - 2)
    net.train(training)
    return all(bool((level >= 0).all()) for level in levels)


class Cfrg(nn.Module):
    """The networks together. `normalised` images go in; the teacher is frozen and always in eval mode.

    `settings` leaves parts out (Table 6): a part that is not used is not built. `student` is its backbone where that has weights
    already; without, it starts from random ones.
    """

    def __init__(self, settings: Model, teacher: nn.Module, student: nn.Module | None = None) -> None:
        super().__init__()
        wide = channels(teacher)
        ends = rectified(teacher)
        config = getattr(teacher, "pretrained_cfg", None) or {}
        self.hint = settings.hint and settings.recovery
        self.teacher = teacher.requires_grad_(False)
        self.student = self.adapters = self.segmentation = self.fusion = self.recovery = None
        if settings.segmentation:
            name = settings.student if settings.heterogeneous else settings.teacher
            self.student = student or backbone(name)
            self.adapters = nn.ModuleList(map(adapter, channels(self.student), wide, [ends] * len(wide)))
            self.segmentation = Segmentation(wide)
        if settings.recovery:
            self.fusion = Fusion(wide)
            self.recovery = Recovery(wide, ends)
        self.mean_13: Tensor
        self.std_13: Tensor
        self.register_buffer(
            "mean_13", torch.tensor(config.get("mean", (0.485, 0.456, 0.406))).view(1, 3, 1, 1), persistent=False
        )
        self.register_buffer("std_13", torch.tensor(config.get("std", (0.229, 0.224, 0.225))).view(1, 3, 1, 1), persistent=False)

    def train(self, mode: bool = True) -> Cfrg:
        super().train(mode)
        self.teacher.eval()
        return self

    def normalise(self, images_B3HW: Tensor) -> Tensor:
        """Images of 0 to 1 as the teacher's weights want them."""
        return (images_B3HW - self.mean_13) / self.std_13

    def observe(self, normalised_B3HW: Tensor) -> Levels:
        """The teacher's features; no gradient leads through them."""
        with torch.no_grad():
            return tuple(self.teacher(normalised_B3HW))

    def forward(self, normalised_B3HW: Tensor, teacher: Levels | None = None) -> Features:
        """`teacher` are the teacher's features of the same images where they are known already."""
        teacher = self.observe(normalised_B3HW) if teacher is None else teacher
        recovered: Levels = ()
        if self.fusion is not None and self.recovery is not None:
            recovered = self.recovery(self.fusion(teacher))
        if self.student is None or self.adapters is None or self.segmentation is None:
            return Features(teacher, (), recovered, None)
        imitated = [adapt(level) for adapt, level in zip(self.adapters, self.student(normalised_B3HW), strict=True)]
        distances = tuple(map(cosine_distance, teacher, imitated))
        weighted = [level * distance[:, None] for level, distance in zip(teacher, distances, strict=True)]
        if self.hint:
            hints = map(cosine_distance, teacher, recovered)
            weighted = [level * hint[:, None] for level, hint in zip(weighted, hints, strict=True)]
        return Features(teacher, distances, recovered, self.segmentation(weighted))


class Detector(nn.Module):
    """CFRG in use: RGB images of 0 to 1 in, `Prediction` out ("Model Inference": recovery plus segmentation, smoothed).

    Where `scoring.normalise` is on, each part's map is brought to the mean 0 and the standard deviation 1 that it has on good
    images before both are added, and the segmentation's is that of its logits. `spreads` are those means and deviations, a pair a
    part (P, 2), as `thresholds.spreads` measures them; without, as if they were 0 and 1.
    """

    def __init__(self, network: Cfrg, scoring: Scoring, spreads: Sequence[tuple[float, float]] = ()) -> None:
        super().__init__()
        self.network = network
        self.align_corners = scoring.align_corners
        self.normalised = scoring.normalise
        self.levels = scoring.levels
        self.smooth = Gaussian(scoring.sigma)
        parts = (network.recovery is not None) + (network.segmentation is not None)
        if spreads and (len(spreads) != parts or not scoring.normalise):
            raise ValueError(f"{len(spreads)} spreads for a detector of {parts} parts, normalise = {scoring.normalise}")
        self.spreads_P2: Tensor
        self.register_buffer("spreads_P2", torch.tensor(list(spreads) or [(0.0, 1.0)] * parts), persistent=False)

    def forward(self, images_B3HW: Tensor) -> Prediction:
        parts = self.parts(images_B3HW)
        if self.normalised:
            parts = [(part - mean) / std for part, (mean, std) in zip(parts, self.spreads_P2, strict=True)]
        map_BHW = self.smooth(sum(parts[1:], parts[0]))[:, 0]
        return Prediction(map_BHW, map_BHW.flatten(1).amax(1))

    def parts(self, images_B3HW: Tensor) -> list[Tensor]:
        """What the map is the sum of, each (B, 1, H, W) float32 and not smoothed yet: recovery, segmentation, as far as built."""
        features = self.network(self.network.normalise(images_B3HW))
        size = images_B3HW.shape[-2:]
        parts = []
        if features.recovered:
            levels = zip(features.teacher, features.recovered, self.levels, strict=True)
            enlarged = [
                weight
                * F.interpolate(
                    cosine_distance(level, recovered)[:, None], size, mode="bilinear", align_corners=self.align_corners
                )
                for level, recovered, weight in levels
                if weight
            ]
            parts.append(sum(enlarged[1:], enlarged[0]))
        if features.logits_B1HW is not None:
            logits_B1HW = features.logits_B1HW.float()
            parts.append(logits_B1HW if self.normalised else logits_B1HW.sigmoid())
        return parts


class Gaussian(nn.Module):
    """A Gaussian of `sigma` pixels, cut off at 4 σ, mirrored about the outermost pixels; (B, 1, H, W) in and out."""

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.radius = int(4 * sigma + 0.5)
        steps = torch.arange(-self.radius, self.radius + 1, dtype=torch.float64)
        weights = torch.exp(-0.5 * (steps / max(sigma, 1e-12)) ** 2)
        self.kernel_K: Tensor
        self.register_buffer("kernel_K", (weights / weights.sum()).float(), persistent=False)

    def forward(self, map_B1HW: Tensor) -> Tensor:
        if self.radius == 0:
            return map_B1HW
        kind = map_B1HW.device.type
        if torch.is_autocast_enabled(kind):  # else scores would have the three digits of bf16
            with torch.autocast(kind, enabled=False):
                return self.forward(map_B1HW.float())
        # Reflection can reach no further than the image's other side.
        high, wide = (min(self.radius, side - 1) for side in map_B1HW.shape[-2:])
        down, across = (self._kernel(reach) for reach in (high, wide))
        padded = F.pad(map_B1HW, (wide, wide, high, high), mode="reflect")
        return F.conv2d(F.conv2d(padded, down.view(1, 1, -1, 1)), across.view(1, 1, 1, -1))

    def _kernel(self, reach: int) -> Tensor:
        kernel = self.kernel_K[self.radius - reach : self.radius + reach + 1]
        return kernel if reach == self.radius else kernel / kernel.sum()


def convolution(inside: int, outside: int, side: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution without bias, batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inside, outside, side, stride, side // 2, bias=False), nn.BatchNorm2d(outside), nn.ReLU(inplace=True)
    )


def adapter(inside: int, outside: int, ends: bool) -> nn.Sequential:
    """A level of the student's features with the teacher's channels; `ends` in a ReLU where the teacher's do."""
    layers = [
        nn.Conv2d(inside, inside, 3, padding=1, groups=inside, bias=False),
        nn.Conv2d(inside, inside, 1, bias=False),
        nn.BatchNorm2d(inside),
        nn.ReLU(inplace=True),
        nn.Conv2d(inside, inside, 3, padding=1, bias=False),
        nn.Conv2d(inside, outside, 1, bias=False),
        nn.BatchNorm2d(outside),
    ]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if ends else []))


class Bottleneck(nn.Module):
    """A wide residual block; `scale` 2 halves height and width, -2 doubles them by a transposed convolution."""

    def __init__(self, inside: int, width: int, outside: int, scale: int = 1, *, ends: bool = True) -> None:
        super().__init__()
        if scale < 0:
            middle: nn.Module = nn.ConvTranspose2d(width, width, 2, 2, bias=False)
            around: nn.Module = nn.ConvTranspose2d(inside, outside, 2, 2, bias=False)
        else:
            middle = nn.Conv2d(width, width, 3, scale, 1, bias=False)
            around = nn.Conv2d(inside, outside, 1, scale, bias=False)
        self.body = nn.Sequential(
            *(nn.Conv2d(inside, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)),
            *(middle, nn.BatchNorm2d(width), nn.ReLU(inplace=True)),
            *(nn.Conv2d(width, outside, 1, bias=False), nn.BatchNorm2d(outside)),
        )
        same = inside == outside and scale == 1
        self.shortcut = nn.Identity() if same else nn.Sequential(around, nn.BatchNorm2d(outside))
        self.ends = ends

    def forward(self, x_BCHW: Tensor) -> Tensor:
        sum_BCHW = self.body(x_BCHW) + self.shortcut(x_BCHW)
        return F.relu(sum_BCHW, inplace=True) if self.ends else sum_BCHW


class Fusion(nn.Module):
    """Bn of equation 3: the teacher's levels brought to the last one's grid, joined, and fused at half of that; as in RD."""

    def __init__(self, wide: tuple[int, ...]) -> None:
        super().__init__()
        one, two, three = wide  # 256, 512, 1024
        self.first = nn.Sequential(convolution(one, two, stride=2), convolution(two, three, stride=2))
        self.second = convolution(two, three, stride=2)
        self.blocks = nn.Sequential(
            Bottleneck(3 * three, three, 2 * three, 2),
            Bottleneck(2 * three, three, 2 * three),
            Bottleneck(2 * three, three, 2 * three),
        )

    def forward(self, levels: Levels) -> Tensor:
        """(B, 2 · C_3, h_3 / 2, w_3 / 2)."""
        one, two, three = levels
        return self.blocks(torch.cat([self.first(one), self.second(two), three], 1))  # type: ignore[no-any-return]


class Recovery(nn.Module):
    """Resblock of equation 3: from the fused features back to three levels, WideResNet50-2 mirrored (3, 4 and 6 blocks)."""

    def __init__(self, wide: tuple[int, ...], ends: bool) -> None:
        super().__init__()
        one, two, three = wide
        self.stages = nn.ModuleList(
            [_stage(2 * three, three, 3, ends), _stage(three, two, 4, ends), _stage(two, one, 6, ends)],  # widths 512, 256, 128
        )

    def forward(self, fused_BCHW: Tensor) -> Levels:
        """The teacher's shapes, in its order."""
        levels: list[Tensor] = []
        for stage in self.stages:
            fused_BCHW = stage(fused_BCHW)
            levels.insert(0, fused_BCHW)
        return tuple(levels)


def _stage(inside: int, outside: int, blocks: int, ends: bool) -> nn.Sequential:
    width = max(outside // 2, 1)
    last = blocks - 1
    first = Bottleneck(inside, width, outside, -2)
    return nn.Sequential(first, *(Bottleneck(outside, width, outside, ends=ends or at < last) for at in range(1, blocks)))


class Segmentation(nn.Module):
    """The weighted levels in, one logit a pixel out: four steps of up-sampling, the first two of them joined by a level."""

    def __init__(self, wide: tuple[int, ...]) -> None:
        super().__init__()
        one, two, three = wide
        half, quarter = max(one // 2, _NARROWEST), max(one // 4, _NARROWEST)  # 128, 64
        self.ups = nn.ModuleList([Up(three, two, two), Up(two, one, one), Up(one, half), Up(half, quarter)])
        self.last = nn.Conv2d(quarter, 1, 3, padding=1)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """(B, 1, H, W)."""
        one, two, x_BCHW = levels
        for up, skip in zip(self.ups, (two, one, None, None), strict=True):
            x_BCHW = up(x_BCHW, skip)
        return self.last(x_BCHW)  # type: ignore[no-any-return]


_NARROWEST = 16  # channels at full resolution; a teacher as slim as EfficientNet-lite0 would leave six


class Up(nn.Module):
    """Twice the height and width by a transposed convolution, a level joined to it, two convolutions."""

    def __init__(self, inside: int, outside: int, skip: int = 0) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(inside, outside, 4, 2, 1)
        self.body = nn.Sequential(convolution(outside + skip, outside), convolution(outside, outside))

    def forward(self, x_BCHW: Tensor, skip_BCHW: Tensor | None) -> Tensor:
        x_BCHW = self.up(x_BCHW)
        return self.body(x_BCHW if skip_BCHW is None else torch.cat([x_BCHW, skip_BCHW], 1))  # type: ignore[no-any-return]
