import hashlib
from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_safe

from explorer.access import READERS, allow, role_of
from explorer.forms.library import SeenForm
from explorer.models import Collection, LanguageModel, Sae
from explorer.models.access import Role
from explorer.parts import HEADERS, wants_part
from explorer.queries import guessing
from explorer.queries import jobs as job_queries
from explorer.queries import library as library_queries
from explorer.queries import maps as map_queries
from explorer.queries import readings as reading_queries
from explorer.views.search import reading_context

FILLING = ("explore", "demo", "collect")  # kinds of job that bring an SAE
SOON, LATER = 3, 20  # seconds: while jobs are under way, and for what somebody else may start


@dataclass(frozen=True, slots=True)
class Shelf:
    """An lm with its SAEs."""

    lm: LanguageModel
    saes: list[Sae]


@allow(READERS)
@require_safe
def library(request: HttpRequest) -> HttpResponse:
    ctx = _context(request)
    form = SeenForm(request.GET)
    if wants_part(request) and form.is_valid() and form.cleaned_data["seen"] == ctx["version"]:
        return HttpResponse(status=204)  # htmx leaves what is there
    response = render(request, f"library/{'shelves' if wants_part(request) else 'library'}.html", ctx)
    patch_vary_headers(response, HEADERS)
    return response


def _context(request: HttpRequest) -> dict[str, object]:
    jobs = job_queries.under_way() if role_of(request.user) >= Role.VIEWER else []
    saes = library_queries.saes()
    shelves = [Shelf(lm, [sae for sae in saes if sae.lm_id == lm.pk]) for lm in library_queries.lms()]
    corpora = list(library_queries.corpora())
    snippet, mapped = reading_queries.snippet(saes), map_queries.mapped()
    guesses = guessing.there_is_one()
    version = (
        [job.pk for job in jobs],
        [shelf.lm.pk for shelf in shelves],
        [(sae.pk, _pk(library_queries.newest(sae)), sae.metrics is None, sae.pk in mapped) for sae in saes],
        [corpus.pk for corpus in corpora],
        snippet and snippet.pk,
        guesses,
    )
    shown = reading_context(request, snippet) if snippet else {}
    return {
        **shown,
        "sae": None,  # the page is of none, whatever its snippet was read with
        "snippet_sae": shown.get("sae"),
        "jobs": jobs,
        "filling": any(job.kind in FILLING for job in jobs),
        "shelves": shelves,
        "mapped": mapped,
        "guesses": guesses,
        "corpora": corpora,
        "version": hashlib.sha256(repr(version).encode()).hexdigest()[:16],
        "poll": SOON if jobs else LATER,
    }


def _pk(collection: Collection | None) -> int | None:
    return collection.pk if collection else None
