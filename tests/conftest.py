"""What all tests share: where the real data is, where the examples are, and Hypothesis that draws the same cases every time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parents[1]

# On two busy cores an example's time says nothing, so no deadline. `ci` draws the same cases in every run: what turns a build red
# is the change, not luck. HYPOTHESIS_PROFILE=search looks further, with another seed each time.
settings.register_profile("ci", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("search", deadline=None, max_examples=2000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the checkout; it is never committed, so a test that wants it skips where it is not."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs the real data in ../shared/data beside the checkout")
    return folder


@pytest.fixture(scope="session")
def examples() -> Path:
    """examples/raw: three categories, good, defective and faulty."""
    return ROOT / "examples" / "raw"
