from typing import Any

from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from explorer.access import allow
from explorer.actions import jobs, limits
from explorer.actions.limits import Limit
from explorer.forms.features import RecomputeForm
from explorer.gates import feature_to_see, signed_in
from explorer.models import Job
from explorer.models.access import Role
from explorer.queries.features import Which
from explorer.views.feature_jobs import asked_about, context, job_of_feature

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
    job = jobs.start("recompute", asked_about(page) | form.cleaned_data, by=signed_in(request))
    return redirect("feature_recomputed", slug, index, job.pk)


@allow(Role.VIEWER)
@require_safe
def feature_recomputed(request: HttpRequest, slug: str, index: int, job_id: int) -> HttpResponse:
    page = feature_to_see(slug, index)
    job = job_of_feature("recompute", page, job_id)
    examples = [each for examples in page.examples.of(_which(job)) for each in examples] if page.examples else []
    ctx = context(request, page, job, examples, "feature_recomputed")
    ctx |= {"did": "Computed again", "rows": [_told(row) for row in ctx["rows"]], "which": WHICH[_which(job)]}
    return render(request, "features/recomputed.html", ctx)


def _told(row: dict[str, Any]) -> dict[str, Any]:
    return row | {name: f"{row[name]:.{DIGITS}g}" for name in ("stored", "fresh")}


def _which(job: Job) -> Which:
    """Those of older releases say nothing, and took the strongest."""
    return Which(job.arguments.get("examples", Which.TOP))
