"""The command line: parse, one call, print, exit code; nothing else.

`frame` holds the group, the exit codes and what all commands do alike; the commands are in the other modules, by what they are
for. What a command needs is imported when it runs, so that `threecad --help` answers at once.
"""

from __future__ import annotations

from threecad.cli import exporting, judging, learning, making, people, predicting, scoring, sharding, telling
from threecad.cli.frame import main

__all__ = ["exporting", "judging", "learning", "main", "making", "people", "predicting", "scoring", "sharding", "telling"]
