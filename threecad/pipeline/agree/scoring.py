"""Images are compared one by one, and what that gives is summed into an agreement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import Any

from threecad.curation import agreement
from threecad.curation.agreement import Comparison, Verdict
from threecad.pipeline import threads
from threecad.pipeline.agree.reading import Bench, Job, Sheet
from threecad.pipeline.agree.result import (
    ANNOTATOR,
    BOTH,
    REFERENCE,
    Agreement,
    Bars,
    Between,
    Coefficient,
    LeftOut,
    Line,
    Scores,
    Shortfall,
)

# One image


@dataclass(frozen=True, slots=True)
class _Answer:
    """What one annotator says about one image."""

    file: str
    defective: bool | None
    types: frozenset[str]
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """One image, compared. `meetings` holds for two annotators the IoUs of their matched defects, how many of these have one
    type, and how many defects both drew together."""

    image: str
    defective: bool | None
    unusable: int
    answers: Mapping[int, _Answer]
    meetings: Mapping[tuple[int, int], tuple[tuple[float, ...], int, int]]
    left_out: tuple[LeftOut, ...]


def opened(bench: Bench, job: Job) -> threads.Opened[Look]:
    look = _look(bench, job)
    return threads.Opened([], lambda: look)


def _look(bench: Bench, job: Job) -> Look:
    seen = bench.read(job)
    theirs, sheets, image = seen.reference, seen.others, job.reference.id
    if isinstance(theirs, str):
        left_out = [LeftOut(bench.names[number], image, BOTH, f"{REFERENCE}: {theirs}") for number in sheets]
        return Look(image, None, 0, {}, {}, tuple(left_out))
    answers: dict[int, _Answer] = {}
    left_out = []
    vague = theirs.vague
    for number, sheet in sheets.items():
        if isinstance(sheet, str):
            left_out.append(LeftOut(bench.names[number], image, BOTH, f"{ANNOTATOR}: {sheet}"))
            continue
        comparisons = agreement.compare(theirs.regions, sheet.regions, min_iou=bench.min_iou, doubtful=vague)
        if comparisons is None:
            left_out.append(LeftOut(bench.names[number], image, BOTH, "more outlines overlap than can be measured"))
            continue
        comparisons += [
            Comparison(Verdict.UNUSABLE, None, each.type, None, drawn_shapes=(each.number,), place=each.place, detail=each.reason)
            for each in sheet.unusable
        ]
        file = sheet.source.annotation or sheet.source.id
        answers[number] = _Answer(file, sheet.defective, sheet.types, tuple(comparisons))
    meetings = {}
    for one, other in combinations(sorted(answers), 2):
        met = _meeting(sheets[one], sheets[other], bench.min_iou)
        if met is not None:
            meetings[one, other] = met
    return Look(image, theirs.defective, len(theirs.unusable), answers, meetings, tuple(left_out))


def _meeting(one: Sheet | str, other: Sheet | str, min_iou: float) -> tuple[tuple[float, ...], int, int] | None:
    assert isinstance(one, Sheet)
    assert isinstance(other, Sheet)
    ours, theirs = ([region for region in sheet.regions if not region.ignore] for sheet in (one, other))
    matched = agreement.match(ours, theirs, min_iou)
    if matched is None:
        return None
    alike = sum(ours[first].label == theirs[second].label for first, second, _ in matched)
    return tuple(iou for *_, iou in matched), alike, len(ours) + len(theirs)


# All of them


def summed(bench: Bench, looks: Sequence[Look], bars: Bars) -> Agreement:
    compared = [look for look in looks if look.answers]
    scores = tuple(_scores(name, number, compared) for number, name in enumerate(bench.names))
    numbers = range(len(bench.names))
    left_out = [*bench.left_out, *(each for look in looks for each in look.left_out)]
    lines = (
        Line(bench.names[number], look.image, answer.file, each)
        for look in compared
        for number, answer in look.answers.items()
        for each in answer.comparisons
    )
    order = {name: number for number, name in enumerate(bench.names)}
    return Agreement(
        reference=bench.name,
        min_iou=bench.min_iou,
        bars=bars,
        images=len(compared),
        unusable=sum(look.unusable for look in compared),
        annotators=scores,
        between=tuple(_between(bench, one, other, compared) for one, other in combinations(numbers, 2)),
        alpha=_alphas(compared) if len(bench.names) > 1 else {},
        left_out=tuple(sorted(left_out, key=lambda each: (order[each.annotator], each.image, each.side))),
        below=tuple(_shortfalls(scores, bars)),
        lines=tuple(sorted(lines, key=lambda each: (order[each.annotator], each.image))),
    )


def _scores(name: str, number: int, looks: Iterable[Look]) -> Scores:
    mine = [(look, look.answers[number]) for look in looks if number in look.answers]
    comparisons = [each for _, answer in mine for each in answer.comparisons]
    calls = [
        (_called(look.defective), _called(answer.defective))
        for look, answer in mine
        if look.defective is not None and answer.defective is not None
    ]
    return Scores(
        name=name,
        images=len(mine),
        total=agreement.overall(comparisons),
        types=tuple(agreement.by_type(comparisons)),
        sizes=tuple(agreement.by_size(comparisons)),
        confusion=agreement.confusion(comparisons),
        calls=dict(sorted(Counter(calls).items())),
        kappa=_kappa(calls),
        excused=sum(each.verdict is Verdict.EXCUSED for each in comparisons),
    )


def _called(defective: bool | None) -> str:
    return "defective" if defective else "good"


def _kappa(calls: Sequence[tuple[str, str]]) -> Coefficient:
    """Cohen's kappa; where the reference calls all images alike it would be 0 whatever the annotator did, so there is none."""
    said = {theirs for theirs, _ in calls}
    if not said:
        return Coefficient(None, 0, "no image was compared")
    if len(said) == 1:
        return Coefficient(None, len(calls), f"the reference calls every image {said.pop()}")
    return Coefficient(agreement.cohen_kappa(calls), len(calls))


def _between(bench: Bench, one: int, other: int, looks: Iterable[Look]) -> Between:
    met = [look.meetings[one, other] for look in looks if (one, other) in look.meetings]
    ious = [iou for own, _, _ in met for iou in own]
    drawn = sum(count for _, _, count in met)
    return Between(
        one=bench.names[one],
        other=bench.names[other],
        images=len(met),
        pairs=len(ious),
        mean_iou=fmean(ious) if ious else None,
        f1=2 * sum(alike for _, alike, _ in met) / drawn if drawn else None,
    )


def _alphas(looks: Sequence[Look]) -> dict[str, Coefficient]:
    judged = [[answer for answer in look.answers.values() if answer.defective is not None] for look in looks]
    shared = [answers for answers in judged if len(answers) > 1]
    return {
        "calls": _alpha([[_called(answer.defective) for answer in answers] for answers in shared]),
        "types": _alpha([[answer.types for answer in answers] for answers in shared]),
    }


def _alpha(units: Sequence[Sequence[Any]]) -> Coefficient:
    if not units:
        return Coefficient(None, 0, "no image was annotated by two")
    value = agreement.krippendorff_alpha(units)
    return Coefficient(value, len(units), "" if value is not None else "all annotators say the same of every image")


def _shortfalls(scores: Iterable[Scores], bars: Bars) -> Iterator[Shortfall]:
    for each in scores:
        nothing = "neither side drew anything" if each.images else "no image was compared"
        measures = (
            ("f1", each.total.tally.f1, bars.min_f1, nothing),
            ("mean_iou", each.total.closeness.mean_iou, bars.min_mean_iou, "no defect is matched"),
            ("kappa", each.kappa.value, bars.min_kappa, each.kappa.reason),
        )
        for measure, value, bar, reason in measures:
            if bar is not None and (value is None or value < bar):
                yield Shortfall(each.name, measure, value, bar, "" if value is not None else reason)
