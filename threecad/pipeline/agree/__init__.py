"""`threecad agree`: what annotators drew, beside what the reference drew on the same images.

pairing.py    which image is which         reading.py   what each drew on it
scoring.py    compared and summed          result.py    what comes of that
tables.py     as JSON and CSV              page.py      the disagreements drawn        terminal.py   the summary
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path

from threecad.curation import agreement
from threecad.errors import ConfigError, ThreecadError
from threecad.formats import raw
from threecad.pipeline import threads
from threecad.pipeline.agree.reading import Bench
from threecad.pipeline.agree.result import Agreement, Bars, Between, Coefficient, LeftOut, Line, Scores, Shortfall
from threecad.pipeline.agree.scoring import opened, summed
from threecad.pipeline.agree.tables import COLUMNS, as_csv, as_json
from threecad.pipeline.config import Pipeline
from threecad.pipeline.convert import Progress, cores, settings_of
from threecad.pipeline.files import write_atomically

__all__ = [
    "COLUMNS",
    "Agreement",
    "Bars",
    "Between",
    "Coefficient",
    "LeftOut",
    "Line",
    "Scores",
    "Shortfall",
    "agree",
    "as_csv",
    "as_json",
]


def agree(
    reference: str | Path,
    annotators: Sequence[str | Path],
    pipeline: Pipeline | str | Path | None = None,
    *,
    min_iou: float = agreement.MIN_IOU,
    bars: Bars | None = None,
    table: str | Path | None = None,
    page: str | Path | None = None,
    workers: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Agreement:
    """Compare what each annotator drew with what the reference drew on the same images.

    All are raw folders as `check` reads them; an annotator's may hold JSON files alone, for its images are found in the
    reference by relative path, else by name. The label table and the repair of outlines are the pipeline's. `min_iou` is the
    least overlap of a match. `table` gets every defect as CSV, `page` an HTML page with the disagreements drawn.

    Raises ConfigError for a number out of its range, LayoutError for a folder that is missing, holds nothing or none of the
    reference's images, and ThreecadError when the output cannot be written.
    """
    bars = bars or Bars()
    annotators = [annotators] if isinstance(annotators, str | Path) else annotators
    _check_numbers(min_iou, bars)
    for path, suffix in ((table, ".csv"), (page, ".html")):
        _check_output(path, suffix)
    if table is not None and page is not None and Path(table).resolve() == Path(page).resolve():
        raise ConfigError(f"{page}: named for the table and for the page; expected two files")
    bench = Bench.open(Path(reference), [Path(each) for each in annotators], settings_of(pipeline), min_iou)
    looks = []
    work = threads.work(bench.jobs, partial(opened, bench), workers=workers or cores())
    with closing(work):  # Ctrl-C must not wait for all that was not begun
        for count, look in enumerate(work, 1):
            looks.append(look)
            if progress is not None:
                progress(Progress(count, len(bench.jobs), 0.0, look.image))
    done = summed(bench, sorted(looks, key=lambda look: look.image), bars)
    try:
        if table is not None:
            write_atomically(Path(table), as_csv(done).encode("utf-8", "backslashreplace"))
        if page is not None:
            from threecad.pipeline.agree.page import page as drawn

            write_atomically(Path(page), drawn(done, bench, workers or cores()).encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise ThreecadError(f"{error.filename or table or page}: cannot be written ({error.strerror})") from error
    return done


def _check_numbers(min_iou: float, bars: Bars) -> None:
    if not 0 < min_iou <= 1:
        raise ConfigError(f"min_iou: expected a number above 0 and at most 1, found {min_iou:g}")
    for name, value in asdict(bars).items():
        least = -1 if name == "min_kappa" else 0
        if value is not None and not least <= value <= 1:
            raise ConfigError(f"{name}: expected a number from {least} to 1, found {value:g}")


def _check_output(path: str | Path | None, suffix: str) -> None:
    if path is None:
        return
    if Path(path).suffix.lower() in raw.IMAGE_SUFFIXES | {".json"}:  # a slip of the hand must not cost an annotation
        raise ConfigError(f"{path}: expected a file name that ends in {suffix}, found that of an image or an annotation")
    if Path(path).is_dir():
        raise ConfigError(f"{path}: expected a file name that ends in {suffix}, found a folder")
