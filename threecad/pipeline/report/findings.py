"""What was found, by code, with what to do about it; and the same image in several places."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from threecad.curation.statistics import Copies, Statistics
from threecad.domain import MEANING, Action, Code, Finding

MOST_LISTED = 200
"""Findings of one code that are listed; findings.jsonl and `threecad stats --json` hold all."""
MOST_COPIES = 100
"""Groups of copies that are shown, those across splits first."""
MOST_MEMBERS = 8
"""Copies of one group that are shown."""
MOST_OVERLAPS = 200

ADVICE: dict[Code, str] = {
    Code.TOO_FEW_POINTS: 'Draw it again; `repair.two_points = "line:5"` draws a stripe 5 px wide.',
    Code.NOT_FINITE: "Draw it again.",
    Code.NO_AREA: "Draw it again, or delete it.",
    Code.SELF_CROSSING: "Nothing.",
    Code.READINGS_DISAGREE: "Put the vertices in order.",
    Code.TIDIED: "Nothing.",
    Code.DRAWN_WITH_WIDTH: "Check that the width fits.",
    Code.CLIPPED: "Nothing.",
    Code.OUTSIDE: "Look whether it belongs to this image.",
    Code.THIN: "Nothing, or draw it wider.",
    Code.UNKNOWN_KIND: "Draw it as a polygon.",
    Code.UNKNOWN_LABEL: "Add it to `[labels.aliases]`, or correct the spelling.",
    Code.MALFORMED_SHAPE: "Open the file in labelme and draw it again.",
    Code.BAD_MASK: "Draw it again.",
    Code.IGNORE_AREA: "Nothing.",
    Code.BACKGROUND_AREA: "Nothing.",
    Code.ERASED: "Check the order of the shapes.",
    Code.SIMILAR_LABELS: "Name them in a label table.",
    Code.NEEDS_WIDTH: "Set `repair.line_width` or `repair.point_radius`, or draw an outline.",
    Code.ORPHAN_SHAPE: "See the finding about its file.",
    Code.DECIDED: "Nothing; `decisions.json` holds the decision.",
    Code.DECISION_STALE: "Nothing, or decide about the shape as it is drawn now.",
    Code.UNANNOTATED: "Annotate it, move it to a folder `good`, or pass `--unannotated good`.",
    Code.IMAGE_MISSING: "Bring it back, or delete the annotation.",
    Code.IMAGE_UNREADABLE: "Copy it anew from the camera.",
    Code.ANNOTATION_UNREADABLE: "Repair it, or annotate again; the limits are `read.max_json_megabytes` and `read.max_shapes`.",
    Code.PATH_OUTSIDE: "Move the file into the folder.",
    Code.SIZE_MISMATCH: 'Find the right image; `read.size_mismatch = "trust"` takes the points as they are.',
    Code.TOO_LARGE: "Raise `read.max_megapixels`.",
    Code.SECOND_ANNOTATION: "Keep one.",
    Code.IMAGE_BY_NAME: "Check that it is the one.",
    Code.EMBEDDED_IMAGE: "Nothing, or bring the original.",
    Code.ALPHA_DROPPED: "Nothing.",
    Code.CASE_CLASH: "Rename one.",
    Code.FLAG_WITHOUT_SHAPE: "Finish the annotation, or clear the flag.",
    Code.SHAPES_IN_GOOD_FOLDER: "Move the image.",
    Code.NOT_LABELME: "Nothing.",
    Code.FIRST_PAGE_ONLY: "Split it, if the others matter.",
    Code.FILE_UNREADABLE: "Check its permissions.",
    Code.IMAGE_DOUBTFUL: "Look at it.",
    Code.TILE_TOO_SMALL: "Nothing, or lower the ratio.",
    Code.EXACT_DUPLICATE: "Delete the copies; decide which is right.",
    Code.NEAR_DUPLICATE: "Nothing; `split.near_duplicates = false` separates them.",
    Code.LEAK: "Report it; of the kept ones, look.",
    Code.NOTHING_TO_TRAIN_ON: "Add good images, or pass `--unannotated good`.",
    Code.MIXED_GROUP: "Nothing, or a narrower `split.group`.",
    Code.SPLIT_CONFLICT: "Move them together, or out of train.",
    Code.NOT_SHOWN: 'Set `tiling.min_area_ratio` or `tiling.min_px` lower, or `edge = "shift"`.',
    Code.CROWD: "Give `split.group` if they show the same part.",
    Code.FOREIGN_FILE: "Move it away.",
    Code.MASK_MISSING: "Add it, or leave the image out of pixel scores.",
    Code.MASK_ORPHAN: "Check its name.",
    Code.MASK_EMPTY: "Draw the defect, or move the image to the good ones.",
    Code.MASK_NOT_BINARY: "Save masks as PNG with 0 and 255.",
    Code.MASK_OTHER_SIZE: "Export it anew.",
    Code.MASK_UNREADABLE: "Copy or export it anew.",
    Code.MASK_OF_GOOD: "Decide which of the two is right.",
    Code.LISTED_MISSING: "Bring it back, or correct the list.",
    Code.NOT_LISTED: "Add it to the list, or delete it.",
    Code.UNKNOWN_VALUE: "Name it in a class list, or pass `--names`.",
    Code.UNKNOWN_FOLDER: "Check its name.",
}
"""What to do about each finding: the last column of docs/findings.md, where ` marks what is typed."""


@dataclass(frozen=True, slots=True)
class Group:
    """All findings of one code. `outcomes` counts them, gravest first; `listed` are the first of them, `more` the rest."""

    code: Code
    meaning: str
    advice: str
    count: int
    outcomes: tuple[tuple[str, int], ...]
    listed: tuple[Finding, ...]
    more: int


@dataclass(frozen=True, slots=True)
class Member:
    """One of several copies: its path, split, and number in the gallery (None where it is not there)."""

    path: str
    split: str
    number: int | None


@dataclass(frozen=True, slots=True)
class Same:
    """A group of copies; `more` members are not shown."""

    exact: bool
    across: bool
    members: tuple[Member, ...]
    more: int


_RANK = (Action.QUEUED, Action.DROPPED, Action.REPAIRED, Action.KEPT)


def by_code(findings: Iterable[Finding]) -> list[Group]:
    """Findings in groups: what waits for a person first, then what was left out, repaired and merely told."""
    found: dict[Code, list[Finding]] = {}
    for finding in dict.fromkeys(findings):
        found.setdefault(finding.code, []).append(finding)
    return [_group(code, rows) for code, rows in sorted(found.items(), key=lambda item: (min(map(_rank, item[1])), item[0]))]


def _rank(finding: Finding) -> int:
    return _RANK.index(finding.action)


def _group(code: Code, rows: Sequence[Finding]) -> Group:
    ordered = sorted(rows, key=lambda each: (_rank(each), each.source, -1 if each.shape is None else each.shape, each.detail))
    counts = Counter(finding.action for finding in rows)
    outcomes = tuple((action.value, counts[action]) for action in _RANK if counts[action])
    listed = tuple(ordered[:MOST_LISTED])
    return Group(code, MEANING[code], ADVICE[code], len(rows), outcomes, listed, len(rows) - len(listed))


def copies(statistics: Statistics, number: Callable[[str], int | None]) -> list[Same]:
    """The first groups of copies, those across splits before those inside one; `number` finds a path in the gallery."""
    ordered = sorted(statistics.copies, key=lambda each: (not each.across, not each.exact, each.members))
    return [_same(each, number) for each in ordered[:MOST_COPIES]]


def _same(found: Copies, number: Callable[[str], int | None]) -> Same:
    """One member of each split comes first, so that the pair that matters is seen."""
    firsts = {split: (path, split) for path, split in reversed(found.members)}
    ordered = [*sorted(firsts.values()), *(member for member in found.members if member not in firsts.values())]
    members = tuple(Member(path, split, number(path)) for path, split in ordered[:MOST_MEMBERS])
    return Same(found.exact, found.across, members, len(ordered) - len(members))
