"""The parts of the benchmark: which script each runs, at which size, and what is kept of what the script measured.

Each part is handed `run`, which starts a script beside this file in a fresh process and gives back what it wrote with `--json`;
the part's settings; and a `Found` that it fills as it goes, so that what was measured before a failure is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Settings = Mapping[str, Any]
Run = Callable[..., Any]
MODES = ("quick", "usual", "full")


@dataclass
class Found:
    """Measurements by name, and by the beginning of a name why there is none."""

    measurements: dict[str, dict[str, Any]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, value: float, unit: str, better: str = "less") -> None:
        """One more round of a measurement."""
        kept = self.measurements.setdefault(name, {"unit": unit, "better": better, "rounds": []})
        kept["rounds"].append(value)


@dataclass(frozen=True, slots=True)
class Part:
    """`sizes` are the settings of each mode; None means that the part is left out there unless it is asked for by name."""

    name: str
    title: str
    work: Callable[[Run, Settings, Found], None]
    sizes: Mapping[str, Settings | None]


def photographs(size: Settings) -> list[Any]:
    return ["--images", size["photographs"], "--width", size["width"], "--height", size["height"], "--rounds", size["rounds"]]


def convert(run: Run, size: Settings, found: Found) -> None:
    for each in run("convert.py", *photographs(size))["measured"]:
        side, inner = each["side"], each["inner"]
        inside = side.endswith("-warm") or side == "floor"  # as in convert.py: there the work alone counts
        found.add(f"{side} seconds", inner["inner_seconds"] if inside else each["seconds"], "s")
        found.add(f"{side} cpu", inner["inner_cpu"] if inside else each["cpu"], "s of CPU")
        found.add(f"{side} peak", each["peak"], "MB")
        if each["tiles"]:
            found.add(f"{side} tiles", each["tiles"], "tiles", "same")
            found.add(f"{side} written", each["tile_megabytes"], "MB of tiles", "same")


def profile(run: Run, size: Settings, found: Found) -> None:
    for each in run("convert.py", "--profile", "--functions", 0, *photographs(size))["profile"]["runs"]:
        found.add("all cpu", each["cpu"], "s of CPU")
        for stage, (cpu, _, _) in sorted(each["stages"].items()):
            found.add("rasteriser cpu" if stage == "exact rasteriser" else f"stage {stage}", cpu, "s of CPU")


def growth(run: Run, size: Settings, found: Found) -> None:
    for series, name in (("images", "images"), ("polygons", "polygons"), ("pixels", "sides")):
        told = run("convert.py", "--growth", "--series", series, "--squares", *size["sides"], *photographs(size))["growth"]
        ((_, steps),) = told.items()
        for number, step in enumerate(steps.values(), 1):
            pixels = step["images"] if series == "images" else step["megapixels"] / 1000  # each: an image, or in ms a megapixel
            for each in (each for each in step["measured"] if each["side"] == "two-warm"):
                seconds, cpu = each["inner"]["inner_seconds"], each["inner"]["inner_cpu"]
                found.add(f"{name} {number} seconds", seconds, "s")
                found.add(f"{name} {number} cpu", cpu, "s of CPU")
                found.add(f"{name} {number} each", seconds / pixels, "s an image" if series == "images" else "ms a megapixel")
                found.add(f"{name} {number} peak", each["peak"], "MB")
                found.add(f"{name} {number} two", step["two_largest_mb"], "MB of two decoded photographs", "same")
            for each in (each for each in step["measured"] if each["side"] == "floor"):
                found.add(f"{name} {number} floor cpu", each["inner"]["inner_cpu"], "s of CPU")


def many(run: Run, size: Settings, found: Found) -> None:
    took: dict[int, float] = {}
    for row in run("many.py", "--sources", size["sources"], "--rounds", size["rounds"])["rows"]:
        step = row["step"].removeprefix("convert ")  # check, convert, again
        found.add(f"{step} seconds", row["whole"], "s")
        found.add(f"{step} cpu", row["cpu"], "s of CPU")
        found.add(f"{step} peak", row["peak_mb"], "MB")
        if step != "again":
            took[row["round"]] = took.get(row["round"], 0.0) + row["whole"]
    for seconds in took.values():
        found.add("both seconds", seconds, "s")


def stats(run: Run, size: Settings, found: Found) -> None:
    for row in run("stats.py", "--images", size["images"], "--rounds", size["rounds"])["runs"]:
        for name in ("first", "second"):
            told = row[name]
            found.add(f"{name} seconds", told["seconds"], "s")
            found.add(f"{name} cpu", told["cpu"], "s of CPU")
            found.add(f"{name} peak", told["peak"], "MB")
        found.add("first rate", row["first"]["images"] / row["first"]["seconds"], "images/s", "more")


def loading(run: Run, size: Settings, found: Found) -> None:
    told = run("loading.py", *photographs(size))
    found.missing |= told["missing"]
    for name, rounds in told["seconds"].items():
        for seconds in rounds:
            found.add(name, seconds, "s")


def metrics(run: Run, size: Settings, found: Found) -> None:
    asked = ["--maps", size["maps"], "--side", size["side"], "--rounds", size["rounds"], "--kinds", "smooth"]
    asked += ["--without", *size["without"]] if size["without"] else []
    told = run("metrics.py", *asked)["smooth"]
    for name, words in (("own", "threecad, 16 bits"), ("sklearn", "sklearn"), ("adeval", "adeval")):
        if words not in told["cpu"]:
            found.missing[name] = "left out of a quick run" if name in size["without"] else f"{name} is not installed"
            continue
        for seconds in told["cpu"][words]:
            found.add(f"{name} cpu", seconds, "s of CPU")
        if name != "sklearn":  # which is exact; a float's own precision where an error is nought
            found.add(f"{name} error", max(told["off"][words]["AP"], 2.0**-53), "of AP")
    held = run("metrics.py", "--full", size["streamed"], "--maps", size["maps"], "--side", size["side"], "--kinds", "smooth")
    found.add("state held", held["smooth"]["held"] / 1e6, "MB")
    found.add("state sent", held["smooth"]["sent"] / 1e6, "MB")


def training(run: Run, size: Settings, found: Found) -> None:
    asked = ["--batch-size", size["batch"], "--steps", size["steps"], "--rounds", size["rounds"]]
    asked += ["--size", size["side"]] + (["--teacher", size["teacher"]] if size["teacher"] else [])
    told = run("cfrg.py", *asked, "--device", "cuda" if has_gpu() else "cpu")
    name, other = ("gpu", "cpu") if has_gpu() else ("cpu", "gpu")
    found.missing[other] = "there is no GPU here" if other == "gpu" else "a GPU was measured instead"
    for seconds in told["sides"][0]["seconds"]:
        found.add(f"{name} step", seconds, "s a step")
        found.add(f"{name} rate", size["batch"] / seconds, "images/s", "more")


def has_gpu() -> bool:
    """Whether NVIDIA's driver shows a device; torch, which would know better, is too heavy to ask here."""
    return any(Path("/dev").glob("nvidia[0-9]*"))


LARGE = {"width": 4096, "height": 3072}
SMALL = {"width": 1100, "height": 1050, "photographs": 2, "rounds": 1}
_TRAINING = {"batch": 32, "steps": 5, "rounds": 3, "side": 256, "teacher": ""}
_USUAL_TRAINING = _TRAINING if has_gpu() else None
PARTS = (
    Part(
        "convert",
        "convert beside SAHI, the usual scripts and the codec floor",
        convert,
        {"quick": SMALL, "usual": {**LARGE, "photographs": 8, "rounds": 3}, "full": {**LARGE, "photographs": 8, "rounds": 7}},
    ),
    Part(
        "profile",
        "the exact rasteriser's share of a conversion",
        profile,
        {"quick": SMALL, "usual": {**LARGE, "photographs": 8, "rounds": 3}, "full": {**LARGE, "photographs": 8, "rounds": 5}},
    ),
    Part(
        "growth",
        "more photographs, more polygons, larger photographs",
        growth,
        {
            "quick": {**SMALL, "images": [2, 4, 8], "polygons": [10, 100, 1000], "sides": [512, 1024, 1536]},
            "usual": {
                **LARGE,
                "photographs": 4,
                "rounds": 2,
                "images": [4, 8, 16],
                "polygons": [10, 100, 1000],
                "sides": [2048, 8192, 16384],
            },
            "full": {
                **LARGE,
                "photographs": 8,
                "rounds": 3,
                "images": [8, 16, 32],
                "polygons": [10, 100, 1000],
                "sides": [2048, 8192, 16384],
            },
        },
    ),
    Part(
        "many",
        "a folder of many small sources",
        many,
        {
            "quick": {"sources": 40, "rounds": 1},
            "usual": {"sources": 10_000, "rounds": 2},
            "full": {"sources": 100_000, "rounds": 1},
        },
    ),
    Part(
        "stats",
        "profiling a finished data set, and again",
        stats,
        {
            "quick": {"images": 40, "rounds": 1},
            "usual": {"images": 3000, "rounds": 2},
            "full": {"images": 27_039, "rounds": 1},
        },
    ),
    Part(
        "loading",
        "Dataset beside decoding alone",
        loading,
        {"quick": SMALL, "usual": {**LARGE, "photographs": 4, "rounds": 5}, "full": {**LARGE, "photographs": 8, "rounds": 7}},
    ),
    Part(
        "metrics",
        "metrics beside scikit-learn and adeval",
        metrics,
        {
            "quick": {"maps": 8, "side": 32, "rounds": 1, "streamed": 16, "without": ["sklearn"]},
            "usual": {"maps": 1000, "side": 256, "rounds": 2, "streamed": 2000, "without": []},
            "full": {"maps": 1000, "side": 256, "rounds": 3, "streamed": 16_546, "without": []},
        },
    ),
    Part(
        "training",
        "a training step",
        training,
        {
            "quick": {"batch": 2, "steps": 1, "rounds": 1, "side": 64, "teacher": "tf_efficientnet_lite0"},
            "usual": _USUAL_TRAINING,
            "full": _TRAINING if has_gpu() else {**_TRAINING, "batch": 4, "steps": 1},
        },
    ),
)
