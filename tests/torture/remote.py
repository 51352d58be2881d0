"""A store that is slow, refuses, truncates, hangs up, is away, forgets who we are; runs that are killed or meet over it.

The data set goes to `s3://` on a server on loopback (`store.py`); the photographs lie there too, or in a folder. What becomes
of a request is drawn from the trial's dice by the request's number, and so is the request at which something greater happens.
"""

from __future__ import annotations

import hashlib
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from torture import store
from torture.reference import Tree, differences, tree
from torture.trial import Ended, Kind, Lost, Run, Trial

WORDS = ("--slice-size", "256", "--workers", "2")
"""As few tiles as make a data set: each costs several requests, which a server in Python takes its time for."""
ANOTHER = (*WORDS, "--edge", "remainder", "--seed", "1")
"""Another data set of the same photographs, which has to be made anew and moved about."""
BUSY = "is being written by another run"
REFUSED = 1

HASTE = """
import threecad.formats.remote.asking as asking, threecad.pipeline.flags as flags, threecad.pipeline.remote as pipeline_remote
asking.WAITS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
pipeline_remote.SEGMENT_SECONDS = 0.2
"""
"""Between two tries a run waits three seconds in all, not half a minute; the journal goes to the store in more pieces."""
LEASE = 6.0
SHORT_LEASE = f"flags.LEASE, flags.RENEWED, flags.OVERDUE = {LEASE}, {LEASE / 4}, {LEASE * 2 / 3}\n"
"""A dead run's flag counts for so many seconds, not for sixty: where another machine goes on after it."""

SMALL_FAULTS = ("SlowDown", "InternalError", "slow", "cut", "reset", "unheard")
EVENTS = ("kill", "kill", "kill", "expiry", "away", "denial")
REFUSALS = ((400, "ExpiredToken"), (403, "ExpiredToken"), (401, "ExpiredToken"), (403, "InvalidAccessKeyId"))
MARKS = (
    *(("PUT", "/.threecad/raw"), ("PUT", "/.threecad/journal/"), ("PUT", "/.threecad/moves.jsonl"), ("COPY", "")),
    *(("PUT", "/.threecad/state.jsonl"), ("PUT", "/findings.jsonl"), ("PUT", "/manifest.json"), ("PUT", "/.threecad/finished")),
    *(("PUT", "/dataset_card.md"), ("POST", "")),
)
"""Requests that say how far a run is. An event is so many requests after one of them as often as after the first."""

_CLEAN: dict[tuple[Path, tuple[str, ...]], Tree] = {}
_CLEANING = threading.Lock()
_LENGTH: dict[tuple[Path, bool], int] = {}


@dataclass
class Place:
    """One trial's data set in the store, and how commands get there."""

    trial: Trial
    bucket: store.Bucket
    proxy: store.Proxy
    raw: str | None
    lenient: bool
    machine: int = 0
    tokens: int = 1
    secrets: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"s3://{self.bucket.name}/out"

    def start(self, words: tuple[str, ...] = WORDS) -> Run:
        """One more command, from the machine whose turn it is."""
        cache = self.trial.place / f"cache-{self.machine}"
        env = store.credentials(self.proxy.port, self.proxy.token) | {"THREECAD_CACHE": str(cache)}
        prelude = HASTE + (SHORT_LEASE if self.lenient else "")
        self.proxy.begin()
        return self.trial.start(words, prelude=prelude, raw=self.raw, out=self.url, env=env)

    def renew(self) -> None:
        """The old token is worth nothing any more; commands that are started from now on have another."""
        self.tokens += 1
        self.proxy.token = self.token()

    def token(self) -> str:
        made = f"torture-token-{hashlib.sha256(f'{self.bucket.name}/{self.tokens}'.encode()).hexdigest()[:32]}"
        self.secrets.append(made)
        return made

    # --- what must hold

    def assert_sound(self) -> None:
        self.proxy.watch.assert_true()

    def assert_complete(self, *, flags: bool = False) -> None:
        """The objects of a clean run, and none beside them: no staging, no journal; no flag, unless taking it down may fail."""
        there = self.bucket.tree("out")
        kept = {name: digest for name, digest in there.items() if not (flags and name.startswith(".threecad/lock/"))}
        wrong = differences(kept, clean(self.trial, WORDS))
        if wrong:
            raise Lost(f"{wrong[0]} ({len(wrong)} such)")

    def assert_nothing_told(self) -> None:
        """No key, no secret, no token and no signature in what was printed, in any file, in any object."""
        hidden = [word.encode() for word in (store.KEY, store.SECRET, *self.secrets, "X-Amz-Signature", "Signature=")]
        for path in sorted(self.trial.place.rglob("*")):
            if path.is_file():
                _assert_silent(str(path.relative_to(self.trial.place)), path.read_bytes(), hidden)
        for name in self.bucket.objects("out"):
            _assert_silent(f"{self.url}/{name}", self.bucket.read(f"out/{name}"), hidden)


def _assert_silent(name: str, data: bytes, hidden: list[bytes]) -> None:
    for number, word in enumerate(hidden):
        if word in data:
            raise Lost(f"{name} tells {('the key', 'the secret')[number] if number < 2 else 'a token or a signature'}")


# ---------------------------------------------------------------- what is made of a trial


def attempt(trial: Trial) -> None:
    """Three trials of four strike one run after the other; one of four lets two meet."""
    store.refuse_without_server()
    meet = trial.dice.random() < 0.25
    with _placed(trial) as place:
        try:
            if trial.dice.random() < 0.3:
                _undisturbed(place, ANOTHER)
            if meet:
                _meet(place)
            else:
                _strike_in_a_row(place)
            place.proxy.calm()
            _undisturbed(place, WORDS)
            place.assert_sound()
            place.assert_complete()
            place.assert_nothing_told()
            if not any(what.startswith("kill") for what in place.proxy.did):
                trial.assert_no_temporary_file()
        except Lost:
            _keep_objects(place)
            raise
        finally:
            trial.notes.update(place.proxy.did)


def clean(trial: Trial, words: tuple[str, ...]) -> Tree:
    """What a run between two folders makes of the photographs, as a store would hold it."""
    key = trial.reference.base, words
    with _CLEANING:
        if key not in _CLEAN:
            out = trial.place / "clean" / "out"
            out.parent.mkdir(exist_ok=True)
            ended = trial.run(words, out=out)
            if ended.code != trial.reference.code:
                raise Lost(f"a clean run in a folder ended with {ended.code}: {ended.last_words}")
            _CLEAN[key] = {name: digest for name, digest in tree(out).items() if digest != "folder"}
    return _CLEAN[key]


@contextmanager
def _placed(trial: Trial) -> Iterator[Place]:
    mark = hashlib.sha256(str(trial.place).encode()).hexdigest()[:12]
    with store.bucket(f"torture-{trial.number}-{mark}") as bucket:
        raw = None
        if trial.dice.random() < 0.5:
            bucket.upload(trial.raw, trial.raw.name)
            raw = f"s3://{bucket.name}/{trial.raw.name}"
            trial.notes["photographs in the store"] += 1
        with store.proxied(bucket, "out", "") as proxy:
            place = Place(trial, bucket, proxy, raw, lenient=trial.dice.random() < 0.5)
            proxy.token = place.token()
            yield place


def _undisturbed(place: Place, words: tuple[str, ...]) -> None:
    """The same command until it succeeds: where a run of another machine died, its flag has to grow old first."""
    until = time.monotonic() + 4 * LEASE
    while True:
        ended = place.start(words).wait()
        if ended.code == place.trial.reference.code and not ended.crashed:
            return
        if BUSY not in ended.told or not place.lenient or time.monotonic() > until:
            raise Lost(f"an undisturbed run ended with {ended.code}: {ended.last_words}")
        place.trial.notes["waited for a dead run's flag"] += 1
        time.sleep(0.5)


# ---------------------------------------------------------------- one after the other


def _strike_in_a_row(place: Place) -> None:
    trial = place.trial
    for _ in range(trial.in_a_row(5)):
        event = trial.dice.choice(EVENTS)
        plan = Plan(place, event)
        plan.begin()
        run = place.start()
        plan.run = run
        ended = run.wait()
        plan.end()
        place.assert_sound()
        trial.faults += plan.struck + plan.small
        if plan.killed:
            continue
        _judge(place, ended, plan)
        if ended.code == trial.reference.code:
            place.assert_complete(flags=True)  # whatever happened has cost time only
            trial.notes["ended well all the same"] += 1


def _judge(place: Place, ended: Ended, plan: Plan) -> None:
    place.trial.assert_sentence(ended, REFUSED)
    if ended.code == REFUSED:
        if BUSY in ended.told and place.lenient:
            return
        place.trial.notes["gave up with a sentence"] += 1
        if not (plan.struck or plan.small):
            raise Lost(f"it gave up and nothing had happened: {ended.last_words}")


class Plan:
    """What happens to one run: small things to a share of its requests, and one greater thing at one of them."""

    def __init__(self, place: Place, event: str) -> None:
        dice = place.trial.dice
        self._place = place
        self._event = event
        self._dice = dice.random()
        self._share = dice.choice([0.0, 0.02, 0.05, 0.1])
        self._faults = dice.sample(SMALL_FAULTS, dice.randint(1, 3))
        self._mark = dice.choice(MARKS) if dice.random() < 0.5 else None
        self._key = place.trial.reference.base, place.raw is not None
        self._whole = _LENGTH.get(self._key, 250)
        self._after = dice.randint(0, 8) if self._mark else dice.randint(1, self._whole)
        self._seconds = dice.choice([0.3, 1.0, 3.0, 6.0])
        self._refusal = dice.choice(REFUSALS)
        self._once_through = dice.random() < 0.5
        self._machines = place.lenient and dice.random() < 0.5
        self._lock = threading.Lock()
        self._since: int | None = None
        self._before = dict(place.proxy.did)
        self.run: Run | None = None
        self.killed = False
        self.struck = False

    def begin(self) -> None:
        self._place.proxy.fault = self

    def end(self) -> None:
        """What this run was denied the next one gets; it comes from another machine now and then."""
        if self._mark is None:  # what was over before its moment tells that runs are shorter, and so on
            _LENGTH[self._key] = max(20, round(self._whole * (1.1 if self.struck else 0.8)))
        self._place.proxy.calm()
        if self._machines:
            self._place.machine += 1
            self._place.trial.notes["another machine went on"] += 1

    @property
    def small(self) -> bool:
        return self._place.proxy.did != self._before

    def __call__(self, number: int, method: str, key: str) -> str | None:
        if self._due(number, method, key):
            self._happen()
            if self._event == "denial":
                return "AccessDenied"
            if self.killed and self._once_through:
                return "reset"  # it does not even reach the store
        dice = random.Random(f"{self._dice}:{number}")
        return dice.choice(self._faults) if dice.random() < self._share else None

    def _due(self, number: int, method: str, key: str) -> bool:
        with self._lock:
            if self.struck:
                return False
            if self._mark is not None and self._since is None and method == self._mark[0] and self._mark[1] in f"/{key}":
                self._since = number
            begun = 0 if self._mark is None else self._since
            self.struck = begun is not None and number - begun >= self._after
            return self.struck

    def _happen(self) -> None:
        place, proxy = self._place, self._place.proxy
        phase = {"publication": "publishing", "report": "reporting", "sources": "cutting tiles", "scan": "scanning"}
        if self._event == "kill":
            while self.run is None:
                time.sleep(0.001)
            self.killed = self.run.strike(signal.SIGKILL)
            self.struck = self.killed
            if self.killed:
                proxy.note(f"kill -9 while {phase.get(proxy.phase, 'starting')}")
        elif self._event == "expiry":
            proxy.refusal = self._refusal
            place.renew()
            proxy.note(f"credentials ended ({self._refusal[0]} {self._refusal[1]})")
        elif self._event == "away":
            proxy.until = time.monotonic() + self._seconds
            proxy.note("store away")
        else:
            proxy.note("access denied once")


# ---------------------------------------------------------------- at once


def _meet(place: Place) -> None:
    """Two runs that write to one URL, from one machine or from two: one holds it, the other one says so."""
    trial = place.trial
    place.lenient = False
    other = ANOTHER if trial.dice.random() < 0.5 else WORDS
    two_machines = trial.dice.random() < 0.7
    pause = trial.dice.choice([0.0, 0.0, trial.dice.uniform(0, 2 * trial.reference.seconds)])
    place.proxy.fault = _slow_now_and_then(trial.dice.random())
    runs = [place.start(WORDS)]
    time.sleep(pause)
    place.machine += two_machines
    runs.append(place.start(other))
    ended = [run.wait() for run in runs]
    trial.faults += 1
    trial.notes[f"two runs at once, {'two machines' if two_machines else 'one machine'}"] += 1
    for each in ended:
        trial.assert_sentence(each, REFUSED)
        if each.code == REFUSED:
            trial.notes["refused: another run writes"] += 1
            if BUSY not in each.told:
                raise Lost(f"it gave up for another reason than the other run: {each.last_words}")
    if all(each.code == REFUSED for each in ended):
        raise Lost("both gave up, and nobody held the place")
    place.assert_sound()


def _slow_now_and_then(seed: float) -> Callable[[int, str, str], str | None]:
    return lambda number, method, key: "slow" if random.Random(f"{seed}:{number}").random() < 0.03 else None


def _keep_objects(place: Place) -> None:
    """What the store held, beside the logs."""
    for name in place.bucket.objects("out"):
        path = place.trial.place / "objects" / quote(name, safe="")  # in a store a name may be a file's and a folder's
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(place.bucket.read(f"out/{name}"))


KINDS = (
    Kind(
        "remote",
        "a store is slow, refuses, truncates, is away, forgets who we are; runs are killed or meet over it",
        attempt,
        share=6,
    ),
)
