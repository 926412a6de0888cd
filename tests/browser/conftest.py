"""A browser, and a gateway with routes to look at."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.helpers.manifests import backend, gateway_object, http_listener, https_listener, pair, route, secret, write
from tests.helpers.processes import ROOT, Process, free_port, moongate

#: What a browser does besides showing pages is of no use here, and wants hosts that are not there.
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SCREENSHOTS = Path(os.environ.get("MOONGATE_SCREENSHOTS") or ROOT / "screenshots")


def chromium() -> str | None:
    """Where a browser is installed."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser of the module's own: as long as there is one, its event loop runs, and nobody else's can."""
    path = chromium()
    if path is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=list(OPTIONS))
        yield opened
        opened.close()


class Site:
    """A gateway's dashboard, and the manifests that it serves."""

    def __init__(self, gateway: Process, folder: Path, admin: int, http: int) -> None:
        self.gateway = gateway
        self.folder = folder
        self.admin = admin
        self.http = http

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.admin}"


def canary() -> dict[str, Any]:
    """The article's: three of four requests to whoami."""
    made = route("canary", "whoami", "nginx", host="canary", gateway="edge")
    for reference, weight in zip(made["spec"]["rules"][0]["backendRefs"], (3, 1), strict=True):
        reference["weight"] = weight
    return made


@contextmanager
def serving(folder: Path, routes: int, ports: Sequence[int] = (9, 9, 9), **settings: str) -> Iterator[Site]:
    """A gateway with ``routes`` routes and one that is refused; backends are at ``ports``, two of whoami and nginx."""
    admin, http, https = free_port(), free_port(), free_port()
    certificate, key = pair("www.example.com")
    whoami, other, nginx = ports
    write(
        folder / "base.yaml",
        gateway_object("edge", http_listener(http), https_listener(https, "tls", hostname="*.example.com")),
        secret("tls", certificate, key),
        *backend("whoami", whoami, other),
        *backend("nginx", nginx),
        canary(),
        route("refused", "whoami", host="x.example.com", gateway="edge", section="nowhere"),
    )
    if routes > 1:
        names = (f"app-{number}" for number in range(1, routes))
        many = (route(name, "whoami", host=f"{name}.example.com", gateway="edge") for name in names)
        write(folder / "many.yaml", *many)
    with moongate("run", "--manifests", str(folder), admin=f"127.0.0.1:{admin}", **settings) as gateway:
        gateway.wait_for("Application startup complete", seconds=90)
        yield Site(gateway, folder, admin, http)


@pytest.fixture(scope="session")
def whoamis() -> Iterator[tuple[int, int, int]]:
    """The ports of three backends: two of whoami, one of nginx."""
    with ExitStack() as stack:
        names = ("whoami", "whoami", "nginx")
        started = [stack.enter_context(moongate("whoami", "--port", "0", "--name", name)) for name in names]
        first, second, third = (int(each.wait_for(r"running on http://127\.0\.0\.1:(\d+)")[1]) for each in started)
        yield first, second, third


#: How a page is looked at: its colours and its width.
Looks = Callable[..., Page]


@pytest.fixture
def look(browser: Browser) -> Iterator[Looks]:
    """Opens pages; at the end nothing must have gone wrong in any of them, and nothing been asked of anybody else."""
    wrong: list[str] = []
    with ExitStack() as stack:

        def opened(url: str, *, scheme: Any = "light", width: int = 1280, script: bool = True) -> Page:
            viewport: Any = {"width": width, "height": 860}
            context = browser.new_context(color_scheme=scheme, viewport=viewport, java_script_enabled=script)
            stack.callback(context.close)
            page = context.new_page()
            origin = "/".join(url.split("/")[:3])
            page.on("console", lambda message: wrong.append(f"{message.type}: {message.text}"))
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on("request", lambda asked: wrong.extend([] if asked.url.startswith(f"{origin}/") else [asked.url]))
            answer = page.goto(url)
            assert answer is not None
            assert answer.status == 200, url
            return page

        yield opened
    assert not wrong


def picture(page: Page, name: str) -> None:
    """Keep what the page looks like."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)
