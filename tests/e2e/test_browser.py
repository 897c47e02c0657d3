"""The browser of features, by hand: sorted, filtered, walked through and taken along."""

import re

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from explorer.actions import labels
from explorer.models import Activity
from tests.conftest import cookie_of
from tests.e2e.axe import serious
from tests.explored import SILENT, Explored, explored, read
from tests.processes import Web

__all__ = ["explored", "read"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.parametrize("broker_url", ["files"], indirect=True),
]


@pytest.fixture
def browser_page(page: Page, web: Web, viewer: User, explored: Explored) -> Page:
    labels.give(explored.sae, 6, "<script>alert(1)</script> " + "a label as long as it may be " * 6, by=None)
    labels.give(explored.sae, 9, "أنهار وبحيرات", by=None)
    value = cookie_of(viewer)["Cookie"].split("=", 1)[1]
    page.context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": value, "url": web.address}])
    page.on("dialog", lambda dialog: pytest.fail(f"a dialog opened: {dialog.message}"))
    page.goto(f"{web.address}{explored.page}features/")
    return page


def test_from_the_list_to_its_features_and_back(browser_page: Page, explored: Explored, broker_url: None) -> None:
    falling = [each.index for each in sorted(Activity.objects.all(), key=lambda each: (-each.maximum, -each.index))]
    rows = browser_page.locator("main table tbody tr")
    expect(rows).to_have_count(37)
    assert serious(browser_page) == []
    browser_page.get_by_role("link", name="Maximum").click()
    expect(browser_page.get_by_role("columnheader", name="Maximum")).to_have_attribute("aria-sort", "descending")
    browser_page.get_by_role("link", name="Fire", exact=True).click()
    expect(rows).to_have_count(37 - falling.count(SILENT))

    # A row is a link wherever one clicks; the keys then walk in the order of the list.
    rows.nth(1).locator(".sparkline").click(force=True)
    expect(browser_page.get_by_role("heading", level=1)).to_contain_text(f"Feature {falling[1]}")
    browser_page.keyboard.press("ArrowRight")
    expect(browser_page.get_by_role("heading", level=1)).to_contain_text(f"Feature {falling[2]}")
    browser_page.get_by_role("link", name="Features", exact=True).click()
    expect(browser_page).to_have_url(re.compile(rf"sort=maximum&dir=desc&fires=yes&at={falling[2]}$"))
    expect(rows.first).to_contain_text(str(falling[2]))


def test_filters_are_set_and_taken_away(browser_page: Page, explored: Explored, broker_url: None) -> None:
    rows = browser_page.locator("main table tbody tr")
    browser_page.get_by_text("Filters", exact=True).click()
    browser_page.get_by_label("Index, at most").fill("x")
    browser_page.get_by_label("Words of its label").fill("lab")
    browser_page.get_by_role("button", name="Show").first.click()
    expect(browser_page).to_have_url(re.compile(r"\?words=lab&index_max=x$"))  # fields left empty are not sent
    expect(browser_page.get_by_text("Enter a whole number")).to_be_visible()
    expect(browser_page.get_by_label("Index, at most")).to_have_attribute("aria-invalid", "true")
    expect(rows).to_have_count(1)
    assert serious(browser_page) == []
    browser_page.get_by_role("link", name="Without: Label: lab").click()
    expect(rows).to_have_count(37)

    browser_page.get_by_text("Columns", exact=True).click()
    browser_page.get_by_role("checkbox", name="Mean").check()
    browser_page.get_by_role("button", name="Show").last.click()
    expect(browser_page.get_by_role("columnheader", name="Mean")).to_be_visible()
    with browser_page.expect_download() as found:
        browser_page.get_by_role("link", name="CSV").click()
    assert found.value.path().read_text().count("\n") == 38
    assert found.value.suggested_filename == f"{explored.sae.slug}-features.csv"

    browser_page.set_viewport_size({"width": 390, "height": 844})
    assert browser_page.evaluate("document.documentElement.scrollWidth") == 390
