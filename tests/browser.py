"""A real browser for pages, and strings that try to run in them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from scripts import screens

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


@contextmanager
def open_browser(profile: Path) -> Iterator[Any]:
    """Start chromium without a window. Skips the test where there is none."""
    if screens.find_browser() is None:
        pytest.skip("no chromium and chromedriver: .ci/setup installs them")
    pytest.importorskip("selenium.webdriver", reason="needs the extra `dev`")
    with screens.open_browser(profile) as browser:
        yield browser


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
