"""Nanoseconds a pixel, error and state of `threecad.metrics`, beside scikit-learn's AUROC and AP and adeval's accumulator.

    python tests/bench/metrics.py [--maps 1000] [--rounds 3] [--kinds smooth sigmoid] [--without sklearn] [--full 16546]

`adeval` takes part where it can be imported: `uv run --with adeval python tests/bench/metrics.py` (1.1.0 asks for NumPy's old
`trapz`, which it is given). All contenders take turns within a round and each round begins with another one; the median counts,
ratios are medians of the rounds' own, and nanoseconds and ratios are of CPU time, for busy machines. Errors are against the
exact figures, those of 23 bits of mantissa; the line of scikit-learn shows that they are. adeval is told the true range of
scores, which it cannot know in one pass.

`smooth` are maps as a detector with a blur gives them, `sigmoid` a segmentation network's with scores down to 1e-22 and up to 1,
`signed` logits, `relu` maps half of whose pixels are 0, `8 bit` and `16 bit` what was stored as an image. `--full` streams
so many maps and prints the state they leave; each batch of floats has another factor or power, so that none repeats.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from threecad.metrics import Meter, Scores

Figures = dict[str, float]


def noise(random: np.random.Generator, side: int) -> Any:
    """A smooth field of mean 0 and deviation about 1."""
    rough = cv2.GaussianBlur(random.normal(size=(side, side)).astype(np.float32), (0, 0), 4.0)
    coarse = random.normal(size=(9, 9)).astype(np.float32)
    return rough * 10 + 0.5 * cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)


def draw(count: int, side: int, kind: str) -> tuple[Any, Any]:
    """Maps and masks (count, side, side); three images of five are defective, with one to three blobs each."""
    random = np.random.default_rng(0)
    masks = np.zeros((count, side, side), np.uint8)
    logits = np.empty((count, side, side), np.float32)
    for mask, logit in zip(masks, logits, strict=True):
        logit[:] = noise(random, side)
        for _ in range(random.integers(1, 4) if random.random() < 0.6 else 0):
            centre = tuple(random.integers(0, side, 2).tolist())
            axes = tuple(random.integers(max(2, side // 64), side // 10, 2).tolist())
            blob = cv2.ellipse(np.zeros_like(mask), centre, axes, float(random.uniform(0, 180)), 0, 360, 255, -1)
            mask |= blob
            logit += random.uniform(0.3, 3) * cv2.GaussianBlur(blob, (0, 0), 4.0).astype(np.float32) / 255
    return of_kind(logits, kind), masks


def of_kind(logits: Any, kind: str) -> Any:
    smooth = 0.1 + 0.05 * np.exp(0.5 * logits)
    match kind:
        case "smooth":
            return smooth
        case "sigmoid":
            return 1 / (1 + np.exp(12 - 8 * logits))
        case "signed":
            return logits
        case "relu":
            return np.maximum(logits, 0)
        case "8 bit":
            return np.clip(smooth * 400, 0, 255).astype(np.uint8)
        case "16 bit":
            return np.clip(smooth * 100_000, 0, 65535).astype(np.uint16)
        case "float16":
            return smooth.astype(np.float16)
    raise SystemExit(f"no such kind of maps: {kind}")


def batches(maps: Any, masks: Any, size: int) -> Iterator[tuple[Any, Any]]:
    for start in range(0, len(maps), size):
        yield maps[start : start + size], masks[start : start + size]


def figures_of(scores: Scores) -> Figures:
    found = {"AUROC": scores.pixel_auroc, "AP": scores.pixel_ap, "AUPRO": scores.aupro}
    return {name: float(figure) for name, figure in found.items() if figure is not None}


def measured(maps: Any, masks: Any, size: int, bits: int) -> Meter:
    meter = Meter(mantissa_bits=bits)
    for part, marked in batches(maps, masks, size):
        meter.update(part, marked)
    return meter


def by_sklearn(maps: Any, masks: Any) -> Figures:
    from sklearn.metrics import average_precision_score, roc_auc_score

    scores, labels = maps.reshape(-1), masks.reshape(-1) != 0
    return {"AUROC": float(roc_auc_score(labels, scores)), "AP": float(average_precision_score(labels, scores))}


def by_adeval(maps: Any, masks: Any, *, skip: bool, strips: int | None) -> Figures:
    if not hasattr(np, "trapz"):
        vars(np)["trapz"] = np.trapezoid
    from adeval import EvalAccumulator

    found = EvalAccumulator(float(maps.min()), float(maps.max()), skip_pixel_aupro=skip, nstrips=strips)
    images = maps.astype(np.float32, copy=False)
    for part, marked in zip(images, masks, strict=True):
        found.add_anomap(part, marked)
    labels = masks.any(axis=(1, 2))
    found.add_image(images.max(axis=(1, 2)), labels)
    found.add_sample(images.max(axis=(1, 2)), labels)
    told = found.summary()
    return {"AUROC": told["p_auroc"], "AP": told["p_aupr"], "AUPRO": told["p_aupro"]}


def contenders(maps: Any, masks: Any, chosen: argparse.Namespace) -> dict[str, Callable[[], Figures]]:
    size = chosen.batch
    works: dict[str, Callable[[], Figures]] = {
        "threecad, 16 bits": lambda: figures_of(measured(maps, masks, size, 16).compute()),
        "threecad, one map a call": lambda: figures_of(measured(maps, masks, 1, 16).compute()),
        "threecad, 18 bits": lambda: figures_of(measured(maps, masks, size, 18).compute()),
        "threecad, 23 bits": lambda: figures_of(measured(maps, masks, size, 23).compute()),
    }
    try:
        import adeval  # noqa: F401

        works["adeval"] = lambda: by_adeval(maps, masks, skip=False, strips=None)
        works["adeval, no AUPRO"] = lambda: by_adeval(maps, masks, skip=True, strips=None)
    except ImportError:
        print("adeval cannot be imported and takes no part")
    works["sklearn"] = lambda: by_sklearn(maps, masks)
    return {name: work for name, work in works.items() if not any(word in name for word in chosen.without)}


def compare(kind: str, chosen: argparse.Namespace) -> dict[str, Any]:
    maps, masks = draw(chosen.maps, chosen.side, kind)
    works = contenders(maps, masks, chosen)
    seconds: dict[str, list[float]] = {name: [] for name in works}
    spent: dict[str, list[float]] = {name: [] for name in works}
    told: dict[str, Figures] = {}
    for turn in range(chosen.rounds):
        names = list(works)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            start, used = time.perf_counter(), time.process_time()
            told[name] = works[name]()
            seconds[name].append(time.perf_counter() - start)
            spent[name].append(time.process_time() - used)
    truth = told.get("threecad, 23 bits") or figures_of(measured(maps, masks, chosen.batch, 23).compute())
    own = spent["threecad, 16 bits"]
    share = np.count_nonzero(masks) / masks.size
    low, high = float(maps.min()), float(maps.max())
    print(f"\n{kind}: {len(maps):,} maps of {chosen.side}², {share:.1%} anomalous, {low:.2g} … {high:.2g}")
    print(f"{'':26} {'s':>8} {'ns/px':>8} {'times as long as 16 bits':>24}   {'AUROC':>9} {'AP':>9} {'AUPRO':>9}  off by")
    for name, times in spent.items():
        ratio = statistics.median(one / other for one, other in zip(times, own, strict=True))
        off = [f"{abs(told[name][key] - truth[key]):9.1e}" if key in told[name] else f"{'':9}" for key in truth]
        each = statistics.median(times)
        print(f"{name:26} {statistics.median(seconds[name]):8.3f} {each * 1e9 / maps.size:8.2f} {ratio:24.2f}   {' '.join(off)}")
    scores = measured(maps, masks, chosen.batch, 16).compute()
    widths = [figure.upper - figure.lower for figure in (scores.pixel_auroc, scores.pixel_ap, scores.aupro) if figure]
    print(f"{'width of the bounds':26} {'':42}   {' '.join(f'{width:9.1e}' for width in widths)}")
    off_by = {name: {key: abs(told[name][key] - truth[key]) for key in truth if key in told[name]} for name in told}
    return {"maps": len(maps), "seconds": seconds, "cpu": spent, "off": off_by}


def varied(maps: Any, kind: str, random: np.random.Generator) -> Any:
    """Other floats of the same kind and order; whole numbers stay what they are."""
    if maps.dtype.kind == "u":
        return maps
    change = maps.dtype.type(random.uniform(0.9, 1.1))
    return maps**change if kind == "sigmoid" else maps * change


def stream(kind: str, chosen: argparse.Namespace) -> dict[str, Any]:
    """So many maps through one meter: time of `update` alone, the most it ever held, and the process's peak."""
    maps, masks = draw(min(chosen.maps, chosen.full), chosen.side, kind)
    random = np.random.default_rng(1)
    meter, spent, held, done = Meter(), 0.0, 0, 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    while done < chosen.full:
        for part, marked in batches(maps, masks, chosen.batch):
            fresh, marked = varied(part, kind, random)[: chosen.full - done], marked[: chosen.full - done]
            start = time.process_time()
            meter.update(fresh, marked)
            spent += time.process_time() - start
            held = max(held, meter.nbytes)
            done += len(fresh)
            if done >= chosen.full:
                break
    start = time.process_time()
    scores = meter.compute()
    ending = time.process_time() - start
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pixels, sent = scores.pixels, sum(each.nbytes for each in meter.state().values())
    print(f"{kind:8} {done:,} maps, {pixels / 1e9:.3f} G pixels, {scores.mantissa_bits} bits in the end")
    print(f"         update {spent:.2f} s ({spent * 1e9 / pixels:.2f} ns/px), compute {ending:.2f} s")
    print(f"         held at most {held / 1e6:.1f} MB, sent {sent / 1e6:.1f} MB, process + {(after - before) / 1e3:.0f} MB")
    for name in ("pixel_auroc", "pixel_ap", "pixel_f1", "aupro"):
        figure = getattr(scores, name)
        print(f"         {name:12} {figure.value:.7f}  − {figure.value - figure.lower:.1e}  + {figure.upper - figure.value:.1e}")
    return {"maps": done, "update_cpu": spent, "compute_cpu": ending, "held": held, "sent": sent}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--maps", type=int, default=1000)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", default=["smooth", "sigmoid"])
    parser.add_argument("--without", nargs="*", default=[], help="leave out contenders with this in their names")
    parser.add_argument("--full", type=int, default=0, metavar="N", help="stream N maps and print the state instead of comparing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement there")
    chosen = parser.parse_args()
    cv2.setNumThreads(1)
    found = {kind: (stream if chosen.full else compare)(kind, chosen) for kind in chosen.kinds}
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
