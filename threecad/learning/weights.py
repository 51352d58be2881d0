"""The teacher's weights: from timm's hub, or from a file; never random ones in silence."""

from __future__ import annotations

import hashlib
import logging
import pickle
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from threecad.errors import ConfigError, ReadError
from threecad.learning.model import backbone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LARGEST = 8 << 30
"""Bytes of a file of weights; no backbone of timm's comes near."""

State = Mapping[str, Tensor]


def teacher(name: str, file: Path | None = None, note: Callable[[str], None] | None = None) -> nn.Module:
    """The backbone `name` with its weights, from `file` or from timm's hub (which keeps them in its own cache).

    A file's tensors are found by their names, whatever stands before them (`module.`, `backbone.`). Where the names are another
    library's, they are taken in their order if every one of the whole network's tensors has its counterpart of the same shape,
    and `note` tells. ConfigError where the hub is out of reach or the file is of another network; ReadError where the file cannot
    be read.
    """
    if file is None:
        return fetched(name)
    state = read(file)
    net = backbone(name)
    named, how = _matched(name, net, state)
    if named is None:
        wanted = net.state_dict()
        missing = next(key for key in wanted if key not in state)
        shape = tuple(wanted[missing].shape)
        raise ConfigError(f"{file}: holds {len(state)} tensors, none for {missing} {shape}; expected the weights of {name}")
    if how and note is not None:
        note(f"{file.name}: {how}")
    net.load_state_dict(named)
    return net


def read(file: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, or of a state dict that torch saved; nothing in it is ever run.

    ReadError where it is neither.
    """
    expected = "expected weights as safetensors, or a state dict saved by torch"
    try:
        if file.stat().st_size > _LARGEST:
            raise ReadError(f"{file}: {file.stat().st_size / 1e9:.1f} GB, {expected} of at most {_LARGEST / 1e9:.0f} GB")
        if file.suffix == ".safetensors":
            return dict(load_file(file))
        found: Any = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ReadError(f"{file}: cannot be read ({error.strerror or error}); {expected}") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise ReadError(f"{file}: is not a file of weights ({_first(error)}); {expected}") from None
    except SafetensorError as error:
        raise ReadError(f"{file}: is damaged ({_first(error)}); {expected}") from None
    for key in ("state_dict", "model", "model_state", "state_dict_ema"):
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    tensors = {str(key): value for key, value in found.items() if isinstance(value, Tensor)} if isinstance(found, dict) else {}
    if not tensors:
        raise ReadError(f"{file}: holds no tensors; {expected}")
    return tensors


def digest(state: State) -> str:
    """sha256 over names, shapes and values, the same on every machine."""
    summed = hashlib.sha256()
    for key in sorted(state):
        value = state[key].detach().cpu().contiguous()
        summed.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
        summed.update(value.flatten().view(torch.uint8).numpy().tobytes() if value.numel() else b"")
    return summed.hexdigest()


def fetched(name: str) -> nn.Module:
    """The backbone with the weights that timm's hub has for it. ConfigError where the hub is out of reach or has none."""
    try:
        with _quiet():
            return backbone(name, pretrained=True)
    except (OSError, RuntimeError, ValueError) as error:  # OSError: what the hub's client raises when it gets nowhere
        if isinstance(error, RuntimeError) and "No pretrained weights" not in str(error):
            raise
        why = "the hub is out of reach" if isinstance(error, OSError) else "timm knows of none"
        raise ConfigError(f"no ImageNet weights for {name}: {why}; expected a network, or --teacher-weights FILE") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the hub's client from telling of each of its tries."""
    loggers = [logging.getLogger(name) for name in ("huggingface_hub", "timm")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _matched(name: str, net: nn.Module, state: State) -> tuple[dict[str, Tensor] | None, str]:
    """The net's tensors out of a file's, None where they are not there; and what a person should know of how they were found."""
    wanted = net.state_dict()
    prefixes = {""} | {key.removesuffix(some) for some in list(wanted)[:1] for key in state if key.endswith(some)}
    for prefix in sorted(prefixes, key=len):
        if all(prefix + key in state and state[prefix + key].shape == value.shape for key, value in wanted.items()):
            return {key: state[prefix + key] for key in wanted}, ""
    import timm

    whole: dict[str, Tensor] = timm.create_model(name).state_dict()
    mine = [(key, value) for key, value in whole.items() if not key.endswith("num_batches_tracked")]
    theirs = [value for key, value in state.items() if not key.endswith("num_batches_tracked")]
    if len(mine) != len(theirs) or any(one.shape != other.shape for (_, one), other in zip(mine, theirs, strict=True)):
        return None, ""
    by_order = {key: other for (key, _), other in zip(mine, theirs, strict=True)}
    counters = {key: value for key, value in wanted.items() if key.endswith("num_batches_tracked")}
    if not all(key in by_order or key in counters for key in wanted):
        return None, ""
    named = {key: by_order.get(key, wanted[key]) for key in wanted}
    return named, f"other names than {name}'s; all {len(theirs)} tensors have its shapes in its order, and are taken so"


def _first(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
