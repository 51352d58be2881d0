"""threecad's conversion: `python threecad_tiles.py RAW OUT --workers 2 [--warm]`.

Every tile is written, as the other sides do: clean tiles of defective pictures test (`tiling.clean`), and there is no sliver
(`min_px` 1, no margin). `--warm` converts a tiny picture first, so that what is timed inside holds no import.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from grid import OVERLAP, SIDE, Clock

import threecad
from threecad.pipeline import config
from threecad.pipeline.config import Pipeline

TILING = {
    "tiling.slice_size": SIDE,
    "tiling.overlap_ratio": OVERLAP,
    "tiling.clean": "test",
    "tiling.min_px": 1,
    "tiling.margin": 0,
}


def pipeline() -> Pipeline:
    return config.override(Pipeline(), TILING)


def warm_up(settings: Pipeline) -> None:
    """Import all that a conversion imports when it needs it."""
    import numpy as np

    from threecad.formats import png

    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw"
        raw.mkdir()
        (raw / "a.png").write_bytes(png.encode_png(np.eye(256, dtype=np.uint8)))
        square = '{"label": "dent", "points": [[9, 9], [99, 9], [99, 99], [9, 99]], "shape_type": "polygon"}'
        (raw / "a.json").write_text(f'{{"imagePath": "a.png", "imageData": null, "shapes": [{square}]}}')
        threecad.convert(raw, Path(folder) / "out", settings, workers=1)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("raw", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--warm", action="store_true")
    chosen = parser.parse_args()
    settings = pipeline()
    if chosen.warm:
        warm_up(settings)
    clock = Clock()
    done = threecad.convert(chosen.raw, chosen.out, settings, workers=chosen.workers)
    assert done.manifest is not None
    unused = sum(sum(category.tiles.get("unused", {}).values()) for category in done.manifest.categories.values())
    clock.tell(converted=done.converted, changed=done.changed, unused_tiles=unused)


if __name__ == "__main__":
    main()
