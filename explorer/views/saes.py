from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from explorer import figures
from explorer.access import READERS, allow, may_change_sae
from explorer.actions import removing
from explorer.gates import address_of, sae_to_change, sae_to_see, signed_in
from explorer.models.access import Role
from explorer.queries import library as library_queries


@allow(READERS)
@require_safe
def sae(request: HttpRequest, slug: str) -> HttpResponse:
    sae = sae_to_see(slug)
    collection = library_queries.newest(sae)
    ctx = {
        "sae": sae,
        "collection": collection,
        "figures": figures.of_sae(sae, collection),
        "may_change": may_change_sae(request.user, sae),
    }
    return render(request, "saes/sae.html", ctx)


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
