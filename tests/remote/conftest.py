"""An S3 server on loopback, moto's, and before it a proxy that counts requests and does what stores do on bad days."""

from __future__ import annotations

import http.client
import logging
import os
import random
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "pipeline"))

from photographs import SMALL as SMALLER
from photographs import contents, factory

from threecad.formats.remote import asking, systems
from threecad.pipeline.config import override
from threecad.pipeline.convert import convert

SMALL = override(SMALLER, {"tiling.slice_size": 256})
"""As few tiles as make a data set: each costs three requests, which a server in Python takes its time for."""
SECRET = "do-not-tell-anybody-0123456789abcdef"
KEY = "AKIADONOTTELLANYBODY"


@dataclass
class Proxy:
    """Passes requests on to the server. `fault(number, method, path)` names what happens to a request instead, or None."""

    port: int = 0
    asked: list[tuple[str, str]] = field(default_factory=list)
    fault: Callable[[int, str, str], str | Callable[[], None] | None] = lambda number, method, path: None

    def count(self, *methods: str) -> int:
        return sum(method in methods for method, _ in self.asked)

    def reset(self) -> None:
        self.asked.clear()
        self.fault = lambda number, method, path: None


def error(code: str) -> bytes:
    return f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{KEY} {SECRET}</Message></Error>'.encode()


def handler_for(proxy: Proxy, server: int) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            where = urlsplit(self.path)
            method = self.command
            if method == "GET" and "list-type" in where.query:
                method = "LIST"
            elif method == "PUT" and "x-amz-copy-source" in self.headers:
                method = "COPY"
            path = unquote(where.path)
            proxy.asked.append((method, path))
            fault = proxy.fault(len(proxy.asked), method, path)
            if callable(fault):
                fault()
                fault = None
            if fault == "slow":
                time.sleep(0.3)
            elif fault == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                self.connection.close()
                return
            elif fault is not None and fault[0].isupper():
                codes = {"SlowDown": 503, "InternalError": 500, "ExpiredToken": 400, "AccessDenied": 403}
                self.answer(codes[fault], {"Content-Type": "application/xml"}, error(fault))
                return
            headers = {key: value for key, value in self.headers.items() if key.lower() not in ("expect", "connection")}
            with closing(http.client.HTTPConnection("127.0.0.1", server, timeout=30)) as there:
                there.request(self.command, self.path, body, headers)
                response = there.getresponse()
                data = response.read()
            self.answer(response.status, dict(response.getheaders()), data, cut=fault == "cut")

        def answer(self, status: int, headers: dict[str, str], data: bytes, *, cut: bool = False) -> None:
            self.send_response_only(status)
            for key, value in headers.items():
                if key.lower() not in ("connection", "transfer-encoding", "content-length"):
                    self.send_header(key, value)
            head = self.command == "HEAD"
            self.send_header("Content-Length", headers.get("Content-Length", "0") if head else str(len(data)))
            self.end_headers()
            if not head:
                self.wfile.write(data[: len(data) // 2] if cut else data)
            if cut:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = pass_on  # noqa: N815

    return Handler


class Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:  # a client that was killed
        pass


@pytest.fixture(scope="session")
def server() -> Iterator[int]:
    """The port of an S3 server."""
    moto = pytest.importorskip("moto.server", reason="needs moto (the dev extra)")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    running.start()
    yield running.get_host_and_port()[1]
    running.stop()


@pytest.fixture(scope="session")
def _proxied(server: int) -> Iterator[Proxy]:
    proxy = Proxy()
    listening = Quiet(("127.0.0.1", 0), handler_for(proxy, server))
    proxy.port = listening.server_address[1]
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    yield proxy
    listening.shutdown()
    listening.server_close()
    thread.join()


@pytest.fixture
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def proxy(_proxied: Proxy, _credentials: None, monkeypatch: pytest.MonkeyPatch) -> Proxy:
    """Everything goes through it; waits between tries are short."""
    _proxied.reset()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{_proxied.port}")
    monkeypatch.setattr(asking, "WAITS", (0.01, 0.02, 0.05, 0.1, 0.2))
    return _proxied


@pytest.fixture
def bucket(proxy: Proxy, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an empty bucket."""
    pytest.importorskip("s3fs", reason="needs s3fs (the remote extra)")
    name = f"bucket-{random.Random(request.node.nodeid).getrandbits(48):x}"
    s3().mkdir(name)
    proxy.reset()
    yield f"s3://{name}"
    proxy.reset()


def s3() -> Any:
    import fsspec

    fs = fsspec.filesystem("s3", use_listings_cache=False)
    systems.keep(fs)  # for tests that fork
    return fs


def bare(url: str) -> str:
    return url.partition("://")[2].strip("/")


def upload(folder: Path, url: str) -> str:
    """Put every file below a folder below a URL."""
    fs = s3()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            fs.pipe_file(f"{bare(url)}/{path.relative_to(folder).as_posix()}", path.read_bytes())
    return url


def objects(url: str, *, ours: bool = False) -> dict[str, bytes]:
    """What lies below a URL: the data set, or what threecad keeps for itself."""
    import fsspec

    fs = s3() if url.startswith("s3://") else fsspec.filesystem(url.partition("://")[0])
    fs.invalidate_cache()
    root = fs._strip_protocol(url)
    paths = [path[len(root) + 1 :] for path in fs.find(root)]
    return {path: fs.cat_file(f"{root}/{path}") for path in paths if (".threecad" in path.split("/")) == ours}


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return factory(tmp_path_factory.mktemp("raw") / "line7", 2)


@pytest.fixture(scope="session")
def whole(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a run between two folders makes of `raw`."""
    out = tmp_path_factory.mktemp("whole") / "out"
    convert(raw, out, SMALL)
    return contents(out)
