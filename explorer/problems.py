"""The one shape in which the API says what went wrong: RFC 9457's problem details."""

from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, JsonResponse

API = "/api/"
MEDIA_TYPE = "application/problem+json"


def is_for_api(request: HttpRequest) -> bool:
    return request.path.startswith(API)


def problem(status: HTTPStatus, detail: str = "", errors: list[dict[str, Any]] | None = None) -> JsonResponse:
    content: dict[str, Any] = {"type": "about:blank", "title": status.phrase, "status": int(status)}
    if detail:
        content["detail"] = detail
    if errors:
        content["errors"] = errors
    return JsonResponse(content, status=status, content_type=MEDIA_TYPE)
