"""A conversion by a Dask cluster whose workers are killed while they work, against one by the threads of one process.

    python tests/bench/cluster.py [--sources 10000] [--workers 2] [--kill-every 60] [--store] [--json FILE]

The scheduler and each worker are processes of their own, started as a person would start them on machines of their own; nannies
start a worker anew when it is gone. Every so many seconds one is killed (SIGKILL). At the end the bytes of both data sets are
compared, and no source may have been told of twice. As root on Linux each worker has a network namespace of its own, with a cable
to a bridge, where bytes are counted; elsewhere all talk over loopback. With `--store` photographs and data set lie in a store: an
S3 server, moto's, which counts requests.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import many

if TYPE_CHECKING:
    from collections.abc import Iterator

SETTINGS = {"tiling": {"slice_size": 48, "overlap_ratio": 0}}
ROOT = Path(__file__).parents[2]
TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE = 120.0  # seconds that a cluster may take to come up
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "nobody",
    "AWS_SECRET_ACCESS_KEY": "nothing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


# ---------------------------------------------------------------- the network


@dataclass
class Network:
    """Where processes listen. `inside` runs a command where a worker is; `cables` are devices whose bytes count."""

    host: str = "127.0.0.1"
    told: str = "all on loopback"
    spaces: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    cables: list[str] = field(default_factory=list)

    def inside(self, number: int) -> list[str]:
        return ["ip", "netns", "exec", self.spaces[number]] if self.spaces else []

    def address(self, number: int) -> str:
        return self.addresses[number] if self.addresses else self.host

    def moved(self) -> int | None:
        """Bytes that went to and from the workers so far; None where nobody counts them."""
        if not self.cables:
            return None
        counters = (Path("/sys/class/net", cable, "statistics", way) for cable in self.cables for way in ("rx_bytes", "tx_bytes"))
        return sum(int(counter.read_text()) for counter in counters)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@contextmanager
def network(workers: int) -> Iterator[Network]:
    """A namespace for each worker, cabled to a bridge, or loopback where this machine does not allow them."""
    with ExitStack() as after:
        try:
            laid = _laid(workers, after)
        except (OSError, subprocess.CalledProcessError) as error:
            after.close()
            reason = getattr(error, "stderr", None) or str(error)
            laid = Network(told=f"all on loopback, for network namespaces are not permitted here ({reason.strip()})")
        yield laid


def _laid(workers: int, after: ExitStack) -> Network:
    mark = os.getpid() % 65536
    bridge, net = f"tcb{mark:x}", f"10.213.{mark % 256}"

    def undo(*words: str) -> None:
        after.callback(subprocess.run, ["ip", *words], capture_output=True, check=False)

    undo("link", "del", bridge)
    ip("link", "add", bridge, "type", "bridge")
    ip("addr", "add", f"{net}.1/24", "dev", bridge)
    ip("link", "set", bridge, "up")
    laid = Network(f"{net}.1", f"{workers} network namespaces on a bridge")
    for number in range(workers):
        space, cable, plug = f"tcn{mark:x}w{number}", f"tcv{mark:x}w{number}", f"tcp{mark:x}w{number}"
        undo("netns", "del", space)
        undo("link", "del", cable)
        ip("netns", "add", space)
        ip("link", "add", cable, "type", "veth", "peer", "name", plug)
        ip("link", "set", cable, "master", bridge, "up")
        ip("link", "set", plug, "netns", space)
        ip("-n", space, "addr", "add", f"{net}.{number + 2}/24", "dev", plug)
        ip("-n", space, "link", "set", plug, "up")
        ip("-n", space, "link", "set", "lo", "up")
        laid.spaces.append(space)
        laid.addresses.append(f"{net}.{number + 2}")
        laid.cables.append(cable)
    return laid


# ---------------------------------------------------------------- processes


def environment(more: dict[str, str]) -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)} | more


def start(place: Path, words: list[str], env: dict[str, str], after: ExitStack, log: str) -> subprocess.Popen[bytes]:
    """A process in a session of its own, ended with all its children when it is over."""
    with (place / log).open("wb") as printed:
        process = subprocess.Popen(words, cwd=place, env=env, stdout=printed, stderr=printed, start_new_session=True)
    after.callback(_end, process)
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(15)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@dataclass
class Cluster:
    """A scheduler, and workers that come back when they are killed."""

    address: str
    scheduler: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]]


@contextmanager
def cluster(place: Path, net: Network, workers: int, env: dict[str, str]) -> Iterator[Cluster]:
    """A scheduler with so many worker processes, all of them there."""
    import distributed

    file = place / "scheduler.json"
    with ExitStack() as after:
        dask = [sys.executable, "-m"]
        words = ["--scheduler-file", str(file), "--no-dashboard", "--host", net.host, "--port", "0"]
        scheduler = start(place, [*dask, "distributed.cli.dask_scheduler", *words], env, after, "scheduler.log")
        until = time.monotonic() + PATIENCE
        while not file.exists() and time.monotonic() < until:
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        started = []
        for number in range(workers):
            words = [address, "--nthreads", "1", "--no-dashboard", "--host", net.address(number)]
            words += ["--local-directory", str(place / "scratch")]
            command = [*net.inside(number), *dask, "distributed.cli.dask_worker", *words]
            started.append(start(place, command, env, after, f"worker-{number}.log"))
        with distributed.Client(address, set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=PATIENCE)
            client.register_plugin(counter(), name="counter")
        yield Cluster(address, scheduler, started)


def counter() -> Any:
    """What the scheduler gave out and what came back, counted by the scheduler."""
    from distributed import SchedulerPlugin

    class Counts(SchedulerPlugin):
        def __init__(self) -> None:
            self.given = self.finished = 0
            self.tasks: set[Any] = set()

        def transition(self, key: Any, start: str, finish: str, *_: Any, **__: Any) -> None:
            if finish == "processing":
                self.given += 1
                self.tasks.add(key)
            self.finished += start == "processing" and finish == "memory"

    return Counts()


def counted(address: str) -> dict[str, int]:
    import distributed

    def ask(dask_scheduler: Any) -> tuple[int, int, int]:
        counts = dask_scheduler.plugins["counter"]
        return len(counts.tasks), counts.given, counts.finished

    with distributed.Client(address, set_as_default=False) as client:
        tasks, given, finished = client.run_on_scheduler(ask)
    return {"tasks": tasks, "given_out_again": given - tasks, "finished_again": finished - tasks}


@contextmanager
def killing(address: str, every: float) -> Iterator[list[float]]:
    """The moments at which a worker was killed meanwhile."""
    import distributed

    ended, kills, dice = threading.Event(), [], random.Random(7)

    def run() -> None:
        while not ended.wait(every):
            with distributed.Client(address, set_as_default=False) as client:
                found = sorted(client.run(os.getpid).values())
            if found and not ended.is_set():
                os.kill(dice.choice(found), signal.SIGKILL)
                kills.append(time.monotonic())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield kills
    finally:
        ended.set()
        thread.join(30)


# ---------------------------------------------------------------- what is measured


class Meter:
    """CPU seconds of processes that come and go, asked of the kernel twice a second: what is killed counts as it last was."""

    def __init__(self, roots: list[int]) -> None:
        self._roots = roots
        self._seen: dict[tuple[int, str], float] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> float:
        self._ended.set()
        self._thread.join()
        self._look()
        return sum(self._seen.values())

    def _run(self) -> None:
        while not self._ended.wait(0.5):
            self._look()

    def _look(self) -> None:
        for session, number, words in _processes():
            if session in self._roots:
                self._seen[number, words[19]] = (int(words[11]) + int(words[12])) / TICKS


def _processes() -> Iterator[tuple[int, int, list[str]]]:
    """The session, the id and the rest of /proc/ID/stat of every process."""
    for path in Path("/proc").iterdir():
        if path.name.isdecimal():
            with contextlib.suppress(OSError):
                words = (path / "stat").read_text().rpartition(")")[2].split()
                yield int(words[3]), int(path.name), words


def peak(process: int) -> float:
    """Megabytes that a process held at most."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return float("nan")


CONVERSION = """
import json, resource, sys, time
import threecad
raw, out, engine = sys.argv[1:4]
began, told = time.monotonic(), []
done = threecad.convert(raw, out, threecad.Pipeline.model_validate({settings!r}), engine=engine,
                        progress=lambda each: told.append(each.source))
usage = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({{
    "seconds": time.monotonic() - began, "cpu": usage.ru_utime + usage.ru_stime, "peak_mb": usage.ru_maxrss / 1024,
    "sources": done.converted, "told_twice": len(told) - len(set(told)),
}}))
"""


def converted(place: Path, raw: str, out: str, engine: str, env: dict[str, str]) -> dict[str, Any]:
    """One conversion in a process of its own: seconds, CPU seconds, peak memory, sources, and those told of twice."""
    words = [sys.executable, "-c", CONVERSION.format(settings=SETTINGS), raw, out, engine]
    with ExitStack() as after:
        process = start(place, words, env, after, "convert.log")
        process.wait()
    printed = (place / "convert.log").read_text()
    if process.returncode:
        raise SystemExit(f"the conversion by {engine} ended with {process.returncode}: {printed[-2000:]}")
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return found


# ---------------------------------------------------------------- the store


def serve(host: str, file: Path) -> None:
    """An S3 server that writes its address down, and tells at /counts what it was asked."""
    import logging

    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    asked: Counter[str] = Counter()
    lock = threading.Lock()
    moto = DomainDispatcherApplication(create_backend_app)

    def answer(environ: dict[str, Any], respond: Any) -> Any:
        if environ["PATH_INFO"] == "/counts":
            with lock:
                said = json.dumps(asked).encode()
            respond("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(said)))])
            return [said]
        method = environ["REQUEST_METHOD"]
        method = "LIST" if "list-type" in environ.get("QUERY_STRING", "") else method
        method = "COPY" if "HTTP_X_AMZ_COPY_SOURCE" in environ else method
        path = hashlib.sha256(environ["PATH_INFO"].encode("latin-1")).hexdigest()
        with lock:
            asked[method] += 1
            asked["tiles staged again"] += 0
            asked["bytes received"] += int(environ.get("CONTENT_LENGTH") or 0)
            if method == "PUT" and "/.threecad/staging/" in environ["PATH_INFO"]:
                asked["tiles staged again"] += path in staged
                staged.add(path)
        body = moto(environ, respond)
        return sized(body)

    def sized(body: Any) -> Iterator[bytes]:
        for piece in body:
            with lock:
                asked["bytes sent"] += len(piece)
            yield piece

    staged: set[str] = set()
    server = make_server(host, 0, answer, threaded=True)
    file.with_suffix(".new").write_text(f"http://{host}:{server.server_port}")
    file.with_suffix(".new").replace(file)
    server.serve_forever()


@dataclass
class Store:
    """An S3 server in a process of its own, with one bucket."""

    endpoint: str
    client: Any

    def counts(self) -> Counter[str]:
        from urllib.request import ProxyHandler, build_opener

        with build_opener(ProxyHandler({})).open(f"{self.endpoint}/counts", timeout=60) as answer:
            return Counter(json.load(answer))

    def upload(self, folder: Path, prefix: str) -> None:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                key = f"{prefix}/{path.relative_to(folder).as_posix()}"
                self.client.put_object(Bucket="scale", Key=key, Body=path.read_bytes())

    def tree(self, prefix: str) -> dict[str, str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket="scale", Prefix=f"{prefix}/")
        keys = [each["Key"] for page in pages for each in page.get("Contents", ())]
        return {
            key[len(prefix) + 1 :]: hashlib.sha256(self.client.get_object(Bucket="scale", Key=key)["Body"].read()).hexdigest()
            for key in keys
            if not key.startswith(f"{prefix}/.threecad/")
        }


@contextmanager
def store(place: Path, net: Network) -> Iterator[Store]:
    import boto3
    from botocore.config import Config

    file = place / "endpoint"
    with ExitStack() as after:
        server = start(place, [sys.executable, __file__, "--serve", net.host, str(file)], environment({}), after, "store.log")
        until = time.monotonic() + PATIENCE
        while not file.exists() and time.monotonic() < until and server.poll() is None:
            time.sleep(0.1)
        if not file.exists():
            raise SystemExit(f"the S3 server did not start: {(place / 'store.log').read_text()[-500:]}")
        client = boto3.client(
            "s3",
            endpoint_url=file.read_text(),
            region_name="us-east-1",
            aws_access_key_id="nobody",
            aws_secret_access_key="nothing",
            config=Config(proxies={}),
        )
        client.create_bucket(Bucket="scale")
        yield Store(file.read_text(), client)


# ---------------------------------------------------------------- the whole


def tree(out: Path) -> dict[str, str]:
    """Every file of a data set but what a run remembers."""
    files = ((path.relative_to(out), path) for path in out.rglob("*") if path.is_file())
    return {
        name.as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files if name.parts[0] != ".threecad"
    }


def differing(one: dict[str, str], other: dict[str, str]) -> list[str]:
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def measure(place: Path, asked: argparse.Namespace) -> dict[str, Any]:
    raw = place / "raw"
    many.draw(raw, asked.sources)
    time.sleep(3)  # what has just changed is read again
    with ExitStack() as after:
        net = after.enter_context(network(asked.workers))
        there = after.enter_context(store(place, net)) if asked.store else None
        env = environment({"THREECAD_CACHE": str(place / "cache"), "NO_PROXY": "*", "no_proxy": "*"})
        places = str(raw), str(place / "spread")
        if there is not None:
            env |= {**CREDENTIALS, "AWS_ENDPOINT_URL": there.endpoint}
            there.upload(raw, "raw")
            places = "s3://scale/raw", "s3://scale/spread"
        asked_before = there.counts() if there is not None else Counter()
        with cluster(place, net, asked.workers, env) as running:
            before = net.moved()
            meters = [Meter([running.scheduler.pid]), Meter([process.pid for process in running.workers])]
            with killing(running.address, asked.kill_every) as kills:
                spread = converted(place, *places, f"dask:{running.address}", env)
            scheduler, workers = (meter.end() for meter in meters)
            after_, counts, most = net.moved(), counted(running.address), peak(running.scheduler.pid)
        requests = None
        if there is not None:
            requests = {name: count - asked_before[name] for name, count in there.counts().items()}
        made = tree(place / "spread") if there is None else there.tree("spread")
    threads = converted(place, str(raw), str(place / "threads"), "threads", env)
    return {
        "machine": {"python": platform.python_version(), "cores": os.cpu_count(), "system": platform.platform()},
        "network": net.told,
        "workers": asked.workers,
        "killed": len(kills),
        "dask": spread
        | {"cpu_scheduler": scheduler, "cpu_workers": workers, "scheduler_peak_mb": most}
        | {"bytes_on_cables": None if before is None or after_ is None else after_ - before, "requests": requests}
        | counts,
        "threads": threads,
        "files": len(made),
        "differing": differing(made, tree(place / "threads")),
    }


def show(found: dict[str, Any]) -> None:
    dask, threads = found["dask"], found["threads"]
    each = 1000 / dask["sources"]
    rows = [
        ("network", found["network"]),
        ("sources", f"{dask['sources']:,}, {found['files']:,} files"),
        ("workers, killed", f"{found['workers']}, {found['killed']} times"),
        ("seconds", f"{dask['seconds']:.1f}; by the threads of one process {threads['seconds']:.1f}"),
        ("sources a second a worker", f"{dask['sources'] / dask['seconds'] / found['workers']:.1f}"),
        ("CPU ms a source: workers", f"{dask['cpu_workers'] * each:.2f}"),
        ("                 scheduler", f"{dask['cpu_scheduler'] * each:.2f}"),
        (
            "                 the process started",
            f"{dask['cpu'] * each:.2f}; by threads, all in all, {threads['cpu'] * each:.2f}",
        ),
        ("peak MB: scheduler", f"{dask['scheduler_peak_mb']:.0f}"),
        ("         the process started", f"{dask['peak_mb']:.0f}; by threads {threads['peak_mb']:.0f}"),
        ("bytes to and from workers", "not counted" if dask["bytes_on_cables"] is None else f"{dask['bytes_on_cables']:,}"),
        ("requests to the store", _told(dask["requests"])),
        ("given out again", f"{dask['given_out_again']} of {dask['tasks']:,} tasks"),
        ("finished twice, told twice", f"{dask['finished_again']}, {dask['told_twice']}"),
        ("files that differ from threads'", str(len(found["differing"]))),
    ]
    for name, value in rows:
        print(f"{name:<36} {value}")


def _told(requests: dict[str, int] | None) -> str:
    return "no store" if requests is None else ", ".join(f"{name} {count:,}" for name, count in sorted(requests.items()))


def main() -> None:
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2], Path(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kill-every", type=float, default=60.0, metavar="SECONDS")
    parser.add_argument("--store", action="store_true", help="photographs and data set lie in a store (needs moto)")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    asked = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: all is taken down
    place = Path(tempfile.mkdtemp(prefix="threecad-cluster-"))
    try:
        found = measure(place, asked)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    show(found)
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=2) + "\n")
    sys.exit(1 if found["differing"] or found["dask"]["told_twice"] else 0)


if __name__ == "__main__":
    main()
