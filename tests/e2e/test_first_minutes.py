"""What a newcomer does: start it, follow the link, start a job, watch it, leave."""

import re
import signal

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.supervised import Up, gone

pytestmark = pytest.mark.slow

DIAGNOSE = "Check this installation"


@pytest.fixture(scope="module")
def link(up: Up) -> str:
    return up.wait_until_greeted()


@pytest.fixture(scope="module")
def cookies(browser: Browser, link: str) -> list[dict[str, object]]:
    """The link is used once, by the first who needs it."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(link)
    expect(page.get_by_role("heading", name="Library")).to_be_visible()
    found = context.cookies()
    context.close()
    return found  # type: ignore[return-value]


@pytest.fixture
def signed_in(page: Page, cookies: list[dict[str, object]], up: Up) -> Page:
    page.context.add_cookies(cookies)  # type: ignore[arg-type]
    page.goto(f"http://127.0.0.1:{up.port}/")
    return page


def test_the_link_signs_the_admin_in_once(signed_in: Page, link: str, up: Up, browser: Browser) -> None:
    expect(signed_in.locator(".who")).to_have_text("admin")
    signed_in.goto(link)  # again, by whom it has signed in
    expect(signed_in).to_have_url(f"http://127.0.0.1:{up.port}/")

    stranger = browser.new_context().new_page()
    answer = stranger.goto(link)
    assert answer
    assert answer.status == 403
    expect(stranger.get_by_role("heading", name="This link no longer works")).to_be_visible()
    stranger.goto(f"http://127.0.0.1:{up.port}/jobs/")
    expect(stranger.get_by_role("heading", name="Sign in")).to_be_visible()
    stranger.context.close()


def test_a_job_is_watched_from_start_to_end_without_a_reload(signed_in: Page) -> None:
    signed_in.get_by_role("button", name=DIAGNOSE).click()
    expect(signed_in).to_have_url(re.compile(r"/jobs/\d+/$"))
    loads: list[str] = []
    signed_in.on("load", lambda page: loads.append(page.url))
    expect(signed_in.locator(".panel .state").first).to_have_text("Done", timeout=30_000)
    expect(signed_in.locator("pre.output")).to_contain_text(re.compile(r"postgresql +18"))
    expect(signed_in.locator("pre.output")).to_contain_text("float32_gflops")
    expect(signed_in.locator("[data-figures]")).to_have_text("4 of 4 checks")
    expect(signed_in.get_by_role("button", name="Cancel")).to_have_count(0)
    with signed_in.expect_download() as download:
        signed_in.get_by_role("link", name="Download the report").click()
    assert download.value.suggested_filename == "installation.json"
    assert loads == []


def test_the_list_follows_jobs(signed_in: Page, up: Up) -> None:
    """Two tabs: one starts a job, the other has it in its list and sees it end."""
    watcher = signed_in.context.new_page()
    signed_in.get_by_role("button", name=DIAGNOSE).click()
    expect(signed_in).to_have_url(re.compile(r"/jobs/\d+/$"))
    number = signed_in.url.rstrip("/").rsplit("/", 1)[1]
    watcher.goto(f"http://127.0.0.1:{up.port}/jobs/")
    expect(watcher.locator(f"[data-job='{number}'] .state")).to_have_text("Done", timeout=30_000)
    watcher.goto(f"http://127.0.0.1:{up.port}/jobs/?state=failed")
    expect(watcher.get_by_text("No such jobs.")).to_be_visible()


def test_a_reload_while_a_job_runs_shows_all_its_text(signed_in: Page) -> None:
    signed_in.get_by_role("button", name=DIAGNOSE).click()
    expect(signed_in).to_have_url(re.compile(r"/jobs/\d+/$"))
    for _ in range(3):
        signed_in.reload()
    expect(signed_in.locator(".panel .state").first).to_have_text("Done", timeout=30_000)
    text = signed_in.locator("pre.output").inner_text()
    assert [text.count(start) for start in ("python  ", "postgresql  ", "write_mb_per_s", "float32_gflops")] == [1] * 4


def test_signing_out_and_the_end(signed_in: Page, up: Up) -> None:
    """Last in this file: a stream is open when everything is stopped."""
    signed_in.get_by_role("button", name=DIAGNOSE).click()
    family = up.family()
    assert up.end(signal.SIGINT) == 0
    assert gone(family, within=1)
