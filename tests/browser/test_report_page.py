"""The report in a real browser: it opens from a file system, counts right, and hands out what was decided."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from threecad.curation import sizes
from threecad.curation.statistics import Tally
from threecad.domain import Action, Case, Code, Decision, Entry, Measure, Sample, Size, Split, Spot, State
from threecad.formats.cases import read_cases
from threecad.formats.dataset import read_samples
from threecad.formats.jpeg import encode_jpeg
from threecad.pipeline.config import Pipeline
from threecad.pipeline.convert import convert
from threecad.pipeline.report import page as pages
from threecad.pipeline.report import queue, report
from threecad.pipeline.report.beside import Beside
from threecad.pipeline.report.cards import Card, name_of
from threecad.pipeline.report.gallery import UNTOLD, Gallery
from threecad.settings import Splitting, Tiling

HOSTILE = "</script><img src=x onerror=alert(1)>"
PIPELINE = Pipeline(tiling=Tiling(slice_size=96, margin=2), split=Splitting(train=0.5))
MANY = 5000


# ---------------------------------------------------------------- pages


def photograph(seed: int, height: int = 150, width: int = 220) -> np.ndarray:
    random = np.random.default_rng(seed)
    coarse = random.normal(0, 40, (height // 10 + 1, width // 10 + 1))
    return np.clip(
        np.kron(coarse, np.ones((10, 10)))[:height, :width] + 128 + random.normal(0, 6, (height, width)), 0, 255
    ).astype(np.uint8)


def polygon(label: str, *points: tuple[float, float], **more: object) -> dict[str, object]:
    return {"label": label, "points": points, "shape_type": "polygon", "flags": {}, "group_id": None} | more


def square(label: str, x: float, y: float, side: float) -> dict[str, object]:
    return polygon(label, (x, y), (x + side, y), (x + side, y + side), (x, y + side))


def put(folder: Path, name: str, seed: int, *shapes: dict[str, object], drawn: bool = True) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photograph(seed)).save(path)
    if drawn:
        file = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": path.name, "imageData": None}
        path.with_suffix(".json").write_text(json.dumps(file | {"imageHeight": 150, "imageWidth": 220}))


BOW_TIE = polygon("dent", (20, 20), (60, 60), (60, 20), (20, 60))
LINE = polygon("scratch", (20, 20), (90, 70))
KEYHOLE = polygon("pit", (20, 20), (80, 20), (80, 80), (20, 80), (20, 20), (40, 40), (40, 60), (60, 60), (60, 40), (40, 40))


@dataclass(frozen=True)
class Made:
    """A raw folder, the data set made of it and the report on it."""

    raw: Path
    data: Path
    page: Path

    @property
    def samples(self) -> list[Sample]:
        return list(read_samples(self.data / "samples.jsonl"))


def draw_raw(raw: Path) -> None:
    for number in range(4):
        category = ("cover", "frame")[number % 2]
        put(raw, f"{category}/good/g{number}.png", number, drawn=False)
        put(
            raw,
            f"{category}/d{number}.png",
            100 + number,
            square("dent", 10 + 7 * number, 20, 12),
            square("scratch", 120, 100, 25),
        )
    put(raw, "cover/a bow tie.png", 200, square("dent", 120, 100, 20), BOW_TIE)
    put(raw, "cover/b line.png", 201, LINE)
    put(raw, "cover/c keyhole.png", 202, KEYHOLE)
    put(
        raw,
        "frame/named.png",
        203,
        square(HOSTILE, 30, 30, 40),
        {**BOW_TIE, "label": HOSTILE, "points": [(120, 20), (160, 60), (160, 20), (120, 60)]},
    )


def make(folder: Path) -> Made:
    draw_raw(folder / "raw")
    convert(folder / "raw", folder / "data", PIPELINE)
    return Made(folder / "raw", folder / "data", report(folder / "data", cache=None).out)


@pytest.fixture(scope="module", autouse=True)
def _no_sync() -> Iterator[None]:
    """Nobody pulls the plug here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "sync", lambda: None)
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A data set with shapes to decide about, and a label that would be a script. Nobody changes it."""
    return make(tmp_path_factory.mktemp("a & b #1?"))


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page beside somebody else's data set: a hostile name, a TIFF, an image that trains and tests."""
    folder = tmp_path_factory.mktemp("theirs")
    for path, seed in {
        "train/good/a.png": 1,
        "test/good/copy.png": 1,
        "test/dent/50% #1 ?.png": 2,
        "test/dent/b.tiff": 3,
    }.items():
        place = folder / "set/part" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photograph(seed)).save(place)
    marked = np.zeros((150, 220), np.uint8)
    marked[30:50, 40:80] = 255
    for name in ("50% #1 ?_mask.png", "b_mask.png"):
        (folder / "set/part/ground_truth/dent").mkdir(parents=True, exist_ok=True)
        Image.fromarray(marked).save(folder / "set/part/ground_truth/dent" / name)
    return report(folder / "set", folder / "page.html", cache=None).out


@dataclass(frozen=True)
class Many:
    """A page about many images that do not exist, and what was said of each."""

    page: Path
    rows: list[tuple[str, str, str, frozenset[str], frozenset[str]]]  # category, split, state, types, sizes


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Many:
    """MANY images in the folder beside the page."""
    folder = tmp_path_factory.mktemp("many")
    random = np.random.default_rng(7)
    beside = Beside(folder / "page-files")
    gallery = Gallery(beside, UNTOLD)
    jpeg = encode_jpeg(photograph(1))
    rows = []
    for number in range(MANY):
        category = f"part {number % 8}"
        split = list(Split)[int(random.integers(3))]
        areas = [int(area) for area in random.choice([9, 200, 5000, 20_000], int(random.integers(0, 3)))]
        kinds = tuple(f"type {int(kind)}" for kind in random.integers(0, 12, len(areas)))
        spots = tuple(Spot(area, (3, 3, 9, 9), 9.0, 9.0, (kind,), ()) for area, kind in zip(areas, kinds, strict=True))
        state = State.DEFECT if spots else State.GOOD
        entry = Entry(
            f"{category}/{number:05}.png", category, split, state, tuple(sorted(set(kinds))), f"{number:05}.png", (), ""
        )
        shown = tuple(sorted(dict.fromkeys(kinds, 1).items()))
        digest = f"{number % 50:064x}"
        measure = Measure(Size(150, 220), 1, 8, 0.5, 0.1, 1.0, None, digest, spots, shown, b"", (), ())
        outlines = tuple((kind, "M3 3h9v9h-9z") for kind in sorted(set(kinds)))
        gallery.add(Card(entry, measure, (), name_of(digest), jpeg if number < 50 else None, outlines))
        rows.append((category, split.value, state.value, frozenset(kinds), frozenset(map(sizes.size_class, areas))))
    told = pages.Gathered(
        Tally("many", "mvtec").finish(), None, "0" * 64, gallery, None, None, (), "./", "page-files/", "page-files"
    )
    (folder / "page.html").write_bytes(pages.render(told))
    return Many(folder / "page.html", rows)


LONG = "scratch" * 1500
BLANK = " \u200b\u3164 "


def case(shape: int, digest: str, **changes: Any) -> Case:
    """A queued shape of one photograph, of which something can be made."""
    told = {
        "source": "cover/a.png",
        "shape": shape,
        "category": "cover",
        "annotation": "cover/a.json",
        "label": "dent",
        "kind": "polygon",
        "points": ((1.0, 1.0), (9.0, 9.0), (9.0, 1.0), (1.0, 9.0)),
        "action": Action.QUEUED,
        "codes": (Code.READINGS_DISAGREE,),
        "details": ("0.5",),
        "place": (5.0, 5.0),
        "outline": '{"coordinates":[[[0,0],[4,0],[4,2.5],[0,0]]],"type":"Polygon"}',
        "digest": digest,
    }
    return Case(**{**told, **changes})


TWINS = [case(0, "a" * 16), case(1, "b" * 16), case(2, "a" * 16), case(3, "a" * 16), case(4, "a" * 16, source="cover/b.png")]


def write(page: Path, cases: list[Case], images: list[tuple[State | None, str]]) -> Path:
    """A page about images in these states, with one defect of the type each (none where it is ""), and about these cases."""
    beside = Beside(page.with_name("none"))
    gallery = Gallery(None, UNTOLD)
    tally = Tally("some", "mvtec")
    for number, (state, kind) in enumerate(images):
        spots = (Spot(200, (3, 3, 20, 10), 20.0, 10.0, (kind,), ()),) if kind else ()
        areas = ((kind, 200),) if kind else ()
        entry = Entry(f"{number:03}.png", "part", Split.TEST, state, (kind,) if kind else (), f"{number:03}.png", (), "")
        digest = f"{number:064x}"
        measure = Measure(Size(150, 220), 1, 8, 0.5, 0.1, 1.0, None, digest, spots, areas, bytes(1024), (), ())
        tally.add(entry, measure, [])
        outlines = ((kind, "M3 3h20v10h-20z"),) if kind else ()
        gallery.add(Card(entry, measure, (), name_of(digest), encode_jpeg(photograph(number)), outlines))
    told = pages.Gathered(
        tally.finish(), None, "0" * 64, gallery, cases, queue.told("/", cases, beside), (), "./", "none/", "none"
    )
    page.write_bytes(pages.render(told))
    return page


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shapes of one photograph that are equal to the last digit, another one, and one of another photograph."""
    return write(tmp_path_factory.mktemp("twins") / "page.html", TWINS, [(State.GOOD, "")])


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labels that are a book and that are nothing but blanks."""
    cases = [
        case(0, "a" * 16, label=LONG, details=(LONG,)),
        case(1, "b" * 16, label=BLANK),
        case(2, "c" * 16, points=tuple((float(x), float(x % 7)) for x in range(40)), step=3, vertices=118),
        case(3, "d" * 16, points=tuple((float(x), float(x % 7)) for x in range(40)), step=22, vertices=12_001),
    ]
    images = [(State.DEFECT, LONG), (State.DEFECT, BLANK), (State.DEFECT, "   "), (State.GOOD, ""), (State.DEFECT, "dent")]
    return write(tmp_path_factory.mktemp("odd") / "page.html", cases, images)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many images as a page may hold, and a long queue."""
    cases = [case(number, f"{number:016x}") for number in range(60)]
    return write(tmp_path_factory.mktemp("full") / "page.html", cases, [(State.DEFECT, "dent")] * 300)


# ---------------------------------------------------------------- hands and eyes

IDS = "[...document.querySelectorAll('#tiles .id')].map((each) => each.title)"

COUNTS = """(facet, where) => [...document.querySelectorAll(`#${where} input[name=${facet}]`)].map((each) => {
    const label = each.closest("label");
    return [each.value, Number(label.querySelector(".count").textContent.replaceAll(",", "")), label.hidden];
})"""

CONTRAST = """
// Text whose contrast with what lies behind it is below WCAG's AA: 4.5, or 3 where it is large.
const parse = (text) => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return [r, g, b, a]; };
const over = (top, under) => top.slice(0, 3).map((value, k) => value * top[3] + under[k] * (1 - top[3]));
const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
const light = (rgb) => { const [r, g, b] = rgb.map((v) => linear(v / 255)); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const behind = (node) => {
  const layers = [];
  for (let at = node; at; at = at.parentElement) layers.push(parse(getComputedStyle(at).backgroundColor));
  return layers.reverse().reduce((under, layer) => over(layer, under), [255, 255, 255]);
};
const hidden = "script, style, svg, :disabled, .unseen, .skip, label:has(:disabled)";
const poor = [];
const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  const [text, node] = [walk.currentNode.data.trim(), walk.currentNode.parentElement];
  if (!text || !node.checkVisibility() || node.closest(hidden)) continue;
  const style = getComputedStyle(node);
  const under = behind(node);
  const [a, b] = [light(over(parse(style.color), under)), light(under)].sort((x, y) => y - x);
  const size = parseFloat(style.fontSize);
  const least = size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5;
  const ratio = (a + 0.05) / (b + 0.05);
  if (ratio < least) poor.push(`${node.className || node.tagName}: ${text.slice(0, 30)} ${ratio.toFixed(2)}`);
}
return [...new Set(poor)];
"""

NAMELESS = """
const titled = (each) => document.getElementById(each.getAttribute("aria-labelledby"))?.textContent;
const named = (each) => each.getAttribute("aria-label") || each.textContent.trim() || each.labels?.length || titled(each);
const wanted = "button, a, input, select, progress, section, nav, dialog, summary, svg[role=img], [role=region]";
const poor = [...document.querySelectorAll(wanted)].filter((each) => !named(each));
return [...poor, ...document.querySelectorAll("img:not([alt])")].map((each) => each.outerHTML.slice(0, 120));
"""


class Reader:
    """Somebody at the page."""

    def __init__(self, browser: Any) -> None:
        self.browser = browser

    def open(self, path: Path, address: str = "") -> Reader:
        self.browser.get("about:blank")
        self.browser.get(path.as_uri() + address)
        self.until("document.documentElement.dataset.ready")
        return self

    def run(self, script: str, *values: Any) -> Any:
        return self.browser.execute_script(script, *values)

    def until(self, script: str, *values: Any) -> Any:
        """What a script gives as soon as that is true."""
        for _ in range(1200):  # half a minute, on a machine that is busy with other tests
            if found := self.run(f"return {script}", *values):
                return found
            time.sleep(0.025)
        raise AssertionError(f"never came true: {script}")

    def tick(self, facet: str, value: str) -> None:
        self.run(
            "[...document.querySelectorAll(`input[name=${arguments[0]}]`)].find((each) => each.value === arguments[1]).click()",
            facet,
            value,
        )

    def counts(self, facet: str, where: str = "gallery-fields") -> dict[str, int]:
        """The numbers beside the values of a filter."""
        script = f"return ({COUNTS})(arguments[0], arguments[1])"
        return {value: count for value, count, hidden in self.run(script, facet, where) if not hidden}

    @property
    def shown(self) -> list[str]:
        """Ids of the images on this page of the gallery, in order."""
        found: list[str] = self.run(f"return {IDS}")
        return found

    @property
    def status(self) -> str:
        text: str = self.run("return document.getElementById('gallery-count').textContent")
        return text

    def press(self, *keys: str) -> None:
        """Real keys, wherever the focus is."""
        from selenium.webdriver.common.action_chains import ActionChains

        for key in keys:
            ActionChains(self.browser).send_keys(key).perform()

    def click(self, id_: str) -> None:
        self.run("document.getElementById(arguments[0]).click()", id_)

    def text(self, id_: str) -> str:
        found: str = self.run("return document.getElementById(arguments[0]).textContent", id_)
        return found

    def errors(self) -> list[str]:
        return [line["message"] for line in self.browser.get_log("browser")]


@pytest.fixture
def reader(browser: Any) -> Iterator[Reader]:
    yield Reader(browser)
    problems = [line for line in Reader(browser).errors() if "ERR_FILE_NOT_FOUND" not in line]
    assert not problems, "the console has errors"


def detail(sample: Sample) -> dict[str, set[str]]:
    return {
        "category": {sample.category},
        "split": {sample.split.value if sample.split else "unused"},
        "state": {sample.state.value},
        "type": set(sample.labels),
    }


# ---------------------------------------------------------------- the page


class TestThePage:
    def test_it_opens_without_a_word_in_the_console(self, reader: Reader, made: Made, foreign: Path, many: Many) -> None:
        for path in (made.page, foreign, many.page):
            reader.open(path)
            assert reader.errors() == []

    def test_it_loads_nothing_but_files(self, reader: Reader, made: Made) -> None:
        reader.open(made.page)
        reader.until("document.querySelectorAll('#tiles img').length")
        loaded = reader.run("return performance.getEntriesByType('resource').map((each) => each.name)")
        assert not [name for name in loaded if not name.startswith(("file:", "data:"))]

    def test_a_label_that_is_a_script_is_only_a_label(self, reader: Reader, made: Made) -> None:
        reader.open(made.page)
        assert reader.counts("type")[HOSTILE] == sum(HOSTILE in sample.labels for sample in made.samples)
        reader.tick("type", HOSTILE)
        reader.until("document.querySelector('#tiles .kinds')?.textContent === arguments[0]", HOSTILE)
        reader.run("document.querySelector('#tiles button').click()")
        reader.until("document.querySelector('#facts td')")
        reader.press("\ue00c")
        assert HOSTILE in reader.run("return [...document.querySelectorAll('.case h3 bdi')].map((each) => each.textContent)")
        assert reader.run("return document.querySelectorAll('img[src=x], script:not(#page)').length") == 1
        assert reader.errors() == []

    def test_colours_follow_the_system_and_the_button(self, reader: Reader, made: Made) -> None:
        paper = "return getComputedStyle(document.body).backgroundColor"
        reader.open(made.page)
        light = reader.run(paper)
        reader.browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
        )
        dark = reader.run(paper)
        assert light != dark
        reader.click("theme")
        assert reader.run(paper) == light
        reader.open(made.page)
        assert reader.run(paper) == light, "the choice is kept"

    @pytest.mark.parametrize("theme", ["light", "dark"])
    def test_text_can_be_read_on_what_lies_behind_it(self, reader: Reader, made: Made, theme: str) -> None:
        reader.open(made.page)
        reader.run("document.documentElement.dataset.theme = arguments[0]", theme)
        reader.until("document.querySelectorAll('#tiles .tile, #cases .case').length > 3")
        assert reader.run(CONTRAST) == []

    def test_everything_has_a_name_and_headings_do_not_skip(self, reader: Reader, made: Made) -> None:
        reader.open(made.page)
        reader.until("document.querySelectorAll('#tiles .tile, #cases .case').length > 3")
        assert reader.run(NAMELESS) == []
        levels = reader.run(
            "return [...document.querySelectorAll('main h2, main h3, main h4')].map((each) => Number(each.tagName[1]))"
        )
        assert all(after - before <= 1 for before, after in zip([1, *levels], levels, strict=False))
        twice = Counter(reader.run("return [...document.querySelectorAll('[id]')].map((each) => each.id)"))
        assert not [id_ for id_, count in twice.items() if count > 1]
        assert reader.run("return ['header', 'nav', 'main', 'footer'].every((each) => document.querySelector(each))")

    def test_paper_has_all_sections_and_no_controls(self, reader: Reader, made: Made) -> None:
        reader.open(made.page)
        reader.run("document.documentElement.dataset.theme = 'dark'")
        reader.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
        sections = reader.run("return [...document.querySelectorAll('main > section')].map((each) => each.offsetHeight > 40)")
        assert len(sections) == 9
        assert all(sections)
        controls = "[...document.querySelectorAll('.filters, .contents, .tools, .choice, #print')]"
        assert reader.run(f"return {controls}.filter((each) => each.offsetHeight)") == []
        assert reader.run("return getComputedStyle(document.body).color") == "rgb(23, 28, 35)"
        assert reader.run("return document.querySelector('.printed').offsetHeight") > 0
        closed = "document.querySelectorAll('main > section > * details:not([open]):not(.case *)').length"
        assert reader.run(f"dispatchEvent(new Event('beforeprint')); return {closed}") == 0
        assert reader.run(f"dispatchEvent(new Event('afterprint')); return {closed}") > 0
        reader.until("document.querySelectorAll('.case').length === 4")

    def test_a_queue_without_a_shape_is_no_queue(self, reader: Reader, tmp_path: Path) -> None:
        reader.open(write(tmp_path / "page.html", [], [(State.GOOD, "")]))
        assert reader.run("return [...document.querySelectorAll('.contents a')].map((each) => each.hash)").count("#queue") == 0
        reader.run("document.getElementById('audit').scrollIntoView()")
        assert reader.errors() == []

    @pytest.mark.parametrize("width", [420, 1400])
    def test_a_label_as_long_as_a_book_is_cut_short(self, reader: Reader, odd: Path, width: int) -> None:
        reader.browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        )
        try:
            reader.open(odd)
            reader.until("document.querySelectorAll('.case').length === 4")
            high = "[...document.querySelectorAll('td, th, h3, .option, .tile, .reasons li')]"
            assert reader.run(f"return {high}.map((each) => each.offsetHeight).filter((height) => height > 400)") == []
            assert reader.run("return document.documentElement.scrollWidth") <= width
            cut = "[...document.querySelectorAll(`${arguments[0]} [title]`)].filter((each) => each.title === arguments[1])"
            for place in ("td", "h3", ".reasons", ".tile"):
                texts = reader.run(f"return {cut}.map((each) => each.textContent)", place, LONG)
                assert texts, place
                assert all(len(text) <= 400 for text in texts)
            narrow = "[...document.querySelectorAll('th .long, td .long')].filter((each) => each.offsetParent)"
            assert all(each >= 120 for each in reader.run(f"return {narrow}.map((each) => each.offsetWidth)"))
            reader.run("document.querySelector('#tiles button').click()")
            reader.until("document.querySelector('#facts td')")
            assert (
                reader.run("return Math.max(...[...document.querySelectorAll('#facts *')].map((e) => e.offsetHeight || 0))") < 900
            )
        finally:
            reader.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    def test_a_label_of_blanks_has_a_name(self, reader: Reader, odd: Path) -> None:
        reader.open(odd)
        reader.until("document.querySelectorAll('.case').length === 4")
        assert reader.run("return document.querySelectorAll('.case h3 bdi')[1].textContent") == "(no label)"
        kinds = reader.run("return [...document.querySelectorAll('#tiles .kinds')].map((each) => each.textContent)")
        assert kinds[1:3] == ["(no label)"] * 2
        options = "[...document.querySelectorAll('#gallery-fields input[name=type]')]"
        named = f"{options}.map((each) => each.closest('label').querySelector('.name').textContent)"
        assert "(no label)" in reader.run(f"return {named}")
        cells = reader.run("return [...document.querySelectorAll('#beyond tbody td')].map((each) => each.textContent)")
        assert "(no label)" in cells
        assert not [cell for cell in cells if not cell.strip()]

    def test_the_section_that_was_clicked_is_the_current_one(self, reader: Reader, twins: Path) -> None:
        """The last ones of a short page cannot come to its top."""
        reader.open(twins)
        current = "[...document.querySelectorAll('.contents [aria-current]')].map((each) => each.hash)"
        for section in ("findings", "configuration", "audit"):
            reader.browser.find_element("css selector", f".contents a[href='#{section}']").click()
            reader.until(f"{current}[0] === arguments[0]", f"#{section}")
            time.sleep(0.3)
            assert reader.run(f"return {current}") == [f"#{section}"]
        reader.browser.execute_cdp_cmd(
            "Input.dispatchMouseEvent", {"type": "mouseWheel", "x": 700, "y": 500, "deltaX": 0, "deltaY": -100_000}
        )
        reader.until(f"{current}[0] === '#summary'")

    @pytest.mark.parametrize("section", ["queue", "findings", "gallery"])
    def test_a_click_on_a_section_lands_there(self, reader: Reader, full: Path, section: str) -> None:
        reader.open(full)
        reader.browser.find_element("css selector", f".contents a[href='#{section}']").click()
        top = f"document.getElementById('{section}').getBoundingClientRect().top"
        for _ in range(2):
            time.sleep(0.75)
            place, rest = reader.run(f"return [{top}, document.documentElement.scrollHeight - innerHeight - scrollY]")
            assert abs(place) <= 120 or rest < 2

    def test_what_is_late_above_a_section_does_not_push_it_away(self, reader: Reader, full: Path) -> None:
        """Until the reader goes elsewhere."""
        reader.open(full)
        reader.run("document.documentElement.style.overflowAnchor = 'none'")  # as in browsers that hold nothing themselves
        reader.browser.find_element("css selector", ".contents a[href='#queue']").click()
        top = "document.getElementById('queue').getBoundingClientRect().top"
        reader.until(f"Math.abs({top}) <= 120")
        grow = "document.getElementById('tiles').style.paddingBottom = arguments[0]"
        reader.run(grow, "900px")
        time.sleep(0.3)
        assert abs(reader.run(f"return {top}")) <= 120
        wheel = {"type": "mouseWheel", "x": 700, "y": 500, "deltaX": 0, "deltaY": 600}
        reader.browser.execute_cdp_cmd("Input.dispatchMouseEvent", wheel)
        reader.until(f"{top} < -400")
        reader.run(grow, "0")
        time.sleep(0.3)
        assert reader.run(f"return {top}") < -400

    def test_an_address_with_a_section_opens_there(self, reader: Reader, full: Path) -> None:
        reader.open(full, "#queue")
        time.sleep(0.5)
        assert abs(reader.run("return document.getElementById('queue').getBoundingClientRect().top")) <= 120

    def test_a_folder_that_is_missing_is_said(self, reader: Reader, many: Many, tmp_path: Path) -> None:
        (tmp_path / "moved.html").write_bytes(many.page.read_bytes())
        reader.open(tmp_path / "moved.html")
        reader.until("!document.getElementById('missing').hidden")
        assert "page-files" in reader.text("missing")


class TestTheGallery:
    def test_filters_count_right(self, reader: Reader, made: Made) -> None:
        rows = [detail(sample) for sample in made.samples]
        reader.open(made.page)
        for facet in ("category", "split", "state", "type"):
            assert reader.counts(facet) == Counter(value for row in rows for value in row[facet])
        reader.tick("state", "defect")
        reader.tick("type", "dent")
        reader.tick("type", "scratch")
        wanted = {"state": {"defect"}, "type": {"dent", "scratch"}}
        for facet in ("category", "split", "state", "type"):
            others = {name: values for name, values in wanted.items() if name != facet}
            there = [row for row in rows if all(row[name] & values for name, values in others.items())]
            expected = Counter(value for row in there for value in row[facet])
            assert reader.counts(facet) == {value: expected[value] for value in reader.counts(facet)}
        found = [row for row in rows if all(row[name] & values for name, values in wanted.items())]
        assert reader.status.startswith(f"{len(found)} of {len(rows)} images")

    def test_size_classes_count_right_among_thousands(self, reader: Reader, many: Many) -> None:
        reader.open(many.page)
        assert reader.counts("size") == Counter(size for *_, found in many.rows for size in found)
        began = time.monotonic()
        reader.tick("size", "tiny")
        reader.tick("category", "part 3")
        expected = sum("tiny" in found and category == "part 3" for category, *_, found in many.rows)
        assert reader.status.startswith(f"{expected:,} of {MANY:,} images")
        reader.until("document.querySelectorAll('#tiles .tile').length === arguments[0]", min(60, expected))
        assert time.monotonic() - began < 30, "a second on a quiet machine"

    def test_pages_hold_sixty_images_and_every_image_once(self, reader: Reader, many: Many) -> None:
        reader.open(many.page)
        reader.tick("category", "part 1")
        reader.tick("state", "good")
        expected = sum((category, state) == ("part 1", "good") for category, _, state, *_ in many.rows)
        seen = []
        for number in range(-(-expected // 60)):
            here = reader.until(f"{IDS}[0] !== arguments[0] && {IDS}", seen[-60] if seen else None)
            seen += here
            assert len(here) == min(60, expected - 60 * number)
            reader.run("document.querySelector('#gallery-pager [aria-label=\"Next page\"]').click()")
        assert len(set(seen)) == len(seen) == expected

    def test_defects_come_first_and_what_nobody_could_tell_before_the_good(self, reader: Reader, tmp_path: Path) -> None:
        kinds = [(State.GOOD, ""), (None, ""), (State.DEFECT, "dent")]
        images = [kinds[number] for number in np.random.default_rng(3).integers(0, 3, 40)]
        reader.open(write(tmp_path / "page.html", TWINS, images))
        badges = "[...document.querySelectorAll('#tiles .badge')].map((each) => each.textContent)"
        order = reader.until(f"{badges}.length === 40 && {badges}")
        told = Counter(order)
        assert set(told) == {"defect", "unknown", "good"}
        assert order == ["defect"] * told["defect"] + ["unknown"] * told["unknown"] + ["good"] * told["good"]

    def test_thumbnails_and_outlines_lie_upon_one_another(self, reader: Reader, many: Many) -> None:
        reader.open(many.page, "#gallery?state=defect")
        reader.until("document.querySelector('#tiles img')?.naturalWidth > 0")
        assert reader.run("return document.querySelector('#tiles .contour').getAttribute('viewBox')") == "0 0 220 150"
        box = "JSON.stringify(document.querySelector('#tiles {}').getBoundingClientRect())"
        assert reader.run(f"return {box.format('img')}") == reader.run(f"return {box.format('.contour')}")

    def test_the_address_keeps_what_is_shown(self, reader: Reader, made: Made) -> None:
        reader.open(made.page)
        reader.tick("type", HOSTILE)
        reader.tick("split", "test")
        address = reader.run("return location.hash")
        first = reader.until(IDS)
        reader.open(made.page, address)
        assert reader.until(IDS) == first
        assert reader.run("return document.querySelectorAll('#gallery-fields :checked').length") == 2

    def test_the_search_looks_into_ids(self, reader: Reader, made: Made) -> None:
        reader.open(made.page)
        expected = sum("d1-" in sample.id for sample in made.samples)
        reader.run(
            "const field = document.getElementById('search'); field.value = 'D1-'; field.dispatchEvent(new Event('input'))"
        )
        reader.until("document.getElementById('gallery-count').textContent.startsWith(arguments[0])", f"{expected} of ")

    def test_nothing_found_offers_the_way_back(self, reader: Reader, made: Made) -> None:
        reader.open(made.page, "#gallery?q=nobody")
        assert reader.run("return !document.getElementById('gallery-empty').hidden")
        reader.run("document.querySelector('#gallery-empty button').click()")
        assert reader.status.startswith(f"{len(made.samples)} image")


class TestTheFullView:
    def test_keys_move_through_the_list_and_close(self, reader: Reader, made: Made) -> None:
        reader.open(made.page, "#gallery?state=defect")
        ids = reader.until(IDS)
        reader.run("document.querySelectorAll('#tiles button')[1].focus()")
        reader.press("\ue007")
        title = "document.getElementById('viewer-title').textContent"
        assert reader.until(title) == ids[1]
        reader.press("\ue014")
        assert reader.run(f"return {title}") == ids[2]
        assert "image=" in reader.run("return location.hash")
        reader.press("\ue012", "\ue012", "\ue012")
        assert reader.run(f"return {title}") == ids[0]
        reader.press("\ue00c")
        assert not reader.run("return document.getElementById('viewer').open")
        assert reader.until("document.activeElement.querySelector('.id')?.title") == ids[0]
        assert "image=" not in reader.run("return location.hash")

    def test_it_shows_the_data_sets_own_image_with_its_outline(self, reader: Reader, made: Made) -> None:
        (sample, *_) = [sample for sample in made.samples if sample.state is State.DEFECT]
        reader.open(made.page, f"#gallery?q={sample.id}&image={sample.id}")
        assert reader.until("document.querySelector('#stage img')?.naturalWidth") == 96
        assert reader.run("return document.querySelector('#stage img').src").endswith(str(sample.image))
        assert reader.run("return document.querySelectorAll('#stage path.over').length") == len(sample.labels)
        outline = "getComputedStyle(document.querySelector('#stage .contour')).display"
        reader.press("c")
        assert reader.run(f"return {outline}") == "none"
        reader.press("c")
        assert reader.run(f"return {outline}") != "none"
        reader.press("1")
        assert reader.run("return document.querySelector('#stage .sheetlet').offsetWidth") == 96
        reader.press("0")
        assert reader.run("return document.querySelector('#stage .sheetlet').offsetWidth") > 300
        areas = reader.run("return [...document.querySelectorAll('#facts td')].map((each) => each.textContent)")
        assert f"{sample.areas[0]:,}" in areas
        assert sample.source in reader.text("facts")

    def test_a_hostile_name_is_found(self, reader: Reader, foreign: Path) -> None:
        reader.open(foreign, "#gallery?q=50%25")
        reader.until("document.querySelector('#tiles button')")
        reader.run("document.querySelector('#tiles button').click()")
        assert reader.until("document.querySelector('#stage img')?.naturalWidth") == 220

    def test_what_browsers_do_not_show_is_the_thumbnail_enlarged(self, reader: Reader, foreign: Path) -> None:
        reader.open(foreign, "#gallery?q=tiff")
        reader.until("document.querySelector('#tiles button')")
        reader.run("document.querySelector('#tiles button').click()")
        assert "Browsers do not show TIFF" in reader.until("document.getElementById('viewer-note').textContent")
        assert reader.until("document.querySelector('#stage img')?.naturalWidth") == 220

    def test_so_is_an_image_that_is_gone(self, reader: Reader, many: Many) -> None:
        reader.open(many.page, "#gallery?state=defect")
        reader.until("document.querySelector('#tiles button')")
        reader.run("document.querySelector('#tiles button').click()")
        assert "not where it was" in reader.until("document.getElementById('viewer-note').textContent")

    def test_copies_open_it_too(self, reader: Reader, foreign: Path) -> None:
        reader.open(foreign)
        reader.run("document.getElementById('audit').scrollIntoView()")
        reader.until("document.querySelectorAll('.members img').length === 2")
        reader.run("document.querySelector('.members button').click()")
        assert reader.text("viewer-place") == "1 of 2"


class TestTheQueue:
    def rows(self, made: Made) -> list[tuple[str, int]]:
        return sorted((case.source, case.shape) for case in read_cases(made.data / "cases.jsonl"))

    def focus(self, reader: Reader, number: int) -> None:
        reader.until("document.querySelectorAll('.case').length")
        reader.run("document.querySelectorAll('.case')[arguments[0]].focus()", number)

    def export(self, reader: Reader, folder: Path) -> Any:
        reader.click("export")
        target = folder / "decisions.json"
        for _ in range(200):
            if target.is_file() and target.stat().st_size:
                return json.loads(target.read_text())
            time.sleep(0.025)
        raise AssertionError("nothing was exported")

    def test_each_shape_is_drawn_as_it_is_and_as_it_would_be(self, reader: Reader, made: Made) -> None:
        reader.open(made.page)
        assert self.rows(made) == [
            ("cover/a bow tie.png", 1),
            ("cover/b line.png", 0),
            ("cover/c keyhole.png", 0),
            ("frame/named.png", 1),
        ]
        reader.until("document.querySelectorAll('.case').length === 4")
        numbers = reader.run(
            "return [...document.querySelector('.case .drawing').querySelectorAll('text')].map((each) => each.textContent)"
        )
        assert numbers == ["0", "1", "2", "3"]
        assert reader.run("return document.querySelectorAll('.case')[0].querySelectorAll('.start, .place').length") == 6
        assert reader.run("return document.querySelectorAll('.case')[0].querySelectorAll('.made').length") == 2
        assert reader.run("return document.querySelectorAll('.case')[1].querySelectorAll('.made').length") == 0
        assert reader.run("return document.querySelector('.case image').getAttribute('href').slice(0, 15)") == "data:image/jpeg"
        assert "readings disagree" in reader.run("return document.querySelector('.case').textContent")

    def test_keys_decide_and_the_export_says_what_was_decided(self, reader: Reader, made: Made, tmp_path: Path) -> None:
        reader.open(made.page)
        self.focus(reader, 0)
        reader.press("a", "j", "a", "j", "r", "j", "d", "k")
        progress = reader.text("queue-progress")
        assert progress == "2 of 3 that wait decided; 1 of 1 others"  # nothing can be accepted where nothing could be made
        assert reader.counts("choice", "queue-fields") == {"undecided": 1, "accept": 1, "relabel": 1, "drop": 1}
        digests = {(case.source, case.shape): case.digest for case in read_cases(made.data / "cases.jsonl")}
        decided = {("cover/a bow tie.png", 1): "accept", ("cover/c keyhole.png", 0): "relabel", ("frame/named.png", 1): "drop"}
        assert self.export(reader, tmp_path) == {
            "format": 1,
            "decisions": [
                {"source": source, "shape": shape, "digest": digests[source, shape], "decision": decision}
                for (source, shape), decision in decided.items()
            ],
        }

    def test_choices_are_there_after_a_reload(self, reader: Reader, made: Made) -> None:
        reader.open(made.page)
        self.focus(reader, 0)
        reader.press("d")
        reader.open(made.page)
        reader.until("document.querySelector('.case input[value=drop]')?.checked")
        self.focus(reader, 0)
        reader.press("u")
        reader.open(made.page)
        reader.until("document.querySelector('.case input[value=\"\"]')?.checked")

    def test_without_storage_the_page_works_and_says_so(self, reader: Reader, made: Made, tmp_path: Path) -> None:
        denied = "Object.defineProperty(window, 'localStorage', { get() { throw new Error('denied') } })"
        added = reader.browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": denied})
        try:
            reader.open(made.page)
            assert not reader.run("return document.getElementById('queue-kept').hidden")
            self.focus(reader, 0)
            reader.press("a")
            assert len(self.export(reader, tmp_path)["decisions"]) == 1
            reader.press("u")
        finally:
            reader.browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)

    def test_an_export_can_be_taken_in_again(self, reader: Reader, made: Made, tmp_path: Path) -> None:
        reader.open(made.page)
        self.focus(reader, 0)
        reader.press("d")
        told = self.export(reader, tmp_path)
        told["decisions"].append({"source": "gone.png", "shape": 0, "digest": "0" * 16, "decision": "drop"})
        (tmp_path / "earlier.json").write_text(json.dumps(told))
        reader.press("u")
        reader.browser.find_element("id", "import").send_keys(str(tmp_path / "earlier.json"))
        assert reader.until("document.getElementById('queue-said').textContent.includes('Took')")
        assert "Took 1 decision from earlier.json; 1 other fit no shape" in reader.text("queue-said")
        assert reader.run("return document.querySelector('.case input[value=drop]').checked")
        (tmp_path / "no.json").write_text("[1]")
        reader.browser.find_element("id", "import").send_keys(str(tmp_path / "no.json"))
        reader.until("document.getElementById('queue-said').textContent.includes('no file of decisions')")

    def test_decisions_change_the_next_conversion_and_can_be_taken_back(self, reader: Reader, tmp_path: Path) -> None:
        made = make(tmp_path / "own")
        reader.open(made.page)
        self.focus(reader, 0)
        reader.press("a", "j", "d")
        self.export(reader, tmp_path)
        convert(made.raw, made.data, PIPELINE, decisions=tmp_path / "decisions.json")
        cases = {case.source: case for case in read_cases(made.data / "cases.jsonl")}
        assert (cases["cover/a bow tie.png"].action, cases["cover/b line.png"].action) == ("repaired", "dropped")
        regions = (made.data / "regions.jsonl").read_text()
        assert "cover/a bow tie.png#1" in regions

        (tmp_path / "decisions.json").unlink()
        reader.open(report(made.data, cache=None).out)
        reader.until("document.querySelector('.case input[value=accept]')?.checked")
        self.focus(reader, 0)
        reader.press("u")
        taken_back = [row["decision"] for row in self.export(reader, tmp_path)["decisions"]]
        assert taken_back == ["none", "drop"]

    def test_filters_leave_what_is_undecided(self, reader: Reader, made: Made) -> None:
        reader.open(made.page)
        self.focus(reader, 0)
        reader.press("d")
        reader.tick("choice", "undecided")
        assert reader.until("document.querySelectorAll('.case').length === 3")
        assert reader.text("queue-count") == "3 of 4 shapes"
        reader.tick("outcome", "repaired")
        assert reader.until("document.querySelectorAll('.case').length === 1")
        assert reader.run("return location.hash") == "#queue?choice=undecided&outcome=repaired"

    def test_the_place_can_be_looked_at_closer(self, reader: Reader, made: Made) -> None:
        reader.open(made.page)
        self.focus(reader, 2)
        width = (
            "return Number(document.querySelectorAll('.case')[2].querySelector('.drawing').getAttribute('viewBox').split(' ')[2])"
        )
        whole = reader.run(width)
        reader.press("z")
        assert reader.run(width) < whole / 3
        reader.press("z")
        assert reader.run(width) == whole

    def chosen(self, reader: Reader) -> list[str]:
        """What is pressed at each shape of the list."""
        found: list[str] = reader.run(
            "return [...document.querySelectorAll('.case')].map((each) => each.querySelector('.choice :checked').value)"
        )
        return found

    def test_a_choice_is_about_every_shape_that_is_the_same(self, reader: Reader, twins: Path, tmp_path: Path) -> None:
        reader.open(twins)
        self.focus(reader, 0)
        reader.press("a")
        assert self.chosen(reader) == ["accept", "", "accept", "accept", ""]
        assert reader.text("queue-progress") == "3 of 5 that wait decided"
        self.focus(reader, 2)
        reader.press("d")
        assert self.chosen(reader) == ["drop", "", "drop", "drop", ""]
        printed = reader.run("return [...document.querySelectorAll('.printed')].map((each) => each.textContent)")
        assert printed[:3] == ["Choice: drop", "Choice: undecided", "Choice: drop"]
        assert self.export(reader, tmp_path)["decisions"] == [
            {"source": "cover/a.png", "shape": 0, "digest": "a" * 16, "decision": "drop"}
        ]
        reader.open(twins)
        self.focus(reader, 0)
        assert self.chosen(reader) == ["drop", "", "drop", "drop", ""]
        self.focus(reader, 3)
        reader.press("u")
        assert self.chosen(reader) == [""] * 5
        reader.open(twins)
        self.focus(reader, 0)
        assert self.chosen(reader) == [""] * 5
        assert reader.text("queue-unsaved") == ""

    def test_that_is_said_beside_it(self, reader: Reader, twins: Path) -> None:
        reader.open(twins)
        self.focus(reader, 0)
        notes = reader.run(
            "return [...document.querySelectorAll('.case')].map((each) => each.querySelector('.twins')?.textContent || '')"
        )
        said = "The same shape is drawn 3 times: one decision for all."
        assert notes == [said, "", said, said, ""]

    def test_an_import_is_about_all_of_them_too(self, reader: Reader, twins: Path, tmp_path: Path) -> None:
        told = [{"source": "cover/a.png", "shape": 2, "digest": "a" * 16, "decision": "relabel"}]
        (tmp_path / "earlier.json").write_text(json.dumps({"format": 1, "decisions": told}))
        reader.open(twins)
        reader.browser.find_element("id", "import").send_keys(str(tmp_path / "earlier.json"))
        assert reader.until("document.getElementById('queue-said').textContent.includes('Took 1 decision')")
        reader.until("document.querySelectorAll('.case').length === 5")
        assert self.chosen(reader) == ["relabel", "", "relabel", "relabel", ""]

    def test_a_decision_that_stands_is_taken_back_for_all_of_them(self, reader: Reader, tmp_path: Path) -> None:
        held = [case(shape, "a" * 16, decision=Decision.DROP) for shape in range(2)]
        reader.open(write(tmp_path / "page.html", held, [(State.GOOD, "")]))
        self.focus(reader, 1)
        assert self.chosen(reader) == ["drop", "drop"]
        reader.press("u")
        assert self.chosen(reader) == ["", ""]
        assert [row["decision"] for row in self.export(reader, tmp_path)["decisions"]] == ["none"]

    def test_a_thinned_outline_keeps_the_numbers_of_its_file(self, reader: Reader, odd: Path) -> None:
        reader.open(odd)
        reader.until("document.querySelectorAll('.case').length === 4")
        told = "return document.querySelectorAll('.case')[arguments[0]].querySelector(arguments[1]).textContent"
        numbers = "return [...document.querySelectorAll('.case')[2].querySelectorAll('text')].map((each) => each.textContent)"
        found = [int(number) for number in reader.run(numbers)]
        assert found
        assert all(number % 3 == 0 for number in found)
        assert max(found) > 40
        assert reader.run(told, 2, "figcaption").startswith("As drawn, every 3rd of 118 vertices; numbered as in the file")
        assert reader.run(told, 3, "figcaption").startswith("As drawn, every 22nd of 12,001 vertices; numbered as in the file")
        assert reader.run(told, 3, "summary") == "Every 22nd of 12,001 vertices (x, y)"
        assert "858: 39, 4" in reader.run(told, 3, ".vertices")
        assert reader.run(told, 0, "summary") == "All 4 vertices (x, y)"
