"""From judged images and counted pixels to the figures of a category."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from threecad.curation import sizes
from threecad.formats.layouts.files import counted
from threecad.learning.evaluate.results import AtThreshold, Case, CategoryResult, Curves, Judged, Share, recalls
from threecad.metrics import FIGURES, Bounded, Meter, auroc, average_precision, best_f1
from threecad.metrics import curves as drawn

if TYPE_CHECKING:
    from threecad.learning.runs import Threshold


def measure(
    category: str,
    model: str,
    images: Sequence[Judged],
    meter: Meter,
    threshold: Threshold,
    *,
    pro_limit: float,
    cases: Sequence[Case] = (),
) -> CategoryResult:
    """All that is told of a category; the meter has counted its pixels, but those of defective images without a marked one."""
    scores = np.array([each.score for each in images], np.float64)
    labels = np.array([each.defective for each in images], np.bool_)
    figures: dict[str, Bounded | None] = dict.fromkeys(FIGURES)
    why: list[str] = []
    curves = Curves(None, None, None, None, None)
    image_threshold = pixel_threshold = None
    if labels.any() and not labels.all():
        f1, image_threshold = best_f1(scores, labels)
        figures["image_auroc"], figures["image_ap"] = _sure(auroc(scores, labels)), _sure(average_precision(scores, labels))
        figures["image_f1"] = _sure(f1)
        table = drawn.of_scores(scores, labels)
        curves = Curves(drawn.roc(table), drawn.pr(table), None, None, None)
    else:
        lacking = "good" if labels.any() else "defective"
        why.append(f"no {lacking} image tests, so the figures of images are undefined.")
    pixels, marked = sum(each.pixels for each in images), sum(each.anomalous_pixels for each in images)
    regions = sum(sum(each.regions) for each in images)
    if 0 < marked < pixels:
        found = meter.compute(pro_limit=pro_limit)
        figures |= {name: getattr(found, name) for name in ("pixel_auroc", "pixel_ap", "pixel_f1", "aupro")}
        figures["pro_upstream"] = None if found.pro_upstream is None else _sure(found.pro_upstream)
        pixel_threshold, regions = found.pixel_f1_threshold, found.regions
        curves = Curves(curves.image_roc, curves.image_pr, meter.roc(), meter.pr(), meter.pro(pro_limit))
    else:
        lacking = "every pixel is marked" if marked else "no mask marks a pixel"
        why.append(f"{lacking}, so the figures of pixels are undefined.")
    unmarked = sum(each.defective and each.hit is None for each in images)
    if unmarked and marked:
        several = "have" if unmarked > 1 else "has"
        why.append(
            f"{counted(unmarked, 'defective image')} {several} no mask that marks a pixel, of use for figures of images only."
        )
    types, classes = recalls(images, sizes.NAMES)
    return CategoryResult(
        category=category,
        model=model,
        figures=figures,
        image_f1_threshold=image_threshold,
        pixel_f1_threshold=pixel_threshold,
        images=len(images),
        defective=int(labels.sum()),
        unmarked=unmarked,
        regions=regions,
        pixels=pixels,
        anomalous_pixels=marked,
        why=tuple(why),
        at=at_threshold(images, threshold),
        types=types,
        sizes=classes,
        curves=curves,
        cases=tuple(cases),
    )


def _sure(value: float) -> Bounded:
    return Bounded(value, value, value)


def at_threshold(images: Sequence[Judged], threshold: Threshold) -> AtThreshold:
    """What the run's threshold does to the images of a category, and to the photographs that they were cut from."""
    sources: dict[str, tuple[bool, float]] = {}
    for each in images:
        defective, score = sources.get(each.source, (False, each.score))
        sources[each.source] = (defective or each.defective, max(score, each.score))
    if len(sources) == len(images):  # whole photographs, or nobody knows
        sources = {}
    photographs = [(defective, score >= threshold.photograph) for defective, score in sources.values()]
    return AtThreshold(
        threshold=threshold.image,
        expected=threshold.false_positive_rate,
        rests_on=threshold.images,
        trained=threshold.source == "training",
        found=_share([(each.defective, each.found) for each in images], defective=True),
        false_alarms=_share([(each.defective, each.found) for each in images], defective=False),
        regions=Share(sum(sum(each.found_regions) for each in images), sum(sum(each.regions) for each in images)),
        photographs_threshold=threshold.photograph,
        photographs_rest_on=threshold.photographs,
        photographs_found=_share(photographs, defective=True),
        photographs_false_alarms=_share(photographs, defective=False),
    )


def _share(found: Sequence[tuple[bool, bool]], *, defective: bool) -> Share:
    own = [is_found for is_defective, is_found in found if is_defective is defective]
    return Share(sum(own), len(own))
