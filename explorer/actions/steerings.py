"""Steering, within what everybody is allowed."""

import secrets
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection, transaction

from explorer.access import Person, role_of
from explorer.actions import editions, jobs
from explorer.actions.limits import Limit, TooMany, take
from explorer.models import Sae, Steering
from explorer.queries import steerings as queries
from explorer.steering import Asked, check

KEY_BYTES = 9  # 12 characters
SOON, WHEN_FULL = 2.0, 10.0  # seconds after which to come again
FASTER_FOR_RESEARCHERS = 10


def start(asked: Asked, *, by: Person, who: str, watched: bool) -> Steering:
    """`who` is what limits count by. `watched`: it ends when nobody looks at it any more. Nothing is queued of what is
    wrong, or one too many."""
    role = role_of(by)
    check(asked, role, most_tokens=settings.STEER_TOKENS, most_texts=settings.STEER_RUNS)
    with transaction.atomic():
        with connection.cursor() as cursor:  # of two at once the second sees the first
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"steer {who}"])
        if not role.may_research and queries.under_way(who):
            raise TooMany(SOON)
        if queries.waiting() >= settings.STEER_QUEUE:
            raise TooMany(WHEN_FULL)
        rate = settings.STEER_RATE * (FASTER_FOR_RESEARCHERS if role.may_research else 1)
        take(Limit("steer", capacity=max(rate, asked.cost), per_second=rate / 60), who, asked.cost)
        person = by if isinstance(by, User) else None
        made = Steering(key=secrets.token_urlsafe(KEY_BYTES), asked=asked.to_json(), who=who[:200], created_by=person)
        made.job = jobs.start("steer", {"steering": made.key}, by=person, watched=watched)
        made.save()
    return made


def show(key: str, title: str, asked: dict[str, Any], result: dict[str, Any]) -> None:
    """What was written elsewhere, where the same lm and SAE are here by the same names; once."""
    about = {"title": title, "asked": asked, "result": result}
    if all(Sae.objects.filter(slug=each["sae"], fingerprint=each["fingerprint"]) for each in asked["changes"]):
        Steering.objects.get_or_create(key=key, defaults=about)


@transaction.atomic
def give_title(found: Steering, title: str) -> None:
    """ "" takes it away."""
    Steering.objects.filter(pk=found.pk).update(title=title)
    for slug in {each["sae"] for each in found.asked["changes"]}:
        for sae in Sae.objects.filter(slug=slug):
            editions.of(sae.pk)  # pages of its features name those that have one
