"""Steerings, and what of features their strength is measured by."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db import connection
from django.db.models import QuerySet

from explorer.models import Activity, Job, Sae, Steering, Strength
from explorer.models.jobs import UNFINISHED, JobState
from explorer.queries import library
from explorer.steering import Change, Method, Unit, Where, Wrong, change


def steering(key: str) -> Steering | None:
    return Steering.objects.select_related("job", "created_by").filter(key=key).first()


def activity(sae: Sae, index: int) -> Activity | None:
    """`sae` as queries.library gives it."""
    collection = library.newest(sae)
    return Activity.objects.filter(collection=collection, index=index).first() if collection else None


def strengths(sae_ids: Iterable[int], indices: Iterable[int]) -> dict[tuple[int, int], Strength]:
    """Those that were measured, by the SAE's id and index."""
    q = Strength.objects.filter(sae__in=list(sae_ids), index__in=list(indices))
    return {(each.sae_id, each.index): each for each in q}


def measured(size: int) -> list[Strength]:
    """Those whose tokens become likeliest."""
    return list(Strength.objects.order_by("-likelier", "pk")[:size])


@dataclass(frozen=True, slots=True)
class Saved:
    key: str
    title: str


@dataclass(frozen=True, slots=True)
class OfFeature:
    """What a feature's page says of steering with it."""

    strength: Strength | None
    saved: list[Saved]


OF_FEATURE = """
SELECT s.times, s.likelier, s.perplexity, s.tried, (
    SELECT jsonb_agg(jsonb_build_array(key, title) ORDER BY id DESC) FROM explorer_steering
    WHERE title <> '' AND asked->'changes' @> %(named)s::jsonb
)
FROM (SELECT) one LEFT JOIN explorer_strength s ON s.sae_id = %(sae)s AND s.index = %(index)s
"""


def of_feature(sae: Sae, index: int) -> OfFeature:
    """In one query, as the page has few."""
    with connection.cursor() as cursor:
        named = json.dumps([{"sae": sae.slug, "index": index}])
        cursor.execute(OF_FEATURE, {"sae": sae.pk, "index": index, "named": named})
        times, likelier, perplexity, tried, saved = cursor.fetchone()
    tried, saved = (json.loads(each) if isinstance(each, str) else each for each in (tried, saved))
    about = {"times": times, "likelier": likelier, "perplexity": perplexity, "tried": tried}
    strength = Strength(sae=sae, index=index, **about) if times is not None else None
    return OfFeature(strength, [Saved(*each) for each in saved or ()])


def shown() -> QuerySet[Steering]:
    """Those that have a title, the newest first."""
    return Steering.objects.exclude(title="").defer("result").order_by("-pk")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A change as somebody asks for it."""

    sae: Sae  # as queries.library gives it
    index: int
    method: Method
    strength: float
    unit: Unit
    where: Where


def changes(wanted: Sequence[Wanted]) -> tuple[Change, ...]:
    """In activations of the features. All are of one language model."""
    for at, each in enumerate(wanted):
        if each.sae.lm_id != wanted[0].sae.lm_id:
            first, other = wanted[0].sae, each.sae
            names = f"{other.lm.name}, and {first.name} to {first.lm.name}"
            raise Wrong(
                ("changes", at, "sae"), f"{other.name} belongs to {names}. Take features of one language model."
            )
    return tuple(
        change(
            at, each.sae, each.index, each.method, each.strength, each.unit, each.where, activity(each.sae, each.index)
        )
        for at, each in enumerate(wanted)
    )


def only_steerings(job_ids: Sequence[int]) -> bool:
    """Whose addresses are shared, so whoever may read may follow them."""
    return Steering.objects.filter(job__in=job_ids).count() == len(set(job_ids))


def under_way(who: str) -> int:
    return Steering.objects.filter(who=who, job__state__in=UNFINISHED).count()


def before(job: Job) -> int:
    """How many wait for a worker that came earlier than this one, which does itself."""
    return Job.objects.filter(queue=job.queue, state=JobState.QUEUED, pk__lt=job.pk).count()


def waiting() -> int:
    return Job.objects.filter(kind="steer", state=JobState.QUEUED).count()
