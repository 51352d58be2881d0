"""Every layout, with its faults: what a small data set is told to hold, in files that a person can read and review.

`golden/<name>.jsonl` has the layout, then a line an entry (with the pixels of each type and the flaws that its masks show), then
a line a finding. `trees` draws what is read. To write them anew, to be read as a diff:

    pytest tests/golden tests/formats/layouts -k told_as_expected --update-golden
"""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

import pytest
from trees import TREES

from threecad.domain import Entry, Finding
from threecad.formats.images import size_of
from threecad.formats.layouts import NAMES, read
from threecad.formats.masks import planes

GOLDEN = Path(__file__).parent / "golden"
LAYOUT = {"3cad": "mvtec", "btad": "mvtec", "several-masks": "mvtec", "visa-raw": "visa", "marked": "beside", "pairs": "pair"}
LAYOUT |= {"states": "folder"}


@pytest.fixture
def updating(request: pytest.FixtureRequest) -> bool:
    """Whether to write the expectations; the option is that of tests/golden."""
    return bool(request.config.getoption("--update-golden", default=False))


@pytest.mark.parametrize("name", TREES)
def test_a_data_set_is_told_as_expected(name: str, tmp_path: Path, updating: bool) -> None:
    root = tmp_path / "data"
    root.mkdir()
    TREES[name](root)
    told = told_of(root)
    path = GOLDEN / f"{name}.jsonl"
    if updating:
        path.write_text(told, encoding="utf-8")
    kept = path.read_text(encoding="utf-8")
    assert kept == told, "\n".join(difflib.unified_diff(kept.splitlines(), told.splitlines(), "expected", "found", lineterm=""))


@pytest.mark.parametrize("name", TREES)
def test_a_data_set_is_recognised_and_sorted(name: str, tmp_path: Path) -> None:
    TREES[name](tmp_path)
    listing = read(tmp_path)
    assert listing.layout == LAYOUT.get(name, name)
    keys = [(entry.category, entry.split or "", entry.image or "") for entry in listing.entries]
    assert keys == sorted(keys)
    assert len({entry.id for entry in listing.entries}) == len(listing.entries)


def test_every_layout_has_a_data_set_with_faults() -> None:
    assert {LAYOUT.get(name, name) for name in TREES} == set(NAMES)
    assert {path.stem for path in GOLDEN.iterdir()} == set(TREES)


def told_of(root: Path) -> str:
    listing = read(root)
    rows: list[Any] = [{"layout": listing.layout}]
    rows += [told_of_entry(root, entry) for entry in listing.entries]
    rows += [told_of_finding(finding) for finding in listing.findings]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def told_of_entry(root: Path, entry: Entry) -> dict[str, Any]:
    told: dict[str, Any] = {"image": entry.image, "category": entry.category, "split": entry.split, "state": entry.state}
    told["labels"] = "+".join(entry.labels)
    told |= {key: value for key, value in (("id", entry.id), ("source", entry.source)) if value != entry.image}
    if entry.window is not None:
        told["window"] = [entry.window.top, entry.window.left, entry.window.size.height, entry.window.size.width]
    if entry.masks:
        told["masks"] = {mask.path: [mask.kind, dict(mask.types)] for mask in entry.masks}
    if entry.masks and entry.image is not None:
        data = [(root / mask.path).read_bytes() for mask in entry.masks]
        named, flaws = planes(data, entry, size_of(root / entry.image, entry.image))
        told["pixels"] = {name: int(plane.sum()) for name, plane in named.items()}
        told |= {"flaws": [f"{code} {detail}" for code, detail in flaws]} if flaws else {}
    return told


def told_of_finding(finding: Finding) -> dict[str, Any]:
    return {
        "finding": finding.code,
        "name": finding.code.name,
        "action": finding.action,
        "of": finding.source,
        "why": finding.detail,
    }
