import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.http.response import HttpResponseBase
from django.utils.deprecation import MiddlewareMixin
from django_htmx.http import HttpResponseClientRedirect

from explorer.access import EVERYONE, entry_of, least_role, role_of
from explorer.actions.limits import TooMany
from explorer.models.access import Role
from explorer.views.errors import method_not_allowed, too_many_requests

log = logging.getLogger(__name__)


class AccessMiddleware(MiddlewareMixin):
    """Lets in whom a view says it lets in (access.allow), and nobody where it says nothing."""

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> HttpResponse | None:
        entry = entry_of(view)
        if entry is EVERYONE:
            return None  # without asking who it is
        if entry is None:
            log.error("%s does not say who may enter", view)
            raise PermissionDenied
        least = least_role(entry)
        if least == Role.VISITOR or role_of(request.user) >= least:
            return None
        if request.user.is_authenticated:
            raise PermissionDenied(f"This is for {least.label}s.")
        return _to_sign_in(request)

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if isinstance(response, HttpResponseNotAllowed) and not response.content:
            return method_not_allowed(request, response)
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        return too_many_requests(request, exception.wait) if isinstance(exception, TooMany) else None


def _to_sign_in(request: HttpRequest) -> HttpResponse:
    """And back to where one was: after a form, to the page it stood on, as its own address takes no GET."""
    answer = redirect_to_login(request.get_full_path() if request.method in ("GET", "HEAD") else _page_before(request))
    if request.headers.get("HX-Request"):  # else the form to sign in would be put into a part of the page
        page = urlsplit(request.headers.get("HX-Current-URL", "/"))
        return HttpResponseClientRedirect(redirect_to_login(page._replace(scheme="", netloc="").geturl()).url)
    return answer


def _page_before(request: HttpRequest) -> str:
    before = urlsplit(request.headers.get("Referer", ""))
    return before._replace(scheme="", netloc="").geturl() if before.netloc == request.get_host() else "/"
