"""Workers that share no disk with anybody write to the store themselves; and what looks at tiles brings them to this machine."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from conftest import SMALL, Proxy, objects, s3, upload
from photographs import contents

from threecad.errors import BusyError, LayoutError
from threecad.formats.remote import Remote
from threecad.pipeline import remote
from threecad.pipeline.config import override
from threecad.pipeline.convert import convert
from threecad.pipeline.flags import FLAGS
from threecad.pipeline.mirrors import TooMuch, mirrored


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_work_from_a_bucket_into_a_bucket(
    method: str, raw: Path, whole: dict[str, bytes], bucket: str, proxy: Proxy
) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"needs {method}")
    there = upload(raw, f"{bucket}/line7")
    proxy.reset()
    with ProcessPoolExecutor(2 if method == "fork" else 1, multiprocessing.get_context(method)) as pool:
        done = convert(there, f"{bucket}/out", SMALL, engine=pool, workers=2)
    assert done.converted == len(list(raw.rglob("*.png")))
    assert objects(f"{bucket}/out") == whole
    images = [path for asked, path in proxy.asked if asked == "GET" and path.endswith(".png") and "/line7/" in path]
    assert len(images) == len(set(images)) == done.converted
    assert not convert(there, f"{bucket}/out", SMALL).changed


def test_the_report_and_the_card_are_made_here_and_sent_there(
    raw: Path, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: Proxy
) -> None:
    from threecad.pipeline import companions

    out = Remote.at(f"{bucket}/data")
    convert(raw, str(out), SMALL)
    convert(raw, tmp_path / "data", SMALL)
    companions.refuse_foreign_page(out)
    made = companions.accompany(out)
    companions.accompany(tmp_path / "data")
    assert str(made.page) == f"{bucket}/data/report.html"
    assert objects(f"{bucket}/data") == contents(tmp_path / "data")
    proxy.reset()
    assert companions.accompany(out).clean is None
    assert proxy.count("GET") == 3
    assert not proxy.count("HEAD")  # which would not tell why it is refused
    assert not proxy.count("PUT")
    assert not convert(raw, str(out), SMALL).changed
    s3().pipe_file(f"{out.path}/report.html", b"<p>Dear Anna")
    with pytest.raises(Exception, match=r"report.html is not a report of threecad's"):
        companions.refuse_foreign_page(out)


def test_a_page_is_not_sent_beside_the_manifest_of_another_run(raw: Path, bucket: str) -> None:
    out = Remote.at(f"{bucket}/data")
    convert(raw, str(out), SMALL)
    with mirrored(out) as mirror:
        (mirror.folder / "report.html").write_text("of the first run")
        convert(raw, str(out), override(SMALL, {"tiling.slice_size": 64}))
        before = objects(f"{bucket}/data")
        with pytest.raises(BusyError, match="another run has written the data set anew meanwhile"):
            mirror.deliver()
    assert objects(f"{bucket}/data") == before
    assert not list(out.files(FLAGS)), "its flag is down again"


def test_a_page_is_not_sent_while_another_run_is_at_work(raw: Path, bucket: str) -> None:
    out = Remote.at(f"{bucket}/data")
    convert(raw, str(out), SMALL)
    with mirrored(out) as mirror:
        (mirror.folder / "report.html").write_text("of the first run")
        with remote.alone(out), pytest.raises(BusyError, match="is being written by another run"):
            mirror.deliver()
        mirror.deliver()
    assert objects(f"{bucket}/data")["report.html"] == b"of the first run"


def test_a_mirror_is_bounded_and_stays_in_its_folder(bucket: str) -> None:
    out = Remote.at(f"{bucket}/data")
    with pytest.raises(LayoutError, match="no such folder"), mirrored(out):
        pass
    s3().pipe_file(f"{out.path}/a/b.txt", b"12345")
    with mirrored(out) as mirror:
        assert contents(mirror.folder) == {"a/b.txt": b"12345"}
        (mirror.folder / "c.txt").write_bytes(b"6")
        mirror.deliver()
    assert not mirror.folder.exists()
    assert objects(f"{bucket}/data") == {"a/b.txt": b"12345", "c.txt": b"6"}
    with pytest.raises(TooMuch, match="more than the 5e-09 GB that are brought"), mirrored(out, most=5):
        pass
    s3().call_s3("put_object", Bucket=bucket[5:], Key="data/a/../../../evil.txt", Body=b"")
    with pytest.raises(LayoutError, match="no folder can hold it"), mirrored(out):
        pass


def test_the_folder_on_this_machine_is_nobody_elses(bucket: str) -> None:
    home = remote.workspace(Remote.at(f"{bucket}/data"))
    assert home.stat().st_mode & 0o77 == 0
    assert home != remote.workspace(Remote.at(f"{bucket}/data2"))
