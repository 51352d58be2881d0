"""Statistics as text: every form tells the same numbers, and nobody's label does anything."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import random
import re
import shutil
import subprocess
from bisect import bisect_right
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from rich.console import Console

from threecad.curation import sizes
from threecad.curation.statistics import (
    ALL,
    Balance,
    Comparison,
    Copies,
    Distribution,
    Doubts,
    HeatMap,
    Histogram,
    Looks,
    Overlap,
    Overview,
    Pair,
    Quantiles,
    SourceRow,
    Span,
    Statistics,
    Survival,
    TypeRow,
)
from threecad.domain import HEAT, SHRINKINGS, Action, Code, Finding
from threecad.pipeline import tables

# Table 1 as printed: category, train, good, defect, types, height, width, NE, TE.
TABLE_1 = """
ACC 784 369 1077 10 288~1024 288~1024 1~6 1~1
AI 2096 913 1134 3 760~1024 600~1024 1~10 1~2
AMF 1548 731 748 5 540~1024 800~950 1~9 1~4
ANMF 1072 670 736 6 400~1024 430~1024 1~6 1~2
ANI 2233 999 3937 4 420~1024 580~1024 1~23 1~2
AP 1698 911 2250 14 430~1024 409~1024 1~12 1~3
CS 409 196 763 1 1024~1024 1024~1024 1~9 1~1
IS 653 295 817 4 1024~1024 1024~1024 1~12 1~2
"""
KINDS = [
    *("bump", "scratch", "bruise", "wire_damage", "scrape", "outer_warping", "inner_warping", "discoloration", "uneven"),
    *("deformation", "paint_nodule", "whitening", "black_spot", "watermark", "overwashing", "dirt", "abrasion", "bright_shadow"),
    *("pinhole", "knife_mark", "fluff", "wear_crack", "fracture", "ink"),
]
HOSTILE = '=cmd|"/c calc"!A1\x1b[2J|<script>alert(1)</script>\n\\input{x}_$%&#^~`*[a](b)\u202e'


def spread(values: list[float], edges: list[float]) -> Distribution:
    """The distribution of some values."""
    counts = [0] * (len(edges) - 1)
    for value in values:
        counts[min(max(bisect_right(edges, value) - 1, 0), len(counts) - 1)] += 1
    if not values:
        return Distribution(None, Histogram(tuple(edges), tuple(counts)))
    ordered = sorted(values)
    at = [ordered[round(share * (len(ordered) - 1))] for share in (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)]
    return Distribution(Quantiles(len(values), sum(values) / len(values), *at), Histogram(tuple(edges), tuple(counts)))


def around(middle: float, count: int = 100) -> Quantiles:
    return Quantiles(count, middle, *(middle * share for share in (0.3, 0.6, 0.85, 1.0, 1.2, 1.5, 2.0)))


AREA_EDGES = [10 ** (-6 + step / 5) for step in range(31)]
ASPECT_EDGES = [10 ** (step / 10) for step in range(21)]


def made(
    rows: list[tuple[str, int, int, int, int, str, str, str, str]],
    *,
    name: str = "3CAD",
    kinds: list[str] | None = None,
    seed: int = 0,
    faults: int = 0,
) -> Statistics:
    """Statistics like those of a real data set, whose Table 1 has these rows."""
    dice = random.Random(seed)
    words = kinds or KINDS

    def span(text: str) -> Span:
        least, most = text.split("~")
        return Span(int(least), int(most))

    overview, types, heat, survival, looks, sources, balance, together = [], [], [], [], [], [], [], []
    area: dict[str, list[float]] = {}
    aspect: dict[str, list[float]] = {}
    for number, (category, train, good, defect, several, height, width, ne, te) in enumerate(rows):
        overview.append(
            Overview(
                *(category, train, 0, good + defect, good, defect, several),
                *(span(height), span(width)),
                *((span(ne), span(te)) if defect else (None, None)),
            )
        )
        area[category] = [min(1.0, dice.lognormvariate(-7 + 0.3 * number % 3, 1.8)) for _ in range(min(defect, 300))]
        aspect[category] = [1 + dice.lognormvariate(-0.2, 1.1) for _ in range(min(defect, 300))]
        own = [words[(number * 5 + step) % len(words)] for step in range(several)]
        for kind in dict.fromkeys(own):
            classes = [dice.randrange(1, 400) for _ in sizes.NAMES]
            types.append(TypeRow(category, kind, sum(classes) // 2 + 1, sum(classes), sum(classes) * 900, tuple(classes), 90, 70))
        pairs = sorted({tuple(sorted(dice.sample(own, 2))) for _ in range(several)} if len(own) > 1 else set())
        together += [Pair(category, first, second, dice.randrange(1, 90)) for first, second in pairs if first != second]
        if defect:
            x, y = dice.uniform(6, 26), dice.uniform(6, 26)
            cells = [
                0.08 * math.exp(-(((column - x) / 7) ** 2 + ((row - y) / 4) ** 2)) + dice.uniform(0, 0.01)
                for row in range(HEAT)
                for column in range(HEAT)
            ]
            heat.append(HeatMap(category, "source", defect, tuple(cells)))
            for shrinking, lost in zip(SHRINKINGS, (0.31, 0.36, 0.38, 0.44), strict=True):
                gone = int(defect * 2 * lost * dice.uniform(0.3, 1.4))
                survival.append(Survival(category, shrinking, defect * 2, gone, defect, gone // 5))
        for split in ("train", "test"):
            shift = dice.uniform(0.8, 1.2)
            looks.append(Looks(category, split, around(0.4 * shift), around(0.1 * shift), around(180 * shift)))
        sources.append(
            SourceRow(category, train // 2, train // 4, defect // 2, defect, Span(1, 9), Span(1, 2), defect, defect * 2)
        )
        balance.append(Balance(category, "cut", train + good, defect + 60, tuple((kind, 30) for kind in sorted(set(own)))))
        balance.append(Balance(category, "ambiguous", 0, 60, ()))
        balance.append(Balance(category, "poisoned", 31, 12, ()))
        balance.append(Balance(category, "clean, unused", 44, 0, ()))
        balance.append(Balance(category, "train", train, 0, ()))
        balance.append(Balance(category, "test", good, defect, tuple((kind, 30) for kind in sorted(set(own)))))

    def total(field: str) -> int:
        return sum(getattr(row, field) for row in overview)

    if len(rows) > 1:
        overview.append(
            Overview(ALL, *map(total, ("train", "validation", "test", "good", "defect", "types")), None, None, None, None)
        )
        for shrinking in SHRINKINGS:
            same = [row for row in survival if row.shrinking == shrinking]
            if same:
                sums = [sum(getattr(row, key) for row in same) for key in ("regions", "lost_regions", "images", "lost_images")]
                survival.append(Survival(ALL, shrinking, *sums))
    everything = [value for values in area.values() for value in values], [value for each in aspect.values() for value in each]
    normal, abnormal = sum(row[1] + row[2] for row in rows), sum(row[3] for row in rows)
    copies = [
        Copies(True, True, ((f"{rows[0][0]}/test/good/{n:03}.png", "test"), (f"{rows[0][0]}/train/good/{n:03}.png", "train")))
        for n in range(faults)
    ]
    copies += [Copies(False, False, (("a/train/good/1.png", "train"), ("a/train/good/2.png", "train")))] if faults else []
    overlaps = [Overlap("part/raw.png", "part__0001", "part__0002", 4080, ("train", "test"))] if faults else []
    findings = [
        Finding(Code.MASK_EMPTY, Action.KEPT, f"{rows[0][0]}/test/bump/{n:03}.png", None, "no pixel is marked")
        for n in range(faults)
    ]
    findings += [Finding(Code.MASK_ORPHAN, Action.DROPPED, "lost_mask.png", None, "")] if faults else []
    return Statistics(
        name=name,
        layout="3cad",
        images=normal + abnormal,
        overview=tuple(overview),
        comparison=Comparison(name, normal, abnormal, "Real", abnormal // 3, abnormal // 50),
        area_ratio={key: spread(each, AREA_EDGES) for key, each in area.items()} | {ALL: spread(everything[0], AREA_EDGES)},
        image_ratio={key: spread(each, AREA_EDGES) for key, each in area.items()} | {ALL: spread(everything[0], AREA_EDGES)},
        aspect_ratio={key: spread(each, ASPECT_EDGES) for key, each in aspect.items()}
        | {ALL: spread(everything[1], ASPECT_EDGES)},
        types=tuple(types),
        together=tuple(together),
        heat=tuple(heat),
        survival=tuple(survival),
        looks=tuple(looks),
        sources=tuple(sources),
        balance=tuple(balance),
        copies=tuple(copies),
        overlaps=tuple(overlaps),
        findings=tuple(findings),
        clean=not faults,
    )


@cache
def paper(**more: Any) -> Statistics:
    """The paper's own Table 1, with the rest made up."""
    return made([parsed(line) for line in TABLE_1.split("\n") if line], **more)


def parsed(line: str) -> tuple[str, int, int, int, int, str, str, str, str]:
    category, train, good, defect, types, *spans = line.split(" ")
    height, width, ne, te = spans
    return category, int(train), int(good), int(defect), int(types), height, width, ne, te


def bare(name: str = "empty") -> Statistics:
    """A data set without a single image."""
    nothing: dict[str, Any] = {field.name: () for field in dataclasses.fields(Statistics)}
    edges = {ALL: spread([], AREA_EDGES)}
    ratios = {"area_ratio": edges, "image_ratio": edges, "aspect_ratio": {ALL: spread([], ASPECT_EDGES)}}
    return Statistics(
        **nothing
        | {"name": name, "layout": "folders", "images": 0, "comparison": Comparison(name, 0, 0, None, 0, 0), "clean": True}
        | {"doubts": Doubts()}
        | ratios
    )


def shown(statistics: Statistics, *compared: Statistics, width: int = 80, encoding: str = "utf-8", **more: Any) -> str:
    """What the terminal shows."""
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding=encoding, errors="backslashreplace", newline="\n") as file:
        tables.show(statistics, compared, Console(file=file, width=width, highlight=False), **more)
        file.flush()
        return raw.getvalue().decode(encoding)


def hostile() -> Statistics:
    names = [HOSTILE, "划痕", "[red]x[/red]", "*b", "a\\b", "--''?`", "x" * 300]
    return made(
        [(name, 3, 2, 5, 2, "20~20", "20~20", "1~1", "1~1") for name in names], name=HOSTILE, kinds=[HOSTILE, "b"], faults=3
    )


# Table 1


def test_table_1_is_the_papers_cell_for_cell() -> None:
    grid = tables.grids(paper())[0]
    assert [" ".join(heading.split()) for heading in grid.columns] == [
        *("Category", "Training Images", "Test Images (all)", "Test Images (good)", "Test Images (defect)"),
        *("Defect types", "Image Height", "Image Width", "NE / TE"),
    ]
    rows = {row[0]: row[1:] for row in grid.rows}
    assert rows["ANI"] == ("2,233", "4,936", "999", "3,937", "4", "420~1024", "580~1024", "1~23/1~2")
    assert rows["CS"] == ("409", "959", "196", "763", "1", "1024~1024", "1024~1024", "1~9/1~1")
    assert grid.rows[-1] == ("All", "10,493", "16,546", "5,084", "11,462", "47", "-", "-", "-")


def test_validation_has_a_column_only_where_somebody_validates() -> None:
    plain = paper()
    first = dataclasses.replace(plain.overview[0], validation=7)
    validated = dataclasses.replace(plain, overview=(first, *plain.overview[1:]))
    assert "Validation\nImages" in tables.grids(validated)[0].columns
    assert tables.grids(validated)[0].rows[0][1:3] == ("784", "7")
    assert not any("Validation" in column for column in tables.grids(plain)[0].columns)


def test_a_category_without_defects_has_dashes_for_ne_and_te() -> None:
    grid = tables.grids(made([("part", 3, 4, 0, 0, "20~30", "20~30", "1~1", "1~1")]))[0]
    assert grid.rows[0] == ("part", "3", "4", "4", "0", "0", "20~30", "20~30", "-")


# Table 2 and Figure 3


def test_table_2_has_a_row_for_every_data_set_and_the_share_beside_each_mark() -> None:
    other = dataclasses.replace(paper(name="BTAD"), comparison=Comparison("BTAD", 2250, 580, None, 0, 1))
    grid = next(grid for grid in tables.grids(paper(), [other]) if grid.key == "comparison")
    assert grid.rows == (
        ("3CAD", "15,577", "11,462", "Real", "✓ 33.3 %", "✓ 2.0 %"),
        ("BTAD", "2,250", "580", "-", "✗ 0.0 %", "✓ 0.2 %"),
    )


def test_quantiles_of_compared_data_sets_stand_below_all() -> None:
    grid = next(grid for grid in tables.grids(paper(), [paper(name="twin", seed=5)]) if grid.key == "aspect_ratio")
    assert [row[0] for row in grid.rows][-2:] == [ALL, "twin"]
    assert grid.rows[0][0] == "ACC"


def test_one_category_is_not_repeated_as_all() -> None:
    grid = next(grid for grid in tables.grids(made([parsed("part 3 4 5 2 2~3 2~3 1~1 1~1")])) if grid.key == "area_ratio")
    assert [row[0] for row in grid.rows] == ["part"]


def test_what_vanishes_is_told_in_per_cent() -> None:
    rows = tuple(Survival("part", name, 3, 1, 2, 2) for name in SHRINKINGS)
    grids = {grid.key: grid for grid in tables.grids(dataclasses.replace(bare(), survival=rows))}
    assert grids["survival_regions"].rows == (("part", "3", *["33.3"] * 4),)
    assert grids["survival_images"].rows == (("part", "2", *["100.0"] * 4),)


def test_steps_of_the_balance_stand_in_the_order_they_happen() -> None:
    rows = (
        Balance("p", "test", 1, 2, (("b", 2),)),
        Balance("p", "cut", 4, 3, (("a", 1), ("b", 2))),
        Balance("p", "train", 3, 0, ()),
    )
    grids = {grid.key: grid for grid in tables.grids(dataclasses.replace(bare(), balance=rows))}
    assert [heading.replace("\n", " ") for heading in grids["balance"].columns] == [
        *("Category", "cut good", "cut defect", "train", "test good", "test defect")
    ]
    assert grids["balance"].rows == (("p", "4", "3", "3", "1", "2"),)
    assert grids["balance_types"].rows == (("p", "a", "1", "0"), ("p", "b", "2", "2"))


# The terminal


@pytest.mark.parametrize("width", [80, 160])
def test_nothing_runs_over_the_edge_of_the_terminal(width: int) -> None:
    lines = shown(paper(), paper(name="twin"), width=width).splitlines()
    assert max(map(len, lines)) <= width


def test_numbers_are_whole_on_a_narrow_terminal() -> None:
    text = shown(paper(), width=40)
    assert "1024~1024 1024~1024" in text
    assert "10,493 16,546" in text


def test_a_clean_split_is_called_clean() -> None:
    assert shown(paper(), width=200).rstrip().endswith("stands in two splits, and no defect trains.")
    assert "audit" not in shown(paper())


def test_an_unclean_split_says_why_and_what_to_run() -> None:
    last = shown(paper(faults=52), width=300, dataset="my data/3CAD").rstrip().splitlines()[-2:]
    assert last[0].startswith(
        "The split is NOT clean: 52 images stand in two splits, byte for byte the same; 1 pair of overlapping"
    )
    assert last[1] == "Next, to list what to drop: threecad audit 'my data/3CAD' --clean drop.txt"


@pytest.mark.parametrize(
    ("doubts", "reason", "advice"),
    [
        (Doubts(unseen=1), "1 image or folder could not be compared", "repair or remove 1 image or folder that"),
        (Doubts(training=2), "2 images train with a defect", "move 2 defective images out of train."),
        (Doubts(listed=1), "1 file that a list names in two splits", "correct the list, which names 1 file in two splits."),
        (Doubts(torn=3), "3 photographs stand in two splits", "threecad audit x --clean drop.txt"),
    ],
)
def test_the_next_step_is_one_that_helps(doubts: Doubts, reason: str, advice: str) -> None:
    text = shown(dataclasses.replace(bare(), clean=False, doubts=doubts), width=200, dataset="x")
    assert f"NOT clean: {reason}" in text
    assert advice in text
    assert ("audit" in text) == bool(doubts.torn)


def test_a_split_that_is_unclean_for_another_reason_still_says_so() -> None:
    assert tables.verdict(dataclasses.replace(bare(), clean=False)).startswith("The split is NOT clean: a defect trains")


def test_the_first_faults_are_listed_by_file_and_the_rest_has_a_place() -> None:
    text = shown(paper(faults=52), width=80, dataset="data")
    assert "TC403 ACC/test/bump/018.png: no pixel is marked\n" in text
    assert "bump/019.png" not in text  # but one of every code
    assert "TC402 lost_mask.png: a mask of no image\n" in text
    assert "… and 33 more: threecad stats data --json\n" in text
    assert "ACC/test/good/000.png (test) = ACC/train/good/000.png (train)\n" in text


def test_tiles_that_share_pixels_are_named_with_their_splits() -> None:
    assert "part__0001 (train) and part__0002 (test) share 4,080 pixels of part/raw.png\n" in shown(paper(faults=1))


def test_images_that_no_split_names_are_counted_below_table_1() -> None:
    row = dataclasses.replace(paper().overview[0], train=0, unsplit=1446, unknown=1)
    statistics = dataclasses.replace(paper(), overview=(row,))
    text = shown(statistics, width=200)
    assert "No split names 1,446 images: counted as test images." in text
    assert "Nothing tells whether 1 image is good" in text
    assert "The split is clean: there is none" in text


def test_an_empty_data_set_is_called_empty() -> None:
    text = shown(bare())
    assert "It holds no image." in text
    assert "Figure 3" not in text


def test_long_tables_end_with_how_much_is_missing() -> None:
    rows = [(f"part{number:03}", 9, 5, 4, 2, "20~20", "20~20", "1~1", "1~1") for number in range(150)]
    text = shown(made(rows), width=200)
    assert text.count("\npart149 ") > 0  # Table 1 is whole
    assert "… and 91 more; --json has them all" in text


def test_no_name_reaches_the_terminal_as_a_command_or_as_markup() -> None:
    text = shown(hostile(), width=120)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "[red]x" in text
    assert all(line.isprintable() for line in text.split("\n"))


def test_an_old_code_page_gets_words_for_the_marks() -> None:
    text = shown(paper(), encoding="ascii", width=100)
    assert "yes 33.3 %" in text
    assert "\\u2713" not in text


# JSON


def test_json_holds_every_field_and_follows_its_schema() -> None:
    data = tables.as_json(paper(faults=3), [bare("other")])
    assert data.keys() == {field.name for field in dataclasses.fields(Statistics)} | {"compared", "size_classes"}
    assert data["overview"][0]["regions"] == {"least": 1, "most": 6}
    assert data["findings"][0]["code"] == "TC403"
    assert data["compared"][0]["name"] == "other"
    again = json.loads(json.dumps(data, allow_nan=False))
    assert again == data
    jsonschema.Draft202012Validator.check_schema(tables.schema())
    jsonschema.validate(again, tables.schema(), cls=jsonschema.Draft202012Validator)


def test_the_schema_refuses_what_is_not_a_statistic() -> None:
    data = tables.as_json(paper())
    for wrong in ({"images": "many"}, {"clean": None}, {"more": 1}, {"copies": [{"exact": True}]}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(data | wrong, tables.schema(), cls=jsonschema.Draft202012Validator)


def test_a_number_that_json_cannot_say_is_a_bug() -> None:
    broken = Distribution(dataclasses.replace(around(1.0), mean=math.nan), Histogram((0.0, 1.0), (1,)))
    with pytest.raises(ValueError, match="nan"):
        tables.as_json(dataclasses.replace(paper(), area_ratio={ALL: broken}))


# CSV


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def test_the_csv_gives_table_1_back() -> None:
    rows = [row for row in read(tables.csv_text(paper())) if row["table"] == "overview"]
    table: dict[str, dict[str, str]] = {}
    for row in rows:
        table.setdefault(row["category"], {})[row["name"]] = row["value"]
    for line in filter(None, TABLE_1.split("\n")):
        category, train, good, defect, types, *_ = parsed(line)
        own = table[category]
        assert [own[key] for key in ("train", "good", "defect", "types")] == [str(n) for n in (train, good, defect, types)]
    assert table["ANI"]["regions.most"] == "23"
    assert table[ALL]["test"] == "16546"
    assert table[ALL]["height"] == ""


def test_the_csv_holds_every_data_set_and_every_copy() -> None:
    rows = read(tables.csv_text(paper(faults=2), [bare("other")]))
    assert {row["dataset"] for row in rows} == {"3CAD", "other"}
    assert sum(row["table"] == "copies" for row in rows) == 2 * 2 + 2
    assert {row["table"] for row in rows} >= {"types", "together", "survival", "looks", "sources", "balance", "aspect_ratio"}


def test_no_cell_of_the_csv_begins_a_formula_or_breaks_its_line() -> None:
    text = tables.csv_text(hostile())
    assert text.isascii() or "\u202e" not in text
    for row in read(text):
        assert row.keys() == set(tables.CSV_COLUMNS)
        for key, cell in row.items():
            assert cell.isprintable()
            if key != "value":
                assert not cell.startswith(("=", "+", "-", "@", "|"))


# LaTeX and Markdown


def test_latex_has_the_papers_tables_with_booktabs() -> None:
    text = tables.latex(paper(), [paper(name="twin")])
    assert re.findall(r"\\label{tab:(.*)}", text) == ["overview", "comparison", "area-ratio", "image-ratio", "aspect-ratio"]
    assert r"ANI & 2,233 & 4,936 & 999 & 3,937 & 4 & 420$\sim$1024 & 580$\sim$1024 & 1$\sim$23/1$\sim$2 \\" in text
    assert r"twin & 15,577 & 11,462 & Real & $\checkmark$ 33.3 \% & $\checkmark$ 2.0 \% \\" in text
    for rule in (r"\toprule", r"\bottomrule"):
        assert text.count(rule) == 5


@pytest.mark.parametrize("statistics", [paper(), hostile(), bare()], ids=["paper", "hostile", "bare"])
def test_latex_balances_its_braces_and_its_columns(statistics: Statistics) -> None:
    text = tables.latex(statistics)
    body = "\n".join(line for line in text.split("\n") if not line.startswith("%"))
    assert body.isascii()
    bare_text = re.sub(r"\\[\\{}$&#%_]", "", body)
    assert bare_text.count("{") == bare_text.count("}")
    assert bare_text.count("$") % 2 == 0
    assert set(re.findall(r"\\([a-zA-Z]+)", re.sub(r"\\\\", "", body))) <= {
        *("begin", "end", "centering", "caption", "label", "toprule", "midrule", "bottomrule", "sim", "checkmark", "times"),
        *("textbackslash", "textasciicircum", "textless", "textgreater", "textbar", "char"),
    }
    for tabular in re.findall(r"\\begin{tabular}{(.*?)}(.*?)\\end{tabular}", body, flags=re.DOTALL):
        lines = [line for line in re.sub(r"\\&", "", tabular[1]).split("\n") if line.endswith(r"\\")]
        assert {line.count(" & ") for line in lines} == {len(tabular[0]) - 1}


def test_latex_says_in_a_comment_what_it_spelled() -> None:
    statistics = made([parsed("划痕 3 4 5 2 2~3 2~3 1~1 1~1")], name="café")
    text = tables.latex(statistics)
    assert "% \\u5212\\u75d5: 划痕\n" in text
    assert r"\textbackslash{}u5212\textbackslash{}u75d5 & 3" in text
    assert r"caf\'{e}" in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles_with_any_name(tmp_path: Path) -> None:
    text = tables.latex(hostile(), [paper()])
    head = "\\documentclass{article}\\usepackage{booktabs,amssymb}\\begin{document}\n"
    (tmp_path / "t.tex").write_text(f"{head}{text}\\end{{document}}\n", encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]


@pytest.mark.parametrize("statistics", [paper(faults=2), hostile(), bare()], ids=["paper", "hostile", "bare"])
def test_markdown_tables_have_as_many_cells_in_every_line(statistics: Statistics) -> None:
    text = tables.markdown(statistics)
    for block in text.strip().split("\n\n"):
        if block.startswith("|"):
            lines = block.split("\n")
            assert len({len(re.findall(r"(?<!\\)\|", re.sub(r"\\\\", "", line))) for line in lines}) == 1
            assert set(lines[1]) <= set("|:- ")
    assert not re.search(r"<[a-z/!]", text)


def test_markdown_begins_with_the_verdict() -> None:
    assert tables.markdown(paper(faults=2)).startswith("**The split is NOT clean: 2 images stand in two splits")


@pytest.mark.parametrize("form", [tables.csv_text, tables.latex, tables.markdown, tables.as_json])
def test_the_same_statistics_give_the_same_text(form: Any) -> None:
    assert form(paper(faults=2), [hostile()]) == form(paper(faults=2), [hostile()])
