"""A real browser for pages, and strings that try to run in them."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

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
# Each sets `window.pwned` where a page does not escape it: as text, in a tag, an attribute, a style, a title,
# a comment, an SVG or a template.
HOSTILE = [
    "<script>window.pwned=1</script>",
    "<img src=x onerror=window.pwned=1>",
    '<img/src="x"/onerror="window.pwned=1">',
    '"><svg onload=window.pwned=1>',
    "'><svg onload=window.pwned=1>",
    '"><iframe srcdoc="<script>parent.pwned=1</script>"></iframe>',
    "</style><script>window.pwned=1</script>",
    "</title><script>window.pwned=1</script>",
    "--><script>window.pwned=1</script>",
    "]]></svg><script>window.pwned=1</script>",
    '" autofocus tabindex=0 onfocus="window.pwned=1',
    "<details open ontoggle=window.pwned=1>",
    "</mark></div><a href=javascript:window.pwned=1>",
    "{{ ''.__class__ }}<style onload=window.pwned=1></style>{% raw %}",
]


def find_browser() -> tuple[str, str] | None:
    """Paths of chromium and its driver, if both are there."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


@contextmanager
def open_browser(profile: Path) -> Iterator[Any]:
    """Start chromium without a window. Skips the test where there is none."""
    paths = find_browser()
    if paths is None:
        pytest.skip("no chromium and chromedriver: .ci/setup installs them")
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs the extra `dev`")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = paths[0]
    for flag in FLAGS:
        options.add_argument(f"--{flag}")
    options.add_argument(f"--user-data-dir={profile}")
    # The driver asks itself through the loopback, for which no proxy is needed.
    os.environ.setdefault("NO_PROXY", "localhost,127.0.0.1")
    browser = webdriver.Chrome(options=options, service=Service(paths[1]))
    try:
        yield browser
    finally:
        browser.quit()


def open_page(browser: Any, path: Path) -> None:
    """Load a page with its images and frames, and give scripts of its events their turn."""
    browser.get(path.resolve().as_uri())
    browser.execute_async_script(
        "const done = arguments[0];"
        "document.querySelectorAll('[tabindex], a, [autofocus]').forEach(e => e.focus());"
        "document.querySelectorAll('a').forEach(a => a.click());"
        "requestAnimationFrame(() => setTimeout(() => setTimeout(done, 0), 0));"
    )


def active_elements(browser: Any) -> list[str]:
    """What of the page could run: scripts, frames, foreign objects, handlers of events, links to scripts."""
    return list(
        browser.execute_script(
            "return [...document.querySelectorAll('*')].filter(e =>"
            "  ['script', 'iframe', 'object', 'embed', 'img', 'foreignobject', 'details'].includes("
            "    e.localName.toLowerCase())"
            "  || [...e.attributes].some(a => a.name.startsWith('on') || /^\\s*javascript:/i.test(a.value))"
            ").map(e => e.outerHTML.slice(0, 120))"
        )
    )
