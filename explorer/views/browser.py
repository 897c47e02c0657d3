from typing import Any

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from explorer import records, sheets, small_map
from explorer.access import READERS, allow
from explorer.browser_parts import BESIDE, chips, columns, elsewhere, headers, presets, without
from explorer.etags import revalidated
from explorer.forms.browser import USUAL, BrowserForm
from explorer.gates import sae_to_read, sae_to_see
from explorer.listed import listed
from explorer.queries import browsing, versions
from explorer.queries import library as library_queries
from explorer.queries.browsing import Asked


def _version(request: HttpRequest, slug: str, **_: Any) -> object:
    return versions.of_sae(slug)


@allow(READERS)
@require_safe
@revalidated(_version)
def features(request: HttpRequest, slug: str) -> HttpResponse:
    sae = sae_to_read(slug)
    form, collection = BrowserForm(request.GET, sae, request.user), library_queries.newest(sae)
    asked = Asked(sae, collection, form.filters.beside(collection))
    page = browsing.page(asked, form.place)
    shown = columns(asked, form.chosen_columns)
    ctx = {
        "sae": sae,
        "collection": collection,
        "form": form,
        "asked": asked,
        "page": page,
        "rows": listed(asked, page.rows, shown),
        "small_map": small_map.of_features(sae, [row.index for row in page.rows]),
        "n": browsing.count(asked),
        "columns": shown,
        "headers": headers(asked, shown),
        "presets": presets(request.GET, asked),
        "chips": chips(form, request.GET),
        "carried": without(request.GET),
        "unlabelled": without(request.GET, ["sort", "dir"], labelled="no"),
        "unsorted": without(request.GET, ["sort", "dir"]),
        "usual": USUAL,
        "kept": [(name, form.cleaned_data[name]) for name in BESIDE if form.cleaned_data.get(name)],
        "elsewhere": elsewhere(form),
    }
    return render(request, "browser/features.html", ctx)


@allow(READERS)
@require_safe
def features_sheet(request: HttpRequest, slug: str, sheet: str) -> StreamingHttpResponse:
    """All that the filters find, in the order of the page."""
    sae = sae_to_see(slug)
    collection = library_queries.newest(sae)
    asked = Asked(sae, collection, BrowserForm(request.GET, sae, request.user).filters.beside(collection))
    return sheets.download(f"{sae.slug}-features", sheet, records.FIELDS, records.batches(asked))
