"""`evaluate`: how good a run is, measured on the test images of a data set.

choosing.py    which images test                 results.py    what comes out, as values
looking.py     the pass over them                record.py     as JSON, with its schema
measuring.py   figures of a category             tables.py     as text: terminal, CSV, LaTeX
cases.py       images to look at                 drawing.py    as pictures: curves.py, gallery.py
folders.py     which folders may be written to   writing.py    the folder of results
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from threecad.errors import ConfigError
from threecad.learning.devices import devices
from threecad.learning.evaluate import looking
from threecad.learning.evaluate.cases import pick
from threecad.learning.evaluate.choosing import tests
from threecad.learning.evaluate.folders import data_name, mark_maps, refuse_maps
from threecad.learning.evaluate.looking import Terms, look, map_names
from threecad.learning.evaluate.measuring import measure
from threecad.learning.evaluate.record import as_json
from threecad.learning.evaluate.results import CategoryResult, Evaluation, Judged
from threecad.learning.evaluate.writing import write
from threecad.learning.runs import Run
from threecad.pipeline.convert import Progress, cores

if TYPE_CHECKING:
    from threecad.formats.layouts import Request

__all__ = ["CategoryResult", "Evaluation", "as_json", "evaluate", "write"]


def evaluate(
    run: Run | str | Path,
    dataset: str | Path,
    request: Request | None = None,
    *,
    categories: Sequence[str] = (),
    device: str = "auto",
    precision: str = "32-true",
    batch_size: int | None = None,
    native: bool | None = None,
    pro_limit: float | None = None,
    upstream: bool = False,
    maps: str | Path | None = None,
    cases: bool = True,
    workers: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    note: Callable[[str], None] | None = None,
) -> Evaluation:
    """Measure the models of `run` on the test images of `dataset`, category by category; nothing is written but `maps`.

    Figures are those of the paper's Tables 3 and 4, "Evaluation Metrics". An image's score is the highest of its squares' maps.
    `native` (by default `score.native`) compares each map, enlarged, with the mask as it is; else the mask shrinks to the
    model's squares, so that no defect vanishes. `pro_limit` is by default `score.pro_limit`; `upstream` adds the authors'
    variant of P-PRO, not comparable. `device` is cpu, cuda, cuda:N, mps or auto; of several the first is used.
    `precision` is as in `train.precision`; the run's threshold was found in float32, as `predict` scores, and what was found in
    fewer bits may lie on its other side. `maps` is a folder that gets each image's score map as a 16-bit PNG: a new or empty one,
    or one that holds maps of an earlier evaluation. `cases` are images to look at, three a category. `note` is told what was
    decided that nobody asked for.

    ConfigError where run and data set have no category in common or `maps` is no folder for maps, LayoutError where nothing
    tests, ReadError for a damaged file.
    """
    run = run if isinstance(run, Run) else Run(run)
    root, recipe = Path(dataset), run.recipe
    notes: list[str] = []

    def told(text: str) -> None:
        notes.append(text)
        if note is not None:
            note(text)

    place = devices(device).torch()
    looking.autocast(place, precision)  # which tells a mistake before anything is read
    native = recipe.score.native if native is None else native
    limit = recipe.score.pro_limit if pro_limit is None else pro_limit
    if not 0 < limit <= 1:
        raise ConfigError(f"found a limit of P-PRO of {limit}; expected a false-positive rate above 0, at most 1")
    folder = None if maps is None else Path(maps)
    if folder is not None:
        refuse_maps(folder, root, run.root)
    chosen = tests(run, root, categories, request, told)
    total, before = sum(map(len, chosen.values())), 0
    names = map_names([row for data in chosen.values() for row in data.rows]) if folder is not None else {}
    if folder is not None:
        mark_maps(folder)
    found: list[CategoryResult] = []
    images: list[Judged] = []
    for category, data in chosen.items():
        model = run.model(category)
        threshold = run.threshold(model)
        detector = run.detector(model, place)
        terms = Terms(recipe, threshold, native, precision, upstream, folder, names)
        tell = None if progress is None else _shifted(progress, before, total)
        judged, meter = look(detector, place, data, terms, batch_size=batch_size, workers=workers or cores(), tell=tell)
        pictures = pick(detector, place, data, judged, recipe, precision) if cases else ()
        found.append(measure(category, model.name, judged, meter, threshold, pro_limit=limit, cases=pictures))
        images += judged
        before += len(data)
    return Evaluation(
        run=run.root.resolve().name,
        dataset=data_name(root),
        resolution="native" if native else "model",
        side=recipe.data.size,
        pro_limit=limit,
        categories=tuple(found),
        images=tuple(images),
        notes=tuple(notes),
    )


def _shifted(progress: Callable[[Progress], None], before: int, total: int) -> Callable[[Progress], None]:
    return lambda step: progress(Progress(before + step.done, total, step.megapixels, step.source))
