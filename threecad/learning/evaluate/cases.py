"""Images to look at: of each category the best and the worst found defect, and the worst false alarm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from threecad.domain import Size, Window
from threecad.learning.evaluate.looking import open_image, predictions
from threecad.learning.evaluate.results import Case, Judged, Kind
from threecad.learning.fitting import Fit, fit_image, fit_mask, unfit

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from threecad.formats.dataset import Dataset
    from threecad.learning.config import Recipe
    from threecad.learning.model import Detector

LONGEST = 480
"""Pixels of a case's longer side."""


def chosen(images: Sequence[Judged]) -> list[tuple[Kind, int]]:
    """Numbers of the images to look at; none twice, and fewer where there are no good or no defective ones.

    Best is the defective image with the highest score among those whose map is highest inside the mask (of all, where none is),
    worst the defective one with the lowest, and the false alarm the good one with the highest.
    """
    defective = [at for at, each in enumerate(images) if each.defective]
    good = [at for at, each in enumerate(images) if not each.defective]
    found: list[tuple[Kind, int]] = []
    if defective:
        hits = [at for at in defective if images[at].hit]
        found.append(("best", max(hits or defective, key=lambda at: images[at].score)))
        rest = [at for at in defective if at != found[0][1]]
        if rest:
            found.append(("worst", min(rest, key=lambda at: images[at].score)))
    if good:
        found.append(("false alarm", max(good, key=lambda at: images[at].score)))
    return found


def pick(
    detector: Detector, device: torch.device, data: Dataset, images: Sequence[Judged], recipe: Recipe, precision: str
) -> list[Case]:
    """The cases of a category, whose images are opened and judged once more: so the pass itself keeps no picture."""
    return [_case(detector, device, data, at, images[at], kind, recipe, precision) for kind, at in chosen(images)]


def _case(
    detector: Detector, device: torch.device, data: Dataset, at: int, judged: Judged, kind: Kind, recipe: Recipe, precision: str
) -> Case:
    item = data[at]
    opened = open_image(data.rows[at], item, recipe)
    ((_, maps, _),) = predictions(detector, device, [opened], recipe.data.size, precision)
    whole = unfit(maps, opened.fits, opened.size, align_corners=recipe.score.align_corners)
    height, width = shrunk(opened.size)
    fit = Fit(Window(0, 0, opened.size), (0, 0, height, width))
    side = max(height, width)
    known = opened.marked or not opened.defective
    return Case(
        kind=kind,
        type=judged.type,
        score=judged.score,
        found=judged.found,
        image=fit_image(item["image"], fit, side)[:height, :width].copy(),
        mask=fit_mask(opened.mask, fit, side)[:height, :width].copy() if known else None,
        map=_scaled(whole, height, width),
    )


def shrunk(size: Size) -> tuple[int, int]:
    """Height and width of a case's picture; what is small stays as it is.

    >>> shrunk(Size(600, 2000)), shrunk(Size(30, 20))
    ((144, 480), (30, 20))
    """
    longest = max(size.height, size.width, LONGEST)
    return max(1, round(size.height * LONGEST / longest)), max(1, round(size.width * LONGEST / longest))


def _scaled(whole: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    from PIL import Image

    return np.array(Image.fromarray(whole).resize((width, height), Image.Resampling.BILINEAR), np.float32)
