from datetime import datetime
from typing import Annotated, Any

from django.http import HttpResponse
from django.urls import reverse
from ninja import P, PathEx, Query, Router, Schema
from ninja.errors import HttpError
from ninja.responses import Status
from pydantic import BeforeValidator, Field

from explorer.access import READERS
from explorer.actions import lists as list_actions
from explorer.api.auth import CallerRequest, needs
from explorer.api.keyset import BIGGEST, Page, Place, cursor
from explorer.gates import (
    address_of,
    entry_to_change,
    list_to_change,
    list_to_remove,
    list_to_see,
    sae_of_feature,
)
from explorer.models import FeatureList
from explorer.models.access import Role, Scope
from explorer.queries import lists as list_queries
from explorer.queries.lists import Entry

router = Router(tags=["lists"])

reading = needs(READERS, Scope.READ)
changing = needs(Role.VIEWER, Scope.WRITE)
ListId = PathEx[int, P(ge=1, le=BIGGEST, description="As in its page’s address.")]
EntryId = PathEx[int, P(ge=1, le=BIGGEST, description="Of an entry of the list.")]


def number(value: object) -> object:
    """As JSON has them: 5 and 5.0, not "5" nor true."""
    if isinstance(value, str | bool):
        raise ValueError("it is no number")
    return value


class ListOut(Schema):
    """Features that somebody keeps together."""

    id: int
    name: str
    notes: str
    owner: Annotated[str | None, Field(description="None: someone without an account")]
    shared: Annotated[bool, Field(description="Else its owner alone sees it")]
    bookmarks: bool
    entries: Annotated[int, Field(description="How many", validation_alias="n")]
    created_at: datetime
    page: Annotated[str, Field(description="Where a person finds it")]

    @staticmethod
    def resolve_owner(found: FeatureList) -> str | None:
        return found.owner.username if found.owner else None

    @staticmethod
    def resolve_page(found: FeatureList) -> str:
        return reverse("list", args=[found.pk])


class EntryOut(Schema):
    """A feature in a list."""

    id: int
    sae: str
    index: int
    label: str | None
    note: str
    density: Annotated[float | None, Field(description="None: read over no text yet")]
    added_at: datetime
    page: Annotated[str, Field(description="Where a person finds the feature")]


class ListIn(Schema):
    name: Annotated[str, Field(min_length=1, max_length=list_actions.LONGEST_NAME)]
    notes: Annotated[str, Field(max_length=list_actions.LONGEST_NOTES)] = ""
    shared: Annotated[bool, Field(strict=True)] = True


class EntryIn(Schema):
    sae: Annotated[str, Field(pattern="^[a-zA-Z0-9_-]{1,80}$", description="As in its page’s address")]
    index: Annotated[int, Field(ge=0, le=2**31 - 1), BeforeValidator(number)]
    note: Annotated[str | None, Field(max_length=list_actions.LONGEST_NOTE, description="None: as it is")] = None


@router.get("", response=Page[ListOut], summary="Your lists and those that are shared, newest first", **reading)
def list_lists(request: CallerRequest, wanted: Query[Place]) -> Any:
    found, older = list_queries.to_see(request.auth.user, wanted.below, wanted.limit)
    return {"items": found, "next": cursor(older)}


@router.post("", response={201: ListOut}, summary="Make a list", **changing)
def make_list(request: CallerRequest, response: HttpResponse, sent: ListIn) -> Any:
    try:
        made = list_actions.make(sent.name, sent.notes, shared=sent.shared, by=request.auth.signed_in)
    except list_actions.NotPossible as why:
        raise HttpError(409, str(why)) from None
    response["Location"] = reverse("api:get_list", args=[made.pk])
    return Status(201, list_queries.feature_list(made.pk))


@router.get("/{row:list_id}", response=ListOut, summary="One list", **reading)
def get_list(request: CallerRequest, list_id: ListId) -> Any:
    return list_to_see(request.auth.user, list_id)


@router.delete("/{row:list_id}", response={204: None}, summary="Remove a list", **changing)
def remove_list(request: CallerRequest, list_id: ListId) -> Any:
    """One's own, or as an administrator any that is shared; bookmarks stay."""
    caller = request.auth.signed_in
    list_actions.remove(list_to_remove(caller, list_id), by=caller, address=address_of(request))
    return Status(204, None)


@router.get("/{row:list_id}/entries", response=Page[EntryOut], summary="A list’s features", **reading)
def list_entries(request: CallerRequest, list_id: ListId, wanted: Query[Place]) -> Any:
    """As they were added."""
    page = list_queries.entries(list_to_see(request.auth.user, list_id), wanted.below, wanted.limit)
    return {"items": [_entry(each) for each in page.entries], "next": cursor(page.after)}


@router.post("/{row:list_id}/entries", response={201: EntryOut}, summary="Add a feature", **changing)
def add_entry(request: CallerRequest, list_id: ListId, sent: EntryIn) -> Any:
    """It is in a list once; added again, it is given the note that is sent."""
    caller = request.auth.signed_in
    found, sae = list_to_change(caller, list_id), sae_of_feature(sent.sae, sent.index)
    try:
        row = list_actions.keep(found, sae, sent.index, by=caller, text=sent.note)
    except list_actions.NotPossible as why:
        raise HttpError(409, str(why)) from None
    return Status(201, _entry(list_queries.known(row)))


@router.delete("/{row:list_id}/entries/{row:entry_id}", response={204: None}, summary="Take a feature out", **changing)
def remove_entry(request: CallerRequest, list_id: ListId, entry_id: EntryId) -> Any:
    entry = entry_to_change(request.auth.signed_in, list_id, entry_id)
    list_actions.drop(entry.list, entry.sae, entry.index)
    return Status(204, None)


def _entry(entry: Entry) -> dict[str, Any]:
    row = entry.row
    return {
        "id": row.pk,
        "sae": row.sae.slug,
        "index": row.index,
        "label": entry.label or None,
        "note": row.note,
        "density": entry.density,
        "added_at": row.created_at,
        "page": reverse("feature", args=[row.sae.slug, row.index]),
    }
