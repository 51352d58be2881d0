"""One folder a fault: what a raw folder becomes, in files that a person can read and review.

`<fault>/raw/` is converted with `<fault>/pipeline.toml` (else with `pipeline.toml` beside this file), and what comes out is told
in the words of `<fault>/expected/`: counts, sources, regions, tiles and findings as JSON, masks as drawings in characters.
Digests, times and versions are left out, and so are the bytes of pictures, since codecs may change them; pixels are not.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from draw import FAULTS, FIELD, NOT_KEPT
from numpy.typing import NDArray
from PIL import Image

from threecad.pipeline.check import check
from threecad.pipeline.convert import convert

HERE = Path(__file__).parent

PICTURES = {"exif-3", "exif-6", "exif-8", "sixteen-bit", "rgba", "palette", "edge-pad", "several-pages"}
"""The folders that are about what the pictures show: their expectation holds a level of every field of every tile."""

SPLITS = {"TC302", "TC303", "TC305", "TC306", "TC307"}
"""What only the comparison of sources tells, so that a check has no word of it."""

Row = dict[str, Any]


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody pulls the plug here, and waiting for the disk is most of the time that eighty small conversions take."""
    monkeypatch.setattr(os, "sync", lambda: None)
    monkeypatch.setattr(os, "fsync", lambda _: None)


def faults() -> list[str]:
    return sorted(path.parent.name for path in HERE.glob("*/README.md"))


def raw_of(fault: str, tmp_path: Path) -> Path:
    kept = HERE / fault / "raw"
    if fault not in NOT_KEPT:
        return kept
    drawn = tmp_path / fault / "raw"
    (tmp_path / "Case").touch()
    if (tmp_path / "case").exists():
        pytest.skip("this file system cannot tell names apart by their case")
    FAULTS[fault](drawn)
    return drawn


def pipeline_of(fault: str) -> Path:
    own = HERE / fault / "pipeline.toml"
    return own if own.exists() else HERE / "pipeline.toml"


def test_every_fault_is_drawn_and_explained() -> None:
    assert faults() == sorted(FAULTS)


@pytest.mark.parametrize("fault", faults())
def test_a_raw_folder_becomes_what_is_expected_of_it(fault: str, tmp_path: Path, updating: bool) -> None:
    out = tmp_path / "out"
    convert(raw_of(fault, tmp_path), out, pipeline_of(fault), workers=1)
    told = told_of(out, pictures=fault in PICTURES)
    folder = HERE / fault / "expected"
    kept = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*")}
    if updating:
        folder.mkdir(exist_ok=True)
        for name in kept.keys() - told.keys():
            (folder / name).unlink()
        for name, text in told.items():
            (folder / name).write_text(text, encoding="utf-8")
        return
    found = [line for name in sorted(kept.keys() | told.keys()) for line in difference(name, kept.get(name), told.get(name))]
    if found:
        why = (HERE / fault / "README.md").read_text(encoding="utf-8")
        pytest.fail("\n".join([f"{fault}: not what is expected", "", why, *found]), pytrace=False)


@pytest.mark.parametrize("fault", faults())
def test_a_check_finds_what_a_conversion_finds(fault: str, tmp_path: Path) -> None:
    kept = HERE / fault / "expected" / "findings.jsonl"
    expected = [row for row in (rows(kept) if kept.exists() else []) if row["code"] not in SPLITS]
    done = check(raw_of(fault, tmp_path), pipeline_of(fault), decode=True, workers=1)
    found = [finding for finding in done.findings if finding.code not in SPLITS]
    assert [(each.code, each.action, each.source, each.shape, each.detail) for each in found] == [
        (row["code"], row["action"], row["source"], row["shape"], row["detail"]) for row in expected
    ]


@pytest.mark.parametrize("fault", sorted(FAULTS.keys() - NOT_KEPT))
def test_a_raw_folder_is_what_its_script_draws(fault: str, tmp_path: Path) -> None:
    FAULTS[fault](tmp_path / fault / "raw")
    drawn, kept = (
        {path.relative_to(folder).as_posix(): path for path in (folder / "raw").rglob("*") if path.is_file()}
        for folder in (tmp_path / fault, HERE / fault)
    )
    assert drawn.keys() == kept.keys()
    assert not [name for name in drawn if not equal(drawn[name], kept[name])]


def equal(drawn: Path, kept: Path) -> bool:
    """Equal bytes, or equal pixels where another version of a codec packed them; JPEG may round another way."""
    if drawn.read_bytes() == kept.read_bytes():
        return True
    try:
        with Image.open(drawn) as one, Image.open(kept) as other:
            same = one.size == other.size and one.mode == other.mode
            return same and int(np.abs(np.asarray(one).astype(int) - np.asarray(other)).max()) <= 1
    except OSError:  # an annotation, of which every byte counts, or a picture that is cut off on purpose
        return drawn.suffix in (".png", ".jpg")


def difference(name: str, kept: str | None, told: str | None) -> Iterator[str]:
    lines = ((kept or "").splitlines(), (told or "").splitlines())
    yield from difflib.unified_diff(*lines, f"expected/{name}", f"found/{name}", lineterm="", n=1)


# What came out, in words


def told_of(out: Path, *, pictures: bool) -> dict[str, str]:
    """File of `expected/` → its text."""
    manifest = json.loads((out / "manifest.json").read_bytes())
    samples = rows(out / "samples.jsonl")
    names = {category: [kind["name"] for kind in each["types"]] for category, each in manifest["categories"].items()}
    outlines = {
        (each["defect_uid"], image["file_name"]): each
        for path in sorted(out.glob("coco/*.json"))
        for image, each in annotated(json.loads(path.read_bytes()))
    }
    told = {
        "manifest.json": json.dumps(
            {
                "categories": manifest["categories"],
                "files": sorted(manifest["digests"]),
                "findings": manifest["findings"],
                "format": manifest["format"],
                "inputs": manifest["inputs"],
                "outputs": manifest["outputs"],
                "raw": manifest["raw"],
            },
            indent=1,
            sort_keys=True,
            ensure_ascii=False,
        )
        + "\n",
        "sources.jsonl": lines(source(row) for row in rows(out / "sources.jsonl")),
        "regions.jsonl": lines(region(row) for row in rows(out / "regions.jsonl")),
        "samples.jsonl": lines(sample(row, out, outlines) for row in samples),
        "findings.jsonl": lines(finding(row) for row in rows(out / "findings.jsonl")),
        "cases.jsonl": lines(case(row, out) for row in rows(out / "cases.jsonl")),
        "masks.txt": "\n".join(mask(row, out, names[row["category"]]) for row in samples if row["types"] or row["ignore"]),
    }
    if pictures:
        told["tiles.txt"] = "\n".join(picture(row, out) for row in samples if row["image"])
    return {name: text for name, text in told.items() if text}


def rows(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def lines(values: Iterable[Row]) -> str:
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)


def annotated(coco: Row) -> Iterator[tuple[Row, Row]]:
    images = {image["id"]: image for image in coco["images"]}
    for each in coco["annotations"]:
        yield images[each["image_id"]], each


def source(row: Row) -> Row:
    shapes = {action: count for action, count in row["shapes"].items() if count}
    kept = ("id", "image", "annotation", "category", "size", "good", "split", "group")
    return {key: row[key] for key in kept} | {"shapes": shapes, "inputs": sorted(row["inputs"])}


def region(row: Row) -> Row:
    kept = {key: row[key] for key in ("uid", "label", "shapes", "ignore", "pixels")}
    return kept | {"area": round(row["area"], 3), "kind": row["geometry"]["type"]}


def sample(row: Row, out: Path, outlines: dict[tuple[str, str], Row]) -> Row:
    window = row["window"]
    told = {
        "source": row["source"],
        "window": [window["top"], window["left"], window["size"]["height"], window["size"]["width"]],
        "state": row["state"],
        "split": row["split"],
        "labels": dict(zip(row["labels"], row["areas"], strict=True)),
        "defects": [
            {key: each[key] for key in ("uid", "label", "area", "bbox")} | {"share": round(each["share"], 4)}
            for each in row["defects"]
        ],
    }
    if row["image"] is None:
        return told
    with Image.open(out / row["image"]) as tile:
        pixels: NDArray[Any] = np.asarray(tile)
        assert pixels.shape[:2] == tuple(told["window"][2:])
        assert (tile.mode in ("L", "I;16")) == (pixels.ndim == 2)
        told["pixels"] = f"{'gray' if pixels.ndim == 2 else 'RGB'}, {16 if tile.mode == 'I;16' else 8} bits"
    for each in told["defects"]:
        coco = outlines.get((each["uid"], row["image"]))
        if coco is not None:
            assert (coco["area"], coco["bbox"], coco["iscrowd"]) == (each["area"], each["bbox"], 0)
            each["coco"] = "polygon" if isinstance(coco["segmentation"], list) else "rle"
    return told | {role: row[role] for role in ("image", "mask", "types", "ignore")}


def finding(row: Row) -> Row:
    place = row["place"] and [round(value, 2) for value in row["place"]]
    return {key: row[key] for key in ("code", "action", "source", "shape", "detail")} | {"place": place}


def case(row: Row, out: Path) -> Row:
    outline = row["outline"] and json.loads(row["outline"])
    told = {key: row[key] for key in ("source", "shape", "action", "codes", "kind", "view")} | {"points": len(row["points"])}
    if row["picture"]:
        with Image.open(out / row["picture"]) as picture:
            assert picture.size == tuple(row["view"][2:])
    return told | {"outline": outline and outline["type"], "picture": row["picture"]}


def mask(row: Row, out: Path, types: list[str]) -> str:
    """A tile's masks as one drawing, cut to what is marked: `1` is the first type, `a` the same where it is to be ignored."""

    def plane(role: str) -> NDArray[Any]:
        if row[role] is None:
            return np.zeros((row["window"]["size"]["height"], row["window"]["size"]["width"]), np.uint8)
        with Image.open(out / row[role]) as stored:
            assert stored.mode == "L"
            return np.asarray(stored)

    drawn, kinds, ignored = plane("mask"), plane("types"), plane("ignore")
    assert set(np.unique(drawn)) | set(np.unique(ignored)) <= {0, 255}
    assert np.array_equal(drawn > 0, kinds > 0), "the mask is the union of the types"
    signs = np.array(list("." + "123456789"[: len(types)]))
    doubtful = np.array(list("~" + "abcdefghi"[: len(types)]))
    art = np.where(ignored > 0, doubtful[kinds], signs[kinds])
    legend = [f"{signs[number]} {name}" for number, name in enumerate(types, 1) if (kinds == number).any()]
    legend += ["~ ignored"] * bool(ignored.any())
    total = f"{np.count_nonzero(drawn)} px" + f", {np.count_nonzero(ignored)} px ignored" * (row["ignore"] is not None)
    title = f"{row['source']} {row['window']['top']},{row['window']['left']}: {total}; {', '.join(legend) or 'nothing marked'}"
    marked = art != "."
    if not marked.any():
        return title + "\n"
    top, bottom = np.flatnonzero(marked.any(axis=1))[[0, -1]]
    left, right = np.flatnonzero(marked.any(axis=0))[[0, -1]]
    body = [f"{y:3d} {''.join(art[y, left : right + 1])}" for y in range(top, bottom + 1)]
    return "\n".join([title, f"    columns {left} to {right}", *body]) + "\n"


def picture(row: Row, out: Path) -> str:
    """The level in the middle of every field, in hexadecimal: two digits a channel, four where it has 16 bits."""
    with Image.open(out / row["image"]) as tile:
        pixels = np.asarray(tile)
    digits = 4 if pixels.dtype == np.uint16 else 2
    fields = pixels.reshape(*pixels.shape[:2], -1)[FIELD // 2 :: FIELD, FIELD // 2 :: FIELD].tolist()
    body = [" ".join("".join(f"{level:0{digits}x}" for level in field) for field in line) for line in fields]
    return "\n".join([f"{row['source']} {row['window']['top']},{row['window']['left']}:", *body]) + "\n"
