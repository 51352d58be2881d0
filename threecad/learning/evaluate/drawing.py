"""The figures of an evaluation as files: curves as SVG and PNG, cases as PNG; for print as those of `threecad stats --plots`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from threecad.learning.evaluate import curves, gallery
from threecad.pipeline.plots import saved
from threecad.pipeline.plots.lettering import Lettering, letter, quiet, styled
from threecad.pipeline.summary import plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from threecad.curation.statistics import Statistics
    from threecad.learning.evaluate.results import Evaluation

FIGURES: dict[str, tuple[Callable[[Evaluation, Lettering], Figure], tuple[str, ...], str]] = {
    "cases": (gallery.cases, ("png",), "Best and worst cases"),
    "pr": (curves.pr, ("svg", "png"), "Precision and recall"),
    "pro": (curves.pro, ("svg", "png"), "Per-region overlap"),
    "roc": (curves.roc, ("svg", "png"), "ROC curves"),
}
"""Name → how it is drawn, as what, and its title."""


def render(done: Evaluation, only: Sequence[str] = ()) -> Iterator[tuple[str, bytes]]:
    """(file name, bytes) of every figure, or of `only` those, that has something to show, one after the other."""
    names = [done.dataset, *(each.category for each in done.categories)]
    names += [case.type for each in done.categories for case in each.cases]
    with quiet():
        lettering = _lettering(names)
    for name, (make, formats, title) in FIGURES.items():
        if (only and name not in only) or (name == "cases" and not any(each.cases for each in done.categories)):
            continue
        with quiet(), styled(lettering):
            figure = make(done, lettering)
            dpi = gallery.DPI if name == "cases" else 300
            made = [(f"{name}.{form}", _file(figure, form, f"{plain(done.dataset)}: {title}", dpi)) for form in formats]
        yield from made


def _file(figure: Figure, form: str, title: str, dpi: float) -> bytes:
    import matplotlib

    with matplotlib.rc_context({"savefig.dpi": dpi} if form == "png" else {}):
        return saved(figure, form, title)


def _lettering(names: Sequence[str]) -> Lettering:
    """Fonts for these names, found as for those of a data set's statistics."""
    rows: Any = [SimpleNamespace(category=name) for name in names]
    found = SimpleNamespace(name="", overview=rows, types=(), heat=(), survival=(), looks=(), together=())
    return letter(cast("Statistics", found), ())
