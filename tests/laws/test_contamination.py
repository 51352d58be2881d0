"""No tile that is called good shows a defect: thousands of random images, and SAHI's own rule beside ours to show the danger."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from threecad.domain import Region, Size, State
from threecad.imaging.raster import spans, visible
from threecad.imaging.tiling import judge, windows
from threecad.settings import Tiling

IMAGES = 1500
"""Random images of each kind."""
TILING = Tiling()


def blob(rng, size):
    corners = 10
    angle = (np.arange(corners) + rng.uniform(0, 0.9, corners)) * (2 * np.pi / corners)
    reach = np.exp(rng.uniform(np.log(4), np.log(60))) * rng.uniform(0.6, 1, corners)
    x, y = rng.uniform(0, [size.width, size.height])
    return shapely.Polygon(np.column_stack([x + reach * np.cos(angle), y + reach * np.sin(angle)]))


def scratch(rng, size):
    x, y = rng.uniform(0, [size.width, size.height])
    turn, length = rng.uniform(0, np.pi), np.exp(rng.uniform(np.log(100), np.log(1500)))
    end = (x + length * np.cos(turn), y + length * np.sin(turn))
    return shapely.LineString([(x, y), end]).buffer(rng.uniform(0.5, 3), cap_style="flat")


def images(draw):
    """Images of one to six defects each, as (size, regions)."""
    rng = np.random.default_rng(2024)
    for _ in range(IMAGES):
        size = Size(*rng.integers(1024, 4096, 2).tolist())
        frame = shapely.box(0, 0, size.width, size.height)
        drawn = (draw(rng, size).intersection(frame) for _ in range(rng.integers(1, 6)))
        yield size, [Region(f"a#{k}", "dent", g, (k,)) for k, g in enumerate(drawn) if g.geom_type == "Polygon" and g.area]


@pytest.mark.parametrize(("draw", "expected"), [(blob, (0.01, 0.08)), (scratch, (0.10, 0.25))])
def test_no_good_tile_shows_a_defect_where_sahis_rule_lets_many_through(draw, expected):
    contaminated = theirs = good = 0
    for size, regions in images(draw):
        cuts, _ = windows(size, TILING)
        found, _ = spans(regions, size)
        geometries = np.array([region.geometry for region in regions], dtype=object)[:, None]
        frames = shapely.box(*np.array([(w.left, w.top, w.left + w.size.width, w.top + w.size.height) for w in cuts]).T)
        pixels, _ = visible(found, len(regions), cuts)

        # SAHI keeps an annotation in a slice if a tenth of its area lies there; a slice without annotations is called good.
        share = shapely.area(shapely.intersection(geometries, frames)) / shapely.area(geometries)
        theirs += bool((~(share >= 0.1).any(axis=0) & (pixels > 0).any(axis=0)).any())

        ours = np.array([state is State.GOOD for state, _ in judge(found, regions, cuts, size, [], TILING)])
        good += int(ours.sum())
        # Asked of the outlines, which know nothing of runs and windows: a pixel's centre lies within half a pixel of its edge.
        distance = shapely.distance(geometries, frames).min(axis=0)
        contaminated += int((ours & (distance <= TILING.margin - 1)).sum())
        assert not (ours & (pixels > 0).any(axis=0)).any()
    assert contaminated == 0
    assert good > IMAGES
    low, high = expected
    assert low < theirs / IMAGES < high
