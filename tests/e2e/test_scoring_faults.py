"""Fault 20 in a real browser: the session expires while somebody scores, and submit is pressed twice."""

import re

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from playwright.sync_api import Page, expect

from explorer.actions import studies
from explorer.models import Annotator, Draft, Score, Slot, Study
from explorer.models.studies import SubjectKind
from tests.conftest import cookie_of
from tests.explored import Explored, explored, read
from tests.processes import Web
from tests.studied import person, study_of

__all__ = ["explored", "read"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.parametrize("broker_url", ["files"], indirect=True),
]
KEPT, SIGNED_OUT = "Kept.", re.compile("Not kept: you are no longer signed in. It stays in this browser")


@pytest.fixture
def study(explored: Explored) -> Study:
    made = study_of(explored.sae, [SubjectKind.FEATURE] * 2)
    studies.open_(made)
    return made


def with_password(name: str) -> Annotator:
    found = person(name)
    assert found.user
    found.user.set_password(f"a password of {name}")
    found.user.save()
    return found


def before_an_item(page: Page, web: Web, study: Study, who: Annotator) -> str:
    assert who.user
    value = cookie_of(who.user)["Cookie"].split("=", 1)[1]
    page.context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": value, "url": web.address}])
    page.goto(f"{web.address}/score/{study.pk}/")
    page.get_by_role("button", name="Begin").click()
    expect(page.get_by_label("What fires here?")).to_be_focused()
    return page.url


def expire() -> None:
    Session.objects.all().delete()


def sign_in(page: Page, name: str) -> None:
    expect(page).to_have_url(re.compile(r"/sign-in/\?next="))
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(f"a password of {name}")
    page.keyboard.press("Enter")


def test_the_session_expires_and_submit_is_pressed_twice(page: Page, web: Web, study: Study, broker_url: None) -> None:
    ann = with_password("ann")
    item, kept, says = (
        before_an_item(page, web, study, ann),
        page.locator(".kept"),
        page.get_by_label("What fires here?"),
    )
    page.keyboard.type("it is a ")
    expect(kept).to_have_text(KEPT)
    expire()
    page.keyboard.type("word before a noun")
    expect(kept).to_have_text(SIGNED_OUT)
    assert Draft.objects.get().given["hypothesis"].strip() == "it is a"
    page.keyboard.press("Enter")
    sign_in(page, "ann")
    expect(page).to_have_url(item)
    expect(says).to_have_value("it is a word before a noun")
    expect(kept).to_have_text(KEPT)
    assert Draft.objects.get().given["hypothesis"] == "it is a word before a noun"

    page.keyboard.press("Enter")
    expect(page.locator(".said blockquote")).to_have_text("it is a word before a noun")
    page.keyboard.press("3")
    expect(kept).to_have_text(KEPT)
    expire()
    for key in "52f":
        page.keyboard.press(key)
    page.get_by_text("Add a note").click()
    page.get_by_label("Note", exact=True).fill("of any kind")
    expect(kept).to_have_text(SIGNED_OUT)
    assert Draft.objects.get().given["points"] == {"confidence": 3}
    page.get_by_role("button", name="Show the tokens that it raises").click()
    sign_in(page, "ann")
    expect(page).to_have_url(item)
    expect(kept).to_have_text(KEPT)
    for criterion, points in (("confidence", 3), ("activations", 5), ("specificity", 2)):
        expect(page.locator(f'[name="points_{criterion}"]:checked')).to_have_value(str(points))
    assert Draft.objects.get().given["note"] == "of any kind"
    page.get_by_role("button", name="Show the tokens that it raises").click()

    expect(page.locator("#raised")).to_be_visible()
    page.keyboard.press("3")
    expect(page.locator(".total")).to_have_text("13 of 14")
    page.get_by_role("button", name="Give it and go on").evaluate("button => { button.click(); button.click() }")
    expect(says).to_be_focused()
    assert page.url != item
    score = Score.objects.get()
    assert score.points == {"confidence": 3, "activations": 5, "logits": 3, "gap": None, "specificity": 2}
    assert (score.total, score.note, score.flagged, score.extra) == (13, "of any kind", True, False)
    assert Slot.objects.filter(annotator=ann).count() == 2  # that, and the one that follows
    assert not Draft.objects.exists()


def test_what_one_leaves_in_a_browser_is_not_shown_to_another(
    page: Page, web: Web, study: Study, broker_url: None
) -> None:
    """A tablet that goes from hand to hand."""
    ann, ben = with_password("ann"), with_password("ben")
    item, says = before_an_item(page, web, study, ann), page.get_by_label("What fires here?")
    expire()
    page.keyboard.type("what ann thinks")
    expect(page.locator(".kept")).to_have_text(SIGNED_OUT)
    Slot.objects.filter(item__key=item.rstrip("/").rpartition("/")[2], seat=1).update(annotator=ben)
    page.goto(item)
    sign_in(page, "ben")
    expect(page).to_have_url(item)
    expect(says).to_be_focused()
    expect(says).to_have_value("")
    expire()
    page.goto(item)
    sign_in(page, "ann")
    expect(says).to_have_value("what ann thinks")
