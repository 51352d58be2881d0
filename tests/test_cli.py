"""The command line as a person and a script meet it: flags, sentences, streams, exit codes, Ctrl-C."""

from __future__ import annotations

import json
import operator
import os
import re
import select
import signal
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from pipeline.photographs import BOW_TIE, contents, factory, photograph, put, square

import threecad
from threecad.cli import main
from threecad.domain import Action, Code, State
from threecad.errors import LayoutError
from threecad.formats.dataset import read_manifest, read_samples
from threecad.pipeline import config, summary
from threecad.pipeline import convert as converting
from threecad.pipeline.store import hold

SMALL = ("--slice-size", "96")
DONE, FAILED, USAGE, QUEUE = 0, 1, 2, 3


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def part(home: Path) -> Path:
    """One category without any flaw: two good photographs and two defective ones."""
    for number in range(2):
        put(home, f"line7/part/good/g{number}.png", photograph(number))
        put(home, f"line7/part/d{number}.png", photograph(10 + number), [square("dent", 30 + 20 * number, 30, 20)])
    return home / "line7"


@pytest.fixture
def doubtful(part: Path) -> Path:
    """The same with an outline that a person has to look at."""
    put(part, "part/doubtful.png", photograph(20), [BOW_TIE])
    return part


def run(*arguments: object) -> Result:
    """One command in this process; a bug is raised, not swallowed."""
    return CliRunner().invoke(main, [str(each) for each in arguments], catch_exceptions=False)


def command(*arguments: object, **options: Any) -> subprocess.Popen[bytes]:
    """One command in its own process."""
    words = [sys.executable, "-m", "threecad", *map(str, arguments)]
    # What runs in the background of a shell has Ctrl-C ignored, and would hand that on.
    return subprocess.Popen(words, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **options)


def finished(*arguments: object, **options: Any) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command in its own process."""
    process = command(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    out, err = process.communicate(timeout=60)
    return process.returncode, out.decode(), err.decode()


def loaded(*calls: list[str]) -> set[str]:
    """The packages that a new process has loaded when it has run these commands."""
    code = (
        "import json, sys\nfrom threecad.cli import main\n"
        "for words in json.loads(sys.argv[1]):\n"
        "    try: main(words)\n"
        "    except SystemExit as end: assert not end.code, words\n"
        "print(json.dumps(list(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, json.dumps(calls)], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


def states(out: Path) -> Counter[State]:
    return Counter(row.state for row in read_samples(out / "samples.jsonl"))


class TestHelp:
    @pytest.mark.parametrize("words", [(), *((name,) for name in sorted(main.commands))], ids=" ".join)  # type: ignore[attr-defined]
    def test_every_help_shows_examples_and_the_exit_codes(self, words: tuple[str, ...]) -> None:
        result = run(*words, "--help")
        assert result.exit_code == DONE
        assert f"Examples:\n    threecad {' '.join(words)}" in result.output
        assert "3 done, but a person has to look" in result.output

    def test_no_help_loads_what_takes_time(self) -> None:
        heavy = {"numpy", "pydantic", "cv2", "PIL", "sahi", "shapely", "rich", "torch", "matplotlib", "jinja2"}
        assert loaded(*([*words, "--help"] for words in ([], *([name] for name in main.commands)))) & heavy == set()  # type: ignore[attr-defined]

    def test_nor_do_the_commands_that_only_print_or_write_a_text(self, home: Path) -> None:
        heavy = {"numpy", "cv2", "PIL", "sahi", "shapely", "torch", "matplotlib", "jinja2"}
        assert loaded(["schema", "run"], ["init"], ["init", "--cfrg"]) & heavy == set()
        assert (home / "cfrg.toml").is_file()

    def test_version(self) -> None:
        assert finished("--version") == (DONE, f"threecad, version {threecad.__version__}\n", "")

    def test_every_option_is_explained(self) -> None:
        for sub in main.commands.values():  # type: ignore[attr-defined]
            assert all(option.help for option in sub.params if isinstance(option, click.Option))


class TestFlags:
    """Every flag changes what it says, by what comes out."""

    def test_slice_size_is_the_side_of_the_windows(self, part: Path) -> None:
        assert run("convert", part, "out", "--slice-size", 64).exit_code == DONE
        assert {(row.window.size.height, row.window.size.width) for row in read_samples(Path("out/samples.jsonl"))} == {(64, 64)}

    def test_overlap_ratio_sets_the_stride(self, part: Path) -> None:
        run("convert", part, "out", "--slice-size", 50, "--overlap-ratio", 0.5)
        assert {row.window.left for row in read_samples(Path("out/samples.jsonl"))} == {0, 25, 50, 75, 100, 125, 150, 170}

    def test_min_area_ratio_makes_a_sliver_no_defect(self, home: Path) -> None:
        put(home, "line7/a.png", photograph(1, 96, 192), [square("dent", 94, 40, 7)])  # 14 of 49 px² left of the cut
        run("convert", "line7", "out", *SMALL, "--overlap-ratio", 0)
        assert states(Path("out")) == {State.DEFECT: 2}
        run("convert", "line7", "out", *SMALL, "--overlap-ratio", 0, "--min-area-ratio", 0.5)
        assert states(Path("out")) == {State.DEFECT: 1, State.AMBIGUOUS: 1}

    @pytest.mark.parametrize(("edge", "last"), [("shift", (124, 96)), ("remainder", (154, 66)), ("pad", (154, 96))])
    def test_edge_decides_on_the_last_window(self, part: Path, edge: str, last: tuple[int, int]) -> None:
        run("convert", part, "out", *SMALL, "--edge", edge, "--overlap-ratio", 0.2, "--overwrite")
        windows = {(row.window.left, row.window.size.width) for row in read_samples(Path("out/samples.jsonl"))}
        assert max(windows) == last

    def test_edge_balanced_spreads_the_overlap(self, part: Path) -> None:
        run("convert", part, "out", *SMALL, "--edge", "balanced")
        assert {row.window.left for row in read_samples(Path("out/samples.jsonl"))} == {0, 62, 124}

    def test_raster_decides_which_pixels_a_shape_owns(self, home: Path) -> None:
        put(home, "line7/a.png", photograph(1), [square("dent", 30, 30, 10)])
        owned = {}
        for rule in ("center", "labelme", "opencv"):
            run("convert", "line7", rule, "--slice-size", 256, "--raster", rule)
            [mask] = Path(rule).glob("line7/ground_truth/dent/*.png")
            owned[rule] = int((cv2.imread(str(mask), cv2.IMREAD_UNCHANGED) > 0).sum())
        assert owned == {"center": 100, "labelme": 121, "opencv": 121}

    def test_unannotated_images_are_left_out_vouched_for_or_an_error(self, part: Path) -> None:
        put(part, "part/bare.png", photograph(40))
        result = run("convert", part, "skip", *SMALL)
        assert re.search(r"TC201 +1 +dropped +image without annotation, left out; --unannotated good", result.stdout)
        run("convert", part, "good", *SMALL, "--unannotated", "good")
        manifests = {name: read_manifest(Path(name)).categories["part"].good for name in ("skip", "good")}
        assert manifests == {"skip": 2, "good": 3}
        result = run("convert", part, "error", *SMALL, "--unannotated", "error")
        assert result.exit_code == USAGE
        assert re.fullmatch(r"threecad: .*1 image without, the first part/bare\.png.*\n", result.stderr)

    def test_workers_is_the_number_of_threads(self, part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        seen = []
        work = converting.threads.work

        def noted(*arguments: Any, workers: int, **options: Any) -> Any:
            seen.append(workers)
            return work(*arguments, workers=workers, **options)

        monkeypatch.setattr(converting.threads, "work", noted)
        run("convert", part, "out", *SMALL, "--workers", 3)
        assert set(seen) == {3}
        assert run("convert", part, "out", "--workers", 0).exit_code == USAGE

    def test_seed_gives_another_split(self, home: Path) -> None:
        factory(home / "line7")
        run("convert", "line7", "one", *SMALL)
        run("convert", "line7", "other", *SMALL, "--seed", 1)
        assert {path for path in contents(Path("one")) if "/train/" in path} != {
            path for path in contents(Path("other")) if "/train/" in path
        }

    def test_category_is_one_for_everything(self, home: Path) -> None:
        factory(home / "line7", 4)
        run("convert", "line7", "out", *SMALL, "--category", "housing")
        assert list(read_manifest(Path("out")).categories) == ["housing"]

    def test_images_and_annotations_may_lie_apart(self, home: Path) -> None:
        for number in range(2):
            path = put(home, f"line7/shots/cam/a{number}.png", photograph(number), [square("dent", 30, 30, 20)])
            notes = home / f"line7/notes/cam/a{number}.json"
            notes.parent.mkdir(parents=True, exist_ok=True)
            path.with_suffix(".json").rename(notes)
        put(home, "line7/old/b.png", photograph(9), [square("dent", 30, 30, 20)])
        run("convert", "line7", "out", *SMALL, "--images", "shots", "--annotations", "notes")
        assert {row.source for row in read_samples(Path("out/samples.jsonl"))} == {"shots/cam/a0.png", "shots/cam/a1.png"}

    def test_strict_fails_for_a_queued_shape_and_only_then(self, doubtful: Path) -> None:
        assert run("convert", doubtful, "out", *SMALL).exit_code == QUEUE
        assert run("convert", doubtful, "out", *SMALL, "--strict").exit_code == FAILED
        assert run("check", doubtful).exit_code == QUEUE
        assert run("check", doubtful, "--strict").exit_code == FAILED
        (doubtful / "part/doubtful.json").unlink()
        assert run("convert", doubtful, "out", *SMALL, "--strict").exit_code == DONE
        assert run("check", doubtful, "--strict").exit_code == DONE

    def test_strict_fails_for_a_dropped_shape(self, part: Path) -> None:
        shapes = [square("dent", 30, 30, 10), square("_background_", 20, 20, 40)]
        put(part, "part/erased.png", photograph(20), shapes)
        assert run("convert", part, "out", *SMALL).exit_code == DONE
        assert run("convert", part, "out", *SMALL, "--strict").exit_code == FAILED
        assert run("check", part, "--strict").exit_code == FAILED

    def test_dry_run_says_what_a_run_would_do_and_writes_nothing(self, part: Path) -> None:
        result = run("convert", part, "out", *SMALL, "--dry-run")
        assert (result.exit_code, result.stdout) == (DONE, "Would convert 4 sources (0.1 MP, 24 windows). Nothing was written.\n")
        assert not Path("out").exists()
        run("convert", part, "out", *SMALL)
        before = contents(Path("out"))
        assert run("convert", part, "out", *SMALL, "--dry-run").stdout == (
            "Nothing to do: 4 sources unchanged. Nothing was written.\n"
        )
        put(part, "part/new.png", photograph(50), [])
        (part / "part/good/g0.png").unlink()
        assert run("convert", part, "out", *SMALL, "--dry-run").stdout == (
            "Would convert 1 source (0.0 MP, 6 windows), leave 3 encoded as they are and remove 1. Nothing was written.\n"
        )
        result = run("convert", part, "out", *SMALL, "--dry-run", "--overwrite")
        assert result.stdout.startswith("Would convert 4 sources")
        assert contents(Path("out")) == before

    def test_dry_run_is_refused_where_a_run_would_be(self, part: Path) -> None:
        Path("out").mkdir()
        Path("out/thesis.doc").write_text("dear")
        dry, wet = (run("convert", part, "out", *SMALL, *more) for more in (["--dry-run"], []))
        assert (dry.exit_code, dry.stderr) == (wet.exit_code, wet.stderr) == (USAGE, dry.stderr)
        assert run("convert", part, "out", *SMALL, "--dry-run", "--overwrite").exit_code == DONE

    def test_resume_is_what_happens_anyway(self, part: Path) -> None:
        run("convert", part, "out", *SMALL)
        assert run("convert", part, "out", *SMALL, "--resume").stdout.startswith("Nothing to do: 4 sources unchanged (")

    def test_overwrite_does_everything_again(self, part: Path) -> None:
        run("convert", part, "out", *SMALL)
        assert run("convert", part, "out", *SMALL, "--overwrite").stdout.startswith("4 sources converted in ")

    def test_a_named_pipeline_is_that_file(self, part: Path) -> None:
        run("convert", part, "named", "--pipeline", "smoke")
        text = (Path(threecad.__file__).parents[1] / "pipelines/smoke.toml").read_text(encoding="utf-8")
        Path("mine.toml").write_text(text, encoding="utf-8")
        run("convert", part, "filed", "--pipeline", "mine.toml")
        assert contents(Path("named")) == contents(Path("filed"))
        assert read_manifest(Path("named")).pipeline["tiling"]["slice_size"] == 256

    def test_flags_override_the_file_and_the_effective_pipeline_can_be_fed_back(self, doubtful: Path) -> None:
        Path("mine.toml").write_text(
            '[tiling]\nslice_size = 80\nedge = "pad"\n[write]\nmask_suffix = ""\n[split]\ngroup = "d\\\\d"\n'
        )
        run("convert", doubtful, "out", "--pipeline", "mine.toml", "--slice-size", 64, "--raster", "coco", "--category", "x")
        effective = config.load(Path("out/pipeline.toml"))
        assert (effective.tiling.slice_size, effective.tiling.edge, effective.raster.rule) == (64, "pad", "coco")
        assert (effective.read.category, effective.write.mask_suffix, effective.split.group) == ("x", "", r"d\d")
        run("convert", doubtful, "again", "--pipeline", "out/pipeline.toml")
        assert contents(Path("again")) == contents(Path("out"))
        assert run("convert", doubtful, "out", "--pipeline", "out/pipeline.toml").stdout.startswith("Nothing to do")

    def test_check_takes_the_settings_that_bear_on_annotations(self, part: Path) -> None:
        put(part, "part/bare.png", photograph(40))
        Path("mine.toml").write_text('[labels.aliases]\nscratch = "scratch"\n')
        found = json.loads(
            run("check", part, "--pipeline", "mine.toml", "--category", "x", "--unannotated", "good", "--json").stdout
        )
        assert list(found["categories"]) == ["x"]
        assert found["findings"]["TC115"] == {"queued": {"x": 2}}  # no dent in the table
        assert "TC201" not in found["findings"]
        assert found["categories"]["x"]["images"] == 5

    def test_init_writes_every_default_and_never_over_another_file(self, home: Path) -> None:
        result = run("init")
        assert (result.exit_code, result.stdout) == (
            DONE,
            "pipeline.toml written. Next: threecad convert RAW OUT --pipeline pipeline.toml\n",
        )
        assert config.load(home / "pipeline.toml") == config.Pipeline()
        (home / "pipeline.toml").write_text("# mine\n")
        result = run("init")
        assert (result.exit_code, result.stderr) == (
            USAGE,
            "threecad: pipeline.toml exists already; choose another name or pass --force\n",
        )
        assert (home / "pipeline.toml").read_text() == "# mine\n"
        assert run("init", "--force").exit_code == DONE
        assert config.load(home / "pipeline.toml") == config.Pipeline()
        assert run("init", "my line.toml").stdout.endswith("--pipeline 'my line.toml'\n")


class TestJson:
    """One object on standard output, whatever happens on standard error."""

    @pytest.mark.parametrize("extra", [[], ["--dry-run"], ["--strict"]], ids=str)
    def test_convert_prints_one_object_and_nothing_else(self, doubtful: Path, extra: list[str]) -> None:
        code, out, err = finished("convert", doubtful, "out", *SMALL, "--json", *extra)
        assert (code, err) == (FAILED if "--strict" in extra else DONE if "--dry-run" in extra else QUEUE, "")
        assert out.count("\n") == 1
        found = json.loads(out)
        assert found["converted"] == 5
        assert found["dry_run"] is (found["manifest"] is None) is ("--dry-run" in extra)
        if found["manifest"]:
            assert found["manifest"] == json.loads(Path("out/manifest.json").read_text(encoding="utf-8"))

    def test_check_prints_one_object_and_nothing_else(self, doubtful: Path) -> None:
        code, out, err = finished("check", doubtful, "--json", "--write-fixed", "fixed")
        assert (code, err, out.count("\n")) == (QUEUE, "", 1)
        found = json.loads(out)
        assert found["categories"] == {
            "part": {"images": 5, "shapes": 3, "kept": 2, "repaired": 0, "queued": 1, "dropped": 0},
        }
        assert (found["out"], found["fixed"]) == ("threecad-check", "fixed")
        assert (found["queued"], found["relabel_files"], found["findings"]["TC105"]) == (True, 1, {"queued": {"part": 1}})

    def test_a_check_tells_the_images_that_no_row_of_its_table_counts(self, home: Path, part: Path) -> None:
        assert run("check", part).stdout.startswith("line7 · 4 images · 2 annotations · ")
        for number in range(2):
            put(home, f"line7/part/unsaid{number}.png", photograph(30 + number))
            (part / f"part/unsaid{number}.json").unlink(missing_ok=True)
        assert run("check", part).stdout.startswith("line7 · 6 images, 2 of them left out (TC201) · 2 annotations · ")

    def test_a_report_and_the_tables_count_the_same_images(self, doubtful: Path) -> None:
        run("convert", doubtful, "out", *SMALL, "--no-report")
        told = re.search(
            r"^([\d,]+) images and ([\d,]+) tiles? that no split uses, 1 case of which 1 wait", run("report", "out").stdout, re.M
        )
        assert told is not None
        rows = [json.loads(line) for line in Path("out/samples.jsonl").read_text(encoding="utf-8").splitlines()]
        used = [row for row in rows if row["split"] is not None]
        assert (int(told[1]), int(told[2])) == (len(used), len(rows) - len(used))
        assert f" · {told[1]} images · " in run("stats", "out").stdout.splitlines()[0]

    def test_a_mistake_leaves_standard_output_empty(self, home: Path) -> None:
        code, out, err = finished("convert", "nowhere", "out", "--json")
        assert (code, out) == (USAGE, "")
        assert err == "threecad: nowhere: does not exist; expected a folder of images and JSON\n"

    def test_any_terminal_encoding_can_carry_it(self, home: Path) -> None:
        """Names and arrows that a code page does not know stand as escapes; the JSON is ASCII and loses nothing."""
        put(home, "线/良/a.png", photograph(1), [square("划痕", 30, 30, 20)])
        environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
        code, out, _ = finished("check", "线", "--json", env=environment)
        assert (code, list(json.loads(out)["categories"])) == (DONE, ["良"])
        for words in (["check", "线"], ["convert", "线", "出"], ["convert", "没有", "出"]):
            code, out, err = finished(*words, env=environment)
            assert (code, "Traceback" in err) == (USAGE if "没有" in words else DONE, False)
        assert re.match(r"threecad: (没有|\\u6ca1\\u6709): does not exist", err)

    @pytest.mark.parametrize("words", ["stats parts --json", "audit parts --json", "schema statistics"])
    def test_json_in_an_old_code_page_is_still_json(self, home: Path, words: str) -> None:
        put(home, "parts/é/train/good/a.png", photograph(1))
        put(home, "parts/é/test/good/b.png", photograph(2))
        put(home, "parts/é/test/划痕/c.png", photograph(3))
        code, out, _ = finished(*words.split(), env=os.environ | {"PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"})
        assert (code, out.isascii(), type(json.loads(out))) == (DONE, True, dict)


MISTAKES = [
    ("convert nowhere out", r"nowhere: does not exist; expected a folder of images and JSON"),
    ("check nowhere", r"nowhere: does not exist; expected a folder of images and JSON"),
    ("convert file out", r"file: is no folder; expected a folder of images and JSON"),
    ("check file", r"file: is no folder; expected a folder of images and JSON"),
    ("convert line7 file", r"file is a file; expected a folder to write the data set into"),
    ("check line7 --out file", r"file is a file; expected a folder to write into"),
    ("check line7 --write-fixed file", r"file is a file; expected a folder to write into"),
    ("convert empty out", r"empty: expected images and labelme annotations, found none; is it the right folder\?"),
    ("convert empty out --dry-run", r"empty: expected images and labelme annotations, found none; is it the right folder\?"),
    ("check empty", r"empty: expected images and labelme annotations, found none; is it the right folder\?"),
    ("convert line7 foreign", r"foreign/ holds files that threecad did not write; choose another folder or pass --overwrite"),
    ("check line7 --out foreign", r"foreign/ holds files that threecad did not write; choose another folder"),
    ("check line7 --write-fixed foreign", r"foreign/ holds files that threecad did not write; choose another folder"),
    ("check line7 --out x --write-fixed x/y", r"x/y: expected a folder apart from that of the findings, x"),
    ("check line7 --out .", r"\. contains the raw folder; choose a folder beside it"),
    ("check line7 --write-fixed line7", r"line7 contains the raw folder; choose a folder beside it"),
    ("convert line7 .", r"\. contains the raw folder line7; choose an output folder beside it"),
    ("convert line7 other", r"other/ was made from 'line8', not 'line7'; choose another folder or pass --overwrite"),
    ("convert line7 out --pipeline none.toml", r"none\.toml: cannot be read \(No such file or directory\); expected a .* TOML"),
    ("convert line7 out --pipeline 4cad", r"no pipeline named '4cad'; there are 3cad, smoke, or pass a TOML file"),
    ("convert line7 out --pipeline bad.toml", r"bad\.toml: is not TOML: .*line 1, column \d+.*"),
    ("convert line7 out --pipeline binary.toml", r"binary\.toml: is not UTF-8 text; expected a pipeline file in TOML"),
    (
        "convert line7 out --pipeline unknown.toml",
        r"unknown\.toml: tiling\.overlap is not a setting; did you mean overlap_ratio\?",
    ),
    ("convert line7 out --pipeline section.toml", r"section\.toml: tilling is not a setting; did you mean tiling\?"),
    ("check line7 --pipeline value.toml", r"value\.toml: tiling\.slice_size: input should be .*, found 'big'"),
    ("convert line7 out --overlap-ratio 1.0", r"command line: tiling\.overlap_ratio: input should be less than 1, found 1\.0"),
    ("convert line7 out --overlap-ratio nan", r"command line: tiling\.overlap_ratio: .*, found nan"),
    ("convert line7 out --slice-size 4", r"command line: tiling\.slice_size: input should be greater .* 8, found 4"),
    ("convert line7 out --min-area-ratio -1", r"command line: tiling\.min_area_ratio: input should be .* 0, found -1\.0"),
    ("convert line7 out --images photos", r"images = 'photos': expected a folder inside line7, found none that is visible there"),
    (
        "check line7 --annotations ../file",
        r"annotations = '\.\./file': expected a folder inside line7, found a path that leaves it",
    ),
    ("init nowhere/pipeline.toml", r"nowhere/pipeline\.toml: cannot be written \(No such file or directory\)"),
]


class TestMistakes:
    """One sentence on standard error that names the file, what was found and what was expected; exit code 2; nothing written."""

    @pytest.fixture(autouse=True)
    def surroundings(self, part: Path, home: Path) -> None:
        (home / "file").write_text("not a folder")
        (home / "empty/photos").mkdir(parents=True)
        (home / "empty/package.json").write_text('{"name": "not labelme"}')
        (home / "foreign").mkdir()
        (home / "foreign/thesis.doc").write_text("dear")
        put(home, "line8/part/a.png", photograph(1), [square("dent", 30, 30, 20)])
        run("convert", "line8", "other", *SMALL)
        (home / "bad.toml").write_text("[tiling\n")
        (home / "binary.toml").write_bytes(b"\xff\xfe\x00")
        (home / "unknown.toml").write_text("[tiling]\noverlap = 0.3\n")
        (home / "section.toml").write_text("[tilling]\n")
        (home / "value.toml").write_text('[tiling]\nslice_size = "big"\n')

    @pytest.mark.parametrize(("words", "sentence"), MISTAKES, ids=[words for words, _ in MISTAKES])
    def test_one_sentence_and_exit_code_2(self, home: Path, words: str, sentence: str) -> None:
        before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
        result = run(*words.split())
        assert (result.exit_code, result.stdout) == (USAGE, "")
        assert re.fullmatch(f"threecad: {sentence}\n", result.stderr), result.stderr
        after = {path: path.read_bytes() for path in home.rglob("*") if path.is_file() and ".threecad" not in path.parts}
        assert after.items() <= before.items()

    @pytest.mark.parametrize(
        ("words", "phrase"),
        [
            ("convert line7", "Missing argument 'OUT'"),
            ("convert line7 out --slice-size big", "'big' is not a valid integer"),
            ("convert line7 out --edge round", "'round' is not one of 'shift', 'remainder', 'pad', 'balanced'"),
            ("convert line7 out --slize-size 64", "No such option"),
            ("convert line7 out --overwrite --resume", "--overwrite starts afresh and --resume goes on: choose one"),
            ("confert line7 out", "No such command 'confert'"),
        ],
    )
    def test_wrong_usage_ends_in_what_is_wrong_with_it(self, words: str, phrase: str) -> None:
        result = run(*words.split())
        assert (result.exit_code, result.stdout) == (USAGE, "")
        assert phrase in result.stderr.splitlines()[-1]

    def test_a_mistake_does_not_bind_the_output_folder(self) -> None:
        assert run("convert", "empty", "fresh").exit_code == USAGE
        assert run("convert", "line7", "fresh", *SMALL).exit_code == DONE

    def test_a_data_set_is_not_emptied_because_its_raw_folder_is(self, part: Path, home: Path) -> None:
        """A share that is not mounted is an empty folder."""
        run("convert", part, "out", *SMALL)
        before = contents(Path("out"))
        part.rename(home / "elsewhere")
        part.mkdir()
        assert run("convert", part, "out", *SMALL).exit_code == USAGE
        assert contents(Path("out")) == before

    def test_a_busy_output_is_a_failure_and_no_mistake(self, part: Path) -> None:
        with hold(Path("out"), part.name, overwrite=False):
            code, out, err = finished("convert", part, "out", *SMALL)
        assert (code, out) == (FAILED, "")
        assert err == "threecad: out/ is being written by another run; wait for it, or choose another folder\n"

    def test_a_place_that_cannot_be_written_is_a_failure(self, part: Path) -> None:
        result = run("convert", part, "file/out", *SMALL)
        assert (result.exit_code, result.stdout) == (FAILED, "")
        assert re.fullmatch(r"threecad: file/out.*: cannot be written \(Not a directory\).*\n", result.stderr)
        result = run("check", part, "--out", "file/out")
        assert (result.exit_code, result.stdout) == (FAILED, "")
        assert re.fullmatch(r"threecad: file/out.*: cannot be written \(Not a directory\)\n", result.stderr)


class TestCtrlC:
    @pytest.fixture
    def large(self, home: Path) -> Path:
        """Sixty photographs that take seconds; one file under many names, so that they are made at once."""
        first = home / "line7/part/good/g00.bmp"
        first.parent.mkdir(parents=True)
        Image.fromarray(np.random.default_rng(1).integers(0, 256, (1200, 1600), np.uint8)).save(first)
        for number in range(1, 60):
            os.link(first, first.with_name(f"g{number:02d}.bmp"))
        put(home, "line7/part/d.png", photograph(5), [square("dent", 30, 30, 20), BOW_TIE])
        return home / "line7"

    def interrupted(self, *words: object, when: Any) -> tuple[int, str, str, float]:
        process = command(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        began = time.monotonic()
        while not when():
            assert process.poll() is None, "it was over before it was interrupted"
            assert time.monotonic() - began < 60
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        sent = time.monotonic()
        out, err = process.communicate(timeout=60)
        return process.returncode, out.decode(), err.decode(), time.monotonic() - sent

    def test_a_conversion_stops_at_once_and_the_next_run_completes_it(self, large: Path) -> None:
        journal = Path("out/.threecad/journal.jsonl")
        code, out, err, seconds = self.interrupted(
            "convert", large, "out", when=lambda: journal.exists() and journal.read_bytes().count(b"\n") >= 3
        )
        assert (code, out) == (130, "")
        assert err == "\nthreecad: interrupted; what is finished is kept, the same command goes on from there.\n"
        assert seconds < 10, "well under 2 on a quiet machine"
        kept = journal.read_bytes().count(b"\n")
        assert kept < 50
        result = run("convert", large, "out")
        assert result.exit_code == QUEUE
        assert re.match(rf"{61 - kept} sources converted, {kept} unchanged in ", result.stdout)
        run("convert", large, "straight")
        assert contents(Path("out")) == contents(Path("straight"))

    def test_a_check_stops_at_once_and_the_next_one_clears_what_it_left(self, large: Path) -> None:
        mark = Path("threecad-check/.threecad-check")
        code, out, _, seconds = self.interrupted("check", large, "--decode", "--workers", 1, when=mark.exists)
        assert (code, out) == (130, "")
        assert seconds < 10, "well under 2 on a quiet machine"
        (large / "part/d.json").write_text((large / "part/d.json").read_text().replace("60", "61"))
        assert run("check", large).exit_code == QUEUE
        assert sorted(path.name for path in Path("threecad-check").rglob("*") if path.is_file()) == [
            *(".threecad-check", "d.json", "findings.jsonl", "relabel.csv")
        ]


class TestProgress:
    def test_a_log_gets_a_plain_line_now_and_then(self, part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(summary, "EVERY_SECONDS", 0.0)
        for words, verb in ((("convert", part, "out", *SMALL), "converting"), (("check", part), "checking")):
            lines = run(*words).stderr.splitlines()
            mine = [line for line in lines if line.startswith(verb)]
            assert len(mine) == 4
            for number, line in enumerate(mine, 1):
                assert re.fullmatch(rf"{verb}: {number}/4 images, [\d.]+ (MP|images)/s, \d+:\d\d:\d\d left", line)
            assert all(line.startswith(("reporting: ", verb)) for line in lines)

    def test_a_log_stays_empty_when_there_is_little_to_wait_for(self, part: Path) -> None:
        assert run("convert", part, "out", *SMALL).stderr == ""

    def test_a_terminal_gets_a_bar_on_standard_error_and_a_table_that_fits_it(self, doubtful: Path) -> None:
        code, out, err = on_terminal("convert", doubtful, "out", *SMALL, columns=80)
        assert code == QUEUE
        assert re.search(r"converting .*5/5.* images .*MP/s.* left", err)
        assert err.count("\x1b[?25l") == err.count("\x1b[?25h") == 2  # the cursor comes back, from the report as well
        lines = plain(out).splitlines()
        assert max(len(line.rstrip()) for line in lines if not line.startswith(("Next", "Relabel", "Data set", "Report"))) <= 80
        assert [line for line in lines if "part " in line and line.split()[1] == "5"]

    def test_json_keeps_the_bar_off_the_terminal(self, part: Path) -> None:
        code, out, err = on_terminal("convert", part, "out", *SMALL, "--json", columns=80)
        assert (code, err) == (DONE, "")
        assert json.loads(out)["converted"] == 4


class TestTables:
    @pytest.mark.parametrize("columns", [40, 60, 80, 120])
    def test_no_number_and_no_letter_of_a_name_is_cut_off(self, home: Path, columns: int) -> None:
        name = "a_category_with_quite_a_long_name_0123456789"
        put(home, f"line7/{name}/good/a.png", photograph(1))
        put(home, f"line7/{name}/b.png", photograph(2), [BOW_TIE, square("dent", 100, 100, 20)])
        for words in (("convert", "line7", "out"), ("check", "line7")):
            _, out, _ = on_terminal(*words, columns=columns)
            assert "…" not in out
            assert name in "".join(line.split(" ")[0] for line in plain(out).splitlines())
            for word in ("category", "queued", "dropped", "repaired", "TC105", *(["clean"] if words[0] == "convert" else ())):
                assert word in plain(out)

    def test_a_pipe_gets_whole_lines(self, home: Path) -> None:
        name = "n" * 70
        put(home, f"line7/{name}/b.png", photograph(2), [BOW_TIE])
        text = run("convert", "line7", "out", "--slice-size", 256).stdout
        assert re.search(rf"^{name} +1 +0 +0 +0 +0 +1 +0 *$", text, re.M)
        assert re.search(r"^TC105 +1 +queued +self-crossing.*swapped\) *$", text, re.M)

    def test_one_is_singular(self, home: Path) -> None:
        put(home, "line7/part/a.png", photograph(1), [BOW_TIE])
        text = run("check", "line7").stdout
        assert "line7 · 1 image · 1 annotation · 1 category · labelme 5.5.0 (1)\n" in text
        assert "relabel.csv (1 entry)" in text
        assert "relabel/ (1 file)" in text
        assert run("convert", "line7", "out").stdout.startswith("1 source converted in ")

    def test_validation_has_its_column(self, home: Path) -> None:
        factory(home / "line7")
        Path("mine.toml").write_text("[split]\nvalidation = 0.4\n")
        text = run("convert", "line7", "out", *SMALL, "--pipeline", "mine.toml").stdout
        [header] = [line.split() for line in text.splitlines() if line.startswith("category") and "train" in line]
        assert header == ["category", "sources", "train", "valid.", "good", "defect", "ambiguous", "poisoned", "clean"]
        [row] = [line.split() for line in text.splitlines() if line.startswith("All ") and len(line.split()) == 9]
        tiles = Counter((row.split, row.state) for row in read_samples(Path("out/samples.jsonl")))
        assert int(row[3]) == sum(count for (split, _), count in tiles.items() if split == "validation") > 0
        assert sum(map(int, row[2:])) == sum(tiles.values())

    def test_the_sums_are_those_of_the_columns(self, home: Path) -> None:
        factory(home / "line7")
        text = run("convert", "line7", "out", *SMALL).stdout
        rows = [line.split() for line in text.splitlines() if line.startswith(("cover ", "frame ", "All "))]
        for cover, frame, total in (rows[:3], rows[3:6]):
            assert [int(a) + int(b) for a, b in zip(cover[1:], frame[1:], strict=True)] == list(map(int, total[1:]))

    def test_the_next_command_can_be_pasted(self, home: Path) -> None:
        put(home, "line 7/a.png", photograph(1), [BOW_TIE])
        text = run("convert", "line 7", "data set", "--category", "x").stdout
        assert text.splitlines()[-1].endswith("threecad check 'line 7' --pipeline 'data set/pipeline.toml'")
        assert run("check", "line 7").stdout.splitlines()[-1].endswith("threecad convert 'line 7' OUT")

    def test_a_data_set_without_an_image_says_so(self, home: Path) -> None:
        put(home, "line7/part/a.png", photograph(1))
        result = run("convert", "line7", "out")
        assert result.exit_code == DONE
        assert result.stdout.endswith("Data set: out\nReport: out/report.html\nIt holds no image: the findings say why.\n")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no such names")
class TestHostileNames:
    """A name must not be able to clear the screen, to move the cursor or to look like another line of ours."""

    NAME = "a\x1b[2J\x1b]0;gotcha\x07\x9b31m\nError: all lost\r\u202e"

    def test_neither_tables_nor_sentences_print_them_raw(self, home: Path) -> None:
        put(home, f"line7/{self.NAME}/b.png", photograph(2), [BOW_TIE], version=self.NAME)
        put(home, f"line7/{self.NAME}/c.png", photograph(2), [square(self.NAME, 10, 10, 30)])
        (home / f"line7/{self.NAME}/broken.png").write_bytes(b"")
        for words in (
            ("check", "line7", "--out", self.NAME),
            ("check", f"line7/{self.NAME}", "--out", self.NAME),
            ("convert", "line7", f"out{self.NAME}"),
            ("convert", "line7", f"out{self.NAME}"),
            ("convert", f"nowhere{self.NAME}", "out"),
            ("convert", "line7", "out2", "--pipeline", self.NAME),
            ("init", f"{self.NAME}.toml"),
        ):
            _, out, err = finished(*words)
            assert not re.search("[\x1b\x07\x9b\r\u202e]", out + err)
            assert "\nError" not in out + err
            assert r"\x1b[2J\x1b]0;gotcha\x07\x9b31m\nError: all lost\r\u202e" in out + err

    def test_nor_does_a_terminal_get_them(self, home: Path) -> None:
        put(home, f"line7/{self.NAME}/b.png", photograph(2), [BOW_TIE])
        _, out, err = on_terminal("convert", "line7", "out", columns=100)
        assert "\x1b[2J" not in out + err
        assert "\x07" not in out + err
        assert "\x9b" not in out + err


def test_a_reader_that_goes_away_is_no_traceback(part: Path) -> None:
    process = command("check", part, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()
    process.wait()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device on this system")
@pytest.mark.parametrize("more", [(), ("--json",)], ids=["table", "json"])
@pytest.mark.parametrize("words", [("convert", "line7", "out", *SMALL), ("check", "line7"), ("schema", "pipeline")], ids=" ".join)
def test_a_full_device_behind_standard_output_is_one_sentence(part: Path, words: tuple[str, ...], more: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        process = command(*words, *(more if words[0] != "schema" else ()), stdout=full, stderr=subprocess.PIPE)
        _, err = process.communicate(timeout=60)
    assert process.returncode == FAILED
    sentence = "threecad: standard output cannot be written (No space left on device); all else that was asked for is done\n"
    assert err.decode() == sentence
    assert words[0] != "convert" or len(threecad.Dataset("out")) > 0


def test_the_audit_tells_of_crowds_that_were_not_bound(part: Path) -> None:
    run("convert", part, "out", *SMALL)
    manifest = read_manifest(Path("out"))
    assert "splits." in summary._audit(manifest)
    for count, phrase in ((1, "1 crowd of look-alikes was"), (2, "2 crowds of look-alikes were")):
        found = manifest.model_copy(update={"findings": {Code.CROWD: {Action.KEPT: count}}})
        assert f"splits; {phrase} not bound (TC309): give split.group if they show the same part." in summary._audit(found)


def test_the_functions_of_the_commands_can_be_called_from_python(part: Path) -> None:
    assert threecad.convert(part, "out", config.override(config.Pipeline(), {"tiling.slice_size": 96})).converted == 4
    assert threecad.check(part).rows[0].shapes == 2
    assert not Path("threecad-check").exists()


def plain(text: str) -> str:
    """The text without what makes it bold."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def on_terminal(*words: object, columns: int) -> tuple[int, str, str]:
    """Exit code, and what a terminal of so many columns would get on its two streams, kept apart."""
    pty = pytest.importorskip("pty")
    fcntl, termios = pytest.importorskip("fcntl"), pytest.importorskip("termios")
    pairs = [pty.openpty() for _ in range(2)]
    for _, end in pairs:
        fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "NO_COLOR", "FORCE_COLOR")}
    process = command(*words, stdout=pairs[0][1], stderr=pairs[1][1], env=environment | {"TERM": "xterm"})
    for _, end in pairs:
        os.close(end)
    texts = [b"".join(chunks) for chunks in _read([ours for ours, _ in pairs])]
    return process.wait(), *(text.decode().replace("\r\n", "\n") for text in texts)  # type: ignore[return-value]


def _read(ends: list[int]) -> Iterator[list[bytes]]:
    chunks: dict[int, list[bytes]] = {end: [] for end in ends}
    waiting = list(ends)
    while waiting:
        for end in select.select(waiting, [], [])[0]:
            try:
                data = os.read(end, 65536)
            except OSError:  # how Linux tells that the other side is closed
                data = b""
            if data:
                chunks[end].append(data)
            else:
                waiting.remove(end)
    for end in ends:
        os.close(end)
        yield chunks[end]


class TestSchema:
    def test_without_a_name_it_lists_them_and_with_one_it_prints_it(self) -> None:
        names = run("schema").stdout.split()
        assert names == sorted(
            path.name.removesuffix(".schema.json") for path in (Path(__file__).parents[1] / "schemas").iterdir()
        )
        assert {"pipeline", "recipe", "labelme", "manifest", "sample"} <= set(names)
        for name in names:
            assert "$schema" in json.loads(run("schema", name).stdout)

    def test_an_unknown_name_is_a_mistake(self) -> None:
        result = run("schema", "sahi")
        assert result.exit_code == 2
        assert result.stderr == "threecad: no schema named 'sahi'; there are " + ", ".join(run("schema").stdout.split()) + "\n"


class TestUrls:
    """Commands that read a folder of this machine say so, and never show what a URL may hold."""

    @staticmethod
    def takers() -> list[tuple[str, ...]]:
        """Every command with a path among its arguments, and its arguments with a URL as the first path."""
        found = []
        for name, command in sorted(main.commands.items()):
            words, seen = [name], False
            for each in command.params:
                if isinstance(each, click.Argument) and isinstance(each.type, click.Path):
                    words.append("out" if seen else "s3://me:secret@store/out")
                    seen = True
                elif isinstance(each, click.Argument) and each.required:
                    words.append("x")
            if seen and name not in ("convert", "check", "init"):
                found.append(tuple(words))
        return found

    def test_none_is_forgotten(self) -> None:
        assert {words[0] for words in self.takers()} >= {
            "stats",
            "report",
            "audit",
            "card",
            "export",
            "score",
            "evaluate",
            "predict",
        }

    @pytest.mark.parametrize("words", takers(), ids=operator.itemgetter(0))
    def test_a_url_where_a_path_is_wanted(self, words: tuple[str, ...], home: Path) -> None:
        result = run(*words)
        assert result.exit_code == USAGE
        assert "found a URL (s3://…), expected a path of this machine" in result.stderr
        assert "secret" not in result.output + result.stderr
        assert not list(home.iterdir())

    def test_a_file_url_is_a_path(self, home: Path) -> None:
        assert f"{home}/nowhere: no such folder" in run("stats", f"file://{home}/nowhere").stderr

    def test_a_data_set_says_so_too(self) -> None:
        with pytest.raises(LayoutError, match=r"found a URL \(s3://…\)"):
            threecad.Dataset("s3://me:secret@store/out")
