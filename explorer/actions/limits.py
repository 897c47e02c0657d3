"""Rates that nobody may exceed, counted in PostgreSQL so that all processes count together."""

from dataclasses import dataclass
from datetime import timedelta

from django.db import connection
from django.db.models.functions import Now

from explorer.models import Bucket

FORGET_AFTER = timedelta(days=1)  # by when every bucket is full, which is as good as none


@dataclass(frozen=True)
class Limit:
    """A bucket of tokens: so many at once, and so many that come back each second."""

    name: str
    capacity: float
    per_second: float

    def __post_init__(self) -> None:
        if self.capacity / self.per_second > FORGET_AFTER.total_seconds():
            raise ValueError(f"{self.name}: a bucket that fills so slowly would be forgotten before it is full")


class TooMany(Exception):
    """Somebody is over a limit and may come again after `wait` seconds."""

    def __init__(self, wait: float) -> None:
        self.wait = wait
        super().__init__(f"Too many requests; try again in {wait:.0f} s.")


# One statement, so that of two requests at once each sees what the other took. Where too little is
# left nothing is written: what had come back by then is counted again at the next look.
TAKE = """
WITH taken AS (
    INSERT INTO explorer_bucket AS bucket (key, level, at)
    SELECT %(key)s, %(capacity)s - %(cost)s, clock_timestamp() WHERE %(cost)s <= %(capacity)s
    ON CONFLICT (key) DO UPDATE SET
        level = LEAST(%(capacity)s, bucket.level + %(per_second)s * explorer_seconds_since(bucket.at)) - %(cost)s,
        at = clock_timestamp()
    WHERE LEAST(%(capacity)s, bucket.level + %(per_second)s * explorer_seconds_since(bucket.at)) >= %(cost)s
    RETURNING 1
)
SELECT
    EXISTS (SELECT FROM taken),
    (SELECT (%(cost)s - bucket.level) / %(per_second)s - explorer_seconds_since(bucket.at)
     FROM explorer_bucket AS bucket WHERE key = %(key)s)
"""


def wait_for(limit: Limit, who: object, cost: float = 1) -> float:
    """Takes `cost` from somebody's bucket and returns 0, or returns how many seconds too early it is."""
    values: dict[str, str | float] = {
        "key": f"{limit.name}:{who}"[:200],
        "cost": float(cost),
        "capacity": float(limit.capacity),
        "per_second": float(limit.per_second),
    }
    with connection.cursor() as cursor:
        cursor.execute(TAKE, values)
        taken, wait = cursor.fetchone()
    if taken:
        return 0.0
    # A bucket made by another at this very moment is not seen here yet.
    return max(float(wait if wait is not None else cost / limit.per_second), 0.001)


def take(limit: Limit, who: object, cost: float = 1) -> None:
    if wait := wait_for(limit, who, cost):
        raise TooMany(wait)


def forget_full() -> int:
    forgotten, _ = Bucket.objects.filter(at__lt=Now() - FORGET_AFTER).delete()
    return forgotten
