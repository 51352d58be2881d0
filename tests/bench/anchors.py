"""What a detector without any training reaches: the nearest neighbour of each patch among those of the good images.

    python tests/bench/anchors.py DATASET... --teacher tf_efficientnet_lite0 --teacher-weights FILE [--seeds 0 1 2] [--json FILE]
    python tests/bench/anchors.py DATASET... --unit          features of length 1 a level, so that only their direction counts
    python tests/bench/anchors.py DATASET... --untrained     a teacher of random weights: a control

It sees the images that CFRG would train on, tests on those that CFRG would test on, and is measured by the same meter at the
masks' own resolution (`threecad.learning.plan`, `threecad.metrics`). What CFRG adds to its frozen teacher is what it reaches
beyond this.

The features of strides 8 and 16 are averaged over 3 × 3 positions each; the coarser ones are enlarged bilinearly to the finer
grid, and both are joined. A position's score is the distance to the nearest of the good images' positions. The map is enlarged
bilinearly to the model's size, smoothed by a Gaussian of 4 px, and an image's score is its highest.
"""

# ruff: noqa: N803, N806

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from threecad.domain import Size
from threecad.learning import weights
from threecad.learning.config import Data, Scoring
from threecad.learning.fitting import fit_image, fits, unfit
from threecad.learning.model import Gaussian, backbone
from threecad.learning.plan import Plan, plan
from threecad.metrics import Meter

if TYPE_CHECKING:
    from threecad.formats.dataset import Dataset

FIGURES = ("image_auroc", "image_ap", "pixel_auroc", "pixel_ap", "aupro")
QUERIES, KEYS = 1024, 8192
"""Positions that are compared at a time: 32 MB of distances."""


class Patches(torch.nn.Module):
    """A teacher's features of patches: RGB images of 0 to 1, (B, 3, H, W), become (B, h, w, C) at stride 8.

    `unit` leaves of each level's features their direction alone.
    """

    def __init__(self, teacher: torch.nn.Module, *, unit: bool) -> None:
        super().__init__()
        self.teacher = teacher.eval()
        self.unit = unit
        config: Any = teacher.pretrained_cfg
        self.mean, self.std = (torch.tensor(config[key]).view(1, 3, 1, 1) for key in ("mean", "std"))

    def forward(self, images_B3HW: Tensor) -> Tensor:
        _, fine, coarse = self.teacher((images_B3HW - self.mean.to(images_B3HW)) / self.std.to(images_B3HW))
        fine, coarse = (F.avg_pool2d(level, 3, 1, 1, count_include_pad=False) for level in (fine, coarse))
        coarse = F.interpolate(coarse, fine.shape[-2:], mode="bilinear", align_corners=False)
        if self.unit:
            fine, coarse = F.normalize(fine), F.normalize(coarse)
        return torch.cat([fine, coarse], 1).permute(0, 2, 3, 1)


class Memory:
    """The good images' patches, (M, C). Their mean is taken off, since distances of large numbers lose digits."""

    def __init__(self, patches_MC: Tensor) -> None:
        self.centre_C = patches_MC.mean(0)
        self.patches_MC = patches_MC - self.centre_C
        self.squares_M = self.patches_MC.square().sum(1)

    def distances(self, queries_QC: Tensor) -> Tensor:
        """Of each to the nearest, (Q,), exhaustively."""
        found = []
        for part_QC in (queries_QC - self.centre_C).split(QUERIES):
            least_Q = part_QC.new_full((len(part_QC),), torch.inf)
            for keys_KC, squares_K in zip(self.patches_MC.split(KEYS), self.squares_M.split(KEYS), strict=True):
                least_Q = torch.minimum(least_Q, torch.addmm(squares_K, part_QC, keys_KC.T, alpha=-2).amin(1))
            found.append((least_Q + part_QC.square().sum(1)).clamp_min(0).sqrt())
        return torch.cat(found)


def coreset(patches_MC: Tensor, share: float, seed: int) -> Tensor:
    """A share of the patches that leaves none far from all of them: each next one is the farthest from those chosen so far."""
    count = max(1, round(share * len(patches_MC)))
    if count == len(patches_MC):
        return patches_MC
    random = torch.Generator().manual_seed(seed)
    # Distances hold, nearly, in a random projection; it is a fraction of the work.
    thin_MC = (patches_MC - patches_MC.mean(0)) @ torch.randn(patches_MC.shape[1], 64, generator=random).to(patches_MC)
    squares_M = thin_MC.square().sum(1)
    at = int(torch.randint(len(thin_MC), (1,), generator=random))
    chosen, least_M = [at], torch.full_like(squares_M, torch.inf)
    for _ in range(count - 1):
        least_M = torch.minimum(least_M, torch.addmv(squares_M + squares_M[at], thin_MC, thin_MC[at], alpha=-2))
        least_M[at] = -1  # never chosen twice, whatever is rounded
        at = int(least_M.argmax())
        chosen.append(at)
    return patches_MC[chosen]


def squares(data: Dataset, settings: Data, batch: int) -> Iterator[tuple[list[Any], Tensor]]:
    """Items of a data set, and the model's squares of them, (B, 3, H, W) of 0 to 1."""
    for first in range(0, len(data), batch):
        items = [data[number] for number in range(first, min(first + batch, len(data)))]
        pixels = [fit_image(item["image"], fits(Size(*item["image"].shape[:2]), settings)[0], settings.size) for item in items]
        yield items, torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255


def measure(each: Plan, patches: Patches, settings: Data, arguments: argparse.Namespace, seed: int) -> dict[str, Any]:
    """The figures of one plan."""
    began = time.perf_counter()
    device, batch = arguments.device, arguments.batch_size
    seen = [patches(images.to(device)).flatten(0, 2) for _, images in squares(each.train, settings, batch)]
    memory = Memory(coreset(torch.cat(seen), arguments.memory, seed))
    del seen
    smooth = Gaussian(Scoring().sigma).to(device)
    meter = Meter()
    for items, images in squares(each.test, settings, batch):
        found = patches(images.to(device))
        distances = memory.distances(found.flatten(0, 2)).view(found.shape[:3])[:, None]
        maps = smooth(F.interpolate(distances, images.shape[-2:], mode="bilinear", align_corners=False))[:, 0]
        for item, own in zip(items, maps.cpu(), strict=True):
            size = Size(*item["gt_mask"].shape)
            whole = unfit(own[None].numpy(), fits(size, settings), size)
            meter.update(whole, item["gt_mask"], labels=[item["gt_label"]], image_scores=[float(own.max())])
    scores = meter.compute()
    figures = {name: getattr(scores, name) for name in FIGURES}
    return {
        "category": each.name,
        "seed": seed,
        "train": len(each.train),
        "test_good": scores.images - scores.anomalous_images,
        "test_defective": scores.anomalous_images,
        "memory": len(memory.patches_MC),
        "seconds": round(time.perf_counter() - began, 1),
        **{name: value if value is None else round(float(getattr(value, "value", value)), 5) for name, value in figures.items()},
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """A line a run, and mean and deviation over the seeds of each category."""
    lines = [f"{'data set':24}{'seed':>6}{'train':>7}{'good':>6}{'bad':>6}" + "".join(f"{name:>17}" for name in FIGURES)]
    for row in rows:
        counts = f"{row['seed']:>6}{row['train']:>7}{row['test_good']:>6}{row['test_defective']:>6}"
        lines.append(f"{row['category'][:23]:24}{counts}" + "".join(f"{row[name]:>17.4f}" for name in FIGURES))
    for category in dict.fromkeys(row["category"] for row in rows):
        mine = [row for row in rows if row["category"] == category]
        spread = [[row[name] for row in mine] for name in FIGURES]
        told = [f"{statistics.mean(values):.4f} ± {statistics.pstdev(values):.4f}" for values in spread]
        lines.append(f"{category[:23]:24}{'mean':>6}{'':19}" + "".join(f"{text:>17}" for text in told))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="+", type=Path)
    parser.add_argument("--teacher", default="wide_resnet50_2.tv_in1k")
    parser.add_argument("--teacher-weights", type=Path, metavar="FILE", help="its weights; without, timm's hub is asked")
    parser.add_argument("--untrained", action="store_true", help="random weights, as a control")
    parser.add_argument("--unit", action="store_true", help="features of length 1 a level")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the split, where the data set has none")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--memory", type=float, default=1.0, metavar="SHARE", help="of the good patches that are kept")
    parser.add_argument("--category", action="append", default=[])
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)  # of the control's weights alone
    named = backbone(arguments.teacher) if arguments.untrained else weights.teacher(arguments.teacher, arguments.teacher_weights)
    patches = Patches(named, unit=arguments.unit).to(arguments.device)
    settings = Data(size=arguments.size)
    rows = []
    with torch.inference_mode():
        for root in arguments.datasets:
            for seed in arguments.seeds:
                for each in plan(root, settings, categories=arguments.category, seed=seed)[0]:
                    rows.append(measure(each, patches, settings, arguments, seed))
                    print(json.dumps(rows[-1], sort_keys=True), flush=True)
    print(table(rows))
    if arguments.json is not None:
        about = {
            "teacher": "random weights" if arguments.untrained else arguments.teacher,
            "teacher_digest": weights.digest(named.state_dict()),
            "size": arguments.size,
            "unit": arguments.unit,
            "memory": arguments.memory,
            "torch": torch.__version__,
            "machine": platform.processor() or platform.machine(),
        }
        arguments.json.write_text(json.dumps({"settings": about, "runs": rows}, indent=1, sort_keys=True) + "\n", "utf-8")


if __name__ == "__main__":
    main()
