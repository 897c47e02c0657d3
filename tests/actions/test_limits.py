from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now

from explorer.actions import limits
from explorer.actions.limits import Limit, TooMany
from explorer.models import Bucket

HOURLY = Limit("test", capacity=3, per_second=3 / 3600)


def later(seconds: float) -> None:
    """As if that much time had passed since the bucket was last looked at."""
    Bucket.objects.update(at=Now() - timedelta(seconds=seconds))


@pytest.mark.django_db
def test_so_many_at_once_and_then_no_more() -> None:
    assert [limits.wait_for(HOURLY, "ann") for _ in range(3)] == [0, 0, 0]
    assert limits.wait_for(HOURLY, "ann") == pytest.approx(1200, abs=2)
    assert limits.wait_for(HOURLY, "ben") == 0


@pytest.mark.django_db
def test_what_comes_back_with_time() -> None:
    limits.take(HOURLY, "ann", cost=3)
    later(1199)
    assert limits.wait_for(HOURLY, "ann") == pytest.approx(1, abs=0.5)
    later(1200)
    assert limits.wait_for(HOURLY, "ann") == 0
    assert limits.wait_for(HOURLY, "ann") > 1190
    later(3600 * 24)
    assert [limits.wait_for(HOURLY, "ann") == 0 for _ in range(4)] == [True, True, True, False], "never above capacity"


@pytest.mark.django_db
def test_a_refusal_costs_nothing() -> None:
    limits.take(HOURLY, "ann", cost=2)
    before = Bucket.objects.values().get()
    with pytest.raises(TooMany):
        limits.take(HOURLY, "ann", cost=2)
    assert Bucket.objects.values().get() == before
    limits.take(HOURLY, "ann", cost=1)


@pytest.mark.django_db
def test_more_than_a_bucket_holds_is_never_given() -> None:
    for _ in range(2):
        with pytest.raises(TooMany):
            limits.take(HOURLY, "ann", cost=3.5)
    assert not Bucket.objects.exists()


@pytest.mark.django_db
def test_a_clock_that_was_set_back_takes_nothing_away() -> None:
    limits.take(HOURLY, "ann", cost=1)
    later(-1_000_000)
    assert [limits.wait_for(HOURLY, "ann") == 0 for _ in range(3)] == [True, True, False]


@pytest.mark.django_db
def test_time_goes_on_within_a_transaction() -> None:
    fast = Limit("fast", capacity=1, per_second=1000)
    with transaction.atomic():
        limits.take(fast, "ann")
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(0.01)")
        limits.take(fast, "ann")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("known", [False, True], ids=["a new bucket", "a known one"])
def test_of_many_at_once_just_so_many_get_through(known: bool) -> None:
    limit = Limit("race", capacity=10, per_second=10 / 3600)
    if known:
        limits.take(limit, "ann", cost=1)
        later(3600)

    def take(_: int) -> bool:
        try:
            return limits.wait_for(limit, "ann") == 0
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(take, range(40))) == 10


@pytest.mark.django_db
def test_full_buckets_are_forgotten() -> None:
    limits.take(HOURLY, "ann")
    assert limits.forget_full() == 0
    later(86_401)
    assert limits.forget_full() == 1


def test_a_bucket_that_would_be_forgotten_too_soon() -> None:
    with pytest.raises(ValueError, match="would be forgotten before it is full"):
        Limit("slow", capacity=2, per_second=1 / 86_400)
