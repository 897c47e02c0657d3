from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from explorer import samples
from explorer.access import DEVELOPERS, allow
from explorer.etags import revalidated
from explorer.forms.samples import SampleFilter, SampleForm
from explorer.parts import wants_part


@allow(DEVELOPERS)
@require_safe
@revalidated(lambda request: "patterns")
def patterns(request: HttpRequest) -> HttpResponse:
    """Every component in every state, for whoever builds pages of them."""
    filtering = SampleFilter(request.GET)
    chosen: dict[str, Any] = filtering.cleaned_data if filtering.is_valid() else {"sort": "", "dir": "", "words": ""}
    sort, direction = chosen["sort"] or "density", chosen["dir"] or "desc"
    ctx = {
        "columns": samples.columns(sort, direction),
        "features": samples.sorted_and_filtered(sort, direction, chosen["words"]),
        "filtering": filtering,
    }
    if wants_part(request):
        return render(request, "patterns/table.html", ctx)
    more = {
        "jobs": samples.jobs(),
        "texts": samples.texts(),
        "criteria": samples.criteria(),
        "fresh_form": SampleForm(),
        "wrong_form": SampleForm({"name": "", "strength": "9", "kind": "add", "prompt": "x" * 80}),
    }
    return render(request, "patterns.html", ctx | more)


@allow(DEVELOPERS)
@require_safe
@revalidated(lambda request, name: name)
def pattern_chart(request: HttpRequest, name: str) -> JsonResponse:
    figure = samples.chart(name)
    if figure is None:
        raise Http404(f"There is no sample chart {name}.")
    return JsonResponse(figure)
