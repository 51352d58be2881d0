"""What a data set holds, in numbers: the 3CAD paper's Tables 1 and 2 and Figure 3, and what they cannot tell.

Entries and their measures go in one by one (`Tally.add`), in any order, and `Tally.finish` gives `Statistics`: plain values that
the tables, figures, report and data card are made of. Nothing here opens a file. docs/statistics.md defines every number.

records.py   the plain values, a class a table   tally.py      the counting, and what makes a split doubtful
showing.py   what an image shows                 category.py   what is kept of one category meanwhile
spreads.py   quantiles and histograms            rows.py       the rows of one category, or of several together
doubts.py    what leaves a split in doubt
"""

from __future__ import annotations

from threecad.curation.statistics.records import (
    ALL,
    STEPS,
    Balance,
    Comparison,
    Copies,
    Distribution,
    Doubts,
    Drawn,
    HeatMap,
    Histogram,
    Looks,
    Overlap,
    Overview,
    Pair,
    Photograph,
    Quantiles,
    SourceRow,
    Span,
    Statistics,
    Survival,
    TypeRow,
)
from threecad.curation.statistics.showing import called, kinds_of, state_of
from threecad.curation.statistics.spreads import AREA_EDGES, ASPECT_EDGES, distribution, quantiles
from threecad.curation.statistics.tally import Tally

__all__ = [
    "ALL",
    "AREA_EDGES",
    "ASPECT_EDGES",
    "STEPS",
    "Balance",
    "Comparison",
    "Copies",
    "Distribution",
    "Doubts",
    "Drawn",
    "HeatMap",
    "Histogram",
    "Looks",
    "Overlap",
    "Overview",
    "Pair",
    "Photograph",
    "Quantiles",
    "SourceRow",
    "Span",
    "Statistics",
    "Survival",
    "Tally",
    "TypeRow",
    "called",
    "distribution",
    "kinds_of",
    "quantiles",
    "state_of",
]
