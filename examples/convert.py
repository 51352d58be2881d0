"""Convert the example photographs from Python, with progress, and tell what came of them.

Usage: python examples/convert.py [OUT]
"""

from __future__ import annotations

import sys
from pathlib import Path

import threecad

raw = Path(__file__).parent / "raw"
out = Path(sys.argv[1] if len(sys.argv) > 1 else "demo")

done = threecad.convert(raw, out, "smoke", progress=lambda at: print(f"{at.done}/{at.total} {at.source}", file=sys.stderr))
assert done.manifest is not None  # only a dry run has none
for name, category in done.manifest.categories.items():
    shapes = category.shapes
    print(f"{name}: {category.sources} sources, {shapes.total} shapes, {shapes.queued} of them to be relabelled")
    for split, states in category.tiles.items():
        print(f"  {split}: {', '.join(f'{count} {state}' for state, count in states.items())}")
