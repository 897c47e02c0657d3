"""From a form to a feature's page: an SAE is added, the library fills by itself, features are walked and named."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.axe import serious
from tests.supervised import Up

# The first that needs one waits for a whole collection.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
DEMO = Path(__file__).resolve().parents[2] / "demo"
SAE = DEMO / "saes" / "one-layer-relu-512"
PATIENCE = 240_000  # ms: an lm is loaded, text is read, rows are written


@pytest.fixture(scope="module")
def cookies(browser: Browser, up: Up) -> list[dict[str, object]]:
    with browser.new_context() as context:
        context.new_page().goto(up.wait_until_greeted())
        return context.cookies()  # type: ignore[return-value]


@pytest.fixture
def site(up: Up) -> str:
    return f"http://127.0.0.1:{up.port}"


@pytest.fixture
def signed_in(page: Page, cookies: list[dict[str, object]], site: str) -> Page:
    page.context.add_cookies(cookies)  # type: ignore[arg-type]
    page.goto(site)
    return page


def fill(page: Page, name: str, **more: str) -> None:
    page.get_by_label("Language model").fill(str(DEMO / "lms" / "one-layer"))
    page.get_by_label("Or text on the server").fill(str(DEMO / "corpus"))
    page.get_by_label("Contexts at most").fill("64")
    page.get_by_label("Name").fill(name)
    for label, value in more.items():
        page.get_by_label(label, exact=True).fill(value)


@pytest.fixture(scope="module")
def added(browser: Browser, up: Up, cookies: list[dict[str, object]]) -> str:
    """Its address, once it was added in the browser and the library has filled without a reload."""
    with browser.new_context() as context:
        context.add_cookies(cookies)  # type: ignore[arg-type]
        page = context.new_page()
        site = f"http://127.0.0.1:{up.port}"
        page.goto(site)
        expect(page.get_by_text("Nothing has been added yet")).to_be_visible()
        page.get_by_role("link", name="Add an SAE").click()
        fill(page, "by folder", SAE=str(SAE))
        page.get_by_role("button", name="Add it").click()
        expect(page).to_have_url(re.compile(r"/jobs/\d+/$"))
        page.goto(site)
        loads: list[str] = []
        page.on("load", lambda loaded: loads.append(loaded.url))
        row = page.get_by_role("row").filter(has=page.get_by_role("link", name="by folder"))
        expect(row).to_be_visible(timeout=PATIENCE)
        expect(row).not_to_contain_text("not collected yet", timeout=PATIENCE)
        assert loads == []
        page.get_by_role("link", name="by folder").click()
        expect(page.get_by_role("heading", name="by folder")).to_be_visible()
        return page.url


def test_what_is_wrong_is_said_in_the_form(signed_in: Page, site: str, complaints: list[str]) -> None:
    signed_in.goto(f"{site}/saes/add/")
    fill(signed_in, "x", SAE="/etc")
    signed_in.get_by_role("button", name="Add it").click()
    expect(signed_in.get_by_text("/etc: there is nothing of that name in")).to_be_visible()
    expect(signed_in.get_by_label("SAE", exact=True)).to_have_attribute("aria-invalid", "true")
    expect(signed_in.get_by_label("Name")).to_have_value("x")
    assert serious(signed_in) == []
    complaints.clear()  # the browser's console notes the 422


def test_an_upload_is_added_too(signed_in: Page, site: str, added: str) -> None:
    """The same SAE again, as files: it is found, not doubled."""
    signed_in.goto(f"{site}/saes/add/")
    fill(signed_in, "by upload")
    signed_in.get_by_label("Or upload it").set_input_files([SAE / "sae.safetensors", SAE / "sae.json"])
    signed_in.get_by_role("button", name="Add it").click()
    expect(signed_in).to_have_url(re.compile(r"/jobs/\d+/$"))
    expect(signed_in.locator(".panel .state").first).to_have_text("Done", timeout=PATIENCE)


def test_the_way_from_the_library_to_a_feature(signed_in: Page, added: str) -> None:
    signed_in.goto(added)
    expect(signed_in.locator(".figure").filter(has_text="Tokens read")).to_contain_text("8,128")
    signed_in.get_by_role("link", name="Browse its features").click()
    signed_in.get_by_role("row").nth(1).get_by_role("link").click()
    expect(signed_in.get_by_role("heading", level=1)).to_contain_text("Feature 0")
    expect(signed_in.get_by_role("heading", name="Logits", exact=True)).to_be_visible()


def firing(page: Page, added: str) -> int:
    """The first feature that fires."""
    page.goto(f"{added}features/")
    rows = page.get_by_role("row").filter(has_not=page.get_by_text("never fired"))
    return int(rows.nth(1).get_by_role("link").inner_text())


def test_features_are_walked_by_keys_skipping_the_silent(signed_in: Page, added: str) -> None:
    index = firing(signed_in, added)
    signed_in.goto(f"{added}features/{index}/?around=5")
    following = signed_in.locator("a[rel=next]").get_attribute("href")
    signed_in.keyboard.press("ArrowRight")
    expect(signed_in).to_have_url(re.compile(f"{following}$".replace("?", r"\?")))
    expect(signed_in.locator("[aria-current=true]")).to_have_text("±5 tokens")
    expect(signed_in.get_by_text("It never fired")).to_have_count(0)
    signed_in.wait_for_load_state()  # whose scripts listen to keys
    signed_in.keyboard.press("ArrowLeft")
    expect(signed_in.get_by_role("heading", level=1)).to_contain_text(f"Feature {index}")


def test_how_much_is_shown_is_in_the_address(signed_in: Page, added: str) -> None:
    signed_in.goto(f"{added}features/{firing(signed_in, added)}/")
    text = signed_in.locator(".excerpts .tokens").first
    few = text.locator("> span").count()
    signed_in.get_by_role("link", name="whole contexts").click()
    expect(signed_in).to_have_url(re.compile(r"\?around=whole$"))
    assert signed_in.locator(".excerpts .tokens").first.locator("> span").count() > few
    signed_in.get_by_role("link", name="±5 tokens").click()
    expect(signed_in).to_have_url(re.compile(r"\?around=5$"))
    assert signed_in.locator(".excerpts .tokens").first.locator("> span").count() <= 11


def test_a_label_is_given_in_one_field(signed_in: Page, added: str) -> None:
    index = firing(signed_in, added)
    signed_in.goto(f"{added}features/{index}/")
    signed_in.get_by_label("Label", exact=True).fill("what it fires on <b>")
    signed_in.get_by_label("Label", exact=True).press("Enter")
    expect(signed_in.get_by_role("heading", level=1)).to_contain_text("what it fires on <b>")
    signed_in.goto(f"{added}features/")
    expect(signed_in.get_by_role("row").filter(has_text="what it fires on <b>")).to_contain_text(str(index))


def test_a_token_tells_its_activation_and_charts_are_drawn(signed_in: Page, added: str) -> None:
    signed_in.goto(f"{added}features/{firing(signed_in, added)}/")
    signed_in.locator(".excerpts .top").first.focus()
    expect(signed_in.locator(".token-card")).to_contain_text("activation")
    for chart in ("chart-logits", "chart-activations"):
        signed_in.locator(f"#{chart}").scroll_into_view_if_needed()
        expect(signed_in.locator(f"#{chart}")).to_have_attribute("data-chart-state", "drawn", timeout=20_000)


def test_it_is_unchanged_until_it_changes(signed_in: Page, added: str) -> None:
    """A 304 while nothing happens; a page of its own once a label was given."""
    address = f"{added}features/{firing(signed_in, added)}/"
    request = signed_in.context.request
    first = request.get(address)
    again = request.get(address, headers={"If-None-Match": first.headers["etag"]})
    assert again.status == 304
    signed_in.goto(address)
    signed_in.get_by_label("Label", exact=True).fill("another name")
    signed_in.get_by_role("button", name="Save the label").click()
    expect(signed_in.get_by_role("heading", level=1)).to_contain_text("another name")
    assert request.get(address, headers={"If-None-Match": first.headers["etag"]}).status == 200


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_nothing_is_cut_off_and_everybody_can_use_it(
    browser: Browser, cookies: list[dict[str, object]], site: str, added: str, theme: str, width: int
) -> None:
    viewport = {"width": width, "height": 900}
    with browser.new_context(viewport=viewport, color_scheme=theme) as context:  # type: ignore[arg-type]
        context.add_cookies(cookies)  # type: ignore[arg-type]
        page = context.new_page()
        features = f"{added}features/"
        for address in (site, f"{site}/saes/add/", added, features, f"{features}0/", f"{features}1/?around=whole"):
            page.goto(address)
            assert serious(page) == [], address
            assert page.evaluate("document.documentElement.scrollWidth") <= width, address


def test_removing_asks_first_and_is_complete(signed_in: Page, added: str, site: str) -> None:
    """Last in this file."""
    signed_in.goto(added)
    signed_in.get_by_role("button", name="Remove this SAE").click()
    signed_in.get_by_role("button", name="Keep it").click()
    expect(signed_in).to_have_url(added)
    signed_in.get_by_role("button", name="Remove this SAE").click()
    signed_in.get_by_role("alertdialog").get_by_role("button", name="Remove this SAE").click()
    expect(signed_in.get_by_text("by folder is removed.")).to_be_visible()
    expect(signed_in.get_by_role("link", name="by folder")).to_have_count(0)
    assert signed_in.context.request.get(added).status == 404
