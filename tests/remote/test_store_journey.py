"""The data set in a store is, byte for byte and name for name, the one that a folder would hold."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import SMALL, Proxy, bare, objects, s3, upload
from photographs import BOW_TIE, contents, photograph, put, square

from threecad.errors import ConfigError, LayoutError
from threecad.formats.remote import Remote
from threecad.pipeline.check import check
from threecad.pipeline.config import override
from threecad.pipeline.convert import convert


@dataclass
class First:
    """A run from a bucket to a bucket, and what it asked for."""

    raw: str
    out: str
    shown: str
    asked: list[tuple[str, str]]

    def paths(self, method: str, part: str = "") -> list[str]:
        return [path for each, path in self.asked if each == method and part in path]


@pytest.fixture(scope="module")
def firsts() -> list[First]:
    return []


@pytest.fixture
def first(firsts: list[First], raw: Path, bucket: str, proxy: Proxy) -> First:
    """Made once for the tests that only look at it."""
    if not firsts:
        there = upload(raw, f"{bucket}/line7")
        proxy.reset()
        done = convert(there, f"{bucket}/out", SMALL)
        firsts.append(First(there, f"{bucket}/out", str(done.out), list(proxy.asked)))
        proxy.reset()
    return firsts[0]


def test_from_a_bucket_to_a_bucket_as_from_a_folder_to_a_folder(first: First, whole: dict[str, bytes]) -> None:
    assert first.shown == first.out
    assert objects(first.out) == whole
    kept = objects(first.out, ours=True)
    assert {path.split("/")[1] for path in kept} <= {"raw", "state.jsonl", "finished", "unused"}


def test_a_second_run_does_nothing_and_fetches_no_photograph(
    first: First, raw: Path, whole: dict[str, bytes], proxy: Proxy
) -> None:
    done = convert(first.raw, first.out, SMALL)
    assert (done.changed, done.converted, done.unchanged) == (False, 0, len(list(raw.rglob("*.png"))))
    assert not [path for method, path in proxy.asked if method == "GET" and "line7" in path]
    assert len(proxy.asked) <= 16
    assert objects(first.out) == whole


def test_every_photograph_is_asked_for_once(first: First, raw: Path) -> None:
    files = sum(path.is_file() for path in raw.rglob("*"))
    gets = first.paths("GET", "/line7/")
    assert len(gets) == len(set(gets)) == files
    assert not first.paths("HEAD")
    # Whether there are a raw folder and a data set, all of each, the flags, both categories, and what is staged.
    assert len(first.paths("LIST")) == 9


def test_a_tile_costs_one_write_one_copy_and_a_share_of_a_deletion(first: First) -> None:
    tiles = sum(path.endswith((".png", ".jpg")) for path in [*objects(first.out), *objects(first.out, ours=True)])
    staged = first.paths("PUT", "/staging/")
    assert len(staged) == len(set(staged)) == len(first.paths("COPY")) == tiles
    assert len(first.paths("POST")) <= 4  # deletions: what was moved, the moves, the journal, the flag


def test_the_manifest_goes_first_and_comes_last(raw: Path, bucket: str, proxy: Proxy) -> None:
    out = f"{bucket}/out"
    convert(raw, out, SMALL)
    proxy.reset()
    convert(raw, out, override(SMALL, {"tiling.slice_size": 80}))
    asked = [(method, path.removeprefix(f"/{bare(out)}/")) for method, path in proxy.asked]
    assert "DELETE" not in [method for method, _ in asked]  # all by POST, in batches
    moves = [number for number, (method, _) in enumerate(asked) if method == "COPY"]
    written = [path for method, path in asked if method == "PUT" and "lock/" not in path]
    last = written[next(number for number, path in enumerate(written) if path == ".threecad/moves.jsonl") :]
    assert last[-2:] == ["manifest.json", ".threecad/finished"]
    assert last[0] == ".threecad/moves.jsonl"
    assert last[1] == ".threecad/state.jsonl"
    assert asked.index(("PUT", ".threecad/moves.jsonl")) < moves[0]
    assert moves[-1] < asked.index(("PUT", ".threecad/state.jsonl")) < asked.index(("PUT", "samples.jsonl"))


@pytest.mark.parametrize("where", ["memory://journey/{}", "file://{}/out"])
def test_other_stores_hold_the_same(
    where: str, raw: Path, whole: dict[str, bytes], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    out = where.format(request.node.name if "memory" in where else tmp_path)
    convert(raw, out, SMALL)
    assert (contents(tmp_path / "out") if "file" in where else objects(out)) == whole
    assert not convert(raw, out, SMALL).changed


def test_a_store_with_folders_holds_the_same(raw: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    """As sftp and hdfs have them: made before a file is written, and files are renamed."""
    import fsspec
    from fsspec.implementations.local import LocalFileSystem

    class Folders(LocalFileSystem):
        protocol = "folders"

    fsspec.register_implementation("folders", Folders, clobber=True)
    out = tmp_path / "out"
    convert(f"folders://{raw}", f"folders://{out}", SMALL)
    assert contents(out) == whole
    assert not convert(f"folders://{raw}", f"folders://{out}", SMALL).changed
    again = convert(raw, f"folders://{out}", override(SMALL, {"split.seed": 3}))
    assert again.converted == 0
    convert(raw, tmp_path / "straight", override(SMALL, {"split.seed": 3}))
    assert contents(out) == contents(tmp_path / "straight")
    assert not [path for path in out.rglob("*") if path.is_dir() and not any(path.iterdir())]


def test_names_that_mean_something_to_patterns_and_urls_are_only_names(bucket: str, tmp_path: Path) -> None:
    raw = tmp_path / "raw" / "line 7"
    for number, name in enumerate(("a[1]*?", "b#c d", "100%25+é'\"", "中文 & <x>", "~.x;y,z=@:$")):
        put(raw, f"cover/{name}.png", photograph(number), [square("dent & [a]", 20, 20, 15)])
        put(raw, f"cover/good/{name}g.png", photograph(50 + number))
    put(raw, "cover/doubtful.png", photograph(200), [BOW_TIE])
    convert(raw, tmp_path / "out", SMALL)
    there = upload(raw, f"{bucket}/x y%/line 7")
    convert(there, f"{bucket}/out #1?[a]", SMALL)
    assert objects(f"{bucket}/out #1?[a]") == contents(tmp_path / "out")
    assert not convert(there, f"{bucket}/out #1?[a]", SMALL).changed


def test_a_changed_photograph_and_other_settings_end_as_if_made_at_once(raw: Path, bucket: str, tmp_path: Path) -> None:
    mine = tmp_path / "line7"
    shutil.copytree(raw, mine)
    there, out = upload(mine, f"{bucket}/line7"), f"{bucket}/out"
    convert(there, out, SMALL)
    put(mine, "frame/d1.png", photograph(900), [square("hole", 30, 30, 30)])
    (mine / "cover/good/g0.png").unlink()
    s3().rm_file(f"{bare(there)}/cover/good/g0.png")
    upload(mine, there)
    other = override(SMALL, {"split.seed": 5, "write.several_types": "joined"})
    done = convert(there, out, other)
    assert (done.converted, done.removed) == (1, 1)
    convert(mine, tmp_path / "straight", other)
    assert objects(out) == contents(tmp_path / "straight")


def test_what_somebody_did_to_the_data_set_is_undone(raw: Path, whole: dict[str, bytes], bucket: str) -> None:
    """A tile that is gone, one that was written over with as many bytes, and a list that was mended by hand."""
    import time

    out = f"{bucket}/out"
    convert(raw, out, SMALL)
    first, second, third = [path for path in whole if path.endswith(".png") and path.count("/") == 3][:3]
    time.sleep(1.1)  # what changes in the very second in which the data set is finished does not show
    s3().rm_file(f"{bare(out)}/{first}")
    s3().pipe_file(f"{bare(out)}/{second}", bytes(len(whole[second])))
    s3().pipe_file(f"{bare(out)}/{third}", whole[third])  # touched only
    s3().pipe_file(f"{bare(out)}/samples.jsonl", whole["samples.jsonl"].replace(b"train", b"TRAIN"))
    done = convert(raw, out, SMALL)
    assert 1 <= done.converted <= 2
    assert objects(out) == whole


def test_nothing_on_this_machine_is_needed_or_believed(
    raw: Path, whole: dict[str, bytes], bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    there, out = upload(raw, f"{bucket}/line7"), f"{bucket}/out"
    monkeypatch.setenv("THREECAD_CACHE", str(tmp_path / "one"))
    convert(there, out, SMALL)
    monkeypatch.setenv("THREECAD_CACHE", str(tmp_path / "two"))
    assert not convert(there, out, SMALL).changed
    for path in (tmp_path / "two").rglob("*"):
        if path.is_file() and path.suffix in (".jsonl", ".json", ""):
            path.write_bytes(b"{}\n")
    assert not convert(there, out, SMALL).changed
    s3().rm(bare(out), recursive=True)  # the data set is gone: what this machine remembers of it counts for nothing
    assert convert(there, out, SMALL).converted > 0
    assert objects(out) == whole


def test_a_dry_run_says_what_a_run_would_do_and_writes_nothing(raw: Path, bucket: str, proxy: Proxy) -> None:
    there, out = upload(raw, f"{bucket}/line7"), f"{bucket}/out"
    proxy.reset()
    plan = convert(there, out, SMALL, dry_run=True)
    assert not proxy.count("PUT", "POST", "DELETE", "COPY")
    assert plan.changed
    assert plan.windows > 0
    done = convert(there, out, SMALL)
    assert plan.converted == done.converted
    assert not convert(there, out, SMALL, dry_run=True).changed


def test_check_reads_from_a_store(raw: Path, bucket: str, tmp_path: Path) -> None:
    there = upload(raw, f"{bucket}/line7")
    assert check(there, SMALL).findings == check(raw, SMALL).findings
    check(there, SMALL, out=tmp_path / "there", fixed=tmp_path / "fixed")
    check(raw, SMALL, out=tmp_path / "here")
    assert (tmp_path / "there/findings.jsonl").read_bytes() == (tmp_path / "here/findings.jsonl").read_bytes()
    (relabel,) = (tmp_path / "there/relabel").rglob("*.json")
    assert json.loads(relabel.read_bytes())["imagePath"].startswith(there)


def test_an_output_inside_the_raw_folder_is_not_read(raw: Path, whole: dict[str, bytes], bucket: str) -> None:
    there = upload(raw, f"{bucket}/line7")
    convert(there, f"{there}/out", SMALL)
    assert not convert(there, f"{there}/out", SMALL).changed
    assert objects(f"{there}/out") == whole


def test_keys_that_no_disk_could_hold_are_findings(raw: Path, bucket: str, tmp_path: Path) -> None:
    there = upload(raw, f"{bucket}/line7")
    data = next(raw.rglob("*.png")).read_bytes()
    for key in ("cover/../../x.png", "cover//y.png", "cover/a/./z.png", "cover/v?versionId=7.png", "cover/.hidden/../w.png"):
        s3().call_s3("put_object", Bucket=bare(bucket), Key=f"line7/{key}", Body=data)
    s3().call_s3("put_object", Bucket=bare(bucket), Key="line7/cover/folder.png/", Body=b"")
    convert(there, tmp_path / "out", SMALL)
    found = [json.loads(row) for row in (tmp_path / "out/findings.jsonl").read_text("utf-8").splitlines()]
    odd = {row["source"]: row["detail"] for row in found if row["code"] == "file-unreadable" or "./" in row["source"]}
    assert len(odd) == 4, odd
    assert all(source.startswith("cover") for source in odd)


def test_what_contains_the_raw_folder_is_refused(raw: Path, bucket: str) -> None:
    there = upload(raw, f"{bucket}/a/line7")
    for out in (there, f"{there}/", f"{bucket}/a", bucket):
        with pytest.raises(ConfigError, match="contains the raw folder"):
            convert(there, out, SMALL)
    assert Remote.at(f"{bucket}/a").holds(Remote.at(there))
    assert not Remote.at(f"{bucket}/a/line").holds(Remote.at(there))


def test_a_place_that_holds_something_else_is_refused(raw: Path, bucket: str) -> None:
    s3().pipe_file(f"{bare(bucket)}/theirs/letter.txt", b"Dear Anna")
    for dry in (True, False):
        with pytest.raises(LayoutError, match="files that threecad did not write"):
            convert(raw, f"{bucket}/theirs", SMALL, dry_run=dry)
    assert list(objects(f"{bucket}/theirs", ours=True)) == []
    convert(raw, f"{bucket}/theirs", SMALL, overwrite=True)
    assert objects(f"{bucket}/theirs")["letter.txt"] == b"Dear Anna"


def test_a_data_set_of_another_raw_folder_is_refused(raw: Path, bucket: str, tmp_path: Path) -> None:
    other = tmp_path / "line8"
    shutil.copytree(raw, other)
    convert(raw, f"{bucket}/out", SMALL)
    for dry in (True, False):
        with pytest.raises(LayoutError, match=r"was made from 'line7', not 'line8'"):
            convert(other, f"{bucket}/out", SMALL, dry_run=dry)
    assert convert(other, f"{bucket}/out", SMALL, overwrite=True).changed


def test_what_is_not_there_is_said_in_a_sentence(bucket: str, tmp_path: Path, raw: Path) -> None:
    with pytest.raises(LayoutError, match=r"s3://no-such-bucket-1/line7: there is no such bucket"):
        convert("s3://no-such-bucket-1/line7", tmp_path / "out")
    with pytest.raises(LayoutError, match="does not exist; expected a folder"):
        convert(f"{bucket}/nothing", tmp_path / "out")
    with pytest.raises(LayoutError, match="there is no such bucket"):
        convert(raw, "s3://no-such-bucket-1/out", SMALL)
    with pytest.raises(ConfigError, match=r"nonsense://x: "):
        convert("nonsense://x", tmp_path / "out")
