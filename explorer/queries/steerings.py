"""Steerings, and what of features their strength is measured by."""

from collections.abc import Sequence
from dataclasses import dataclass

from explorer.models import Activity, Job, Sae, Steering
from explorer.models.jobs import UNFINISHED, JobState
from explorer.queries import library
from explorer.steering import Change, Method, Unit, Where, Wrong, change


def steering(key: str) -> Steering | None:
    return Steering.objects.select_related("job", "created_by").filter(key=key).first()


def activity(sae: Sae, index: int) -> Activity | None:
    """`sae` as queries.library gives it."""
    collection = library.newest(sae)
    return Activity.objects.filter(collection=collection, index=index).first() if collection else None


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


def waiting() -> int:
    return Job.objects.filter(kind="steer", state=JobState.QUEUED).count()
