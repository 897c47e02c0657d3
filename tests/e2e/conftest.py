from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.conftest import missing
from tests.supervised import Up
from tests.tools import ARGUMENTS, find_chromium


@pytest.fixture(scope="package")  # no longer: Playwright's loop would be running under other tests' own
def browser() -> Iterator[Browser]:
    program = find_chromium()
    if not program:
        missing("a Chromium")
    with sync_playwright() as playwright, pytest.MonkeyPatch.context() as patch:
        # Playwright's synchronous interface runs an event loop in this thread, in which Django would not ask.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        launched = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    made = Up(tmp_path_factory.mktemp("up") / "data")
    yield made
    made.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context(viewport={"width": 1440, "height": 900})
    yield made
    made.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the browser's console says is wrong; a test that expects some clears them."""
    return []


@pytest.fixture
def page(context: BrowserContext, complaints: list[str]) -> Iterator[Page]:
    """A page that must not complain."""
    made = context.new_page()
    made.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    made.on("pageerror", lambda error: complaints.append(str(error)))
    yield made
    assert complaints == []
