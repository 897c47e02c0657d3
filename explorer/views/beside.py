from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from explorer import figures, vocabulary
from explorer.access import READERS, allow
from explorer.etags import revalidated
from explorer.excerpts import examples
from explorer.figures import Figure
from explorer.forms.features import AROUND, BesideForm, ShowForm
from explorer.gates import feature_to_see
from explorer.logits import logits
from explorer.queries import pairs, versions
from explorer.queries.features import FeaturePage


def _versions(request: HttpRequest, slug: str, other_slug: str, **_: Any) -> object:
    of_both = (versions.of_sae(slug), versions.of_sae(other_slug))
    return of_both if all(of_both) else None


@allow(READERS)
@require_safe
@revalidated(_versions)
def feature_beside(request: HttpRequest, slug: str, index: int, other_slug: str, other: int) -> HttpResponse:
    form = ShowForm(request.GET)
    around = form.tokens_around
    both = pairs.pair(feature_to_see(slug, index), feature_to_see(other_slug, other))
    ctx = {
        "pair": both,
        "sides": [_side(page, around) for page in (both.one, both.other)],
        "compared": _compared(both.one, both.other),
        "form": form,
        "around": "whole" if around is None else str(around),
        "arounds": AROUND,
        "vocabulary": vocabulary.of(both.one.sae.lm),
    }
    return render(request, "features/beside.html", ctx)


@allow(READERS)
@require_safe
def feature_beside_choice(request: HttpRequest, slug: str, index: int) -> HttpResponse:
    page = feature_to_see(slug, index)
    form = BesideForm(request.GET or None, page.sae)
    if form.is_valid():
        sae, other = form.chosen
        return redirect("feature_beside", slug, index, sae.slug, other)
    return render(request, "features/beside_choice.html", {"page": page, "sae": page.sae, "form": form})


def _side(page: FeaturePage, around: int | None) -> dict[str, object]:
    words = vocabulary.of(page.sae.lm)
    return {"page": page, "logits": logits(words, page.lens), "examples": examples(words, page, around)}


def _compared(one: FeaturePage, other: FeaturePage) -> list[tuple[str, Figure | None, Figure | None]]:
    """Each figure of either, and of the other where it has one of that name."""
    of_one, of_other = (
        {each.label: each for each in figures.of_feature(page.feature, page.activity, page.collection)}
        for page in (one, other)
    )
    return [(label, of_one.get(label), of_other.get(label)) for label in of_one | of_other]
