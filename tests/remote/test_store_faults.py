"""On bad days a run goes on, or ends in one sentence that tells no secret; the next one ends with the bytes of a good day."""

from __future__ import annotations

import random
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import KEY, SECRET, SMALL, Proxy, objects, s3, upload
from photographs import contents

from threecad.errors import ThreecadError
from threecad.formats.remote import Remote, StoreError
from threecad.pipeline.convert import convert


def at_random(seed: int, share: float, *faults: str) -> Callable[[int, str, str], str | None]:
    """One of the faults for that share of the requests."""

    def fault(number: int, method: str, path: str) -> str | None:
        draw = random.Random(f"{seed}:{number}")
        return draw.choice(faults) if draw.random() < share else None

    return fault


@pytest.mark.parametrize("faults", [("SlowDown", "InternalError"), ("cut", "reset"), ("slow",)])
def test_a_store_that_fails_now_and_then_costs_time_only(
    faults: tuple[str, ...], raw: Path, whole: dict[str, bytes], bucket: str, proxy: Proxy
) -> None:
    there = upload(raw, f"{bucket}/line7")
    proxy.fault = at_random(3, 0.05 if faults == ("slow",) else 0.15, *faults)
    convert(there, f"{bucket}/out", SMALL)
    proxy.reset()
    assert objects(f"{bucket}/out") == whole


@pytest.mark.parametrize(
    ("code", "told", "after"),
    [
        ("ExpiredToken", "the credentials have expired", 0),
        ("ExpiredToken", "the credentials have expired", 28),
        ("AccessDenied", "access is denied", 14),
    ],
)
def test_credentials_that_end_end_the_run_in_a_sentence_and_cost_nothing_else(
    code: str, told: str, after: int, raw: Path, whole: dict[str, bytes], bucket: str, proxy: Proxy
) -> None:
    there = upload(raw, f"{bucket}/line7")
    proxy.reset()
    proxy.fault = lambda number, method, path: code if number > after else None
    with pytest.raises(StoreError, match=told) as caught:
        convert(there, f"{bucket}/out", SMALL)
    text = "".join(traceback.format_exception(caught.value))
    assert bucket in str(caught.value)
    assert SECRET not in text
    assert KEY not in text
    assert "Signature" not in text
    assert len(proxy.asked) < after + 60  # it was not tried for ever
    proxy.reset()
    convert(there, f"{bucket}/out", SMALL)
    assert objects(f"{bucket}/out") == whole
    assert "file-unreadable" not in str(objects(f"{bucket}/out")["findings.jsonl"])


def test_a_store_that_is_gone_ends_the_run_in_a_sentence(raw: Path, bucket: str, proxy: Proxy) -> None:
    proxy.fault = lambda number, method, path: "reset" if number > 20 else None
    with pytest.raises(StoreError, match=r"does not answer as it should, also after 6 tries .*what is finished is kept"):
        convert(raw, f"{bucket}/out", SMALL)
    with pytest.raises(StoreError, match="does not answer as it should"):
        convert(f"{bucket}/line7", "never-made", SMALL)


def test_what_comes_short_is_fetched_again_and_never_taken_for_the_file(bucket: str, proxy: Proxy) -> None:
    upload_one = b"whole" * 20_000
    s3().pipe_file(f"{bucket.removeprefix('s3://')}/a.bin", upload_one)
    proxy.reset()
    proxy.fault = lambda number, method, path: "cut" if number <= 2 else None
    assert (Remote.at(bucket) / "a.bin").read_bytes() == upload_one
    proxy.fault = lambda number, method, path: "cut"
    with pytest.raises(StoreError):
        (Remote.at(bucket) / "a.bin").read_bytes()


def test_one_photograph_that_is_gone_is_a_finding_as_on_a_disk(raw: Path, bucket: str, proxy: Proxy, tmp_path: Path) -> None:
    there = upload(raw, f"{bucket}/line7")
    proxy.reset()
    gone: list[str] = []

    def fault(number: int, method: str, path: str) -> None:
        if method == "GET" and path.endswith("cover/d0.png") and not gone:
            gone.append(path)
            s3().rm_file(path.lstrip("/"))

    proxy.fault = fault
    convert(there, tmp_path / "out", SMALL)
    assert (
        b"file-unreadable" in (tmp_path / "out/findings.jsonl").read_bytes()
        or b"cover/d0.png: it cannot be read" in (tmp_path / "out/findings.jsonl").read_bytes()
    )


def test_a_photograph_that_changes_while_it_is_read_is_whole_and_read_again_next_time(
    raw: Path, bucket: str, proxy: Proxy, tmp_path: Path
) -> None:
    """What a request brings, and what it says of it, belong together."""
    there = upload(raw, f"{bucket}/line7")
    other = (raw / "frame/good/g1.png").read_bytes()
    proxy.reset()
    changed: list[str] = []

    def fault(number: int, method: str, path: str) -> None:
        if method == "GET" and path.endswith("cover/good/g0.png") and not changed:
            changed.append(path)
            s3().pipe_file(path.lstrip("/"), other)

    proxy.fault = fault
    convert(there, tmp_path / "out", SMALL)
    proxy.reset()
    convert(there, tmp_path / "again", SMALL)
    assert convert(there, tmp_path / "out", SMALL).converted == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "again")


def test_no_credentials_at_all_is_said(raw: Path, monkeypatch: pytest.MonkeyPatch, bucket: str) -> None:
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(StoreError, match="found no credentials where fsspec looks for them"):
        convert(raw, f"{bucket}/out", SMALL)
    s3fs.S3FileSystem.clear_instance_cache()


def test_a_full_disk_here_does_not_make_a_bad_data_set_there(
    raw: Path, whole: dict[str, bytes], bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno
    import os

    from threecad.pipeline import store

    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(store, "write_atomically", full)
        with pytest.raises(ThreecadError, match=r"cannot be written \(No space left on device\)"):
            convert(raw, f"{bucket}/out", SMALL)
    assert "manifest.json" not in objects(f"{bucket}/out")
    convert(raw, f"{bucket}/out", SMALL)
    assert objects(f"{bucket}/out") == whole
