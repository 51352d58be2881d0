"""threecad convert against SAHI, the usual scripts and the codec's floor, on drawn photographs: seconds, memory, CPU.

    python tests/bench/convert.py [--images 8] [--rounds 3] [--json FILE]    the table and the bars
    python tests/bench/convert.py --profile                                  where a conversion spends its time
    python tests/bench/convert.py --growth                                   more images, polygons and megapixels

Each side is a script of its own in scripts/, run in a fresh process. All sides take turns within a round, and medians count, so
that a busy machine slows all of them alike. README.md beside this file says what each side does and what is fair about it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

# Nothing heavier is imported: a child's peak memory is never below that of the process that started it.

SCRIPTS = Path(__file__).parent / "scripts"
OLD_ENOUGH = 3  # seconds; threecad reads a file again that changed just before it was read
SAMPLE_EVERY = 0.05  # seconds between two looks at the memory of a side with several processes


@dataclass(frozen=True)
class Set:
    """What the photographs of one set are like; its name stands for all of it."""

    images: int
    width: int
    height: int
    polygons: tuple[int, int]
    invalid: float
    seed: int

    @property
    def name(self) -> str:
        fewest, most = self.polygons
        shape = f"{self.images}-of-{self.width}x{self.height}"
        return f"{shape}-polygons-{fewest}-{most}-invalid-{self.invalid:g}-seed-{self.seed}"

    @property
    def megapixels(self) -> float:
        return self.images * self.width * self.height / 1e6

    def draw(self, data: Path) -> Path:
        """The raw folder of this set below `data`, drawn if it is not there yet."""
        raw = data / self.name
        if not raw.exists():
            shutil.rmtree(data / "drawing", ignore_errors=True)
            arguments = ["--images", self.images, "--width", self.width, "--height", self.height, "--seed", self.seed]
            arguments += ["--polygons", *self.polygons, "--invalid", self.invalid]
            script([SCRIPTS / "photographs.py", data / "drawing", *arguments])
            (data / "drawing").rename(raw)
            time.sleep(OLD_ENOUGH)
        return raw


@dataclass(frozen=True)
class Side:
    """One contender. `{raw}`, `{out}` and `{coco}` in its arguments are replaced; `after` names the side whose output it takes.

    `inside` counts the work alone, as the script measured it, without the start of Python and its imports.
    """

    name: str
    arguments: tuple[str, ...]
    title: str
    tiles: str = ""
    processes: int = 1
    inside: bool = False
    after: str = ""


_CONVERT = ("threecad_tiles.py", "{raw}", "{out}", "--workers")
_TILES = "*/t*/*/*.png"  # CATEGORY/{train,test}/TYPE/NAME.png
SIDES = (
    Side("coco", ("labelme_to_coco.py", "{raw}", "{coco}"), "labelme → COCO JSON, for SAHI"),
    Side("sahi", ("sahi_slices.py", "{raw}", "{coco}", "{out}"), "SAHI slice_coco (no masks)", "*.png"),
    Side("pillow", ("pillow_tiles.py", "{raw}", "{out}"), "Pillow script", "images/*.png"),
    Side("opencv", ("opencv_tiles.py", "{raw}", "{out}"), "OpenCV script, 2 processes, gray → BGR", "images/*.png", 3),
    Side("opencv-gray", ("opencv_tiles.py", "{raw}", "{out}", "--gray"), "OpenCV script, 2 processes", "images/*.png", 3),
    Side("two", (*_CONVERT, "2"), "threecad, 2 workers", _TILES),
    Side("again", (*_CONVERT, "2"), "threecad, 2 workers, second run", _TILES, after="two"),
    Side("one", (*_CONVERT, "1"), "threecad, 1 worker", _TILES),
    Side("two-warm", (*_CONVERT, "2", "--warm"), "threecad, 2 workers, warm", _TILES, inside=True),
    Side("again-warm", (*_CONVERT, "2", "--warm"), "threecad, 2 w., warm, second run", _TILES, inside=True, after="two-warm"),
    Side("one-warm", (*_CONVERT, "1", "--warm"), "threecad, 1 worker, warm", _TILES, inside=True),
    Side("floor", ("codec_floor.py", "{raw}"), "codec floor, 1 thread, warm", inside=True),
)


@dataclass
class Measured:
    """One run. `seconds` and `cpu` are of the whole process tree; `peak` in MB (10^6 bytes); `inner` what the script says."""

    side: str
    round: int
    seconds: float
    cpu: float
    peak: float
    load: float
    tiles: int = 0
    tile_megapixels: float = 0.0
    tile_megabytes: float = 0.0
    inner: dict[str, Any] = field(default_factory=dict)


# ---------------------------------------------------------------- running


def script(arguments: list[Any]) -> str:
    """Run a script that is not measured; its last line."""
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip().rpartition("\n")[2]


def measure(side: Side, number: int, raw: Path, work: Path) -> Measured:
    out = work / (side.after or side.name)
    if not side.after:
        shutil.rmtree(out, ignore_errors=True)
    os.sync()  # what the side before has written must not wait for the disk during this one's time
    places = {"raw": raw, "out": out, "coco": work / "coco.json"}
    command = [sys.executable, str(SCRIPTS / side.arguments[0]), *(part.format(**places) for part in side.arguments[1:])]
    load = os.getloadavg()[0]
    began = time.perf_counter()
    with (work / "said").open("wb") as said, (work / "complained").open("wb") as complained:
        child = subprocess.Popen(command, stdout=said, stderr=complained)
        most = Sampler(child.pid) if side.processes > 1 else None
        _, status, used = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{side.name} ended with {child.returncode}:\n{(work / 'complained').read_text()[-3000:]}")
    peak = most.stop() if most else used.ru_maxrss * 1024
    line = (work / "said").read_text().strip().rpartition("\n")[2]
    found = Measured(side.name, number, seconds, used.ru_utime + used.ru_stime, peak / 1e6, load, inner=json.loads(line))
    if side.tiles:
        tiles = list(out.glob(side.tiles))
        found.tiles = len(tiles)
        found.tile_megapixels = sum(png_area(tile) for tile in tiles) / 1e6
        found.tile_megabytes = sum(tile.stat().st_size for tile in tiles) / 1e6
    return found


class Sampler:
    """Looks at a process and its children now and then: the most memory they held together, shared pages counted once."""

    def __init__(self, pid: int) -> None:
        self.most = 0
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        self._ended.set()
        self._thread.join()
        return self.most

    def _run(self) -> None:
        while not self._ended.wait(SAMPLE_EVERY):
            self.most = max(self.most, sum(map(proportional, family(self._pid))))


def family(pid: int) -> list[int]:
    try:
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(each for child in listed for each in family(int(child)))]


def proportional(pid: int) -> int:
    """Bytes of a process in memory, each shared page divided by those who share it."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # it has just ended
    return 0


def png_area(path: Path) -> int:
    with path.open("rb") as file:
        width, height = struct.unpack(">16x2I", file.read(24))
    return int(width * height)


def run(sides: list[Side], rounds: int, raw: Path, work: Path) -> list[Measured]:
    """All sides take turns; each round begins with another one. A side that goes on after another stays behind it."""
    blocks: list[list[Side]] = []
    for side in sides:
        if blocks and (side.after or blocks[-1][-1].name == "coco"):
            blocks[-1].append(side)
        else:
            blocks.append([side])
    tiny = Set(1, 512, 512, (5, 5), 0, 0).draw(work)
    for side in sides:
        measure(side, -1, tiny, work)  # compiles what is imported, and reads it from the disk
    found = []
    for number in range(rounds):
        turn = number % len(blocks)
        for side in (side for block in blocks[turn:] + blocks[:turn] for side in block):
            note(f"round {number + 1} of {rounds}: {side.title}")
            found.append(measure(side, number, raw, work))
    return found


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# ---------------------------------------------------------------- the table and the bars


class Results:
    """Every measurement by side and round; what is asked of them is a median over the rounds."""

    def __init__(self, measured: list[Measured], sides: list[Side]) -> None:
        self.by_side: defaultdict[str, list[Measured]] = defaultdict(list)
        for each in measured:
            self.by_side[each.side].append(each)
        self.inside = {side.name for side in sides if side.inside}

    def has(self, *names: str) -> bool:
        return all(name in self.by_side for name in names)

    def values(self, name: str, what: str) -> list[float]:
        if name in self.inside and what in ("seconds", "cpu"):
            return [each.inner[f"inner_{what}"] for each in self.by_side[name]]
        return [getattr(each, what) for each in self.by_side[name]]

    def median(self, name: str, what: str) -> float:
        return statistics.median(self.values(name, what))

    def ratio(self, name: str, other: str, what: str = "seconds") -> float:
        """The median of the rounds' own ratios, since what disturbs a round disturbs both."""
        pairs = zip(self.values(name, what), self.values(other, what), strict=True)
        return statistics.median(one / two for one, two in pairs)


def table(results: Results, sides: list[Side], of: Set) -> list[str]:
    rows = [["side", "seconds", "least", "images/s", "MP/s", "peak MB", "CPU ms/MP", "tiles", "MB out", "× SAHI"]]
    counts = {results.by_side[side.name][-1].tiles for side in sides if side.tiles}
    for side in sides:
        seconds, cpu = (results.median(side.name, what) for what in ("seconds", "cpu"))
        last = results.by_side[side.name][-1]
        least = min(results.values(side.name, "seconds"))
        row = [side.title, f"{seconds:.2f}", f"{least:.2f}", f"{of.images / seconds:.2f}", f"{of.megapixels / seconds:.1f}"]
        row += [f"{results.median(side.name, 'peak'):.0f}", f"{cpu * 1000 / of.megapixels:.1f}"]
        row += [f"{last.tiles}{'' if len(counts) == 1 else ' (!)'}", f"{last.tile_megabytes:.0f}"] if side.tiles else ["", ""]
        row += [f"{results.ratio('sahi', side.name):.1f}" if results.has("sahi") and side.tiles and not side.after else ""]
        rows.append(row)
    lines = columns(rows)
    if any(each.inner["changed"] for side in sides if side.after for each in results.by_side[side.name]):
        lines.append("The second run over unchanged input did not find everything done.")
    if len(counts) > 1:
        lines.append("(!) The sides wrote different numbers of tiles: their times do not compare as they stand.")
    return lines


def columns(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]


@dataclass(frozen=True)
class Bar:
    text: str
    value: float
    limit: float
    at_least: bool

    @property
    def met(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        asked = f"{'≥' if self.at_least else '≤'} {self.limit:g}"
        return f"{'met' if self.met else 'NOT met':8}{self.value:8.2f}  ({asked})  {self.text}"


def bars(results: Results) -> list[Bar]:
    found = []
    if results.has("sahi", "two"):
        found.append(Bar("times as fast as SAHI's slice_coco, whole processes", results.ratio("sahi", "two"), 12, True))
    if results.has("opencv-gray", "two"):
        text = "times as fast as the OpenCV script with 2 processes that keeps gray gray"
        found.append(Bar(text, results.ratio("opencv-gray", "two"), 2, True))
    if results.has("opencv", "two"):
        text = "times as fast as the OpenCV script with 2 processes and imread's default"
        found.append(Bar(text, results.ratio("opencv", "two"), 2, True))
    if results.has("floor", "one-warm"):
        text = "times the CPU of the codec floor, steady state, 1 worker"
        found.append(Bar(text, results.ratio("one-warm", "floor", "cpu"), 1.25, False))
    if results.has("floor", "two-warm"):
        text = "times the CPU of the codec floor, steady state, 2 workers"
        found.append(Bar(text, results.ratio("two-warm", "floor", "cpu"), 1.25, False))
    if results.has("one-warm", "two-warm"):
        found.append(Bar("times as fast with 2 workers as with 1, warm", results.ratio("one-warm", "two-warm"), 1.6, True))
    if results.has("one", "two"):
        found.append(Bar("times as fast with 2 workers as with 1, whole processes", results.ratio("one", "two"), 1.6, True))
    if results.has("two"):
        found.append(Bar("MB at most, 2 workers", results.median("two", "peak"), 250, False))
    if results.has("two-warm", "again-warm"):
        share = 100 * results.ratio("again-warm", "two-warm")
        found.append(Bar("% of the first run for a second over unchanged input, warm", share, 5, False))
    if results.has("two", "again"):
        share = 100 * results.ratio("again", "two")
        found.append(Bar("% the same, whole processes (start and imports, in both, are most of it)", share, 5, False))
    return found


# ---------------------------------------------------------------- growth


def growth(chosen: argparse.Namespace, data: Path, work: Path) -> dict[str, Any]:
    """threecad with 2 workers, warm: seconds and CPU a megapixel when there is more of one thing."""
    images, seed, invalid = chosen.images, chosen.seed, chosen.invalid
    width, height = chosen.width, chosen.height
    few = max(4, images // 2)
    series = {
        "images": [
            (f"{times * images}", Set(times * images, width, height, chosen.polygons, invalid, seed)) for times in (1, 2, 4)
        ],
        "polygons an image": [(f"{most}", Set(few, width, height, (most, most), invalid, seed)) for most in (10, 100, 1000)],
        "pixels a side": [(f"{side}", Set(4, side, side, chosen.polygons, invalid, seed)) for side in chosen.squares],
    }
    if chosen.series:
        series = {what: steps for what, steps in series.items() if what.startswith(chosen.series)}
    sides = [side for side in SIDES if side.name in ("two-warm", "floor")]
    rows = [["", "s", "ms/MP", "CPU ms/MP", "× floor", "peak MB", "÷ 2 largest", "tiles", "time × first", "CPU × first"]]
    kept: dict[str, Any] = {}
    for what, steps in series.items():
        raws = [(label, of, of.draw(data)) for label, of in steps]
        measured: dict[str, list[Measured]] = defaultdict(list)
        for number in range(chosen.rounds):
            for label, of, raw in raws:
                note(f"round {number + 1} of {chosen.rounds}: {label} {what}")
                measured[of.name] += [measure(side, number, raw, work) for side in sides]
                shutil.rmtree(work / "two-warm")
        first = None
        for label, of, _ in raws:
            results = Results(measured[of.name], sides)
            seconds, cpu = (results.median("two-warm", key) / of.megapixels * 1000 for key in ("seconds", "cpu"))
            first = first or (seconds, cpu)
            peak = results.median("two-warm", "peak")
            largest = 2 * 3 * of.width * of.height / 1e6  # two RGB pictures; of every four photographs, two are
            row = [f"{label} {what}", f"{seconds * of.megapixels / 1000:.2f}", f"{seconds:.1f}", f"{cpu:.1f}"]
            row += [f"{results.ratio('two-warm', 'floor', 'cpu'):.2f}", f"{peak:.0f}", f"{peak / largest:.2f}"]
            row += [str(results.by_side["two-warm"][-1].tiles), f"{seconds / first[0]:.2f}", f"{cpu / first[1]:.2f}"]
            rows.append(row)
            about = {"images": of.images, "megapixels": of.megapixels, "two_largest_mb": largest}
            kept.setdefault(what, {})[label] = about | {"measured": [asdict(each) for each in measured[of.name]]}
    print("\n".join(columns(rows)))
    return kept


# ---------------------------------------------------------------- profile


def profile(chosen: argparse.Namespace, raw: Path, work: Path) -> dict[str, Any]:
    """The share of each stage in the CPU time of a conversion with one worker; medians of the rounds."""
    runs = []
    for number in range(-1, chosen.rounds):  # the first compiles what is imported, and is thrown away
        note(f"round {number + 1} of {chosen.rounds}")
        shutil.rmtree(work / "profile", ignore_errors=True)
        os.sync()
        runs.append(json.loads(script([SCRIPTS / "stages.py", raw, work / "profile"])))
    del runs[0]
    pixels = runs[0]["megapixels"]
    whole, wall = (statistics.median(run[what] for run in runs) for what in ("cpu", "wall"))
    spent: dict[str, list[float]] = {}
    for stage in {stage for run in runs for stage in run["stages"]}:
        each = [run["stages"].get(stage, [0.0, 0.0, 0]) for run in runs]
        spent[stage] = [statistics.median(values) for values in zip(*each, strict=True)]
    rows = [["stage", "CPU ms", "ms/MP", "% of CPU", "wall ms", "calls"]]
    for stage, (cpu, seconds, calls) in sorted(spent.items(), key=lambda item: -item[1][0]):
        row = [stage, f"{cpu * 1000:.0f}", f"{cpu * 1000 / pixels:.2f}", f"{100 * cpu / whole:.1f}"]
        rows.append([*row, f"{seconds * 1000:.0f}", f"{calls:.0f}"])
    total = ["all", f"{whole * 1000:.0f}", f"{whole * 1000 / pixels:.2f}", "100.0", f"{wall * 1000:.0f} (convert)", ""]
    print("\n".join(columns([*rows, total])))
    shutil.rmtree(work / "profile", ignore_errors=True)
    command = [sys.executable, str(SCRIPTS / "stages.py"), str(raw), str(work / "profile"), "--functions", str(chosen.functions)]
    if chosen.functions:
        subprocess.run(command, check=True)
    return {"runs": runs}


# ---------------------------------------------------------------- what it was measured on


def machine() -> dict[str, Any]:
    model = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    names = ("threecad", "numpy", "opencv-python", "opencv-python-headless", "pillow", "shapely", "sahi", "isal", "pydantic")
    versions = {"python": platform.python_version()}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "cpu": model[0] if model else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": platform.platform(),
        "load": list(os.getloadavg()),
        "versions": versions,
        "commit": commit(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def commit() -> str:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(SCRIPTS), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + (" and changes" if git("status", "--porcelain", "--", "../../../threecad") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def described(found: dict[str, Any], of: Set, rounds: int) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    photographs = f"{of.images} photographs of {of.width} × {of.height} ({of.megapixels:.0f} MP), {of.polygons[0]} to "
    photographs += f"{of.polygons[1]} polygons, {of.invalid:.0%} of them invalid; {rounds} rounds"
    where = f"{found['cores']} × {found['cpu']}, {found['memory_gb']} GB, load {found['load'][0]:.1f}; commit {found['commit']}"
    return f"{photographs}\n{where}\n{versions}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--profile", action="store_true", help="where a conversion with one worker spends its time")
    what.add_argument("--growth", action="store_true", help="more images, more polygons, more pixels")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--series", choices=["images", "polygons", "pixels"], help="with --growth: this alone")
    parser.add_argument("--squares", type=int, nargs="+", default=[2048, 4096, 8192], help="with --growth: pixels a side")
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--height", type=int, default=3072)
    parser.add_argument("--polygons", type=int, nargs=2, default=[5, 30], metavar=("FEWEST", "MOST"))
    parser.add_argument("--invalid", type=float, default=0.08, help="share of invalid polygons (default 0.08)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sides", default="", help=f"only these, by comma: {', '.join(side.name for side in SIDES)}")
    parser.add_argument("--functions", type=int, default=25, help="with --profile: so many functions under cProfile")
    parser.add_argument("--data", type=Path, help="folder for the photographs and the output (default: a temporary one)")
    parser.add_argument("--keep", action="store_true", help="keep the photographs there for the next run")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement there")
    chosen = parser.parse_args()
    chosen.polygons = tuple(chosen.polygons)
    wanted = chosen.sides.split(",") if chosen.sides else [side.name for side in SIDES]
    if unknown := set(wanted) - {side.name for side in SIDES}:
        parser.error(f"no side named {', '.join(sorted(unknown))}")
    sides = [side for side in SIDES if side.name in wanted or ("sahi" in wanted and side.name == "coco")]

    of = Set(chosen.images, chosen.width, chosen.height, chosen.polygons, chosen.invalid, chosen.seed)
    found = machine()
    print(described(found, of, chosen.rounds))
    data = chosen.data or Path(tempfile.mkdtemp(prefix="threecad-bench-"))
    data.mkdir(parents=True, exist_ok=True)
    before = {path.name for path in data.iterdir()}
    work = Path(tempfile.mkdtemp(prefix="work-", dir=data))
    # The sides keep what Python compiles, as in any installation, but not in the checkout.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(data.resolve() / "compiled")
    report: dict[str, Any] = {"machine": found, "photographs": asdict(of), "rounds": chosen.rounds, "arguments": sys.argv[1:]}
    try:
        if chosen.growth:
            report["growth"] = growth(chosen, data, work)
        elif chosen.profile:
            report["profile"] = profile(chosen, of.draw(data), work)
        else:
            measured = run(sides, chosen.rounds, of.draw(data), work)
            results = Results(measured, sides)
            print("\n".join(table(results, sides, of)))
            reached = bars(results)
            print("\n" + "\n".join(map(str, reached)))
            report["measured"] = [asdict(each) for each in measured]
            report["bars"] = [asdict(bar) | {"met": bar.met} for bar in reached]
        if chosen.json:
            chosen.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    finally:
        shutil.rmtree(work, ignore_errors=True)
        if not chosen.keep:
            for path in list(data.iterdir()):
                if path.name not in before:
                    shutil.rmtree(path)
            if not any(data.iterdir()) and (chosen.data is None or not before):
                data.rmdir()


if __name__ == "__main__":
    main()
