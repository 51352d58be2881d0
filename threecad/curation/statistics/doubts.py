"""What leaves a split in doubt: an image that was compared with none may stand in two splits without anybody knowing.

`threecad stats` and `threecad audit` both decide by this.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from threecad.domain import Code

if TYPE_CHECKING:
    from threecad.domain import Entry, Finding, Measure

_ANYWHERE = frozenset({Code.PATH_OUTSIDE, Code.FILE_UNREADABLE, Code.FOREIGN_FILE})
_SPLITS = frozenset({"train", "test", "validation", "val", "valid"})


def uncompared(entry: Entry, measure: Measure | None) -> bool:
    """Whether an image of a split was not looked at, whatever the reason."""
    return measure is None and entry.image is not None and entry.split is not None


def may_hide(finding: Finding) -> bool:
    """Whether a finding that came with no image, such as a layout's, is about an image or a folder that a split may hold.

    A folder that the layout does not know counts where it lies in a split's: who reads folders takes all that lies below.

    >>> from threecad.domain import Action, Finding
    >>> [may_hide(Finding(Code.UNKNOWN_FOLDER, Action.DROPPED, path, None, "")) for path in ("bolt/train", "bolt/notes")]
    [True, False]
    """
    if finding.code is Code.UNKNOWN_FOLDER:
        return any(part.casefold() in _SPLITS for part in finding.source.split("/"))
    return finding.code in _ANYWHERE


def hidden(findings: Iterable[Finding]) -> int:
    """How many images or folders such findings are about; a folder counts as one."""
    return len({finding.source for finding in findings if may_hide(finding)})
