"""Pictures for people: what a tile shows and where its defects are, and one image with everything that is drawn on it.

previews.py   a tile's preview
framing.py    what part of an image, how large     scene.py       what there is to draw, and the colours
canvas.py     photograph, masks, lines             marks.py       outlines, windows, shapes as drawn, findings
lettering.py  letters and room for them            strip.py       what stands below: legend and findings
"""

from __future__ import annotations

import numpy as np

from threecad.imaging.drawing.canvas import border, fill, picture, reduced
from threecad.imaging.drawing.framing import Frame, frame
from threecad.imaging.drawing.lettering import write
from threecad.imaging.drawing.marks import (
    crossings,
    draw_as_drawn,
    draw_findings,
    draw_windows,
    outlined,
    reaching,
    traces,
    type_tags,
)
from threecad.imaging.drawing.previews import LINE, preview
from threecad.imaging.drawing.scene import (
    AS_DRAWN,
    CROSSING,
    GROUND,
    IGNORED,
    PALETTE,
    STATES,
    Key,
    Picture,
    Scene,
    colours_of,
    numbered,
)
from threecad.imaging.drawing.strip import NARROWEST, below, legend

__all__ = [
    "AS_DRAWN",
    "CROSSING",
    "IGNORED",
    "LINE",
    "PALETTE",
    "STATES",
    "Frame",
    "Key",
    "Scene",
    "crossings",
    "draw",
    "frame",
    "numbered",
    "preview",
    "traces",
]


def draw(scene: Scene, shown: Frame) -> tuple[Picture, tuple[Key, ...]]:
    """The picture with its strip below, (height, width, 3), and the legend.

    Top left is the image's own; the strip is at least 640 px wide, so a narrow image stands to the left of nothing.

    >>> from threecad.domain import Size
    >>> scene = Scene(np.zeros((20, 20), np.uint8), "a.png", ["20 × 20 px"], ["dent"], np.eye(20, dtype=np.uint8))
    >>> picture, legend = draw(scene, frame(Size(20, 20), 1600))
    >>> picture.shape[1], picture[5, 5].tolist(), legend[0].text
    (640, [87, 60, 0], 'dent')
    """
    canvas = picture(scene.pixels, shown)
    colours = colours_of(scene.names)
    inks = None if scene.inks is None else reduced(scene.inks, shown.size, thin=scene.outlines is None)
    outlines = [(ink, reaching(geometries, shown.window)) for ink, geometries in scene.outlines or ()]
    if inks is not None:
        fill(canvas, inks, colours, scene.names)
    for ink, geometries in outlines:
        outlined(canvas, shown, geometries, colours[ink].tolist())
    if inks is not None and scene.outlines is None:
        border(canvas, inks, colours)
    words = draw_windows(canvas, shown, scene.windows)
    texts, crossed = draw_as_drawn(canvas, shown, scene.drawn)
    marks, pins = draw_findings(canvas, shown, scene.findings)
    tags = type_tags(shown, outlines, inks) if len(scene.names) > len(PALETTE) else []
    write(canvas, [*marks, *tags, *words, *texts], pins)
    present = {ink for ink, geometries in outlines if len(geometries)} | set(() if inks is None else np.unique(inks).tolist())
    keys = legend(scene, colours, present, crossed)
    strip = below(max(canvas.shape[1], NARROWEST), scene, keys)
    whole = np.empty((canvas.shape[0] + strip.shape[0], strip.shape[1], 3), np.uint8)
    whole[:] = GROUND
    whole[: canvas.shape[0], : canvas.shape[1]] = canvas
    whole[canvas.shape[0] :] = strip
    return whole, keys
