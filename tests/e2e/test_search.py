"""Finding features, as a newcomer would: by a label, by a sentence of one's own; in clicks, and by keys."""

import re

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from playwright.sync_api import Browser, Page, expect

from explorer.actions import jobs, labels
from explorer.models import Job
from explorer.models.jobs import JobState
from sae_core.reading import reading
from tests.conftest import cookie_of
from tests.e2e.axe import serious
from tests.explored import Explored, explored, read
from tests.processes import Web, Workers
from tests.work.added import Added, add, give
from tests.work.running import work_off

__all__ = ["explored", "read"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.parametrize("broker_url", ["files"], indirect=True),
]
SCRIPT = "<img src=x onerror=alert(1)>"
IDS = [5, 9, 5, 17, 30, 2, 11]


@pytest.fixture
def signed_in(page: Page, web: Web, viewer: User) -> Page:
    value = cookie_of(viewer)["Cookie"].split("=", 1)[1]
    page.context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": value, "url": web.address}])
    return page


@pytest.fixture
def added(transactional_db: None, tmp_path_factory: pytest.TempPathFactory) -> Added:
    return add(give(tmp_path_factory.mktemp("given"), contexts=12, n_latents=37), "late")


@pytest.fixture
def snippet(explored: Explored) -> Job:
    """What the library opens on."""
    found = reading(explored.read.lm, explored.read.sae, IDS, ())
    return Job.objects.create(
        kind="read_text", queue="interactive", state=JobState.DONE,
        arguments={"sae": explored.sae.pk, "corpus": explored.corpus.pk, "context": 0},
        result={"sae": explored.sae.slug, "ids": IDS, "first": 0} | found,
    )  # fmt: skip


def test_a_label_is_found_in_one_click(
    signed_in: Page, web: Web, explored: Explored, admin: User, broker_url: None
) -> None:
    """Task 2: the key, words, Enter, one click."""
    labels.give(explored.sae, 9, f"names of rivers {SCRIPT}", by=admin)
    signed_in.on("dialog", lambda dialog: pytest.fail("a script ran"))
    signed_in.goto(f"{web.address}{explored.page}")
    signed_in.keyboard.press("/")
    signed_in.keyboard.type("name riv")
    signed_in.keyboard.press("Enter")
    signed_in.get_by_role("link", name="names of rivers").click(timeout=3000)
    expect(signed_in.get_by_role("heading", level=1)).to_contain_text(f"names of rivers {SCRIPT}", timeout=3000)


def test_an_index_is_gone_to_by_keys_alone(signed_in: Page, web: Web, explored: Explored, broker_url: None) -> None:
    """Task 1, in no click at all."""
    signed_in.goto(f"{web.address}{explored.page}features/")
    signed_in.keyboard.press("g")
    signed_in.keyboard.type("12")
    signed_in.keyboard.press("Enter")
    expect(signed_in).to_have_url(f"{web.address}{explored.page}features/12/", timeout=2000)


def test_what_fires_on_a_sentence_is_found_in_one_click(
    signed_in: Page, web: Web, workers: Workers, added: Added, broker_url: None
) -> None:
    """Task 3, of two clicks and five seconds; a worker that is warm answers in a tenth of that."""
    workers.start("interactive")
    for number in range(2):
        text = f"Good text, number {number}"
        if number:
            signed_in.goto(web.address)
            signed_in.keyboard.press("/")
            signed_in.keyboard.type(text)
            signed_in.keyboard.press("Enter")
            signed_in.get_by_role("button", name="Which features fire on this text?").click()
        else:
            signed_in.goto(f"{web.address}/search/?kind=text")
            signed_in.get_by_label("Text").fill(text)
            signed_in.get_by_role("button", name="Read it").click()
        expect(signed_in).to_have_url(re.compile(r"/search/text/\d+/$"))
        patience = 5_000 if number else 60_000  # until the worker has loaded the lm
        expect(signed_in.get_by_role("region", name="Features that fire")).to_be_visible(timeout=patience)
    assert serious(signed_in) == []


def test_a_text_is_tried_on_a_feature(
    signed_in: Page, web: Web, workers: Workers, added: Added, complaints: list[str], broker_url: None
) -> None:
    """Without leaving its page, which keeps what was typed; too much of it is refused there."""
    jobs.start("collect", added.arguments())
    work_off()
    workers.start("interactive")
    (sae,) = added.saes
    signed_in.goto(f"{web.address}/saes/{sae.slug}/features/5/")
    loads: list[str] = []
    signed_in.on("load", lambda loaded: loads.append(loaded.url))
    signed_in.keyboard.press("t")
    signed_in.keyboard.type("Good <b>text</b>")
    asks = signed_in.get_by_role("button", name="Where does it fire?")
    asks.click()
    own = signed_in.locator("#own-read")
    expect(own.get_by_role("status")).to_contain_text("It fires at", timeout=60_000)
    expect(own.locator(".tokens")).to_contain_text("<b>")
    expect(signed_in.get_by_label("Text", exact=True)).to_have_value("Good <b>text</b>")
    assert serious(signed_in) == []
    signed_in.get_by_label("Text", exact=True).fill("x" * 10_001)
    asks.click()
    expect(own).to_contain_text("At most 10,000 characters")
    assert loads == []
    complaints.clear()  # the browser calls a 422 an error


def test_tokens_of_the_librarys_text_are_chosen(
    signed_in: Page, web: Web, explored: Explored, snippet: Job, broker_url: None
) -> None:
    """By clicks and by keys; the address keeps it, and the page is never loaded anew."""
    signed_in.goto(web.address)
    tokens = signed_in.locator("[data-chosen] .tokens > span")
    loads: list[str] = []
    signed_in.on("load", lambda loaded: loads.append(loaded.url))
    tokens.nth(0).click()
    expect(signed_in.locator(".shares")).to_have_count(1)
    assert signed_in.url.startswith(f"{web.address}/?at=")
    signed_in.keyboard.press("ArrowRight")
    signed_in.keyboard.press("Enter")
    expect(signed_in.locator(".shares")).to_have_count(signed_in.url.count(",") + 1)
    expect(signed_in.locator("[data-chosen] [aria-current=true]")).to_have_count(2)
    signed_in.get_by_role("link", name="By sum").click()
    expect(signed_in.get_by_role("link", name="By sum")).to_have_attribute("aria-current", "true")
    signed_in.locator("[data-where]").first.click()
    expect(signed_in.locator("[data-where]", has_text="shown")).to_have_count(1)
    expect(signed_in.locator("[data-chosen] .top")).not_to_have_count(0)
    assert loads == []
    kept = signed_in.url
    signed_in.goto(kept)
    expect(signed_in.locator("[data-where]", has_text="shown")).to_have_count(1)
    signed_in.locator(".shares a").first.click()
    expect(signed_in.get_by_role("heading", level=1)).to_contain_text("Feature")


@pytest.mark.parametrize(("theme", "width"), [("light", 1440), ("dark", 390)])
def test_nothing_is_cut_off_and_everybody_can_use_it(
    browser: Browser, web: Web, explored: Explored, snippet: Job, viewer: User, admin: User, theme: str, width: int,
    broker_url: None,
) -> None:  # fmt: skip
    labels.give(explored.sae, 9, "a name " * 20, by=admin)
    value = cookie_of(viewer)["Cookie"].split("=", 1)[1]
    with browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme) as context:  # type: ignore[arg-type]
        context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": value, "url": web.address}])
        page = context.new_page()
        for path in ("/?at=1,3", "/search/", "/search/?q=name", "/search/?kind=text", "/search/?kind=tokens&q=%235",
                     "/search/?q=12", "/search/?kind=logit&q=%231", f"/search/text/{snippet.pk}/?at=2"):  # fmt: skip
            page.goto(f"{web.address}{path}")
            assert serious(page) == [], path
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path
