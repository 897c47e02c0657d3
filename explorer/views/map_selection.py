"""What somebody has selected on a map, answered over all its points and not those alone that are drawn."""

from collections.abc import Iterator
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from explorer import map_points, sheets
from explorer.access import READERS, allow
from explorer.actions import lists as list_actions
from explorer.etags import revalidated
from explorer.forms.maps import AreaForm, KeepSelectedForm
from explorer.gates import map_to_see, signed_in
from explorer.map_points import chosen, keys, parts
from explorer.models import FeatureMap
from explorer.models.access import Role
from explorer.queries import maps

BATCH = 5_000


def _version(request: HttpRequest, map_id: int, **_: Any) -> object:
    return maps.version(map_id) or None


@allow(READERS)
@require_safe
@revalidated(_version)
def map_selection(request: HttpRequest, map_id: int) -> HttpResponse:
    found = map_to_see(map_id)
    form = AreaForm(request.GET, found)
    if not form.is_valid():
        return _nothing(request, found, form)
    return _selection(request, found, form, KeepSelectedForm())


@allow(READERS)
@require_safe
def map_selection_sheet(request: HttpRequest, map_id: int, sheet: str) -> HttpResponse | StreamingHttpResponse:
    found = map_to_see(map_id)
    form = AreaForm(request.GET, found)
    if not form.is_valid():
        return _nothing(request, found, form)
    name = f"{parts(found)[0].sae.slug}-map-{found.pk}-selected"
    return sheets.download(name, sheet, map_points.FIELDS, _batches(found, chosen(found, form.area)))


@allow(Role.VIEWER)
@require_POST
def map_selection_keep(request: HttpRequest, map_id: int) -> HttpResponse | HttpResponseRedirect:
    """As a list of one's own."""
    found, by = map_to_see(map_id), signed_in(request)
    area, form = AreaForm(request.GET, found), KeepSelectedForm(request.POST)
    if not area.is_valid():
        return _nothing(request, found, area)
    if form.is_valid():
        selected = chosen(found, area.area)
        selected_by = request.get_full_path().partition("?")[2]
        notes = f"Selected on map {found.pk}: {selected_by}"[: list_actions.LONGEST_NOTES]
        try:
            made = list_actions.make_of(form.cleaned_data["name"], notes, keys(found, selected), by=by)
            return redirect("list", made.pk)
        except list_actions.NotPossible as why:
            form.add_error("name", str(why))
    return _selection(request, found, area, form, status=422)


def _nothing(request: HttpRequest, found: FeatureMap, form: AreaForm) -> HttpResponse:
    return render(request, "maps/selection.html", {"map": found, "form": form}, status=422)


def _selection(
    request: HttpRequest, found: FeatureMap, form: AreaForm, keeping: KeepSelectedForm, *, status: int = 200
) -> HttpResponse:
    summary = map_points.summary(found, chosen(found, form.area))
    ctx = {
        "map": found,
        "form": form,
        "summary": summary,
        "keeping": keeping,
        "query": request.GET.urlencode(),
        "most": list_actions.MOST_ENTRIES,
        "joint": len(summary.by_part) > 1,
    }
    return render(request, "maps/selection.html", ctx, status=status)


def _batches(found: FeatureMap, numbers: Any) -> Iterator[list[dict[str, Any]]]:
    for start in range(0, len(numbers), BATCH):
        yield map_points.records(found, numbers[start : start + BATCH])
