"""The teacher's weights: from timm's hub, or from a file; never random ones in silence."""

from __future__ import annotations

import hashlib
import logging
import pickle  # nosec B403
import stat
import struct
import warnings
import zipfile
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

DAMAGED = (
    *(RuntimeError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError, AssertionError),
    *(zipfile.BadZipFile, struct.error, OverflowError, MemoryError),
)
"""What torch.load and what is below it have been seen to raise over files that somebody changed."""

State = Mapping[str, Tensor]


def teacher(name: str, file: Path | None = None, note: Callable[[str], None] | None = None) -> nn.Module:
    """The backbone `name` with its weights, from `file` or from timm's hub (which keeps them in its own cache).

    A file's tensors are found by their names, whatever stands before them (`module.`, `backbone.`). Where the names are another
    library's, they are taken in their order if every one of the whole network's tensors has its counterpart of the same shape,
    and `note` tells. ConfigError where the hub is out of reach, there is no such file, or it is of another network; ReadError
    where the file cannot be read.
    """
    if file is None:
        return fetched(name)
    if file.is_dir() or not file.exists():
        found = "a folder" if file.is_dir() else "no such file"
        raise ConfigError(f"{file}: {found}; expected the weights of {name} (--teacher-weights)")
    state = read(file)
    net = backbone(name)
    named, how = _matched(name, net, state)
    if named is None:
        wanted = net.state_dict()
        missing = next((key for key in wanted if key not in state or state[key].shape != wanted[key].shape), next(iter(wanted)))
        shape = tuple(wanted[missing].shape)
        found = f"{tuple(state[missing].shape)}" if missing in state else "nothing"
        raise ConfigError(f"{file}: holds {len(state)} tensors, {found} for {missing} {shape}; expected the weights of {name}")
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
        looks = file.stat()
        if not stat.S_ISREG(looks.st_mode):  # to open a pipe is to wait for whoever writes into it
            raise ReadError(f"{file}: found a folder, a pipe or a device; {expected}")
        if looks.st_size > _LARGEST:
            raise ReadError(f"{file}: {looks.st_size / 1e9:.1f} GB, {expected} of at most {_LARGEST / 1e9:.0f} GB")
        if file.suffix == ".safetensors":
            return dict(load_file(file))
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                if sum(entry.file_size for entry in archive.infolist()) > _LARGEST:  # torch would unpack them all
                    raise ReadError(f"{file}: holds more than {_LARGEST / 1e9:.0f} GB; {expected}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is about to fail
            found: Any = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ReadError(f"{file}: cannot be read ({error.strerror or error}); {expected}") from None
    except pickle.UnpicklingError:  # whose message tells how to run what is in the file
        raise ReadError(f"{file}: holds something else than tensors, or is damaged; {expected}") from None
    except DAMAGED as error:
        raise ReadError(f"{file}: is not a file of weights ({first_line(error)}); {expected}") from None
    except SafetensorError as error:
        raise ReadError(f"{file}: is damaged ({first_line(error)}); {expected}") from None
    for key in ("state_dict", "model", "model_state", "state_dict_ema"):
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    tensors = {str(key): value for key, value in found.items() if _plain(value)} if isinstance(found, dict) else {}
    if not tensors:
        raise ReadError(f"{file}: holds no tensors; {expected}")
    return tensors


def _plain(value: object) -> bool:
    """Whether it is a tensor with its numbers in memory: neither sparse nor quantised, nor one that has only a shape."""
    return isinstance(value, Tensor) and value.layout is torch.strided and not value.is_quantized and value.device.type == "cpu"


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
    import timm  # noqa: F401 - with which the client is loaded, and sets its levels

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
    # A backbone may join with an underscore what the whole network, and its file, join with a dot: stem_0 of stem.0.
    held = {_joined(key): value for key, value in state.items()}
    first = _joined(next(iter(wanted)))
    for prefix in sorted({""} | {key.removesuffix(first) for key in held if key.endswith(first)}, key=len):
        named = {key: held.get(prefix + _joined(key)) for key in wanted}
        found = {key: wanted[key] if value is None and _counts(key) else value for key, value in named.items()}
        fitting = {key: value for key, value in found.items() if value is not None and value.shape == wanted[key].shape}
        if len(fitting) == len(wanted):
            return fitting, ""
    import timm

    whole: dict[str, Tensor] = timm.create_model(name).state_dict()
    mine = [(_joined(key), value) for key, value in whole.items() if not _counts(key)]
    theirs = [value for key, value in state.items() if not _counts(key)]
    if len(mine) != len(theirs) or any(one.shape != other.shape for (_, one), other in zip(mine, theirs, strict=True)):
        return None, ""
    by_order = {key: other for (key, _), other in zip(mine, theirs, strict=True)}
    if not all(_joined(key) in by_order or _counts(key) for key in wanted):
        return None, ""
    taken = {key: by_order.get(_joined(key), value) for key, value in wanted.items()}
    return taken, f"other names than {name}'s; all {len(theirs)} tensors have its shapes in its order, and are taken so"


def _joined(key: str) -> str:
    return key.replace(".", "_")


def _counts(key: str) -> bool:
    """Whether it is a batch normalisation's counter, which older files lack and nothing needs."""
    return key.endswith("num_batches_tracked")


def first_line(error: BaseException) -> str:
    """What an error says, as far as a sentence has room for it."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
