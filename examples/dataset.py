"""Read a data set that threecad wrote, or anybody's in a layout that `threecad stats` reads.

Usage: python examples/dataset.py [FOLDER]
"""

from __future__ import annotations

import sys
from collections import Counter

import threecad

data = threecad.Dataset(sys.argv[1] if len(sys.argv) > 1 else "demo", split="test")
print(data, dict(Counter(row.type for row in data.rows)))
for fault in data.faults:
    print(f"{fault.source}: {fault.detail}")

# image (height, width, 3), gt_mask (height, width) bool, gt_label 0 or 1, type, types, image_path, mask_path, id
defective = [item for item in data if item["gt_label"]]
for item in sorted(defective, key=lambda item: item["gt_mask"].sum())[:5]:
    print(f"{item['id']}: {item['types']}, {item['gt_mask'].sum()} of {item['gt_mask'].size} pixels")

# For torch: DataLoader(threecad.Dataset(FOLDER, split="train", transform=to_tensor), num_workers=4)
