"""One table of what threecad aims at and what was measured, part by part; every measurement is kept as JSON.

    python tests/bench/bench.py                              all parts, some twenty minutes on two quiet cores (make bench)
    python tests/bench/bench.py --only convert metrics       these parts
    python tests/bench/bench.py --full                       100,000 sources, 27,039 images, 16,546 maps, a training step
    python tests/bench/bench.py --quick                      seconds a part, to see that all of it runs; no verdicts
    python tests/bench/compare.py OLD.json NEW.json          what changed between two such files

The file is written after each part, so that an interruption loses the part that is under way and nothing else. A part that
fails is told in one sentence, the others go on, and the exit code is 1. A bar that is missed fails nothing: the table says so.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import results
import rows
from parts import MODES, PARTS, Found, Part

# Nothing heavier is imported: a child's peak memory is never below that of the process that started it.

HERE = Path(__file__).parent
GRACE = 10.0  # seconds between asking a script to end and ending it
LONGEST = {"quick": 600, "usual": 3600, "full": 6 * 3600}
"""Seconds that one script may take in each mode."""


class Failed(Exception):
    """A script that did not come to its end; its text says why."""


class Runner:
    """Starts scripts, each in a fresh process and a process group of its own, with `work` for whatever they write."""

    def __init__(self, work: Path, longest: float) -> None:
        self.work = work
        self.longest = longest

    def __call__(self, name: str, *arguments: object) -> Any:
        """What the script wrote with --json. Failed, with its last words, where it did not."""
        found, said = self.work / "found.json", self.work / "said"
        found.unlink(missing_ok=True)
        own = ["--data", self.work / "data", "--keep"] if name == "convert.py" else []
        command = [sys.executable, str(HERE / name), *map(str, [*arguments, *own, "--json", found])]
        environment = os.environ | {"TMPDIR": str(self.work), "THREECAD_CACHE": str(self.work / "cache")}
        with said.open("wb") as file:
            child = subprocess.Popen(command, stdout=file, stderr=file, env=environment, start_new_session=True)
            try:
                code = child.wait(self.longest)
            except subprocess.TimeoutExpired:
                raise Failed(f"{name} was ended after {self.longest:,.0f} s") from None
            finally:
                end(child)
        if code != 0 or not found.exists():
            raise Failed(f"{name} ended with {code}: {last_words(said)}")
        try:
            return json.loads(found.read_bytes())
        except ValueError as error:
            raise Failed(f"{name} wrote no JSON: {error}") from None


def end(child: subprocess.Popen[bytes]) -> None:
    """Nothing that the script started outlives it: it is asked first, so that it can clean up."""
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(GRACE)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def last_words(said: Path) -> str:
    lines = [line for line in said.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return results.anonymous(lines[-1]) if lines else "it said nothing"


def measure(part: Part, settings: Any, run: Runner) -> dict[str, Any]:
    """What is kept of one part; an interruption is a state like others, and what was found until then is kept."""
    found = Found()
    kept: dict[str, Any] = {"state": "measured", "reason": "", "settings": dict(settings), "busy": results.busy()}
    if said := results.unquiet(None, kept["busy"]):
        note(f"  not quiet: {said}")
    began = time.perf_counter()
    try:
        part.work(run, settings, found)
    except Failed as failure:
        kept |= {"state": "failed", "reason": str(failure)}
    except (KeyError, IndexError, TypeError, ValueError) as error:
        reason = f"its script's figures are not what was expected ({type(error).__name__}: {results.anonymous(str(error))})"
        kept |= {"state": "failed", "reason": reason}
    except KeyboardInterrupt:
        kept |= {"state": "interrupted", "reason": "interrupted"}
    kept["seconds"] = round(time.perf_counter() - began, 1)
    return kept | {"measurements": found.measurements, "missing": found.missing}


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def show(found: dict[str, Any]) -> None:
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    machine, commit = found["machine"], found["commit"]
    changed = " and changes" if commit["changed"] else ""
    print(f"{machine['cores']} × {machine['cpu']}, {machine['memory_gb']} GB, {machine['system']}")
    print(f"commit {commit['id'] or 'unknown'}{changed}; {versions}\n")
    print("\n".join(rows.table(rows.judge(found))))
    if found["mode"] == "quick":
        print("\nA quick run shows that all of it runs; its sizes are too small for verdicts.")
    if said := results.unquiet(found["quiet"]["load"], found["quiet"]["busy"]):
        print(f"\nThe machine was not quiet before the first part: {said}.")
    disturbed = [name for name, part in found["parts"].items() if results.unquiet(None, part.get("busy"))]
    if disturbed:
        print(f"Other processes were busy when these began: {', '.join(disturbed)}.")


def chosen_parts(only: list[str] | None, mode: str) -> list[tuple[Part, Any]]:
    """The parts and their settings; one that the mode leaves out runs at its full size where it is asked for by name."""
    if only:
        return [(part, part.sizes[mode] or part.sizes["full"]) for part in PARTS if part.name in only]
    return [(part, part.sizes[mode]) for part in PARTS]


def bench(only: list[str] | None, mode: str, file: Path) -> int:
    found = results.fresh(mode)
    if said := results.unquiet(found["quiet"]["load"], found["quiet"]["busy"]):
        note(f"The machine is not quiet: {said}. Ratios hold better than times; a quiet one says more.")
    code = 0
    work = Path(tempfile.mkdtemp(prefix="threecad-bench-"))
    run = Runner(work, LONGEST[mode])
    wanted = chosen_parts(only, mode)
    try:
        for number, (part, settings) in enumerate(wanted, 1):
            if settings is None:
                reason = "there is no GPU here; --full measures it on the CPU"
                about = {"reason": reason, "settings": {}, "measurements": {}, "missing": {}}
                found["parts"][part.name] = {"state": "not measured", **about}
                continue
            note(f"[{number}/{len(wanted)}] {part.name}: {part.title}")
            kept = found["parts"][part.name] = measure(part, settings, run)
            results.write(file, found)
            if kept["state"] == "failed":
                note(f"  {part.name} failed: {kept['reason']}")
                code = 1
            if kept["state"] == "interrupted":
                code = 130
                break
        results.write(file, found)
    except KeyboardInterrupt:
        code = 130
        results.write(file, found)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    show(found)
    print(f"\nEvery measurement is in {results.plain(file.name)}.")
    if code == 130:
        note("Interrupted: what was measured until then is kept.")
    return code


def stop(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="seconds a part; shows only that all of it runs")
    size.add_argument("--full", action="store_true", help="the large sizes: an hour and more")
    parser.add_argument("--only", nargs="+", metavar="PART", choices=[part.name for part in PARTS], help="these parts alone")
    parser.add_argument("--json", type=Path, metavar="FILE", default=Path("bench.json"), help="default: bench.json")
    chosen = parser.parse_args()
    mode = "quick" if chosen.quick else "full" if chosen.full else "usual"
    assert mode in MODES
    if not chosen.json.parent.is_dir():
        parser.error(f"--json {chosen.json}: its folder does not exist")
    signal.signal(signal.SIGTERM, stop)
    try:
        return bench(chosen.only, mode, chosen.json)
    except OSError as error:
        note(f"{results.plain(chosen.json.name)}: cannot be written: {error.strerror}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
