"""What all tests share: where the real data is, where the examples are, Hypothesis that draws the same cases every time, and one
headless Chromium for all tests of pages, which are skipped, with the reason, where there is none."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measures are remembered where no other run finds them, and nothing is left in anybody's home."""
    monkeypatch.setenv("THREECAD_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def bound() -> Iterator[None]:
    """Permissions bind the test and its threads, though not other processes, also where root runs it."""
    if os.name != "posix":
        pytest.skip("needs POSIX permissions")
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "capset"):
        pytest.skip("permissions do not bind root, and this system has no capabilities to lay down")
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3, this thread
    held = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable of capabilities 0 to 31, then of the others
    assert libc.capget(header, held) == 0
    less = (ctypes.c_uint32 * 6)(*held)
    less[0] &= ~0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    assert libc.capset(header, less) == 0
    yield
    assert libc.capset(header, held) == 0


@pytest.fixture(scope="session")
def examples() -> Path:
    """examples/raw: three categories, good, defective and faulty."""
    return ROOT / "examples" / "raw"


OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,1000",
)


def _found(*names: str) -> str:
    for name in names:
        if path := shutil.which(name):
            return path
    pytest.skip(f"needs a browser: none of {', '.join(names)} is installed")


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A WebDriver that keeps the console's messages; it looks for nothing on any network."""
    selenium = pytest.importorskip("selenium.webdriver", reason="needs selenium (the dev extra)")
    browser = _found("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    driver = _found("chromedriver", "chromium.chromedriver")
    os.environ["SE_OFFLINE"] = "true"
    options = selenium.ChromeOptions()
    options.binary_location = browser
    for option in (*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.unhandled_prompt_behavior = "accept"  # a page that asks whether to leave it must not hold up the next test
    with selenium.Chrome(options=options, service=selenium.ChromeService(driver)) as opened:
        opened.set_script_timeout(20)
        opened.set_page_load_timeout(60)  # rather a failure than five minutes of waiting
        yield opened


@pytest.fixture
def browser(chromium: Any, tmp_path: Path) -> Iterator[Any]:
    """The browser as a test wants to find it: light, awake, nothing stored, downloads in the test's own folder."""
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    chromium.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    yield chromium
    chromium.execute_script("try { localStorage.clear() } catch { }")
    chromium.get("about:blank")
    chromium.get_log("browser")  # what one test provoked is not another's error
