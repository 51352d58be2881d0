"""The figures of an evaluation as files: curves as SVG and PNG, cases as PNG; for print as those of `threecad stats --plots`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from threecad.learning.evaluate import curves, gallery
from threecad.pipeline.plots import saved
from threecad.pipeline.plots.lettering import Lettering, letter, quiet, styled
from threecad.pipeline.summary import plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
    names = [each.category for each in done.categories]
    names += [case.type for each in done.categories for case in each.cases]
    with quiet():
        lettering = letter(names)
    for name, (make, formats, title) in FIGURES.items():
        if (only and name not in only) or (name == "cases" and not any(each.cases for each in done.categories)):
            continue
        dpi = gallery.DPI if name == "cases" else None
        with quiet(), styled(lettering):
            figure = make(done, lettering)
            made = [(f"{name}.{form}", saved(figure, form, f"{plain(done.dataset)}: {title}", dpi)) for form in formats]
        yield from made
