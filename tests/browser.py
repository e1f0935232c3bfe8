"""A real browser for tests of pages. One that is missing fails them."""

import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
MACOS = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")


def find_browser():
    found = next(filter(None, map(shutil.which, NAMES)), None) or (str(MACOS) if MACOS.exists() else None)
    if found is None:
        pytest.fail("no chromium and no google-chrome is installed: see .ci/install-programs")
    return found


@contextmanager
def open_browser(*arguments):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_browser(), args=["--no-sandbox", *arguments]
        )
        yield browser
        browser.close()
