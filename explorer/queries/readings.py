"""Texts that were read (work/reading_text.py), whose results are kept with their jobs."""

import time
from functools import lru_cache

from explorer.models import Job, Sae
from explorer.models.jobs import JobState

KEPT = 8
LASTS = 60  # seconds that a process takes what it found to be the newest


class NotYet(Exception):
    """What is not there yet is asked for again."""


def snippet(saes: list[Sae]) -> Job | None:
    """What the library opens on: the newest piece of a corpus that was read with one of its SAEs."""
    try:
        found = _snippet(frozenset(sae.pk for sae in saes), int(time.monotonic() // LASTS))
        return Job.objects.filter(pk=found).first()
    except NotYet:
        return None


@lru_cache(KEPT)
def _snippet(saes: frozenset[int], when: int) -> int:
    """Looked for among all jobs, so now and then."""
    q = Job.objects.filter(kind="read_text", state=JobState.DONE, arguments__has_key="corpus")
    found = q.filter(arguments__sae__in=list(saes)).order_by("-pk").values_list("pk", flat=True).first()
    if found is None:
        raise NotYet
    return found
