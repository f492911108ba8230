"""Pictures of pages, taken with chromium: the report page, and the page of `spacy xner serve`."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spacy_xner.errors import Errors, XnerError

# A browser without a window, an account and traffic of its own.
FLAGS = (
    "headless",
    "no-sandbox",
    "disable-gpu",
    "disable-quic",
    "no-first-run",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
    "disable-dev-shm-usage",
)
# Units: pixels.
REPORT_SIZE, SERVE_SIZE = (1180, 900), (900, 760)


def take_screens(out: Path, demo: Path, text: str) -> list[Path]:
    """Take the pictures of the pages of a finished `make demo`.

    text: The text that is typed into the page of the service.
    RETURNS: The files written.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as profile, open_browser(Path(profile), "hide-scrollbars") as browser:
        browser.set_window_size(*REPORT_SIZE)
        browser.get((demo / "report" / "index.html").resolve().as_uri())
        browser.save_screenshot(str(out / "report.png"))
        with serve(demo / "training" / "small-xner") as address:
            browser.set_window_size(*SERVE_SIZE)
            browser.get(address)
            ask(browser, text)
            browser.save_screenshot(str(out / "serve.png"))
    return [out / "report.png", out / "serve.png"]


def ask(browser: Any, text: str, timeout: float = 120.0) -> None:
    """Type a text into the page of the service, and wait for its entities. timeout: Seconds."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    browser.find_element(By.ID, "text").send_keys(text)
    browser.find_element(By.ID, "find").click()
    WebDriverWait(browser, timeout).until(lambda page: page.find_element(By.ID, "result").is_displayed())


def find_browser() -> tuple[str, str] | None:
    """Paths of chromium and its driver, if both are there."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


@contextmanager
def open_browser(profile: Path, *flags: str) -> Iterator[Any]:
    """Start chromium without a window. profile: Empty folder for its files. flags: Beside `FLAGS`."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    # Without a path the driver's own search says what is missing.
    binary, driver = find_browser() or ("", None)
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, *flags, f"user-data-dir={profile}"):
        options.add_argument(f"--{flag}")
    # The driver asks itself through the loopback, for which no proxy is needed.
    os.environ.setdefault("NO_PROXY", "localhost,127.0.0.1")
    browser = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield browser
    finally:
        browser.quit()


@contextmanager
def serve(pipeline: Path, port: int = 8765, timeout: float = 600.0) -> Iterator[str]:
    """Serve a pipeline on the loopback. RAISES: XNER735.

    timeout: Seconds until it must answer.
    RETURNS: The page's address.
    """
    command = [sys.executable, "-m", "spacy", "xner", "serve", str(pipeline), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}/"
    try:
        end = time.monotonic() + timeout
        while not _answers(address):
            if process.poll() is not None or time.monotonic() > end:
                state = "silence" if process.poll() is None else f"its end with status {process.returncode}"
                raise XnerError(Errors.XNER735.format(pipeline=pipeline, address=address, state=state))
            time.sleep(1)
        yield address
    finally:
        process.terminate()
        process.wait()


def _answers(address: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(address, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False
