"""A feature's page: tokens and charts point at each other; two features side by side, counted in clicks."""

import re

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from playwright.sync_api import Locator, Page, expect

from explorer.actions import labels
from tests.conftest import cookie_of
from tests.e2e.axe import serious
from tests.explored import Explored, explored, read
from tests.processes import Web

__all__ = ["explored", "read"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.parametrize("broker_url", ["files"], indirect=True),
]
INDEX, OTHER = 5, 9
FIRES = ".excerpts .tokens > [class]"


@pytest.fixture
def at_feature(page: Page, web: Web, viewer: User, explored: Explored) -> Page:
    labels.give(explored.sae, INDEX, "<script>alert('no')</script> שלום " + "long " * 30, by=viewer)
    value = cookie_of(viewer)["Cookie"].split("=", 1)[1]
    page.context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": value, "url": web.address}])
    page.on("dialog", lambda dialog: pytest.fail(f"a dialog opened: {dialog.message}"))
    page.goto(f"{web.address}{explored.page}features/{INDEX}/")
    expect(page.locator("#chart-activations[data-chart-state=drawn]")).to_be_visible()
    return page


def standing(page: Page) -> float:
    """Where between the least and the greatest bar's edges the card says that the activation lies."""
    return float(page.locator(".token-card line").get_attribute("x1") or "nan") / 192


def test_a_token_is_placed_in_the_histogram_without_a_click(at_feature: Page, broker_url: None) -> None:
    """Task 5: by pointing, and by the keyboard alone; the other way round a bar shows its tokens."""
    page = at_feature
    expect(page.locator("h1")).to_contain_text("<script>alert('no')</script>")
    strongest = page.locator("section[aria-labelledby=top] .excerpts .top").first
    strongest.hover()
    card = page.locator(".token-card")
    expect(card).to_contain_text("of its firings")
    expect(card).to_contain_text("100 %")
    assert standing(page) > 0.9
    expect(page.locator("#chart-activations > .mark")).to_have_count(1)
    area = page.locator("#chart-activations .nsewdrag").bounding_box()
    mark = page.locator("#chart-activations > .mark").bounding_box()
    assert area
    assert mark
    assert area["x"] + 0.8 * area["width"] < mark["x"] <= area["x"] + area["width"]
    page.mouse.move(0, 0)
    expect(page.locator(".plot > .mark")).to_have_count(0)

    strongest.focus()
    expect(page.locator("#chart-activations > .mark")).to_have_count(1)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowDown")
    expect(page.locator(".token-said")).to_contain_text("stronger than")

    page.keyboard.press("Escape")
    page.locator("#chart-activations + .as-table summary").click()
    row = page.locator("#chart-activations + .as-table tbody tr").last
    row.focus()
    pointed = page.locator(".tokens > .pointed")
    highest = page.evaluate("JSON.parse(document.getElementById('activation-bars').textContent).at(-1)")
    acts = [float(each) for one in page.locator(FIRES).all() for each in (one.get_attribute("data-a") or "").split(" ")]
    assert len([each for each in acts if highest[0] <= each < highest[1]]) >= pointed.count() > 0

    assert serious(page) == []

    rows = page.locator("[data-logit]")
    ids = {row.get_attribute("data-logit"): row for row in rows.all() if row.is_visible()}
    shown = {token.get_attribute("data-t"): token for token in page.locator(".excerpts .tokens > span").all()[:400]}
    both = [each for each in ids if each in shown]
    assert both, "no token of the examples is among the logits"
    ids[both[0]].hover()
    expect(page.locator(f".tokens > .pointed[data-t~='{both[0]}']").first).to_be_visible()
    shown[both[0]].hover()
    expect(ids[both[0]]).to_have_class("pointed")


def test_a_label_is_judged_without_a_click(at_feature: Page, broker_url: None) -> None:
    """Task 4: strongest examples, each interval's, and contexts in which it is silent stand open."""
    page = at_feature

    def fired(examples: Locator) -> list[float]:
        """At the tokens that they are examples of, of which several may share a character."""
        found = examples.locator("> li > .text [data-at]").all()
        assert all(token.is_visible() for token in found)
        return [max(map(float, (token.get_attribute("data-a") or "").split())) for token in found]

    peaks = fired(page.locator("[aria-labelledby=top] > .excerpts"))
    assert peaks == sorted(peaks, reverse=True)
    bounds = page.locator("[aria-labelledby=intervals] > h4")
    lists = page.locator("[aria-labelledby=intervals] > :is(.excerpts, h4 + .quiet)")
    expect(bounds).to_have_count(5)
    expect(lists).to_have_count(5)
    for heading, examples in zip(bounds.all(), lists.all(), strict=True):
        least, most = map(float, re.findall(r"([\d.]+) to ([\d.]+):", heading.inner_text())[0])
        assert all(value > 0 and least * 0.99 <= value <= most * 1.01 for value in fired(examples))
    near = page.locator("[aria-labelledby=near] > .excerpts")
    assert near.locator(".tokens > [class]").count() == 0, "it is silent there"
    assert set(fired(near)) == {0}


def test_two_features_stand_side_by_side_after_two_clicks(at_feature: Page, broker_url: None) -> None:
    """Task 10: a neighbour is one click away, any other feature a key, its index and Enter."""
    page = at_feature
    page.keyboard.press("b")
    page.keyboard.type(str(OTHER))
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(rf"/features/{INDEX}/beside/[^/]+/{OTHER}/$"))
    expect(page.locator(".pair h3")).to_have_count(2)
    expect(page.get_by_text("Cosine of their decoder directions")).to_be_visible()
    assert serious(page) == []
    page.keyboard.press("x")
    expect(page).to_have_url(re.compile(rf"/features/{OTHER}/beside/[^/]+/{INDEX}/$"))
    page.go_back()
    page.go_back()
    page.get_by_role("link", name=re.compile(r"^beside feature \d+")).first.click()
    expect(page.locator(".pair h3").first).to_contain_text(f"Feature {INDEX}")


def test_it_is_taken_along_and_fits_every_window(at_feature: Page, explored: Explored, broker_url: None) -> None:
    page, here = at_feature, at_feature.url
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_text("Share and download").click()
    page.get_by_role("button", name="Copy the citation").click()
    expect(page.get_by_text("Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith(f"Feature {INDEX} “<script>alert('no')</script>")
    assert copied.endswith(here)
    page.get_by_role("link", name="For embedding elsewhere").click()
    expect(page.locator(".bar")).to_have_count(0)
    assert serious(page) == []
    for address in ("", "?around=whole", "?embed=1", f"beside/{explored.sae.slug}/{OTHER}/", "beside/"):
        page.goto(f"{here}{address}")
        for width in (1440, 390):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, address
