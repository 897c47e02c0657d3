"""Pages that a browser keeps and asks about: unchanged, they cost a 304."""

import hashlib
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib.messages import get_messages
from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_cache_control, patch_vary_headers
from django.views.decorators.http import condition

from explorer import parts, release
from explorer.access import role_of
from explorer.parts import wants_part

Page = Callable[..., HttpResponse]


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
        conditional = condition(etag_func=etag)(view)

        @wraps(view)
        def revalidating(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            response = conditional(request, *args, **kwargs)
            patch_cache_control(response, private=True, no_cache=True)
            patch_vary_headers(response, ["Cookie", *parts.HEADERS])
            return response

        return revalidating

    return decorate
