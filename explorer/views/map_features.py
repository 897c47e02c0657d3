"""What a map's page asks for while somebody moves about on it."""

from array import array
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBadRequest, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from explorer import cluster_names, map_cards, map_search
from explorer.access import READERS, allow
from explorer.etags import revalidated
from explorer.forms.maps import FindForm
from explorer.gates import map_to_see
from explorer.map_points import labelled, number_of, parts, point, scored
from explorer.mapped import opened
from explorer.models import FeatureMap
from explorer.queries import maps


def _version(request: HttpRequest, map_id: int, **_: Any) -> object:
    return maps.version(map_id) or None


@allow(READERS)
@require_safe
@revalidated(_version)
def map_card(request: HttpRequest, map_id: int, part: int, index: int) -> HttpResponse:
    found = map_to_see(map_id)
    ctx = {"map": found, "card": map_cards.card(found, _number(found, part, index))}
    return render(request, "maps/card.html", ctx)


@allow(READERS)
@require_safe
@revalidated(_version)
def map_panel(request: HttpRequest, map_id: int, part: int, index: int) -> HttpResponse:
    found = map_to_see(map_id)
    ctx = {"map": found, "panel": map_cards.panel(found, _number(found, part, index)), "joint": len(parts(found)) > 1}
    return render(request, "maps/panel.html", ctx)


@allow(READERS)
@require_safe
@revalidated(_version)
def map_marks(request: HttpRequest, map_id: int) -> HttpResponse:
    """The features that have a label: pairs of a part's number and an index, uint32, little-endian."""
    found = map_to_see(map_id)
    file, numbers = opened(found.points_id), labelled(found)
    pairs = array("I")
    for part, index in zip(file["part"][numbers].tolist(), file["index"][numbers].tolist(), strict=True):
        pairs.extend((part, index))
    return HttpResponse(pairs.tobytes(), content_type="application/octet-stream")


@allow(READERS)
@require_safe
@revalidated(_version)
def map_scores(request: HttpRequest, map_id: int) -> HttpResponse:
    """The features that have scores: a part's number, an index and a band each, uint32, little-endian."""
    found = map_to_see(map_id)
    file, (numbers, bands) = opened(found.points_id), scored(found)
    triples = array("I")
    columns = (file["part"][numbers].tolist(), file["index"][numbers].tolist(), bands.tolist())
    for triple in zip(*columns, strict=True):
        triples.extend(triple)
    return HttpResponse(triples.tobytes(), content_type="application/octet-stream")


@allow(READERS)
@require_safe
@revalidated(_version)
def map_clusters(request: HttpRequest, map_id: int) -> JsonResponse:
    """By grain: where each is, how many it has, what it is called."""
    grains = cluster_names.clusters(map_to_see(map_id))
    return JsonResponse({"grains": [[[each.x, each.y, each.n, each.name] for each in grain] for grain in grains]})


@allow(READERS)
@require_safe
@revalidated(_version)
def map_search_found(request: HttpRequest, map_id: int) -> HttpResponse:
    form = FindForm(request.GET)
    if not form.is_valid():
        return HttpResponseBadRequest(f"q: {form.errors['q'][0]}", content_type="text/plain")
    found, q = map_to_see(map_id), form.cleaned_data["q"]
    ctx = {"map": found, "found": map_search.search(found, q), "q": q, "joint": len(parts(found)) > 1}
    return render(request, "maps/found.html", ctx)


@allow(READERS)
@require_safe
def map_place(request: HttpRequest, map_id: int, part: int, index: int) -> HttpResponse:
    """Where a feature lies, for another map that is shown beside."""
    found = map_to_see(map_id)
    where = point(opened(found.points_id), _number(found, part, index))
    return HttpResponse(f"{where.x!r},{where.y!r}", content_type="text/plain")


def _number(found: FeatureMap, part: int, index: int) -> int:
    number = number_of(found, part, index) if part < len(parts(found)) else None
    if number is None:
        raise Http404(f"Feature {index} of part {part} is not on this map.")
    return number
