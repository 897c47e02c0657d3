"""Faults inside a page: what a person sees of them."""

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connections
from django.test import Client
from django.urls import path
from pytest_django import Settings

from explorer.access import EVERYONE, allow
from explorer.checks import views_say_who_may_enter
from explorer.patience import drop_broken_connections
from explorer.urls import handler500 as handler500
from explorer.urls import urlpatterns as ours
from tests.processes import Postgres


@allow(EVERYONE)
def broken(request: object) -> None:
    raise ValueError("a secret of ours")


@allow(EVERYONE)
def cut_off(request: object) -> None:
    raise OperationalError("server closed the connection unexpectedly")


def silent(request: object) -> None:
    raise AssertionError("nobody may come here")


urlpatterns = [*ours, path("broken/", broken), path("cut-off/", cut_off), path("silent/", silent)]  # type: ignore[arg-type]


@pytest.fixture
def visitor(settings: Settings, viewer: User) -> Client:
    settings.ROOT_URLCONF = __name__
    client = Client(raise_request_exception=False)
    client.force_login(viewer)
    return client


@pytest.mark.django_db
def test_a_fault_of_ours_says_little_and_leads_back(visitor: Client) -> None:
    answer = visitor.get("/broken/")
    assert answer.status_code == 500
    page = answer.content.decode()
    assert "Something went wrong on our side" in page
    assert "Back to the library" in page
    assert "secret" not in page


@pytest.mark.django_db
def test_the_address_of_a_form_leads_back(visitor: Client) -> None:
    answer = visitor.get("/account/tokens/")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert "Back to the library" in answer.content.decode()
    assert visitor.post("/api/v1/me").headers["Content-Type"] == "application/problem+json"


@pytest.mark.django_db
def test_a_view_that_does_not_say_who_may_enter_lets_nobody_in(visitor: Client, admin: User) -> None:
    visitor.force_login(admin)
    assert visitor.get("/silent/").status_code == 403
    (found,) = views_say_who_may_enter()
    assert (found.id, found.msg) == ("explorer.E002", "silent/ does not say who may enter.")


@pytest.mark.django_db
def test_a_lost_connection_asks_to_try_again(visitor: Client) -> None:
    answer = visitor.get("/cut-off/")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert "The database is away" in answer.content.decode()


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_without_a_database_a_page_says_so_and_health_is_told(
    viewer: User, postgres: Postgres, settings: Settings
) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(viewer)
    connections.close_all()
    postgres.stop()
    try:
        probe = Client()  # nobody's cookie
        assert probe.get("/healthz").status_code == 200
        assert probe.get("/readyz").status_code == 503
        assert client.get("/jobs/").status_code == 503
    finally:
        postgres.start()
        drop_broken_connections()
    assert client.get("/jobs/").status_code == 200
