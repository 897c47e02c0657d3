"""Who a request comes from, read by two statements: as Django's own reading of models has it."""

from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.contrib.sessions.backends import db
from django.contrib.sessions.models import Session
from django.db.models.functions import Now
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from explorer.access import role_of
from explorer.actions.accounts import set_role
from explorer.backends import Backend
from explorer.models import Account
from explorer.models.access import Role
from explorer.sessions import SessionStore

pytestmark = pytest.mark.django_db


def key_of(client: Client, settings: Settings) -> str:
    return client.cookies[settings.SESSION_COOKIE_NAME].value


def test_a_session_is_as_django_reads_it(client: Client, viewer: User, settings: Settings) -> None:
    client.force_login(viewer)
    key = key_of(client, settings)
    assert SessionStore(key).load() == db.SessionStore(key).load() != {}


@pytest.mark.parametrize("fault", ["expired", "gone", "damaged", "none", "odd", "nul"])
def test_sessions_that_are_none(client: Client, viewer: User, settings: Settings, fault: str) -> None:
    client.force_login(viewer)
    key: str | None = key_of(client, settings)
    if fault == "expired":
        Session.objects.update(expire_date=Now() - timedelta(seconds=1))
    elif fault == "gone":
        Session.objects.all().delete()
    elif fault == "damaged":
        Session.objects.update(session_data="nonsense")
    elif fault == "none":
        key = None
    elif fault == "odd":
        key = "é'; DROP TABLE django_session; --"
    else:
        key = "\x00" * 32  # as '"\\000…"' in a cookie
    assert dict(SessionStore(key).items()) == {}
    client.cookies[settings.SESSION_COOKIE_NAME] = key or ""
    assert client.get("/jobs/").status_code == 302


@pytest.mark.parametrize("role", [None, *(role for role in Role if role != Role.VISITOR)])
def test_a_person_is_as_django_reads_them(admin: User, role: Role | None) -> None:
    user = User.objects.create_user("ann", "ann@example.org", "a password of ann", first_name="Ann")
    if role is not None:
        set_role(user.pk, role, by=admin)
    theirs, ours = ModelBackend().get_user(user.pk), Backend().get_user(user.pk)
    assert theirs is not None
    assert ours is not None
    assert {**ours.__dict__, "_state": None} == {**theirs.__dict__, "_state": None}
    assert role_of(ours) == role_of(theirs) == (role or Role.VIEWER)
    ours.first_name = "Anna"
    ours.save()
    assert get_user_model().objects.get(pk=user.pk).first_name == "Anna"


def test_nobody_and_who_may_not_come_in(viewer: User) -> None:
    assert Backend().get_user(viewer.pk + 1) is None
    User.objects.update(is_active=False)
    assert Backend().get_user(viewer.pk) is None


def test_the_role_costs_no_statement_of_its_own(
    viewer: User, admin: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for role in (None, Role.ANNOTATOR):
        if role:
            set_role(viewer.pk, role, by=admin)
        with django_assert_num_queries(1):
            user = Backend().get_user(viewer.pk)
            assert user is not None
            assert role_of(user) == (role or Role.VIEWER)
    assert Account.objects.count() == 1
