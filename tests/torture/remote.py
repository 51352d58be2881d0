"""Network storage that is slow, answers 503, cuts its answers short, or lets a token expire in the middle.

To be filled when `threecad convert` takes s3:// and its like: a server on the loopback address in the campaign's own process,
faults drawn from `trial.dice`, and the objects of the bucket compared as `trial.finish` compares files.
"""

from __future__ import annotations

from torture.trial import Kind, Skipped, Trial


def attempt(trial: Trial) -> None:
    raise Skipped("convert does not write to network storage yet")


KINDS = (Kind("remote", "network storage is slow, refuses, truncates, or forgets who we are", attempt),)
