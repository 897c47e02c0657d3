from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern
from django.views.decorators.http import require_safe
from django.views.generic import RedirectView

from explorer.access import EVERYONE, allow
from explorer.api.service import service
from explorer.problems import MEDIA_TYPE, problem

View = Callable[..., HttpResponseBase]


def in_one_shape(view: View) -> View:
    """What ninja and Django answer without asking any handler, such as 405, made a problem too."""

    @wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = view(request, *args, **kwargs)
        if response.status_code < 400 or response.headers.get("Content-Type") == MEDIA_TYPE:
            return response
        instead: HttpResponse = problem(HTTPStatus(response.status_code))
        if "Allow" in response.headers:
            instead["Allow"] = response.headers["Allow"]
        return instead

    return answer


def of_service() -> list[URLPattern]:
    """Open to everyone, as each operation asks for a token or a session itself (auth.needs)."""
    patterns, _, _ = service.urls
    found = [each for each in patterns if isinstance(each, URLPattern)]
    for pattern in found:
        view: View = pattern.callback
        if pattern.name == "api-root":
            view = RedirectView.as_view(pattern_name="api_guide")
        elif pattern.name == "openapi-json":
            view = require_safe(view)
        pattern.callback = allow(EVERYONE)(in_one_shape(view))
    return found


app_name = "api"
urlpatterns = of_service()
