"""What can be set, one frozen section a concern; each function is handed the section it needs and no more.

A default is what `docs/decisions/` argues for; where the 3CAD paper states a value the field's description says so.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Effort = Literal["fast", "small"]
Edge = Literal["shift", "remainder", "pad", "balanced"]
RasterRule = Literal["center", "labelme", "coco", "opencv"]
Unannotated = Literal["skip", "good", "error"]


def _pattern(text: str | None) -> str | None:
    if text is not None:
        try:
            re.compile(text)
        except re.error as error:
            raise ValueError(f"{text!r} is not a regular expression: {error}") from None
    return text


def _two_points(text: str) -> str:
    if text != "queue" and not re.fullmatch(r"line:\d+(\.\d+)?", text):
        raise ValueError(f"expected 'queue' or 'line:WIDTH' (pixels), found {text!r}")
    return text


def _type(text: str) -> str:
    name = unicodedata.normalize("NFC", text).strip()
    if not name:
        raise ValueError("expected the name of a type")
    for reserved in ("__ignore__", "_background_"):
        if name.casefold() == reserved != name:
            raise ValueError(f"expected {reserved} exactly as here, which has a meaning of its own, or another name")
    return name


Pattern = Annotated[str | None, AfterValidator(_pattern)]

TypeName = Annotated[str, AfterValidator(_type)]
"""The name of a type: trimmed, in Unicode form NFC, not empty, and no near miss of a type with its own meaning."""


class Section(BaseModel):
    """The habits all sections share: frozen, no unknown keys, docstrings become descriptions in the schema."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class Reading(Section):
    """Which files of the raw folder are images, annotations and categories."""

    images: str | None = None
    """Folder of the images, relative to the raw folder; unset: beside their annotations, or found."""
    annotations: str | None = None
    """Folder of the annotations, relative to the raw folder; unset: beside their images, or found."""
    category: str | None = None
    """One category for everything; unset: from `category_pattern`, else the first folder, else the raw folder's own name."""
    category_pattern: Pattern = None
    """Regular expression searched in a source's path; group `category`, the first group or the whole match is it."""
    normal_folders: tuple[str, ...] = ("good", "ok", "normal")
    """Names of folders (any case) that vouch for the images in them."""
    unannotated: Unannotated = "skip"
    """What an image without annotation outside those folders is: left out, good, or an error."""
    max_megapixels: float = Field(default=400.0, gt=0)
    """Images of more pixels are refused by name, before anything of them is decoded. A pixel takes up to 16 bytes while it is."""
    max_json_megabytes: float = Field(default=256.0, gt=0)
    """Annotation files larger than this are refused by name."""
    max_shapes: int = Field(default=100_000, ge=1)
    """Annotation files with more shapes than this are refused by name, before any of them is looked at."""
    size_mismatch: Literal["queue", "trust"] = "queue"
    """What to do when the annotation states another size than the image has: queue its shapes, or trust their coordinates."""


class Labels(Section):
    """The label table: which spelling means which type. Without any entry every label is a type of its own."""

    aliases: dict[str, TypeName] = Field(default_factory=dict)
    """Spelling → type for every category; the types `__ignore__` and `_background_` have their own meaning."""
    categories: dict[str, dict[str, TypeName]] = Field(default_factory=dict)
    """Category → (spelling → type); looked up before `aliases`."""


class Repairing(Section):
    """When an outline may be repaired and when a person has to look."""

    min_agreement: float = Field(default=0.98, ge=0, le=1)
    """Least IoU of the even-odd and the non-zero reading of an outline."""
    min_winding: float = Field(default=0.9, ge=0, le=1)
    """Least ratio of the signed area to the area of the non-zero reading."""
    max_outside: float = Field(default=0.1, ge=0, le=1)
    """Share of a shape's area outside the image above which the clipping is flagged."""
    two_points: Annotated[str, AfterValidator(_two_points)] = "queue"
    """A polygon of two distinct points: `queue`, or `line:WIDTH` draws it WIDTH pixels wide."""
    line_width: float | None = Field(default=None, gt=0)
    """Width in pixels of line and linestrip shapes; unset: they have no area and are queued."""
    point_radius: float | None = Field(default=None, gt=0)
    """Radius in pixels of point and points shapes; unset: they have no area and are queued."""


class Rasterizing(Section):
    """Which pixels belong to a region."""

    rule: RasterRule = "center"
    """`center`: those whose centre lies in it (exact); `labelme`, `coco` and `opencv` reproduce those programs' masks."""


class Tiling(Section):
    """How an image is cut into windows, and what a tile is called. The paper's tiles measure at most 1024 px (Table 1)."""

    slice_size: int = Field(default=1024, ge=8, le=65535)
    """Side of the window in pixels."""
    overlap_ratio: float = Field(default=0.2, ge=0, lt=1)
    """Overlap of neighbouring windows as a share of the side, rounded down to whole pixels."""
    edge: Edge = "shift"
    """The last window of a row: moved back inside (`shift`, as SAHI), short (`remainder`), padded with zeros (`pad`); or all
    windows evenly spread (`balanced`)."""
    min_side_ratio: float = Field(default=0.2, ge=0, le=1)
    """A tile with a side under this share of the window is left out."""
    min_area_ratio: float = Field(default=0.1, ge=0, le=1)
    """Least share of a defect that makes the tile a defect tile."""
    min_px: int = Field(default=64, ge=1)
    """Least visible pixels of a defect that make the tile a defect tile, however small its share."""
    margin: int = Field(default=8, ge=0)
    """A good tile has no annotated pixel within this many pixels around it."""
    clean: Literal["never", "test"] = "never"
    """A tile without defect of a defective image: not used, or a good tile of the split its image tests or validates in."""


class Splitting(Section):
    """Who trains and who tests. Whole sources, bound into groups, are assigned by a seeded hash."""

    seed: int = 0
    """Any other seed gives another split of the same proportions."""
    train: float = Field(default=0.67, ge=0, le=1)
    """Share of the good groups of a category that train (10,493 of 15,577 good images, Table 1)."""
    validation: float = Field(default=0.0, ge=0, lt=1)
    """Share of the groups, good and of each defect type, that validate."""
    group: Pattern = None
    """Regular expression searched in a source's id; sources with equal groups (or equal whole match) stay together."""
    near_duplicates: bool = True
    """Whether nearly equal images stay together."""
    near_distance: int = Field(default=3, ge=0, le=64)
    """Most that any of 256 cells may differ between nearly equal images, in steps of 1/40 of the image's own contrast."""
    near_crowd: int = Field(default=16, ge=2)
    """More nearly equal images than this show one scene with many parts, not copies: they are reported and not bound."""
    respect_folders: bool = False
    """Whether folders of the raw data named train, test, val or validation decide the split."""


class Writing(Section):
    """What the data set on disk looks like."""

    several_types: Literal["combined", "dominant", "joined"] = "combined"
    """Folder of a tile of several types: `combined` (MVTec's word), that of the largest area, or all names joined with `+`."""
    mask_suffix: str = Field(default="_mask", pattern=r"^[A-Za-z0-9_-]{0,32}$")
    """Between a mask's stem and `.png`; empty for the loader of the paper's authors."""
    previews: bool = False
    """Whether each defect tile also comes as a picture of at most 512 px with its defects outlined, in `previews/`."""
    png: Effort = "fast"
    """Effort of the PNG encoder; the pixels are the same."""


class Describing(Section):
    """What people should know about the data set: the data card and the catalogue repeat it, nothing is computed from it."""

    name: str | None = Field(default=None, min_length=1, max_length=200)
    """Name of the data set; unset: that of the raw folder."""
    description: str = ""
    """What was photographed, where and how."""
    license: str | None = None
    """Licence of the photographs and annotations: an SPDX identifier (`CC-BY-4.0`) or an address; unset: unknown."""
    creators: tuple[str, ...] = ()
    """Who made it."""
    url: str | None = None
    """Where it is published."""
    citation: str | None = None
    """How to cite it."""
    version: str = "1.0.0"
    """Version of the data set, for those who publish it."""
    published: Annotated[str | None, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")] = None
    """Day on which it was published, as 2026-11-23."""
    defect_source: str | None = None
    """Whether the defects are `Real` or `Forged`, as in the paper's Table 2."""
