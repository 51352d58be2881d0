"""threecad predict: photographs in; maps, overlays, scores and annotations out, whatever happens on the way."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator
from numpy.typing import NDArray
from PIL import Image
from test_predict_cutting import Brightness
from torch import Tensor
from toys import TEACHER, surface, write

from threecad.cli import main, predicting, scoring
from threecad.domain import Region, Size
from threecad.errors import BusyError, ConfigError, LayoutError
from threecad.formats import labelme
from threecad.formats.images import decode_file
from threecad.formats.maps import read_map
from threecad.imaging.polygons import regions
from threecad.imaging.raster import paint, spans
from threecad.learning import runs
from threecad.learning.config import Recipe, override
from threecad.learning.model import Cfrg, Prediction, backbone
from threecad.learning.predict import Verdict, Wishes, passing, predict, terminal
from threecad.learning.predict.ledger import HOME, hold
from threecad.learning.predict.photographs import names
from threecad.learning.runs import Cut, Run
from threecad.pipeline import config as pipelines
from threecad.pipeline.check import Check, check
from threecad.settings import Repairing

assert predicting  # registers the commands
assert scoring

CUT = Cut(slice_size=64, overlap_ratio=0.25, edge="shift")
DONE, FAILED, USAGE, LOOK = 0, 1, 2, 3


def finished_run(root: Path, *categories: str, cut: Cut | None = CUT, image: float = 0.9, photograph: float = 0.8) -> Path:
    """A run as training writes it, with networks that were never trained."""
    changes = {"data.size": 64, "model.teacher": TEACHER, "model.student": TEACHER, "score.sigma": 1.0}
    recipe = override(Recipe(), changes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        teacher = backbone(TEACHER)
        digest = runs.write_teacher(root, teacher)
        models = []
        for name in categories or ("part",):
            runs.write_model(root / name, Cfrg(recipe.model, teacher))
            limit = runs.Threshold(
                image=image, photograph=photograph, false_positive_rate=0.01, images=9, photographs=3, source="validation"
            )
            runs.write_json(root / name / runs.THRESHOLD, limit)
            models.append(runs.Trained(name=name, categories=(name,), folder=name, images=4, seconds=1))
    runs.write_recipe(root, recipe)
    runs.write_json(
        root / runs.RUN, runs.Contents(threecad="0.1.0", dataset="toys", cut=cut, teacher=digest, models=tuple(models))
    )
    return root


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every run's detector is one that sees brightness; the sizes of the batches it was shown."""
    sizes: list[int] = []

    class Counting(Brightness):
        def forward(self, images_B3HW: Tensor) -> Prediction:
            sizes.append(len(images_B3HW))
            return super().forward(images_B3HW)

    monkeypatch.setattr(Run, "detector", lambda *_: Counting())
    return sizes


def dark(height: int = 100, width: int = 150) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 40, np.uint8)


def spotted(height: int = 100, width: int = 150, top: int = 30, left: int = 90) -> NDArray[np.uint8]:
    """Dark, with a white rectangle of 12 × 20 pixels."""
    pixels = dark(height, width)
    pixels[top : top + 12, left : left + 20] = 255
    return pixels


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    write(root / "good.png", dark())
    write(root / "line1" / "spot.png", spotted())
    write(root / "line1" / "small.png", dark(50, 60))
    write(root / "line2" / "deep" / "spot.png", spotted(top=80, left=5))
    return root


def contents(folder: Path, *, but: str = " ") -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and but not in path.parts and path.name != "lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def checked(folder: Path) -> Check:
    return check(folder, pipelines.override(pipelines.Pipeline(), {"tiling.slice_size": 64}), decode=True)


def rows(out: Path) -> dict[str, Any]:
    return {row["path"]: row for row in map(json.loads, (out / "scores.jsonl").read_text(encoding="utf-8").splitlines())}


def command(*words: object) -> Result:
    return CliRunner().invoke(main, ["predict", *map(str, words), "--workers", "2"], catch_exceptions=False)


# What is found


def test_a_spot_is_found_where_it_is(untrained: Path, photos: Path, tmp_path: Path, seen: list[int]) -> None:
    done = predict(untrained, photos, tmp_path / "out")
    assert [(each.path, each.defective) for each in done.verdicts] == [
        ("good.png", False),
        ("line1/small.png", False),
        ("line1/spot.png", True),
        ("line2/deep/spot.png", True),
    ]
    row = rows(tmp_path / "out")["line1/spot.png"]
    validator = Draft202012Validator(Verdict.model_json_schema(mode="serialization"))
    validator.validate(row)
    assert not validator.is_valid(row | {"note": ""})
    assert row["regions"] == {"area": 240, "count": 1, "worst": 1.0}
    assert (row["score"], row["threshold"], row["windows"], row["size"]) == (1.0, 0.8, 6, [100, 150])
    assert (90 <= row["peak"][0] < 110, 30 <= row["peak"][1] < 42) == (True, True)
    annotation = labelme.read(tmp_path / "out" / "labelme" / "line1" / "spot.json", "spot", max_bytes=10**6)
    found, findings = regions(annotation, Size(100, 150), None, Repairing())
    assert not findings
    assert [region.label for region in found] == ["anomaly"]
    mask = paint(spans(found, Size(100, 150))[0], Size(100, 150), [1])
    assert (mask.astype(bool) == (spotted()[..., 0] == 255)).mean() > 0.999
    assert annotation.shapes[0].description == "score 1, 240 px"


def test_maps_read_back_as_the_scores_within_half_a_step_of_one_scale(
    untrained: Path, photos: Path, tmp_path: Path, seen: list[int]
) -> None:
    predict(untrained, photos, tmp_path / "out")
    for name, pixels in (("line1/spot", spotted()), ("good", dark())):
        path = tmp_path / "out" / "maps" / f"{name}.png"
        assert abs(read_map(path) - pixels[..., 0] / 255).max() <= 3.5 / 65535 + 1e-6
        levels = np.asarray(Image.open(path)).astype(int)
        assert abs(levels[0, 0] - round(40 / 255 / 7 * 65535)) <= 1


def test_an_overlay_leaves_a_normal_photograph_as_it_looks(
    untrained: Path, photos: Path, tmp_path: Path, seen: list[int]
) -> None:
    predict(untrained, photos, tmp_path / "out")
    shown = decode_file(tmp_path / "out" / "overlays" / "good.jpg", "good", 10**7).pixels
    assert shown.shape == (100 * 5 + 22, 150 * 5, 3)  # enlarged, and a line of words
    assert abs(shown[:490].astype(int) - 40).max() <= 2
    shown = decode_file(tmp_path / "out" / "overlays" / "line1" / "spot.jpg", "spot", 10**7).pixels
    middle = shown[36 * 5, 100 * 5].astype(int)
    assert middle[0] > 200 > middle[2] + 50  # hot
    assert abs(shown[60 * 5, 30 * 5].astype(int) - 40).max() <= 2


def test_what_is_annotated_passes_a_check_without_a_finding_and_converts(
    untrained: Path, photos: Path, tmp_path: Path, seen: list[int]
) -> None:
    write(photos / "line1" / "deep" / "more.png", spotted(200, 90, left=20))
    predict(untrained, photos, tmp_path / "out", wishes=Wishes(label="scratch", copy_images=True))
    done = checked(tmp_path / "out" / "labelme")
    assert done.findings == ()
    assert (done.images, done.annotated, sum(row.kept for row in done.rows)) == (5, 5, 3)


def test_without_copies_an_annotation_names_the_photograph_from_where_it_lies(
    untrained: Path, photos: Path, tmp_path: Path, seen: list[int]
) -> None:
    predict(untrained, photos, tmp_path / "elsewhere" / "out")
    for path in (tmp_path / "elsewhere" / "out" / "labelme").rglob("*.json"):
        told = json.loads(path.read_text(encoding="utf-8"))
        assert not Path(told["imagePath"]).is_absolute()
        assert (path.parent / told["imagePath"]).resolve().is_relative_to(photos)
        size = decode_file(path.parent / told["imagePath"], "image", 10**7).size
        assert (told["imageHeight"], told["imageWidth"]) == (size.height, size.width)


@pytest.mark.parametrize(("threshold", "defective"), [(40 / 255 + 1e-6, False), (float(np.float32(40) / np.float32(255)), True)])
def test_a_score_at_the_threshold_is_defective_and_one_below_is_not(
    untrained: Path, tmp_path: Path, seen: list[int], threshold: float, defective: bool
) -> None:
    write(tmp_path / "a.png", dark(64, 64))
    done = predict(untrained, tmp_path / "a.png", tmp_path / "out", threshold=threshold)
    assert [each.defective for each in done.verdicts] == [defective]
    assert done.verdicts[0].regions.count == defective


def test_a_photograph_in_windows_has_the_threshold_of_photographs_and_a_single_one_that_of_images(
    untrained: Path, tmp_path: Path, seen: list[int]
) -> None:
    write(tmp_path / "in" / "large.png", dark(64, 90))
    write(tmp_path / "in" / "small.png", dark(64, 64))
    predict(untrained, tmp_path / "in", tmp_path / "out")
    assert {path: (row["windows"], row["threshold"]) for path, row in rows(tmp_path / "out").items()} == {
        "large.png": (2, 0.8),
        "small.png": (1, 0.9),
    }


def test_slice_size_cuts_what_a_run_would_not(tmp_path: Path, seen: list[int]) -> None:
    run = finished_run(tmp_path / "run", cut=None)
    write(tmp_path / "a.png", dark(100, 100))
    assert [each.windows for each in predict(run, tmp_path / "a.png", tmp_path / "whole").verdicts] == [1]
    assert [each.windows for each in predict(run, tmp_path / "a.png", tmp_path / "cut", slice_size=50).verdicts] == [9]
    with pytest.raises(ConfigError, match="--slice-size"):
        predict(run, tmp_path / "a.png", tmp_path / "never", slice_size=3)


def test_a_camera_that_was_turned_gives_an_upright_map(untrained: Path, tmp_path: Path, seen: list[int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = io.BytesIO()
    Image.fromarray(spotted(80, 130, top=10, left=10)).save(data, "JPEG", exif=exif.tobytes(), quality=95)
    (tmp_path / "turned.jpg").write_bytes(data.getvalue())
    predict(untrained, tmp_path / "turned.jpg", tmp_path / "out")
    row = rows(tmp_path / "out")["turned.jpg"]
    assert row["size"] == [130, 80]
    assert read_map(tmp_path / "out" / "maps" / "turned.png").shape == (130, 80)
    assert 80 - 22 <= row["peak"][0] < 80 - 10
    assert 10 <= row["peak"][1] < 30


def test_gray_and_16_bits_are_looked_at(untrained: Path, tmp_path: Path, seen: list[int]) -> None:
    write(tmp_path / "in" / "gray.png", spotted()[..., 0])
    deep: Any = spotted()[..., 0].astype(np.uint16) * 257
    write(tmp_path / "in" / "deep.png", deep)
    done = predict(untrained, tmp_path / "in", tmp_path / "out")
    assert [(each.score, each.regions.area) for each in done.verdicts] == [(1.0, 240), (1.0, 240)]


def test_an_untrained_network_gives_the_same_bytes_for_any_number_of_workers(untrained: Path, tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / "in" / f"{number}.png", surface(number, 100))
    done = predict(untrained, tmp_path / "in", tmp_path / "one", workers=1, threshold=0.1)
    predict(untrained, tmp_path / "in", tmp_path / "three", workers=3, threshold=0.1)
    assert contents(tmp_path / "one") == contents(tmp_path / "three")
    assert all(each.defective and each.regions.count for each in done.verdicts)


# Names


def test_images_of_one_stem_do_not_write_over_one_another(untrained: Path, tmp_path: Path, seen: list[int]) -> None:
    write(tmp_path / "in" / "a.png", dark())
    Image.fromarray(spotted()).save(tmp_path / "in" / "a.jpg", quality=95)
    predict(untrained, tmp_path / "in", tmp_path / "out", wishes=Wishes(copy_images=True))
    assert {path: row["defective"] for path, row in rows(tmp_path / "out").items()} == {"a.jpg": True, "a.png": False}
    assert listing(tmp_path / "out" / "labelme") == ["a.jpg.jpg", "a.jpg.json", "a.png.json", "a.png.png"]
    assert listing(tmp_path / "out" / "maps") == ["a.jpg.png", "a.png.png"]
    assert checked(tmp_path / "out" / "labelme").findings == ()


def test_an_image_does_not_pass_for_another_of_its_stem_whose_annotation_was_changed(
    untrained: Path, tmp_path: Path, seen: list[int]
) -> None:
    home, out = tmp_path / "in", tmp_path / "out"
    write(home / "a.png", dark())
    predict(untrained, home, out)
    changed = out / "labelme" / "a.json"
    changed.write_text(changed.read_text(encoding="utf-8") + " ", encoding="utf-8")
    before = changed.read_bytes()
    (home / "a.png").unlink()
    Image.fromarray(spotted()).save(home / "a.bmp")
    for _ in range(2):
        done = predict(untrained, home, out)
        assert (done.edited, [verdict.name for verdict in done.verdicts]) == ((), ["a.bmp"])
        assert json.loads((out / "labelme" / "a.bmp.json").read_bytes())["imagePath"] == "../../in/a.bmp"
        assert changed.read_bytes() == before
        assert list(rows(out)) == ["a.bmp"]
    (home / "a.bmp").unlink()
    write(home / "a.png", dark())
    assert predict(untrained, home, out).edited == ("a.png",), "it came back, and so did what somebody knows of it"
    assert (changed.read_bytes(), listing(out / "labelme")) == (before, ["a.json"])


def test_maps_of_images_of_one_stem_beside_others_are_scored(untrained: Path, tmp_path: Path, seen: list[int]) -> None:
    data = tmp_path / "data"
    mask = np.zeros((100, 150), np.uint8)
    mask[30:42, 90:110] = 255
    write(data / "part/train/good/t.png", dark())
    write(data / "part/test/good/a.png", dark())
    Image.fromarray(dark()).save(data / "part/test/good/a.bmp")
    write(data / "part/test/dent/b.png", spotted())
    write(data / "part/ground_truth/dent/b.png", mask)
    predict(untrained, data, tmp_path / "out")
    assert listing(tmp_path / "out/maps/part/test/good") == ["a.bmp.png", "a.png.png"]
    done = CliRunner().invoke(main, ["score", str(tmp_path / "out/maps"), str(data), "--json"], catch_exceptions=False)
    assert done.exit_code == DONE, done.stderr
    assert json.loads(done.stdout)["categories"]["part"]["image_auroc"] == 1.0


def test_no_two_images_share_a_name_however_odd() -> None:
    odd = [
        "a.png",
        "a.jpg",
        "a.png.bmp",
        "a.jpg.bmp",
        "A.PNG",
        "b.png",
        "b.png/c.png",
        "d.json/e.png",
        "d.tif",
        f"{'x' * 251}.png",
    ]
    odd += [f"{'x' * 251}.jpg", "é.png", "e\u0301.png"]
    found = names(odd)
    assert len({name.casefold() for name in found.values()}) == len(odd)
    made = [f"{name}{suffix}" for name in found.values() for suffix in (".png", ".json")]
    assert not set(made) & {"b.png", "d.json"}
    assert max(len(part.encode()) for name in made for part in name.split("/")) <= 250


# Going on


class Stopped(Exception):
    pass


def stop_after(count: int) -> Callable[[Any], None]:
    def progress(step: Any) -> None:
        if step.done >= count:
            raise Stopped

    return progress


def test_a_run_that_was_cut_off_goes_on_to_the_same_bytes(untrained: Path, tmp_path: Path) -> None:
    for number in range(5):
        write(tmp_path / "in" / f"{number}.png", surface(number, 64 if number < 4 else 90))
    options: dict[str, Any] = {"batch_size": 5, "threshold": 0.5, "workers": 2, "wishes": Wishes(copy_images=True)}
    predict(untrained, tmp_path / "in", tmp_path / "whole", **options)
    with pytest.raises(Stopped):
        predict(untrained, tmp_path / "in", tmp_path / "out", progress=stop_after(2), **options)
    assert not (tmp_path / "out" / "scores.jsonl").exists()
    journal = tmp_path / "out" / HOME / "journal.jsonl"
    assert journal.read_bytes().count(b"\n") == 2
    with journal.open("ab") as file:
        file.write(b'{"key": "torn')
    done = predict(untrained, tmp_path / "in", tmp_path / "out", **options)
    assert (done.fresh, len(done.verdicts)) == (3, 5)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_what_is_left_of_a_batch_is_looked_at_in_the_company_it_had(untrained: Path, tmp_path: Path, seen: list[int]) -> None:
    """For the last bits of a score depend on how many others are in the batch."""
    for number in range(12):
        write(tmp_path / "in" / f"{number:02}.png", dark(64, 64))
    with pytest.raises(Stopped):
        predict(untrained, tmp_path / "in", tmp_path / "out", progress=stop_after(7), batch_size=5)
    assert seen[0] == 5
    seen.clear()
    assert predict(untrained, tmp_path / "in", tmp_path / "out", batch_size=5).fresh == 5
    assert seen == [5, 2]


def test_what_is_finished_is_not_looked_at_again(untrained: Path, photos: Path, tmp_path: Path, seen: list[int]) -> None:
    first = predict(untrained, photos, tmp_path / "out")
    looked = len(seen)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "maps").rglob("*.png")}
    again = predict(untrained, photos, tmp_path / "out")
    assert (again.fresh, again.verdicts, len(seen)) == (0, first.verdicts, looked)
    assert {path: path.stat().st_mtime_ns for path in times} == times
    write(photos / "good.png", spotted())
    assert predict(untrained, photos, tmp_path / "out").fresh == 1
    assert rows(tmp_path / "out")["good.png"]["defective"]
    (tmp_path / "out" / "maps" / "good.png").unlink()
    assert predict(untrained, photos, tmp_path / "out").fresh == 1
    assert predict(untrained, photos, tmp_path / "out", threshold=0.5).fresh == 4


def test_what_was_made_of_images_that_are_gone_goes(untrained: Path, photos: Path, tmp_path: Path, seen: list[int]) -> None:
    predict(untrained, photos, tmp_path / "out", wishes=Wishes(copy_images=True))
    (photos / "line2" / "deep" / "spot.png").unlink()
    (tmp_path / "out" / "maps" / "note.txt").write_text("mine")
    predict(untrained, photos, tmp_path / "out", wishes=Wishes(maps=False))
    left = set(contents(tmp_path / "out", but=HOME))
    assert not [path for path in left if "line2" in path]
    assert not (tmp_path / "out" / "labelme" / "line2").exists()
    assert {path for path in left if path.startswith("maps/")} == {"maps/note.txt"}
    assert {path for path in left if path.startswith("labelme/")} == {
        f"labelme/{name}.json" for name in ("good", "line1/small", "line1/spot")
    }


def test_an_annotation_that_somebody_has_changed_stays_but_for_overwrite(
    untrained: Path, photos: Path, tmp_path: Path, seen: list[int]
) -> None:
    predict(untrained, photos, tmp_path / "out")
    changed = tmp_path / "out" / "labelme" / "line1" / "spot.json"
    gone = tmp_path / "out" / "labelme" / "good.json"
    for path in (changed, gone):
        path.write_text(path.read_text(encoding="utf-8") + " ", encoding="utf-8")
    (photos / "good.png").unlink()
    done = predict(untrained, photos, tmp_path / "out", threshold=0.5)
    assert done.edited == ("line1/spot.png",)
    assert changed.read_bytes().endswith(b" ")
    assert gone.exists()
    assert rows(tmp_path / "out")["line1/spot.png"]["threshold"] == 0.5
    assert predict(untrained, photos, tmp_path / "out", threshold=0.4).edited == ("line1/spot.png",)
    assert predict(untrained, photos, tmp_path / "out", threshold=0.5, overwrite=True).edited == ()
    assert not changed.read_bytes().endswith(b" ")


def test_what_stands_in_place_of_an_annotation_is_left_alone(
    untrained: Path, photos: Path, tmp_path: Path, seen: list[int]
) -> None:
    predict(untrained, photos, tmp_path / "out")
    taken = tmp_path / "out" / "labelme" / "line1" / "spot.json"
    taken.unlink()
    taken.mkdir()
    (taken / "mine.txt").write_text("mine")
    assert predict(untrained, photos, tmp_path / "out", threshold=0.5).edited == ("line1/spot.png",)
    (photos / "line1" / "spot.png").unlink()
    predict(untrained, photos, tmp_path / "out", threshold=0.4)
    assert (taken / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("note", [b"[" * 100_000, b"\xff", b"3"])
def test_a_note_that_is_none_names_no_images(untrained: Path, photos: Path, tmp_path: Path, seen: list[int], note: bytes) -> None:
    (tmp_path / "out" / HOME).mkdir(parents=True)
    (tmp_path / "out" / HOME / "images.json").write_bytes(note)
    assert len(predict(untrained, photos, tmp_path / "out").verdicts) == 4


def test_a_folder_of_others_or_of_other_images_is_refused(untrained: Path, photos: Path, tmp_path: Path, seen: list[int]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(LayoutError, match="did not write; choose another folder or pass --overwrite"):
        predict(untrained, photos, out)
    predict(untrained, photos, out, overwrite=True)
    assert (out / "thesis.txt").read_text() == "mine"
    photos.rename(tmp_path / "others")
    with pytest.raises(LayoutError, match="was made from 'photos', not 'others'"):
        predict(untrained, tmp_path / "others", out)
    with hold(tmp_path / "busy", "others", overwrite=False), pytest.raises(BusyError, match="another run"):
        predict(untrained, tmp_path / "others", tmp_path / "busy")
    with pytest.raises(ConfigError, match="contains the photographs"):
        predict(untrained, tmp_path / "others" / "line1", tmp_path / "others")


def test_a_journal_never_removes_what_lies_outside(untrained: Path, photos: Path, tmp_path: Path, seen: list[int]) -> None:
    predict(untrained, photos, tmp_path / "out")
    (tmp_path / "mine.json").write_text("{}")
    journal = tmp_path / "out" / HOME / "journal.jsonl"
    row = json.loads(journal.read_text(encoding="utf-8").splitlines()[0])
    row["verdict"]["name"] = "../../mine"
    row["verdict"]["path"] = "gone.png"
    journal.write_text(json.dumps(row) + "\n", encoding="utf-8")
    predict(untrained, photos, tmp_path / "out")
    assert (tmp_path / "mine.json").exists()


# Which images


def test_hidden_files_masks_and_outputs_of_predictions_are_no_photographs(
    untrained: Path, photos: Path, tmp_path: Path, seen: list[int]
) -> None:
    write(photos / ".hidden.png", dark())
    write(photos / ".thumbs" / "a.png", dark())
    write(photos / "line1" / "ground_truth" / "spot.png", dark())
    (photos / "notes.txt").write_text("mine")
    predict(untrained, photos, photos / "found", wishes=Wishes(copy_images=True))
    done = predict(untrained, photos, photos / "again")
    assert len(done.verdicts) == 4
    assert len(predict(untrained, photos, photos / "again").verdicts) == 4


def test_what_cannot_be_read_is_told_and_the_others_go_on(untrained: Path, photos: Path, tmp_path: Path, seen: list[int]) -> None:
    (photos / "torn.png").write_bytes((photos / "good.png").read_bytes()[:-40])
    (photos / "text.jpg").write_text("no image")
    (photos / "line1" / "out.png").symlink_to(tmp_path / "elsewhere.png")
    os.mkfifo(photos / "pipe.png")
    done = predict(untrained, photos, tmp_path / "out")
    assert len(done.verdicts) == 4
    assert sorted(done.failed) == ["line1/out.png", "pipe.png", "text.jpg", "torn.png"]
    assert "expected PNG, JPEG" in done.failed["text.jpg"]
    told = [json.loads(text) for text in (tmp_path / "out" / "failed.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {row["path"]: row["reason"] for row in told} == done.failed
    assert str(tmp_path) not in (tmp_path / "out" / "failed.jsonl").read_text(encoding="utf-8")
    for path in done.failed:
        (photos / path).unlink()
    predict(untrained, photos, tmp_path / "out")
    assert not (tmp_path / "out" / "failed.jsonl").exists()


def test_an_image_larger_than_a_map_can_be_is_told(
    untrained: Path, photos: Path, tmp_path: Path, seen: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("threecad.formats.maps.MOST_PIXELS", 10_000)
    done = predict(untrained, photos, tmp_path / "out")
    assert done.failed["good.png"] == (
        "150 × 100 pixels (width × height); expected at most 0.01 million; with --no-maps up to 400 million"
    )
    assert not predict(untrained, photos, tmp_path / "out", wishes=Wishes(maps=False)).failed


def test_scores_that_are_not_finite_are_a_failure_of_that_image(
    untrained: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Brightness):
        def forward(self, images_B3HW: Tensor) -> Prediction:
            said = super().forward(images_B3HW)
            map_BHW = torch.where(said.map_BHW > 0.9, torch.nan, said.map_BHW)
            return Prediction(map_BHW, map_BHW.flatten(1).amax(1))

    monkeypatch.setattr(Run, "detector", lambda *_: Broken())
    done = predict(untrained, photos, tmp_path / "out")
    assert sorted(done.failed) == ["line1/spot.png", "line2/deep/spot.png"]
    assert "not finite" in done.failed["line1/spot.png"]
    assert [each.path for each in done.verdicts] == ["good.png", "line1/small.png"]


def test_no_image_or_no_folder_is_one_sentence(untrained: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("mine")
    with pytest.raises(LayoutError, match=r"found notes\.txt; expected photographs"):
        predict(untrained, tmp_path / "in", tmp_path / "out")
    with pytest.raises(LayoutError, match="no such file or folder"):
        predict(untrained, tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(LayoutError, match=r"run\.json"):
        predict(tmp_path / "in", tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options",
    [{"threshold": float("nan")}, {"batch_size": 0}, {"device": "tpu"}, {"category": "tin"}]
    + [{"wishes": Wishes(label=label)} for label in (" ", "a\nb", "__ignore__")],
)
def test_a_wrong_wish_is_refused_before_anything_is_written(
    untrained: Path, photos: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match="expected"):
        predict(untrained, photos, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


# Several models


def test_each_image_is_looked_at_by_the_model_of_its_first_folder(
    tmp_path: Path, photos: Path, seen: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finished_run(tmp_path / "run", "line1", "line2")
    with pytest.raises(ConfigError, match=r"1 of 4 images, the first good\.png, are in no folder .* line1, line2; .*--category"):
        predict(run, photos, tmp_path / "out")
    done = predict(run, photos, tmp_path / "out", category="line2")
    assert {each.model for each in done.verdicts} == {"line2"}
    assert not done.by_folder
    (photos / "good.png").unlink()
    done = predict(run, photos, tmp_path / "out")
    assert {each.path: each.model for each in done.verdicts} == {
        "line1/small.png": "line1",
        "line1/spot.png": "line1",
        "line2/deep/spot.png": "line2",
    }
    assert done.by_folder


# The pass


def test_photographs_share_batches_and_few_are_open_at_once(
    untrained: Path, tmp_path: Path, seen: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        write(tmp_path / "in" / f"{number:02}.png", dark(64, 64))
    most = 0
    begun: list[str] = []
    original = passing.read

    def counted(file: Path, name: str, max_pixels: int) -> Any:
        nonlocal most
        begun.append(name)
        most = max(most, len(begun) - 16 * len(seen))
        return original(file, name, max_pixels)

    monkeypatch.setattr(passing, "read", counted)
    predict(untrained, tmp_path / "in", tmp_path / "out", workers=2)
    assert seen == [16, 16, 8]
    assert most <= 16 + 2 * 2 + 1


def test_a_large_photograph_is_cut_while_it_is_looked_at(
    untrained: Path, tmp_path: Path, seen: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(0).integers(0, 200, (300, 400, 3), np.uint8)
    write(tmp_path / "a.png", pixels)
    predict(untrained, tmp_path / "a.png", tmp_path / "one")
    monkeypatch.setattr(passing, "_MOST_SQUARES", 1)
    monkeypatch.setattr("threecad.learning.predict.budget", lambda: 1)
    predict(untrained, tmp_path / "a.png", tmp_path / "two")
    assert contents(tmp_path / "one", but=HOME) == contents(tmp_path / "two", but=HOME)
    assert max(seen) <= 16


# The command


def test_the_command_tells_the_worst_ten_and_exits_as_it_says(
    untrained: Path, photos: Path, tmp_path: Path, seen: list[int]
) -> None:
    out = tmp_path / "out"
    done = command(untrained, photos, out)
    assert done.exit_code == DONE
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["line1/spot.png", "defective", "1", "0.8", "1", "240"] in lines
    assert "2 images of 4 are defective (50.0%)." in done.stdout
    assert command(untrained, photos, out, "--fail-on-defect").exit_code == LOOK
    assert "Nothing to do: 4 images unchanged" in command(untrained, photos, out).stdout
    (photos / "bad\x1b[2J.png").write_text("no")
    done = command(untrained, photos, out, "--json")
    assert done.exit_code == LOOK
    told = json.loads(done.stdout)
    assert (told["images"], told["defective"], told["fresh"], len(told["worst"])) == (4, 2, 0, 4)
    assert "\x1b" not in done.stderr
    assert "expected PNG, JPEG, BMP, TIFF or WebP" in done.stderr
    (tmp_path / "bad").mkdir()
    for number in range(30):
        (tmp_path / "bad" / f"{number}.png").write_text("no")
    done = command(untrained, tmp_path / "bad", tmp_path / "other")
    assert done.exit_code == FAILED
    assert "and 10 more images, all in" in done.stderr
    done = command(untrained, tmp_path / "nowhere", tmp_path / "never")
    assert (done.exit_code, done.stderr.count("\n")) == (USAGE, 1)


def test_flags_leave_files_out(untrained: Path, photos: Path, tmp_path: Path, seen: list[int]) -> None:
    words = ("--no-maps", "--no-overlays", "--copy-images", "--label", "dent", "--min-area", "999", "--threshold", "0.3")
    assert command(untrained, photos, tmp_path / "out", *words).exit_code == DONE
    assert {path.name for path in (tmp_path / "out").iterdir()} == {HOME, "labelme", "scores.jsonl"}
    row = rows(tmp_path / "out")["line1/spot.png"]
    assert (row["threshold"], row["defective"], row["regions"]["count"]) == (0.3, True, 0)


def test_the_scores_and_maps_are_what_score_reads(untrained: Path, tmp_path: Path, seen: list[int], drawn: Any) -> None:
    root = drawn("metal")
    predict(untrained, root, tmp_path / "out", wishes=Wishes(overlays=False))
    words = ("--image-scores", str(tmp_path / "out" / "scores.jsonl"), "--json")
    done = CliRunner().invoke(main, ["score", str(tmp_path / "out" / "maps"), str(root), *words], catch_exceptions=False)
    assert done.exit_code == DONE, done.stderr
    assert "image_auroc" in done.stdout


def test_worst_first_is_by_the_distance_from_the_threshold(
    untrained: Path, photos: Path, tmp_path: Path, seen: list[int]
) -> None:
    done = predict(untrained, photos, tmp_path / "out")
    ordered = [each.score - each.threshold for each in terminal.worst(done)]
    assert ordered == sorted(ordered, reverse=True)


def test_a_region_of_a_found_shape_is_a_region_of_the_domain(
    untrained: Path, photos: Path, tmp_path: Path, seen: list[int]
) -> None:
    predict(untrained, photos, tmp_path / "out", wishes=Wishes(copy_images=True))
    annotation = labelme.read(tmp_path / "out" / "labelme" / "line2" / "deep" / "spot.json", "spot", max_bytes=10**6)
    found, _ = regions(annotation, Size(100, 150), None, Repairing())
    assert all(isinstance(region, Region) and region.geometry.area > 200 for region in found)
