"""Keeping features while one walks through them, by keys alone; lists; texts that would like to be scripts."""

import re
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from playwright.sync_api import Page, Route, expect

from explorer.actions import labels, lists
from explorer.actions.accounts import set_role
from explorer.models import Activity, FeatureList, ListEntry
from explorer.models.access import Role
from tests.conftest import cookie_of
from tests.e2e.axe import serious
from tests.explored import Explored, explored, read
from tests.processes import Web, until

__all__ = ["explored", "read"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.parametrize("broker_url", ["files"], indirect=True),
]
SCRIPT = "<img src=x onerror=alert(1)><script>alert(2)</script>"


@pytest.fixture
def signed_in(page: Page, web: Web, viewer: User) -> Page:
    set_role(viewer.pk, Role.RESEARCHER, by=viewer)
    value = cookie_of(viewer)["Cookie"].split("=", 1)[1]
    page.context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": value, "url": web.address}])
    return page


@pytest.fixture
def fires(explored: Explored) -> list[int]:
    return list(Activity.objects.filter(n_fired__gt=0).order_by("index").values_list("index", flat=True))


def kept() -> list[int]:
    return list(ListEntry.objects.order_by("pk").values_list("index", flat=True))


def test_twenty_features_are_walked_and_five_kept_in_25_keys(
    signed_in: Page, web: Web, explored: Explored, fires: list[int], broker_url: None
) -> None:
    """Task 6, as fast as keys can be pressed."""
    features = f"{web.address}{explored.page}features/"
    signed_in.goto(f"{features}{fires[0]}/")
    keys = 0
    for step in range(1, 21):
        signed_in.keyboard.press("ArrowRight")
        signed_in.wait_for_url(f"{features}{fires[step]}/", wait_until="domcontentloaded")
        keys += 1
        if step % 4 == 0:
            signed_in.keyboard.press("l")
            keys += 1
    expect(signed_in.locator("#keep-it")).to_have_text("Kept in Bookmarks")
    assert keys == 25
    assert kept() == fires[4:21:4]


def test_what_is_kept_is_said_taken_back_and_never_stale(
    signed_in: Page, web: Web, explored: Explored, fires: list[int], broker_url: None
) -> None:
    first, second = (f"{web.address}{explored.page}features/{index}/" for index in fires[:2])
    signed_in.goto(first)
    button, said = signed_in.locator("#keep-it"), signed_in.locator("#keep-said")
    signed_in.keyboard.press("l")
    expect(said).to_have_text("Kept in Bookmarks.")
    expect(button).to_have_attribute("aria-pressed", "true")
    signed_in.reload()
    expect(button).to_have_text("Kept in Bookmarks")
    signed_in.keyboard.press("l")
    expect(said).to_have_text("No longer in Bookmarks.")
    signed_in.keyboard.press("l")
    expect(button).to_have_text("Kept in Bookmarks")

    signed_in.get_by_role("link", name="Note, another list…").click()
    signed_in.get_by_label("Note in Bookmarks").fill("why")
    signed_in.get_by_role("button", name="Save the note").click()
    expect(signed_in.locator(".keep .note")).to_have_text("“why”")
    signed_in.get_by_role("link", name="Note, another list…").click()
    expect(signed_in.get_by_label("Note in Bookmarks")).to_be_focused()
    assert serious(signed_in) == []
    signed_in.get_by_label("Or a new one").fill("Rivers")
    signed_in.get_by_role("button", name="Keep it there").click()
    expect(button).to_have_text("Kept in Rivers")
    signed_in.keyboard.press("?")
    keys = signed_in.get_by_role("dialog", name="Keys on this page")
    expect(keys.locator("dt", has_text=re.compile("^l$")).locator("+ dd")).to_have_text("Take it out of Rivers")
    signed_in.keyboard.press("Escape")
    expect(keys).to_be_hidden()  # it closes a moment later, and until then the keys are the dialog's

    signed_in.keyboard.press("ArrowRight")
    expect(signed_in).to_have_url(second)
    expect(button).to_have_text("Keep in Rivers")
    FeatureList.objects.filter(name="Rivers").delete()  # in another window
    signed_in.go_back()
    expect(button).to_have_text("Kept in Bookmarks")


def test_whoever_goes_on_at_once_loses_nothing(
    signed_in: Page, web: Web, explored: Explored, fires: list[int], broker_url: None
) -> None:
    held: list[Route] = []
    signed_in.route("**/keep/", lambda route: held.append(route))
    features = f"{web.address}{explored.page}features/"
    signed_in.goto(f"{features}{fires[0]}/")
    signed_in.keyboard.press("l")
    signed_in.keyboard.press("ArrowRight")
    signed_in.wait_for_function("document.querySelector('#keep').getElementsByClassName('htmx-request').length")
    expect(signed_in).to_have_url(f"{features}{fires[0]}/")
    held[0].continue_()
    expect(signed_in).to_have_url(f"{features}{fires[1]}/")
    assert kept() == [fires[0]]


def test_scripts_in_texts_are_texts(
    signed_in: Page, web: Web, viewer: User, explored: Explored, broker_url: None
) -> None:
    dialogs: list[str] = []

    def dismissed(dialog: Any) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    signed_in.on("dialog", dismissed)
    found = lists.make(SCRIPT, SCRIPT, shared=True, by=viewer)
    lists.keep(found, explored.sae, 0, by=viewer, text=SCRIPT)
    labels.give(explored.sae, 0, f"{SCRIPT} earlier", by=viewer)
    labels.give(explored.sae, 0, SCRIPT, by=viewer)
    feature = f"{explored.page}features/0/"
    for address in ("/lists/", f"/lists/{found.pk}/", feature, f"{feature}keep/", f"{feature}labels/",
                    f"{explored.page}labels/", f"{explored.page}features/?list={found.pk}"):  # fmt: skip
        signed_in.goto(f"{web.address}{address}")
        expect(signed_in.locator("main").get_by_text("<script>alert(2)</script>").first).to_be_attached()
        assert serious(signed_in) == [], address
    signed_in.goto(f"{web.address}{feature}")
    signed_in.get_by_text("Named by viewer").click()
    expect(signed_in.get_by_text(f"{SCRIPT} earlier")).to_be_visible()
    signed_in.get_by_role("link", name="Another list…").click()
    signed_in.locator("#keep_list").select_option(str(found.pk))
    signed_in.get_by_role("button", name="Keep it there").click()
    expect(signed_in.locator("#keep-it")).to_contain_text("<script>")
    signed_in.keyboard.press("?")
    expect(signed_in.locator("#keys dd", has_text="<script>").first).to_be_visible()
    assert dialogs == []


def test_a_list_is_removed_once_that_is_meant(
    signed_in: Page, web: Web, viewer: User, explored: Explored, broker_url: None
) -> None:
    found = lists.make("Rivers", shared=True, by=viewer)
    lists.keep(found, explored.sae, 0, by=viewer)
    signed_in.goto(f"{web.address}/lists/{found.pk}/")
    note = signed_in.get_by_label("Note on feature 0")
    note.fill("the Loire")
    note.press("Enter")
    until(lambda: ListEntry.objects.get().note == "the Loire")
    signed_in.get_by_role("button", name="Remove this list").click()
    signed_in.get_by_role("button", name="Keep it").click()
    expect(signed_in.get_by_role("heading", level=1)).to_contain_text("Rivers")
    signed_in.get_by_role("button", name="Remove this list").click()
    signed_in.get_by_role("alertdialog").get_by_role("button", name="Remove this list").click()
    expect(signed_in.get_by_text("Rivers is removed.")).to_be_visible()
