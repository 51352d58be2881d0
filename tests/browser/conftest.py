"""One headless Chromium for all tests of pages; they are skipped, with the reason, where there is none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

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
    with selenium.Chrome(options=options, service=selenium.ChromeService(driver)) as opened:
        opened.set_script_timeout(20)
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
