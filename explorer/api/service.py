"""The JSON API: its description, and the one shape of what goes wrong."""

import math
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError
from ninja.openapi.schema import OpenAPISchema

import explorer
from explorer.actions.jobs import NotPossible
from explorer.actions.limits import TooMany
from explorer.api import features, jobs, labels, lists, maps, me, saes, scoring, search, steerings, studies
from explorer.gates import Blind
from explorer.problems import MEDIA_TYPE, problem
from explorer.steering import Wrong

ABOUT = """\
Reads what the pages show and does what they do, by the same rights.

Send a token, made on your account's page, as `Authorization: Bearer sae_…`. From a page of this site
the session does as well; requests that change something then need its CSRF token.

Lists come in pages: send `next` of one as `after` for the following one. Whatever goes wrong is told
as problem details (RFC 9457).
"""
PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "For a person."},
        "errors": {
            "type": "array",
            "description": "What was wrong, and where in the request.",
            "items": {
                "type": "object",
                "required": ["where", "message"],
                "properties": {
                    "where": {"type": "array", "items": {"type": ["string", "integer"]}},
                    "message": {"type": "string"},
                },
            },
        },
    },
}
PROBLEMS = {
    "401": "A token or a session is wanted.",
    "403": "This token or account may not do that.",
    "422": "Something in the request is not as described.",
    "429": "Too many requests; Retry-After says when to come again.",
    "default": "Something else went wrong.",
}


def nobody(request: HttpRequest) -> None:
    raise PermissionDenied


class Service(NinjaAPI):
    def get_openapi_schema(self, *args: Any, **kwargs: Any) -> OpenAPISchema:
        """Every operation may answer with a problem; ninja describes only what functions return."""
        schema = super().get_openapi_schema(*args, **kwargs)
        components = schema["components"]
        components.setdefault("schemas", {})["Problem"] = PROBLEM
        content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
        answers = {status: {"description": about, "content": content} for status, about in PROBLEMS.items()}
        for operations in schema["paths"].values():
            for operation in operations.values():
                operation["responses"] = {**operation["responses"], **answers}
        return schema


service = Service(
    title="SAE explorer",
    version=explorer.__version__,
    description=ABOUT,
    docs_url=None,  # ninja's page wants inline scripts; ours is at /api/
    urls_namespace="api",
    auth=nobody,  # unless an operation says who (auth.needs)
)
service.add_router("", me.router)
service.add_router("/jobs", jobs.router)
service.add_router("/saes", saes.router)
service.add_router("/saes", features.router)
service.add_router("/saes", labels.router)
service.add_router("/saes", maps.of_saes)
service.add_router("/maps", maps.router)
service.add_router("/lists", lists.router)
service.add_router("/search", search.router)
service.add_router("/steerings", steerings.router)
service.add_router("/studies", studies.router)
service.add_router("/studies", scoring.router)


@service.exception_handler(AuthenticationError)
def unknown_caller(request: HttpRequest, exception: AuthenticationError) -> HttpResponse:
    answer = problem(HTTPStatus.UNAUTHORIZED, PROBLEMS["401"])
    answer["WWW-Authenticate"] = "Bearer"
    return answer


@service.exception_handler(PermissionDenied)
def not_allowed(request: HttpRequest, exception: PermissionDenied) -> HttpResponse:
    return problem(HTTPStatus.FORBIDDEN, PROBLEMS["403"])


@service.exception_handler(Blind)
def blind(request: HttpRequest, exception: Blind) -> HttpResponse:
    return problem(HTTPStatus.FORBIDDEN, str(exception))


@service.exception_handler(Http404)
def not_found(request: HttpRequest, exception: Http404) -> HttpResponse:
    return problem(HTTPStatus.NOT_FOUND, str(exception))


@service.exception_handler(NotPossible)
def not_possible(request: HttpRequest, exception: NotPossible) -> HttpResponse:
    return problem(HTTPStatus.CONFLICT, str(exception))


@service.exception_handler(TooMany)
def too_many(request: HttpRequest, exception: TooMany) -> HttpResponse:
    seconds = math.ceil(exception.wait)
    answer = problem(HTTPStatus.TOO_MANY_REQUESTS, f"Try again in {seconds} s.")
    answer["Retry-After"] = str(seconds)
    return answer


@service.exception_handler(Wrong)
def wrong(request: HttpRequest, exception: Wrong) -> HttpResponse:
    errors = [{"where": ["body", "asked", *exception.where], "message": exception.message}]
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, PROBLEMS["422"], errors)


@service.exception_handler(HttpError)
def refused(request: HttpRequest, exception: HttpError) -> HttpResponse:
    return problem(HTTPStatus(exception.status_code), exception.message)


@service.exception_handler(ValidationError)
def not_as_described(request: HttpRequest, exception: ValidationError) -> HttpResponse:
    errors = [{"where": list(error["loc"]), "message": error["msg"]} for error in exception.errors]
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, PROBLEMS["422"], errors)
