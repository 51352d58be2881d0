"""SAHI's slice_coco as its documentation shows it: `python sahi_slices.py RAW COCO.json OUT`.

It makes gray pictures RGB, writes PNG with Pillow's default and four threads, and COCO JSON but no masks.
"""

from __future__ import annotations

import sys

from grid import OVERLAP, SIDE, Clock
from sahi.slicing import slice_coco


def main() -> None:
    raw, annotations, out = sys.argv[1:]
    clock = Clock()
    slice_coco(
        coco_annotation_file_path=annotations,
        image_dir=raw,
        output_coco_annotation_file_name="sliced",
        output_dir=out,
        slice_height=SIDE,
        slice_width=SIDE,
        overlap_height_ratio=OVERLAP,
        overlap_width_ratio=OVERLAP,
    )
    clock.tell()


if __name__ == "__main__":
    main()
