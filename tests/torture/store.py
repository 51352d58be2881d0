"""An S3 server on loopback, moto's, and before it a proxy for each trial: it does what stores do on bad days, and watches.

Everything that a trial's commands ask of the store passes its own proxy, and what they write is watched there. No request
that touches a file the manifest vouches for is let through beside another, and after each the manifest is held against the
objects. So not one moment is missed, as it would be by who only looks now and then.
"""

from __future__ import annotations

import hashlib
import html
import http.client
import logging
import os
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from torture.reference import Tree, vouched
from torture.trial import Lost, Skipped

KEY = "AKIATORTURENEVERTOLD"
SECRET = "torture-secret-never-told-0123456789abcdef"
WRITES = ("PUT", "COPY", "POST", "DELETE")
LISTS = ("manifest.json", "SHA256SUMS")

Answer = tuple[int, list[tuple[str, str]], bytes]


def refuse_without_server() -> None:
    """Raise Skipped where moto, or what threecad speaks S3 with, is not installed."""
    if find_spec("moto") is None or find_spec("boto3") is None or find_spec("flask") is None:
        raise Skipped("needs moto's server (the dev extra)")
    if find_spec("s3fs") is None:
        raise Skipped("needs s3fs (the remote extra)")


# ---------------------------------------------------------------- the server


class Server:
    """moto's server, as long as at least one trial needs it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: Any = None
        self._users = 0
        self.port = 0

    @contextmanager
    def used(self) -> Iterator[Server]:
        self._begin()
        try:
            yield self
        finally:
            self._end()

    def client(self) -> Any:
        """A way to the server that no fault lies on."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{self.port}",
            region_name="us-east-1",
            aws_access_key_id="nobody",
            aws_secret_access_key="nothing",
            config=Config(max_pool_connections=40, s3={"addressing_style": "path"}, proxies={}),
        )

    def _begin(self) -> None:
        from moto.server import ThreadedMotoServer

        with self._lock:
            self._users += 1
            if self._running is None:
                logging.getLogger("werkzeug").setLevel(logging.ERROR)
                self._running = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
                self._running.start()
                self.port = self._running.get_host_and_port()[1]

    def _end(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._running.stop()
                self._running = None


SERVER = Server()


@dataclass
class Bucket:
    """A bucket that is emptied and removed at the end."""

    client: Any
    name: str
    known: dict[str, str] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)

    def upload(self, folder: Path, prefix: str) -> None:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                key = f"{prefix}/{path.relative_to(folder).as_posix()}"
                self.client.put_object(Bucket=self.name, Key=key, Body=path.read_bytes())

    def objects(self, prefix: str) -> dict[str, str]:
        """What lies below a prefix: name → ETag."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=f"{prefix}/")
        return {each["Key"][len(prefix) + 1 :]: each["ETag"] for page in pages for each in page.get("Contents", ())}

    def read(self, key: str) -> bytes:
        data: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return data

    def digest(self, key: str, tag: str) -> str:
        """The sha256 of an object; each content is fetched once."""
        if tag not in self.known:
            data = self.read(key)
            if tag.strip('"') != hashlib.md5(data, usedforsecurity=False).hexdigest():
                return hashlib.sha256(data).hexdigest()  # it has just become another
            self.known[tag] = hashlib.sha256(data).hexdigest()
        return self.known[tag]

    def tree(self, prefix: str) -> Tree:
        """As `reference.tree` of a folder, without the folders, which a store of objects has not."""
        found: Tree = {}
        for name, tag in sorted(self.objects(prefix).items()):
            ours = name.startswith(".threecad/") and not name.startswith(".threecad/unused/")
            found[name] = "kept" if ours else self.digest(f"{prefix}/{name}", tag)
        return found

    def remove(self) -> None:
        with suppress(self.client.exceptions.NoSuchBucket):
            pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name)
            for page in pages:
                if keys := [{"Key": each["Key"]} for each in page.get("Contents", ())]:
                    self.client.delete_objects(Bucket=self.name, Delete={"Objects": keys})
            self.client.delete_bucket(Bucket=self.name)


@contextmanager
def bucket(name: str) -> Iterator[Bucket]:
    """An empty bucket, on a server that is started where none runs."""
    with SERVER.used() as server:
        made = Bucket(server.client(), name)
        made.client.create_bucket(Bucket=name)
        try:
            yield made
        finally:
            made.remove()
            made.client.close()


# ---------------------------------------------------------------- who watches


class Gate:
    """Many writers, or one alone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._alone = False

    @contextmanager
    def shared(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._alone)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._alone)
            self._alone = True
            self._changed.wait_for(lambda: self._inside == 0)
        try:
            yield
        finally:
            with self._changed:
                self._alone = False
                self._changed.notify_all()


class Watch:
    """Holds the manifest of a data set against its objects, after each request that could have made it false."""

    def __init__(self, store: Bucket, prefix: str) -> None:
        self._store = store
        self._prefix = prefix
        self._gate = Gate()
        self._listed: set[str] = set()
        self.wrong: list[str] = []
        self.looks = 0

    def write(self, keys: Sequence[str], forward: Callable[[], Answer]) -> Answer:
        """Let a write through, and look where it touches what is vouched for, or the manifest itself."""
        start = len(self._prefix) + 1
        names = {key[start:] for key in keys if key.startswith(f"{self._prefix}/")}
        with self._gate.shared():
            if not names & self._listed and not names & {*LISTS}:
                return forward()
        with self._gate.alone():
            answer = forward()
            self.look()
            return answer

    def look(self) -> None:
        self.looks += 1
        there = self._store.objects(self._prefix)
        if "manifest.json" not in there:
            self._listed = set()
            return
        manifest, sums = (self._store.read(f"{self._prefix}/{name}") if name in there else b"" for name in LISTS)
        listed = vouched(manifest, sums)
        self._listed = set(listed)
        for name, digest in sorted(listed.items()):
            if name not in there:
                self.wrong.append(f"the manifest vouched for {name}, which was missing")
            elif self._store.digest(f"{self._prefix}/{name}", there[name]) != digest:
                self.wrong.append(f"the manifest vouched for other bytes of {name}")

    def assert_true(self) -> None:
        with self._gate.alone():
            self.look()
        if self.wrong:
            raise Lost(f"{self.wrong[0]} ({len(self.wrong)} such)")


# ---------------------------------------------------------------- what stands between


@dataclass
class Proxy:
    """Passes requests on. `fault(number, method, key)` names what becomes of a request instead, or None; it may also do something
    itself. While `until` lies ahead, nobody is at home. Requests that do not show `token` are refused as `refusal` says."""

    watch: Watch
    token: str
    port: int = 0
    asked: int = 0
    phase: str = "start"
    until: float = 0.0
    refusal: tuple[int, str] = (400, "ExpiredToken")
    fault: Callable[[int, str, str], str | None] = lambda number, method, key: None
    did: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def calm(self) -> None:
        """From now on it only passes on."""
        with self.lock:
            self.fault = lambda number, method, key: None
            self.until = 0.0

    def begin(self) -> None:
        """Count from one again: another command follows."""
        with self.lock:
            self.asked, self.phase = 0, "start"

    def note(self, what: str) -> None:
        with self.lock:
            self.did[what] = self.did.get(what, 0) + 1

    def choose(self, method: str, key: str) -> str | None:
        with self.lock:
            self.asked += 1
            number = self.asked
            self.phase = _phase(self.phase, method, key)
            fault = self.fault
        return fault(number, method, key)

    @property
    def away(self) -> bool:
        return time.monotonic() < self.until


def _phase(before: str, method: str, key: str) -> str:
    if before != "report" and method == "COPY":
        return "publication"
    if method == "PUT" and key.endswith("/manifest.json"):
        return "report"
    if method == "PUT" and "/staging/" in key and before in ("start", "scan"):
        return "sources"
    return "scan" if before == "start" and method == "PUT" and key.endswith("/.threecad/raw") else before


STATUS = {"SlowDown": 503, "InternalError": 500, "AccessDenied": 403}


def _error(code: str) -> bytes:
    """As a store says it that says too much."""
    return f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{KEY} {SECRET}</Message></Error>'.encode()


def _handler(proxy: Proxy, server: int) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        there: http.client.HTTPConnection | None = None

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            where = urlsplit(self.path)
            method = self.command
            if method == "GET" and "list-type" in where.query:
                method = "LIST"
            elif method == "PUT" and "x-amz-copy-source" in self.headers:
                method = "COPY"
            key = unquote(where.path).lstrip("/").partition("/")[2]
            if proxy.away:
                proxy.note("asked in vain while it was away")
                self.hang_up()
                return
            if self.headers.get("x-amz-security-token") != proxy.token:
                status, code = proxy.refusal
                self.refuse(status, code)
                return
            fault = proxy.choose(method, key)
            if proxy.away:
                self.hang_up()
                return
            if fault in STATUS:
                if fault != "AccessDenied":  # which is an event, and noted as one
                    proxy.note(str(STATUS[fault]))
                self.refuse(STATUS[fault], fault)
                return
            if fault == "reset":
                proxy.note("cut off before it was served")
                self.hang_up()
                return
            if fault == "slow":
                proxy.note("slow")
                time.sleep(0.4)
            if method in WRITES:
                keys = [key] if "delete" not in where.query else _keys_in(body)
                answer = proxy.watch.write(keys, lambda: self.forward(body))
            else:
                answer = self.forward(body)
            if fault == "unheard":
                proxy.note("cut off after it was served")
                self.hang_up()
                return
            self.answer(*answer, cut=fault == "cut" and method in ("GET", "LIST"))

        def forward(self, body: bytes) -> Answer:
            dropped = ("expect", "connection", "x-amz-security-token")
            headers = {name: value for name, value in self.headers.items() if name.lower() not in dropped}
            if self.there is None:
                self.there = http.client.HTTPConnection("127.0.0.1", server, timeout=60)
            self.there.request(self.command, self.path, body, headers)
            response = self.there.getresponse()
            data = response.read()
            if response.will_close:
                self.there.close()
            return response.status, response.getheaders(), data

        def refuse(self, status: int, code: str) -> None:
            self.answer(status, [("Content-Type", "application/xml")], _error(code))

        def answer(self, status: int, headers: list[tuple[str, str]], data: bytes, *, cut: bool = False) -> None:
            self.send_response_only(status)
            length = str(len(data))
            for name, value in headers:
                if name.lower() == "content-length" and self.command == "HEAD":
                    length = value
                elif name.lower() not in ("connection", "transfer-encoding", "content-length"):
                    self.send_header(name, value)
            self.send_header("Content-Length", length)
            self.end_headers()
            if self.command != "HEAD":
                cut = cut and len(data) > 1
                self.wfile.write(data[: len(data) // 2] if cut else data)
                if cut:
                    proxy.note("truncated")
                    self.close_connection = True

        def hang_up(self) -> None:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()

        def finish(self) -> None:
            if self.there is not None:
                self.there.close()
            with suppress(OSError, ValueError):
                super().finish()

        def log_message(self, *_: object) -> None:
            pass

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = pass_on  # noqa: N815

    return Handler


def _keys_in(body: bytes) -> list[str]:
    return [html.unescape(key) for key in re.findall(r"<Key>(.*?)</Key>", body.decode("utf-8", "replace"), re.DOTALL)]


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, proxy: Proxy, server: int) -> None:
        self.proxy = proxy
        super().__init__(("127.0.0.1", 0), _handler(proxy, server))

    def verify_request(self, *_: object) -> bool:
        return not self.proxy.away

    def handle_error(self, *_: object) -> None:  # a client that was killed
        pass


@contextmanager
def proxied(store: Bucket, prefix: str, token: str) -> Iterator[Proxy]:
    """A proxy before the server, which watches the data set below that prefix of the bucket."""
    proxy = Proxy(Watch(store, prefix), token)
    listening = _Quiet(proxy, SERVER.port)
    proxy.port = listening.server_address[1]
    thread = threading.Thread(target=listening.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


def credentials(port: int, token: str) -> dict[str, str]:
    """What a command finds in its environment."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_SESSION_TOKEN": token,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
