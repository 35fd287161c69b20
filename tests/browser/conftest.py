"""A headless Chromium for the tests of pages: errors on the console, errors of scripts and requests that leave this machine fail."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import numpy as np
import pytest

ASSETS = Path(__file__).resolve().parents[2] / "wedge" / "pages"
# Read before the session's fixture takes all WEDGE_* away.
CHROMIUM = os.environ.get("WEDGE_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"))), None
)
SCREENSHOTS = os.environ.get("WEDGE_SCREENSHOTS")  # a folder to keep the pictures in, for people to look at
ARGUMENTS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist", "--disable-dev-shm-usage"]
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; worker-src blob:"
)
ORIGIN = "http://127.0.0.1:9"  # nobody listens there: `open_parts` answers in the server's place
LOCAL_SCHEMES = {"file", "data", "blob", "about", "chrome-error"}
KINDS = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}


@dataclass
class PageLog:
    """What a page did: ``errors`` must be empty at the end of a test (clear it where they were expected)."""

    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    @property
    def outside(self) -> list[str]:
        """The requests that left this machine, or wanted to."""
        return [url for url in self.requests if not is_local(url)]


def is_local(url: str) -> bool:
    """Tell whether a request stays on this machine."""
    parts = urlsplit(url)
    return parts.scheme in LOCAL_SCHEMES or parts.hostname in ("127.0.0.1", "localhost", "::1")


def without_browser(reason: str) -> NoReturn:
    """Skip; fail where all checks must be made."""
    if os.environ.get("CI", "").lower() in ("true", "1"):
        pytest.fail(f"{reason}, and CI={os.environ['CI']} wants the tests of pages", pytrace=False)
    pytest.skip(reason)


# Of a module, not of the session: while playwright is open, asyncio.run fails in every other test of the process.
@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A Chromium (playwright's ``Browser``) that draws WebGL in software."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        without_browser("playwright is not installed (pip install playwright)")
    if CHROMIUM is None:
        without_browser("no Chromium here (apt-get install chromium, or WEDGE_CHROMIUM=PATH)")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS, timeout=120_000)
        yield running
        running.close()


@pytest.fixture
def page_log() -> PageLog:
    """What the test's page did so far."""
    return PageLog()


@pytest.fixture
def page(browser: Any, page_log: PageLog) -> Iterator[Any]:
    """A fresh page (playwright's ``Page``); its errors and its requests to others fail the test."""
    context = browser.new_context(viewport={"width": 1000, "height": 700})
    context.set_default_timeout(60_000)  # two cores may have much else to do

    def on_console(message: Any) -> None:
        if message.type == "error":
            page_log.errors.append(f"console: {message.text}")

    context.on("console", on_console)
    context.on("weberror", lambda error: page_log.errors.append(f"script: {error.error}"))
    context.on("request", lambda request: page_log.requests.append(request.url))
    context.route(lambda url: not is_local(url), lambda route: route.abort())
    yield context.new_page()
    context.close()
    assert not page_log.outside, f"requests that leave this machine: {page_log.outside}"
    assert not page_log.errors, page_log.errors


@pytest.fixture
def open_parts(page: Any) -> Callable[..., Any]:
    """Open a page of assets as the server would give it, with its strict CSP.

    ``open_parts("assets/preview.js", "assets/scene.js", body="<div id=view></div>")`` loads files of ``wedge/pages/`` in this order
    (``.css`` as style sheets) and returns the page; ``files={"/x.bin": bytes}`` answers more requests.
    """

    def open_(*names: str, body: str = "", files: dict[str, bytes] | None = None, csp: str = CSP) -> Any:
        tags = [f'<link rel=stylesheet href="/{n}">' if n.endswith(".css") else f'<script src="/{n}" defer></script>' for n in names]
        html = f"<!doctype html><html lang=en><meta charset=utf-8><title>parts</title>{''.join(tags)}<body>{body}</body></html>"
        more = files or {}

        def answer(route: Any) -> None:
            path = urlsplit(route.request.url).path
            if path == "/":
                route.fulfill(body=html, content_type="text/html", headers={"Content-Security-Policy": csp})
            elif path in more:
                route.fulfill(body=more[path], content_type=KINDS.get(Path(path).suffix, "application/octet-stream"))
            elif path == "/favicon.ico":
                route.fulfill(status=204)
            elif (file := ASSETS / path[1:]).is_file():
                route.fulfill(body=file.read_bytes(), content_type=KINDS.get(file.suffix, "application/octet-stream"))
            else:
                route.fulfill(status=404)

        page.route(f"{ORIGIN}/**", answer)
        page.goto(f"{ORIGIN}/")
        return page

    return open_


@pytest.fixture
def screenshot(page: Any, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., np.ndarray]:
    """Return what the page shows as ``(y, x, 3)`` uint8: ``screenshot("name", locator)``; kept in the folder WEDGE_SCREENSHOTS."""

    def shoot(name: str = "page", target: Any = None, **options: Any) -> np.ndarray:
        from matplotlib.image import imread

        folder = Path(SCREENSHOTS) if SCREENSHOTS else tmp_path
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{request.node.name.replace('/', '_')}-{name}.png"
        (target or page).screenshot(path=path, **options)
        return np.rint(imread(path)[..., :3] * 255).astype(np.uint8)

    return shoot
