"""Maps, made and removed by people."""

from collections.abc import Sequence
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from explorer.actions import collections, jobs
from explorer.actions.audit import Action, note
from explorer.models import FeatureMap, Job, Sae
from explorer.models.jobs import UNFINISHED


def make(saes: Sequence[Sae], asked: dict[str, Any], *, by: User | None) -> Job:
    """The job that makes it, the smallest SAE first; one that does so already is found."""
    ordered = sorted(saes, key=lambda each: (each.n_latents, each.pk))
    arguments = {"saes": [each.pk for each in ordered], **asked}
    under_way = Job.objects.filter(kind="map", arguments=arguments, state__in=UNFINISHED).first()
    if under_way:
        return under_way
    with transaction.atomic():
        return jobs.start("map", arguments, by=by)


def remove(found: FeatureMap, *, by: User, address: str) -> None:
    saes = [part.sae.slug for part in found.parts.all()]
    with transaction.atomic():
        note(Action.MAP_REMOVED, found, by=by, address=address, details={"saes": saes, "asked": found.asked})
        collections.remove_map(found.pk)
