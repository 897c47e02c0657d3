from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from explorer.access import role_of


def person(request: HttpRequest) -> dict[str, Any]:
    """What every page may ask about who looks at it; lazily, as asking costs a query."""
    return {
        "role": SimpleLazyObject(lambda: role_of(request.user)),
        "debug": settings.DEBUG,
        "open_reading": settings.OPEN_READING,
        "registration": settings.OPEN_REGISTRATION,
    }
