"""The same figures by slow and obvious loops, to hold the quick ones against."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

NEIGHBOURS = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if (down, right) != (0, 0)]


def regions_of(mask: Any) -> list[list[tuple[int, int]]]:
    """The 8-connected regions of a mask (height, width), by flooding."""
    left = {(int(row), int(column)) for row, column in np.argwhere(np.asarray(mask) != 0)}
    regions = []
    while left:
        region, open_ = [], [left.pop()]
        while open_:
            row, column = open_.pop()
            region.append((row, column))
            for down, right in NEIGHBOURS:
                if (row + down, column + right) in left:
                    left.remove((row + down, column + right))
                    open_.append((row + down, column + right))
        regions.append(region)
    return regions


def pro_curve(maps: Any, masks: Any) -> tuple[list[float], list[float]]:
    """False-positive rate and mean overlap of the regions at each distinct score, from none found to all."""
    shares = np.zeros(maps.shape)
    regions = [(number, region) for number, mask in enumerate(masks) for region in regions_of(mask)]
    for number, region in regions:
        for place in region:
            shares[number][place] = 1 / len(region) / len(regions)
    normal = maps[np.asarray(masks) == 0]
    rates, overlaps = [0.0], [0.0]
    for threshold in np.unique(maps)[::-1]:
        rates.append(float(np.mean(normal >= threshold)))
        overlaps.append(float(shares[maps >= threshold].sum()))
    return rates, overlaps


def aupro(maps: Any, masks: Any, limit: float) -> float:
    """The area under that curve up to the limit, by trapezoids, the last one cut; over the limit."""
    rates, overlaps = pro_curve(np.asarray(maps), masks)
    area = 0.0
    for x0, x1, y0, y1 in zip(rates, rates[1:], overlaps, overlaps[1:], strict=False):
        if x0 >= limit:
            break
        if x1 > limit:
            y1 = y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
            x1 = limit
        area += (x1 - x0) * (y0 + y1) / 2
    return area / limit


def best_f1(maps: Any, masks: Any) -> tuple[float, float]:
    """The best F1 and the highest threshold that gives it."""
    scores, positive = np.asarray(maps).reshape(-1), np.asarray(masks).reshape(-1) != 0
    best = (-1.0, 0.0)
    for threshold in np.unique(scores)[::-1]:
        found = scores >= threshold
        f1 = 2 * int((found & positive).sum()) / (int(found.sum()) + int(positive.sum()))
        best = max(best, (f1, float(threshold)), key=lambda each: each[0])
    return best


def pro_image_by_image(scores: Any, mask: Any, limit: float = 0.3) -> float:
    """The variant of one image: 200 even thresholds, strictly above, rates rescaled by the largest below the limit."""
    scores = np.asarray(scores, np.float64)
    low, high = scores.min(), scores.max()
    regions = regions_of(mask)
    points = []
    for number in range(200):
        found = scores > low + number * (high - low) / 200
        rate = float(np.mean(found[np.asarray(mask) == 0]))
        if rate < limit:
            points.append((rate, float(np.mean([np.mean([found[place] for place in region]) for region in regions]))))
    points.reverse()
    largest = points[-1][0]
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        area += (x1 - x0) / largest * (y0 + y1) / 2
    return area
