"""One trial: a folder of its own, a dice of its own, commands that are disturbed, and at the end the question what was lost."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from torture.reference import PLAIN, QUICK, ROOT, Reference, Tree, command, differences, environment, tree, unsound

LONGEST = 120.0  # seconds that any one command may take before it counts as one that hangs
OF_REPORT = ("dataset_card.md", "metadata.jsonl", "croissant.json", "report.html")
MARKS = (
    *(".threecad/journal.jsonl", ".threecad/moves.jsonl", ".threecad/state.jsonl.new", ".threecad/state.jsonl"),
    *("findings.jsonl", "coco/train.json", "manifest.json", ".threecad/finished", *OF_REPORT),
)
"""Files whose appearance says how far a run is. A moment is waited for from one of them as often as from the run's beginning,
since publishing these few photographs takes hardly a hundredth of a second."""


class Lost(Exception):
    """The trial's fault did damage; says which."""


class Skipped(Exception):
    """This kind of fault cannot be made here; says why."""


class Unfinished(Exception):
    """The campaign's time was over before the trial was; it proves nothing."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How one command ended: negative codes are signals, as `subprocess` has them."""

    code: int
    printed: str
    told: str
    seconds: float

    @property
    def crashed(self) -> bool:
        return "Traceback (most recent call last)" in self.told or "Fatal Python error" in self.told

    @property
    def last_words(self) -> str:
        lines = self.told.strip().splitlines()
        return lines[-1] if lines else "nothing"


class Run:
    """One command under way, in a session of its own so that its children are struck with it."""

    def __init__(self, words: list[str], env: dict[str, str], log: Path, ends: float) -> None:
        self.printed, self.told = log.with_suffix(".out"), log.with_suffix(".err")
        self.ends, self.words = ends, words
        self.began, self.wall = time.monotonic(), time.time_ns()
        with self.printed.open("wb") as out, self.told.open("wb") as err:
            self.process = subprocess.Popen(
                words,
                cwd=ROOT,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def strike(self, number: int) -> bool:
        """Send a signal to the command and all its children; whether it was still there."""
        if not self.running:
            return False
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)
            return True
        return False

    def wait(self, limit: float = LONGEST) -> Ended:
        """How it ended. One that is still there after `limit` seconds hangs, and one whose children outlive it leaks."""
        began = time.monotonic()
        while self.running:
            now = time.monotonic()
            if now > self.ends or now - began > limit:
                self.strike(signal.SIGKILL)
                self.process.wait()
                if now > self.ends:
                    raise Unfinished
                raise Lost(f"the command had not ended after {limit:.0f} s")
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(min(0.5, limit))
        seconds = time.monotonic() - began
        self._assert_alone()
        told, printed = (path.read_text(errors="replace") for path in (self.told, self.printed))
        return Ended(self.process.returncode, printed, told, seconds)

    def _assert_alone(self) -> None:
        """Children end with their parent, be it a moment later."""
        until = time.monotonic() + 2
        with suppress(ProcessLookupError):
            while time.monotonic() < until:
                os.killpg(self.process.pid, 0)
                time.sleep(0.02)
            self.strike(signal.SIGKILL)
            os.killpg(self.process.pid, signal.SIGKILL)
            raise Lost("the command left a child process behind")


@dataclass(slots=True)
class Trial:
    """What a kind of fault is handed. The dice is the seed's, the kind's and the number's: the same trial rolls the same."""

    reference: Reference
    kind: str
    number: int
    place: Path
    dice: random.Random
    after: ExitStack = field(default_factory=ExitStack)
    notes: Counter[str] = field(default_factory=Counter)
    worst: dict[str, float] = field(default_factory=dict)
    raw: Path = field(init=False)
    out: Path = field(init=False)
    bound: tuple[str, ...] = ()
    faults: int = 0
    _logs: int = 0

    def __post_init__(self) -> None:
        for name in ("tmp", "cache", "logs"):
            (self.place / name).mkdir(parents=True)
        self.raw = self.reference.raw
        self.out = self.place / "out"

    # --- what a trial begins with

    def own_raw(self) -> Path:
        """A copy of the photographs that may be spoiled."""
        self.raw = self.place / self.reference.raw.name
        shutil.copytree(self.reference.raw, self.raw)
        return self.raw

    def begin_with(self, words: tuple[str, ...]) -> None:
        """Let the output be a finished data set already."""
        shutil.copytree(self.reference.outs[words], self.out)

    def bind(self) -> None:
        """Let permissions bind the commands, as they bind everybody but root. Raises Skipped where root cannot give that up."""
        if os.geteuid() == 0:
            if shutil.which("setpriv") is None:
                raise Skipped("permissions do not bind root, and there is no setpriv")
            self.bound = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")

    def mount(self, place: Path, *words: str) -> None:
        """Mount something for the time of the trial. Raises Skipped where that is not permitted."""
        place.mkdir(exist_ok=True)
        if os.geteuid() != 0:
            raise Skipped("only root may mount")
        done = subprocess.run(["mount", *words, str(place)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Skipped("mounting is not permitted here")
        self.after.callback(subprocess.run, ["umount", "-l", str(place)], capture_output=True, check=False)

    # --- commands

    def start(
        self,
        words: tuple[str, ...] = PLAIN,
        *,
        prelude: str = "",
        raw: str | None = None,
        out: Path | str | None = None,
        env: dict[str, str] | None = None,
    ) -> Run:
        self._logs += 1
        whole = [*self.bound, *command(raw or self.raw, out or self.out, (*words, *self.reference.more), prelude)]
        log = self.place / "logs" / f"{self._logs:02d}"
        run = Run(whole, environment(self.place) | (env or {}), log, self.reference.ends)
        self.after.callback(run.strike, signal.SIGKILL)
        return run

    def run(self, words: tuple[str, ...] = PLAIN, **more: object) -> Ended:
        return self.start(words, **more).wait()  # type: ignore[arg-type]

    def moment(self, run: Run) -> bool:
        """Wait for a random moment of the run; False when the run was over before."""
        quick = "--no-report" in run.words
        like = QUICK if quick else PLAIN
        whole = self.reference.durations[like]
        marks = [mark for mark in MARKS if not (quick and mark in OF_REPORT)]
        mark = self.dice.choice([None] * len(marks) + list(marks))
        pause = self.dice.uniform(0, 0.9 * whole if mark is None else whole / 40)
        while mark is not None and run.running and not self.appeared(mark, run.wall):
            if time.monotonic() - run.began > LONGEST:
                break
            time.sleep(0.001)
        until = time.monotonic() + pause
        while run.running and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))
        # A machine is not as busy all the time: what was quicker than its moment tells that runs are shorter now, and so on.
        if mark is None:
            self.reference.durations[like] = max(0.2, whole * (1.04 if run.running else 0.85))
        return run.running

    def appeared(self, mark: str, since: int) -> bool:
        try:
            return (self.out / mark).stat().st_mtime_ns >= since
        except OSError:
            return False

    def phase(self, run: Run) -> str:
        """How far a run that was struck had come, from what lies in its output."""
        if self.appeared("report.html", run.wall):
            return "end"
        if self.appeared("manifest.json", run.wall):
            return "report"
        if self.appeared(".threecad/moves.jsonl", run.wall):
            return "publication"
        if self.appeared(".threecad/journal.jsonl", run.wall):
            return "sources"
        return "scan" if self.appeared(".threecad/raw", run.wall) else "start"

    def in_a_row(self, most: int) -> int:
        """How often to strike one output before it is left alone."""
        return self.dice.randint(1, min(most, self.reference.row))

    def tell(self, what: str, seconds: float) -> None:
        """Remember the worst of what was measured."""
        self.worst[what] = max(seconds, self.worst.get(what, 0.0))

    # --- what must hold

    def assert_sound(self) -> None:
        """Whoever looks now sees no manifest, or one that is true of every file."""
        wrong = unsound(self.out)
        if wrong:
            raise Lost(f"{wrong[0]} ({len(wrong)} such)")

    def assert_sentence(self, ended: Ended, *codes: int) -> None:
        """A fault that a command can tell ends in these codes or as if nothing were, and never in a traceback."""
        allowed = {*codes, self.reference.code}
        if ended.crashed:
            raise Lost(f"a traceback: {ended.last_words}")
        if ended.code not in allowed:
            raise Lost(f"exit code {ended.code}, expected {sorted(allowed)}: {ended.last_words}")

    def finish(self, words: tuple[str, ...] = PLAIN, clean: Tree | None = None, code: int | None = None) -> None:
        """The same command once more, undisturbed: it must end well, with the tree of a clean run and nothing beside it."""
        self.compare(self.run(words), words, clean, code)

    def compare(self, ended: Ended, words: tuple[str, ...] = PLAIN, clean: Tree | None = None, code: int | None = None) -> None:
        """What `finish` asks of a run that ended by itself."""
        code = self.reference.code if code is None else code
        if ended.code != code or ended.crashed:
            raise Lost(f"an undisturbed run ended with {ended.code}, expected {code}: {ended.last_words}")
        wrong = differences(tree(self.out), self.reference.trees[words] if clean is None else clean) + unsound(self.out)
        if wrong:
            raise Lost(f"{wrong[0]} ({len(wrong)} such)")
        if self.dice.random() < 0.1:
            again = self.run(words)
            if again.code != code or not again.printed.startswith("Nothing to do"):
                raise Lost(f"a further run found something to do: {again.printed[:100]!r}")

    def finish_as_clean(self, words: tuple[str, ...] = PLAIN) -> None:
        """As `finish`, where the photographs are no longer the reference's: what a clean run makes of them as they are now."""
        straight = self.place / "straight" / "out"
        straight.parent.mkdir()
        ended = self.run(words, out=straight)
        if ended.code not in (0, 3) or ended.crashed:
            raise Lost(f"a clean run over the final input ended with {ended.code}: {ended.last_words}")
        self.finish(words, tree(straight), ended.code)

    def assert_no_temporary_file(self) -> None:
        left = sorted(path.name for path in (self.place / "tmp").iterdir())
        if left:
            raise Lost(f"temporary files are left: {', '.join(left[:3])}")


Attempt = Callable[[Trial], None]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault. `share` is its part of the campaign's time; `once` where one trial says it all."""

    name: str
    what: str
    attempt: Attempt
    share: float = 1.0
    once: bool = False
