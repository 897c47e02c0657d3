"""What pages are made of, in a browser: the policy, the cache, keys, dialogs, both themes, and accessibility."""

import base64
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Response, expect

from tests.e2e.axe import serious
from tests.supervised import Up
from tests.tls_proxy import TlsProxy

pytestmark = pytest.mark.slow

WIDTHS = {"desktop": 1440, "phone": 390}


@pytest.fixture(scope="module")
def cookies(browser: Browser, up: Up) -> list[dict[str, object]]:
    with browser.new_context() as context:
        context.new_page().goto(up.wait_until_greeted())
        return context.cookies()  # type: ignore[return-value]


@pytest.fixture
def site(up: Up, context: BrowserContext, cookies: list[dict[str, object]]) -> str:
    context.add_cookies(cookies)  # type: ignore[arg-type]
    return f"http://127.0.0.1:{up.port}"


def invited(page: Page, site: str, browser: Browser, name: str, role: str) -> Page:
    """A page of somebody whom the administrator has invited, in a browser of their own."""
    page.goto(f"{site}/people/")
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Role", exact=True).select_option(role)
    page.get_by_role("button", name="Make the account").click()
    link = page.locator("#link").inner_text()
    theirs = browser.new_context().new_page()
    theirs.goto(link)
    theirs.get_by_label("New password", exact=True).fill(f"a password of {name}")
    theirs.get_by_label("New password confirmation").fill(f"a password of {name}")
    theirs.get_by_role("button", name="Save and go in").click()
    expect(theirs.get_by_role("heading", name="Library")).to_be_visible()
    return theirs


def drawn(page: Page, chart: str) -> None:
    page.locator(f"#{chart}").scroll_into_view_if_needed()
    expect(page.locator(f"#{chart}")).to_have_attribute("data-chart-state", "drawn", timeout=20_000)


COUNT = """async ([picture, [r, g, b]]) => {
    const bitmap = await createImageBitmap(await (await fetch(picture)).blob());
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
    canvas.drawImage(bitmap, 0, 0);
    const { data } = canvas.getImageData(0, 0, bitmap.width, bitmap.height);
    let found = 0;
    for (let i = 0; i < data.length; i += 4)
        found += Math.abs(data[i] - r) < 40 && Math.abs(data[i + 1] - g) < 40 && Math.abs(data[i + 2] - b) < 40;
    return found;
}"""


def pixels(page: Page, browser: Browser, chart: str, colour: tuple[int, int, int]) -> int:
    """How many of a chart's pixels have about this colour, counted in a page without a policy."""
    picture = base64.b64encode(page.locator(f"#{chart}").screenshot()).decode()
    with browser.new_context() as context:
        counted: int = context.new_page().evaluate(COUNT, [f"data:image/png;base64,{picture}", list(colour)])
    return counted


# Production


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Served as to others: the production settings, behind a proxy that ends HTTPS."""
    up = Up(
        tmp_path_factory.mktemp("production") / "data",
        EXPLORER_PRODUCTION="1",
        EXPLORER_SECRET_KEY=base64.b64encode(bytes(range(64))).decode(),
        EXPLORER_ALLOWED_HOSTS="localhost",
        EXPLORER_PROXIES="1",
    )
    try:
        link = up.wait_until_greeted()
        proxy = TlsProxy(up.port)
        yield proxy.address, "/" + link.split("/", 3)[3]
        proxy.close()
    finally:
        up.close()


def test_a_scattergl_point_is_drawn_under_the_production_policy(
    production: tuple[str, str], browser: Browser, complaints: list[str]
) -> None:
    address, link = production
    with browser.new_context(ignore_https_errors=True, color_scheme="light") as context:
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address + link)
        answer = page.goto(f"{address}/patterns/")
        assert answer
        directives = dict(each.strip().split(" ", 1) for each in answer.headers["content-security-policy"].split(";"))
        assert directives["script-src"] == directives["default-src"] == "'self'"
        assert directives["style-src"] == "'self' 'unsafe-inline'"
        drawn(page, "chart-scatter")
        drawn(page, "chart-histogram")
        assert page.locator("#chart-scatter canvas").count() > 0
        assert pixels(page, browser, "chart-scatter", (0x1F, 0x5F, 0xBF)) > 500
        # Cookies that only HTTPS carries, and a form that only our own pages may send.
        assert all(cookie["secure"] for cookie in context.cookies())
        page.locator("details.menu").first.click()
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert complaints == []


# The cache


def test_a_page_that_comes_from_the_cache_still_works(site: str, page: Page, browser: Browser) -> None:
    """A nonce would be the one of the first visit, and no script would run."""
    page = invited(page, site, browser, "boss", "admin")
    context = page.context
    statuses: list[int] = []
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    session.on(
        "Network.responseReceivedExtraInfo",
        lambda event: statuses.append(event["statusCode"]) if "etag" in str(event["headers"]).lower() else None,
    )
    page.goto(f"{site}/patterns/")
    drawn(page, "chart-scatter")
    assert 304 not in statuses
    page.goto(f"{site}/")
    statuses.clear()
    page.goto(f"{site}/patterns/")
    assert 304 in statuses
    drawn(page, "chart-scatter")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Keys on this page")
    page.keyboard.press("Escape")
    page.locator("details.menu").first.click()  # its form carries the token of the first visit
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    context.close()


def test_static_files_are_kept_for_good_and_come_compressed(site: str, page: Page) -> None:
    seen: list[Response] = []
    page.on("response", lambda response: seen.append(response) if "/static/" in response.url else None)
    page.goto(f"{site}/patterns/")
    drawn(page, "chart-histogram")
    assert len(seen) > 15
    for response in seen:
        assert re.search(r"\.[0-9a-f]{12}\.\w+$", response.url.partition("#")[0]), response.url
        assert "immutable" in response.headers["cache-control"], response.url
    plotly = next(response for response in seen if "plotly" in response.url)
    assert plotly.headers["content-encoding"] == "gzip"
    assert {response.url.split("/")[2] for response in seen} == {site.split("/")[2]}


def test_plotly_comes_only_where_there_are_charts(site: str, page: Page) -> None:
    seen: list[str] = []
    page.on("request", lambda request: seen.append(request.url))
    for path in ("/jobs/", "/account/", "/people/", "/api/", "/saes/add/"):
        page.goto(site + path)
    assert not [url for url in seen if "plotly" in url or "htmx" in url]
    page.goto(site)
    assert not [url for url in seen if "plotly" in url]
    assert [url for url in seen if "htmx" in url], "the library asks for news with it"


# Accessibility


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_patterns_are_accessible(site: str, page: Page, theme: str, width: str) -> None:
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": WIDTHS[width], "height": 900})
    page.goto(f"{site}/patterns/")
    for chart in ("chart-histogram", "chart-scatter"):
        drawn(page, chart)
    for summary in page.locator("main summary").all():
        summary.click()
    assert serious(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS[width], "it runs over the side"


@pytest.mark.parametrize(
    "path", ["/", "/jobs/", "/account/", "/people/", "/people/1/", "/audit/", "/api/", "/nothing/"]
)
def test_pages_are_accessible(site: str, page: Page, path: str, complaints: list[str]) -> None:
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        page.set_viewport_size({"width": 390, "height": 900})
        page.goto(site + path)
        assert serious(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    if path == "/nothing/":
        complaints.clear()  # the browser calls a 404 an error


def test_dialogs_are_accessible(site: str, page: Page) -> None:
    page.goto(f"{site}/patterns/")
    for opener in ("Open a dialog", "Keys on this page", "Delete the collection"):
        page.get_by_role("button", name=opener).last.click()
        expect(page.locator("dialog[open]")).to_be_visible()
        assert serious(page) == []
        page.keyboard.press("Escape")
        expect(page.locator("dialog[open]")).to_have_count(0)


# What scripts do


def test_the_theme_follows_the_system_until_it_is_chosen(site: str, page: Page, browser: Browser) -> None:
    def dark() -> bool:
        is_dark: bool = page.evaluate("getComputedStyle(document.body).backgroundColor === 'rgb(21, 23, 28)'")
        return is_dark

    page.emulate_media(color_scheme="dark")
    page.goto(f"{site}/patterns/")
    assert dark()
    drawn(page, "chart-scatter")
    assert pixels(page, browser, "chart-scatter", (0x7F, 0xB0, 0xFF)) > 200
    page.get_by_role("button", name="Colours: as the system's").click()
    assert not dark()
    assert pixels(page, browser, "chart-scatter", (0x1F, 0x5F, 0xBF)) > 200, "charts follow"
    page.emulate_media(color_scheme="light")
    page.get_by_role("button", name="Colours: light").click()
    assert dark()
    page.reload()
    assert dark()
    page.get_by_role("button", name="Colours: dark").click()
    assert not dark()


def test_a_table_is_sorted_and_filtered_in_place_and_its_address_says_so(site: str, page: Page) -> None:
    loads: list[str] = []
    page.goto(f"{site}/patterns/")
    page.on("load", lambda at: loads.append(at.url))
    column = page.locator("#sample-table tbody td:nth-child(1)")
    page.get_by_role("link", name="Index").click()
    expect(page.locator("#sample-table th").first).to_have_attribute("aria-sort", "ascending")
    found = [int(text) for text in column.all_inner_texts()]
    assert found == sorted(found)
    page.get_by_role("link", name="Index").click()
    expect(page.locator("#sample-table th").first).to_have_attribute("aria-sort", "descending")
    page.get_by_label("Label contains").fill("river")
    expect(page.locator("#sample-table caption")).to_have_text("2 features")
    assert "words=river" in page.url
    page.get_by_label("Label contains").fill("<b>")
    expect(page.get_by_text("No feature fits")).to_be_visible()
    assert loads == []
    page.go_back()
    expect(page.locator("#sample-table caption")).to_have_text("2 features")
    expect(page.get_by_role("heading", name="Patterns")).to_be_visible()
    page.reload()
    expect(page.locator("#sample-table caption")).to_have_text("2 features")


def test_keys(site: str, page: Page) -> None:
    page.goto(f"{site}/patterns/")
    page.keyboard.press("/")
    expect(page.locator("#search-box")).to_be_focused()
    page.keyboard.type("a?b")  # in an input keys are text
    expect(page.locator("#search-box")).to_have_value("a?b")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowRight")
    expect(page).to_have_url(f"{site}/patterns/#next")
    page.keyboard.press("?")
    help_ = page.get_by_role("dialog")
    expect(help_).to_contain_text("Feature 1,490")
    help_.get_by_role("checkbox").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowLeft")
    assert page.url.endswith("#next"), "they are switched off"


def test_a_grave_form_asks_first(site: str, page: Page) -> None:
    page.goto(f"{site}/patterns/")
    delete = page.locator("form[data-confirm] button").last
    delete.click()
    dialog = page.get_by_role("alertdialog")
    expect(dialog).to_contain_text("Delete the collection?")
    dialog.get_by_role("button", name="Keep it").click()
    assert "?" not in page.url
    delete.click()
    dialog.get_by_role("button", name="Delete the collection").click()
    page.wait_for_url("**/patterns/?*")


def test_a_token_tells_its_figures(site: str, page: Page) -> None:
    page.goto(f"{site}/patterns/")
    text = page.locator(".tokens").first
    page.keyboard.press("Escape")
    text.locator("[tabindex='0']").focus()
    card = page.locator(".token-card")
    expect(card).to_be_visible()
    expect(card).to_contain_text("9.2")
    page.keyboard.press("ArrowRight")
    expect(card).to_contain_text("1.1")
    assert "#next" not in page.url, "arrows within a text are the text's"
    page.keyboard.press("Escape")
    expect(card).to_be_hidden()


def test_a_chart_that_does_not_come_can_be_asked_for_again(site: str, page: Page, complaints: list[str]) -> None:
    page.goto(f"{site}/patterns/")
    page.evaluate("""() => {
        const plot = document.createElement("div");
        plot.className = "plot";
        plot.id = "wrong";
        plot.dataset.chartUrl = "/patterns/charts/nothing/";
        document.querySelector("main").prepend(plot);
        document.dispatchEvent(new CustomEvent("htmx:load"));
    }""")
    expect(page.locator("#wrong")).to_contain_text("The chart did not come")
    expect(page.locator("#wrong")).to_contain_text("404")
    page.evaluate("document.querySelector('#wrong').dataset.chartUrl = '/patterns/charts/histogram/'")
    page.locator("#wrong").get_by_role("button", name="Try again").click()
    drawn(page, "wrong")
    complaints.clear()


def test_a_chart_that_htmx_replaces_gives_back_what_it_held(site: str, page: Page) -> None:
    page.goto(f"{site}/patterns/")
    drawn(page, "chart-scatter")
    page.evaluate("window.kept = document.querySelector('#chart-scatter')")
    assert page.evaluate("kept.querySelectorAll('canvas').length") > 0
    page.evaluate("htmx.swap('#chart-scatter', '<p id=instead></p>', { swapStyle: 'outerHTML' })")
    expect(page.locator("#instead")).to_have_count(1)
    assert page.evaluate("kept.querySelectorAll('canvas').length") == 0


def test_an_invitation_from_end_to_end(site: str, page: Page, browser: Browser) -> None:
    ann = invited(page, site, browser, "ann", "annotator")
    expect(ann.locator(".who")).to_have_text("ann")
    ann.goto(f"{site}/people/")
    expect(ann.get_by_role("heading", name="You may not do this")).to_be_visible()
    ann.get_by_role("link", name="Back to the library").click()
    expect(ann.get_by_role("heading", name="Library")).to_be_visible()
    ann.context.close()
