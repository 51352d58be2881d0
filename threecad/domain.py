"""The words threecad speaks: small frozen values, and nothing else.

Coordinates are continuous and as in labelme: x to the right, y down, origin at the image's outer top left corner, so that
pixel (row j, column i) covers [i, i+1) × [j, j+1) and its centre is (i + 0.5, j + 0.5). Sizes and arrays are height first.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from shapely import MultiPolygon, Polygon


@dataclass(frozen=True, slots=True, order=True)
class Size:
    """Height and width in whole pixels, always height first, as `array.shape`.

    >>> Size(600, 2000).area
    1200000
    """

    height: int
    width: int

    @property
    def area(self) -> int:
        return self.height * self.width


class Action(StrEnum):
    """What was done about a flaw, mildest first; a shape's outcome is the gravest action among its findings."""

    KEPT = "kept"
    REPAIRED = "repaired"
    QUEUED = "queued"
    DROPPED = "dropped"

    @property
    def gravity(self) -> int:
        """0 for kept up to 3 for dropped.

        >>> max([Action.REPAIRED, Action.QUEUED, Action.KEPT], key=lambda action: action.gravity)
        <Action.QUEUED: 'queued'>
        """
        return list(Action).index(self)


class Code(StrEnum):
    """Every kind of finding, under a number that never changes: 1xx shapes, 2xx files, 3xx splits, 4xx finished data sets."""

    # Shapes
    TOO_FEW_POINTS = "TC101"
    NOT_FINITE = "TC102"
    NO_AREA = "TC103"
    SELF_CROSSING = "TC104"
    READINGS_DISAGREE = "TC105"
    TIDIED = "TC106"
    DRAWN_WITH_WIDTH = "TC107"
    CLIPPED = "TC109"
    OUTSIDE = "TC110"
    THIN = "TC113"
    UNKNOWN_KIND = "TC114"
    UNKNOWN_LABEL = "TC115"
    MALFORMED_SHAPE = "TC116"
    BAD_MASK = "TC117"
    IGNORE_AREA = "TC118"
    BACKGROUND_AREA = "TC119"
    ERASED = "TC120"
    SIMILAR_LABELS = "TC121"
    NEEDS_WIDTH = "TC122"
    ORPHAN_SHAPE = "TC123"
    DECIDED = "TC124"
    DECISION_STALE = "TC125"
    # Files
    UNANNOTATED = "TC201"
    IMAGE_MISSING = "TC202"
    IMAGE_UNREADABLE = "TC203"
    ANNOTATION_UNREADABLE = "TC204"
    PATH_OUTSIDE = "TC205"
    SIZE_MISMATCH = "TC206"
    TOO_LARGE = "TC207"
    SECOND_ANNOTATION = "TC208"
    IMAGE_BY_NAME = "TC209"
    EMBEDDED_IMAGE = "TC210"
    ALPHA_DROPPED = "TC211"
    CASE_CLASH = "TC212"
    FLAG_WITHOUT_SHAPE = "TC213"
    SHAPES_IN_GOOD_FOLDER = "TC214"
    NOT_LABELME = "TC215"
    FIRST_PAGE_ONLY = "TC216"
    FILE_UNREADABLE = "TC217"
    IMAGE_DOUBTFUL = "TC218"
    # Tiles and splits
    TILE_TOO_SMALL = "TC301"
    EXACT_DUPLICATE = "TC302"
    NEAR_DUPLICATE = "TC303"
    LEAK = "TC304"
    NOTHING_TO_TRAIN_ON = "TC305"
    MIXED_GROUP = "TC306"
    SPLIT_CONFLICT = "TC307"
    NOT_SHOWN = "TC308"
    CROWD = "TC309"
    FOREIGN_FILE = "TC310"
    # Finished data sets
    MASK_MISSING = "TC401"
    MASK_ORPHAN = "TC402"
    MASK_EMPTY = "TC403"
    MASK_NOT_BINARY = "TC404"
    MASK_OTHER_SIZE = "TC405"
    MASK_UNREADABLE = "TC406"
    MASK_OF_GOOD = "TC407"
    LISTED_MISSING = "TC408"
    NOT_LISTED = "TC409"
    UNKNOWN_VALUE = "TC410"
    UNKNOWN_FOLDER = "TC411"


MEANING: dict[Code, str] = {
    Code.TOO_FEW_POINTS: "fewer than three distinct points",
    Code.NOT_FINITE: "a coordinate is NaN, infinite or absurdly far away",
    Code.NO_AREA: "the outline encloses no area",
    Code.SELF_CROSSING: "self-crossing outline, readings agree",
    Code.READINGS_DISAGREE: "self-crossing outline, readings disagree (vertices probably swapped)",
    Code.TIDIED: "doubled points, spikes, keyholes or pinches tidied",
    Code.DRAWN_WITH_WIDTH: "a line or point drawn with the configured width",
    Code.CLIPPED: "clipped to the image",
    Code.OUTSIDE: "clipped to the image, much of it lay outside: look",
    Code.THIN: "owns no pixel centre: every pixel it touches is taken",
    Code.UNKNOWN_KIND: "a shape kind this version does not know",
    Code.UNKNOWN_LABEL: "a label the label table does not name",
    Code.MALFORMED_SHAPE: "a shape that does not read as labelme's",
    Code.BAD_MASK: "a mask shape whose bitmap cannot be read",
    Code.IGNORE_AREA: "marks pixels to ignore",
    Code.BACKGROUND_AREA: "cuts background out of earlier shapes",
    Code.ERASED: "wholly covered by a later background shape",
    Code.SIMILAR_LABELS: "labels that differ in spelling only",
    Code.NEEDS_WIDTH: "a line or point has no area and no width is configured",
    Code.ORPHAN_SHAPE: "a shape whose image cannot be used",
    Code.DECIDED: "a person decided about this shape",
    Code.DECISION_STALE: "a decision about a shape that is drawn no more",
    Code.UNANNOTATED: "image without annotation, left out",
    Code.IMAGE_MISSING: "the annotated image is nowhere to be found",
    Code.IMAGE_UNREADABLE: "the image cannot be decoded",
    Code.ANNOTATION_UNREADABLE: "the annotation cannot be read",
    Code.PATH_OUTSIDE: "a path leads out of the folder",
    Code.SIZE_MISMATCH: "the annotation states another size than the image has",
    Code.TOO_LARGE: "more pixels than the limit allows",
    Code.SECOND_ANNOTATION: "a second annotation of the same image",
    Code.IMAGE_BY_NAME: "imagePath leads nowhere, the image was found by its name",
    Code.EMBEDDED_IMAGE: "only the embedded copy of the image exists",
    Code.ALPHA_DROPPED: "a transparency channel was dropped",
    Code.CASE_CLASH: "names that differ in case only",
    Code.FLAG_WITHOUT_SHAPE: "an image flag is set but nothing is drawn, left out",
    Code.SHAPES_IN_GOOD_FOLDER: "shapes on an image in a folder of good ones",
    Code.NOT_LABELME: "a JSON file that is not labelme's",
    Code.FIRST_PAGE_ONLY: "only the first page of the file is used",
    Code.FILE_UNREADABLE: "the file cannot be opened",
    Code.IMAGE_DOUBTFUL: "the image decodes whole, but its file may be damaged: look",
    Code.TILE_TOO_SMALL: "tiles too narrow to use were left out",
    Code.EXACT_DUPLICATE: "the same image file more than once",
    Code.NEAR_DUPLICATE: "nearly the same image",
    Code.LEAK: "the same source, group or place stands in two splits",
    Code.NOTHING_TO_TRAIN_ON: "a category without any training image",
    Code.MIXED_GROUP: "a group with good and defective images: all of it tests",
    Code.FOREIGN_FILE: "a file in a category's folder that threecad did not write",
    Code.NOT_SHOWN: "a defect that no defect tile shows",
    Code.CROWD: "look-alikes left unbound: a group pattern keeps parts together",
    Code.SPLIT_CONFLICT: "bound together, but their folders name different splits",
    Code.MASK_MISSING: "a defective image without a mask",
    Code.MASK_ORPHAN: "a mask of no image",
    Code.MASK_EMPTY: "the mask of a defective image marks no pixel",
    Code.MASK_NOT_BINARY: "a mask with values between background and defect",
    Code.MASK_OTHER_SIZE: "a mask of another size than its image",
    Code.MASK_UNREADABLE: "a mask that cannot be read",
    Code.MASK_OF_GOOD: "a good image whose mask marks pixels",
    Code.LISTED_MISSING: "a list names a file that is not there",
    Code.NOT_LISTED: "an image that the data set's list does not name",
    Code.UNKNOWN_VALUE: "an index mask with a value that has no name",
    Code.UNKNOWN_FOLDER: "a folder that the layout does not know",
}
"""One phrase a code, as the summary prints it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One flaw and what was done about it. Nothing is lost without one.

    `source` is the source's id (or a file's path in the raw folder where there is no source), `shape` the shape's number
    in its file (from 0) or None where the finding is about the whole file, `place` an (x, y) in the image to look at.
    """

    code: Code
    action: Action
    source: str
    shape: int | None
    detail: str
    place: tuple[float, float] | None = None


class Split(StrEnum):
    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


class State(StrEnum):
    """What a tile shows: no defect at all, a defect, only a sliver of one, or something nobody could read."""

    GOOD = "good"
    DEFECT = "defect"
    AMBIGUOUS = "ambiguous"
    POISONED = "poisoned"


@dataclass(frozen=True, slots=True)
class Source:
    """One item of the raw folder: an image, its annotation, or both.

    `id` is the image's POSIX path relative to the raw folder (the annotation's where the image is only embedded), `image`
    and `annotation` are such paths or None. `good` says that a folder vouches for the image; `split` is what its folders name.
    """

    id: str
    category: str
    image: str | None
    annotation: str | None
    good: bool = False
    split: Split | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    """One outline as drawn; it may be anything. `kind` is labelme's shape_type, `points` are (x, y) in pixels.

    `mask` holds the encoded bitmap of a mask shape, `flags` the names of the flags that are set, and `fault` says in words
    what could not be understood of it (None for a shape that reads as labelme's).
    """

    index: int
    label: str
    kind: str
    points: tuple[tuple[float, float], ...]
    group: int | None = None
    flags: tuple[str, ...] = ()
    mask: bytes | None = None
    description: str = ""
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Annotation:
    """Everything drawn on one image. `size` is what the file states (None when it does not), `image` its imagePath as written."""

    source: str
    size: Size | None
    shapes: tuple[Shape, ...]
    flags: tuple[str, ...] = ()
    image: str = ""
    embedded: bool = False
    version: str = ""


@dataclass(frozen=True, slots=True)
class Region:
    """One defect: valid, non-empty and inside its image, made of one shape or of a group of them.

    `uid` is `<source id>#<number of its first shape>`; `shapes` are the numbers of all its shapes; `label` is the canonical
    type; `ignore` marks an area where nothing counts as good or defective.
    """

    uid: str
    label: str
    geometry: Polygon | MultiPolygon
    shapes: tuple[int, ...]
    ignore: bool = False


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A rectangle of whole pixels of the source image; under the `pad` policy it may reach beyond the right and lower edge."""

    top: int
    left: int
    size: Size


@dataclass(frozen=True, slots=True)
class Defect:
    """The part of one region that a tile shows: pixels, and (left, top, width, height) in the tile's frame."""

    uid: str
    label: str
    area: int
    bbox: tuple[int, int, int, int]
    share: float


@dataclass(frozen=True, slots=True)
class Tile:
    """One window of one source. `pixels` is (height, width) or (height, width, 3), uint8 or uint16; masks are (height, width).

    `mask` is uint8 0/255 (every annotated pixel), `types` uint8 or uint16 indices into the category's type list (0 = background),
    `ignore` uint8 0/255 or None. The arrays are views of the source's own.
    """

    source: str
    window: Window
    pixels: NDArray[np.uint8] | NDArray[np.uint16]
    mask: NDArray[np.uint8]
    types: NDArray[np.uint8] | NDArray[np.uint16]
    ignore: NDArray[np.uint8] | None
    state: State
    defects: tuple[Defect, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """One tile in the manifest. Paths are POSIX and relative to the data set; None where no file was written.

    `split` is None for a tile that no split uses; `labels` are the types it shows, sorted; `areas` the visible pixels of each.
    `clean` marks a good tile of an image on which something is drawn elsewhere: good by the annotator's word alone.
    """

    id: str
    source: str
    category: str
    window: Window
    split: Split | None
    state: State
    labels: tuple[str, ...]
    areas: tuple[int, ...]
    defects: tuple[Defect, ...]
    image: str | None
    mask: str | None
    types: str | None
    ignore: str | None
    digest: str | None
    clean: bool = False


@dataclass(frozen=True, slots=True)
class MaskFile:
    """A file that says which pixels of an image are defective. `path` is POSIX and relative to the data set.

    `kind` is `binary` (any value but 0 is a defect; in a lossy file, any above half the range), `index` (a value is a type,
    named by `types`; 0 is background) or `boxes` (a text of `left top right bottom value`, right and bottom exclusive).
    `types` pairs values with types; a binary mask with one pair, whose value is 0, belongs to that type alone.
    """

    path: str
    kind: Literal["binary", "index", "boxes"] = "binary"
    types: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One image of a finished data set as its layout tells it, before any file of it is opened.

    `id` is the sample's where the data set has ids, else the image's path, which is POSIX and relative to the data set and
    None where no file was written. `state` is GOOD or DEFECT (or what threecad wrote), None where only the mask can tell;
    `labels` are the types that the layout names, sorted. `source` and `window` say which part of which photograph it is, as
    far as that is known; `source` is the id otherwise.
    """

    id: str
    category: str
    split: Split | None
    state: State | None
    labels: tuple[str, ...]
    image: str | None
    masks: tuple[MaskFile, ...]
    source: str
    window: Window | None = None


@dataclass(frozen=True, slots=True)
class Spot:
    """One defect as a mask shows it: an 8-connected region of the union of all types, in pixels of the image.

    `bbox` is (left, top, width, height); `long` and `short` are the sides of the smallest rectangle, turned as need be, around
    its pixels' corners (so that one pixel measures 1 × 1); `labels` are the types that own a pixel of it, sorted; `lost` names
    the shrinkings (see `Measure`) after which no pixel of it is left.
    """

    area: int
    bbox: tuple[int, int, int, int]
    long: float
    short: float
    labels: tuple[str, ...]
    lost: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Measure:
    """What an image and its masks measure, from their pixels alone: equal files give equal measures.

    `brightness` and `contrast` are the mean and the standard deviation of the luma, as shares of the full range; `sharpness`
    the variance of its Laplacian in 8-bit steps. `fingerprint` is `duplicates.fingerprint` in hexadecimal, `digest` the SHA-256
    of the image file. `areas` pairs each type with its pixels. `heat` is a HEAT × HEAT grid, row by row, of how much of each
    cell the mask covers (0 to 255), empty where it covers nothing. `lost` names the shrinkings, such as `nearest-256`, after
    which no defect of the image is left at all. `flaws` are faults of the files, without where they were found.
    """

    size: Size
    channels: int
    bits: int
    brightness: float
    contrast: float
    sharpness: float
    fingerprint: str | None
    digest: str
    spots: tuple[Spot, ...]
    areas: tuple[tuple[str, int], ...]
    heat: bytes
    lost: tuple[str, ...]
    flaws: tuple[tuple[Code, str], ...]


HEAT = 32
"""Cells a side of the grid that says where defects lie."""
SHRINKINGS = ("nearest-256", "area-256", "nearest-224", "area-224")
"""How masks are shrunk to a square of so many pixels: `nearest` takes the mask's value at each new pixel's centre, `area` marks
a new pixel of which at least half is covered."""


class Decision(StrEnum):
    """What a person said about a shape that was repaired or queued: use what was made of it, draw it again, or leave it out."""

    ACCEPT = "accept"
    RELABEL = "relabel"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class Case:
    """One shape that a person should look at, as drawn, and what was or could be made of it: a row of cases.jsonl.

    A coordinate that is no finite number is None. `codes` and `details` are those of its findings, gravest first; `action` is
    its outcome as the data set stands. `outline` is GeoJSON text in the source's frame: what the data set holds of it, or for a
    queued shape what `accept` would put there; None where nothing can be made of it. `digest` names the shape as drawn, so that
    a decision never hits another one. `picture` is a file of the data set that shows the part `view` (left, top, width, height
    in pixels) of the source, None where there is no picture. An outline of very many vertices is told by every `step`-th of
    them, from the first on; in its file it has `vertices`.
    """

    source: str
    shape: int
    category: str
    annotation: str
    label: str
    kind: str
    points: tuple[tuple[float | None, float | None], ...]
    action: Action
    codes: tuple[Code, ...]
    details: tuple[str, ...]
    place: tuple[float, float] | None
    outline: str | None
    digest: str
    decision: Decision | None = None
    picture: str | None = None
    view: tuple[int, int, int, int] | None = None
    step: int = 1
    vertices: int = 0
