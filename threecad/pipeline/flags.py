"""How one run keeps all others away from a place in a store, which knows no locks."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from threecad.errors import BusyError, ThreecadError
from threecad.formats.remote import Remote, StoreError, hastily
from threecad.pipeline.files import HOME

FLAGS = f"{HOME}/lock"

LEASE = 60.0
"""Seconds, by the store's clock, after which a flag that nobody renewed counts for nothing."""

RENEWED = LEASE / 4

OVERDUE = LEASE * 2 / 3
"""Seconds without a renewal after which a run looks whether the place is still its own before it writes anything more."""


class Flag:
    """Says that a run writes to a place: an object that is renewed while it does, and counts for nothing when it is not.

    A run raises its flag, then looks: where another's is up, it takes its own down and gives way. Of two that raise theirs at
    the same time at least one sees the other's, in any store that lists what was written before; so never two write, and no store
    needs to know more than how to write and to list. Whether a flag is too old to count is told by the store's own clock.
    """

    def __init__(self, out: Remote, note: Path) -> None:
        self._out = out
        self._note = note
        self._token = secrets.token_hex(8)
        self._renewed = _clock()
        self._ended = threading.Event()
        self._keeping = threading.Lock()
        self._thread: threading.Thread | None = None

    def take(self) -> None:
        """Raise it; BusyError where another run's is up."""
        self._bury()
        self._note.write_text(self._token, encoding="utf-8")
        for attempt in range(4):
            fresh, stale = self._raised()
            if not fresh:
                self._out.remove([f"{FLAGS}/{token}" for token in stale])
                return
            self._lower()
            if attempt == 3 or self._token > min(fresh):
                break
            time.sleep(0.2 + 0.2 * attempt)  # the other one gives way, if it has just come too
        raise BusyError(
            f"{self._out} is being written by another run, or by one that ended without a word less than {LEASE:g} seconds ago; "
            "wait for it, or choose another place"
        )

    def keep(self, tick: Callable[[], None]) -> None:
        """Renew it from now on, and call `tick` every second, until it is taken down."""

        def run() -> None:
            while not self._ended.wait(min(1.0, RENEWED / 4)):
                tick()
                if _clock() - self._renewed >= RENEWED:
                    with suppress(StoreError):  # once more in a second; `check` judges what becomes of it
                        self._renew()

        self._thread = threading.Thread(target=run, name="threecad-flag", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """See that it is up; where it was not renewed for so long that another run may have come (this machine slept, the
        store could not be reached), look. BusyError where one has."""
        if _clock() - self._renewed < OVERDUE:
            return
        fresh, _ = self._raised()
        if fresh:
            self._lower()
            raise BusyError(f"{self._out}: another run has taken over, for this one was not heard of; what is finished is kept")

    def end(self) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        with suppress(ThreecadError, OSError), hastily():
            self._lower()
            self._note.unlink(missing_ok=True)

    def _renew(self) -> None:
        with self._keeping:
            began = _clock()
            (self._out / FLAGS / self._token).write(b"threecad\n")
            self._renewed = began

    def _raised(self) -> tuple[list[str], list[str]]:
        """Raise it and look: the other flags that count, and those that do not any more."""
        self._renew()
        found = {path.rpartition("/")[2]: looks.st_mtime_ns for path, looks in self._out.files(FLAGS)}
        now = found.pop(self._token, 0)
        fresh = [token for token, time_ns in found.items() if now - time_ns <= LEASE * 1e9]
        return fresh, [token for token in found if token not in fresh]

    def _lower(self) -> None:
        self._out.remove([f"{FLAGS}/{self._token}"])

    def _bury(self) -> None:
        """Take down the flag of a run that died on this machine: whoever holds the folder here knows that it did."""
        with suppress(OSError, ValueError):
            token = self._note.read_text(encoding="utf-8")
            if len(token) == len(self._token) and token.isalnum():
                self._out.remove([f"{FLAGS}/{token}"])


def _clock() -> float:
    """Seconds that go on while the machine sleeps, where it can tell."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.time()
