"""Places in stores answer what a path answers; requests that fail are judged in one place."""

from __future__ import annotations

import errno
import functools
import http.server
import io
import pickle
import stat
import threading
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from threecad.errors import ConfigError, LayoutError
from threecad.formats.remote import Looks, Remote, StoreError, asked, asking, hastily, listing, place_of, places, reading
from threecad.formats.remote import shown as shown_url

fsspec = pytest.importorskip("fsspec", reason="needs fsspec (the remote extra)")


@pytest.fixture
def memory(request: pytest.FixtureRequest) -> Iterator[Callable[..., Remote]]:
    """A place in memory that holds some files."""
    fs = fsspec.filesystem("memory")
    root = f"/{abs(hash(request.node.nodeid)):x}"

    def made(**files: bytes) -> Remote:
        for name, data in files.items():
            fs.pipe_file(f"{root}/{name.replace('__', '/').replace('_json', '.json')}", data)
        return Remote.at(f"memory:/{root}")

    yield made
    fs.rm(root, recursive=True)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "WAITS", (0.0, 0.0, 0.0))


# Places


def test_a_file_url_is_a_path(tmp_path: Path) -> None:
    assert place_of(f"file://{tmp_path}") == tmp_path
    assert place_of("line7") == Path("line7")
    assert place_of(Path("s3://x")) == Path("s3:/x")


def test_a_place_names_itself_and_what_lies_below() -> None:
    place = Remote.at("memory://parts/line7/")
    assert (place.name, str(place), str(place / "a b/#.png")) == (
        "line7",
        "memory://parts/line7",
        "memory://parts/line7/a b/#.png",
    )


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("sftp://anna:pa55@host/parts", "found a password in the URL"),
        ("s3://KEY:pa55@bucket/parts", "found a password in the URL"),
        ("https://host/parts?sig=pa55", "found a query in the URL"),
        ("nonsense://parts", "Protocol not known"),
        ("s3://", "expected the name of a bucket"),
    ],
)
def test_urls_that_cannot_be_used_are_refused_without_telling_their_secrets(url: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        Remote.at(url)
    assert "pa55" not in "".join(traceback.format_exception(caught.value))


def test_without_fsspec_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "fsspec.core", None)
    with pytest.raises(ConfigError, match=r"pip install 'threecad\[remote\]'"):
        Remote.at("memory://parts")


def test_shown_keeps_what_is_no_secret() -> None:
    assert shown_url("abfs://box@account.dfs.core.windows.net/a") == "abfs://box@account.dfs.core.windows.net/a"
    assert shown_url("sftp://anna@host/a") == "sftp://anna@host/a"


def test_what_is_pickled_is_the_url_alone(memory: Callable[..., Remote]) -> None:
    place = memory(a__b=b"1")
    list(place.entries(""))
    again = pickle.loads(pickle.dumps(place / "a"))
    assert str(again) == str(place / "a")
    assert again.to.tree is None
    assert (again / "b").read_bytes() == b"1"


# Reading


def test_one_listing_tells_all_folders(memory: Callable[..., Remote], monkeypatch: pytest.MonkeyPatch) -> None:
    place = memory(good__a=b"1", good__deep__b=b"22", c=b"333", **{".hidden__d": b"4"})
    assert sorted(place.entries("")) == [(".hidden", True, None), ("c", False, None), ("good", True, None)]
    with monkeypatch.context() as patch:
        for asking in ("ls", "find", "info"):
            patch.setattr(type(place.to.first), asking, None)
        assert sorted(place.entries("good")) == [("a", False, None), ("deep", True, None)]
        assert (place / "good/deep/b").stat().st_size == 2
    with pytest.raises(FileNotFoundError):
        list(place.entries(".hidden"))
    with pytest.raises(FileNotFoundError):
        list(place.entries("nothing"))


def test_names_that_no_disk_could_hold_have_a_reason() -> None:
    tree: dict[str, dict[str, Looks | str | None]] = {}
    looks = Looks(stat.S_IFREG, 1, 0, 0)
    for path in ("a/b.png", "a/../c.png", "a//d.png", "./e.png", "a/f\0.png", "g?versionId=1.png", "a", "a/b.png/h.png"):
        listing.put(tree, path, looks)
    flawed = {f"{folder}/{name}" if folder else name: why for folder, found in tree.items() for name, why in found.items() if why}
    assert sorted(path for path, why in flawed.items() if isinstance(why, str)) == sorted(
        ["a/./../c.png", "a/.//d.png", "././e.png", "a/./f\0.png", "./g?versionId=1.png", "./a", "a/./b.png"]
    )


def test_whole_files_and_pieces(memory: Callable[..., Remote]) -> None:
    place = memory(a=bytes(range(256)) * 1000)
    assert place.is_dir()
    assert (place / "a").exists()
    assert not (place / "b").exists()
    data, digest, before, after = (place / "a").fetch(1 << 20)
    assert data == bytes(range(256)) * 1000
    assert before == after
    none, same, _, _ = (place / "a").fetch(10)
    assert none is None
    assert same == digest
    with (place / "a").open() as file:
        assert file.read(3) == b"\0\1\2"
        file.seek(-2, io.SEEK_END)
        assert file.read() == b"\xfe\xff"
        file.seek(100_000)
        assert file.read(2) == bytes([100_000 % 256, 100_001 % 256])
    with (place / "a").open(buffering=0) as file:
        assert len(file.read(300_000)) == 256_000
    with pytest.raises(FileNotFoundError):
        (place / "b").read_bytes()
    with pytest.raises(IsADirectoryError):
        place.open()


@pytest.mark.parametrize(("piece", "held"), [(4, 10), (4, 7), (100, 10), (100, 7)])
def test_a_file_that_is_brought_has_the_bytes_that_were_listed(
    memory: Callable[..., Remote], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int, held: int
) -> None:
    monkeypatch.setattr(places, "PIECE", piece)
    place = memory(a=bytes(range(held))) / "a"
    if held == 10:
        place.bring(tmp_path / "here" / "a.bin", 10)
        assert (tmp_path / "here" / "a.bin").read_bytes() == bytes(range(10))
    else:
        with pytest.raises(StoreError, match=r"a: found 7 bytes, expected 10: it was cut off, or changed"):
            place.bring(tmp_path / "here" / "a.bin", 10)


def test_a_file_is_no_folder(memory: Callable[..., Remote]) -> None:
    place = memory(a=b"1") / "a"
    assert place.exists()
    assert not place.is_dir()
    assert not list(place.files())


def test_a_look_into_a_file_fetches_a_piece(memory: Callable[..., Remote], monkeypatch: pytest.MonkeyPatch) -> None:
    place = memory(a=bytes(1_000_000))
    fetched: list[int] = []
    part = Remote.part

    def counted(self: Remote, start: int, end: int | None) -> bytes:
        data = part(self, start, end)
        fetched.append(len(data))
        return data

    monkeypatch.setattr(Remote, "part", counted)
    with (place / "a").open() as file:
        file.read(24)
        file.seek(2000)
        file.read(100)
    assert fetched == [reading.FIRST]


def test_annotations_are_read_ahead_and_kept_for_the_run(memory: Callable[..., Remote], monkeypatch: pytest.MonkeyPatch) -> None:
    place = memory(**{f"a{number:03}_json": str(number).encode() for number in range(100)}, other=b"1")
    names = sorted(name for name, _, _ in place.entries("") if name.endswith(".json"))
    asked_for: list[str] = []
    part = Remote.part
    together = threading.Barrier(8, timeout=20)

    def counted(self: Remote, start: int, end: int | None) -> bytes:
        asked_for.append(self.inner)
        if self.inner in names[4:12]:
            together.wait()  # nobody gets through alone: they are fetched at the same time
        return part(self, start, end)

    monkeypatch.setattr(Remote, "part", counted)
    for name in names:
        with (place / name).open(buffering=0) as file:
            assert file.read() == str(int(name[1:4])).encode()
    assert sorted(asked_for) == names
    for name in names:
        assert (place / name).fetch(100)[0] == str(int(name[1:4])).encode()
    assert sorted(asked_for) == names


def test_annotations_out_of_order_are_not_read_ahead(memory: Callable[..., Remote]) -> None:
    place = memory(**{f"a{number:03}_json": b"1" for number in range(50)})
    list(place.entries(""))
    for number in (40, 20, 30, 10):
        (place / f"a{number:03}.json").open()
    ahead = place.to.ahead
    assert ahead is not None
    assert not ahead._coming
    assert len(ahead._kept) == 4


def test_looks_do_not_depend_on_the_way_they_were_asked_for() -> None:
    listed = Looks.of({"size": 3, "ETag": '"abc"', "LastModified": datetime(2024, 5, 1, 12, 0, 0, 250_000, tzinfo=UTC)})
    fetched = Looks.of({"size": 3, "ETag": "abc", "LastModified": datetime(2024, 5, 1, 12, tzinfo=UTC), "VersionId": "7"})
    assert listed == fetched
    assert listed != Looks.of({"size": 3, "ETag": '"abd"', "LastModified": datetime(2024, 5, 1, 12, tzinfo=UTC)})
    assert Looks.of({"size": None, "mtime": 12.5}) == Looks(stat.S_IFREG, -1, 12_000_000_000, 0)


def test_pages_of_a_web_server_are_read(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp", reason="needs aiohttp (the remote extra)")
    (tmp_path / "parts/good").mkdir(parents=True)
    (tmp_path / "parts/good/a b%20#é.txt").write_bytes(b"abc")
    (tmp_path / "parts/c.txt").write_bytes(b"d")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        place = Remote.at(f"http://127.0.0.1:{server.server_address[1]}/parts/")
        try:
            assert place.name == "parts"
            assert sorted(place.entries("")) == [("c.txt", False, None), ("good", True, None)]
            assert list(place.entries("good")) == [("a b%20#é.txt", False, None)]
            file = place / "good/a b%20#é.txt"
            assert file.stat().st_size == 3
            assert file.read_bytes() == file.open().read() == b"abc"
            with pytest.raises(FileNotFoundError):
                (place / "no.txt").read_bytes()
            with pytest.raises(ConfigError, match="nothing can be written to such places, only read"):
                (place / "new.txt").write(b"1")
        finally:
            server.shutdown()
            thread.join()


# Faults


class ClientError(Exception):
    """As botocore's."""

    def __init__(self, code: str) -> None:
        super().__init__(f"{code}: AKIA123 Signature=secret")
        self.response = {"Error": {"Code": code, "Message": "secret"}}


def failing(*errors: BaseException) -> tuple[Callable[[], str], list[int]]:
    left = list(errors)
    calls: list[int] = []

    def call() -> str:
        calls.append(1)
        if left:
            raise left.pop(0)
        return "done"

    return call, calls


def caused(error: OSError, code: str) -> OSError:
    error.__cause__ = ClientError(code)
    return error


PASSING: list[Any] = [
    TimeoutError(),
    ConnectionResetError(errno.ECONNRESET, "reset"),
    asking.Truncated(),
    OSError(errno.EBUSY, "busy"),
    caused(OSError(errno.EINVAL, "?"), "SlowDown"),
    caused(OSError("?"), "503"),
]


@pytest.mark.parametrize("error", PASSING)
def test_what_may_pass_is_tried_again(error: OSError) -> None:
    call, calls = failing(error, error)
    assert asked("s3://a/b", call) == "done"
    assert len(calls) == 3
    call, calls = failing(*[error] * 9)
    with pytest.raises(StoreError, match=r"^s3://a/b: the store does not answer as it should, also after 4 tries \("):
        asked("s3://a/b", call)
    assert len(calls) == 4


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (caused(PermissionError("secret"), "ExpiredToken"), StoreError, "the credentials have expired; renew them"),
        (caused(PermissionError("secret"), "AccessDenied"), StoreError, r"access is denied \(AccessDenied\)"),
        (caused(PermissionError("secret"), "SignatureDoesNotMatch"), StoreError, r"access is denied \(SignatureDoesNotMatch\)"),
        (caused(FileNotFoundError("secret"), "NoSuchBucket"), LayoutError, "there is no such bucket"),
        (caused(OSError(errno.EINVAL, "secret"), "InvalidBucketName"), ConfigError, "the store takes no such name"),
        (OSError(errno.ENOSPC, "secret"), StoreError, r"the store refuses \(No space left on device\)"),
    ],
)
def test_what_will_not_pass_ends_in_a_sentence_at_once(error: OSError, kind: type[Exception], told: str) -> None:
    call, calls = failing(error)
    with pytest.raises(kind, match=told) as caught:
        asked("s3://a/b", call)
    assert len(calls) == 1
    text = "".join(traceback.format_exception(caught.value))
    assert "secret" not in text
    assert "AKIA" not in text
    assert str(caught.value).startswith("s3://a/b: ")


def test_a_file_that_is_not_there_is_an_error_as_on_a_disk() -> None:
    call, _ = failing(caused(FileNotFoundError("secret"), "NoSuchKey"))
    with pytest.raises(FileNotFoundError) as caught:
        asked("s3://a/b", call)
    assert caught.value.filename == "s3://a/b"
    assert caught.value.strerror == "No such file or directory"


def test_in_haste_nothing_is_tried_twice() -> None:
    call, calls = failing(TimeoutError())
    with pytest.raises(StoreError), hastily():
        asked("s3://a/b", call)
    assert len(calls) == 1


def test_a_bug_stays_a_bug() -> None:
    call, _ = failing(KeyError("a"))
    with pytest.raises(KeyError):
        asked("s3://a/b", call)
