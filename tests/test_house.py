"""The house around the code: what is committed, what the documents promise, what an import costs."""

from __future__ import annotations

import base64
import io
import json
import re
import runpy
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import threecad.domain
from threecad.domain import MEANING, Action, Code

ROOT = Path(__file__).parents[1]

# Written so that the patterns do not find themselves. The first is a path that exists on one machine only.
MACHINE = re.compile(r"(?<![\w.$}~-])/(?:work|farm|opt|root|home/\w+|Users/\w+)/", re.ASCII)
REGISTRY = re.compile(r"[i]ndex-url|[f]ind-links|(?:pypi|[p]ythonhosted)\.org|[/]simple/?(?=[\"'\s])")


def tracked() -> list[Path]:
    """Every file that git holds or would add."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listing, cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    paths = (ROOT / name.decode() for name in done.stdout.split(b"\0") if name)
    return [path for path in paths if path.is_file()]


def text_of(path: Path) -> str:
    """The text of a file, empty for a picture."""
    data = path.read_bytes()
    return "" if b"\0" in data[:8000] else data.decode("utf-8", errors="replace")


def test_no_tracked_file_names_a_path_of_one_machine_or_a_registry_host() -> None:
    found = []
    for path in tracked():
        for number, line in enumerate(text_of(path).splitlines(), 1):
            if MACHINE.search(line) or REGISTRY.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert not found


def test_no_tracked_file_is_larger_than_500_kilobytes() -> None:
    assert not [path for path in tracked() if path.stat().st_size > 500_000]


# What the documents promise


def commands(document: str) -> list[list[str]]:
    """The shell lines of a document's code blocks, as words."""
    blocks = re.findall(r"^```(?:sh|console)\n(.*?)^```", (ROOT / document).read_text(encoding="utf-8"), re.M | re.S)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


@cache
def help_of(*words: str) -> str:
    done = subprocess.run([sys.executable, "-m", "threecad", *words, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"threecad {' '.join(words)} --help: {done.stderr}"
    return done.stdout


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_every_command_of_a_document_exists(document: str) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    seen = 0
    for program, *arguments in commands(document):
        if program == "make":
            assert arguments[0] in targets, f"make {arguments[0]}"
            seen += 1
        elif Path(program).name == "threecad" and arguments and not arguments[0].startswith("-"):
            usage = help_of(arguments[0])
            for flag in (word.split("=")[0] for word in arguments[1:] if word.startswith("--")):
                assert re.search(rf"{flag}\b", usage), f"threecad {arguments[0]} has no {flag}"
            seen += 1
    assert seen


@pytest.mark.parametrize("document", [str(path.relative_to(ROOT)) for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]])
def test_every_link_of_a_document_leads_to_a_file(document: str) -> None:
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", (ROOT / document).read_text(encoding="utf-8"))
    assert not [link for link in links if not (ROOT / document).parent.joinpath(link).exists()]


def test_decisions_are_numbered_once_and_listed() -> None:
    pages = sorted(path.name for path in (ROOT / "docs" / "decisions").glob("*.md"))
    numbers = [name[:4] for name in pages]
    assert all(re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", name) for name in pages)
    assert len(set(numbers)) == len(numbers)
    listed = re.findall(r"\(decisions/([^)]+)\)", (ROOT / "docs" / "README.md").read_text(encoding="utf-8"))
    assert sorted(listed) == pages


def test_the_findings_page_tells_every_code_with_its_name_and_actions() -> None:
    rows = re.findall(r"^\| (TC\d+) \| `(\w+)` \| ([^|]*) \|", (ROOT / "docs" / "findings.md").read_text(encoding="utf-8"), re.M)
    assert [(code, name) for code, name, _ in rows] == [(code.value, code.name) for code in Code]
    told = {name: actions.split(", ") for _, name, actions in rows}
    assert {action for actions in told.values() for action in actions} <= {action.value for action in Action}
    for path in (ROOT / "threecad").rglob("*.py"):
        for name, action in re.findall(r"(?:Finding|_Flaw)\(\s*Code\.(\w+),\s*Action\.(\w+)", path.read_text(encoding="utf-8")):
            assert action.lower() in told[name], f"{path.name} uses {name} as {action}"
    assert set(MEANING) == set(Code)


def test_the_vocabulary_tells_every_word_of_the_domain() -> None:
    told = re.findall(r"^## (\w+)$", (ROOT / "docs" / "vocabulary.md").read_text(encoding="utf-8"), re.M)
    assert told == ["Size", "Source", "Shape", "Annotation", "Region", "Finding", "Window", "Tile", "Sample", "Manifest"]
    assert all(hasattr(threecad.domain, word) for word in told if word != "Manifest")


# What an import costs


@pytest.mark.parametrize("name", ["torch", "sahi", "matplotlib", "pycocotools", "rich"])
def test_importing_threecad_does_not_load(name: str) -> None:
    program = f"import sys, threecad; sys.exit({name!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# The examples


def settled(value: Any) -> Any:
    """A JSON value with the pictures inside it decoded, since a codec may pack the same pixels into other bytes."""
    if isinstance(value, dict):
        return {
            key: pixels_of(base64.b64decode(item)) if key in ("mask", "imageData") and item else settled(item)
            for key, item in value.items()
        }
    return [settled(item) for item in value] if isinstance(value, list) else repr(value)


def pixels_of(data: bytes) -> Any:
    with Image.open(io.BytesIO(data)) as picture:
        return (picture.size, picture.mode, np.asarray(picture).astype(np.int32))


def agree(drawn: Any, kept: Any, tolerance: int) -> bool:
    if isinstance(drawn, np.ndarray):
        return bool(drawn.shape == kept.shape and np.abs(drawn - kept).max() <= tolerance)
    if isinstance(drawn, dict):
        return drawn.keys() == kept.keys() and all(agree(drawn[key], kept[key], tolerance) for key in drawn)
    if isinstance(drawn, list | tuple):
        return len(drawn) == len(kept) and all(agree(a, b, tolerance) for a, b in zip(drawn, kept, strict=True))
    return bool(drawn == kept)


def same(drawn: Path, kept: Path) -> bool:
    """Equal bytes, or equal content where another version of a codec packed it: a level of rounding, a few more for JPEG."""
    if drawn.read_bytes() == kept.read_bytes():
        return True
    if drawn.suffix == ".json":
        try:
            documents = [settled(json.loads(path.read_bytes())) for path in (drawn, kept)]
        except ValueError:  # broken or in another encoding on purpose: only its bytes can tell
            return False
        return agree(*documents, tolerance=12)
    try:
        return agree(pixels_of(drawn.read_bytes()), pixels_of(kept.read_bytes()), 12 if drawn.suffix == ".jpg" else 1)
    except OSError:  # cut off on purpose; another encoder cuts it elsewhere
        return abs(drawn.stat().st_size - kept.stat().st_size) < 1000


def test_the_examples_are_what_their_script_draws(tmp_path: Path) -> None:
    runpy.run_path(str(ROOT / "examples" / "draw_raw.py"))["draw_all"](tmp_path)
    drawn = {path.relative_to(tmp_path).as_posix(): path for path in tmp_path.rglob("*") if path.is_file()}
    folder = ROOT / "examples" / "raw"
    kept = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    assert drawn.keys() == kept.keys()
    assert not [name for name in drawn if not same(drawn[name], kept[name])]


def test_every_example_is_explained() -> None:
    page = (ROOT / "examples" / "raw.md").read_text(encoding="utf-8")
    explained = {name for cell in re.findall(r"^\| (`.*?`) \|", page, re.M) for name in re.findall(r"`([^`]+)`", cell)}
    folder = ROOT / "examples" / "raw"
    files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    assert not [name for name in files if not any(Path(name).match(pattern) for pattern in explained)]
    assert not [pattern for pattern in explained if not any(Path(name).match(pattern) for name in files)]
