import logging
import sys

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

log = logging.getLogger(__name__)


def server_error(request: HttpRequest) -> HttpResponse:
    """Django calls this while it handles the exception, so it can say what went wrong."""
    away = isinstance(sys.exc_info()[1], OperationalError | InterfaceError)
    if away:
        response = render(None, "errors/database_away.html", status=503)
        response["Retry-After"] = "5"
        return response
    return render(None, "errors/500.html", status=500)  # no request: its context would ask the database
