"""A small data set, and a teacher's weights in a file, so that nothing has to be fetched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs torch (the train extra)")

import timm
import torch
from safetensors.torch import save_file
from toys import TEACHER, scratched, surface, write

torch.set_num_threads(1)  # the tests run side by side


@pytest.fixture(scope="session")
def teacher_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights for TEACHER: random ones, which do as a teacher of a toy."""
    path = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_file(timm.create_model(TEACHER).state_dict(), path)
    return path


@pytest.fixture
def drawn(tmp_path: Path) -> Callable[..., Path]:
    """Draws a data set in MVTec's layout: drawn("metal", train=6, good=3, scratches=3)."""

    def draw(*categories: str, train: int = 6, good: int = 3, scratches: int = 3, name: str = "parts") -> Path:
        root = tmp_path / name
        for place, category in enumerate(categories or ("metal",)):
            for index in range(train):
                write(root / category / "train" / "good" / f"{index:03}.png", surface(1000 * place + index))
            for index in range(good):
                write(root / category / "test" / "good" / f"{index:03}.png", surface(1000 * place + 500 + index))
            for index in range(scratches):
                pixels, mask = scratched(surface(1000 * place + 700 + index), index)
                write(root / category / "test" / "scratch" / f"{index:03}.png", pixels)
                write(root / category / "ground_truth" / "scratch" / f"{index:03}_mask.png", mask.astype(np.uint8) * 255)
        return root

    return draw
