"""What a browser shows of a text that grows: never a piece twice, never one missing, whatever happens meanwhile."""

import time

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from playwright.sync_api import Page, expect

from explorer.actions import jobs
from explorer.models import Job
from tests.conftest import cookie_of
from tests.processes import Postgres, Web, Workers

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("broker_url", ["files"], indirect=True)]

WORDS = 150
WHOLE = "".join(f"😀{number} " for number in range(WORDS))
HIDE = "hidden => { Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});" \
       "document.dispatchEvent(new Event('visibilitychange')); }"  # fmt: skip


@pytest.fixture
def job(transactional_db: None) -> Job:
    return jobs.start("test_stream", {"n": WORDS, "pause": 0.02, "word": "😀"})


@pytest.fixture
def watching(page: Page, web: Web, viewer: User, job: Job) -> Page:
    """The job's page, opened while it is queued."""
    value = cookie_of(viewer)["Cookie"].split("=", 1)[1]
    page.context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": value, "url": web.address}])
    page.goto(f"{web.address}/jobs/{job.pk}/")
    expect(page.locator(".panel .state").first).to_have_text("Queued")
    return page


def follow(page: Page, within: float = 30) -> int:
    """Looks again and again until the text is whole; what is shown must always be its beginning."""
    seen = set()
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        shown = page.evaluate("document.querySelector('[data-text]')?.textContent ?? ''")
        assert WHOLE.startswith(shown), shown
        seen.add(shown)
        if shown == WHOLE:
            return len(seen)
    raise AssertionError(f"{len(shown)} of {len(WHOLE)} characters: …{shown[-80:]}")


def test_a_text_grows_before_ones_eyes(watching: Page, workers: Workers, broker_url: None) -> None:
    workers.start("interactive")
    assert follow(watching) > 20
    expect(watching.locator(".panel .state").first).to_have_text("Done")
    assert watching.locator("[data-text]").text_content() == WHOLE


def test_a_hidden_tab_catches_up(watching: Page, workers: Workers, broker_url: None) -> None:
    workers.start("interactive")
    expect(watching.locator("[data-text]")).to_contain_text("😀5 ")
    watching.evaluate(HIDE, True)
    shown = watching.locator("[data-text]").text_content() or ""
    with connection.cursor() as cursor:
        for _ in range(5):
            cursor.execute("SELECT pg_sleep(0.1)")
    assert watching.locator("[data-text]").text_content() == shown, "a hidden tab follows nothing"
    watching.evaluate(HIDE, False)
    follow(watching)


def test_the_database_restarts_meanwhile(
    watching: Page, workers: Workers, postgres: Postgres, broker_url: None
) -> None:
    workers.start("interactive")
    expect(watching.locator("[data-text]")).to_contain_text("😀5 ")
    connection.close()
    postgres.restart()
    follow(watching)


def test_the_web_process_restarts_meanwhile(
    watching: Page, workers: Workers, web: Web, complaints: list[str], broker_url: None
) -> None:
    """The browser comes back by itself with the place it had."""
    workers.start("interactive")
    expect(watching.locator("[data-text]")).to_contain_text("😀5 ")
    web.process.close()
    web.start()
    follow(watching)
    assert all("net::ERR" in complaint for complaint in complaints)
    complaints.clear()
