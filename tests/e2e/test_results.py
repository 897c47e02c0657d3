"""A study's results in a browser: its charts are drawn with tables behind them, and hypotheses are judged by keys."""

from random import Random
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from explorer.actions import studies
from explorer.models import Adjudication, Item, Study
from explorer.models.studies import SubjectKind
from tests.conftest import cookie_of
from tests.e2e.axe import serious
from tests.explored import Explored, explored, read
from tests.processes import Web
from tests.studied import given, person, study_of

__all__ = ["explored", "read"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.parametrize("broker_url", ["files"], indirect=True),
]
KINDS = [*[SubjectKind.FEATURE] * 6, *[SubjectKind.NEURON] * 4, SubjectKind.DIRECTION]


@pytest.fixture
def study(explored: Explored) -> Study:
    """Three annotators, features better than controls, closed."""
    made = study_of(explored.sae, KINDS, intervals=(0, 4), per_item=3)
    studies.open_(made)
    dice = Random(3)
    most = {"confidence": 3, "activations": 5, "logits": 2, "gap": 1, "specificity": 3}
    for name in ("ann", "ben", "cleo"):
        by = person(name)
        for item in Item.objects.filter(subject__study=made).select_related("subject__study"):
            fond = 2 * (item.subject.kind == SubjectKind.FEATURE)
            points: dict[str, Any] = {key: min(full, dice.randint(0, full) + fond) for key, full in most.items()}
            given(item, by, points, f"{name} takes it for the word {item.subject.number}")
    studies.close(made)
    return made


@pytest.fixture
def signed_in(page: Page, web: Web, researcher: User) -> Page:
    value = cookie_of(researcher)["Cookie"].split("=", 1)[1]
    page.context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": value, "url": web.address}])
    return page


def test_results_are_drawn(signed_in: Page, web: Web, study: Study, broker_url: None) -> None:
    page = signed_in
    page.goto(f"{web.address}/studies/{study.pk}/results/")
    totals = page.locator("#chart-totals")
    totals.scroll_into_view_if_needed()
    expect(totals).to_have_attribute("data-chart-state", "drawn")
    expect(totals.locator(".legendtext")).to_have_text(["feature", "neuron", "random direction"])
    page.get_by_text("As a table").first.click()
    table = page.locator(".as-table table").first
    expect(table.locator("th")).to_have_text([
        "total of an item (means are rounded up)", *(f"{kind}: share of its items, %" for kind in
                                                    ("feature", "neuron", "random direction")),
    ])  # fmt: skip
    expect(table.locator("tbody tr")).to_have_count(15)
    assert serious(page) == []
    page.locator("#sort-mean").click()
    expect(page.locator("th[aria-sort=descending]")).to_have_text("Mean")


def test_hypotheses_are_judged_by_keys_alone(signed_in: Page, web: Web, study: Study, broker_url: None) -> None:
    page = signed_in
    page.goto(f"{web.address}/studies/{study.pk}/adjudicate/")
    assert serious(page) == []
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_contain_text("1 of 11")
    page.keyboard.press("ArrowRight")
    expect(heading).to_contain_text("2 of 11")
    page.keyboard.press("ArrowLeft")
    expect(heading).to_contain_text("1 of 11")
    page.get_by_label("different things").focus()
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.type("one is of names")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(heading).to_contain_text("2 of 11, the least agreed first; 1 judged")
    assert Adjudication.objects.values_list("meaning", "note").get() == ("different", "one is of names")
