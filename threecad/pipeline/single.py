"""One annotation file at a time, for notebooks and scripts."""

from __future__ import annotations

from pathlib import Path

from threecad.domain import Annotation, Finding, Region, Size
from threecad.errors import ConfigError
from threecad.formats import labelme
from threecad.imaging import polygons
from threecad.pipeline.config import Pipeline, table


def read_labelme(path: str | Path) -> Annotation:
    """What is drawn in one labelme file of any version. Raises ReadError where the file cannot be read."""
    path = Path(path)
    return labelme.read(path, path.name, **labelme.limits(Pipeline().read))


def regions(
    annotation: Annotation, size: Size | None = None, pipeline: Pipeline | None = None, category: str = ""
) -> tuple[list[Region], list[Finding]]:
    """The valid regions of an annotation and what was found on the way; every shape is accounted for.

    `size` is the image's own size where the annotation states none; ConfigError where neither does.

    >>> from threecad.domain import Shape
    >>> bow_tie = Shape(0, "dent", "polygon", ((0, 0), (10, 10), (10, 0), (0, 10)))
    >>> found, findings = regions(Annotation("a.png", Size(20, 20), (bow_tie,)))
    >>> len(found), findings[0].code.name, findings[0].action.value
    (0, 'READINGS_DISAGREE', 'queued')
    """
    settings = pipeline or Pipeline()
    size = size or annotation.size
    if size is None:
        raise ConfigError(f"{annotation.source}: the annotation states no image size; pass size=Size(height, width)")
    return polygons.regions(annotation, size, table(settings.labels, category), settings.repair)
