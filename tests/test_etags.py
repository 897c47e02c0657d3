"""Pages that a browser keeps: when it is told that nothing has changed."""

import pytest
from django.contrib import messages
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path
from pytest_django import Settings

from explorer import release
from explorer.access import READERS, allow
from explorer.actions.accounts import set_role
from explorer.etags import revalidated
from explorer.models.access import Role
from explorer.urls import urlpatterns as ours

pytestmark = pytest.mark.django_db

DATA = {"version": 1}


@allow(READERS)
@revalidated(lambda request: DATA["version"])
def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse("a page")


@allow(READERS)
def say(request: HttpRequest) -> HttpResponse:
    messages.info(request, "to be said on the next page")
    return HttpResponse()


urlpatterns = [*ours, path("page/", page, name="page"), path("say/", say, name="say")]


@pytest.fixture
def visitor(client: Client, viewer: User, settings: Settings) -> Client:
    settings.ROOT_URLCONF = __name__
    DATA["version"] = 1
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
