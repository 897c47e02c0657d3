from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from explorer import citations, densities, evidence_charts, figures, small_map, vocabulary
from explorer.access import READERS, allow
from explorer.actions import labels
from explorer.embeds import framable_as_embed
from explorer.etags import revalidated
from explorer.excerpts import examples
from explorer.forms.browser import filters_of
from explorer.forms.features import AROUND, LabelForm, ShowForm
from explorer.gates import feature_to_see, sae_to_see, signed_in
from explorer.keeping import current_list, keeping
from explorer.logits import inputs, logits
from explorer.models.access import Role
from explorer.queries import browsing, steerings, versions
from explorer.queries.browsing import Asked
from explorer.queries.features import FeaturePage
from explorer.related import related
from explorer.vectors import Side


def _version(request: HttpRequest, slug: str, **_: Any) -> object:
    return versions.of_sae(slug)


def _version_of_page(request: HttpRequest, slug: str, index: int) -> object:
    """Its citation names where it stands, and a button where the viewer keeps what they like."""
    of_sae = versions.of_sae(slug)
    return of_sae and (of_sae, current_list(request), request.scheme, request.get_host())


@allow(READERS)
@require_safe
@framable_as_embed
@revalidated(_version_of_page)
def feature(request: HttpRequest, slug: str, index: int) -> HttpResponse:
    form = ShowForm(request.GET)
    if form.embedded:
        return render(request, "features/embed.html", _evidence_context(request, feature_to_see(slug, index), form))
    return render(request, "features/feature.html", _feature_context(request, slug, index, form))


@allow(READERS)
@require_safe
def feature_json(request: HttpRequest, slug: str, index: int) -> HttpResponseRedirect:
    """The API's answer, by an address that one gets by writing .json behind a page's."""
    if index >= sae_to_see(slug).n_latents:
        raise Http404(f"There is no feature {index}.")
    return redirect("api:get_feature", slug, index)


@allow(READERS)
@require_safe
@revalidated(_version)
def feature_chart(request: HttpRequest, slug: str, index: int, chart: str) -> JsonResponse:
    figure = evidence_charts.of_feature(feature_to_see(slug, index), chart)
    if figure is None:
        raise Http404(f"There is no chart {chart}.")
    return JsonResponse(figure)


@allow(Role.ANNOTATOR)
@require_POST
def feature_label(request: HttpRequest, slug: str, index: int) -> HttpResponse:
    page, form = feature_to_see(slug, index), LabelForm(request.POST)
    if not form.is_valid():
        ctx = _feature_context(request, slug, index, ShowForm({}), form)
        return render(request, "features/feature.html", ctx, status=422)
    labels.give(page.sae, index, form.cleaned_data["label"], by=signed_in(request))
    came_from = request.GET.urlencode()  # the list that it was opened from, whose order its neighbours are in
    return redirect(f"{reverse('feature', args=[slug, index])}{'?' * bool(came_from)}{came_from}")


def _feature_context(
    request: HttpRequest, slug: str, index: int, form: ShowForm, label_form: LabelForm | None = None
) -> dict[str, object]:
    page = feature_to_see(slug, index)
    filters = filters_of(request.GET, page.sae, request.user).beside(page.collection)
    before, after = browsing.around(Asked(page.sae, page.collection, filters), index)
    return _evidence_context(request, page, form) | {
        "form": form,
        "arounds": AROUND,
        "inputs": inputs(vocabulary.of(page.sae.lm), page.inputs),
        "related": related(page),
        "small_map": small_map.of_features(page.sae, [index]),
        "steering": steerings.of_feature(page.sae, index),
        "bars": evidence_charts.bars(page),
        "sides": list(Side),
        "label_form": label_form or LabelForm(initial={"label": page.label.text if page.label else ""}),
        "keeping": keeping(request, slug, index),
        "before": before,
        "after": after,
    }


def _evidence_context(request: HttpRequest, page: FeaturePage, form: ShowForm) -> dict[str, object]:
    words, around = vocabulary.of(page.sae.lm), form.tokens_around
    permalink = request.build_absolute_uri(reverse("feature", args=[page.sae.slug, page.index]))
    return {
        "page": page,
        "sae": page.sae,
        "logits": logits(words, page.lens),
        "figures": figures.of_feature(page.feature, page.activity, page.collection),
        "examples": examples(words, page, around),
        "kind": _remarkable(page),
        "around": "whole" if around is None else str(around),
        "permalink": permalink,
        "citation": citations.of_feature(page, permalink),
    }


def _remarkable(page: FeaturePage) -> str:
    """What is said of how often it fires, where that is not as usual."""
    if not page.activity or not page.collection:
        return ""
    kind = densities.kind(page.activity.n_fired, page.collection.tokens)
    return "" if kind == densities.Kind.ORDINARY else kind.value
