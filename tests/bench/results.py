"""What `bench.py` keeps: JSON of every measurement of every round, with machine, versions, commit and settings.

    {"kind": "threecad benchmarks", "schema": 1, "machine": {…}, "versions": {…}, "commit": {…}, "mode": "usual", "quiet": {…},
     "parts": {"convert": {"state": "measured", "reason": "", "settings": {…}, "busy": 0.02, "seconds": 240.1,
                           "measurements": {"two seconds": {"unit": "s", "better": "less", "rounds": [1.5, 1.6, 1.5]}},
                           "missing": {"adeval": "adeval is not installed"}}}}

No host, no user, no absolute path stands in it, so that it can be shown to anybody. `read` trusts nothing that it finds.
"""

from __future__ import annotations

import json
import math
import os
import platform
import re
import subprocess
import time
from importlib import metadata
from pathlib import Path
from typing import Any

KIND = "threecad benchmarks"
SCHEMA = 1
MOST_BYTES = 50_000_000
STATES = ("measured", "failed", "not measured", "interrupted")
BETTER = ("less", "more", "same")
PACKAGES = (
    *("threecad", "numpy", "opencv-python", "opencv-python-headless", "pillow", "shapely", "sahi", "isal", "simplejpeg"),
    *("pydantic", "scikit-learn", "adeval", "torch", "timm"),
)
QUIET_LOAD = 0.5  # processes that ran or waited, over the last minute
QUIET_SHARE = 0.1  # of a core, taken by others while nothing of ours runs

_PATH = re.compile(r"(?<![\w.])~?/(?:[^\s/'\":,;]+/)+")


class Unreadable(Exception):
    """A file that holds no results; its text is one sentence."""


def fresh(mode: str) -> dict[str, Any]:
    """Results without any part: where, with what, of which commit, and how quiet it is."""
    return {
        "kind": KIND,
        "schema": SCHEMA,
        "machine": machine(),
        "versions": versions(),
        "commit": commit(),
        "mode": mode,
        "quiet": {"load": round(os.getloadavg()[0], 2), "busy": busy()},
        "parts": {},
    }


def machine() -> dict[str, Any]:
    """What speed depends on; neither the host's name nor anybody's."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit() -> dict[str, Any]:
    """The commit, and whether the package or the benchmarks differ from it; None where nobody knows."""
    root = str(Path(__file__).parents[2])

    def git(*arguments: str) -> str:
        command = ["git", "-C", root, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    try:
        return {"id": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain", "--", "threecad", "tests/bench"))}
    except (OSError, subprocess.CalledProcessError):
        return {"id": None, "changed": None}


def busy(seconds: float = 1.0) -> float | None:
    """How many cores all processes kept busy while this one slept; None where the system does not say."""

    def ticks() -> int:
        fields = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]
        user, nice, system, _, _, irq, soft, steal = map(int, fields)
        return user + nice + system + irq + soft + steal

    try:
        before, began = ticks(), time.perf_counter()
        time.sleep(seconds)
        return round((ticks() - before) / os.sysconf("SC_CLK_TCK") / (time.perf_counter() - began), 2)
    except (OSError, ValueError, IndexError):
        return None


def unquiet(load: float | None, share: float | None) -> str:
    """What disturbs a measurement, in one phrase; empty on a quiet machine."""
    said = []
    if load is not None and load > QUIET_LOAD:
        said.append(f"the load of the last minute is {load:.1f}")
    if share is not None and share > QUIET_SHARE:
        said.append(f"other processes keep {share:.1f} cores busy")
    return " and ".join(said)


def anonymous(text: str) -> str:
    """The text without the host's name and without the folders of absolute paths; one line of what can be printed.

    >>> anonymous("cannot open /srv/data/a.png: gone")
    'cannot open a.png: gone'
    """
    text = _PATH.sub("", text)
    host = platform.node()
    if len(host) > 2:
        text = re.sub(rf"\b{re.escape(host)}\b", "this machine", text)
    return plain(" ".join(text.split()))[:400]


def plain(text: object) -> str:
    """The text without what could move a terminal's cursor."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in str(text))


def write(path: Path, results: dict[str, Any]) -> None:
    """Beside the file first, then in its place: an interruption leaves the file before or the file after."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    text = json.dumps(results, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


# ---------------------------------------------------------------- reading what may be anybody's


def read(path: Path) -> dict[str, Any]:
    """The results in a file. Unreadable, in one sentence, where it holds anything else."""
    name = plain(path.name)
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise Unreadable(f"{name}: cannot be read: {error.strerror}") from None
    if len(data) > MOST_BYTES:
        raise Unreadable(f"{name}: has more than {MOST_BYTES:,} bytes; results are much smaller")
    try:
        found = json.loads(data, parse_constant=_refuse)
    except RecursionError:
        raise Unreadable(f"{name}: is nested too deeply for results of bench.py") from None
    except ValueError as error:
        raise Unreadable(f"{name}: is not JSON ({plain(error)})") from None
    if not isinstance(found, dict) or found.get("kind") != KIND:
        raise Unreadable(f"{name}: holds no results of bench.py; expected an object whose kind is {KIND!r}")
    if type(found.get("schema")) is not int or found["schema"] != SCHEMA:
        raise Unreadable(f"{name}: has schema {plain(repr(found.get('schema')))[:60]}; this program reads schema {SCHEMA}")
    if flaw := _flaw(found):
        raise Unreadable(f"{name}: {flaw}")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _flaw(found: dict[str, Any]) -> str:
    """The first thing that is not as `bench.py` writes it."""
    for key in ("machine", "versions", "commit", "quiet", "parts"):
        if not isinstance(found.get(key), dict):
            return f"{key}: expected an object"
    for name, part in found["parts"].items():
        place = f"parts, {plain(name)[:60]}"
        if not isinstance(part, dict) or part.get("state") not in STATES:
            return f"{place}: expected an object with a state, one of {', '.join(STATES)}"
        for key in ("settings", "measurements", "missing"):
            if not isinstance(part.get(key), dict):
                return f"{place}: {key}: expected an object"
        if not all(isinstance(why, str) for why in (*part["missing"].values(), part.get("reason"))):
            return f"{place}: expected reasons as text"
        for title, each in part["measurements"].items():
            if not _is_measurement(each):
                return f"{place}: {plain(title)[:60]}: expected a unit, what is better, and the finite numbers of its rounds"
    return ""


def _is_measurement(each: Any) -> bool:
    if not isinstance(each, dict) or not isinstance(each.get("unit"), str) or each.get("better") not in BETTER:
        return False
    rounds = each.get("rounds")
    return isinstance(rounds, list) and bool(rounds) and all(_is_number(value) for value in rounds)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e300 and math.isfinite(value)
