"""An open page follows what changes, without being loaded again."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Looks, Site, picture, serving
from tests.helpers.client import ask
from tests.helpers.manifests import backend, route, write
from tests.helpers.processes import moongate

#: A page that has been loaded again has forgotten this.
MARK = "window.marked = true"


@pytest.fixture
def site(tmp_path: Path, whoamis: tuple[int, int, int]) -> Iterator[Site]:
    with serving(tmp_path, 1, whoamis) as found:
        yield found


def connected(page: Page) -> Page:
    expect(page.locator("body")).to_have_attribute("data-connected", "yes")
    page.evaluate(MARK)
    return page


def test_the_split_of_a_canary_is_shown_as_it_is_measured(site: Site, look: Looks) -> None:
    page = connected(look(f"{site.origin}/dashboard/routes/default/canary"))
    for _ in range(40):
        assert ask(site.http, host="canary").status == 200
    name = "default/canary/0 default/{}:80#ever"
    whoami, nginx = (page.locator(f'[data-text="{name.format(each)}"]') for each in ("whoami", "nginx"))
    expect(whoami).to_have_text("75 %")
    expect(nginx).to_have_text("25 %")
    expect(page.locator('[data-text="default/canary/0 default/whoami:80#recent"]')).to_have_text("75 %")
    picture(page, "canary-live")
    assert page.evaluate("window.marked")


def test_the_first_page_counts_requests(site: Site, look: Looks) -> None:
    page = connected(look(f"{site.origin}/dashboard/"))
    for _ in range(5):
        ask(site.http, host="canary")
    expect(page.locator('[data-text="requests"]')).to_have_text("5")
    picture(page, "overview-live")
    assert page.evaluate("window.marked")


def test_a_changed_route_is_drawn_anew(site: Site, look: Looks) -> None:
    write(site.folder / "app.yaml", route("app", "whoami", host="before.example.com", gateway="edge"))
    page = connected(_until_there(look, f"{site.origin}/dashboard/routes?search=before"))
    expect(page.locator("tbody")).to_contain_text("default/app")
    page.get_by_role("link", name="default/app").click()
    connected(page)
    write(site.folder / "app.yaml", route("app", "whoami", host="after.example.com", gateway="edge"))
    expect(page.locator(".flow")).to_contain_text("after.example.com")
    assert page.evaluate("window.marked")


def test_a_route_that_comes_and_goes_is_in_lists_and_events(site: Site, look: Looks) -> None:
    routes = connected(look(f"{site.origin}/dashboard/routes"))
    events = connected(look(f"{site.origin}/dashboard/events-log"))
    write(site.folder / "new.yaml", route("new", "whoami", host="new.example.com", gateway="edge"))
    expect(routes.locator("tbody")).to_contain_text("default/new")
    expect(events.locator(".log")).to_contain_text("on Gateway default/edge")
    (site.folder / "new.yaml").unlink()
    expect(routes.locator("tbody")).not_to_contain_text("default/new")
    expect(events.locator(".log li").first).to_contain_text("removed")
    assert routes.evaluate("window.marked")
    assert events.evaluate("window.marked")


def test_an_endpoint_that_dies_is_shown_as_it_is(site: Site, look: Looks, whoamis: tuple[int, int, int]) -> None:
    with moongate("whoami", "--port", "0", "--name", "dying") as dying:
        port = int(dying.wait_for(r"running on http://127\.0\.0\.1:(\d+)")[1])
        two = route("two", "two", host="two", gateway="edge")
        write(site.folder / "two.yaml", *backend("two", whoamis[0], port), two)
        page = connected(_until_there(look, f"{site.origin}/dashboard/routes/default/two"))
        state = page.locator(f'[data-text="default/two/0 default/two:80 127.0.0.1:{port}#state"]')
        expect(state).to_have_text("healthy")
        os.kill(dying.pid, signal.SIGKILL)
        for _ in range(20):
            assert ask(site.http, host="two").status == 200
        expect(state).to_have_text("unreachable")
    picture(page, "endpoint-dead")
    assert page.evaluate("window.marked")


def test_an_open_page_says_when_the_gateway_is_gone(site: Site, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(f"{site.origin}/dashboard/")
    connected(page)
    site.gateway.send(signal.SIGTERM)
    assert site.gateway.wait() in (0, -signal.SIGTERM)
    expect(page.locator("body")).to_have_attribute("data-connected", "no")
    page.close()


def _until_there(look: Looks, url: str) -> Page:
    """A page of something that was just written, as soon as there is one."""
    page = look(url.partition("/dashboard")[0] + "/dashboard/")
    expect(page.locator("body")).to_have_attribute("data-connected", "yes")
    answer = page.goto(url)
    while answer is not None and answer.status == 404:
        answer = page.goto(url)
    return page
