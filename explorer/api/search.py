from typing import Annotated, Any, Literal

from django.conf import settings
from django.http import HttpResponse
from django.urls import reverse
from ninja import Query, Router, Schema
from ninja.errors import HttpError
from ninja.responses import Status
from pydantic import Field

from explorer import vocabulary
from explorer.access import READERS
from explorer.actions import readings as reading_actions
from explorer.api.auth import CallerRequest, needs
from explorer.api.jobs import JobDetail
from explorer.gates import job_to_see, sae_to_see
from explorer.models import Job, Sae
from explorer.models.access import Role, Scope
from explorer.queries import library as library_queries
from explorer.searching import Asked, Found, Kind, Row, search

router = Router(tags=["search"])
LONGEST = 2_000  # characters, which an address takes however they are written
Slug = Annotated[str | None, Field(max_length=80, pattern="^[A-Za-z0-9_-]+$")]


class Wanted(Schema):
    q: Annotated[str, Field(min_length=1, max_length=LONGEST, description="Words, a token or #id, an index")]
    kind: Annotated[
        Literal["labels", "tokens", "logit", "like"],
        Field(description="By tokens: those that the strongest examples peak on"),
    ] = "labels"
    sae: Annotated[Slug, Field(description="Left out: all for labels and tokens, else the first there is")] = None
    of: Annotated[Slug, Field(description="Whose feature others are to be like; the same SAE, if left out")] = None
    page: Annotated[int, Field(ge=1, le=200, description="Of labels, and of tokens in one SAE")] = 1


class HitOut(Schema):
    sae: str
    index: int
    label: str | None
    value: Annotated[float | None, Field(description="The logit, or the cosine")]
    tokens: Annotated[list[str], Field(description="Those of the ones meant that its strongest examples peak on")]
    density: float | None
    page: str


class GroupOut(Schema):
    title: str
    n: int
    hits: list[HitOut]


class FoundOut(Schema):
    """What was found: in one group, or of each SAE one, or those raised and those lowered."""

    n: Annotated[int, Field(description="That were found, or looked at")]
    groups: list[GroupOut]


class TextIn(Schema):
    sae: Annotated[str, Field(max_length=80, pattern="^[A-Za-z0-9_-]+$")]
    text: Annotated[str, Field(min_length=1, max_length=1_000_000)]


@router.get("", response=FoundOut, summary="Search features", **needs(READERS, Scope.READ))
def search_features(request: CallerRequest, wanted: Query[Wanted]) -> Any:
    """Over all features of an SAE, exact. A text is another operation, as a worker reads it."""
    sae = sae_to_see(wanted.sae) if wanted.sae else None
    of = sae_to_see(wanted.of) if wanted.of else sae
    found = search(Asked(wanted.q, Kind(wanted.kind), sae, of, wanted.page), library_queries.saes())
    if found.problem:
        raise HttpError(409 if found.unprepared else 404, found.problem)
    return _out(found)


@router.post("/text", response={202: JobDetail}, summary="Read a text", **needs(Role.VIEWER, Scope.WRITE))
def read_text(request: CallerRequest, response: HttpResponse, given: TextIn) -> Any:
    """Starts a job whose result says which features fire where."""
    if len(given.text) > settings.TEXT_CHARACTERS:
        raise HttpError(422, f"At most {settings.TEXT_CHARACTERS} characters are read at a time.")
    by = request.auth.signed_in
    sae: Sae = sae_to_see(given.sae)
    job: Job = reading_actions.read(sae, given.text, by=by, who=f"person {by.pk}")
    response["Location"] = reverse("api:get_job", args=[job.pk])
    return Status(202, job_to_see(job.pk))


def _out(found: Found) -> dict[str, Any]:
    groups = [{"title": each.title, "n": each.n, "hits": [_hit(row) for row in each.rows]} for each in found.groups]
    return {"n": found.n, "groups": groups}


def _hit(row: Row) -> dict[str, Any]:
    hit = row.hit
    return {
        "sae": hit.sae.slug,
        "index": hit.index,
        "label": hit.label or None,
        "value": row.value,
        "tokens": vocabulary.of(hit.sae.lm).text(row.tokens),
        "density": hit.density,
        "page": reverse("feature", args=[hit.sae.slug, hit.index]),
    }
