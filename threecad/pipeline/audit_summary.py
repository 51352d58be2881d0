"""What a person reads on the terminal after `threecad audit`."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from rich.text import Text

from threecad.domain import MEANING, Code
from threecad.pipeline.audit import Audit
from threecad.pipeline.summary import count, plain, terminal

MOST = 20
"""Lines of a list on the terminal; `--clean` and `--json` hold them all."""


def show(found: Audit, dataset: Path, clean: Path | None = None) -> None:
    """Print what an audit found; `clean` is the file that its list was written to."""
    console = terminal()

    def say(text: str, style: str = "") -> None:
        console.print(Text(plain(text), style=style), soft_wrap=True)

    def tell(title: str, lines: Iterable[str]) -> None:
        every = list(lines)
        if every:
            say(title, "bold")
            for line in every[:MOST]:
                say(f"  {line}")
            if len(every) > MOST:
                say(f"  … and {len(every) - MOST:,} more: --json tells all")

    say(f"{found.name} · {count(found.images, 'image')} compared · layout {found.layout}", "bold")
    for exact, title in ((True, "The same bytes in two splits"), (False, "Nearly the same picture in two splits")):
        groups = (group for group in found.copies if group.exact is exact)
        tell(title, (f" {'=' if exact else '≈'} ".join(f"{path} ({split})" for path, split in group.members) for group in groups))
    tell(
        "Tiles in two splits that share pixels",
        (f"{each.first} and {each.second} share {count(each.pixels, 'pixel')} of {each.source}" for each in found.overlaps),
    )
    tell("Findings", (f"{each.code} {each.source}: {MEANING[each.code]} ({each.detail})" for each in found.findings))
    if found.clean and len(found.splits) < 2:
        there = f"all is of split {found.splits[0]}" if found.splits else "there is no split"
        say(f"Nothing can stand in two splits: {there}.", "bold")
        return
    if found.clean:
        say("Clean: no image, no photograph and no pixel stands in two splits.", "bold green")
        return
    if found.unseen:
        what = count(found.unseen, "image or folder", "images or folders")
        say(f"NOT clean: {what} could not be compared, so nobody knows about them: repair or remove them.", "bold red")
    listed = len({finding.source for finding in found.findings if finding.code is Code.LEAK})
    if listed:
        say(f"NOT clean: a list names {count(listed, 'file')} in two splits: correct the list.", "bold red")
    if found.dropped:
        splits = Counter(PurePosixPath(path).parts[0] for path, _ in found.dropped)
        where = f" ({', '.join(f'{count:,} in {name}' for name, count in sorted(splits.items()))})" if len(splits) < 10 else ""
        say(f"NOT clean: {count(len(found.dropped), 'image')} to leave out{where} to make the splits disjoint.", "bold red")
        if clean is not None:
            say(f"What to leave out, with the reasons: {clean}")
        else:
            say(f"Next, to list them: {shlex.join(('threecad', 'audit', str(dataset), '--clean', 'drop.txt'))}")
    elif clean is not None:
        say(f"No image to leave out would help: {clean} lists none.")
