from typing import Any

from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from explorer import vocabulary
from explorer.access import allow, may_change_job
from explorer.actions import jobs, limits
from explorer.actions.limits import Limit
from explorer.excerpts import excerpts
from explorer.forms.features import RecomputeForm
from explorer.gates import feature_to_see, job_to_see, signed_in
from explorer.models import Job
from explorer.models.access import Role
from explorer.queries.features import FeaturePage, Which

AROUND = 5
WHICH = {
    Which.TOP: "the strongest examples",
    Which.STRIP: "examples drawn uniformly from all its firings",
    Which.INTERVALS: "examples of each interval of its maximum",
}
DIGITS = 7  # about what a float32 holds
RECOMPUTING = Limit("recompute", capacity=20, per_second=0.2)


@allow(Role.ANNOTATOR)
@require_POST
def feature_recompute(request: HttpRequest, slug: str, index: int) -> HttpResponseRedirect:
    page, form = feature_to_see(slug, index), RecomputeForm(request.POST)
    if not form.is_valid():
        raise BadRequest(f"Which examples? {form.errors['examples'][0]}")
    if page.collection is None or page.examples is None or not page.examples.top:
        raise Http404(f"Feature {index} of {page.sae.name} has no examples.")
    limits.take(RECOMPUTING, request.user.pk)
    asked = {"sae": slug, "collection": page.collection.pk, "index": index, **form.cleaned_data}
    return redirect("feature_recomputed", slug, index, jobs.start("recompute", asked, by=signed_in(request)).pk)


@allow(Role.VIEWER)
@require_safe
def feature_recomputed(request: HttpRequest, slug: str, index: int, job_id: int) -> HttpResponse:
    page, job = feature_to_see(slug, index), job_to_see(job_id)
    if job.kind != "recompute" or (job.arguments["sae"], job.arguments["index"]) != (slug, index):
        raise Http404(f"Job {job_id} has computed nothing of this feature.")
    ctx = {
        "page": page,
        "sae": page.sae,
        "job": job,
        "rows": _rows(page, job),
        "which": WHICH[_which(job)],
        "around": str(AROUND),
        "may_change": may_change_job(request.user, job),
    }
    return render(request, "features/recomputed.html", ctx)


def _which(job: Job) -> Which:
    """Those of older releases say nothing, and took the strongest."""
    return Which(job.arguments.get("examples", Which.TOP))


def _rows(page: FeaturePage, job: Job) -> list[dict[str, Any]]:
    """What came out, with the text, as long as it is the same that is stored."""
    same = page.collection is not None and page.collection.pk == job.arguments["collection"]
    stored = page.examples.of(_which(job)) if page.examples and same else []
    shown = {(each.context, each.position): each for examples in stored for each in examples}
    words, peak = vocabulary.of(page.sae.lm), page.activity.maximum if page.activity else None

    def told(row: dict[str, Any]) -> dict[str, Any]:
        found = shown.get((row["context"], row["position"]))
        excerpt = excerpts(words, [found], around=AROUND, peak=peak)[0] if found else None
        return row | {"excerpt": excerpt} | {name: f"{row[name]:.{DIGITS}g}" for name in ("stored", "fresh")}

    return [told(row) for row in (job.result or {}).get("examples", [])]
