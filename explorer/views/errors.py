"""What is answered when something goes wrong: a page with a way back, or a problem where the API was asked."""

import logging
import math
import sys
from http import HTTPStatus

from django.conf import settings
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string

from explorer.problems import is_for_api, problem

log = logging.getLogger(__name__)


def server_error(request: HttpRequest) -> HttpResponse:
    """Django calls this while it handles the exception, so it can say what went wrong."""
    away = isinstance(sys.exc_info()[1], OperationalError | InterfaceError)
    status = HTTPStatus.SERVICE_UNAVAILABLE if away else HTTPStatus.INTERNAL_SERVER_ERROR
    response: HttpResponse
    if is_for_api(request):
        response = problem(status, "The database is away; try again." if away else "It has been noted in the log.")
    else:  # no request: its context would ask the database
        response = render(None, "errors/database_away.html" if away else "errors/500.html", status=status)
    if away:
        response["Retry-After"] = "5"
    return response


def forbidden(request: HttpRequest, exception: PermissionDenied) -> HttpResponse:
    if is_for_api(request):
        return problem(HTTPStatus.FORBIDDEN)
    return render(request, "403.html", {"why": str(exception)}, status=HTTPStatus.FORBIDDEN)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if is_for_api(request):
        return problem(HTTPStatus.NOT_FOUND)
    return render(request, "404.html", status=HTTPStatus.NOT_FOUND)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Nothing of the request is believed here, so nothing of it is asked: not who it is, not which page."""
    if isinstance(exception, RequestDataTooBig):  # a field beside a file, whose address takes more than a form's
        content = render_to_string("errors/too_large.html", {"mib": settings.DATA_UPLOAD_MAX_MEMORY_SIZE >> 20})
        return HttpResponse(content, status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    if is_for_api(request):
        return problem(HTTPStatus.BAD_REQUEST)
    return HttpResponse(render_to_string("400.html"), status=HTTPStatus.BAD_REQUEST)


def method_not_allowed(request: HttpRequest, refusal: HttpResponse) -> HttpResponse:
    """For whoever comes to a form's address by way of the browser's history."""
    response = render(request, "errors/405.html", status=HTTPStatus.METHOD_NOT_ALLOWED)
    response["Allow"] = refusal["Allow"]
    return response


def too_many_requests(request: HttpRequest, wait: float) -> HttpResponse:
    seconds = math.ceil(wait)
    response: HttpResponse
    if is_for_api(request):
        response = problem(HTTPStatus.TOO_MANY_REQUESTS, f"Try again in {seconds} s.")
    else:
        response = render(request, "errors/429.html", {"seconds": seconds}, status=HTTPStatus.TOO_MANY_REQUESTS)
    response["Retry-After"] = str(seconds)
    return response
