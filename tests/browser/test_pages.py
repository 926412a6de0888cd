"""Every page of the dashboard as a browser shows it, with few and with very many routes."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Looks, Site, picture, serving

PAGES = {
    "overview": "/dashboard/",
    "gateways": "/dashboard/gateways",
    "gateway": "/dashboard/gateways/default/edge",
    "routes": "/dashboard/routes",
    "route": "/dashboard/routes/default/canary",
    "refused": "/dashboard/routes/default/refused",
    "certificates": "/dashboard/certificates",
    "events": "/dashboard/events-log",
    "explain": "/dashboard/explain?url=http%3A%2F%2Fcanary%3A{http}%2F",
}

#: Of every text: how far its colour is from that behind it (WCAG 2.2, 1.4.3).
CONTRAST = """() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgb = (colour) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const linear = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const light = (colour) => { const [x, y, z] = colour.map(linear);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z; };
  const behind = (element) => { for (let at = element; at; at = at.parentElement) {
    const found = rgb(getComputedStyle(at).backgroundColor);
    if (found[3] === 255) return found; }
    return [255, 255, 255, 255]; };
  const bad = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !element.checkVisibility()) continue;
    if (element.closest('svg, .sr, .skip, script')) continue;
    const [one, other] = [light(rgb(getComputedStyle(element).color)), light(behind(element))].sort((a, b) => b - a);
    if ((one + 0.05) / (other + 0.05) < 4.5) bad.push(walker.currentNode.textContent.trim());
  }
  return bad;
}"""

#: What has no name for those who do not see it.
NAMELESS = """() => [
  ...[...document.querySelectorAll('input, select, textarea')].filter(each => !each.labels.length),
  ...[...document.querySelectorAll('img:not([alt]), svg:not([aria-hidden]):not([aria-label])')],
  ...[...document.querySelectorAll('table')].filter(each => !each.caption),
  ...[...document.querySelectorAll('a, button')].filter(each => !each.textContent.trim() && !each.ariaLabel),
].map(each => each.outerHTML)"""


@pytest.fixture(scope="module", params=[1, 50, 5000])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Site]]:
    with serving(tmp_path_factory.mktemp("manifests"), request.param) as found:
        yield request.param, found


def url(site: Site, name: str) -> str:
    return site.origin + PAGES[name].format(http=site.http)


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 400)])
def test_a_page_is_whole_and_can_be_read(
    site: tuple[int, Site], look: Looks, name: str, scheme: str, width: int
) -> None:
    number, served = site
    page = look(url(served, name), scheme=scheme, width=width)
    expect(page.locator("body")).to_have_attribute("data-connected", "yes") if name != "explain" else None
    expect(page.locator("h1")).to_have_count(1)
    picture(page, f"{name}-{number}-{scheme}-{width}")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it is wider than the window"
    assert page.evaluate(CONTRAST) == []
    assert page.evaluate(NAMELESS) == []


def test_a_page_is_whole_without_a_script(site: tuple[int, Site], look: Looks) -> None:
    number, served = site
    page = look(url(served, "routes"), script=False)
    expect(page.get_by_text(f"{number + 1:,} of {number + 1:,} routes")).to_be_visible()


def test_a_list_shows_a_page_of_it_and_a_search_finds_the_rest(site: tuple[int, Site], look: Looks) -> None:
    number, served = site
    page = look(url(served, "routes"))
    expect(page.locator("tbody tr")).to_have_count(min(number + 1, 50))
    page.get_by_label("Name, hostname or backend").fill("canary")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("link", name="default/canary").click()
    expect(page.locator("h1")).to_contain_text("default/canary")


def test_pages_of_a_list_lead_to_each_other(site: tuple[int, Site], look: Looks) -> None:
    number, served = site
    page = look(url(served, "routes"))
    following = page.get_by_role("link", name="Next")
    if number < 50:
        expect(following).to_have_count(0)
        return
    first = page.locator("tbody th").first.inner_text()
    following.click()
    expect(page.locator("tbody th").first).not_to_have_text(first)
    page.get_by_role("link", name="Previous").click()
    expect(page.locator("tbody th").first).to_have_text(first)


def test_a_canary_is_drawn_with_its_shares(site: tuple[int, Site], look: Looks) -> None:
    page = look(url(site[1], "route"))
    first, second = page.locator(".lines path").all()
    assert float(first.get_attribute("stroke-width") or 0) == 3 * float(second.get_attribute("stroke-width") or 0)
    backends = page.get_by_role("list", name="Backends of rule 0").get_by_role("listitem")
    expect(backends.filter(has_text="default/whoami:80").first).to_contain_text("75 %")
    expect(backends.filter(has_text="default/nginx:80").first).to_contain_text("25 %")


def test_a_gateway_tells_why_a_route_is_not_attached(site: tuple[int, Site], look: Looks) -> None:
    page = look(url(site[1], "gateway"))
    row = page.get_by_role("row").filter(has_text="default/refused")
    expect(row).to_contain_text("NoMatchingParent: Gateway default/edge has no listener of name nowhere")


def test_a_request_is_explained(site: tuple[int, Site], look: Looks) -> None:
    served = site[1]
    page = look(f"{served.origin}/dashboard/explain")
    page.get_by_label("URL, with a listener's port").fill(f"http://canary:{served.http}/foo")
    page.get_by_role("button", name="Explain").click()
    expect(page.locator(".verdict")).to_contain_text("default/canary/0")


def test_a_bad_url_is_told(site: tuple[int, Site], look: Looks) -> None:
    page = look(f"{site[1].origin}/dashboard/explain?url=nonsense")
    expect(page.get_by_role("alert")).to_contain_text("is no URL")


def test_the_keyboard_leads_through_a_page(site: tuple[int, Site], look: Looks) -> None:
    page = look(url(site[1], "routes"))
    seen = []
    for _ in range(11):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.textContent.trim() || document.activeElement.id"))
    assert seen[0] == "Skip to the page"
    assert seen[2:8] == ["Overview", "Gateways", "Routes", "Certificates", "Events", "Explain"]
    assert seen[8] == "search"
    assert seen[10] == "Search"
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(outline) == "solid"


def test_what_a_client_writes_is_only_text(site: tuple[int, Site], look: Looks) -> None:
    page = look(f"{site[1].origin}/dashboard/routes?search=%3Cscript%3Ealert(1)%3C/script%3E%22%3E%3Cb%3E")
    expect(page.get_by_label("Name, hostname or backend")).to_have_value('<script>alert(1)</script>"><b>')
