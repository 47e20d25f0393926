"""Chromium without a window, and what it must not do on any page."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

try:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright
except ImportError:
    pytest.skip("playwright is not installed: pip install playwright", allow_module_level=True)

__all__ = ["Browser", "Page", "Tab", "chromium", "tab"]

CHROMIUM = shutil.which("chromium") or ""
# Quiet: it must speak to the daemon alone. Without a sandbox, since CI may run as root.
_SWITCHES = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
_WATCH = """
window.alert = text => console.error("alert", text);
window.violations = [];
document.addEventListener("securitypolicyviolation", event => violations.push(event.violatedDirective));
"""


@pytest.fixture(scope="module")  # each module that imports it has one of its own, and there may be one at a time
def chromium() -> Iterator[Browser]:
    """Debian's package, which nothing is downloaded for."""
    if not CHROMIUM:
        if os.environ.get("CI") == "true":
            pytest.fail("chromium is not installed")
        pytest.skip("chromium is not installed: apt-get install -y chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_SWITCHES.split())
        yield browser
        browser.close()


@dataclass
class Tab:
    """A page in a browser, watched.

    Attributes:
        page: Playwright's.
        origin: the only one that it may ask.
        said: on its console, errors and warnings alone.
        asked: every address that was asked for, in order.
    """

    page: Page
    origin: str
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def open(self, path: str = "/") -> Page:
        """Load a page, and where there is JavaScript wait until it is live."""
        self.page.goto(self.origin + path)
        return self.page

    def wait_until(self, status: str = "live") -> None:
        """Wait for what the page says of its connection."""
        self.page.locator("#link", has_text=status).wait_for()

    @property
    def n_load(self) -> int:
        """Documents that were asked for."""
        return sum(not url.partition("?")[0].endswith("/live") for url in self.asked)

    def overflow(self) -> int:
        """Pixels that the page is wider than its window."""
        wide: int = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return wide

    def hear(self, said: ConsoleMessage) -> None:
        """Take what the page says on its console."""
        if said.type in ("error", "warning"):
            self.said.append(said.text)

    def check(self) -> None:
        """Nothing was complained of, nothing was refused by the policy, nobody else was asked."""
        assert self.said == []
        assert self.page.evaluate("window.violations") == []
        assert {url for url in self.asked if not url.startswith((f"{self.origin}/", "data:"))} == set()


@contextmanager
def tab(
    browser: Browser, origin: str, *, width: int = 1280, height: int = 900, dark: bool = False, script: bool = True
) -> Iterator[Tab]:
    """A tab of its own, for a block."""
    context: BrowserContext = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        java_script_enabled=script,
    )
    context.set_default_timeout(10_000)
    try:
        if script:
            context.add_init_script(_WATCH)
        made = Tab(context.new_page(), origin)
        made.page.on("console", made.hear)
        made.page.on("pageerror", lambda error: made.said.append(str(error)))
        made.page.on("request", lambda request: made.asked.append(request.url))
        yield made
    finally:
        context.close()
