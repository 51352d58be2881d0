"""`threecad score` as a person and a script meet it: flags, sentences, streams, exit codes."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import threecad.cli.scoring  # noqa: F401 -- the command, wherever the group gets it from
from threecad.cli import main

DONE, FAILED, USAGE = 0, 1, 2


def run(*arguments: object) -> Result:
    """One command in this process; a bug is raised, not swallowed."""
    return CliRunner().invoke(main, ["score", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the data set `parts` and the maps `maps`: the defects of one category are found, of the other not."""
    monkeypatch.chdir(tmp_path)
    for category in ("bolt", "nut"):
        for kind in ("good", "dent"):
            for number in range(2):
                image = tmp_path / "parts" / category / "test" / kind / f"{number}.png"
                image.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.full((12, 16), 80, np.uint8)).save(image)
                mask = np.zeros((12, 16), np.uint8)
                mask[3 : 6 + number, 4:9] = 255 * (kind == "dent")
                if kind == "dent":
                    place = tmp_path / "parts" / category / "ground_truth" / kind / f"{number}_mask.png"
                    place.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(mask).save(place)
                scores = mask / 255 if category == "bolt" else np.ones((12, 16))
                target = tmp_path / "maps" / category / "test" / kind / f"{number}.npy"
                target.parent.mkdir(parents=True, exist_ok=True)
                np.save(target, scores)
    return tmp_path


def test_the_table_stands_on_standard_output(home: Path) -> None:
    done = run("maps", "parts")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert done.exit_code == DONE
    assert ["bolt", "100.0", "100.0", "100.0", "100.0", "4", "2", "2"] in lines
    assert any(line[:4] == ["nut", "50.0", "50.0", "15.0"] for line in lines)
    assert any(line[:3] == ["Mean", "75.0", "75.0"] for line in lines)
    assert str(home) not in done.stdout


def test_json_is_one_object_and_nothing_else(home: Path) -> None:
    done = run("maps", "parts", "--json")
    told = json.loads(done.stdout)
    assert told["categories"]["bolt"]["pixel_auroc"]["value"] == 1.0
    assert told["mean"]["image_auroc"] == 0.75
    assert (told["maps"], told["masks"], told["split"]) == ("maps", "parts", "test")
    assert done.stdout == json.dumps(told, sort_keys=True) + "\n"


def test_csv_and_latex_are_whole(home: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(run("maps", "parts", "--csv").stdout)))
    assert {"category": "bolt", "figure": "image_auroc", "value": "1.0", "lower": "", "upper": ""} in rows
    text = run("maps", "parts", "--latex", "--upstream").stdout
    assert r"bolt & 100.0 & 100.0 & 100.0 & 100.0 &" in text
    assert text.count(r"\begin") == text.count(r"\end") == 2
    assert "not comparable" in text


def test_only_one_form_at_a_time(home: Path) -> None:
    done = run("maps", "parts", "--json", "--csv")
    assert done.exit_code == USAGE
    assert "choose one of --json, --csv" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "phrase"),
    [
        (("nowhere", "parts"), USAGE, "threecad: nowhere: no such folder; expected a folder of score maps"),
        (("maps", "nowhere"), USAGE, "threecad: nowhere: no such folder"),
        (("parts", "parts"), USAGE, "expected two folders"),
        (("maps", "parts", "--split", "train"), USAGE, "no image of split 'train'; found test"),
        (("maps", "parts", "--category", "screw"), USAGE, "no category 'screw'; found bolt, nut"),
        (("maps", "parts", "--pro-limit", "0"), USAGE, "pro_limit is 0; expected above 0 and at most 1"),
        (("maps", "parts", "--suffix", "png"), USAGE, "expected score maps (.png)"),
        (("maps", "parts", "--plain", "--layout", "mvtec"), USAGE, "--plain says"),
        (("maps", "parts", "--image-scores", "a.txt"), USAGE, "expected scores of images as .csv or .jsonl"),
        (("maps", "parts", "--image-scores", "a.csv"), FAILED, "a.csv: cannot be read"),
        (("maps", "parts", "--resize", "never"), USAGE, "never"),
    ],
)
def test_a_mistake_is_one_sentence_and_its_exit_code(home: Path, arguments: tuple[str, ...], code: int, phrase: str) -> None:
    done = run(*arguments)
    assert done.exit_code == code
    assert phrase in done.stderr
    assert not done.stdout


def test_a_missing_map_is_named(home: Path) -> None:
    (home / "maps/nut/test/good/1.npy").unlink()
    done = run("maps", "parts")
    assert done.exit_code == USAGE
    assert done.stderr.startswith("threecad: maps: found no map for 1 of 8 (nut/test/good/1.png)")


def test_a_map_that_cannot_be_read_ends_with_one(home: Path) -> None:
    (home / "maps/nut/test/good/1.npy").write_bytes(b"PK\3\4")
    done = run("maps", "parts")
    assert done.exit_code == FAILED
    assert done.stderr.splitlines()[-1].startswith("threecad: maps/nut/test/good/1.npy: a ZIP archive")


def test_maps_of_another_size_follow_the_option(home: Path) -> None:
    for path in (home / "maps").rglob("*.npy"):
        np.save(path, np.load(path)[::2, ::2])
    told = [json.loads(run("maps", "parts", "--resize", how, "--json").stdout) for how in ("maps", "masks")]
    assert [each["categories"]["bolt"]["pixels"] for each in told] == [4 * 12 * 16, 4 * 6 * 8]
    refused = run("maps", "parts", "--resize", "none")
    assert (refused.exit_code, refused.stdout) == (FAILED, "")
    assert "--resize maps or masks" in refused.stderr


def test_a_folder_of_masks_is_enough(home: Path) -> None:
    done = run("maps/bolt/test", "parts/bolt/ground_truth")
    assert done.exit_code == DONE
    assert "4 images · 2 defective · layout masks" in done.stdout
