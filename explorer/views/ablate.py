"""What a feature does for the language model: asked for on its page, and what came out."""

from collections.abc import Callable
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST, require_safe

from explorer import vocabulary
from explorer.access import allow
from explorer.actions import jobs, limits
from explorer.actions.limits import Limit
from explorer.gates import feature_to_see, signed_in
from explorer.models.access import Role
from explorer.numbers import percent, significant
from explorer.tokens import Vocabulary, alone
from explorer.views.feature_jobs import asked_about, context, job_of_feature

NAMED = 3  # tokens of each kind
ABLATING = Limit("ablate", capacity=20, per_second=0.2)


@allow(Role.VIEWER)
@require_POST
def feature_ablate(request: HttpRequest, slug: str, index: int) -> HttpResponseRedirect:
    page = feature_to_see(slug, index)
    if page.collection is None or page.examples is None or not page.examples.strip:
        raise Http404(f"Feature {index} of {page.sae.name} has no examples.")
    limits.take(ABLATING, request.user.pk)
    job = jobs.start("ablate", asked_about(page), by=signed_in(request))
    return redirect("feature_ablated", slug, index, job.pk)


@allow(Role.VIEWER)
@require_safe
def feature_ablated(request: HttpRequest, slug: str, index: int, job_id: int) -> HttpResponse:
    page = feature_to_see(slug, index)
    job = job_of_feature("ablate", page, job_id)
    ctx = context(request, page, job, page.examples.strip if page.examples else [], "feature_ablated")
    words = vocabulary.of(page.sae.lm)
    ctx |= {
        "did": "Ablated",
        "rows": [_told(words, row) for row in ctx["rows"]],
        "effect": (job.result or {}).get("effect"),
    }
    return render(request, "features/ablated.html", ctx)


def _told(words: Vocabulary, row: dict[str, Any]) -> dict[str, Any]:
    by_p = {name: _named(words, row[name], percent) for name in ("likelier", "unlikelier")}
    return row | by_p | {name: _named(words, row[name], significant) for name in ("raised", "lowered")}


def _named(
    words: Vocabulary, votes: list[list[float]], written: Callable[[float], str]
) -> list[tuple[SafeString, str]]:
    return [(alone(words, int(token)), written(change)) for token, change in votes[:NAMED]]
