"""What a feature does for the language model: asked for on its page, and what came out."""

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST, require_safe

from explorer import vocabulary
from explorer.access import allow, may_change_job
from explorer.actions import jobs, limits
from explorer.actions.limits import Limit
from explorer.excerpts import excerpts
from explorer.gates import feature_to_see, job_to_see, signed_in
from explorer.models import Job
from explorer.models.access import Role
from explorer.numbers import percent, significant
from explorer.queries.features import FeaturePage
from explorer.tokens import Vocabulary, alone

AROUND = 5
NAMED = 3  # tokens of each kind
ABLATING = Limit("ablate", capacity=20, per_second=0.2)


@allow(Role.VIEWER)
@require_POST
def feature_ablate(request: HttpRequest, slug: str, index: int) -> HttpResponseRedirect:
    page = feature_to_see(slug, index)
    if page.collection is None or page.examples is None or not page.examples.strip:
        raise Http404(f"Feature {index} of {page.sae.name} has no examples.")
    limits.take(ABLATING, request.user.pk)
    asked = {"sae": slug, "collection": page.collection.pk, "index": index}
    return redirect("feature_ablated", slug, index, jobs.start("ablate", asked, by=signed_in(request)).pk)


@allow(Role.VIEWER)
@require_safe
def feature_ablated(request: HttpRequest, slug: str, index: int, job_id: int) -> HttpResponse:
    page, job = feature_to_see(slug, index), job_to_see(job_id)
    if job.kind != "ablate" or (job.arguments["sae"], job.arguments["index"]) != (slug, index):
        raise Http404(f"Job {job_id} has ablated something else.")
    ctx = {
        "page": page,
        "sae": page.sae,
        "job": job,
        "rows": _rows(page, job),
        "effect": (job.result or {}).get("effect"),
        "may_change": may_change_job(request.user, job),
    }
    return render(request, "features/ablated.html", ctx)


def _rows(page: FeaturePage, job: Job) -> list[dict[str, Any]]:
    """What came out, with the text, as long as it is the same that is stored."""
    same = page.collection is not None and page.collection.pk == job.arguments["collection"]
    shown = {(each.context, each.position): each for each in page.examples.strip} if page.examples and same else {}
    words, peak = vocabulary.of(page.sae.lm), page.activity.maximum if page.activity else None

    def told(row: dict[str, Any]) -> dict[str, Any]:
        found = shown.get((row["context"], row["position"]))
        excerpt = excerpts(words, [found], around=AROUND, peak=peak)[0] if found else None
        by_p = {name: _named(words, row[name], percent) for name in ("likelier", "unlikelier")}
        by_logit = {name: _named(words, row[name], significant) for name in ("raised", "lowered")}
        return row | {"excerpt": excerpt} | by_p | by_logit

    return [told(row) for row in (job.result or {}).get("examples", [])]


def _named(words: Vocabulary, votes: list[list[float]], written: Any) -> list[tuple[SafeString, str]]:
    return [(alone(words, int(token)), written(change)) for token, change in votes[:NAMED]]
