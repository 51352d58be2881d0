"""Figures come out for any statistics, say what they show, hold their own edges, and are the same every time."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from test_tables import HOSTILE, KINDS, bare, hostile, made, paper

from threecad.curation.statistics import ALL, Pair, Statistics
from threecad.errors import LayoutError, ThreecadError
from threecad.pipeline import plots
from threecad.pipeline.plots import bars, frames, lettering, maps

NAMES = ("balance", "figure-3", "heat", "looks", "sizes", "survival", "together")
ROW = (30, 20, 10, 4, "20~20", "20~20", "1~1", "1~1")
LONG = [(f"a_category_with_a_very_long_name_indeed_{number:04}_which_is_60", *ROW) for number in range(6)]
MANY = [(f"part{number:02}", *ROW[:3], 1 + number % 2, *ROW[4:]) for number in range(80)]
CHINESE = [(name, *ROW) for name in ("相机盖", "中框", "$x^2$", "a^b_c$", "𠮷")]


def figures(statistics: Statistics, *compared: Statistics, only: Sequence[str] = ()) -> dict[str, Figure]:
    """Every figure before it is saved, laid out as it will be."""
    caught: list[Figure] = []

    def keep(figure: Figure, form: str, title: str) -> bytes:
        figure.set_canvas(FigureCanvasAgg(figure))
        figure.canvas.draw()
        caught.append(figure)
        return b""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "saved", keep)
        names = [name.removesuffix(".png") for name, _ in plots.render(statistics, compared, ["png"], only)]
    return dict(zip(names, caught, strict=True))


def figure_of(statistics: Statistics, name: str, *compared: Statistics) -> Figure:
    return figures(statistics, *compared, only=[name])[name]


def texts(figure: Figure) -> list[Text]:
    """What is written in a figure, and to be seen."""
    return [text for text in figure.findobj(Text) if isinstance(text, Text) and text.get_text() and text.get_visible()]


def written(figure: Figure) -> set[str]:
    return {text.get_text() for text in texts(figure)}


CASES: dict[str, Callable[[], Statistics]] = {
    "paper": paper,
    "one": lambda: made([("part", 1, 0, 1, 1, "20~20", "20~20", "1~1", "1~1")]),
    "good": lambda: made([("part", 3, 4, 0, 0, "20~20", "20~20", "1~1", "1~1")]),
    "bare": bare,
    "hostile": hostile,
    "long": lambda: made(LONG, kinds=[kind * 5 for kind in KINDS]),
    "chinese": lambda: made(CHINESE, kinds=["划痕", "碰伤", "上线断裂"], name="三C"),
}


@pytest.mark.parametrize("case", CASES)
def test_nothing_runs_over_the_edge_of_a_figure(case: str) -> None:
    for name, figure in figures(CASES[case]()).items():
        assert isinstance(figure.canvas, FigureCanvasAgg)
        drawn = np.asarray(figure.canvas.buffer_rgba())
        assert (drawn < 255).any(), name
        for edge in (drawn[:2], drawn[-2:], drawn[:, :2], drawn[:, -2:]):
            assert (edge == 255).all(), name


@pytest.mark.parametrize("case", ["paper", "long"])
def test_no_two_labels_of_rows_overlap(case: str) -> None:
    for name, figure in figures(CASES[case](), only=["survival", "balance", "looks", "sizes"]).items():
        labels = [label.get_window_extent() for label in figure.axes[0].get_yticklabels() if label.get_text()]
        assert len(labels) > 4, name
        assert all(upper.y0 > lower.y1 - 2 for upper, lower in pairwise(labels)), name


def test_labels_that_would_become_equal_are_told_apart() -> None:
    figure = figure_of(CASES["long"](), "balance")
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(set(labels)) == len(LONG)
    assert all("…" in label for label in labels)


@pytest.mark.parametrize("name", ["balance", "heat", "looks", "survival"])
def test_eighty_categories_all_have_their_place(name: str) -> None:
    figure = figure_of(made(MANY), name)
    assert {row[0] for row in MANY} <= written(figure)
    assert figure.get_figheight() < 16


def test_what_is_too_much_to_be_read_is_left_out_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (frames, bars, maps):
        monkeypatch.setattr(module, "MOST_ROWS", 5)
    monkeypatch.setattr(maps, "MOST_PANELS", 5)
    figure = figures(made([(f"p{number}", *ROW) for number in range(9)]), only=["survival", "heat", "sizes", "together"])
    assert written(figure["survival"]) >= {"p3", ALL, "and 5 more categories"}
    assert "p4" not in written(figure["survival"])
    assert any("and 4 more categories" in text for text in written(figure["heat"]))
    assert "and 31 more types" in written(figure["sizes"])
    assert any("more pairs" in text for text in written(figure["together"]))


def test_figure_3_shows_shares_of_all_regions_and_the_median() -> None:
    statistics = paper()
    figure = figure_of(statistics, "figure-3", paper(name="twin", seed=2))
    assert written(figure) >= {"(a)", "(b)", "3CAD", "twin"}
    quantiles = statistics.aspect_ratio[ALL].quantiles
    assert quantiles is not None
    assert f"median {quantiles.q50:.3g} · n = {quantiles.count:,}" in written(figure)
    for axes in figure.axes:
        steps = [patch.get_data() for patch in axes.patches if hasattr(patch, "get_data")]
        assert len(steps) == 3  # filled, its edge, and the other data set
        assert all(sum(step.values) == pytest.approx(100) for step in steps)


def test_where_there_is_nothing_the_figure_says_so() -> None:
    empty = figures(bare(), only=["balance", "looks"])
    assert "no images" in written(empty["balance"])
    assert "no images" in written(empty["looks"])
    good = figures(CASES["good"]())
    for name in ("figure-3", "heat", "sizes", "survival"):
        assert "no defects" in written(good[name]), name
    assert "no image shows two types" in written(good["together"])


def test_a_map_is_drawn_as_it_lies_and_names_its_frame() -> None:
    statistics = paper()
    figure = figure_of(statistics, "heat")
    assert any("photograph" in text for text in written(figure))
    drawn = np.asarray(figure.axes[0].images[0].get_array())
    assert drawn.ravel().tolist() == list(statistics.heat[0].cells)


def test_types_together_are_counted_in_the_cell_of_both() -> None:
    pairs = (Pair("part", "a", "b", 7), Pair("part", "a", "c", 1234), Pair("other", "x", "y", 2))
    figure = figure_of(dataclasses.replace(paper(), together=pairs), "together")
    assert written(figure) >= {"part", "other", "7", "1,234", "2", "a  1", "b  2", "c  3", "x  1"}


# Letters


def test_a_name_with_dollars_is_no_formula() -> None:
    assert "$x^2$" in written(figure_of(CASES["chinese"](), "balance"))


def test_letters_that_no_font_has_are_spelled(monkeypatch: pytest.MonkeyPatch) -> None:
    own = [font for font in font_manager.fontManager.ttflist if "DejaVu" in font.name]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", own)
    figure = figure_of(CASES["chinese"](), "sizes")
    assert written(figure) >= {r"\u76f8\u673a\u76d6", r"\u5212\u75d5", r"\u…: no font that is installed has the letter"}


def test_letters_that_another_font_has_are_drawn_with_it() -> None:
    """Whatever script is installed; the mathematical letters of STIX come with matplotlib."""
    letter = min(filter(str.isprintable, lettering.letters_of("STIXGeneral") - lettering.letters_of("DejaVu Sans")))
    statistics = made([(f"{letter}x", *ROW)])
    assert not lettering.letter(lettering.names_in(statistics)).missing
    assert f"{letter}x" in written(figure_of(statistics, "balance"))


def test_a_font_with_postscript_outlines_is_told(tmp_path: Path) -> None:
    for name, start in {
        "a.otf": b"OTTO",
        "b.ttf": b"\0\1\0\0",
        "c.ttc": b"ttcf" + bytes(8) + bytes((0, 0, 0, 20)) + b"....OTTO",
    }.items():
        (tmp_path / name).write_bytes(start)
    assert [lettering._is_postscript(str(tmp_path / name)) for name in ("a.otf", "b.ttf", "c.ttc")] == [True, False, True]


# Files


def test_every_figure_is_written_in_three_formats(tmp_path: Path) -> None:
    files = plots.draw(CASES["one"](), tmp_path / "plots")
    assert [file.name for file in files] == sorted(f"{name}.{form}" for name in NAMES for form in plots.FORMATS)
    assert sorted((tmp_path / "plots").iterdir()) == files
    for file in files:
        data = file.read_bytes()
        if file.suffix == ".png":
            picture = Image.open(io.BytesIO(data))
            assert picture.width in (990, 2100)
        elif file.suffix == ".pdf":
            assert data.startswith(b"%PDF")
            assert b"/Type3" not in data
        else:
            assert ElementTree.fromstring(data).tag.endswith("svg")


def test_svg_of_hostile_names_is_whole_and_inert() -> None:
    for _, data in plots.render(hostile(), (), ["svg"]):
        tags = {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(data).iter()}
        assert not tags & {"script", "foreignObject", "a"}


def test_the_same_statistics_give_the_same_bytes_in_another_process() -> None:
    here = list(plots.render(CASES["one"](), (), plots.FORMATS, ["figure-3", "balance", "heat"]))
    script = "import hashlib; from test_plots import CASES; from threecad.pipeline import plots; "
    script += "found = plots.render(CASES['one'](), (), plots.FORMATS, ['figure-3', 'balance', 'heat']); "
    script += "print('\\n'.join(hashlib.sha256(data).hexdigest() for _, data in found))"
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(plots.__file__).parents[3])])
    environment = os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": paths}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, check=True, timeout=120, capture_output=True, text=True
    )
    assert done.stdout.split() == [hashlib.sha256(data).hexdigest() for _, data in here]


def test_the_users_settings_neither_change_a_figure_nor_are_changed() -> None:
    statistics = CASES["one"]()
    usual = dict(plots.render(statistics, (), ["svg"], ["figure-3", "looks"]))
    with matplotlib.rc_context({"axes.facecolor": "red", "font.size": 20, "svg.hashsalt": "mine", "lines.linewidth": 9}):
        before = dict(matplotlib.rcParams)
        found = {}
        for name, data in plots.render(statistics, (), ["svg"], ["figure-3", "looks"]):
            assert dict(matplotlib.rcParams) == before
            found[name] = data
    assert found == usual


def test_a_file_where_the_folder_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plots").write_text("mine")
    with pytest.raises(LayoutError, match="plots is a file; expected a folder"):
        plots.draw(bare(), tmp_path / "plots")
    assert (tmp_path / "plots").read_text() == "mine"


def test_a_figure_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "plots" / "balance.svg").mkdir(parents=True)
    with pytest.raises(ThreecadError, match="cannot be written"):
        plots.draw(bare(), tmp_path / "plots")


def test_pyplot_is_never_loaded() -> None:
    """It would keep every figure, and might look for a screen."""
    modules = sorted(Path(plots.__file__).parent.glob("*.py"))
    assert len(modules) > 1
    assert "pyplot" not in "".join(module.read_text("utf-8") for module in modules).replace("without pyplot", "")


def test_a_hostile_name_is_only_a_name() -> None:
    assert HOSTILE not in written(figure_of(hostile(), "balance"))
