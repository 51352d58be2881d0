"""Two or three runs at once on one output: one holds it, the others say so and touch nothing, whatever they were to make."""

from __future__ import annotations

import time

from torture.reference import OTHER, PLAIN
from torture.trial import OF_REPORT, Ended, Kind, Lost, Trial

BUSY = "is being written by another run"
REFUSED = (1, 2)


def attempt(trial: Trial) -> None:
    """They start within the time that one takes, so that they meet in the scan, the sources, the publication or the report.

    Where only the report is missing they all write it, at about the same time.
    """
    begin = trial.dice.choice(["nothing", "finished", "without report"])
    if begin != "nothing":
        trial.begin_with(PLAIN)
    if begin == "without report":
        for name in OF_REPORT:
            (trial.out / name).unlink(missing_ok=True)
    other = OTHER if trial.dice.random() < 0.5 else PLAIN
    runs = [trial.start(PLAIN)]
    for number in range(trial.dice.choice([1, 1, 2])):
        if trial.dice.random() < 0.5:
            trial.moment(runs[0])
        else:
            time.sleep(trial.dice.uniform(0, trial.reference.seconds / 10))
        runs.append(trial.start(PLAIN if number else other))
    ended = [run.wait() for run in runs]
    for each in ended:
        _judge(trial, each)
    if all(each.code in REFUSED for each in ended):
        raise Lost("all gave up, and nobody held the folder")
    trial.faults += len(runs) - 1
    trial.assert_sound()
    trial.finish(PLAIN)


def _judge(trial: Trial, ended: Ended) -> None:
    trial.assert_sentence(ended, *REFUSED)
    if ended.code in REFUSED:
        trial.notes["refused"] += 1
        if BUSY not in ended.told:
            raise Lost(f"it gave up for another reason than the other run: {ended.last_words}")
    else:
        trial.notes["finished"] += 1


KINDS = (Kind("together", "two or three runs at once on one output", attempt, share=2),)
