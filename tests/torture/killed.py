"""kill -9 of the command and its children, at any moment, once or several times in a row on one output."""

from __future__ import annotations

import signal

from torture.reference import OTHER, PLAIN, QUICK
from torture.trial import Kind, Trial


def attempt(trial: Trial) -> None:
    """A third of the trials strike a first run, a third one without a report, a third an update of a finished data set."""
    words = trial.dice.choice([PLAIN, QUICK, OTHER])
    if words == OTHER:
        trial.begin_with(PLAIN)
    for _ in range(trial.in_a_row(8)):
        run = trial.start(words)
        struck = trial.moment(run) and run.strike(signal.SIGKILL)
        ended = run.wait()
        if not struck:
            trial.compare(ended, words)  # it was quicker
            return
        trial.faults += 1
        trial.notes[trial.phase(run)] += 1
        trial.assert_sound()
    trial.finish(words)


KINDS = (Kind("kill", "kill -9 at a random moment, up to eight times in a row", attempt, share=24),)
