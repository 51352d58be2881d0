"""What can be set about the detector: a `Recipe` is read from TOML as a conversion's pipeline is, a section a concern.

The defaults are what the 3CAD paper states, or the nearest to it where it is silent. `protocol = "upstream"` sets what its
authors ran, for the comparison: it changes the defaults below, and whatever a file says besides still holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from threecad.pipeline import config
from threecad.settings import Section

Below1 = Annotated[float, Field(ge=0, lt=1)]
Weight = Annotated[float, Field(ge=0, le=1000)]
Share = Annotated[float, Field(gt=0, le=1)]
Protocol = Literal["paper", "upstream"]
Resize = Literal["squash", "letterbox", "tile"]


class Data(Section):
    """Which images train, and how they become the model's squares."""

    size: int = Field(default=256, ge=64, le=2048, multiple_of=32)
    """Side of the model's square input, pixels (paper: 256)."""
    resize: Resize = "squash"
    """`squash` scales height and width alone (paper), `letterbox` keeps the aspect and pads, `tile` cuts squares unscaled."""
    overlap_ratio: float = Field(default=0.2, ge=0, lt=0.9)
    """Overlap of neighbouring squares where `resize = "tile"`."""
    joint: bool = False
    """One model for all categories rather than one a category (paper: one a category)."""
    validation: float = Field(default=0.1, ge=0, lt=1)
    """Share of the training images held out for the threshold, and for `keep = "best"`; whole sources, by seeded hash."""
    test_good: float = Field(default=0.3, gt=0, lt=1)
    """Of a data set without splits: the share of its good sources that test, by seeded hash. Defective ones all do."""
    seed: int = 0
    """Another one holds out others, and of a data set without splits tests others; `train.seed` never does."""


class Synthesis(Section):
    """Anomalies painted on good images: Perlin noise says where, a texture what."""

    probability: float = Field(default=1.0, ge=0, le=1)
    """How often an image is given an anomaly at all (upstream: always)."""
    perlin_scale: int = Field(default=6, ge=1, le=8)
    """Cells of the noise along an axis are 2^k, k drawn from 0 up to one less than this, each axis by itself."""
    threshold: float = 0.5
    """Noise above it is anomalous."""
    rotation: float = Field(default=90.0, ge=0, le=180)
    """The noise is turned by up to so many degrees either way."""
    transparency: float = Field(default=0.8, ge=0, le=1)
    """β is drawn from 0 up to this: the share of the image that shows through the texture."""
    redraw: bool = False
    """Draw again, once, where a mask came out empty; else such images, about one in twenty, train as good ones."""
    texture: Literal["random", "index"] = "random"
    """A texture drawn for each image and epoch, or the one of the image's own number (upstream)."""


class Model(Section):
    """Which networks, and which of the paper's parts."""

    teacher: str = "wide_resnet50_2.tv_in1k"
    """A timm backbone that gives features at strides 4, 8 and 16; frozen (paper: WideResNet50-2 of ImageNet)."""
    teacher_weights: str | None = None
    """File of the teacher's weights (safetensors or a state dict), for machines without a hub. Unset: timm fetches them."""
    student: str = "efficientnet_b0"
    """A timm backbone that gives features at the same strides (paper: EfficientNet-b0)."""
    student_pretrained: bool = False
    """Whether the student starts from ImageNet weights."""
    recovery: bool = True
    """The branch that recovers normal features; off is the paper's ablation WRC."""
    segmentation: bool = True
    """The network for fine localisation; off is WS."""
    hint: bool = True
    """Whether the recovery weighs what is segmented; off is WC."""
    heterogeneous: bool = True
    """Whether student and teacher differ; off, both are the teacher's network, is WH."""


class Loss(Section):
    """Equations 1, 2, 4 and 5."""

    distillation: float = Field(default=1.0, ge=0)
    """Weight of L_dis (Table 9)."""
    recovery: float = Field(default=1.0, ge=0)
    """Weight of L_rec (Table 9)."""
    segmentation: float = Field(default=1.0, ge=0)
    """Weight of L_bce (Table 9)."""
    push: bool = True
    """Whether the student is pushed away from the teacher where there is an anomaly; off is the ablation WP."""
    levels: Literal["sum", "mean"] = "sum"
    """How L_dis adds up over the three levels (paper: sum, upstream: mean)."""
    cosine: Literal["position", "flattened"] = "position"
    """L_rec by the cosine at each position (paper), or of each level flattened to one vector a sample (upstream)."""


class Training(Section):
    """The loop."""

    epochs: int = Field(default=50, ge=1, le=100_000)
    """Passes over the training images (paper: 50)."""
    batch_size: int = Field(default=32, ge=1, le=65_536)
    """Images a step, on each device (paper: 32)."""
    optimizer: Literal["adamw", "adam"] = "adamw"
    """The optimiser (paper: AdamW, upstream: Adam)."""
    learning_rate: float = Field(default=5e-4, gt=0)
    """At the start (paper: 0.0005)."""
    betas: tuple[Below1, Below1] = (0.9, 0.999)
    """The optimiser's (upstream: 0.5, 0.999)."""
    weight_decay: float = Field(default=0.01, ge=0)
    """The optimiser's (upstream: none)."""
    milestones: tuple[Share, ...] = (0.8, 0.9)
    """Shares of the epochs after which the learning rate falls (paper: after 40 and 45 of 50)."""
    decay: float = Field(default=0.2, gt=0, le=1)
    """What the learning rate is multiplied by at each (paper: 0.2)."""
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    """Numbers in the networks; losses are always float32. `auto`: bf16-mixed on a GPU that has it, else 32-true."""
    compile: bool = False
    """Whether torch.compile makes the networks faster; falls back with a notice where it cannot."""
    checkpoint_minutes: float = Field(default=2.0, ge=0)
    """At the end of an epoch the state is saved where the last time is so long ago; 0 saves after every epoch."""
    keep: Literal["last", "best"] = "last"
    """Which epoch's model is kept: the last, or the one best on the held-out images with painted anomalies. Never by the test."""
    seed: int = 0
    """Everything random follows from it and from names."""


class Scoring(Section):
    """How a map becomes scores, and from where on an image is defective."""

    sigma: float = Field(default=4.0, ge=0, le=256)
    """Of the Gaussian that smooths the map, in pixels of the model's input (paper: 4)."""
    align_corners: bool = False
    """Whether maps are enlarged as upstream does."""
    levels: tuple[Weight, Weight, Weight] = (1.0, 1.0, 1.0)
    """Weight of the recovery's distances at strides 4, 8 and 16 (paper: 1 each). The coarse ones see wide anomalies, the fine
    ones small ones; a level of weight 0 is still trained, and hints at what is segmented."""
    normalise: bool = False
    """Whether the map of the recovery and that of the segmentation's logits are brought to mean 0 and standard deviation 1 over
    the held-out good images before they are added, so that neither drowns the other; off, both are added as they are (paper)."""
    false_positive_rate: float = Field(default=0.01, gt=0, lt=1)
    """The threshold lets so many of the held-out good images through as defective."""
    native: bool = True
    """Evaluate at the masks' own resolution; off: at the model's, masks shrunk so that no defect vanishes."""
    pro_limit: float = Field(default=0.3, gt=0, le=1)
    """False-positive rate up to which the PRO curve is integrated (paper: 0.3)."""


UPSTREAM: Mapping[str, Mapping[str, object]] = {
    "data": {"validation": 0.0},
    "synthesis": {"texture": "index"},
    "loss": {"levels": "mean", "cosine": "flattened"},
    "train": {"optimizer": "adam", "betas": (0.5, 0.999), "weight_decay": 0.0, "precision": "16-mixed"},
    "score": {"align_corners": True, "native": False},
}
"""What the authors ran where it differs from what they wrote."""


class Recipe(Section):
    """Every setting of the detector.

    >>> Recipe().train.optimizer, Recipe(protocol="upstream").train.optimizer
    ('adamw', 'adam')
    """

    protocol: Protocol = "paper"
    """What settings that are left out follow: the paper, or what its authors ran."""
    data: Data = Field(default_factory=Data)
    """Which images train, and how they become the model's squares."""
    synthesis: Synthesis = Field(default_factory=Synthesis)
    """The painted anomalies."""
    model: Model = Field(default_factory=Model)
    """The networks."""
    loss: Loss = Field(default_factory=Loss)
    """The losses."""
    train: Training = Field(default_factory=Training)
    """The loop."""
    score: Scoring = Field(default_factory=Scoring)
    """Maps, scores and the threshold."""

    @model_validator(mode="before")
    @classmethod
    def _follow(cls, tree: Any) -> Any:
        """Puts the protocol's defaults below what is said."""
        if not isinstance(tree, dict) or tree.get("protocol") != "upstream":
            return tree
        said = {name: tree.get(name, {}) for name in UPSTREAM}
        if not all(isinstance(section, dict) for section in said.values()):
            return tree
        return {**tree, **{name: {**UPSTREAM[name], **section} for name, section in said.items()}}

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if not self.model.recovery and not self.model.segmentation:
            raise ValueError("model.recovery and model.segmentation cannot both be off: nothing would give a map")
        if not (self.model.recovery and self.loss.recovery) and not (self.model.segmentation and self.loss.segmentation):
            raise ValueError("no part that gives a map has a loss: loss.recovery or loss.segmentation must be above 0")
        if self.model.recovery and not any(self.score.levels):
            raise ValueError(
                "score.levels: at least one level must weigh more than 0; without the recovery's map say model.recovery = false"
            )
        return self


def load(name: str | Path) -> Recipe:
    """Read a recipe's file, or one that ships with threecad by its bare name (`cfrg`, `cfrg-upstream`, `ablations/wrc`).

    ConfigError where the file is missing, is not TOML, or holds a key or value that is not a setting.
    """
    return config.load_as(Recipe, name)


def override(recipe: Recipe, changes: Mapping[str, object]) -> Recipe:
    """The same recipe with some settings replaced, named by dotted path; a None value changes nothing.

    >>> override(Recipe(), {"train.epochs": 5, "train.seed": None}).train.epochs
    5
    """
    return config.override(recipe, changes)
