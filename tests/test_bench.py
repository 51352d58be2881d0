"""The benchmark's table says met only of what is met, and two files of results are compared without trusting either."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parent / "bench"


@pytest.fixture(autouse=True)
def _beside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))


def measured(**rounds: list[float]) -> dict[str, Any]:
    """Results of the part `convert`, whose measurements are named with _ for a space."""
    kept = {name.replace("_", " "): {"unit": "s", "better": "less", "rounds": values} for name, values in rounds.items()}
    part = {"state": "measured", "reason": "", "settings": {}, "measurements": kept, "missing": {}}
    base = {"kind": "threecad benchmarks", "schema": 1, "machine": {"cpu": "A"}, "versions": {}, "mode": "usual"}
    return base | {"commit": {"id": "a" * 40, "changed": False}, "quiet": {"load": 0, "busy": 0}, "parts": {"convert": part}}


def verdicts(results: dict[str, Any]) -> dict[str, tuple[str, str]]:
    import rows

    return {each.row.over: (each.verdict, each.measured) for each in rows.judge(results)}


def test_a_bar_is_met_by_the_median_of_the_rounds_own_ratios() -> None:
    found = verdicts(measured(sahi_seconds=[26.0, 12.0, 130.0], two_seconds=[2.0, 2.0, 10.0]))
    assert found["sahi seconds"] == ("met", "13 × (6 to 13)")
    assert verdicts(measured(sahi_seconds=[22.0, 30.0, 20.0], two_seconds=[2.0, 2.0, 2.0]))["sahi seconds"][0] == "not met"


def test_memory_is_judged_by_its_largest_round() -> None:
    assert verdicts(measured(two_peak=[200.0, 251.0, 210.0]))["two peak"] == ("not met", "251 MB (200 to 251)")
    assert verdicts(measured(two_peak=[200.0, 250.0]))["two peak"][0] == "met"


@pytest.mark.parametrize("under", [[], [2.0], [0.0, 2.0]], ids=["missing", "fewer rounds", "nothing to divide by"])
def test_what_was_not_measured_is_never_met(under: list[float]) -> None:
    results = measured(sahi_seconds=[26.0, 26.0], **({"two_seconds": under} if under else {}))
    results["parts"]["convert"]["missing"] = {"two": "it failed"}
    assert verdicts(results)["sahi seconds"] == ("not measured", "")


def test_a_quick_run_gives_no_verdict() -> None:
    quick = measured(sahi_seconds=[26.0], two_seconds=[2.0]) | {"mode": "quick"}
    assert verdicts(quick)["sahi seconds"][0] == "told"
    assert verdicts(quick)["opencv seconds"][0] == "not measured"


def compared(tmp_path: Path, first: object, second: object) -> tuple[int, str]:
    for name, told in (("a.json", first), ("b.json", second)):
        (tmp_path / name).write_text(told if isinstance(told, str) else json.dumps(told))
    command = [sys.executable, str(BENCH / "compare.py"), str(tmp_path / "a.json"), str(tmp_path / "b.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout + done.stderr


def test_only_what_differs_by_more_than_both_spreads_is_marked(tmp_path: Path) -> None:
    old = measured(two_seconds=[1.0, 1.1, 1.2], one_seconds=[3.0, 3.1, 3.2])
    code, said = compared(tmp_path, old, measured(two_seconds=[0.5, 0.51, 0.5], one_seconds=[3.1, 3.2, 3.3]))
    assert code == 0
    marks = {line.split("  ")[1].strip(): line.split()[-1] for line in said.splitlines() if line.startswith("convert")}
    assert marks == {"1 worker over 2 workers, whole processes": "better", "two seconds": "better", "one seconds": "1.032"}
    assert "2 of 3 differ by more" in said


def test_another_machine_is_said_before_any_ratio(tmp_path: Path) -> None:
    other = measured(two_seconds=[1.0, 1.0]) | {"machine": {"cpu": "B\x1b[2J"}}
    code, said = compared(tmp_path, measured(two_seconds=[1.0, 1.0]), other)
    assert code == 0
    assert said.index("The machines differ: cpu was A, is B") < said.index("two seconds")
    assert "\x1b" not in said


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "[]",
        '{"kind": "threecad benchmarks", "schema": 2}',
        '{"kind": NaN}',
        "[" * 100_000,
        '{"kind": "threecad benchmarks", "schema": 1}',
    ],
)
def test_a_file_that_holds_no_results_is_one_sentence(tmp_path: Path, text: str) -> None:
    code, said = compared(tmp_path, measured(two_seconds=[1.0]), text)
    assert code == 2
    assert said.startswith("b.json: ")
    assert said.count("\n") == 1


def test_results_name_neither_the_host_nor_a_folder() -> None:
    import results

    text = json.dumps(results.fresh("quick"))
    assert len(platform.node()) < 3 or platform.node() not in text
    assert str(BENCH.parents[1]) not in text
    assert results.anonymous(f"cannot open {BENCH / 'a b.py'}: gone").startswith("cannot open a b.py")
