"""Where the networks run, and with which numbers; what follows is Lightning Fabric's affair."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from threecad.errors import ConfigError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_SPELLED = re.compile(r"(?:(cpu|cuda|mps)(?::(\d{1,4}(?:,\d{1,4})*))?|(\d{1,4}(?:,\d{1,4})+)|(\d{1,4}))")


@dataclass(frozen=True, slots=True)
class Devices:
    """`kind` is cpu, cuda or mps; `places` are the GPUs' numbers, or one number a process on the CPU."""

    kind: str
    places: tuple[int, ...]

    def torch(self, at: int = 0) -> torch.device:
        return torch.device(self.kind, self.places[at]) if self.kind == "cuda" else torch.device(self.kind)


def devices(text: str = "auto") -> Devices:
    """What a person asks for: `auto` (every GPU, else the CPU), `cpu`, `cpu:2` (two processes), `cuda`, `cuda:0,3`, `2` (so many
    GPUs, or processes where there is no GPU). ConfigError where it is none of these, or not there.

    >>> devices("cpu:2")
    Devices(kind='cpu', places=(0, 1))
    """
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if text == "auto":
        return Devices("cuda", tuple(range(there))) if there else Devices("cpu", (0,))
    found = _SPELLED.fullmatch(text)
    if found is None:
        raise ConfigError(f"found devices {text!r}; expected auto, cpu, cpu:2, cuda, cuda:0,3 or a number")
    kind, places, listed, count = found.groups()
    if kind is None:
        kind = "cuda" if there else "cpu"
    if kind == "mps":
        if not torch.backends.mps.is_available():
            raise ConfigError(f"found devices {text!r}; this machine has no such GPU")
        return Devices("mps", (0,))
    if kind == "cpu":
        wanted = int(count or places or 1) if not listed and "," not in (places or "") else 0
        if not 1 <= wanted <= (os.cpu_count() or 1):
            cores = f"{os.cpu_count()} cores{'' if there else ' and no GPU'}"
            raise ConfigError(f"found devices {text!r}; this machine has {cores}: expected cpu:N within them")
        return Devices("cpu", tuple(range(wanted)))
    numbers = range(int(count)) if count else map(int, (listed or places).split(",")) if listed or places else range(there)
    chosen = tuple(dict.fromkeys(numbers))
    if not chosen or max(chosen) >= there:
        raise ConfigError(f"found devices {text!r}; this machine has {there or 'no'} GPU{'s' if there > 1 else ''} of CUDA")
    return Devices("cuda", chosen)


def precision(wanted: str, kind: str) -> str:
    """`auto` is bf16-mixed on a GPU that has it, else 32-true. ConfigError for 16-mixed where only GPUs can.

    >>> precision("auto", "cpu")
    '32-true'
    """
    if wanted == "auto":
        return "bf16-mixed" if kind == "cuda" and torch.cuda.is_bf16_supported() else "32-true"
    if wanted == "16-mixed" and kind == "cpu":
        raise ConfigError('found train.precision = "16-mixed" without a GPU; expected bf16-mixed or 32-true (--precision)')
    return wanted


def fabric(chosen: Devices, wanted: str, *, together: bool = False) -> Fabric:
    """Fabric on the first device, or on all of them `together` (DDP)."""
    import logging

    from lightning_fabric import Fabric

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it tells of each choice that was made above
    places: Any = list(chosen.places) if together else list(chosen.places[:1])
    return Fabric(
        accelerator=chosen.kind,
        devices=places if chosen.kind == "cuda" else len(places),
        strategy="ddp_spawn" if len(places) > 1 else "auto",
        precision=precision(wanted, chosen.kind),  # type: ignore[arg-type]
    )
