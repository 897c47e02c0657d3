from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from explorer.actions import api_tokens
from explorer.models import ApiToken, AuditEntry
from explorer.models.access import Scope
from tests.processes import until

DAY = timedelta(days=1)


@pytest.mark.django_db
def test_a_token_is_its_owners(viewer: User) -> None:
    row, secret = api_tokens.make(viewer, "notebook", [Scope.READ], DAY)
    found = api_tokens.verify(secret)
    assert found == row
    assert (found.user, found.scopes) == (viewer, ["read"])


@pytest.mark.django_db
def test_the_secret_is_kept_nowhere(viewer: User) -> None:
    row, secret = api_tokens.make(viewer, "notebook", [Scope.READ], DAY)
    _, prefix, hidden = secret.split("_", 2)
    assert prefix == row.prefix
    assert hidden not in str([*ApiToken.objects.values(), *AuditEntry.objects.values()])


@pytest.mark.django_db
def test_a_digest_needs_the_secret_key(viewer: User, settings: Settings) -> None:
    """Whoever reads the table can make no token of it."""
    _, secret = api_tokens.make(viewer, "notebook", [Scope.READ], DAY)
    settings.SECRET_KEY = "another"
    assert api_tokens.verify(secret) is None


@pytest.mark.django_db
@pytest.mark.parametrize("fault", ["expired", "revoked", "closed", "another's secret", "another's prefix"])
def test_tokens_that_do_not_work(viewer: User, fault: str) -> None:
    row, secret = api_tokens.make(viewer, "notebook", [Scope.READ], DAY)
    _, other = api_tokens.make(viewer, "other", [Scope.READ], DAY)
    if fault == "expired":
        ApiToken.objects.update(expires_at=Now() - timedelta(seconds=1))
    elif fault == "revoked":
        api_tokens.revoke(row, by=viewer)
    elif fault == "closed":
        User.objects.update(is_active=False)
    elif fault == "another's secret":
        secret = secret[:17] + other[17:]
    else:
        secret = other[:17] + secret[17:]
    assert api_tokens.verify(secret) is None


@pytest.mark.django_db
@pytest.mark.parametrize("text", ["", "sae_", "sae_" + "0" * 12, "x" * 10_000, "sae_000000000000_" + "é" * 43, "\x00"])
def test_what_is_no_token_asks_nothing(text: str) -> None:
    with CaptureQueriesContext(connection) as asked:
        assert api_tokens.verify(text) is None
    assert len(asked) == 0


@pytest.mark.django_db
def test_its_use_is_noted_once_a_minute(viewer: User) -> None:
    _, secret = api_tokens.make(viewer, "notebook", [Scope.READ], DAY)
    noted = []
    for pause in (0, 10, 61):
        ApiToken.objects.filter(last_used_at__isnull=False).update(last_used_at=Now() - timedelta(seconds=pause))
        before = ApiToken.objects.get().last_used_at
        api_tokens.verify(secret)
        noted.append(ApiToken.objects.get().last_used_at != before)
    assert noted == [True, False, True]


@pytest.mark.django_db
def test_making_and_revoking_are_in_the_log(viewer: User, admin: User) -> None:
    row, _ = api_tokens.make(viewer, "notebook", [Scope.READ, Scope.WRITE], DAY, address="192.0.2.1")
    api_tokens.revoke(row, by=admin)
    api_tokens.revoke(row, by=admin)  # it was already
    made, revoked = AuditEntry.objects.order_by("pk")
    assert (made.action, made.actor, made.address) == ("token made", "viewer", "192.0.2.1")
    assert made.details["scopes"] == ["read", "write"]
    assert (revoked.action, revoked.actor, revoked.details) == ("token revoked", "admin", {"of": "viewer"})


@pytest.mark.django_db(transaction=True)
def test_no_more_than_so_many_even_at_once(viewer: User) -> None:
    for number in range(api_tokens.MOST - 1):
        api_tokens.make(viewer, str(number), [Scope.READ], DAY)

    def make_another() -> str:
        try:
            api_tokens.make(viewer, "one too many", [Scope.READ], DAY)
        except api_tokens.TooManyTokens as why:
            return str(why)
        finally:
            connection.close()
        return "made"

    with ThreadPoolExecutor(1) as thread:
        with transaction.atomic():
            api_tokens.make(viewer, "the last", [Scope.READ], DAY)
            other = thread.submit(make_another)
            until(lambda: other.done() or _somebody_waits_for_a_lock())
        assert other.result().startswith("At most 50 tokens can be in use")


def _somebody_waits_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
        return bool(cursor.fetchone()[0])
