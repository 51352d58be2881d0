"""Where networks run: what a person may ask for, and what this machine has."""

from __future__ import annotations

import pytest
import torch

from threecad.errors import ConfigError
from threecad.learning.devices import Devices, devices, fabric, precision


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Four cores, no GPU."""
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    gpus(monkeypatch, 0)
    return monkeypatch


def gpus(machine: pytest.MonkeyPatch, count: int, *, bf16: bool = True) -> None:
    machine.setattr(torch.cuda, "is_available", lambda: count > 0)
    machine.setattr(torch.cuda, "device_count", lambda: count)
    machine.setattr(torch.cuda, "is_bf16_supported", lambda: bf16)
    machine.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.parametrize(
    ("text", "there", "expected"),
    [
        ("auto", 0, Devices("cpu", (0,))),
        ("auto", 3, Devices("cuda", (0, 1, 2))),
        ("cpu", 3, Devices("cpu", (0,))),
        ("cpu:4", 0, Devices("cpu", (0, 1, 2, 3))),
        ("2", 0, Devices("cpu", (0, 1))),
        ("2", 3, Devices("cuda", (0, 1))),
        ("cuda", 2, Devices("cuda", (0, 1))),
        ("cuda:1", 2, Devices("cuda", (1,))),
        ("cuda:2,0,2", 3, Devices("cuda", (2, 0))),
        ("2,0", 3, Devices("cuda", (2, 0))),
    ],
)
def test_what_is_asked_for_is_given_where_it_is_there(
    machine: pytest.MonkeyPatch, text: str, there: int, expected: Devices
) -> None:
    gpus(machine, there)
    assert devices(text) == expected


@pytest.mark.parametrize(
    ("text", "there", "told"),
    [
        ("", 0, "expected auto, cpu, cpu:2, cuda, cuda:0,3 or a number"),
        ("gpu", 1, "expected auto, cpu, cpu:2, cuda, cuda:0,3 or a number"),
        ("cuda:0,", 1, "expected auto, cpu, cpu:2, cuda, cuda:0,3 or a number"),
        ("cuda:²", 1, "expected auto, cpu, cpu:2, cuda, cuda:0,3 or a number"),
        ("99999", 1, "expected auto, cpu, cpu:2, cuda, cuda:0,3 or a number"),
        ("cuda", 0, "this machine has no GPU of CUDA"),
        ("cuda:1", 1, "this machine has 1 GPU of CUDA"),
        ("4", 2, "this machine has 2 GPUs of CUDA"),
        ("cpu:5", 0, "this machine has 4 cores and no GPU: expected cpu:N within them"),
        ("cpu:5", 1, "this machine has 4 cores: expected cpu:N within them"),
        ("cpu:0", 0, "expected cpu:N within them"),
        ("cpu:0,1", 0, "expected cpu:N within them"),
        ("mps", 0, "this machine has no such GPU"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(machine: pytest.MonkeyPatch, text: str, there: int, told: str) -> None:
    gpus(machine, there)
    with pytest.raises(ConfigError) as refused:
        devices(text)
    assert str(refused.value).startswith(f"found devices {text!r}; ")
    assert str(refused.value).endswith(told)


def test_each_process_has_a_device_of_its_own() -> None:
    chosen = Devices("cuda", (2, 0))
    assert [chosen.torch(at) for at in range(2)] == [torch.device("cuda:2"), torch.device("cuda:0")]
    assert Devices("cpu", (0, 1)).torch(1) == torch.device("cpu")


def test_numbers_are_what_the_gpu_can_do(machine: pytest.MonkeyPatch) -> None:
    gpus(machine, 1)
    assert precision("auto", "cuda") == "bf16-mixed"
    gpus(machine, 1, bf16=False)
    assert precision("auto", "cuda") == "32-true"
    assert precision("16-mixed", "cuda") == "16-mixed"
    with pytest.raises(ConfigError, match=r"16-mixed.*without a GPU; expected bf16-mixed or 32-true"):
        precision("16-mixed", "cpu")


def test_several_devices_work_together_only_where_that_is_asked_for() -> None:
    chosen = Devices("cpu", (0, 1))
    assert fabric(chosen, "32-true").strategy.launcher is None
    assert fabric(chosen, "32-true", together=True).world_size == 2
