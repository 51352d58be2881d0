"""What people decide about single shapes, and what the next conversion makes of it."""

from __future__ import annotations

import json
import math
import os
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from threecad.domain import Action, Code, Decision
from threecad.errors import ConfigError
from threecad.formats.cases import Decisions, read_cases, read_choices
from threecad.formats.dataset import read_findings
from threecad.pipeline import convert as converting
from threecad.pipeline import publish as publishing
from threecad.pipeline.check import check
from threecad.pipeline.config import Pipeline
from threecad.pipeline.convert import Conversion, convert

BOW_TIE = [[20, 20], [60, 50], [60, 20], [20, 50]]
SQUARE = [[100, 100], [140, 100], [140, 140], [100, 140]]
TWO_POINTS = [[10, 90], [50, 90]]
OVER_THE_EDGE = [[230, 150], [250, 150], [250, 170], [230, 170]]


def shape(points: list[list[float]], label: str = "dent", **more: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "shape_type": "polygon", "flags": {}, "group_id": None} | more


def draw(raw: Path, name: str, *shapes: dict[str, Any]) -> None:
    raw.mkdir(exist_ok=True)
    file = raw / f"{name}.png"
    if not file.exists():
        noise = np.random.default_rng(list(name.encode())).integers(0, 255, (200, 240), dtype=np.uint8)
        Image.fromarray(noise).save(file)
    text = {"version": "5.5.0", "flags": {}, "shapes": list(shapes), "imagePath": file.name, "imageData": None}
    (raw / f"{name}.json").write_text(json.dumps(text | {"imageHeight": 200, "imageWidth": 240}), encoding="utf-8")


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody pulls the plug here, and waiting for the disk is most of the time that small conversions take."""
    monkeypatch.setattr(os, "sync", lambda: None)
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    draw(folder, "tie", shape(BOW_TIE), shape(SQUARE))
    draw(folder, "edge", shape(OVER_THE_EDGE))
    draw(folder, "two", shape(TWO_POINTS))
    draw(folder, "good")
    return folder


PIPELINE = Pipeline.model_validate({"tiling": {"slice_size": 240}})


def run(raw: Path, decisions: Any = None, **options: Any) -> Conversion:
    return convert(raw, raw.parent / "out", PIPELINE, decisions=decisions, workers=1, **options)


def cases(raw: Path) -> dict[tuple[str, int], Any]:
    return {(case.source, case.shape): case for case in read_cases(raw.parent / "out" / "cases.jsonl")}


def decided(raw: Path, **choices: str) -> Decisions:
    """Decisions about the first shape of the sources named."""
    found = cases(raw)
    return Decisions({f"{name}.png": {found[f"{name}.png", 0].digest: Decision(word)} for name, word in choices.items()})


def codes(raw: Path, source: str) -> dict[Code, Action]:
    return {each.code: each.action for each in read_findings(raw.parent / "out" / "findings.jsonl") if each.source == source}


def uids(raw: Path) -> set[str]:
    lines = (raw.parent / "out" / "regions.jsonl").read_text(encoding="utf-8").splitlines()
    return {json.loads(line)["uid"] for line in lines}


def test_every_queued_or_repaired_shape_is_a_case_with_a_picture(raw: Path) -> None:
    run(raw)
    found = cases(raw)
    assert {key: case.action.value for key, case in found.items()} == {
        ("tie.png", 0): "queued",
        ("edge.png", 0): "repaired",
        ("two.png", 0): "queued",
    }
    tie = found["tie.png", 0]
    assert tie.points == ((20, 20), (60, 50), (60, 20), (20, 50))
    assert tie.codes == (Code.READINGS_DISAGREE,)
    assert tie.place == (40, 35)
    assert json.loads(tie.outline)["type"] == "MultiPolygon"
    assert found["two.png", 0].outline is None
    for case in found.values():
        with Image.open(raw.parent / "out" / case.picture) as picture:
            assert picture.size == case.view[2:]


def test_an_accepted_bow_tie_becomes_a_region_and_its_image_is_used(raw: Path) -> None:
    assert run(raw).queued
    assert "tie.png#0" not in uids(raw)
    run(raw, decided(raw, tie="accept"))
    assert "tie.png#0" in uids(raw)
    assert codes(raw, "tie.png") == {Code.READINGS_DISAGREE: Action.REPAIRED, Code.DECIDED: Action.KEPT}
    case = cases(raw)["tie.png", 0]
    assert (case.decision, case.action) == (Decision.ACCEPT, Action.REPAIRED)


def test_what_cannot_be_made_into_anything_stays_queued_when_it_is_accepted(raw: Path) -> None:
    run(raw)
    run(raw, decided(raw, two="accept"))
    assert codes(raw, "two.png") == {Code.TOO_FEW_POINTS: Action.QUEUED, Code.DECIDED: Action.KEPT}


def test_a_dropped_shape_leaves_the_queue_and_poisons_nothing(raw: Path) -> None:
    before = run(raw).manifest
    after = run(raw, decided(raw, tie="drop", two="drop"))
    assert before is not None
    assert after.manifest is not None
    assert not after.queued
    assert codes(raw, "tie.png") == {Code.READINGS_DISAGREE: Action.DROPPED, Code.DECIDED: Action.DROPPED}
    assert after.manifest.categories["raw"].shapes.dropped == 2
    assert "relabel.csv" in after.manifest.digests
    assert (raw.parent / "out" / "relabel.csv").read_text().count("\n") == 1
    assert before.categories["raw"].shapes.total == after.manifest.categories["raw"].shapes.total


def test_a_repaired_shape_can_be_sent_back(raw: Path) -> None:
    run(raw)
    assert "edge.png#0" in uids(raw)
    run(raw, decided(raw, edge="relabel"))
    assert "edge.png#0" not in uids(raw)
    assert codes(raw, "edge.png")[Code.DECIDED] is Action.QUEUED


def test_decisions_hold_in_later_runs_until_they_are_taken_back(raw: Path, tmp_path: Path) -> None:
    run(raw)
    choice = decided(raw, tie="accept")
    run(raw, choice)
    again = run(raw)
    assert not again.changed
    assert "tie.png#0" in uids(raw)
    back = tmp_path / "back.json"
    rows = [{"source": "tie.png", "digest": digest, "decision": "none", "shape": 0} for digest in choice["tie.png"]]
    back.write_text(json.dumps({"format": 1, "decisions": rows}))
    run(raw, back)
    assert "tie.png#0" not in uids(raw)
    assert not (raw.parent / "out" / "decisions.json").exists()


def test_decisions_outlive_a_fresh_start(raw: Path) -> None:
    run(raw)
    run(raw, decided(raw, tie="accept"))
    run(raw, overwrite=True)
    assert "tie.png#0" in uids(raw)


def test_the_order_of_runs_changes_no_byte(raw: Path, tmp_path: Path) -> None:
    run(raw)
    choice = decided(raw, tie="accept", two="drop")
    run(raw, choice)
    convert(raw, tmp_path / "at once", PIPELINE, decisions=choice, workers=2)
    for name in ("manifest.json", "SHA256SUMS", "cases.jsonl", "findings.jsonl", "decisions.json"):
        assert (raw.parent / "out" / name).read_bytes() == (tmp_path / "at once" / name).read_bytes(), name


def test_a_decision_follows_its_shape_when_others_are_deleted_before_it(raw: Path) -> None:
    draw(raw, "tie", shape(SQUARE), shape(BOW_TIE))
    run(raw)
    digest = cases(raw)["tie.png", 1].digest
    draw(raw, "tie", shape(BOW_TIE))
    run(raw, Decisions({"tie.png": {digest: Decision.ACCEPT}}))
    assert uids(raw) >= {"tie.png#0"}


def test_a_decision_about_a_shape_that_was_drawn_anew_has_no_effect_and_is_told(raw: Path) -> None:
    run(raw)
    choice = decided(raw, tie="drop")
    draw(raw, "tie", shape([[20, 20], [60, 20], [60, 50], [20, 50]]))
    run(raw, choice)
    assert "tie.png#0" in uids(raw)
    assert codes(raw, "tie.png") == {Code.DECISION_STALE: Action.KEPT}


def test_a_decision_about_a_photograph_that_is_gone_is_told(raw: Path) -> None:
    run(raw, Decisions({"gone.png": {"0" * 16: Decision.DROP}}))
    assert codes(raw, "gone.png") == {Code.DECISION_STALE: Action.KEPT}


def test_a_check_obeys_decisions_as_a_conversion_does(raw: Path, tmp_path: Path) -> None:
    run(raw)
    choice = decided(raw, tie="accept", two="drop", edge="relabel")
    run(raw, choice)
    told = sorted((each.code, each.action, each.source) for each in read_findings(tmp_path / "out" / "findings.jsonl"))
    done = check(raw, PIPELINE, decisions=choice, fixed=tmp_path / "fixed")
    splits = {Code.NOTHING_TO_TRAIN_ON}
    assert sorted((each.code, each.action, each.source) for each in done.findings) == [
        row for row in told if row[0] not in splits
    ]
    fixed = json.loads((tmp_path / "fixed" / "tie.json").read_text())
    assert len(fixed["shapes"]) == 3  # the bow-tie's two halves and the square


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "Invalid JSON"),
        ('{"format": 2, "decisions": []}', "format"),
        ('{"decisions": [{"source": "a.png", "digest": "0", "decision": "drop"}]}', "decisions.0.digest"),
        ('{"decisions": [{"source": "a.png", "digest": "0123456789abcdef", "decision": "maybe"}]}', "decisions.0.decision"),
        ("[" * 100_000, "Invalid JSON"),
    ],
)
def test_a_file_that_holds_no_decisions_is_named_in_one_sentence(text: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "decisions.json"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_choices(file)
    assert str(file) in str(caught.value)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_of_decisions_is_named(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        run(raw, tmp_path / "nowhere.json")


def test_decisions_are_written_as_they_are_read(tmp_path: Path) -> None:
    decisions = Decisions(
        {"b.png": {"f" * 16: Decision.DROP}, "a\n.png": {"0" * 16: Decision.ACCEPT, "1" * 16: Decision.RELABEL}}
    )
    file = tmp_path / "decisions.json"
    file.write_text(decisions.text(), encoding="utf-8")
    assert Decisions().changed(read_choices(file)).text() == decisions.text()


def test_a_shape_that_waits_anyway_stands_in_the_queue_once(raw: Path) -> None:
    run(raw)
    run(raw, decided(raw, tie="relabel", two="accept", edge="relabel"))
    rows = (raw.parent / "out" / "relabel.csv").read_text().splitlines()[1:]
    assert sorted(row.split(",")[0] for row in rows) == ["edge.png", "tie.png", "two.png"]


def test_coordinates_beyond_all_numbers_are_queued_like_others(raw: Path) -> None:
    draw(raw, "far", shape([[1e308, 1], [5, 5], [-1e308, 9]]))
    run(raw)
    case = cases(raw)["far.png", 0]
    assert (case.codes, case.view) == ((Code.NOT_FINITE,), (0, 0, 240, 200))


def test_a_decision_finds_a_source_whose_name_is_spelt_the_other_way(raw: Path) -> None:
    draw(raw, unicodedata.normalize("NFD", "größe"), shape(BOW_TIE))
    run(raw)
    source = unicodedata.normalize("NFD", "größe") + ".png"
    digest = cases(raw)[source, 0].digest
    done = run(raw, Decisions({unicodedata.normalize("NFC", source): {digest: Decision.DROP}}))
    assert codes(raw, source)[Code.DECIDED] is Action.DROPPED
    assert done.manifest is not None
    assert Code.DECISION_STALE not in done.manifest.findings


def test_a_file_of_decisions_that_is_somebody_elses_stays(raw: Path) -> None:
    out = raw.parent / "out"
    out.mkdir()
    (out / "decisions.json").write_text('{"minutes": 1}')
    run(raw, overwrite=True)
    assert (out / "decisions.json").read_text() == '{"minutes": 1}'


def test_decisions_of_a_run_that_broke_off_hold_in_the_next(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(raw)
    with monkeypatch.context() as patch:
        patch.setattr(converting, "publish", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(raw, decided(raw, tie="accept"))
    run(raw)
    assert "tie.png#0" in uids(raw)
    assert not (raw.parent / "out" / ".threecad" / "decisions.json").exists()


def test_taking_everything_back_in_a_run_that_broke_off_holds_too(
    raw: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run(raw)
    choice = decided(raw, tie="accept")
    run(raw, choice)
    back = tmp_path / "back.json"
    rows = [{"source": "tie.png", "digest": digest, "decision": "none"} for digest in choice["tie.png"]]
    back.write_text("\ufeff" + json.dumps({"decisions": rows}), encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.setattr(publishing.Manifest, "text", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(raw, back)
    run(raw)
    assert "tie.png#0" not in uids(raw)
    assert not (raw.parent / "out" / "decisions.json").exists()


def test_decisions_that_are_damaged_are_named_with_what_to_do(raw: Path) -> None:
    run(raw)
    run(raw, decided(raw, tie="drop"))
    (raw.parent / "out" / "decisions.json").write_text("{")
    with pytest.raises(ConfigError, match=r"decisions\.json: .*; mend it, or delete it to forget what was decided"):
        run(raw)


def test_of_very_many_vertices_every_nth_is_told_with_its_stride(raw: Path) -> None:
    outline = [[100 + 50 * math.cos(number / 1000), 100 + 50 * math.sin(number / 1000)] for number in range(12_001)]
    draw(raw, "round", shape(outline))
    run(raw)
    case = cases(raw)["round.png", 0]
    assert (case.step, case.vertices, len(case.points)) == (3, 12_001, 4_001)
