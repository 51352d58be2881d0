"""An evaluation as text and as figures: the paper's form, and names that can do nothing."""

from __future__ import annotations

import csv
import io
import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from PIL import Image
from pydantic import TypeAdapter
from rich.console import Console

from threecad.errors import ConfigError, LayoutError, ThreecadError
from threecad.learning.evaluate import as_json, drawing, record, tables, write, writing
from threecad.learning.evaluate.cases import chosen
from threecad.learning.evaluate.measuring import measure
from threecad.learning.evaluate.results import Case, CategoryResult, Evaluation, Judged, Kind
from threecad.learning.runs import Threshold
from threecad.metrics import FIGURES, Bounded, Meter

HOSTILE = "=1+1\x1b[2J$x$ \\input{a}"
LIMIT = Threshold(image=0.5, photograph=0.6, false_positive_rate=0.01, images=9, photographs=9, source="validation")


def limit_of(**more: Any) -> Threshold:
    return LIMIT.model_copy(update=more)


def case(kind: Kind, size: tuple[int, int] = (60, 90), *, kind_of_defect: str = "dent", known: bool = True) -> Case:
    height, width = size
    mask = np.zeros(size, np.bool_)
    if kind != "false alarm":
        mask[height // 2, width // 2] = True
        mask[2:20, 3:40] = True
    across = np.linspace(0, 1, width, dtype=np.float32)[None].repeat(height, 0)
    image = (across * 255).astype(np.uint8)[..., None].repeat(3, 2)
    return Case(
        kind,
        "" if kind == "false alarm" else kind_of_defect,
        float(across.max()),
        found=kind != "worst",
        image=image,
        mask=mask if known else None,
        map=across,
    )


def measured(name: str, *, good: int = 6, defective: int = 6, types: tuple[str, ...] = ("dent",), **more: Any) -> CategoryResult:
    rng = np.random.default_rng(len(name))
    meter, images = Meter(upstream=more.pop("upstream", False)), []
    for number in range(good + defective):
        mask = np.zeros((20, 30), np.bool_)
        if number < defective:
            mask[3:9, 4:9] = True
        map_ = (rng.random((20, 30)) * 0.6 + mask * 0.3 * (number % 3)).astype(np.float32)
        meter.update(map_, mask)
        marked, score = bool(mask.any()), float(map_.max())
        found = score >= 0.5
        regions = ((0, int(marked), 0, 0), (0, int(marked and found), 0, 0))
        kind = types[number % len(types)] if marked else ""
        images.append(
            Judged(
                f"{name}/{number}.png", name, kind, marked, score, found, True if marked else None, *regions,
                source=f"{name}/{number}", pixels=600, anomalous_pixels=int(mask.sum()),
            )
        )  # fmt: skip
    return measure(name, name, images, meter, LIMIT, pro_limit=0.3, **more)


def evaluation(*categories: CategoryResult, **more: Any) -> Evaluation:
    settings: dict[str, Any] = {"run": "run", "dataset": "data", "resolution": "native", "side": 256, "pro_limit": 0.3}
    return Evaluation(**settings | {"images": (), "notes": ()} | more, categories=categories)


def printed(done: Evaluation, width: int = 120) -> str:
    text = io.StringIO()
    tables.show(done, Console(file=text, width=width, highlight=False))
    return text.getvalue()


# The terminal


def test_the_first_table_has_the_papers_columns_in_per_cent_with_one_decimal() -> None:
    done = evaluation(measured("nut"), measured("copper"))
    grid = tables.grids(done)[0]
    assert grid.columns[:5] == ("Category", "I-AUROC", "P-AUROC", "P-PRO", "AP")
    assert [row[0] for row in grid.rows] == ["nut", "copper", "Mean"]
    for figure, cell in zip(("image_auroc", "pixel_auroc", "aupro", "pixel_ap"), grid.rows[0][1:], strict=False):
        assert cell == f"{100 * done.categories[0].figures[figure].value:.1f}"  # type: ignore[union-attr]
    values = [float(row[2]) for row in grid.rows]
    assert values[2] == pytest.approx((values[0] + values[1]) / 2, abs=0.11)
    assert grid.rows[2][-3:] == ("24", "12", "12")


def test_the_mean_is_set_apart_and_there_however_many_categories_there_are() -> None:
    one = measured("nut")
    done = evaluation(*(replace(one, category=f"part-{number:02}") for number in range(70)))
    text = io.StringIO()
    tables.put(Console(file=text, width=120, force_terminal=True, color_system="standard"), tables.grids(done)[0])
    lines = text.getvalue().splitlines()
    mean = next(at for at, line in enumerate(lines) if "Mean " in line)
    assert "\x1b[1mMean" in lines[mean]
    assert "part-58" in lines[mean - 1]
    assert "11 more" in lines[mean + 1]


def test_one_category_has_no_mean() -> None:
    assert len(tables.grids(evaluation(measured("nut")))[0].rows) == 1


def test_what_is_undefined_is_a_dash_and_the_mean_says_of_how_many_it_is() -> None:
    done = evaluation(measured("nut"), measured("cap", good=0))
    text = " ".join(printed(done).split())
    assert "cap: no good image tests, so the figures of images are undefined." in text
    assert "The mean of I-AUROC is over 1 of 2 categories." in text
    assert tables.grids(done)[0].rows[1][1] == "-"
    assert tables.grids(done)[0].rows[2][1] == tables.grids(done)[0].rows[0][1]


def test_bounds_are_told_where_they_would_show() -> None:
    found = measured("nut")
    wide = CategoryResult(**{name: getattr(found, name) for name in CategoryResult.__slots__} | {
        "figures": {**found.figures, "pixel_ap": Bounded(0.5, 0.4912, 0.5081)}
    })  # fmt: skip
    assert "nut: AP lies between 49.1 and 50.8" in printed(evaluation(wide))
    assert "lies between" not in printed(evaluation(found))


def test_upstreams_variant_is_a_column_that_says_that_it_is_not_comparable() -> None:
    asked = evaluation(measured("nut", upstream=True))
    assert "P-PRO\nupstream" in tables.grids(asked)[0].columns
    assert "not comparable with P-PRO" in printed(asked)
    assert "upstream" not in printed(evaluation(measured("nut")))


def test_names_do_nothing_on_a_terminal_however_narrow_it_is() -> None:
    text = printed(evaluation(measured(HOSTILE), measured("划痕")), width=40)
    assert "\x1b" not in text
    assert "I-AUROC" in text


def resting(name: str, limit: Threshold) -> CategoryResult:
    image = judged(0.7, is_defective=False)
    tiles = [replace(image, category=name, source=f"{name}/1") for _ in range(2)]
    return measure(name, name, tiles, Meter(), limit, pro_limit=0.3)


def test_the_threshold_promises_no_more_than_the_images_that_it_rests_on() -> None:
    few = limit_of(images=1, photographs=1)
    note = tables.grids(evaluation(resting("nut", few)))[1].note
    assert (
        "as far as good ones can tell. nut: the threshold rests on 1 good image held out, which promises no better than 50 %"
        in note
    )
    photographs = tables.grids(evaluation(resting("nut", limit_of(images=200, photographs=10))))
    assert photographs[1].note.startswith("Chosen so that about 1 % of good images are taken for defective. A region")
    assert "nut: the threshold rests on 10 good photographs held out, which promise no better than 9.1 %." in photographs[2].note
    told = as_json(evaluation(resting("nut", few)))["categories"][0]["threshold"]
    assert (told["rests_on"], told["trained"], told["photographs"]["rests_on"]) == (1, False, 1)


def test_images_that_trained_promise_nothing() -> None:
    note = tables.grids(evaluation(resting("nut", limit_of(images=500, source="training"))))[1].note
    assert "nut: the threshold rests on 500 good images that trained the model, which promise nothing" in note


# LaTeX and CSV


def test_latex_has_the_papers_pairs_a_column_a_category() -> None:
    done = evaluation(measured("nut"), measured("cap"))
    text = tables.latex(done)
    assert r"\toprule" in text
    assert r"Method & nut & cap & Mean \\" in text
    one, two = done.categories
    pair = f"{tables.percent(one.figures['pixel_auroc'])}/{tables.percent(one.figures['pixel_ap'])}"
    assert f"CFRG & {pair} & " in text
    assert "P-AUROC/AP" in text
    assert "I-AUROC/P-PRO" in text
    assert tables.percent(two.figures["aupro"]) in text


def test_many_categories_stand_below_one_another_in_latex() -> None:
    found = [measured("part", good=2, defective=2)] * 11
    text = tables.latex(evaluation(*found))
    assert r"Category & P-AUROC/AP \\" in text
    assert text.count("part & ") == 22


def test_latex_obeys_no_name() -> None:
    text = tables.latex(evaluation(measured(HOSTILE), dataset="a_b%"))
    body = [line for line in text.splitlines() if not line.startswith("%")]
    assert not any("\\input" in line or "$x$" in line or "\x1b" in line for line in body)
    assert any(r"a\_b\%" in line for line in body)


def test_csv_tells_every_number_and_no_formula() -> None:
    done = evaluation(measured(HOSTILE, types=("dent", "-2")), measured("nut"))
    rows = list(csv.DictReader(io.StringIO(tables.csv_text(done))))
    assert not any(cell.lstrip().startswith(("=", "-", "+", "@")) for row in rows for cell in row.values())
    told = {(row["table"], row["category"], row["item"], row["name"]): row["value"] for row in rows}
    figure = done.categories[1].figures["aupro"]
    assert figure is not None
    assert float(told["figures", "nut", "aupro", "value"]) == figure.value
    assert float(told["mean", "", "pixel_ap", "value"]) == done.mean("pixel_ap")[0]
    assert told["types", "nut", "dent", "images.total"] == "6"
    assert ("sizes", "nut", "small", "regions.count") in told
    assert float(told["threshold", "nut", "", "found.value"]) <= 1


def test_json_holds_no_number_that_json_has_not() -> None:
    done = evaluation(measured("nut", good=0), measured("cap", defective=0))
    told = json.loads(json.dumps(as_json(done), allow_nan=False))
    assert told["mean"]["image_auroc"] == {"categories": 0, "value": None}
    assert told["categories"][1]["figures"]["aupro"] is None


def test_json_and_its_rows_are_what_the_schemas_say_whatever_the_names_are() -> None:
    images = (judged(0.5, is_defective=True), replace(judged(0.5, is_defective=False), path="\udcff.png", type=HOSTILE))
    done = evaluation(
        measured("nut", upstream=True), measured("cap\udcff", good=0), measured(HOSTILE, defective=0), images=images, notes=("a",)
    )
    schemas = {kind: TypeAdapter(kind).json_schema(mode="serialization") for kind in (record.Metrics, record.Image)}
    told = json.loads(json.dumps(as_json(done)).encode())
    Draft202012Validator(schemas[record.Metrics]).validate(told)
    assert told["categories"][1]["category"] == r"cap\udcff"
    assert "pro_upstream" in told["categories"][0]["figures"]
    assert "pro_upstream" not in told["categories"][1]["figures"]
    rows = list(record.rows(done))
    assert [row["path"] for row in rows] == ["a", r"\udcff.png"]
    for row in rows:
        Draft202012Validator(schemas[record.Image]).validate(row)
    for damaged in ({**told, "more": 1}, {**told, "side": "256"}, {**told, "mean": {"aupro": {"value": 2, "categories": 1}}}):
        assert not Draft202012Validator(schemas[record.Metrics]).is_valid(damaged)


def test_every_figure_has_its_place_in_json() -> None:
    assert tuple(record.Figures.model_fields) == tuple(FIGURES)


# Cases


def judged(score: float, *, is_defective: bool, hit: bool | None = None) -> Judged:
    return Judged("a", "nut", "", is_defective, score, False, hit, (0,) * 4, (0,) * 4, "a")


def test_the_best_case_is_one_whose_map_is_highest_inside_the_mask() -> None:
    images = [
        judged(0.9, is_defective=True, hit=False),
        judged(0.7, is_defective=True, hit=True),
        judged(0.8, is_defective=False),
        judged(0.1, is_defective=True, hit=True),
        judged(0.2, is_defective=False),
    ]
    assert chosen(images) == [("best", 1), ("worst", 3), ("false alarm", 2)]
    assert chosen(images[:1]) == [("best", 0)]
    assert chosen(images[2:3]) == [("false alarm", 0)]
    assert chosen([]) == []


# Figures


@pytest.fixture(scope="module")
def full() -> Evaluation:
    kinds: tuple[Kind, ...] = ("best", "worst", "false alarm")
    shapes = [(60, 90), (90, 20), (10, 120), (1, 1)]
    found = [
        measured(name, cases=[case(kind, shape, kind_of_defect="划" * 40, known=kind != "worst") for kind in kinds])
        for name, shape in zip(("nut", "a very long name of a part " * 4, HOSTILE, "划痕"), shapes, strict=True)
    ]
    return evaluation(*found, measured("bare", good=0))


def test_figures_come_out_whatever_the_names_and_sizes_are(full: Evaluation) -> None:
    files = dict(drawing.render(full))
    assert set(files) == {"cases.png", *(f"{name}.{form}" for name in ("pr", "pro", "roc") for form in ("svg", "png"))}
    assert Image.open(io.BytesIO(files["cases.png"])).width == 1400
    for name in ("pr", "pro", "roc"):
        ET.fromstring(files[f"{name}.svg"])
        assert len(files[f"{name}.svg"]) < 2_000_000


def test_the_same_evaluation_gives_the_same_bytes() -> None:
    done = evaluation(measured("nut", cases=[case("best"), case("false alarm")]))
    only = ("cases", "pro")
    assert dict(drawing.render(done, only)) == dict(drawing.render(done, only))


def test_one_category_and_more_than_can_be_told_apart_come_out() -> None:
    alone = dict(drawing.render(evaluation(measured("nut", cases=[case("best")])), ["cases"]))
    assert Image.open(io.BytesIO(alone["cases.png"])).width == 1400
    found = measured("nut", good=2, defective=2)
    assert set(dict(drawing.render(evaluation(*[found] * 24), ["roc"]))) == {"roc.png", "roc.svg"}


def test_nothing_to_draw_is_said() -> None:
    done = evaluation(measured("nut", good=3, defective=0))
    assert set(dict(drawing.render(done, ["cases", "roc"]))) == {"roc.png", "roc.svg"}


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = evaluation(measured("nut"))
    with pytest.raises(LayoutError, match="is a file; expected a folder"):
        write(done, tmp_path / "file", figures=False)
    with pytest.raises(ThreecadError, match="cannot be written"):
        write(done, tmp_path / "file" / "below", figures=False)


def test_a_folder_of_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "images.jsonl").write_text("mine")
    with pytest.raises(ConfigError, match=r"found images\.jsonl and no metrics\.json of an earlier evaluation"):
        write(evaluation(measured("nut")), tmp_path, figures=False)
    assert (tmp_path / "images.jsonl").read_text() == "mine"


def test_figures_of_an_earlier_evaluation_do_not_stay_beside_other_numbers(tmp_path: Path) -> None:
    before = evaluation(measured("nut", cases=[case("best")]))
    assert {path.name for path in write(before, tmp_path)} == {"metrics.json", "images.jsonl", *writing.PICTURES}
    (tmp_path / "mine.png").write_bytes(b"")
    write(evaluation(measured("nut")), tmp_path, figures=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images.jsonl", "metrics.json", "mine.png"]


def test_without_figures_two_files_are_written_and_nothing_is_left_beside(tmp_path: Path) -> None:
    written = write(evaluation(measured("nut")), tmp_path / "a/b", figures=False)
    assert [path.name for path in written] == ["images.jsonl", "metrics.json"]
    assert sorted(path.name for path in (tmp_path / "a/b").iterdir()) == ["images.jsonl", "metrics.json"]
