"""Pages that a browser keeps and asks about: unchanged, they cost a 304, and for whoever asks anew they are at hand."""

import hashlib
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib.messages import get_messages
from django.http import HttpRequest, HttpResponse
from django.utils.cache import get_conditional_response, patch_cache_control, patch_vary_headers

from explorer import parts, release
from explorer.access import role_of
from explorer.made_pages import MadePages
from explorer.parts import wants_part
from explorer.turns import Turns

Page = Callable[..., HttpResponse]
made_pages = MadePages()
turns = Turns()


def revalidated(version: Callable[..., object]) -> Callable[[Page], Page]:
    """`version`, given what the view is given, says all that its data's part of the page depends on;
    None where the page must not be kept."""

    def etag(request: HttpRequest, *args: Any, **kwargs: Any) -> str | None:
        of_data = version(request, *args, **kwargs)
        csrf = request.COOKIES.get(settings.CSRF_COOKIE_NAME)  # forms on a kept page carry its secret
        if of_data is None or settings.DEBUG or len(get_messages(request)):
            return None
        who = (request.user.pk, request.user.get_username(), role_of(request.user), csrf)
        what = (request.get_full_path(), wants_part(request), of_data)
        of_all = repr((release.fingerprint(), who, what))
        return f'"{hashlib.sha256(of_all.encode()).hexdigest()[:32]}"'

    def decorate(view: Page) -> Page:
        @wraps(view)
        def revalidating(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            tag = etag(request, *args, **kwargs)
            unchanged = get_conditional_response(request, etag=tag)
            response: HttpResponse = unchanged or _made(request, tag, lambda: view(request, *args, **kwargs))
            if tag and request.method in ("GET", "HEAD"):
                response.headers.setdefault("ETag", tag)
            patch_cache_control(response, private=True, no_cache=True)
            patch_vary_headers(response, ["Cookie", *parts.HEADERS])
            return response

        return revalidating

    return decorate


def _made(request: HttpRequest, tag: str | None, make: Callable[[], HttpResponse]) -> HttpResponse:
    """A page that is at hand, or made now."""
    if tag is None or request.method != "GET":
        return make()
    there = made_pages.get(tag)
    if there is not None:
        return there
    with turns.one():
        there = made_pages.get(tag)  # it was made for another while this one waited
        if there is not None:
            return there
        response = make()
        if _may_be_kept(request, response):
            made_pages.put(tag, response)
        return response


def _may_be_kept(request: HttpRequest, response: HttpResponse) -> bool:
    whole = response.status_code == 200 and not response.streaming
    return whole and not response.cookies and not _brings_secret(request)


def _brings_secret(request: HttpRequest) -> bool:
    """Whether a page's forms go with a cookie that comes with it, and not with one that is there."""
    secret = request.META.get("CSRF_COOKIE") if request.META.get("CSRF_COOKIE_NEEDS_UPDATE") else None
    return secret is not None and secret != request.COOKIES.get(settings.CSRF_COOKIE_NAME)
