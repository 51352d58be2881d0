"""Shards: what goes in comes out, read by the libraries they are written for; the same bytes always; never half of them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from click.testing import CliRunner
from filelock import FileLock
from photographs import contents, factory, photograph, put, square
from PIL import Image

from threecad import __version__
from threecad.cli import main
from threecad.domain import Split
from threecad.errors import BusyError, ConfigError, LayoutError, ReadError, ThreecadError
from threecad.formats.dataset import line, read_manifest, read_samples
from threecad.pipeline.config import Pipeline
from threecad.pipeline.convert import Progress, convert
from threecad.pipeline.shards import export, folder, key_of, parquet, planning, tar

ROLES = {"image": "png", "mask": "mask.png", "types": "types.png", "ignore": "ignore.png"}
# The library leaves its files to the collector.
UNCLOSED = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three splits of two categories, gray and colour, areas to ignore, and names with dots and of several scripts."""
    place = tmp_path_factory.mktemp("shards")
    raw = factory(place / "line7")
    (raw / "cover/doubtful.json").unlink()
    put(raw, "cover/a.b.c.png", photograph(300), [square("dent", 30, 30, 20), square("glare", 70, 60, 20)])
    put(raw, "cover/Gehäuse 07 (neu).png", photograph(301, colour=True), [square("dent", 100, 40, 20)])
    put(raw, "frame/划痕.png", photograph(302), [square("scratch", 60, 50, 30)])
    out = place / "data"
    tables = {"aliases": {"dent": "dent", "scratch": "scratch", "glare": "__ignore__"}}
    settings = {
        "tiling": {"slice_size": 96, "margin": 2},
        "split": {"train": 0.5, "validation": 0.3},
        "labels": tables,
        "card": {"license": "CC-BY-4.0", "name": "Covers: “line 7”"},
    }
    convert(raw, out, Pipeline.model_validate(settings))
    return out


@pytest.fixture(scope="module")
def rows(data: Path) -> dict[str, dict[str, Any]]:
    """Id → row of samples.jsonl of every tile that a split uses."""
    lines = map(json.loads, (data / "samples.jsonl").read_text(encoding="utf-8").splitlines())
    return {row["id"]: row for row in lines if row["split"] is not None}


@pytest.fixture(scope="module")
def tars(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tars") / "out"
    export(data, out, "webdataset", samples_per_shard=11, workers=2)
    return out


@pytest.fixture(scope="module")
def tables(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("pyarrow")
    out = tmp_path_factory.mktemp("tables") / "out"
    export(data, out, "parquet", samples_per_shard=11, workers=2)
    return out


@pytest.fixture
def datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Hugging Face's library, which asks nobody and keeps what it remembers here."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    library = pytest.importorskip("datasets")
    monkeypatch.setattr(library.config, "HF_DATASETS_CACHE", tmp_path / "hf/datasets")  # it may have been imported before
    library.disable_progress_bars()
    return library


def written(root: Path, samples: list[dict[str, Any]], files: dict[str, bytes]) -> Path:
    """A data set as a conversion would leave it, with rows of one's own."""
    root.mkdir()
    for path, held in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(held)
    lists = {
        "samples.jsonl": b"".join(map(line, samples)),
        "SHA256SUMS": b"".join(
            f"{hashlib.sha256(files.get(path, b'')).hexdigest()}  {path}\n".encode()
            for row in samples
            for role in ROLES
            if (path := row[role])
        ),
    }
    for name, text in lists.items():
        (root / name).write_bytes(text)
    kind = {"index": 1, "name": "dent", "folder": "dent"}
    part = {
        "folder": "part",
        "sources": 1,
        "good": 1,
        "defective": 0,
        "tiles": {"train": {"good": len(samples)}},
        "shapes": {},
        "findings": {},
        "types": [kind],
    }
    manifest = {
        "threecad": __version__,
        "raw": "line7",
        "pipeline": {},
        "categories": {"part": part},
        "findings": {},
        "digests": {name: hashlib.sha256(text).hexdigest() for name, text in lists.items()},
        "inputs": 1,
        "outputs": len(files),
    }
    (root / "manifest.json").write_text(json.dumps(manifest))
    return root


def row(id_: str, **more: object) -> dict[str, Any]:
    window = {"left": 0, "top": 0, "size": {"height": 4, "width": 4}}
    empty = {
        "labels": [],
        "areas": [],
        "defects": [],
        "mask": None,
        "types": None,
        "ignore": None,
        "digest": None,
        "clean": False,
    }
    used = {"id": id_, "source": "a.png", "category": "part", "window": window, "split": "train", "state": "good"}
    return used | empty | {"image": "part/train/good/a.png"} | more


def pixels(image: bytes | Path) -> np.ndarray:
    with Image.open(io.BytesIO(image) if isinstance(image, bytes) else image) as opened:
        return np.asarray(opened)


def shards(out: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((out / "index.json").read_text(encoding="utf-8"))["shards"]
    return found


def members(out: Path) -> Iterator[tuple[str, str, bytes]]:
    """Shard, name and bytes of all members, in their order."""
    for shard in shards(out):
        with tarfile.open(out / shard["path"]) as opened:
            for member in opened:
                file = opened.extractfile(member)
                assert file is not None
                yield shard["path"], member.name, file.read()


def ids(out: Path) -> list[str]:
    return [unquote(name.removesuffix(".json")) for _, name, _ in members(out) if name.endswith(".json")]


def stamps(out: Path) -> dict[str, tuple[int, int]]:
    """What changes when a file is written anew."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in out.rglob("*") if path.is_file()}


def threecad(*words: object, before: Any = None) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "threecad", "export", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=before, check=False, timeout=120)
    return done.returncode, done.stdout, done.stderr


class TestWebDataset:
    @UNCLOSED
    def test_the_library_reads_every_tile_of_a_split_with_its_pixels_and_its_row(
        self, data: Path, rows: dict[str, dict[str, Any]], tars: Path
    ) -> None:
        webdataset = pytest.importorskip("webdataset")
        for split, count in Counter(row["split"] for row in rows.values()).items():
            paths = [str(tars / shard["path"]) for shard in shards(tars) if shard["split"] == split]
            read = list(webdataset.WebDataset(paths, shardshuffle=False, empty_check=False))
            assert len(read) == count
            for sample in read:
                told = rows[unquote(sample["__key__"])]
                assert json.loads(sample["json"]) == told
                for role, suffix in ROLES.items():
                    assert (suffix in sample) == (told[role] is not None)
                    if told[role] is not None:
                        assert sample[suffix] == (data / told[role]).read_bytes()
                        assert np.array_equal(pixels(sample[suffix]), pixels(data / told[role]))
        assert {"train", "validation", "test"} == {row["split"] for row in rows.values()}
        assert sum(row["ignore"] is not None for row in rows.values()) > 0

    def test_good_tiles_have_no_masks_and_defective_ones_have(self, tars: Path) -> None:
        kinds: dict[str, set[str]] = {}
        states = {}
        for _, name, held in members(tars):
            key, _, suffix = name.partition(".")
            kinds.setdefault(key, set()).add(suffix)
            if suffix == "json":
                states[key] = json.loads(held)["state"]
        for key, found in kinds.items():
            assert {"mask.png", "types.png"} <= found if states[key] == "defect" else not {"mask.png", "types.png"} & found

    def test_members_of_a_sample_are_neighbours_and_no_key_comes_twice(self, rows: dict[str, dict[str, Any]], tars: Path) -> None:
        keys = [name.partition(".")[0] for _, name, _ in members(tars)]
        runs = [key for place, key in enumerate(keys) if place == 0 or keys[place - 1] != key]
        assert len(runs) == len(set(runs)) == len(rows)
        assert not [name for _, name, _ in members(tars) if "/" in name]

    def test_headers_tell_neither_time_nor_owner(self, tars: Path) -> None:
        for shard in shards(tars):
            with tarfile.open(tars / shard["path"]) as opened:
                for member in opened:
                    facts = (member.mtime, member.uid, member.gid, member.uname, member.gname, member.mode, member.pax_headers)
                    assert facts == (0, 0, 0, "", "", 0o644, {})
            assert (tars / shard["path"]).read_bytes()[257:265] == b"ustar\x0000"

    @pytest.mark.parametrize(
        "id_", ["a.b.c", "../../etc/passwd", "划痕 1.png", "a%2Eb", "é\u0301", ".", "__x__", "a\nb", "{0..9}"]
    )
    def test_any_id_becomes_a_key_that_cannot_be_split_and_comes_back(self, id_: str) -> None:
        assert re.fullmatch(r"[A-Za-z0-9_~%-]+", key_of(id_))
        assert unquote(key_of(id_)) == id_

    @UNCLOSED
    def test_ids_with_dots_slashes_and_other_scripts_survive_the_library(self, tmp_path: Path) -> None:
        webdataset = pytest.importorskip("webdataset")
        names = ["a.b.c", "x/y", "划痕", "long" * 40]
        root = written(tmp_path / "data", [row(name) for name in names], {"part/train/good/a.png": b"pixels"})
        export(root, tmp_path / "out", "webdataset")
        read = webdataset.WebDataset(str(tmp_path / "out/train-000000.tar"), shardshuffle=False, empty_check=False)
        assert [unquote(sample["__key__"]) for sample in read] == names

    def test_a_shard_is_as_large_as_it_was_planned_to_be(self, data: Path, tmp_path: Path) -> None:
        done = export(data, tmp_path / "out", "webdataset", shard_size=0.1)
        assert len(done.shards) > 5
        for shard in done.shards:
            ends = 1024
            assert shard.bytes <= 100_000 + ends or shard.samples == 1
        full: Counter[str] = Counter()
        for path, _, held in members(tmp_path / "out"):
            full[path] += 512 + len(held) + -len(held) % 512
        assert full == {shard.path: shard.bytes - 1024 for shard in done.shards}

    def test_a_sample_larger_than_a_shard_has_one_to_itself(self, tmp_path: Path) -> None:
        samples = [row("small"), row("large", image="part/train/good/b.png"), row("small2")]
        files = {"part/train/good/a.png": b"x", "part/train/good/b.png": bytes(50_000)}
        done = export(written(tmp_path / "data", samples, files), tmp_path / "out", "webdataset", shard_size=0.01)
        assert [shard.samples for shard in done.shards] == [1, 1, 1]


class TestOrder:
    def test_the_data_set_has_an_order_and_shards_keep_it(self, data: Path, tars: Path) -> None:
        told = [sample for sample in read_samples(data / "samples.jsonl") if sample.split is not None]
        by_split = sorted(told, key=lambda sample: ["train", "validation", "test"].index(sample.split or ""))
        assert ids(tars) == [sample.id for sample in by_split]

    def test_a_shuffle_is_a_matter_of_seed_and_id_alone(self, data: Path, tars: Path, tmp_path: Path) -> None:
        first, second = (tmp_path / name for name in ("first", "second"))
        export(data, first, "webdataset", seed=0)
        export(data, second, "webdataset", seed=1)
        assert sorted(ids(first)) == sorted(ids(second)) == sorted(ids(tars))
        assert len({tuple(ids(out)) for out in (first, second, tars)}) == 3
        export(data, tmp_path / "part", "webdataset", seed=0, category="cover", split="train")
        some = ids(tmp_path / "part")
        assert some == [id_ for id_ in ids(first) if id_ in set(some)]

    @pytest.mark.parametrize("to", ["webdataset", "parquet"])
    @pytest.mark.parametrize("seed", [None, 5])
    def test_the_same_request_gives_the_same_bytes_from_any_number_of_workers(
        self, data: Path, tmp_path: Path, to: Any, seed: int | None
    ) -> None:
        if to == "parquet":
            pytest.importorskip("pyarrow")
        for name, workers in (("one", 1), ("five", 5)):
            export(data, tmp_path / name, to, samples_per_shard=7, seed=seed, workers=workers)
        assert contents(tmp_path / "one") == contents(tmp_path / "five")
        assert not list(tmp_path.glob("*/.threecad-export"))

    def test_splits_and_categories_can_be_chosen(self, data: Path, rows: dict[str, dict[str, Any]], tmp_path: Path) -> None:
        export(data, tmp_path / "out", "webdataset", split=["test", "train"], category=["frame"])
        wanted = {id_ for id_, row in rows.items() if row["split"] in ("test", "train") and row["category"] == "frame"}
        assert set(ids(tmp_path / "out")) == wanted
        assert {path.name for path in (tmp_path / "out").iterdir()} == {"train-000000.tar", "test-000000.tar", "index.json"}


class TestIndex:
    @pytest.mark.parametrize("to", ["webdataset", "parquet"])
    def test_it_lists_every_shard_with_samples_bytes_and_digest(self, data: Path, tmp_path: Path, to: Any) -> None:
        if to == "parquet":
            pytest.importorskip("pyarrow")
        done = export(data, tmp_path / "out", to, samples_per_shard=20)
        index = json.loads(done.index.read_text(encoding="utf-8"))
        assert [shard["path"] for shard in index["shards"]] == [shard.path for shard in done.shards]
        for shard in index["shards"]:
            held = (tmp_path / "out" / shard["path"]).read_bytes()
            assert (shard["bytes"], shard["sha256"]) == (len(held), hashlib.sha256(held).hexdigest())
        tiles = read_manifest(data).categories.values()
        assert index["samples"] == {
            split: sum(sum(part.tiles.get(split, {}).values()) for part in tiles) for split in ("train", "validation", "test")
        }
        assert index["categories"]["frame"]["types"] == {"1": "dent", "2": "scratch"}

    def test_nothing_in_it_tells_the_time_or_the_place(self, tars: Path, data: Path) -> None:
        text = (tars / "index.json").read_text(encoding="utf-8")
        assert str(data.parent) not in text
        assert str(tars.parent) not in text


class TestParquet:
    def test_the_library_loads_the_folder_with_decoded_images(
        self, datasets: Any, data: Path, rows: dict[str, dict[str, Any]], tables: Path
    ) -> None:
        loaded = datasets.load_dataset(str(tables))
        assert {split: len(part) for split, part in loaded.items()} == Counter(row["split"] for row in rows.values())
        seen = set()
        for split, part in loaded.items():
            for found in part:
                told = rows[found["id"]]
                seen.add(found["id"])
                for role in ROLES:
                    assert (found[role] is None) == (told[role] is None)
                    if told[role] is not None:
                        assert isinstance(found[role], Image.Image)
                        assert np.array_equal(np.asarray(found[role]), pixels(data / told[role]))
                window = told["window"]
                assert found["window"] == {"left": window["left"], "top": window["top"], **window["size"]}
                same = ("source", "category", "split", "state", "labels", "areas", "defects", "clean", "digest")
                assert {name: found[name] for name in same} == {name: told[name] for name in same}
                assert found["split"] == split
        assert seen == set(rows)

    def test_files_alone_are_enough_for_the_library_to_know_what_is_an_image(self, datasets: Any, tables: Path) -> None:
        files = str(tables / "data/test-*.parquet")
        streamed = datasets.load_dataset("parquet", data_files=files, split="train", streaming=True)
        assert isinstance(next(iter(streamed))["image"], Image.Image)
        assert isinstance(streamed.features["mask"], datasets.Image)

    def test_files_are_copied_and_row_groups_are_bounded(
        self, data: Path, rows: dict[str, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        arrow = pytest.importorskip("pyarrow.parquet")
        monkeypatch.setattr(parquet, "_GROUP_ROWS", 5)
        monkeypatch.setattr(parquet, "_GROUP_BYTES", 30_000)
        export(data, tmp_path / "out", "parquet", split="test")
        (path,) = (tmp_path / "out/data").iterdir()
        opened = arrow.ParquetFile(path)
        groups = [opened.metadata.row_group(number) for number in range(opened.num_row_groups)]
        assert max(group.num_rows for group in groups) <= 5
        assert min(group.num_rows for group in groups) < 5
        columns = {groups[0].column(place).path_in_schema: groups[0].column(place) for place in range(groups[0].num_columns)}
        assert columns["image.bytes"].compression == "UNCOMPRESSED"
        assert columns["image.bytes"].statistics is None
        assert "RLE_DICTIONARY" in columns["labels.list.element"].encodings
        assert set(parquet._leaves()) == set(columns)
        for found in opened.read(["id", "image"]).to_pylist():
            assert found["image"]["path"] == rows[found["id"]]["image"]
            assert found["image"]["bytes"] == (data / found["image"]["path"]).read_bytes()

    def test_the_card_names_splits_licence_and_types_in_a_header_that_is_yaml(self, tables: Path) -> None:
        yaml = pytest.importorskip("yaml")
        _, header, text = (tables / "README.md").read_text(encoding="utf-8").split("---\n", 2)
        told = yaml.safe_load(header)
        assert told["pretty_name"] == "Covers: “line 7”"
        assert told["license"] == "cc-by-4.0"
        assert [each["split"] for each in told["configs"][0]["data_files"]] == ["train", "validation", "test"]
        assert '"1": "dent"' in text

    def test_without_pyarrow_one_sentence_names_what_to_install(
        self, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        parquet.pyarrow.cache_clear()
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(ConfigError, match=r"pip install 'threecad\[parquet\]'"):
            export(data, tmp_path / "out", "parquet")
        assert not (tmp_path / "out").exists()


DIES = """
import os, sys
from threecad.pipeline.shards import export, folder
count = 0
def dying(function):
    def wrapper(*arguments):
        global count
        count += 1
        if count == int(sys.argv[4]):
            os._exit(86)
        return function(*arguments)
    return wrapper
for name in ("write", "finish"):
    setattr(folder.Sink, name, dying(getattr(folder.Sink, name)))
folder.Folder.finish = dying(folder.Folder.finish)
export(sys.argv[1], sys.argv[2], sys.argv[3], samples_per_shard=11, workers=2)
"""


class TestInterruption:
    def dying_at(self, step: int, data: Path, out: Path, to: str) -> int:
        return subprocess.run([sys.executable, "-c", DIES, data, out, to, str(step)], check=False).returncode

    @pytest.mark.parametrize("step", [1, 150, 400])
    def test_death_leaves_whole_shards_and_no_index_and_the_next_run_ends_at_the_same_bytes(
        self, data: Path, tars: Path, tmp_path: Path, step: int
    ) -> None:
        out, whole = tmp_path / "out", contents(tars)
        assert self.dying_at(step, data, out, "webdataset") == 86
        left = {name: held for name, held in contents(out).items() if not name.startswith(".threecad-export/")}
        assert "index.json" not in left
        assert all(held == whole[name] for name, held in left.items())
        kept = {name: stamp for name, stamp in stamps(out).items() if name in left}
        done = export(data, out, "webdataset", samples_per_shard=11)
        assert contents(out) == whole
        assert len(done.shards) - 2 <= done.written + len(left) <= len(done.shards) + 2
        assert sum(stamps(out)[name] == stamp for name, stamp in kept.items()) >= len(kept) - 2
        assert not (out / ".threecad-export").exists()

    def test_death_of_parquet_is_no_other(self, data: Path, tables: Path, tmp_path: Path) -> None:
        assert self.dying_at(60, data, tmp_path / "out", "parquet") == 86
        export(data, tmp_path / "out", "parquet", samples_per_shard=11)
        assert contents(tmp_path / "out") == contents(tables)

    def test_ctrl_c_keeps_what_is_finished(self, data: Path, tars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def pressed(step: Progress) -> None:
            if step.done > 20:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            export(data, tmp_path / "out", "webdataset", samples_per_shard=11, workers=1, progress=pressed)
        assert not (tmp_path / "out/index.json").exists()
        done = export(data, tmp_path / "out", "webdataset", samples_per_shard=11)
        assert 0 < done.written < len(done.shards)
        assert contents(tmp_path / "out") == contents(tars)

    def test_a_second_run_does_nothing_and_says_so(self, data: Path, tars: Path) -> None:
        before = stamps(tars)
        steps: list[Progress] = []
        done = export(data, tars, "webdataset", samples_per_shard=11, progress=steps.append)
        assert done.written == 0
        assert stamps(tars) == before
        assert (steps[-1].done, steps[-1].total) == (done.samples, done.samples)

    def test_planning_tells_how_far_it_is(self, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(planning, "_TELL_EVERY", 1)
        steps: list[Progress] = []
        done = export(data, tmp_path / "out", "webdataset", progress=steps.append)
        planned = [step for step in steps if step.doing == "planning"]
        assert [step.done for step in planned] == list(range(1, planned[0].total + 1))
        assert planned == steps[: len(planned)]
        assert planned[0].total >= done.samples
        assert (steps[-1].doing, steps[-1].done) == ("", done.samples)

    def test_a_damaged_shard_alone_is_written_again(self, data: Path, tars: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        export(data, out, "webdataset", samples_per_shard=11)
        before = stamps(out)
        damaged = out / "train-000001.tar"
        damaged.write_bytes(damaged.read_bytes().replace(b"ustar", b"rusta", 1))
        (out / "test-000000.tar").unlink()
        assert export(data, out, "webdataset", samples_per_shard=11).written == 2
        assert contents(out) == contents(tars)
        assert stamps(out)["train-000000.tar"] == before["train-000000.tar"]

    def test_a_torn_journal_costs_what_it_forgot(self, data: Path, tars: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        assert self.dying_at(400, data, out, "webdataset") == 86
        journal = out / ".threecad-export/journal.jsonl"
        journal.write_bytes(journal.read_bytes()[:-20])
        assert export(data, out, "webdataset", samples_per_shard=11).written > 0
        assert contents(out) == contents(tars)


class TestFolder:
    def test_a_folder_of_other_files_is_refused_and_with_overwrite_they_stay(
        self, data: Path, tars: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        out.mkdir()
        (out / "thesis.tex").write_text("x")
        with pytest.raises(LayoutError, match=r"did not write \(thesis.tex\).*--overwrite"):
            export(data, out, "webdataset", samples_per_shard=11)
        assert [path.name for path in out.iterdir()] == ["thesis.tex"]
        export(data, out, "webdataset", samples_per_shard=11, overwrite=True)
        assert contents(out) == contents(tars) | {"thesis.tex": b"x"}

    def test_another_export_is_refused_and_with_overwrite_replaced_wholly(self, data: Path, tars: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        export(data, out, "webdataset", samples_per_shard=2, seed=3)
        with pytest.raises(LayoutError, match=r"an export with other samples a shard and seed;"):
            export(data, out, "webdataset", samples_per_shard=11)
        export(data, out, "webdataset", samples_per_shard=11, overwrite=True)
        assert contents(out) == contents(tars)

    def test_one_format_replaces_the_other(self, data: Path, tars: Path, tables: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        export(data, out, "parquet")
        export(data, out, "webdataset", samples_per_shard=11, overwrite=True)
        assert contents(out) == contents(tars)
        assert not (out / "data").exists()

    @pytest.mark.parametrize("name", ["train-000099.tar", "index.json", "data/test-00000-of-00001.parquet"])
    def test_a_strangers_file_that_readers_would_take_for_a_shard_is_neither_kept_nor_deleted(
        self, data: Path, tmp_path: Path, name: str
    ) -> None:
        stranger = tmp_path / "out" / name
        stranger.parent.mkdir(parents=True)
        stranger.write_text("mine")
        with pytest.raises(LayoutError, match="move it away"):
            export(data, tmp_path / "out", "webdataset", overwrite=True)
        assert contents(tmp_path / "out") == {name: b"mine"}

    def test_a_strangers_card_is_not_replaced(self, data: Path, tmp_path: Path) -> None:
        pytest.importorskip("pyarrow")
        (tmp_path / "README.md").write_text("mine")
        with pytest.raises(LayoutError, match=r"README.md: not of this export"):
            export(data, tmp_path, "parquet", overwrite=True)

    def test_an_index_that_names_other_peoples_files_deletes_none(self, data: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        out.mkdir()
        (tmp_path / "precious").write_text("x")
        (out / "precious").write_text("x")
        note = {"format": 1, "made_from": {}, "names": ["../precious", "precious", "/etc/x"], "shards": []}
        (out / "index.json").write_text(json.dumps(note))
        export(data, out, "webdataset", overwrite=True)
        assert (tmp_path / "precious").exists()
        assert (out / "precious").exists()

    def test_two_runs_at_once_are_one_too_many(self, data: Path, tmp_path: Path) -> None:
        (tmp_path / "out/.threecad-export").mkdir(parents=True)
        with FileLock(tmp_path / "out/.threecad-export/lock"), pytest.raises(BusyError, match="another run"):
            export(data, tmp_path / "out", "webdataset")

    @pytest.mark.parametrize("out", ["data", "data/shards", "."])
    def test_data_set_and_shards_do_not_lie_in_each_other(self, data: Path, out: str) -> None:
        with pytest.raises(ConfigError, match="lie in each other"):
            export(data, data.parent / out, "webdataset")

    def test_a_file_in_its_place(self, data: Path, tmp_path: Path) -> None:
        (tmp_path / "out").write_text("x")
        with pytest.raises(LayoutError, match="is a file"):
            export(data, tmp_path / "out", "webdataset")


class TestMistakes:
    def test_what_is_no_data_set(self, tmp_path: Path) -> None:
        with pytest.raises(LayoutError, match="no such folder"):
            export(tmp_path / "nowhere", tmp_path / "out", "webdataset")
        (tmp_path / "photos").mkdir()
        (tmp_path / "photos/a.png").write_text("x")
        with pytest.raises(LayoutError, match=r"found a.png; expected manifest.json and samples.jsonl"):
            export(tmp_path / "photos", tmp_path / "out", "webdataset")
        assert not (tmp_path / "out").exists()

    def test_what_is_not_there(self, data: Path, tmp_path: Path) -> None:
        with pytest.raises(LayoutError, match="no category 'lid'; found cover, frame"):
            export(data, tmp_path / "out", "webdataset", category="lid")
        with pytest.raises(ConfigError, match="found split 'val'; expected train, validation, test"):
            export(data, tmp_path / "out", "webdataset", split="val")
        root = written(tmp_path / "data", [row("a")], {"part/train/good/a.png": b"x"})
        with pytest.raises(LayoutError, match="no image of split test; found train"):
            export(root, tmp_path / "out", "webdataset", split="test")

    @pytest.mark.parametrize(
        "options", [{"shard_size": 0}, {"shard_size": float("nan")}, {"samples_per_shard": 0}, {"to": "zip"}]
    )
    def test_what_makes_no_sense(self, data: Path, tmp_path: Path, options: dict[str, Any]) -> None:
        with pytest.raises(ConfigError, match="expected"):
            export(data, tmp_path / "out", **{"to": "webdataset"} | options)

    def test_a_missing_tile_ends_the_export_before_it_begins(self, tmp_path: Path) -> None:
        samples = [row(name, image=f"part/train/good/{name}.png") for name in "abc"]
        root = written(tmp_path / "data", samples, {"part/train/good/b.png": b"x"})
        with pytest.raises(ReadError, match=r"good/a.png: named by samples.jsonl, but not there \(and 1 more\)"):
            export(root, tmp_path / "out", "webdataset")
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("role", ["image", "mask"])
    @pytest.mark.parametrize("to", ["webdataset", "parquet"])
    def test_a_tile_that_was_changed_is_not_exported(self, tmp_path: Path, role: str, to: Any) -> None:
        if to == "parquet":
            pytest.importorskip("pyarrow")
        files = {"part/train/good/a.png": b"image", "m.png": b"mask"}
        root = written(tmp_path / "data", [row("a", mask="m.png")], files)
        path = {"image": "part/train/good/a.png", "mask": "m.png"}[role]
        (root / path).write_bytes(b"other")
        with pytest.raises(ReadError, match=rf"{path}: changed since threecad convert wrote it \(its SHA-256 is another\)"):
            export(root, tmp_path / "out", to)
        assert not [name for name in contents(tmp_path / "out") if not name.startswith(".threecad-export/")]
        (root / path).write_bytes(files[path])
        assert export(root, tmp_path / "out", to).samples == 1

    @pytest.mark.parametrize("name", ["samples.jsonl", "SHA256SUMS"])
    def test_a_list_that_was_changed(self, tmp_path: Path, name: str) -> None:
        root = written(tmp_path / "data", [row("a"), row("b")], {"part/train/good/a.png": b"x"})
        (root / name).write_bytes(
            (root / name).read_bytes() + b"\n" * (name == "SHA256SUMS") + line(row("c")) * (name != "SHA256SUMS")
        )
        with pytest.raises(ReadError, match=r"SHA256SUMS: (changed since|does not name)"):
            export(root, tmp_path / "out", "webdataset")

    def test_a_row_that_is_none(self, tmp_path: Path) -> None:
        root = written(tmp_path / "data", [row("a"), {"id": "b"} | dict.fromkeys(ROLES)], {"part/train/good/a.png": b"x"})
        with pytest.raises(ReadError, match=r"samples.jsonl, byte \d+: category: Field required"):
            export(root, tmp_path / "out", "webdataset")

    @pytest.mark.parametrize("path", ["../secret.png", "/etc/passwd", "a/../../secret.png", "link.png", "out/secret.png"])
    def test_a_path_that_leads_out_is_not_followed(self, tmp_path: Path, path: str) -> None:
        (tmp_path / "secret.png").write_text("x")
        root = written(tmp_path / "data", [row("a", image=path)], {})
        (root / "link.png").symlink_to(tmp_path / "secret.png")
        (root / "out").symlink_to(tmp_path)
        with pytest.raises(ReadError, match="leads out of the data set"):
            export(root, tmp_path / "shards", "webdataset")

    def test_a_device_is_not_read(self, tmp_path: Path) -> None:
        root = written(tmp_path / "data", [row("a", image="pipe.png")], {})
        os.mkfifo(root / "pipe.png")
        with pytest.raises(ReadError, match="expected a file"):
            export(root, tmp_path / "shards", "webdataset")

    def test_one_id_twice_would_be_one_sample_to_readers(self, tmp_path: Path) -> None:
        root = written(tmp_path / "data", [row("a"), row("b"), row("a")], {"part/train/good/a.png": b"x"})
        with pytest.raises(ReadError, match="found two samples 'a'"):
            export(root, tmp_path / "out", "webdataset")

    def test_a_data_set_that_changes_meanwhile_gets_no_index(self, tmp_path: Path) -> None:
        root = written(tmp_path / "data", [row("a")], {"part/train/good/a.png": b"x"})

        def convert_again(step: Progress) -> None:
            (root / "manifest.json").write_text((root / "manifest.json").read_text() + " ")

        with pytest.raises(ReadError, match=r"manifest.json: changed while it was exported"):
            export(root, tmp_path / "out", "webdataset", progress=convert_again)
        assert not (tmp_path / "out/index.json").exists()


class TestDisk:
    @pytest.mark.parametrize(("to", "limit"), [("webdataset", 0), ("webdataset", 30_000), ("parquet", 30_000)])
    def test_a_full_disk_ends_in_one_sentence_and_the_next_run_completes(
        self, data: Path, tars: Path, tmp_path: Path, to: str, limit: int, request: pytest.FixtureRequest
    ) -> None:
        resource = pytest.importorskip("resource")
        whole = tars if to == "webdataset" else request.getfixturevalue("tables")
        out = tmp_path / "out"
        words = (data, out, "--to", to, "--samples-per-shard", 11)
        code, printed, told = threecad(*words, before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        assert (code, printed) == (1, "")
        assert re.fullmatch(rf"threecad: {re.escape(str(out))}\S*: cannot be written \(File too large\).*\n", told), told
        left = {name: held for name, held in contents(out).items() if not name.startswith(".threecad-export/")}
        assert "index.json" not in left
        assert all(held == contents(whole)[name] for name, held in left.items())
        export(data, out, to, samples_per_shard=11)  # type: ignore[arg-type]
        assert contents(out) == contents(whole)

    def test_a_folder_that_cannot_be_made(self, data: Path, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("x")
        with pytest.raises(ThreecadError, match=r"cannot be written \(Not a directory\)"):
            export(data, tmp_path / "file/out", "webdataset")


class TestCommand:
    def run(self, *words: object) -> tuple[int, str, str]:
        done = CliRunner().invoke(main, ["export", *map(str, words)])
        return done.exit_code, done.stdout, done.stderr

    def test_it_says_what_it_wrote_and_how_to_read_it(self, data: Path, tmp_path: Path) -> None:
        words = (data, tmp_path / "out", "--to", "webdataset", "--samples-per-shard", 20, "--split", "test", "--shuffle")
        code, printed, _ = self.run(*words)
        assert code == 0
        assert re.match(r"\d+ shards written in [\d.]+ s\.\n\nsplit +samples +shards +MB\ntest +\d+", printed)
        assert f"WebDataset('{tmp_path}/out/test-{{000000..00000" in printed
        assert self.run(*words)[1].startswith("Nothing to do: ")

    def test_json_tells_the_same_to_programs(self, data: Path, tmp_path: Path) -> None:
        code, printed, _ = self.run(data, tmp_path / "out", "--to", "webdataset", "--json", "--seed", 4)
        told = json.loads(printed)
        assert (code, told["written"]) == (0, 3)
        assert told["shards"] == shards(tmp_path / "out")
        assert json.loads((tmp_path / "out/index.json").read_text())["made_from"]["seed"] == 4

    def test_a_seed_is_a_wish_for_a_shuffle_and_a_shuffle_has_seed_0(self, data: Path, tmp_path: Path) -> None:
        for name, words in {"shuffle": ["--shuffle"], "seed": ["--seed", 0]}.items():
            assert self.run(data, tmp_path / name, "--to", "webdataset", *words)[0] == 0
        assert contents(tmp_path / "shuffle") == contents(tmp_path / "seed")

    def test_mistakes_have_exit_code_2_and_bad_files_1(self, data: Path, tmp_path: Path) -> None:
        assert self.run(tmp_path, tmp_path / "out", "--to", "webdataset")[0] == 2
        assert self.run(data, tmp_path / "out")[0] == 2
        root = written(tmp_path / "data", [row("a")], {})
        code, _, told = self.run(root, tmp_path / "out", "--to", "webdataset")
        assert (code, told.count("\n")) == (1, 1)

    def test_help_keeps_it_apart_from_the_detectors(self) -> None:
        usage = self.run("--help")[1]
        assert "Examples:" in usage
        assert "Exit codes:" in usage
        assert "export-model" in usage


def test_what_is_ours_is_what_is_named_so() -> None:
    assert folder._OURS.fullmatch(tar.path_of(Split.TRAIN, 1_234_567, 1))
    assert folder._OURS.fullmatch(parquet.path_of(Split.TEST, 0, 123_456))
    assert not folder._OURS.fullmatch("data/../train-000000.tar")


class TestPage:
    """docs/sharding.md promises programs that run."""

    @UNCLOSED
    def test_its_programs_run(
        self,
        datasets: Any,
        data: Path,
        tables: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        for name in ("torch", "webdataset"):
            pytest.importorskip(name)
        monkeypatch.chdir(tmp_path)
        Path("data").symlink_to(data)
        Path("hub").symlink_to(tables)
        page = (Path(__file__).parents[2] / "docs/sharding.md").read_text(encoding="utf-8")
        programs = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
        assert len(programs) == 3
        for program in programs:  # workers of a loader are forked, which a process with threads had better not be
            exec(compile(program.replace("num_workers=2", "num_workers=0"), "sharding.md", "exec"), {})
        assert re.search(r"torch.Size\(\[(\d+), 3, 96, 96\]\) torch.Size\(\[\1, 96, 96\]\) tensor", capsys.readouterr().out)

    def test_it_tells_every_option(self) -> None:
        page = (Path(__file__).parents[2] / "docs/sharding.md").read_text(encoding="utf-8")
        options = {name for option in main.commands["export"].params for name in option.opts if name.startswith("--")}
        assert not [name for name in options if name not in page]
