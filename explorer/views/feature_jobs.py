"""What pages share that show what a job has found of a feature's examples."""

from collections.abc import Sequence
from typing import Any

from django.http import Http404, HttpRequest
from django.urls import reverse

from explorer import vocabulary
from explorer.access import may_change_job
from explorer.excerpts import excerpts
from explorer.gates import job_to_see
from explorer.models import Job
from explorer.queries.features import FeaturePage, Shown

AROUND = 5


def job_of_feature(kind: str, page: FeaturePage, job_id: int) -> Job:
    job = job_to_see(job_id)
    if job.kind != kind or (job.arguments["sae"], job.arguments["index"]) != (page.sae.slug, page.index):
        raise Http404(f"Job {job_id} was about something else.")
    return job


def asked_about(page: FeaturePage) -> dict[str, Any]:
    """A job's arguments."""
    assert page.collection is not None
    return {"sae": page.sae.slug, "collection": page.collection.pk, "index": page.index}


def context(
    request: HttpRequest, page: FeaturePage, job: Job, examples: Sequence[Shown], address: str
) -> dict[str, Any]:
    """With what it found of each example, and the text of that, as long as it is the same that is stored."""
    same = page.collection is not None and page.collection.pk == job.arguments["collection"]
    shown = {(each.context, each.position): each for each in examples} if same else {}
    words, peak = vocabulary.of(page.sae.lm), page.activity.maximum if page.activity else None

    def with_text(row: dict[str, Any]) -> dict[str, Any]:
        found = shown.get((row["context"], row["position"]))
        return row | {"excerpt": excerpts(words, [found], around=AROUND, peak=peak)[0] if found else None}

    return {
        "page": page,
        "sae": page.sae,
        "job": job,
        "address": reverse(address, args=[page.sae.slug, page.index, job.pk]),
        "rows": [with_text(row) for row in (job.result or {}).get("examples", [])],
        "may_change": may_change_job(request.user, job),
    }
