"""An address of the browser that somebody has copied, and what it means."""

from typing import NamedTuple
from urllib.parse import urlsplit

from django import forms
from django.contrib.auth.models import User
from django.core.exceptions import TooManyFieldsSent
from django.http import QueryDict

from explorer.forms.browser import FILTERS, BrowserForm
from explorer.models import Sae
from explorer.queries.filtering import Filters


class Understood(NamedTuple):
    query: str
    filters: Filters


def understood(text: str, sae: Sae, user: User) -> Understood:
    """The address, or its query alone. What of it means nothing is an error: without it, it would find other features
    than somebody had before them."""
    query = filtering(_query_of(text, sae))
    if not query:
        raise forms.ValidationError("Nothing in it filters or sorts features.")
    form = BrowserForm(QueryDict(query), sae, user)
    if not form.is_valid():
        raise forms.ValidationError([f"{name}: {says}" for name, errors in form.errors.items() for says in errors])
    return Understood(query, form.filters)


def filtering(asked: QueryDict) -> str:
    """What of a query filters or sorts features."""
    kept = QueryDict(mutable=True)
    for name in asked:
        if name in FILTERS and any(asked.getlist(name)):
            kept.setlist(name, asked.getlist(name))
    return kept.urlencode()


def _query_of(text: str, sae: Sae) -> QueryDict:
    try:
        address = urlsplit(text)
        query = QueryDict(address.query if "?" in text else text)
    except (TooManyFieldsSent, ValueError):
        raise forms.ValidationError("This is no address of the browser.") from None
    slug = _slug_in(address.path)
    if slug and slug != sae.slug:
        raise forms.ValidationError(f"This is an address of another SAE, {slug}.")
    return query


def _slug_in(path: str) -> str:
    match [part for part in path.split("/") if part]:
        case [*_, "saes", slug, "features"]:
            return slug
    return ""
