from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from explorer import sae_charts, sae_figures
from explorer.access import READERS, allow, may_change_sae
from explorer.actions import removing
from explorer.etags import revalidated
from explorer.gates import address_of, sae_to_change, sae_to_see, signed_in
from explorer.models.access import Role
from explorer.queries import distributions, maps, versions
from explorer.queries import library as library_queries


def _version(request: HttpRequest, slug: str, **_: Any) -> object:
    return versions.of_sae(slug)


@allow(READERS)
@require_safe
def sae(request: HttpRequest, slug: str) -> HttpResponse:
    sae = sae_to_see(slug)
    collection = library_queries.newest(sae)
    ctx = {
        "sae": sae,
        "collection": collection,
        "quality": sae_figures.of_quality(sae),
        "measured_on": sae_figures.measured_on(sae),
        "firing": sae_figures.of_firing(sae, collection, distributions.kinds(collection) if collection else None),
        "has_encoder": not sae.hookpoint_out,  # a transcoder's encoder and decoder lie in different spaces
        "small_map": maps.newest(sae),
        "may_change": may_change_sae(request.user, sae),
    }
    return render(request, "saes/sae.html", ctx)


@allow(READERS)
@require_safe
@revalidated(_version)
def sae_chart(request: HttpRequest, slug: str, chart: str) -> JsonResponse:
    sae = sae_to_see(slug)
    collection = library_queries.newest(sae)
    figure = sae_charts.of_sae(sae, collection, chart) if collection else None
    if figure is None:
        raise Http404(f"There is no chart {chart}.")
    return JsonResponse(figure)


@allow(Role.RESEARCHER)
@require_POST
def sae_remove(request: HttpRequest, slug: str) -> HttpResponseRedirect:
    sae = sae_to_change(request.user, slug)
    try:
        removing.remove_sae(sae, by=signed_in(request), address=address_of(request))
    except removing.InUse as why:
        messages.error(request, str(why))
        return redirect("sae", slug)
    messages.success(request, f"{sae.name} is removed.")
    return redirect("library")
