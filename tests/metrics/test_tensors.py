"""torch's tensors, in the computer's memory and elsewhere."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from threecad.metrics import Meter, ScoreError, inputs, meter

torch = pytest.importorskip("torch", reason="needs torch (the train extra)")


def drawn(seed: int = 0) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    masks = np.zeros((5, 20, 30), np.bool_)
    masks[1, 3:9, 4:9] = masks[1, 12, 20:] = masks[4, 19, 29] = True
    return (random.normal(size=masks.shape) + masks).astype(np.float32), masks


def state_of(maps: Any, masks: Any, **settings: Any) -> dict[str, list[Any]]:
    found = Meter(upstream=True, **settings)
    found.update(maps, masks, labels=[0, 1, 0, 1, 1])  # image 3 has no marked pixel: it counts for images alone
    return {name: column.tolist() for name, column in found.state().items()}


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors take the way of those on another device."""
    for module in (inputs, meter):
        monkeypatch.setattr(module, "is_elsewhere", lambda values: isinstance(values, torch.Tensor))


NAMES = ["float32", "float64", "float16", "uint8", "bool", "int64"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bits", [10, 16, 23])
def test_tensors_count_bit_for_bit_as_arrays_do(name: str, bits: int) -> None:
    maps, masks = drawn()
    values = (np.abs(maps) * 50).astype(name) if name in ("uint8", "int64") else maps.astype(name)
    expected = state_of(values, masks, mantissa_bits=bits)
    assert state_of(torch.tensor(values)[:, None], torch.tensor(masks), mantissa_bits=bits) == expected


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bits", [10, 16, 23])
@pytest.mark.usefixtures("elsewhere")
def test_tensors_on_another_device_are_counted_there_alike(name: str, bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    maps, masks = drawn()
    values = (np.abs(maps) * 50).astype(name) if name in ("uint8", "int64") else maps.astype(name)
    expected = state_of(values, masks, mantissa_bits=bits)
    counted = []
    monkeypatch.setattr(Meter, "_count", lambda *_: counted.append(1))
    assert state_of(torch.tensor(values), torch.tensor(masks), mantissa_bits=bits) == expected
    assert not counted


@pytest.mark.usefixtures("elsewhere")
def test_bins_are_joined_for_tensors_on_another_device_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meter, "LARGEST", 12 << 20)
    maps, masks = drawn()
    expected = state_of(maps, masks)
    assert expected["settings"][1] < 16
    assert state_of(torch.tensor(maps), torch.tensor(masks)) == expected


@pytest.mark.usefixtures("elsewhere")
def test_nan_on_another_device_is_refused() -> None:
    maps = torch.zeros(2, 3, 3)
    maps[1, 0, 0] = torch.nan
    with pytest.raises(ScoreError, match="the map of image 1 of the batch holds NaN"):
        Meter().update(maps, torch.zeros(2, 3, 3))


def test_bfloat16_and_tensors_that_want_gradients_are_read() -> None:
    maps, masks = drawn()
    narrow = torch.tensor(maps).bfloat16()
    assert state_of(narrow, masks) == state_of(narrow.float().requires_grad_(), torch.tensor(masks * 3))


def test_tensors_may_be_views() -> None:
    maps, masks = drawn()
    tensor = torch.tensor(maps).permute(0, 2, 1).contiguous().permute(0, 2, 1)
    assert state_of(tensor, masks) == state_of(maps, masks)


def test_labels_and_scores_may_be_tensors() -> None:
    maps, masks = drawn()
    found = Meter()
    found.update(maps, masks, labels=torch.tensor([0, 1, 0, 1, 1]), image_scores=torch.tensor([0.1, 0.9, 0.2, 0.8, 0.7]))
    assert found.compute().image_auroc == 1


def test_metrics_do_not_import_torch() -> None:
    program = "import sys, numpy as np, threecad.metrics as m; m.aupro(np.eye(2), np.eye(2)); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
