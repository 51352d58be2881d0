"""The command line with URLs: the same words, the same exit codes, and never a secret."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner
from conftest import KEY, SECRET, SMALL, Proxy, objects, upload

from threecad.cli import main
from threecad.pipeline import config


def test_convert_and_check_take_urls(raw: Path, whole: dict[str, bytes], bucket: str, tmp_path: Path) -> None:
    there = upload(raw, f"{bucket}/line7")
    settings = tmp_path / "small.toml"
    settings.write_text(config.dump(SMALL), encoding="utf-8")
    done = CliRunner().invoke(main, ["convert", there, f"{bucket}/data", "--pipeline", str(settings), "--json"])
    assert done.exit_code == 3, done.output  # there is a shape to look at
    said = json.loads(done.stdout)
    assert (said["out"], said["report"]) == (f"{bucket}/data", f"{bucket}/data/report.html")
    kept = objects(f"{bucket}/data")
    assert {path: kept[path] for path in whole} == whole
    assert kept["report.html"].startswith(b"<!DOCTYPE html>")
    again = CliRunner().invoke(main, ["convert", there, f"{bucket}/data", "--pipeline", str(settings)])
    assert f"Data set: {bucket}/data" in again.output.replace("\n", "") or f"{bucket}/data" in again.output
    looked = CliRunner().invoke(main, ["check", there, "--out", str(tmp_path / "check"), "--pipeline", str(settings)])
    assert looked.exit_code == 3, looked.output


def test_what_goes_wrong_is_one_sentence_and_an_exit_code(raw: Path, bucket: str, proxy: Proxy, tmp_path: Path) -> None:
    for fault, arguments, code, told in (
        ("ExpiredToken", [str(raw), f"{bucket}/out"], 1, "the credentials have expired"),
        ("AccessDenied", [f"{bucket}/raw", str(tmp_path / "out")], 1, "access is denied"),
        (None, [str(raw), "s3://no-such-bucket-1/out"], 2, "there is no such bucket"),
        (None, [f"{bucket}/nothing", str(tmp_path / "out")], 2, "does not exist"),
        (None, [str(raw), "nonsense://x"], 2, "Protocol not known"),
        (None, ["s3://me:pa55@bucket/raw", str(tmp_path / "out")], 2, "found a password in the URL"),
    ):
        proxy.fault = lambda number, method, path, fault=fault: fault  # type: ignore[misc]
        done = CliRunner().invoke(main, ["convert", *arguments])
        assert (done.exit_code, told in done.stderr) == (code, True), done.output
        assert len(done.stderr.strip().splitlines()) == 1
        assert not any(secret in done.output for secret in (KEY, SECRET, "pa55", "Traceback"))
