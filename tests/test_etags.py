"""Pages that a browser keeps: when it is told that nothing has changed."""

import pytest
from django.contrib import messages
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.test import Client
from django.urls import path
from pytest_django import Settings

from explorer import etags, release
from explorer.access import READERS, allow
from explorer.actions.accounts import set_role
from explorer.etags import revalidated
from explorer.made_pages import MadePages
from explorer.models.access import Role
from explorer.urls import urlpatterns as ours

pytestmark = pytest.mark.django_db

DATA = {"version": 1, "made": 0}


@allow(READERS)
@revalidated(lambda request: DATA["version"])
def page(request: HttpRequest) -> HttpResponse:
    DATA["made"] += 1
    answer = HttpResponse(f"a page, made {DATA['made']} times")
    answer.headers["X-Said"] = "by the view"
    answer.xframe_options_exempt = "embed" in request.GET
    return answer


@allow(READERS)
@revalidated(lambda request: "with a form")
def form(request: HttpRequest) -> HttpResponse:
    return HttpResponse(get_token(request))


@allow(READERS)
def say(request: HttpRequest) -> HttpResponse:
    messages.info(request, "to be said on the next page")
    return HttpResponse()


urlpatterns = [*ours, path("page/", page, name="page"), path("form/", form, name="form"), path("say/", say, name="say")]


@pytest.fixture
def visitor(client: Client, viewer: User, settings: Settings) -> Client:
    settings.ROOT_URLCONF = __name__
    DATA.update(version=1, made=0)
    etags.made_pages = MadePages()
    client.force_login(viewer)
    client.cookies[settings.CSRF_COOKIE_NAME] = "a" * 32
    return client


def etag(client: Client, query: str = "", **headers: str) -> str:
    found: str = client.get(f"/page/{query}", headers=headers).headers["ETag"]
    return found


def test_an_unchanged_page_is_not_sent_again(visitor: Client) -> None:
    first = visitor.get("/page/")
    again = visitor.get("/page/", headers={"if-none-match": first.headers["ETag"]})
    assert (first.status_code, again.status_code, again.content) == (200, 304, b"")
    for answer in (first, again):
        assert set(answer.headers["Cache-Control"].split(", ")) == {"private", "no-cache"}
        assert {"Cookie", "HX-Request", "HX-History-Restore-Request"} <= set(answer.headers["Vary"].split(", "))


def test_who_asks_anew_gets_what_was_made(visitor: Client, viewer: User) -> None:
    first, again = visitor.get("/page/"), visitor.get("/page/")
    assert first.content == again.content == b"a page, made 1 times"
    assert dict(first.items()) == dict(again.items())
    assert again.headers["X-Said"] == "by the view"
    assert visitor.get("/page/?sort=label").content == b"a page, made 2 times"
    framed = [visitor.get("/page/?embed") for _ in range(2)]
    assert [answer.headers.get("X-Frame-Options") for answer in framed] == [None, None]
    DATA["version"] = 2
    assert visitor.get("/page/").content == b"a page, made 4 times"
    visitor.force_login(User.objects.create_user("other"))
    assert visitor.get("/page/").content == b"a page, made 5 times"
    assert visitor.head("/page/").status_code == 200
    assert DATA["made"] == 6


def test_a_page_with_a_form_is_at_hand_for_who_has_its_cookie(visitor: Client) -> None:
    first, again = visitor.get("/form/"), visitor.get("/form/")
    assert first.content == again.content  # made anew, it would be masked anew


def test_a_page_that_brings_its_cookie_is_made_for_one(visitor: Client, settings: Settings) -> None:
    del visitor.cookies[settings.CSRF_COOKIE_NAME]
    first = visitor.get("/form/")
    assert settings.CSRF_COOKIE_NAME in first.cookies
    del visitor.cookies[settings.CSRF_COOKIE_NAME]
    again = visitor.get("/form/")
    assert settings.CSRF_COOKIE_NAME in again.cookies
    assert first.content != again.content


def test_what_was_made_takes_no_more_than_its_room() -> None:
    pages = MadePages(room=100)
    for name in "abc":
        pages.put(name, HttpResponse(name * 40))
    pages.put("large", HttpResponse("x" * 101))
    pages.put("c", HttpResponse("another"))
    assert pages.get("a") is None
    assert pages.get("large") is None
    assert [pages.get(name).content for name in "bc"] == [b"b" * 40, b"c" * 40]  # type: ignore[union-attr]
    pages.get("b")
    pages.put("d", HttpResponse("d" * 40))
    assert pages.get("c") is None
    assert pages.get("b") is not None


def test_what_changes_it(visitor: Client, viewer: User, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = [etag(visitor)]

    def note(**headers: str) -> None:
        seen.append(etag(visitor, **headers))

    DATA["version"] = 2
    note()
    set_role(viewer.pk, Role.RESEARCHER, by=viewer)
    note()
    visitor.cookies[settings.CSRF_COOKIE_NAME] = "b" * 32  # a kept page's forms would be refused
    note()
    seen.append(etag(visitor, "?sort=label"))
    note(**{"hx-request": "true"})
    back = {"hx-request": "true", "hx-history-restore-request": "true"}
    assert etag(visitor, **back) == etag(visitor), "going back, htmx wants the whole page"
    visitor.force_login(User.objects.create_user("other"))
    note()
    visitor.logout()
    settings.OPEN_READING = True
    note()
    monkeypatch.setattr(release, "fingerprint", lambda: "another release")
    note()
    assert len(set(seen)) == len(seen)
    assert etag(visitor) == seen[-1]


def test_a_page_with_something_to_say_is_not_kept(visitor: Client) -> None:
    kept = etag(visitor)
    visitor.get("/say/")
    answer = visitor.get("/page/", headers={"if-none-match": kept})
    assert (answer.status_code, answer.headers.get("ETag")) == (200, None)


def test_while_debugging_nothing_is_kept(visitor: Client, settings: Settings) -> None:
    settings.DEBUG = True
    assert "ETag" not in visitor.get("/page/").headers


def test_two_processes_of_one_release_agree() -> None:
    release.fingerprint.cache_clear()
    first = release.fingerprint()
    release.fingerprint.cache_clear()
    assert release.fingerprint() == first
    assert len(first) == 16
