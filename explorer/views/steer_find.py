"""Features to steer with: found by words, an index or in a list, or those of which it is measured what they do."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from explorer import searching
from explorer.access import READERS, allow
from explorer.forms.steering import FindForm
from explorer.gates import list_to_see, sae_of_feature
from explorer.models import Sae, Strength
from explorer.queries import library, lists
from explorer.queries import search as search_queries
from explorer.queries import steerings as queries
from explorer.queries.search import Hit, Key
from explorer.searching import Asked, Kind
from explorer.steering import norm_of

PRESETS = 12
FOUND = 20


@dataclass(frozen=True, slots=True)
class Pick:
    hit: Hit
    strength: Strength | None


@allow(READERS)
@require_safe
def steer_find(request: HttpRequest) -> HttpResponse:
    form = FindForm(request.GET)
    if not form.is_valid():
        return HttpResponseBadRequest("Words, an index or a list.", content_type="text/plain")
    saes = library.saes()
    q, list_id = form.cleaned_data["q"].strip(), form.cleaned_data["list"]
    if list_id:
        entries = lists.entries(list_to_see(request.user, list_id), size=FOUND).entries
        ctx = {"picks": picks([(each.row.sae_id, each.row.index) for each in entries], saes)}
    else:
        ctx = {"q": q, "picks": picks(_named(q, saes), saes)} if q else presets(saes)
    return render(request, "steer/found.html", ctx)


@allow(READERS)
@require_safe
def steer_measures(request: HttpRequest, slug: str, index: int) -> JsonResponse:
    """By what a slider is marked, and what the feature is called."""
    sae = sae_of_feature(slug, index)
    (pick,) = picks([(sae.pk, index)], [sae])
    activity = pick.hit.activity
    return JsonResponse(
        {
            "label": pick.hit.label,
            "p99": activity.p99 if activity else 0,
            "maximum": activity.maximum if activity else 0,
            "norm": norm_of(sae, activity),
            "best": pick.strength.times if pick.strength else None,
        }
    )


def presets(saes: list[Sae]) -> dict[str, Any]:
    """Those of which it is measured what they do."""
    keys: list[Key] = [(each.sae_id, each.index) for each in queries.measured(PRESETS)]
    return {"presets": True, "picks": picks(keys, saes)}


def picks(keys: list[Key], saes: list[Sae]) -> list[Pick]:
    there = {each.pk for each in saes}
    keys = [(sae, index) for sae, index in keys if sae in there]
    strengths = queries.strengths({sae for sae, _ in keys}, {index for _, index in keys})
    return [Pick(hit, strengths.get((hit.sae.pk, hit.index))) for hit in search_queries.hits(saes, keys)]


def _named(q: str, saes: list[Sae]) -> list[Key]:
    asked = Asked(q, Kind.LABELS)
    if asked.index is not None:
        return [(sae.pk, asked.index) for sae in saes if asked.index < sae.n_latents]
    found = searching.search(asked, saes)
    return [(row.hit.sae.pk, row.hit.index) for group in found.groups for row in group.rows][:FOUND]
