"""An SAE's page: every part of its charts leads to the features that it stands for."""

import re

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from explorer.queries import distributions
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


@pytest.fixture
def of_sae(page: Page, web: Web, viewer: User, explored: Explored) -> Page:
    value = cookie_of(viewer)["Cookie"].split("=", 1)[1]
    page.context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": value, "url": web.address}])
    page.goto(f"{web.address}{explored.page}")
    return page


def test_charts_are_ways_to_features(of_sae: Page, explored: Explored, broker_url: None) -> None:
    bars = distributions.by_density(explored.collection)
    tallest = max(bars, key=lambda bar: bar.n)
    expect(of_sae.locator("#chart-density[data-chart-state=drawn]")).to_be_visible()
    drawn = of_sae.locator("#chart-density .bars .point path")
    drawn.nth(bars.index(tallest)).click(force=True)
    expect(of_sae).to_have_url(re.compile(r"/features/\?density_min=[^&]+&density_max="))
    rows = of_sae.locator("main table tbody tr")
    expect(rows).to_have_count(tallest.n)

    of_sae.go_back()
    points = of_sae.locator("#chart-p99")
    points.scroll_into_view_if_needed()
    expect(of_sae.locator("#chart-p99[data-chart-state=drawn]")).to_be_visible()
    box = points.locator(".nsewdrag").bounding_box()
    assert box
    of_sae.mouse.move(box["x"] + 1, box["y"] + 1)
    of_sae.mouse.down()
    of_sae.mouse.move(box["x"] + box["width"] - 1, box["y"] + box["height"] - 1, steps=5)
    of_sae.mouse.up()
    of_sae.get_by_role("link", name=re.compile("Browse features with density")).click()
    expect(rows).to_have_count(distributions.points(explored.collection).of)


def test_without_a_pointer(of_sae: Page, explored: Explored, broker_url: None) -> None:
    """The same ways are links in the charts' tables; what is remarkable is a link in its figure."""
    expect(of_sae.locator("#chart-density[data-chart-state=drawn]")).to_be_visible()
    assert serious(of_sae) == []
    of_sae.locator("#chart-density + .as-table summary").press("Enter")
    links = of_sae.locator("#chart-density + .as-table a")
    bars = distributions.by_density(explored.collection)
    expect(links).to_have_count(len(bars))
    filled = next(number for number, bar in enumerate(bars) if bar.n)
    links.nth(filled).press("Enter")
    expect(of_sae.locator("main table tbody tr")).to_have_count(bars[filled].n)
    of_sae.go_back()
    of_sae.locator(".figure", has_text="Never fired").get_by_role("link").click()
    expect(of_sae.locator("main table tbody tr")).to_have_count(distributions.kinds(explored.collection).never)


def test_the_dead_and_the_over_dense_are_a_click_each(of_sae: Page, explored: Explored, broker_url: None) -> None:
    """Task 9, with the densities of all others drawn before the first click."""
    kinds = distributions.kinds(explored.collection)
    assert kinds.never
    assert kinds.dense
    expect(of_sae.locator("#chart-density[data-chart-state=drawn]")).to_be_visible()
    here = of_sae.url
    for figure, n in (("Never fired", kinds.never), ("Dense", kinds.dense)):
        of_sae.goto(here)
        of_sae.locator(".figure", has_text=figure).get_by_role("link").click()
        expect(of_sae.locator("main table tbody tr")).to_have_count(n)
