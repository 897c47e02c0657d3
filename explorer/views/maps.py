import json
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from explorer import cluster_names
from explorer.access import READERS, allow, may_change_map, role_of
from explorer.actions import maps as map_actions
from explorer.cluster_names import Cluster
from explorer.etags import revalidated
from explorer.forms.maps import COLOURS, MakeMapForm, MapForm, WhichMapForm
from explorer.gates import address_of, map_to_change, map_to_see, sae_to_see, signed_in
from explorer.map_legends import colourings, legends, silent
from explorer.map_points import parts
from explorer.models import FeatureMap, Sae
from explorer.models.access import Role
from explorer.queries import library, maps, versions

LARGEST = 24  # clusters, listed below a map


def _version(request: HttpRequest, slug: str) -> object:
    """Of all SAEs that the map shows, as their features' labels name its clusters."""
    of_sae = versions.of_sae(slug)
    return of_sae and (of_sae, maps.versions_beside(of_sae[0]))


@allow(READERS)
@require_safe
@revalidated(_version)
def sae_map(request: HttpRequest, slug: str) -> HttpResponse:
    sae = sae_to_see(slug)
    which = WhichMapForm(request.GET)
    found = _asked(sae, which)
    if found is None:
        return render(request, "maps/none.html", {"sae": sae, "which": which, "may_make": _may_make(request)})
    form = MapForm(request.GET, found)
    beside = form.beside_map(list(maps.maps_of(sae)))
    ctx = {
        "sae": sae,
        "which": which,
        "form": form,
        "shown": [_context(each) for each in (found, beside) if each],
        "map": found,
    }
    return render(request, "maps/map.html", ctx)


@allow(READERS)
@require_safe
def map_permalink(request: HttpRequest, map_id: int) -> HttpResponseRedirect:
    found = map_to_see(map_id)
    return redirect(reverse("sae_map", args=[parts(found)[0].sae.slug], query={"map": map_id}))


@allow(READERS)
@require_safe
def sae_maps(request: HttpRequest, slug: str) -> HttpResponse:
    sae = sae_to_see(slug)
    return _maps(request, sae, MakeMapForm(None, library.at_hookpoint_of(sae)))


@allow(Role.RESEARCHER)
@require_POST
def map_make(request: HttpRequest, slug: str) -> HttpResponse:
    sae = sae_to_see(slug)
    form = MakeMapForm(request.POST, library.at_hookpoint_of(sae))
    if not form.is_valid():
        return _maps(request, sae, form, status=422)
    job = map_actions.make(form.saes(sae), form.asked, by=signed_in(request))
    return redirect("job", job.pk)


@allow(Role.RESEARCHER)
@require_POST
def map_remove(request: HttpRequest, map_id: int) -> HttpResponseRedirect:
    found = map_to_change(request.user, map_id)
    slug = parts(found)[0].sae.slug
    map_actions.remove(found, by=signed_in(request), address=address_of(request))
    messages.success(request, "The map is removed.")
    return redirect("sae_maps", slug)


def _maps(request: HttpRequest, sae: Sae, form: MakeMapForm, *, status: int = 200) -> HttpResponse:
    found = [(each, may_change_map(request.user, each)) for each in maps.maps_of(sae)]
    ctx = {"sae": sae, "maps": found, "form": form, "may_make": _may_make(request)}
    return render(request, "maps/maps.html", ctx, status=status)


def _asked(sae: Sae, which: WhichMapForm) -> FeatureMap | None:
    """The one that is named, as long as the SAE is on it; else the newest."""
    wanted = which.cleaned_data["map"] if which.is_valid() else None
    if wanted is None:
        return maps.newest(sae)
    found = maps.maps_of(sae).filter(pk=wanted).first()
    if found is None:
        raise Http404(f"{sae.name} is on no map {wanted}.")
    return found


def _context(found: FeatureMap) -> dict[str, Any]:
    return {
        "map": found,
        "slugs": json.dumps([part.sae.slug for part in parts(found)]),
        "joint": len(parts(found)) > 1,
        "legends": legends(found),
        "silent": silent(found),
        "colours": [(name, title) for name, title in COLOURS.items() if name in colourings(found)],
        "largest": _largest(found),
    }


def _largest(found: FeatureMap) -> list[Cluster]:
    """Of the middle grain."""
    grains = cluster_names.clusters(found)
    return grains[len(grains) // 2][:LARGEST] if grains else []


def _may_make(request: HttpRequest) -> bool:
    return role_of(request.user).may_research
