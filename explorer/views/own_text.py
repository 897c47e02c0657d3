"""A text of somebody's own on a feature's page: where does it fire on that?"""

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_POST, require_safe

from explorer import vocabulary
from explorer.access import READERS, allow
from explorer.actions import readings as reading_actions
from explorer.forms.search import OwnTextForm
from explorer.gates import feature_to_see, reading_to_see, who_asks
from explorer.models import Job
from explorer.models.jobs import JobState
from explorer.parts import HEADERS, wants_part
from explorer.queries.features import FeaturePage
from explorer.readings import activations_of
from explorer.tokens import render as render_tokens
from explorer.views.search import waiting


@allow(READERS)
@require_POST
def feature_text(request: HttpRequest, slug: str, index: int) -> HttpResponse:
    page, form = feature_to_see(slug, index), OwnTextForm(request.POST)
    if not form.is_valid():
        return _shown(request, page, form, None, status=422)
    by, who = who_asks(request)
    job = reading_actions.read(page.sae, form.cleaned_data["text"], by=by, who=who, feature=index)
    return (
        _shown(request, page, form, job) if wants_part(request) else redirect("feature_text_read", slug, index, job.pk)
    )


@allow(READERS)
@require_safe
def feature_text_read(request: HttpRequest, slug: str, index: int, reading_id: int) -> HttpResponse:
    """While it is being read, a page that looks again; htmx is told when there is news."""
    job = reading_to_see(reading_id)
    page = feature_to_see(slug, index)
    if (job.arguments.get("sae"), job.arguments.get("feature")) != (page.sae.pk, index):
        raise Http404(f"Text {reading_id} was read for something else.")
    if wants_part(request) and waiting(job)["patient"]:
        return HttpResponse(status=204)
    return _shown(request, page, OwnTextForm(initial={"text": job.arguments["text"]}), job)


def _shown(
    request: HttpRequest, page: FeaturePage, form: OwnTextForm, job: Job | None, status: int = 200
) -> HttpResponse:
    ctx: dict[str, Any] = {"page": page, "sae": page.sae, "own_form": form, "job": job}
    if job:
        ctx |= waiting(job) | {"own": _fires(page, job)}
    response = render(request, f"features/own_{'read' if wants_part(request) else 'text'}.html", ctx, status=status)
    patch_vary_headers(response, HEADERS)
    return response


def _fires(page: FeaturePage, job: Job) -> dict[str, Any] | None:
    """The text's own tokens, as bright as among the examples: next to the strongest of all."""
    result: dict[str, Any] | None = job.result if job.state == JobState.DONE else None
    if result is None:
        return None
    first = result["first"]
    ids, activations = result["ids"][first:], activations_of(result, page.index)[first:]
    firing = [act for act in activations if act]
    label = f"Tokens and how strongly feature {page.index} fires"
    peak = page.activity.maximum if page.activity else None
    text = render_tokens(vocabulary.of(page.sae.lm), ids, activations, peak=peak, first=first, label=label)
    return {"text": text, "n_tokens": len(ids), "n_firing": len(firing), "most": max(firing, default=0.0)}
