"""The paper's losses, one function an equation; all in float32, each a scalar."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from threecad.learning.model import cosine_distance

if TYPE_CHECKING:
    from threecad.learning.config import Loss
    from threecad.learning.model import Features, Levels


class Losses(NamedTuple):
    """Each part by itself, before its weight, and the weighted sum (equation 5); a part whose network is not built is 0."""

    distillation: Tensor
    recovery: Tensor
    segmentation: Tensor
    total: Tensor


def distillation(distances: Levels, masks_B1HW: Tensor, *, push: bool = True, levels: str = "sum") -> Tensor:
    """L_dis, equation 2: near the teacher where the image is normal, away from it where it is not.

    Each level's distances, (B, h, w), are enlarged bilinearly to the mask's size; the mean is over all pixels. Without `push`
    only normal pixels count (ablation WP).

    >>> half = torch.full((1, 2, 2), 0.5)
    >>> distillation((half, half, half), torch.zeros(1, 1, 2, 2))
    tensor(1.5000)
    """
    parts = []
    for distance_BHW in distances:
        size = masks_B1HW.shape[-2:]
        r_B1HW = F.interpolate(distance_BHW[:, None].float(), size, mode="bilinear", align_corners=False)
        normal = (1 - masks_B1HW) * r_B1HW
        parts.append((normal + masks_B1HW * (1 - r_B1HW) if push else normal).mean())
    total = torch.stack(parts).sum()
    return total / len(parts) if levels == "mean" else total


def recovery(recovered: Levels, normal: Levels, *, cosine: str = "position") -> Tensor:
    """L_rec: the cosine distance of what was recovered to the teacher's features of the good image, summed over levels.

    `position` takes it at each position and the mean of those, `flattened` of each level as one vector a sample.

    >>> one = torch.tensor([2.0, 0.0]).view(1, 2, 1, 1)
    >>> recovery((one,), (one.flip(1),)), recovery((one,), (one,), cosine="flattened")
    (tensor(1.), tensor(0.))
    """
    if cosine == "flattened":
        recovered, normal = (tuple(level.flatten(1)[:, :, None, None] for level in levels) for levels in (recovered, normal))
    return torch.stack([cosine_distance(mine, theirs).mean() for mine, theirs in zip(recovered, normal, strict=True)]).sum()


def segmentation(logits_B1HW: Tensor, masks_B1HW: Tensor) -> Tensor:
    """L_bce, equation 4, on logits.

    >>> segmentation(torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2))
    tensor(0.6931)
    """
    return F.binary_cross_entropy_with_logits(logits_B1HW.float(), masks_B1HW)


def losses(features: Features, normal: Levels, masks_B1HW: Tensor, settings: Loss) -> Losses:
    """All of a step; `normal` are the teacher's features of the good images (unused without a recovery)."""
    none = masks_B1HW.new_zeros(())
    parts = (
        distillation(features.distances, masks_B1HW, push=settings.push, levels=settings.levels) if features.distances else none,
        recovery(features.recovered, normal, cosine=settings.cosine) if features.recovered else none,
        none if features.logits_B1HW is None else segmentation(features.logits_B1HW, masks_B1HW),
    )
    weights = (settings.distillation, settings.recovery, settings.segmentation)
    total = torch.stack([weight * part for weight, part in zip(weights, parts, strict=True)]).sum()
    return Losses(*parts, total)
