"""Who trains, who validates and who tests: whole sources, bound into units, before anything is cut.

A unit is a set of sources that must stay together: those of one group (part, serial, lot) and those that show the same
photograph. The units of a stratum (same categories, same types) stand in an order that a hash of the seed and of their names
gives, and the first of them train, as many as come closest to the share asked for. Neither the order of the input nor other
strata matter, and a new unit moves few others:

- With single images, one further image changes the split of at most one other image of its stratum, and of none elsewhere.
- With units of up to m images, a further unit of a images moves other units of at most a + 2m images altogether (m counts the
  new unit too).
- Validation takes its share from those that would train and from those that would test, in an order of its own: nothing moves
  between train and test because of it.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from threecad.curation.duplicates import bind
from threecad.domain import Action, Code, Finding, Split, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from threecad.domain import Sample, Window
    from threecad.settings import Splitting


@dataclass(frozen=True, slots=True)
class Candidate:
    """One source that wants a split.

    `types` are the defect types it shows (none for a good image), `trainable` says that nothing at all was drawn on it and that
    a folder or an annotation vouches for it, `group` is what `group_of` read from its id, `split` what its folders name.
    """

    id: str
    category: str
    types: frozenset[str]
    trainable: bool
    group: str | None
    split: Split | None


@dataclass(frozen=True, slots=True)
class _Unit:
    """Candidates that stay together, sorted by id. `key` is the name the hash is taken of."""

    key: str
    members: tuple[Candidate, ...]

    @property
    def trainable(self) -> bool:
        return all(member.trainable and not member.types for member in self.members)

    @property
    def stratum(self) -> tuple[tuple[str, ...], bool, tuple[str, ...]]:
        categories = {member.category for member in self.members}
        types = {type_ for member in self.members for type_ in member.types}
        return tuple(sorted(categories)), self.trainable, tuple(sorted(types))


def group_of(source_id: str, pattern: str | None) -> str | None:
    """The group that a source's id names: the pattern's group `group`, else its groups joined by `/`, else the whole match.

    None without a pattern, without a match, and where the match is empty: an empty name would bind strangers together.

    >>> group_of("line7/S0412_cam2.png", r"(?P<group>S\\d+)_cam")
    'S0412'
    >>> group_of("lot3/part7/top.png", r"lot(\\d+)/part(\\d+)")
    '3/7'
    >>> group_of("lot3/other.png", r"lot(\\d+)/part(\\d+)") is None
    True
    """
    match = re.search(pattern, source_id) if pattern is not None else None
    if match is None:
        return None
    if "group" in match.re.groupindex:
        return match["group"] or None
    if match.re.groups:
        return "/".join(part for part in match.groups() if part) or None
    return match[0] or None


def assign(
    candidates: Iterable[Candidate], bound: Iterable[frozenset[str]], settings: Splitting
) -> tuple[dict[str, Split], list[Finding]]:
    """A split for every candidate, and what kept sources from the split one might expect.

    `bound` holds the sets of sources that must stay together besides those of equal groups; ids that are no candidates may
    occur in them. A unit trains only if all its members may. Where units can train, at least one does if `train` is above 0, and
    of two or more at least one tests if it is below 1; validation never takes all units of a stratum. With `respect_folders` a
    unit whose members' folders name one split gets that; the shares are then those of the other units.
    """
    units = _units(candidates, bound)
    splits: dict[str, Split] = {}
    findings: list[Finding] = []
    strata: defaultdict[tuple[tuple[str, ...], bool, tuple[str, ...]], list[_Unit]] = defaultdict(list)
    for unit in units:
        findings += _mixed(unit)
        named = {member.split for member in unit.members if member.split is not None} if settings.respect_folders else set()
        if named:
            split, conflict = _named(unit, named)
            splits |= {member.id: split for member in unit.members}
            findings += conflict
        else:
            strata[unit.stratum].append(unit)
    for (_, trainable, _), members in sorted(strata.items()):
        test = members
        parts: list[tuple[Split, list[_Unit]]] = []
        if trainable and settings.train > 0:
            train, test = _first(members, settings.train, f"{settings.seed}", least=1)
            parts.append((Split.TRAIN, train))
        parts.append((Split.TEST, test))
        for split, part in parts:
            validating, rest = _first(part, settings.validation, f"{settings.seed}:validation", least=0)
            splits |= {member.id: Split.VALIDATION for unit in validating for member in unit.members}
            splits |= {member.id: split for unit in rest for member in unit.members}
    findings += _nothing_to_train_on(units, splits, settings)
    return splits, findings


def units(candidates: Iterable[Candidate], bound: Iterable[frozenset[str]]) -> dict[str, str]:
    """The name of each source's unit: what `audit` needs to see that nothing bound together was torn apart.

    A unit is named by the smallest of its groups, else by its smallest source, since those seldom change when images are added.

    >>> groups = {"1.png": "A", "2.png": None, "3.png": "A"}
    >>> images = [Candidate(name, "cover", frozenset(), True, group, None) for name, group in groups.items()]
    >>> units(images, [frozenset({"2.png", "4.png"})])
    {'1.png': 'A', '3.png': 'A', '2.png': '2.png'}
    """
    return {member.id: unit.key for unit in _units(candidates, bound) for member in unit.members}


def audit(samples: Iterable[Sample], groups: Mapping[str, str]) -> list[Finding]:
    """Leaks in a finished data set, read as a stranger would: none of what `assign` intended is trusted.

    No source, no group (`groups`: source → name) and no identical tile (`Sample.digest`) may stand in two splits, and no tile
    with a defect, nor any tile of a source that shows one, may train. `samples` are looked at once, in any order; what is
    remembered is a line a source, a group and a distinct digest. One finding a leak, with the tiles that prove it. An identical
    tile is only kept in mind, not an error of the split: two photographs may both hold a tile of nothing but black.
    """
    findings: list[Finding] = []
    sources: dict[str, tuple[Split, str, Window]] = {}
    grouped: dict[str, tuple[Split, str]] = {}
    digests: dict[str, tuple[Split, str]] = {}
    flawed: dict[str, str] = {}
    training: dict[str, str] = {}
    told: set[tuple[str, str]] = set()

    def leak(kind: str, what: str, sample: Sample, detail: str) -> None:
        if (kind, what) not in told:
            told.add((kind, what))
            action = Action.KEPT if kind == "digest" else Action.DROPPED
            findings.append(Finding(Code.LEAK, action, sample.source, None, detail, _middle(sample.window)))

    for sample in samples:
        if sample.state is not State.GOOD or sample.defects or sample.labels:
            flawed.setdefault(sample.source, sample.id)
        if sample.split is None:
            continue
        here = f"tile {sample.id} ({sample.split})"
        if sample.split is Split.TRAIN:
            training.setdefault(sample.source, sample.id)
        split, other, window = sources.setdefault(sample.source, (sample.split, sample.id, sample.window))
        if split is not sample.split:
            shared = _overlap(window, sample.window)
            leak("source", sample.source, sample, f"one source in two splits: {here}, tile {other} ({split}){shared}")
        group = groups.get(sample.source)
        if group is not None:
            split, other = grouped.setdefault(group, (sample.split, sample.source))
            if split is not sample.split:
                leak("group", group, sample, f"group {group} in two splits: {here}, source {other} ({split})")
        if sample.digest is not None:
            split, other = digests.setdefault(sample.digest, (sample.split, sample.id))
            if split is not sample.split:
                leak("digest", sample.digest, sample, f"the same picture in two splits: {here}, tile {other} ({split})")
    for source in sorted(flawed.keys() & training.keys()):
        detail = f"a source that is not clean trains: tile {training[source]} (train), tile {flawed[source]} is not good"
        findings.append(Finding(Code.LEAK, Action.DROPPED, source, None, detail))
    return findings


def _units(candidates: Iterable[Candidate], bound: Iterable[frozenset[str]]) -> list[_Unit]:
    """The units, sorted by their smallest member."""
    by_id = {candidate.id: candidate for candidate in sorted(candidates, key=lambda candidate: candidate.id)}
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for candidate in by_id.values():
        if candidate.group is not None:
            groups[candidate.group].append(candidate.id)
    found: list[_Unit] = []
    for ids in bind([*([id_] for id_ in by_id), *groups.values(), *bound]):
        members = tuple(by_id[id_] for id_ in sorted(ids) if id_ in by_id)
        if members:
            names = [member.group for member in members if member.group is not None]
            found.append(_Unit(min(names, default=members[0].id), members))
    return sorted(found, key=lambda unit: unit.members[0].id)


def _first(units: Sequence[_Unit], share: float, seed: str, least: int) -> tuple[list[_Unit], list[_Unit]]:
    """The first units in the order of `seed` whose sources come closest to `share` of all, and the others.

    At least `least` units come first, and of two or more at least one is left over; of one only if none must come first.
    """
    if not 0 < share < 1:
        return (list(units), []) if share else ([], list(units))
    ordered = sorted(units, key=lambda unit: (hashlib.sha256(f"{seed}:{unit.key}".encode()).digest(), unit.key))
    sizes = [0, *accumulate(len(unit.members) for unit in ordered)]
    most = max(least, len(ordered) - 1)
    count = min(range(least, most + 1), key=lambda count: (abs(sizes[count] - share * sizes[-1]), count))
    return ordered[:count], ordered[count:]


def _named(unit: _Unit, named: set[Split]) -> tuple[Split, list[Finding]]:
    """The split that the unit's folders name, or test where they cannot have their way."""
    names = " and ".join(sorted(named))
    first = next(member.id for member in unit.members if member.split is not None)
    if len(named) > 1:
        detail = f"folders name {names} for the {len(unit.members)} images of unit {unit.key}: all of them test"
        return Split.TEST, [Finding(Code.SPLIT_CONFLICT, Action.KEPT, first, None, detail)]
    (split,) = named
    if split is Split.TRAIN and not unit.trainable:
        dirty = next(member.id for member in unit.members if not member.trainable or member.types)
        others = f" and the {len(unit.members) - 1} images bound to it" if len(unit.members) > 1 else ""
        detail = f"its folder names train, but it is not clean: it{others} test{'' if others else 's'}"
        return Split.TEST, [Finding(Code.SPLIT_CONFLICT, Action.KEPT, dirty, None, detail)]
    return split, []


def _mixed(unit: _Unit) -> Iterator[Finding]:
    good = [member.id for member in unit.members if member.trainable and not member.types]
    if good and not unit.trainable:
        others = len(unit.members) - len(good)
        detail = f"{len(good)} good and {others} other images in unit {unit.key}: none of them trains"
        yield Finding(Code.MIXED_GROUP, Action.KEPT, good[0], None, detail)


def _nothing_to_train_on(units: Sequence[_Unit], splits: Mapping[str, Split], settings: Splitting) -> Iterator[Finding]:
    """One finding a category without training source, on its smallest source, saying why and what to do."""
    categories: defaultdict[str, list[Candidate]] = defaultdict(list)
    free: set[str] = set()
    for unit in units:
        for member in unit.members:
            categories[member.category].append(member)
        if unit.trainable:
            free |= {member.id for member in unit.members}
    for category, members in sorted(categories.items()):
        if any(splits[member.id] is Split.TRAIN for member in members):
            continue
        good = [member.id for member in members if member.trainable and not member.types]
        if not good:
            why = "none of them is known to be clean; add good images, or vouch for unannotated ones"
        elif not free.intersection(good):
            why = f"the {len(good)} good ones are bound to others; narrow the group pattern, or turn near_duplicates off"
        elif settings.respect_folders:
            why = f"folders send the {len(good)} good ones elsewhere; rename the folders, or turn respect_folders off"
        else:
            why = f"train is {settings.train:g}"
        detail = f"category {category}: {len(members)} images, {why}"
        yield Finding(Code.NOTHING_TO_TRAIN_ON, Action.KEPT, min(member.id for member in members), None, detail)


def _middle(window: Window) -> tuple[float, float]:
    return window.left + window.size.width / 2, window.top + window.size.height / 2


def _overlap(one: Window, other: Window) -> str:
    width = min(one.left + one.size.width, other.left + other.size.width) - max(one.left, other.left)
    height = min(one.top + one.size.height, other.top + other.size.height) - max(one.top, other.top)
    return f", which share {width} × {height} px" if width > 0 and height > 0 else ""
