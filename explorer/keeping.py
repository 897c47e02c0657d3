"""Which list a person adds to while they read: the one that they used last in this browser, else their bookmarks."""

from django.contrib.auth.models import User
from django.http import HttpRequest

from explorer.models import FeatureList
from explorer.queries import lists
from explorer.queries.lists import Keeping

KEY = "list"  # in the session


def current_list(request: HttpRequest) -> int | None:
    found: int | None = request.session.get(KEY)
    return found


def keeping(request: HttpRequest, slug: str, index: int) -> Keeping | None:
    """For a feature's page; nobody who has not signed in keeps anything."""
    if not isinstance(request.user, User):
        return None
    return lists.keeping(request.user, slug, index, current_list(request))


def used(request: HttpRequest, found: FeatureList) -> None:
    if current_list(request) != found.pk:
        request.session[KEY] = found.pk
