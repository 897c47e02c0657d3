"""Steering: what is asked, and what was written."""

from contextlib import suppress
from typing import Any

from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from explorer import steered, vocabulary
from explorer.access import READERS, allow
from explorer.actions import jobs, steerings
from explorer.actions.jobs import NotPossible
from explorer.forms.steering import Playground, PromptForm, TitleForm, asked
from explorer.gates import (
    feature_to_see,
    may_cancel_steering,
    sae_of_feature,
    signed_in,
    steering_to_cancel,
    steering_to_see,
    who_asks,
)
from explorer.models import Sae, Steering
from explorer.models.access import Role
from explorer.models.jobs import JobState
from explorer.parts import wants_part
from explorer.queries import library, lists
from explorer.queries import steerings as queries
from explorer.queries.steerings import Wanted
from explorer.steering import Asked, Method, Unit, Where, Wrong
from explorer.views.steer_find import presets

STRENGTH = 1.0  # of the 99th percentile, where it was not measured which is best
SHOWN = 12


@allow(READERS)
@require_http_methods(["GET", "HEAD", "POST"])
def steer(request: HttpRequest) -> HttpResponse:
    saes = library.saes()
    if request.method != "POST":
        return _playground(request, Playground(saes, before=_before(request, saes)), saes)
    playground = Playground(saes, request.POST)
    made = _start(request, playground)
    return _made(request, made) if made else _playground(request, playground, saes, status=422)


@allow(READERS)
@require_POST
def feature_steer(request: HttpRequest, slug: str, index: int) -> HttpResponse:
    """From a feature's page, with nothing but a prompt."""
    sae, form = sae_of_feature(slug, index), PromptForm(request.POST)
    if form.is_valid():
        wanted = _at_their_best([(sae, index)])
        try:
            what = asked(sae, form.cleaned_data["prompt"], queries.changes(wanted), form.cleaned_data["texts"])
            _, who = who_asks(request)
            return _made(request, steerings.start(what, by=request.user, who=who, watched=True))
        except Wrong as wrong:
            form.add_error("prompt", wrong.message)
    ctx = {
        "page": feature_to_see(slug, index),
        "sae": sae,
        "steer_form": form,
        "steering": queries.of_feature(sae, index),
    }
    return render(request, "steer/prompt.html", ctx, status=422)


@allow(Role.RESEARCHER)
@require_POST
def feature_strength(request: HttpRequest, slug: str, index: int) -> HttpResponse:
    sae = sae_of_feature(slug, index)
    return redirect("job", jobs.start("strength", {"sae": sae.pk, "indices": [index]}, by=signed_in(request)).pk)


@allow(READERS)
@require_safe
def steering(request: HttpRequest, key: str) -> HttpResponse:
    return _page(request, steering_to_see(key))


@allow(READERS)
@require_POST
def steering_again(request: HttpRequest, key: str) -> HttpResponse:
    """Another with an address of its own; what was written stays as it is."""
    what, (_, who) = Asked.from_json(steering_to_see(key).asked), who_asks(request)
    try:
        return _made(request, steerings.start(what, by=request.user, who=who, watched=True))
    except Wrong as wrong:  # it was a researcher's, who may ask for more
        raise BadRequest(wrong.message) from wrong


@allow(READERS)
@require_safe
def steering_place(request: HttpRequest, key: str) -> HttpResponse:
    """In the queue, as text."""
    job = steering_to_see(key).job
    return HttpResponse(steered.place(queries.before(job)) if job and job.state == JobState.QUEUED else "",
                        content_type="text/plain")  # fmt: skip


@allow(Role.RESEARCHER)
@require_POST
def steering_title(request: HttpRequest, key: str) -> HttpResponse:
    """With one, everybody is shown it; without one it is there by its address alone."""
    row, form = steering_to_see(key), TitleForm(request.POST)
    if not form.is_valid():
        raise BadRequest("A title has at most 200 characters.")
    steerings.give_title(row, form.cleaned_data["title"])
    return redirect("steering", key)


@allow(READERS)
@require_POST
def steering_cancel(request: HttpRequest, key: str) -> HttpResponse:
    row = steering_to_cancel(request, key)
    with suppress(NotPossible):  # it has come to its end meanwhile
        if row.job:
            jobs.cancel(row.job.pk)
    return redirect("steering", key)


def _start(request: HttpRequest, playground: Playground) -> Steering | None:
    what = playground.asked()
    if what is None:
        return None
    _, who = who_asks(request)
    try:
        return steerings.start(what, by=request.user, who=who, watched=True)
    except Wrong as wrong:
        playground.blame(wrong)
        return None


def _before(request: HttpRequest, saes: list[Sae]) -> Asked | None:
    """What the form begins with: an earlier steering, or features that are named as sae/index."""
    if key := request.GET.get("from"):
        return Asked.from_json(steering_to_see(key).asked)
    by_slug = {each.slug: each for each in saes}
    named = [each.partition("/") for each in request.GET.getlist("feature")[:16]]
    wanted = _at_their_best(
        [
            (by_slug[slug], int(index))
            for slug, _, index in named
            if slug in by_slug and index.isascii() and index.isdecimal() and len(index) < 10
        ]
    )
    try:
        return asked(wanted[0].sae, "", queries.changes(wanted), "pair") if wanted else None
    except Wrong:
        return None


def _at_their_best(features: list[tuple[Sae, int]]) -> list[Wanted]:
    """Added as strongly as was found to be best."""
    known = queries.strengths({sae.pk for sae, _ in features}, {index for _, index in features})

    def strength(sae: Sae, index: int) -> float:
        found = known.get((sae.pk, index))
        return found.times if found else STRENGTH

    return [Wanted(sae, index, Method.ADD, strength(sae, index), Unit.P99, Where.EVERYWHERE) for sae, index in features]


def _playground(request: HttpRequest, playground: Playground, saes: list[Sae], status: int = 200) -> HttpResponse:
    ctx: dict[str, Any] = {
        "form": playground.form,
        "changes": playground.changes,
        "saes": saes,
        "lists": lists.to_see(request.user)[0],
        "shown": queries.shown()[:SHOWN],
    }
    ctx |= presets(saes)
    return render(request, "steer/steer.html", ctx, status=status)


def _made(request: HttpRequest, made: Steering) -> HttpResponse:
    """A script is answered with the page itself: each way to and fro is time in which the lm writes already."""
    if not wants_part(request):
        return redirect("steering", made.key)
    response = _page(request, made)
    response["Content-Location"] = reverse("steering", args=[made.key])
    return response


def _page(request: HttpRequest, row: Steering) -> HttpResponse:
    what = Asked.from_json(row.asked)
    lm = library.lm_by_fingerprint(what.lm)
    watched = steered.watched(what, request.GET.get("feature", ""))
    chosen = next(each for each in watched if each.chosen)
    words = vocabulary.of(lm) if lm else None
    ctx: dict[str, Any] = {
        "steering": row,
        "job": row.job,
        "asked": what,
        "changes": [(each, steered.told(each)) for each in what.changes],
        "watched": watched,
        "chosen": chosen,
        "columns": steered.columns(what, row.result, words, chosen.key) if words else [],
        "alternatives": steered.alternatives(row.result, words) if words else [],
        "program": steered.program(what, row.result) if row.result else "",
        "as_text": steered.as_text(what, row.result, words) if row.result and words else "",
        "place": steered.place(queries.before(row.job)) if row.job and row.job.state == JobState.QUEUED else "",
        "may_cancel": row.job is not None and row.job.cancellable and may_cancel_steering(request, row),
    }
    return render(request, "steer/steering.html", ctx)
