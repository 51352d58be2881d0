"""The leak audit of a finished data set: what stands in two splits, and the list of what to leave out so that nothing does.

Digests and fingerprints are enough for that; no mask is opened.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from threecad.curation import leaks
from threecad.curation.statistics import doubts
from threecad.domain import Code, Finding
from threecad.errors import ConfigError, ReadError, ThreecadError
from threecad.formats.dataset import row_of
from threecad.pipeline.convert import Progress
from threecad.pipeline.files import write_atomically
from threecad.pipeline.profile import Gathered, called, profile
from threecad.settings import Splitting

if TYPE_CHECKING:
    from threecad.curation.leaks import Keep
    from threecad.curation.statistics import Copies, Overlap
    from threecad.formats.layouts import Request
    from threecad.pipeline.measures import Place

FORMAT = 1
"""Version of the JSON that `as_json` gives."""


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit found. `images` are those that were compared, `unseen` the images of a split, and the folders that may hold
    some, that could not be; `copies` and `overlaps` are only those across splits.

    `dropped` pairs the path of each image to leave out with the reason, sorted. `findings` are about what could not be compared,
    or what a list names in two splits, and about crowds of look-alikes. `note` is about the cache.
    """

    name: str
    layout: str
    images: int
    unseen: int
    copies: tuple[Copies, ...]
    overlaps: tuple[Overlap, ...]
    dropped: tuple[tuple[str, str], ...]
    findings: tuple[Finding, ...]
    note: str | None = field(default=None, compare=False)
    splits: tuple[str, ...] = ()
    """Those in which images were found, sorted: of fewer than two there is nothing to tell apart."""

    @property
    def clean(self) -> bool:
        """Whether no image, photograph or pixel stands in two splits. Where an image could not be seen, nobody knows."""
        return not self.dropped and not self.unseen and not any(finding.code is Code.LEAK for finding in self.findings)


def audit(
    root: str | Path,
    request: Request | None = None,
    *,
    keep: Keep = "test",
    near: bool = True,
    category: str | Sequence[str] | None = None,
    workers: int | None = None,
    cache: Place = "default",
    progress: Callable[[Progress], None] | None = None,
) -> Audit:
    """Look for images that stand in two splits of the data set at `root`: the same bytes, nearly the same picture, or tiles that
    share pixels of a photograph.

    `keep` is the split that stays whole; `near=False` lets look-alikes be. Otherwise as `profile`.
    """
    going = profile(root, request, category=category, masked=False, workers=workers, cache=cache, progress=progress)
    contents = Gathered(going.listing.entries)
    findings = [each for each in going.listing.findings if each.code is Code.LEAK or doubts.may_hide(each)]
    unseen = doubts.hidden(going.listing.findings)
    for entry, measure, own in going:
        contents.add(entry, measure)
        unseen += doubts.uncompared(entry, measure)
        if measure is None:
            findings += own
    settings = Splitting(near_duplicates=near)
    splits = {entry.image: entry.split for entry in contents.entries if entry.image is not None}
    copies, crowds = leaks.compare(contents.digests, contents.fingerprints, splits, settings)
    overlaps = leaks.overlaps(contents.entries, contents.sizes, contents.digests)
    whole = leaks.Contents(contents.entries, contents.sizes, contents.digests, contents.fingerprints)
    dropped = leaks.disjoint(whole, settings, keep, near)
    findings += crowds
    return Audit(
        name=called(Path(root), going.listing)[0],
        layout=going.listing.layout,
        images=len(contents.digests),
        unseen=unseen,
        copies=tuple(group for group in copies if group.across),
        overlaps=tuple(overlaps),
        dropped=tuple(dropped),
        findings=tuple(sorted(set(findings), key=lambda each: (each.code, each.source, each.detail))),
        note=going.note,
        splits=tuple(sorted({str(split) for split in splits.values() if split is not None})),
    )


# ---------------------------------------------------------------- the list of what to leave out


def write_clean(found: Audit, file: str | Path) -> None:
    """Write the images to leave out to `file`, one path a line, each below a comment with the reason; see docs/auditing.md.

    ThreecadError where it cannot be written; what stood there before then stays. ConfigError where a folder stands there, or
    where there is none to hold it.
    """
    if Path(file).is_dir():
        raise ConfigError(f"{file} is a folder; expected a file to write the list into")
    if not Path(file).parent.is_dir():
        raise ConfigError(f"{file}: no folder {Path(file).parent}; expected one to write the list into")
    lines = [f"# {_quoted(found.name)}: {len(found.dropped)} of {found.images} images to leave out"]
    for path, reason in found.dropped:
        lines += [f"# {_quoted(reason)}", _quoted(path)]
    try:
        write_atomically(Path(file), "".join(f"{line}\n" for line in lines).encode())
    except OSError as error:
        raise ThreecadError(f"{file}: cannot be written ({error.strerror})") from None


def read_clean(file: str | Path) -> list[str]:
    """The paths of a list that `write_clean` wrote, or of one written by hand. ReadError names the line that cannot be read."""
    try:
        lines = Path(file).read_text(encoding="utf-8-sig").split("\n")  # not splitlines: a name may hold some of its ends
    except OSError as error:
        raise ReadError(f"{file}: {error.strerror}") from None
    except ValueError as error:
        raise ReadError(f"{file}: not UTF-8 ({error})") from None
    paths = []
    for number, text in enumerate(lines, 1):
        line = text.removesuffix("\r")
        if not line.startswith('"'):
            path: object = line
        else:
            try:
                path = json.loads(line)
            except (ValueError, RecursionError):
                path = None
            if not isinstance(path, str):
                raise ReadError(f"{file}, line {number}: found {line[:60]!r}; expected a path, or one in quotes as JSON has them")
        if line and not line.startswith("#"):
            paths.append(str(path))
    return paths


def _quoted(text: str) -> str:
    r"""A path or a phrase on a line of its own: as it stands, or as a JSON string where that would not be one line or another
    thing than a path.

    >>> print(_quoted("part/train/good/1.png"), _quoted("划痕/1.png"), _quoted("#1.png"), _quoted("a\n/etc"))
    part/train/good/1.png 划痕/1.png "#1.png" "a\n/etc"
    """
    plain = text.isprintable() and text == text.strip() and text[:1] not in ("", "#", '"')
    return text if plain else json.dumps(text)


def as_json(found: Audit) -> dict[str, Any]:
    """An audit as plain values; keys are the fields."""
    return {
        "format": FORMAT,
        "name": found.name,
        "layout": found.layout,
        "images": found.images,
        "splits": list(found.splits),
        "unseen": found.unseen,
        "clean": found.clean,
        "copies": [{"exact": group.exact, "members": [list(member) for member in group.members]} for group in found.copies],
        "overlaps": [
            {
                "source": each.source,
                "first": each.first,
                "second": each.second,
                "pixels": each.pixels,
                "splits": list(each.splits),
            }
            for each in found.overlaps
        ],
        "dropped": [{"path": path, "reason": reason} for path, reason in found.dropped],
        "findings": [row_of(finding) for finding in found.findings],
    }
