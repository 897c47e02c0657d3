"""Steering in a real browser, by a real worker: from a feature's page to a shared sweep, cancelled, and two at once."""

import re
import time

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from playwright.sync_api import Browser, Locator, Page, expect

from explorer.actions import labels
from explorer.models import Job, Sae
from explorer.models.jobs import JobState
from tests.conftest import cookie_of
from tests.e2e.axe import serious
from tests.processes import Web, Workers, until
from tests.work.added import Added, add, give
from tests.work.running import run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.parametrize("broker_url", ["files"], indirect=True),
]
LONG = 2_048  # positions of the lm: enough for texts that take a while
MANY = 1_000  # tokens
ADDRESS = re.compile(r"/steer/[\w-]+/$")


@pytest.fixture
def generous(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that there is time to look, and to leave."""
    monkeypatch.setenv("EXPLORER_STEER_TOKENS", str(MANY))
    monkeypatch.setenv("EXPLORER_STEER_RATE", "1000000")


def let_in(page: Page, web: Web, user: User) -> Page:
    value = cookie_of(user)["Cookie"].split("=", 1)[1]
    page.context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": value, "url": web.address}])
    return page


@pytest.fixture
def signed_in(page: Page, web: Web, viewer: User) -> Page:
    return let_in(page, web, viewer)


@pytest.fixture
def feature(transactional_db: None, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of one that fires."""
    added: Added = add(give(tmp_path_factory.mktemp("given"), contexts=12, n_latents=37, n_positions=LONG), "late")
    assert run("collect", added.arguments()).state == JobState.DONE
    return f"/saes/{added.saes[0].slug}/features/5/"


def ask(page: Page, web: Web, feature: str, button: str = "Sweep its strength") -> None:
    page.goto(f"{web.address}{feature}")
    page.keyboard.press("s")
    page.keyboard.type("Good text")
    page.get_by_role("button", name=button).click()
    page.wait_for_url(ADDRESS)


def test_from_a_features_page_to_a_shared_sweep(
    signed_in: Page, browser: Browser, web: Web, workers: Workers, feature: str, broker_url: None
) -> None:
    """A key, a prompt, one click: its address is all that has to be shared."""
    workers.start("interactive")
    ask(signed_in, web, feature)
    expect(signed_in.locator(".texts > section")).to_have_count(6)
    expect(signed_in.locator(".written .tokens")).to_have_count(6, timeout=60_000)
    titles = ["As it is", "0.5 × as strongly", "Steered", "2 × as strongly", "−1 × as strongly", "A random direction"]
    expect(signed_in.locator(".texts h2")).to_have_text(titles)
    for name in ("Copy as text", "Run again"):  # of what has come to its end, without a reload
        expect(signed_in.get_by_role("button", name=name)).to_be_visible()
    expect(signed_in.get_by_text("The same in Python")).to_be_visible()
    signed_in.locator(".written .tokens > span").first.hover()
    expect(signed_in.locator(".token-card")).to_contain_text("probability")
    expect(signed_in.locator(".token-card dd")).to_have_count(9)
    assert serious(signed_in) == []

    other = let_in(browser.new_context().new_page(), web, User.objects.create_user("another"))
    other.goto(signed_in.url)
    assert other.locator(".written").all_inner_texts() == signed_in.locator(".written").all_inner_texts()
    other.get_by_role("link", name="Change something").click()
    expect(other.get_by_label("Prompt", exact=True)).to_have_value("Good text")
    assert serious(other) == []
    other.context.close()


def fill_in(page: Page, web: Web, feature: str) -> None:
    page.goto(f"{web.address}{feature}")
    page.get_by_role("link", name="Choose strength, method, sampling").click()
    page.get_by_label("Prompt", exact=True).fill("Good text")
    page.get_by_text("Length, sampling, prompting, chat").click()
    page.get_by_label("New tokens").fill(str(MANY))


def send(page: Page) -> None:
    page.get_by_role("button", name="Write").click()


def sent(page: Page) -> Job:
    page.wait_for_url(ADDRESS)
    return Job.objects.get(steering__key=page.url.split("/")[-2])


def ask_for_many(page: Page, web: Web, feature: str) -> Job:
    fill_in(page, web, feature)
    send(page)
    return sent(page)


def said(written: Locator) -> str:
    return written.text_content() or ""


def goes_on(written: Locator, before: str) -> bool:
    """Whether there is more of the same text."""
    now = said(written)
    return len(now) > len(before) and now.startswith(before)


def cancelled(job: Job) -> Job:
    found = until(lambda: Job.objects.filter(pk=job.pk, state=JobState.CANCELLED).first(), within=5)
    assert found
    return found


def test_texts_come_before_ones_eyes_and_can_be_cancelled(
    generous: None, signed_in: Page, web: Web, workers: Workers, feature: str, broker_url: None
) -> None:
    workers.start("interactive")
    job = ask_for_many(signed_in, web, feature)
    written = signed_in.locator("[data-written='1']")
    expect(written).not_to_be_empty(timeout=60_000)
    first = said(written)
    until(lambda: goes_on(written, first))
    signed_in.get_by_role("button", name="Cancel").click()
    assert 0 < cancelled(job).done < MANY
    signed_in.reload()
    expect(written).to_contain_text(first[:20])
    expect(signed_in.get_by_role("button", name="Run again")).to_be_visible()


def test_whoever_leaves_ends_it(
    generous: None, signed_in: Page, web: Web, workers: Workers, feature: str, broker_url: None
) -> None:
    """Fault 10: within two seconds."""
    workers.start("interactive")
    job = ask_for_many(signed_in, web, feature)
    expect(signed_in.locator("[data-written='1']")).not_to_be_empty(timeout=60_000)
    signed_in.goto("about:blank")
    left = time.time()
    ended = cancelled(job)
    assert ended.finished_at
    assert ended.finished_at.timestamp() - left < 2
    assert ended.message == "Nobody was watching any more."


def test_two_at_once_both_see_their_texts_grow(
    generous: None, signed_in: Page, browser: Browser, web: Web, workers: Workers, feature: str, broker_url: None
) -> None:
    workers.start("interactive")
    other = let_in(browser.new_context().new_page(), web, User.objects.create_user("another"))
    both = (signed_in, other)
    for page in both:
        fill_in(page, web, feature)
    for page in both:
        send(page)
    jobs = [sent(page) for page in both]
    for page in both:
        expect(page.locator("[data-written='0']")).not_to_be_empty(timeout=60_000)
    for page in both:
        expect(page.locator(".written .tokens")).to_have_count(2, timeout=60_000)
    first, second = Job.objects.filter(pk__in=[each.pk for each in jobs]).order_by("finished_at")
    assert second.started_at
    assert first.finished_at
    assert second.started_at < first.finished_at, "one came after the other"
    other.context.close()


def test_whoever_comes_back_has_lost_nothing(
    generous: None, signed_in: Page, web: Web, workers: Workers, feature: str, broker_url: None
) -> None:
    workers.start("interactive")
    job = ask_for_many(signed_in, web, feature)
    written = signed_in.locator("[data-written='1']")
    expect(written).not_to_be_empty(timeout=60_000)
    before = said(written)
    signed_in.reload()
    until(lambda: goes_on(written, before))
    expect(signed_in.locator(".written .tokens")).to_have_count(2, timeout=60_000)
    ended = Job.objects.get(pk=job.pk)
    assert (ended.state, ended.attempt) == (JobState.DONE, 1)


def test_features_are_picked_and_their_strength_is_drawn(
    signed_in: Page, web: Web, workers: Workers, feature: str, broker_url: None
) -> None:
    """From the search into the next row; the slider says how much of the typical norm is added."""
    sae = Sae.objects.get()
    Sae.objects.update(metrics={"typical_norm": 1000.0})
    labels.give(sae, 8, "a named one", by=None)
    signed_in.goto(f"{web.address}/steer/?feature={sae.slug}/5")
    finding = signed_in.get_by_role("searchbox", name="Words of a label, or an index")
    finding.fill("named")
    finding.press("Enter")
    signed_in.get_by_role("link", name="a named one").click()
    rows = signed_in.locator(".change")
    expect(rows).to_have_count(3)
    expect(rows.nth(1).get_by_label("Feature")).to_have_value("8")
    expect(rows.nth(1).locator(".called")).to_have_text("a named one")
    expect(rows.nth(2).get_by_label("Feature")).to_have_value("")
    row = rows.nth(1)
    strength, slider, share = row.get_by_label("Strength").first, row.get_by_role("slider"), row.locator(".share")
    expect(share).to_contain_text("of the layer’s typical norm")
    weak = share.text_content()
    slider.focus()
    signed_in.keyboard.press("End")
    expect(share).not_to_have_text(weak or "")
    expect(share).to_have_attribute("data-strong", "")
    assert float(strength.input_value()) == pytest.approx(float(slider.get_attribute("max") or 0), rel=0.01)
    row.get_by_label("How").select_option("ablate")
    expect(slider).to_be_hidden()
    expect(strength).to_be_disabled()
    assert serious(signed_in) == []
    row.get_by_label("How").select_option("add")
    strength.fill("1")
    signed_in.get_by_label("Prompt", exact=True).fill("Good text")
    send(signed_in)
    sent(signed_in)
    expect(signed_in.locator(".told > li")).to_have_count(2)


def test_what_a_feature_does_is_found_in_one_click(
    signed_in: Page, web: Web, workers: Workers, feature: str, broker_url: None
) -> None:
    workers.start("interactive")
    signed_in.goto(f"{web.address}{feature}")
    signed_in.get_by_role("button", name="Ablate it in its examples").click()
    table = signed_in.get_by_role("region", name="With and without it")
    expect(table).to_be_visible(timeout=60_000)
    expect(signed_in.get_by_text("95 % interval")).to_be_visible()
    assert table.locator(".tokens").count() > 0
    assert serious(signed_in) == []
