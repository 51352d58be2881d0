"""What a user of the wheel gets, in an environment that has never seen the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from photographs import contents

ROOT = Path(__file__).parents[2]
DONE_WITH_A_RELABEL_QUEUE = 3


def run(command: Sequence[str | Path], cwd: Path, expected: int = 0) -> str:
    """The command's standard output; neither the checkout nor this environment are on its path."""
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    done = subprocess.run(command, cwd=cwd, env=clean, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == expected, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT], folder)
    (built,) = folder.glob("threecad-*.whl")
    return built


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of a new environment that holds the wheel and what it depends on."""
    venv = tmp_path_factory.mktemp("clean") / "venv"
    environment = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run([ROOT / ".ci" / "venv", venv, wheel], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = f"cannot install the wheel in a clean environment: {done.stderr.strip().splitlines()[-1:]}"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    return venv / "bin"


def test_the_wheel_alone_converts_the_examples_with_a_named_pipeline(programs: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    shutil.copytree(ROOT / "examples" / "raw", raw)
    out = tmp_path / "out"
    run([programs / "threecad", "convert", raw, out, "--pipeline", "3cad"], tmp_path, DONE_WITH_A_RELABEL_QUEUE)
    assert (out / "manifest.json").is_file()
    for category in ("bracket", "glass", "pcb-frame"):
        assert list((out / category / "train" / "good").glob("*.png")), f"no tile of {category} trains"
        assert list((out / category / "ground_truth").glob("*/*_mask.png")), f"no defect of {category} is left"


def test_the_wheel_carries_every_pipeline_and_schema_and_its_types(programs: Path, tmp_path: Path) -> None:
    installed = """
import importlib.resources
print(importlib.resources.files("threecad"))
"""
    package = Path(run([programs / "python", "-c", installed], tmp_path).strip())
    for name in ("pipelines", "schemas"):
        assert contents(package / "_data" / name) == contents(ROOT / name)
    assert (package / "py.typed").is_file()


def test_what_ships_in_a_folder_of_pipelines_is_found_by_its_name(programs: Path, tmp_path: Path) -> None:
    listing = """
from threecad.learning.config import Recipe
from threecad.pipeline.config import load_as
print(load_as(Recipe, "ablations/wrc").model.recovery)
"""
    assert run([programs / "python", "-c", listing], tmp_path) == "False\n"
    assert run([programs / "threecad", "schema", "recipe"], tmp_path).startswith("{")


def test_the_module_runs_as_the_program_does(programs: Path, tmp_path: Path) -> None:
    assert "convert" in run([programs / "threecad", "--help"], tmp_path)
    assert "convert" in run([programs / "python", "-m", "threecad", "--help"], tmp_path)
