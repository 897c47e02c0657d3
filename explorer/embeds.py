"""What may stand in somebody else's page: an embed, which shows and does nothing."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse

Page = Callable[..., HttpResponse]


def framable_as_embed(view: Page) -> Page:
    """Said with a 304 as well: a browser takes the policy of what it has kept from there."""

    @wraps(view)
    def framing(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response = view(request, *args, **kwargs)
        if request.GET.get("embed") == "1":
            response.xframe_options_exempt = True
            response._csp_replace = {"frame-ancestors": ["*"]}  # type: ignore[attr-defined]
        return response

    return framing
