"""What a training step of CFRG costs, and where its time goes.

    python tests/bench/cfrg.py [--teacher NAME] [--batch-size 32] [--steps 10] [--device cuda] [--ceiling 790] [--json FILE]
    python tests/bench/cfrg.py --precision 32-true bf16-mixed --compile --contiguous      each against the first, taking turns
    python tests/bench/cfrg.py --operators 12                                             torch's operators with the most time

A step is the training loop's own (`threecad.learning.loop.Step`, on Fabric, with fused AdamW): paint, the teacher's pass over
good and painted images, student, recovery, segmentation, losses, backward, optimiser. Weights and images are random, since
neither changes what it costs. Nothing is read from a disk: what a training waits for data is in its own log.

Sides take turns in every round, and a ratio is the median of the rounds' own: what disturbs a round disturbs all of it. The
shares of the parts come from steps of their own, which wait for the device at the end of each part; they are eager, for a
compiled network has no parts any more. FLOPs are counted (`torch.utils.flop_counter`: convolutions and matrix products, 2 a
multiply-add).

On a busy machine `--cpu-time` with one thread counts the process's own seconds, which others disturb less.
"""

# ruff: noqa: N803, N806

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from threecad.learning import config
from threecad.learning.config import Recipe
from threecad.learning.devices import devices, fabric, precision
from threecad.learning.loop import Step
from threecad.learning.model import Cfrg, backbone
from threecad.learning.synthesis import paint
from threecad.learning.textures import Textures

PARTS = ("paint", "teacher", "student", "recovery", "segmentation", "distances and losses", "backward", "optimiser")
MODULES = {"student": ("student", "adapters"), "recovery": ("fusion", "recovery"), "segmentation": ("segmentation",)}
TEXTURES = 16


def convolution_backward(out: Any, images: Any, weight: Any, *rest: Any, out_shape: Any = None) -> int:
    """FLOPs of a convolution's gradients: each costs as much as the convolution. torch's own formula knows no groups."""
    transposed, wanted = rest[4], rest[7]
    return conv_flop_count(images, weight, out, transposed) * (wanted[0] + wanted[1])


class Side:
    """One way to train: precision, memory layout, eager or compiled."""

    def __init__(self, recipe: Recipe, kind: str, clock: Callable[[], float], *, compiled: bool, contiguous: bool) -> None:
        settings = recipe.train
        self.clock = clock
        self.precision = precision(settings.precision, kind)
        words = [self.precision, *(["compiled"] if compiled else []), *(["contiguous"] if contiguous else [])]
        self.name = " ".join(words)
        self.compiled, self.layout = compiled, torch.contiguous_format if contiguous else torch.channels_last
        self.fabric = fabric(devices(kind), settings.precision)
        device = self.fabric.device
        free = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
        self.network = Cfrg(recipe.model, backbone(recipe.model.teacher)).to(memory_format=self.layout)  # type: ignore[call-overload]
        self.step = Step(self.network, recipe)
        trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=settings.learning_rate, fused=True)
        self.module, self.tuned = self.fabric.setup(self.step, self.optimizer)
        self.module.train()
        side = recipe.data.size
        random = torch.Generator().manual_seed(0)
        self.images_BHW3 = torch.randint(256, (settings.batch_size, side, side, 3), generator=random, dtype=torch.uint8).to(
            device
        )
        self.numbers_B = torch.arange(settings.batch_size, device=device)
        drawn = torch.randint(256, (TEXTURES, side, side, 3), generator=random, dtype=torch.uint8)
        self.textures = Textures(drawn, "made").to(device)
        self.settings = recipe.synthesis
        self.number = 0
        self.seconds: list[float] = []
        if compiled:
            self.network.compile()
        began = self.clock()
        self.run(1)
        self.first = self.clock() - began  # compilation, for the most part
        self.peak = torch.cuda.max_memory_allocated(device) - free if device.type == "cuda" else None

    def run(self, steps: int, mark: Callable[[str], None] = lambda part: None) -> None:
        """So many steps; `mark` is told when a part is over."""
        for _ in range(steps):
            self.number += 1
            painted = paint(self.images_BHW3, self.numbers_B, self.number, 0, self.textures, self.settings)
            images_B3HW = self.images_BHW3.permute(0, 3, 1, 2).float() / 255
            mark("paint")
            result = self.module(self._laid(painted.images_B3HW), self._laid(images_B3HW), painted.masks_B1HW)
            mark("distances and losses")
            self.tuned.zero_grad(set_to_none=True)
            self.fabric.backward(result.total)
            mark("backward")
            self.tuned.step()
            mark("optimiser")
        self.wait()

    def timed(self, steps: int) -> None:
        began = self.clock()
        self.run(steps)
        self.seconds.append((self.clock() - began) / steps)

    def wait(self) -> None:
        if self.fabric.device.type == "cuda":
            torch.cuda.synchronize(self.fabric.device)

    def parts(self, steps: int) -> dict[str, float]:
        """Seconds a step of each part, each ending with a wait for the device."""
        sums = dict.fromkeys(PARTS, 0.0)
        since = self.clock()

        def mark(part: str) -> None:
            nonlocal since
            self.wait()
            now = self.clock()
            sums[part] += now - since
            since = now

        def around(name: str, module: torch.nn.Module) -> list[Any]:
            # What comes before a network in the forward pass belongs to the distances and losses.
            before = module.register_forward_pre_hook(lambda *_: mark("distances and losses"))
            return [before, module.register_forward_hook(lambda *_: mark(name))]

        hooks = around("teacher", self.network.teacher)
        for part, names in MODULES.items():
            for module in (getattr(self.network, name) for name in names):
                each = module if isinstance(module, torch.nn.ModuleList) else [module]
                hooks += [hook for one in each if one is not None for hook in around(part, one)]
        since = self.clock()
        self.run(steps, mark)
        for hook in hooks:
            hook.remove()
        return {part: seconds / steps for part, seconds in sums.items()}

    def flops(self) -> float:
        """Of a step, for each image."""
        mapping: dict[Any, Any] = {torch.ops.aten.convolution_backward: convolution_backward}
        with FlopCounterMode(display=False, custom_mapping=mapping) as counter:
            self.run(1)
        return counter.get_total_flops() / len(self.images_BHW3)

    def operators(self, count: int) -> str:
        """torch.profiler's table of a step."""
        activities = [torch.profiler.ProfilerActivity.CPU]
        order = "self_cpu_time_total"
        if self.fabric.device.type == "cuda":
            activities.append(torch.profiler.ProfilerActivity.CUDA)
            order = "self_device_time_total"
        with torch.profiler.profile(activities=activities) as profile:
            self.run(1)
        return str(profile.key_averages().table(sort_by=order, row_limit=count, max_name_column_width=60))

    def _laid(self, images_B3HW: Tensor) -> Tensor:
        return images_B3HW.contiguous(memory_format=self.layout)


def measure(sides: Sequence[Side], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """All sides by turns, each round beginning with another one; then what is measured once."""
    for round_ in range(arguments.rounds):
        for at in range(len(sides)):
            sides[(round_ + at) % len(sides)].timed(arguments.steps)
    plain = next((side for side in sides if not side.compiled), None)
    flops = plain.flops() if plain is not None else None
    rows = []
    for side in sides:
        seconds = statistics.median(side.seconds)
        rate = arguments.batch_size / seconds
        ratios = [first / own for first, own in zip(sides[0].seconds, side.seconds, strict=True)]
        row: dict[str, Any] = {
            "side": side.name,
            "images_per_second": rate,
            "milliseconds_a_step": seconds * 1e3,
            "seconds": side.seconds,
            "ratio": statistics.median(ratios),
            "ratios": [round(ratio, 3) for ratio in sorted(ratios)],
            "first_step_s": side.first,
            "peak_gb": side.peak / 1e9 if side.peak is not None else None,
        }
        if flops is not None:
            row |= {"gflop_an_image": flops / 1e9, "tflops": flops * rate / 1e12}
            if arguments.ceiling:
                row["of_the_ceiling"] = row["tflops"] / arguments.ceiling
        if not side.compiled:
            row["parts_ms"] = {part: each * 1e3 for part, each in side.parts(arguments.steps).items()}
        rows.append(row)
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    heads = ["", "images/s", "ms a step", "ratio", "TFLOP/s", "of ceiling", "peak GB", *PARTS]
    lines = []
    for row in rows:
        cells = [row["side"], f"{row['images_per_second']:.1f}", f"{row['milliseconds_a_step']:.1f}", f"{row['ratio']:.2f}"]
        cells.append(f"{row['tflops']:.2f}" if "tflops" in row else "-")
        cells.append(f"{row['of_the_ceiling']:.1%}" if "of_the_ceiling" in row else "-")
        cells.append(f"{row['peak_gb']:.1f}" if row["peak_gb"] is not None else "-")
        parts = row.get("parts_ms", {})
        whole = sum(parts.values())
        lines.append(cells + [f"{parts[part] / whole:.1%}" if parts else "-" for part in PARTS])
    widths = [max(len(line[at]) for line in [heads, *lines]) for at in range(len(heads))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in [heads, *lines])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipeline", default="cfrg", help="a recipe, or the name of one that ships")
    parser.add_argument("--teacher", help="a timm backbone, instead of the recipe's")
    parser.add_argument("--batch-size", type=int, help="instead of the recipe's")
    parser.add_argument("--size", type=int, help="side of the images, instead of the recipe's")
    parser.add_argument("--steps", type=int, default=5, help="that are timed together")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="auto", help="cpu, cuda or cuda:N")
    parser.add_argument("--precision", nargs="+", default=["auto"], help="32-true, bf16-mixed, 16-mixed")
    parser.add_argument("--compile", action="store_true", help="a compiled side for each precision as well")
    parser.add_argument("--contiguous", action="store_true", help="a side without channels_last for each precision as well")
    parser.add_argument("--threads", type=int, help="of torch on the CPU")
    parser.add_argument("--cpu-time", action="store_true", help="count the process's CPU seconds instead of those on the wall")
    parser.add_argument("--ceiling", type=float, metavar="TFLOPS", help="what the device can do: 790 for an H200 in bf16")
    parser.add_argument("--operators", type=int, metavar="N", help="also list torch's N operators with the most time")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    changes = {"model.teacher": arguments.teacher, "train.batch_size": arguments.batch_size, "data.size": arguments.size}
    recipe = config.override(config.load(arguments.pipeline), changes)
    arguments.batch_size = recipe.train.batch_size
    chosen = devices(arguments.device)
    kind = f"{chosen.kind}:{chosen.places[0]}" if chosen.kind == "cuda" else chosen.kind
    warnings.filterwarnings("ignore", category=UserWarning)  # of the compiler and the profiler, about themselves
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    sides = []
    for name in arguments.precision:
        own = config.override(recipe, {"train.precision": name})
        for compiled, contiguous in ((False, False), (True, False), (False, True)):
            if (compiled and not arguments.compile) or (contiguous and not arguments.contiguous):
                continue
            sides.append(Side(own, kind, clock, compiled=compiled, contiguous=contiguous))
            print(f"{sides[-1].name}: first step {sides[-1].first:.1f} s", file=sys.stderr, flush=True)
    rows = measure(sides, arguments)
    device = sides[0].fabric.device
    about = {
        "teacher": recipe.model.teacher,
        "batch_size": arguments.batch_size,
        "size": recipe.data.size,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "clock": clock.__name__,
        "steps": arguments.steps,
        "rounds": arguments.rounds,
        "ceiling": arguments.ceiling,
        # On Linux ru_maxrss is in KiB, and of the whole process: all sides together.
        "process_peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
    }
    gflop = rows[0].get("gflop_an_image")
    print(", ".join(f"{key} {value}" for key, value in about.items() if value is not None))
    print(f"{gflop:.1f} GFLOP an image and step\n" if gflop else "")
    print(table(rows))
    if arguments.operators:
        for side in sides:
            print(f"\n{side.name}\n{side.operators(arguments.operators)}")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps({"settings": about, "sides": rows}, indent=1, sort_keys=True) + "\n", "utf-8")


if __name__ == "__main__":
    main()
