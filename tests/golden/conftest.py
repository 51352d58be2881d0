"""`pytest tests/golden --update-golden` rewrites every `expected/` folder, to be read as a diff before it is committed."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write what comes out as what is expected")


@pytest.fixture
def updating(request: pytest.FixtureRequest) -> bool:
    """Whether to write the expectations; False, too, where a run of the whole suite read this file after its command line."""
    return bool(request.config.getoption("--update-golden", default=False))
