"""A data set counted while its images pass by, and what makes its split doubtful."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from threecad.curation.statistics import doubts, rows
from threecad.curation.statistics.category import Category
from threecad.curation.statistics.records import ALL, Comparison, Copies, Doubts, Drawn, Overlap, Pair, Photograph, Statistics
from threecad.curation.statistics.showing import called, state_of
from threecad.curation.statistics.spreads import AREA_EDGES, ASPECT_EDGES
from threecad.domain import Action, Code, Finding, Split, State

if TYPE_CHECKING:
    from threecad.domain import Entry, Measure

_WORDS = {State.DEFECT: "defective", State.AMBIGUOUS: "neither good nor defective", State.POISONED: "not read whole"}


class Tally:
    """Counts a data set while its images pass by, in any order among themselves and with photographs and defects.

    Of each image some numbers are kept, never the entry or the measure. An image that two entries name counts twice.
    """

    def __init__(self, name: str, layout: str, *, defect_source: str | None = None) -> None:
        self._name = name
        self._layout = layout
        self._defect_source = defect_source
        self._categories: defaultdict[str, Category] = defaultdict(Category)
        self._splits: dict[str, int] = {}  # source → its splits as bits
        self._findings: list[Finding] = []
        self._leaks: list[Finding] = []
        self._unseen = 0
        self._training = 0
        self._framed = False

    def add(self, entry: Entry, measure: Measure | None, findings: Iterable[Finding] = ()) -> None:
        """One image with what was found wrong with its files; None for a tile without image, or an image that cannot be used."""
        findings = list(findings)
        self._findings += findings
        category = self._category(entry.category)
        state = state_of(entry, measure, findings)
        category.step(entry, state)
        if entry.image is None:
            return
        category.image(entry, measure, state)
        if entry.split is not None:
            bit = 1 << list(Split).index(entry.split)
            self._splits[entry.source] = self._splits.get(entry.source, 0) | bit
            self._unseen += doubts.uncompared(entry, measure)
        if entry.split is not Split.TRAIN:
            return
        marked = measure is not None and bool(measure.areas)
        self._training += marked or state not in (State.GOOD, None)
        if state is not None and state is not State.GOOD:
            self._leaks.append(Finding(Code.LEAK, Action.KEPT, entry.image, None, f"it trains, but it is {_WORDS[state]}"))

    def photograph(self, photograph: Photograph) -> None:
        """A photograph that tiles were cut from, each once."""
        self._framed = True
        category = self._category(photograph.category)
        category.photographs += 1
        category.good_photographs += photograph.good

    def drawn(self, drawn: Drawn) -> None:
        """A defect of a photograph, each once; areas to ignore are none."""
        self._framed = True
        self._category(drawn.category).defect(drawn)

    def finish(
        self, copies: Iterable[Copies] = (), overlaps: Iterable[Overlap] = (), findings: Iterable[Finding] = ()
    ) -> Statistics:
        """The statistics of all that was added. `copies` and `overlaps` are those of `leaks`; `findings` those that came with no
        image, such as the layout's. More may be added afterwards."""
        parts = sorted((called(name, self._categories), part) for name, part in self._categories.items())
        named = [*((name, [part]) for name, part in parts), (ALL, [part for _, part in parts])]
        findings = list(findings)
        told = {*self._findings, *findings}
        known = {finding.source for finding in told if finding.code is Code.LEAK}
        torn = list(self._torn())
        own = [leak for leak in torn if leak.source not in known]
        told |= {leak for leak in (*self._leaks, *torn) if leak.source not in known}
        # Two black tiles that a conversion tells and keeps are no leak; a file that a list names twice stands in two splits.
        listed = [each for each in told if each.code is Code.LEAK and each.action is not Action.KEPT]
        doubtful = Doubts(
            unseen=self._unseen + doubts.hidden(findings),
            training=self._training,
            torn=len(own),
            listed=len({each.source for each in (*torn, *listed)} - {each.source for each in own}),
        )
        groups = sorted(copies, key=lambda group: (group.members, not group.exact))
        shared = sorted(overlaps, key=lambda overlap: (overlap.source, overlap.first, overlap.second))
        overview = tuple(rows.overview(name, part) for name, part in named)
        return Statistics(
            name=self._name,
            layout=self._layout,
            images=sum(part.images for _, part in parts),
            overview=overview,
            comparison=self._comparison([part for _, part in parts]),
            area_ratio=rows.distributions(named, lambda part: part.areas, AREA_EDGES),
            image_ratio=rows.distributions(named, lambda part: part.image_areas, AREA_EDGES),
            aspect_ratio=rows.distributions(named, lambda part: part.aspects, ASPECT_EDGES),
            types=tuple(row for name, part in parts for row in part.types(name, self._framed)),
            together=tuple(Pair(name, *pair, count) for name, part in parts for pair, count in sorted(part.pairs.items())),
            heat=tuple(row for name, part in named for row in rows.heat(name, part, self._framed)),
            survival=tuple(row for name, part in named for row in rows.survival(name, part)),
            looks=tuple(row for name, part in named for row in rows.looks(name, part)),
            sources=tuple(rows.source(name, part) for name, part in named) if self._framed else (),
            balance=tuple(row for name, part in parts for row in part.balance(name)) if self._framed else (),
            copies=tuple(groups),
            overlaps=tuple(shared),
            findings=tuple(sorted(told, key=_rank)),
            clean=not (shared or any(group.across for group in groups) or doubtful != Doubts()),
            doubts=doubtful,
        )

    def _category(self, name: str) -> Category:
        return self._categories[name]

    def _torn(self) -> Iterator[Finding]:
        """Photographs that stand in two splits."""
        for source, bits in self._splits.items():
            if bits & (bits - 1):
                names = " and ".join(split.value for number, split in enumerate(Split) if bits >> number & 1)
                yield Finding(Code.LEAK, Action.KEPT, source, None, f"one source in two splits: {names}")

    def _comparison(self, parts: Sequence[Category]) -> Comparison:
        return Comparison(
            name=self._name,
            normal=sum(part.states[State.GOOD] for part in parts),
            abnormal=sum(part.states[State.DEFECT] for part in parts),
            source=self._defect_source,
            multiple_instances=sum(part.multiple_instances for part in parts),
            multiple_types=sum(part.multiple_types for part in parts),
        )


def _rank(finding: Finding) -> tuple[object, ...]:
    shape = -1 if finding.shape is None else finding.shape
    return finding.code, finding.source, shape, finding.detail, finding.action, finding.place or ()
