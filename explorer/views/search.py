from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_POST, require_safe

from explorer import readings, searching, vocabulary
from explorer.access import READERS, allow
from explorer.actions import jobs as job_actions
from explorer.actions import readings as reading_actions
from explorer.forms.search import ReadingForm, SearchForm, TextForm
from explorer.gates import reading_to_see, sae_to_see, signed_in, who_asks
from explorer.models import Job, Sae
from explorer.models.access import Role
from explorer.models.jobs import JobState
from explorer.parts import HEADERS, wants_part
from explorer.queries import library as library_queries
from explorer.searching import Asked, Kind

TITLES = {
    Kind.LABELS: "Labels",
    Kind.TOKENS: "Fire on a token",
    Kind.LOGIT: "Write a token",
    Kind.TEXT: "Fire on a text",
    Kind.LIKE: "Like a feature",
}
SOON, LATER = 0.05, 2.0  # seconds between looks at a text that is being read
PATIENCE = 5.0  # seconds, by when a worker that is there has answered


@allow(READERS)
@require_safe
def search(request: HttpRequest) -> HttpResponse:
    saes = library_queries.saes()
    form = SearchForm(request.GET, saes)
    asked = form.asked
    if asked.sae and asked.goes_to is not None:
        return redirect("feature", asked.sae.slug, asked.goes_to)
    return render(request, "search/search.html", _context(form, asked, saes))


@allow(READERS)
@require_POST
def text_read(request: HttpRequest) -> HttpResponse:
    saes = library_queries.saes()
    form = TextForm(request.POST, saes)
    if not form.is_valid():
        asked = Asked("", Kind.TEXT)
        ctx = _context(SearchForm({}, saes), asked, saes, form)
        return render(request, "search/search.html", ctx, status=422)
    by, who = who_asks(request)
    job = reading_actions.read(form.through, form.cleaned_data["text"], by=by, who=who)
    return redirect("reading", job.pk)


@allow(READERS)
@require_safe
def reading(request: HttpRequest, reading_id: int) -> HttpResponse:
    """While it is being read, a page that looks again; htmx is told when there is news."""
    job = reading_to_see(reading_id)
    if wants_part(request) and waiting(job)["patient"]:
        return HttpResponse(status=204)
    ctx = reading_context(request, job) | waiting(job)
    response = render(request, f"search/{'found_in_text' if wants_part(request) else 'reading'}.html", ctx)
    patch_vary_headers(response, HEADERS)
    return response


@allow(Role.RESEARCHER)
@require_POST
def search_prepare(request: HttpRequest, slug: str) -> HttpResponseRedirect:
    job = job_actions.start("unembedding", {"lm": sae_to_see(slug).lm_id}, by=signed_in(request))
    return redirect("job", job.pk)


def reading_context(request: HttpRequest, job: Job) -> dict[str, Any]:
    """Of a text that was read, here and in the library; the SAE may be gone since."""
    form = ReadingForm(request.GET)
    form.is_valid()
    ctx: dict[str, Any] = {"job": job, "form": form, "by": form.order, "excerpt": "corpus" in job.arguments}
    result: dict[str, Any] | None = job.result if job.state == JobState.DONE else None
    sae = library_queries.sae(result["sae"]) if result else None
    if result is None or sae is None:
        return ctx
    at, feature = form.positions, form.cleaned_data.get("feature")
    words = vocabulary.of(sae.lm)
    found = readings.reading(result, sae, words, at=at, by=form.order, feature=feature)
    return ctx | {"sae": sae, "reading": found, "at": ",".join(map(str, found.at)), "feature": feature}


def _context(form: SearchForm, asked: Asked, saes: list[Sae], text: TextForm | None = None) -> dict[str, Any]:
    found = searching.search(asked, saes)
    before, after = searching.pages(found, asked)
    one = asked.sae or (searching.usual(saes) if saes else None)
    sae = one if asked.sae or asked.kind in (Kind.LOGIT, Kind.LIKE, Kind.TEXT) else None
    initial = {"text": asked.q, "sae": one.slug if one else ""}
    return {
        "form": form,
        "asked": asked,
        "kinds": [(each.value, TITLES[each], each is asked.kind) for each in Kind],
        "saes": saes,
        "sae": sae,
        "found": found,
        "before": before,
        "after": after,
        "jumps": [each for each in saes if asked.index is not None and asked.index < each.n_latents],
        "text_form": text or TextForm(None, saes, initial),
    }


def waiting(job: Job) -> dict[str, Any]:
    """Whether a text is still waited for without a word to say of it, and how often one looks."""
    patient = job.unfinished and (timezone.now() - job.created_at).total_seconds() < PATIENCE
    return {"patient": patient, "poll": SOON if patient else LATER}
