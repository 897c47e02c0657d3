from datetime import datetime
from typing import Annotated, Any

from django.urls import reverse
from ninja import Query, Router, Schema
from pydantic import Field

from explorer.access import READERS
from explorer.actions import labels as label_actions
from explorer.api.auth import CallerRequest, needs
from explorer.api.keyset import Page, Place, cursor
from explorer.api.saes import Index, Slug
from explorer.gates import sae_of_feature, sae_to_see
from explorer.models import Label
from explorer.models.access import Role, Scope
from explorer.plain import one_line
from explorer.queries import labels as label_queries

router = Router(tags=["labels"])

reading = needs(READERS, Scope.READ)


class LabelOut(Schema):
    """What a feature was called from some time on."""

    index: int
    label: Annotated[str, Field(description="Empty where one was taken away")]
    current: bool
    author: Annotated[str | None, Field(description="None: someone without an account")]
    given_at: datetime
    page: Annotated[str, Field(description="Where a person finds the feature")]

    @staticmethod
    def resolve_label(label: Label) -> str:
        return label.text

    @staticmethod
    def resolve_author(label: Label) -> str | None:
        return label.author.username if label.author else None

    @staticmethod
    def resolve_given_at(label: Label) -> datetime:
        return label.created_at

    @staticmethod
    def resolve_page(label: Label) -> str:
        return reverse("feature", args=[label.sae.slug, label.index])


class LabelIn(Schema):
    label: Annotated[str, Field(max_length=label_actions.LONGEST, description="Empty takes away what there is")]


class Labelled(Schema):
    index: int
    label: str | None


@router.get("/{slug:slug}/labels", response=Page[LabelOut], summary="Labels given, newest first", **reading)
def list_labels(request: CallerRequest, slug: Slug, wanted: Query[Place]) -> Any:
    """Those that others have replaced are among them; `current` says which count."""
    found = label_queries.given(sae_to_see(slug), below=wanted.below, size=wanted.limit)
    return {"items": found.labels, "next": cursor(found.older)}


@router.get(
    "/{slug:slug}/features/{row:index}/labels", response=Page[LabelOut], summary="What a feature was called", **reading
)
def list_feature_labels(request: CallerRequest, slug: Slug, index: Index, wanted: Query[Place]) -> Any:
    """The newest first."""
    found = label_queries.given(sae_of_feature(slug, index), index, below=wanted.below, size=wanted.limit)
    return {"items": found.labels, "next": cursor(found.older)}


@router.put(
    "/{slug:slug}/features/{row:index}/label",
    response=Labelled,
    summary="Name a feature",
    **needs(Role.ANNOTATOR, Scope.WRITE),
)
def give_label(request: CallerRequest, slug: Slug, index: Index, sent: LabelIn) -> Any:
    """What it was called before stays in its history."""
    text = one_line(sent.label)
    label_actions.give(sae_of_feature(slug, index), index, text, by=request.auth.signed_in)
    return {"index": index, "label": text or None}
