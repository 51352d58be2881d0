"""The teacher's weights: found under whatever names, or refused in one sentence; never random, and never run."""

from __future__ import annotations

import io
import json
import pickle
import random
import struct
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from toys import TEACHER

from threecad.errors import ConfigError, ReadError
from threecad.learning import weights

State = dict[str, Tensor]


def drawn(name: str = TEACHER) -> State:
    """The whole network's weights, as its library hands them out; random, and not those that a new network starts from."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        state: State = timm.create_model(name).state_dict()
        return {key: value + torch.rand(()) if value.is_floating_point() else value + 7 for key, value in state.items()}


def saved(path: Path, state: object) -> Path:
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


def assert_holds(net: nn.Module, state: State) -> None:
    """Every tensor of the backbone is the file's."""
    held = {key.replace(".", "_"): value for key, value in state.items()}
    for key, value in net.state_dict().items():
        assert torch.equal(value, held[key.replace(".", "_")]), key


# Where tensors are found


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("name", [TEACHER, "tf_efficientnet_lite0", "test_convnext"])
def test_a_whole_networks_file_is_found_by_its_names(tmp_path: Path, name: str, suffix: str) -> None:
    state, told = drawn(name), list[str]()
    assert_holds(weights.teacher(name, saved(tmp_path / f"a{suffix}", state), told.append), state)
    assert told == []


@pytest.mark.parametrize("prefix", ["module.", "backbone.", "model.encoder."])
def test_whatever_stands_before_the_names(tmp_path: Path, prefix: str) -> None:
    state = drawn()
    path = saved(tmp_path / "a.pth", {prefix + key: value for key, value in state.items()})
    assert_holds(weights.teacher(TEACHER, path), state)


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state", "state_dict_ema"])
def test_a_state_dict_may_lie_in_a_checkpoint(tmp_path: Path, key: str) -> None:
    state = drawn()
    assert_holds(weights.teacher(TEACHER, saved(tmp_path / "a.pth", {"epoch": 3, key: state, "note": "x"})), state)


def test_what_is_beyond_the_backbone_and_its_counters_may_be_missing(tmp_path: Path) -> None:
    state = drawn()
    left = {k: v for k, v in state.items() if not k.startswith(("fc.", "layer4.")) and "num_batches_tracked" not in k}
    net = weights.teacher(TEACHER, saved(tmp_path / "a.safetensors", left), lambda text: pytest.fail(text))
    for key, value in net.state_dict().items():
        assert "num_batches_tracked" in key or torch.equal(value, state[key])


def test_other_names_in_the_networks_order_are_taken_so_and_told(tmp_path: Path) -> None:
    state, told = drawn("tf_efficientnet_lite0"), list[str]()
    path = saved(tmp_path / "theirs.pth", {f"tensor{at}": value for at, value in enumerate(without_counters(state).values())})
    assert_holds_but_counters(weights.teacher("tf_efficientnet_lite0", path, told.append), state)
    (note,) = told
    assert note.startswith("theirs.pth: other names than tf_efficientnet_lite0's; all ")
    assert note.endswith(" tensors have its shapes in its order, and are taken so")


def without_counters(state: State) -> State:
    return {key: value for key, value in state.items() if "num_batches_tracked" not in key}


def assert_holds_but_counters(net: nn.Module, state: State) -> None:
    for key, value in without_counters(net.state_dict()).items():
        assert torch.equal(value, state[key]), key


def test_a_file_from_before_zip_archives_is_read(tmp_path: Path) -> None:
    state = drawn()
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert_holds(weights.teacher(TEACHER, tmp_path / "old.pth"), state)


# What is refused


def test_another_networks_file_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", drawn("tf_efficientnet_lite0"))
    with pytest.raises(ConfigError) as refused:
        weights.teacher(TEACHER, path)
    message = str(refused.value)
    assert message.startswith(f"{path}: holds ")
    assert message.endswith(f"expected the weights of {TEACHER}")
    assert "tensors, nothing for " in message


def test_the_same_names_with_other_shapes_are_refused_with_both(tmp_path: Path) -> None:
    """As resnet50's for wide_resnet50_2."""
    state = drawn()
    state["layer3.0.conv2.weight"] = torch.zeros(3, 4, 5, 5)
    with pytest.raises(
        ConfigError, match=r"\(3, 4, 5, 5\) for layer3\.0\.conv2\.weight \(\d+, \d+, 3, 3\); expected the weights"
    ):
        weights.teacher(TEACHER, saved(tmp_path / "a.pth", state))


def test_another_order_is_refused(tmp_path: Path) -> None:
    values = list(without_counters(drawn()).values())
    path = saved(tmp_path / "a.pth", {f"tensor{at}": value for at, value in enumerate(reversed(values))})
    with pytest.raises(ConfigError, match="expected the weights of"):
        weights.teacher(TEACHER, path)


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth", "old.pth"])
@pytest.mark.parametrize("length", [0, 1, 7, 8, 100, 1000, -100])
def test_a_file_that_was_cut_off_is_damaged(tmp_path: Path, name: str, length: int) -> None:
    path = saved(tmp_path / name, drawn())
    if name == "old.pth":
        torch.save(drawn(), path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ReadError, match=r"expected weights as safetensors, or a state dict saved by torch$") as refused:
        weights.read(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_whatever_a_file_is_changed_to_it_is_read_or_refused(tmp_path: Path, old: bool, seed: int) -> None:
    draw, written = random.Random(seed), io.BytesIO()
    torch.save({"a": torch.ones(3), "b": torch.zeros(2, 2)}, written, _use_new_zipfile_serialization=not old)
    path, before = tmp_path / "a.pth", written.getvalue()
    for _ in range(60):
        changed = bytearray(before)
        for _ in range(draw.choice([1, 3, 20])):
            changed[draw.randrange(len(changed))] = draw.randrange(256)
        path.write_bytes(changed)
        with suppress(ReadError):
            weights.read(path)


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("kind", ["zip", "old", "bare"])
def test_a_pickle_that_would_run_something_is_refused_and_does_not(tmp_path: Path, kind: str) -> None:
    path, made = tmp_path / "a.pth", tmp_path / "made"
    if kind == "bare":
        path.write_bytes(pickle.dumps({"a": Evil(made)}))
    else:
        torch.save({"conv1.weight": torch.zeros(1), "a": Evil(made)}, path, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(ReadError) as refused:
        weights.read(path)
    assert not made.exists()
    expected = "expected weights as safetensors, or a state dict saved by torch"
    assert str(refused.value) == f"{path}: holds something else than tensors, or is damaged; {expected}"


@pytest.mark.parametrize("claimed", [1 << 62, 200_000_000])
def test_a_header_that_claims_to_be_huge_is_refused(tmp_path: Path, claimed: int) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", claimed) + b"{}" + b" " * 1000)
    with pytest.raises(ReadError, match="is damaged"):
        weights.read(path)


def test_tensors_that_claim_more_than_the_file_has_are_refused(tmp_path: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [1 << 20, 1 << 20], "data_offsets": [0, 1 << 42]}}).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(ReadError, match="is damaged"):
        weights.read(tmp_path / "a.safetensors")


def test_an_archive_that_unpacks_to_more_than_any_network_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "_LARGEST", 1 << 20)
    monkeypatch.setattr(torch, "load", lambda *given, **also: pytest.fail("it was unpacked"))
    with zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"." * (1 << 21))
    with pytest.raises(ReadError, match="holds more than"):
        weights.read(tmp_path / "a.pth")


def test_a_file_larger_than_any_network_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "_LARGEST", 100)
    with pytest.raises(ReadError, match="of at most"):
        weights.read(saved(tmp_path / "a.safetensors", drawn()))


@pytest.mark.parametrize("held", [{}, {"epoch": 3}, [torch.zeros(2)], torch.zeros(2), {"a": torch.zeros(2).to_sparse()}])
def test_a_file_without_plain_tensors_by_name_is_refused(tmp_path: Path, held: object) -> None:
    with pytest.raises(ReadError, match="holds no tensors"):
        weights.read(saved(tmp_path / "a.pth", held))


@pytest.mark.parametrize(("name", "why"), [("none.pth", "No such file or directory"), ("none.safetensors", "No such file")])
def test_a_file_that_is_not_there_is_told(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(ReadError, match=rf"{name}: cannot be read \({why}"):
        weights.read(tmp_path / name)


# The hub


def unreachable(error: Exception) -> Any:
    """timm.create_model as it is where the hub is out of reach."""
    create = timm.create_model

    def made(*given: Any, pretrained: bool = False, **also: Any) -> Any:
        if pretrained:
            raise error
        return create(*given, **also)

    return made


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (OSError("We couldn't connect to the hub\nand some more lines"), "the hub is out of reach"),
        (ConnectionError("Network is unreachable"), "the hub is out of reach"),
        (FileNotFoundError("An error happened while trying to locate the file"), "the hub is out of reach"),
        (
            RuntimeError("No pretrained weights exist for test_resnet. Use `pretrained=False` for random init."),
            "timm knows of none",
        ),
    ],
)
def test_weights_that_cannot_be_had_are_one_sentence(monkeypatch: pytest.MonkeyPatch, error: Exception, why: str) -> None:
    monkeypatch.setattr(timm, "create_model", unreachable(error))
    with pytest.raises(ConfigError) as refused:
        weights.teacher(TEACHER)
    assert str(refused.value) == f"no ImageNet weights for {TEACHER}: {why}; expected a network, or --teacher-weights FILE"


def test_a_network_that_timm_has_no_weights_for_never_starts_from_random_ones() -> None:
    with pytest.raises(ConfigError, match="no ImageNet weights for lcnet_035: timm knows of none"):
        weights.teacher("lcnet_035")


def test_a_bug_on_the_way_to_the_hub_is_not_taken_for_its_absence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm, "create_model", unreachable(RuntimeError("size mismatch for conv1.weight")))
    with pytest.raises(RuntimeError, match="size mismatch"):
        weights.teacher(TEACHER)


# The digest


def test_the_digest_is_of_names_shapes_types_and_values() -> None:
    base = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor(1)}
    same = {"b": torch.tensor(1), "a": torch.arange(6.0).view(2, 3)}
    others = [
        {**base, "a": torch.arange(6.0).view(3, 2)},
        {**base, "a": torch.arange(6.0).view(2, 3) + 1e-6},
        {**base, "b": torch.tensor(1.0)},
        {"a": base["a"], "c": base["b"]},
        {"a": base["a"]},
    ]
    assert weights.digest(base) == weights.digest(same)
    assert len({weights.digest(state) for state in (base, *others)}) == 6


def test_the_digest_is_the_same_on_every_machine() -> None:
    state = {"a": torch.tensor([1.0, 2.0]), "n": torch.tensor(3)}
    assert weights.digest(state) == "495a50ed38a21b375b4824eca217879a501e0ed2ec40734a35c6974da1cab8c1"


def test_layout_in_memory_does_not_change_the_digest() -> None:
    tensor = torch.arange(48.0).view(1, 3, 4, 4)
    assert weights.digest({"a": tensor}) == weights.digest({"a": tensor.to(memory_format=torch.channels_last)})
