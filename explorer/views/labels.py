from django.contrib import messages
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_POST, require_safe

from explorer import brought, label_files, sheets
from explorer.access import READERS, allow
from explorer.actions import labels as label_actions
from explorer.forms.labels import DownloadForm, HistoryForm, ImportForm
from explorer.gates import address_of, sae_of_feature, sae_to_see, signed_in
from explorer.models import Sae
from explorer.models.access import Role
from explorer.parts import HEADERS, wants_part
from explorer.queries import labels as label_queries


@allow(READERS)
@require_safe
def labels(request: HttpRequest, slug: str) -> HttpResponse:
    return _labels(request, sae_to_see(slug), ImportForm())


@allow(READERS)
@require_safe
def labels_sheet(request: HttpRequest, slug: str, sheet: str) -> StreamingHttpResponse:
    sae, form = sae_to_see(slug), DownloadForm(request.GET)
    history = form.is_valid() and form.cleaned_data["history"]
    name = f"{sae.slug}-labels{'-history' if history else ''}"
    return sheets.download(name, sheet, label_files.COLUMNS, label_files.records(sae, history=history))


@allow(Role.RESEARCHER)
@require_POST
def labels_import(request: HttpRequest, slug: str) -> HttpResponse:
    sae, form = sae_to_see(slug), ImportForm(request.POST, request.FILES)
    if not form.is_valid():
        return _labels(request, sae, form, status=422)
    file = form.cleaned_data["file"]
    try:
        texts = label_files.read(file.read(), file.name, sae.n_latents)
    except brought.Unreadable as why:
        for fault in why.faults:
            form.add_error("file", fault)
        return _labels(request, sae, form, status=422)
    news = label_actions.give_many(sae, texts, by=signed_in(request), address=address_of(request))
    messages.success(request, f"{len(texts):,} labels were read, and {news:,} of them are new.")
    return redirect("labels", slug)


@allow(READERS)
@require_safe
def feature_labels(request: HttpRequest, slug: str, index: int) -> HttpResponse:
    """All that a feature was ever called."""
    sae, form = sae_of_feature(slug, index), HistoryForm(request.GET)
    below = form.cleaned_data["below"] if form.is_valid() else None
    ctx = {"sae": sae, "index": index, "form": form, "given": label_queries.given(sae, index, below)}
    part = wants_part(request)
    response = render(request, f"labels/{'given' if part else 'feature'}.html", ctx)
    patch_vary_headers(response, HEADERS)
    return response


def _labels(request: HttpRequest, sae: Sae, importing: ImportForm, *, status: int = 200) -> HttpResponse:
    form = HistoryForm(request.GET)
    below = form.cleaned_data["below"] if form.is_valid() else None
    ctx = {
        "sae": sae,
        "form": form,
        "given": label_queries.given(sae, below=below),
        "n_labelled": label_queries.n_labelled(sae),
        "importing": importing,
    }
    return render(request, "labels/labels.html", ctx, status=status)
