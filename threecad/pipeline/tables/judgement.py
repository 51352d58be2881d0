"""The verdict on a data set's split, in one sentence."""

from __future__ import annotations

from collections import Counter

from threecad.curation.statistics import Statistics
from threecad.pipeline.summary import count


def verdict(statistics: Statistics) -> str:
    """Whether train and test are apart, in one sentence.

    `clean` decides; the sentence gives the numbers behind it.
    """
    splits = sum(row.train + row.validation + row.test - row.unsplit for row in statistics.overview)
    if statistics.clean and statistics.images and not splits:
        return "The split is clean: there is none, so that nothing can stand in two."
    if statistics.clean:
        return "The split is clean: no image, photograph or pixel stands in two splits, and no defect trains."
    across = Counter(copies.exact for copies in statistics.copies if copies.across)
    reasons = []
    if across[True]:
        reasons.append(f"{count(across[True], 'image')} {_verb(across[True])} in two splits, byte for byte the same")
    if across[False]:
        reasons.append(f"{count(across[False], 'image')} {_verb(across[False])} in two splits, nearly the same")
    if statistics.overlaps:
        reasons.append(f"{count(len(statistics.overlaps), 'pair')} of overlapping tiles in two splits")
    doubts = statistics.doubts
    if doubts.torn:
        reasons.append(f"{count(doubts.torn, 'photograph')} {_verb(doubts.torn)} in two splits")
    if doubts.listed:
        reasons.append(f"{count(doubts.listed, 'file')} that a list names in two splits")
    if doubts.unseen:
        reasons.append(f"{count(doubts.unseen, 'image or folder', 'images or folders')} could not be compared")
    if doubts.training:
        reasons.append(f"{count(doubts.training, 'image')} {'trains' if doubts.training == 1 else 'train'} with a defect")
    if statistics.findings:
        codes = sorted({finding.code.value for finding in statistics.findings})
        named = ", ".join(codes) if len(codes) < 5 else f"{len(codes)} codes"
        reasons.append(f"{count(len(statistics.findings), 'finding')} by file ({named})")
    return f"The split is NOT clean: {'; '.join(reasons) or 'a defect trains, or a photograph stands in two splits'}."


def _verb(number: int) -> str:
    return "stands" if number == 1 else "stand"
