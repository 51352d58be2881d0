"""Hostile input that no other file feeds: lists nested too deeply, names of files, bombs inside an annotation, limits."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import resource
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from threecad.cli import main
from threecad.domain import Annotation, Code, Region, Shape, Size
from threecad.errors import ReadError
from threecad.formats.dataset import MANIFEST, read_findings, read_manifest
from threecad.imaging import polygons
from threecad.pipeline.audit import read_clean
from threecad.pipeline.check import check
from threecad.pipeline.config import Pipeline, override
from threecad.pipeline.convert import convert
from threecad.pipeline.report.queue import path_of
from threecad.settings import Repairing

DEEP = "[" * 100_000 + "]" * 100_000


def threecad(*words: object) -> Result:
    """A command that ends as commands end: 0, a user's mistake, a file that cannot be read, or a queue; never in a traceback."""
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code in (0, 1, 2, 3), done.output
    assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
    return done


def photograph(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (96, 96), np.uint8)).save(path, "PNG")
    return path


def annotate(image: Path, *shapes: dict[str, Any], **keys: object) -> None:
    size = {"imageHeight": 96, "imageWidth": 96}
    image.with_suffix(".json").write_text(json.dumps({"shapes": shapes, "imagePath": image.name} | size | keys))


OUTLINE = {"label": "dent", "points": [[9, 9], [40, 9], [40, 40], [9, 40]]}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Two good photographs and one with a dent."""
    folder = tmp_path / "line7"
    for number in range(3):
        image = photograph(folder / f"part/{number}.png", number)
        annotate(image, *([OUTLINE] if number == 2 else []))
    return folder


# Deep lists


@pytest.mark.parametrize("command", [("stats",), ("audit",), ("report",), ("card",), ("view",)])
@pytest.mark.parametrize(
    "text", [DEEP, f'{{"format": 1, "findings": {DEEP}}}', '{"format": ' + "9" * 5000 + "}", "[1]", "null", "\x00"]
)
def test_a_manifest_that_is_none_is_one_sentence(raw: Path, tmp_path: Path, command: tuple[str, ...], text: str) -> None:
    """Nested a hundred thousand times, it ended every command in a RecursionError."""
    out = tmp_path / "data"
    (out / ".threecad").mkdir(parents=True)
    (out / "samples.jsonl").write_text("")
    (out / MANIFEST).write_text(text)
    done = threecad(command[0], out)
    assert done.exit_code in (1, 2)
    assert len(done.output.splitlines()) <= 2
    assert len(done.output) < 600


def test_a_deep_manifest_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(DEEP)
    with pytest.raises(ReadError, match="is nested too deeply; expected the manifest of a data set"):
        read_manifest(tmp_path)


def test_a_deep_line_in_a_list_of_paths_is_told_by_its_number(tmp_path: Path) -> None:
    (tmp_path / "drop.txt").write_text("part/1.png\n" + '"a"' + "\n")
    assert read_clean(tmp_path / "drop.txt") == ["part/1.png", "a"]
    (tmp_path / "drop.txt").write_text("part/1.png\n" + '"' + DEEP + "\n")
    with pytest.raises(ReadError, match=r"drop.txt, line 2: found .*; expected a path"):
        read_clean(tmp_path / "drop.txt")


@pytest.mark.parametrize("number", ["1e999", "9" * 400, '"x"', "null", "NaN", DEEP])
def test_an_outline_that_is_no_place_is_not_drawn(number: str) -> None:
    """An integer beyond any float ended the report in an OverflowError."""
    ring = f"[[0, 0], [4, {number}], [4, 4], [0, 0]]"
    assert path_of(f'{{"type": "Polygon", "coordinates": [{ring}]}}') == ""


@pytest.mark.parametrize("name", ["finished", "raw", "state.jsonl", "moves"])
@pytest.mark.parametrize("text", [DEEP, "[1]", "null", '{"lists": 7}', "\xff"])
def test_a_run_goes_on_beside_notes_that_somebody_changed(raw: Path, tmp_path: Path, name: str, text: str) -> None:
    """And makes the same data set."""
    out = tmp_path / "data"
    convert(raw, out, Pipeline())
    before = (out / "SHA256SUMS").read_bytes()
    (out / ".threecad" / name).write_text(text)
    assert threecad("convert", raw, out).exit_code in (0, 3)
    assert (out / "SHA256SUMS").read_bytes() == before


# Names of files and folders

NAMES = (
    *("=HYPERLINK(1)", "+1+1", "-rf", "@SUM(A1)", "\t=1", "<script>alert(1)<script>", '"><img src=x onerror=alert(1)>'),
    *("$(touch pwned)", "`touch pwned`", "; touch pwned", "a' b", "\x1b[2J\x1b]0;gotcha\x07", "\x9b31m", "\u202egnp.exe", "a\nb"),
    *("[red]x[red]", "%s{0}", "\\input{x}", "&amp;", "~", "*"),
)
COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def test_files_whose_names_are_more_than_names_are_told_and_obeyed_by_nothing(tmp_path: Path) -> None:
    """As folders, photographs and annotations, from the check to the page."""
    raw, out = tmp_path / "line7", tmp_path / "data"
    for number, name in enumerate(NAMES):
        annotate(photograph(raw / name / f"{name}.png", number), OUTLINE, OUTLINE | {"points": OUTLINE["points"][:2]})
    checked = tmp_path / "checked"
    runs: list[tuple[object, ...]] = [("check", raw, "--out", checked), ("convert", raw, out), ("stats", out), ("report", out)]
    runs += [("stats", out, "--csv"), ("stats", out, "--latex"), ("audit", out), ("card", out)]
    for run in runs:
        done = threecad(*run)
        assert done.exit_code in (0, 3), done.output
        assert not COMMANDS.search(done.output), run
    told = {finding.source for finding in read_findings(out / "findings.jsonl")}
    assert {f"{name}/{name}" for name in NAMES} <= {source.rpartition(".")[0] for source in told}
    for table in (out / "relabel.csv", checked / "relabel.csv"):
        for row in csv.reader(io.StringIO(table.read_text(encoding="utf-8"))):
            assert not [cell for cell in row if cell.lstrip().startswith(("=", "+", "@", "-r"))], row
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert not COMMANDS.search(page)


# Bombs inside an annotation


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


def header(width: int, height: int) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)


PIXELS = (b"IDAT", zlib.compress((b"\0" + b"\1" * 10) * 10))
END = (b"IEND", b"")


def bitmap(data: bytes, side: float = 9.0) -> tuple[list[Region], list[str]]:
    shape = Shape(0, "dent", "mask", ((0.0, 0.0), (side, side)), mask=data)
    found, findings = polygons.regions(Annotation("a", Size(99, 99), (shape,)), Size(99, 99), None, Repairing())
    return list(found), [finding.detail for finding in findings]


def test_of_a_bitmap_nothing_but_its_pixels_reaches_pillow() -> None:
    """An animation that is none made it warn; a second header was taken for the first."""
    plain, _ = bitmap(png(header(10, 10), PIXELS, END))
    assert len(plain) == 1
    for more in ((b"acTL", struct.pack(">II", 0, 0)), (b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 24))), (b"eXIf", b"MM\0*")):
        found, told = bitmap(png(header(10, 10), more, PIXELS, END))
        assert (found[0].geometry.wkt, told) == (plain[0].geometry.wkt, [])
    assert bitmap(png(header(10, 10), header(30_000, 30_000), PIXELS, END)) == ([], ["the bitmap cannot be decoded (ValueError)"])


def _decoded_bomb() -> str:
    return base64.b64encode(png(header(20_000, 20_000), (b"IDAT", zlib.compress(bytes(1 << 26), 9)), END)).decode()


@pytest.mark.parametrize(
    ("keys", "shape"),
    [
        pytest.param({}, {"shape_type": "mask", "points": [[0, 0], [19_999, 19_999]], "mask": _decoded_bomb()}, id="mask"),
        pytest.param({"imageData": _decoded_bomb()}, {}, id="imageData"),
        pytest.param({"imageHeight": 10**9, "imageWidth": 10**9}, {}, id="stated size"),
    ],
)
def test_a_bomb_in_base64_takes_neither_memory_nor_time(
    raw: Path, tmp_path: Path, keys: dict[str, object], shape: dict[str, object]
) -> None:
    """Beside its photograph, and without one, when the picture in the file would be used."""
    annotate(photograph(raw / "part/8.png", 8), OUTLINE | shape, **keys)
    annotate(photograph(raw / "part/9.png", 9), OUTLINE | shape, **keys)
    (raw / "part/9.png").unlink()
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    convert(raw, tmp_path / "data", override(Pipeline(), {"read.max_megapixels": 100.0}))
    assert time.process_time() - start < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024
    told = {finding.source.rpartition(".")[0] for finding in read_findings(tmp_path / "data/findings.jsonl")}
    assert {"part/8", "part/9"} & told


# Limits


@pytest.mark.parametrize(
    ("setting", "value", "code"),
    [("read.max_megapixels", 0.005, Code.TOO_LARGE), ("read.max_json_megabytes", 1e-5, Code.ANNOTATION_UNREADABLE)],
)
@pytest.mark.parametrize("run", [convert, check])
def test_each_limit_is_a_setting_that_its_finding_names(
    raw: Path, tmp_path: Path, setting: str, value: float, code: Code, run: Callable[..., Any]
) -> None:
    run(raw, out=tmp_path / "out", pipeline=override(Pipeline(), {setting: value}))
    found = [each for each in read_findings(tmp_path / "out/findings.jsonl") if each.code is code]
    assert found
    assert all(setting.removeprefix("read.") in each.detail and "more than the limit" in each.detail for each in found)
