"""How the cost of a folder grows with the number of photographs in it: check, convert, convert again, each a fresh process.

    python tests/bench/many.py [--sources 100000] [--json FILE] [--keep FOLDER]

The photographs are tiny (48 × 48, one polygon on every fourth), so that what is left is the cost of a source: the walk, reading,
matching, findings, near-duplicates, splits, the journal, moves, lists. Pixels cost what tests/bench/convert.py says.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

MEASURED = """
import json, resource, sys, time
began = time.monotonic()
import threecad
{work}
usage = resource.getrusage(resource.RUSAGE_SELF)
found = {{"seconds": time.monotonic() - began, "cpu": usage.ru_utime + usage.ru_stime, "peak_mb": usage.ru_maxrss * 1024 / 1e6}}
print(json.dumps(found))
"""


def draw(raw: Path, sources: int) -> None:
    """So many photographs of noise, no two alike, in folders of a thousand."""
    import cv2
    import numpy as np

    noise = np.random.default_rng(5)
    for number in range(sources):
        folder = raw / f"part{number // 1000 % 4}" / f"lot{number // 1000:03}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = cv2.resize(noise.integers(0, 256, (6, 6), np.uint8), (48, 48), interpolation=cv2.INTER_CUBIC)
        (folder / f"{number:06}.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
        x, y = noise.uniform(2, 30, 2).round(2).tolist()
        points = [[x, y], [x + 9, y + 1], [x + 8, y + 12], [x - 1, y + 9]]
        shape = {"label": "dent", "shape_type": "polygon", "points": points, "group_id": None, "flags": {}}
        said = {
            "version": "5.5.0",
            "flags": {},
            "imagePath": f"{number:06}.png",
            "imageData": None,
            "imageHeight": 48,
            "imageWidth": 48,
            "shapes": [shape] if number % 4 == 0 else [],
        }
        (folder / f"{number:06}.json").write_text(json.dumps(said))


def measured(work: str) -> dict[str, float]:
    """Seconds, CPU seconds and peak memory of a fresh process that does this; `whole` counts the start of Python too."""
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", MEASURED.format(work=work)], capture_output=True, text=True, check=True)
    whole = time.monotonic() - began
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found | {"whole": whole}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=int, nargs="+", default=[100_000], help="one row of the table each")
    parser.add_argument("--rounds", type=int, default=1, help="each with an empty output folder")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--keep", type=Path, help="draw into this folder and leave it there")
    asked = parser.parse_args()
    rows: list[dict[str, Any]] = []
    print(f"{'sources':>9}  {'step':<16} {'seconds':>8} {'CPU s':>8} {'ms a source':>12} {'peak MB':>8}")
    for sources in asked.sources:
        place = asked.keep or Path(tempfile.mkdtemp(prefix="threecad-many-"))
        raw, out = place / f"raw-{sources}", place / f"out-{sources}"
        try:
            if not raw.exists():
                draw(raw, sources)
                time.sleep(3)  # what has just changed is read again
            settings = "threecad.Pipeline.model_validate({'tiling': {'slice_size': 48, 'overlap_ratio': 0}})"
            steps = {
                "check": f"threecad.check({str(raw)!r}, out={str(place / 'check')!r})",
                "convert": f"threecad.convert({str(raw)!r}, {str(out)!r}, {settings})",
                "convert again": f"threecad.convert({str(raw)!r}, {str(out)!r}, {settings})",
            }
            for number, (step, work) in [(number, item) for number in range(asked.rounds) for item in steps.items()]:
                if step == "check":
                    for earlier in (out, place / "check"):
                        shutil.rmtree(earlier, ignore_errors=True)
                    os.sync()
                found = measured(work)
                rows.append({"sources": sources, "step": step, "round": number, **found})
                each = found["cpu"] / sources * 1000
                print(
                    f"{sources:>9,}  {step:<16} {found['seconds']:>8.1f} {found['cpu']:>8.1f} {each:>12.2f} "
                    f"{found['peak_mb']:>8.0f}",
                    flush=True,
                )
        finally:
            if asked.keep is None:
                shutil.rmtree(place, ignore_errors=True)
    if asked.json:
        machine = {"python": platform.python_version(), "cores": os.cpu_count(), "system": platform.platform()}
        asked.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
