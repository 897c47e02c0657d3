"""What `manage.py check` looks at beyond Django's own."""

import difflib
import os
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.urls import URLPattern, URLResolver, get_resolver

from explorer import env
from explorer.access import entry_of

# Set for a purpose of their own, read elsewhere.
PREFIX = "EXPLORER_"


@register(Tags.security)
def variables_are_known(**_: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in env.KNOWN:
            near = difflib.get_close_matches(name, env.KNOWN, n=1)
            hint = f"Did you mean {near[0]}?" if near else "The README lists them all."
            found.append(Warning(f"{name} is set, and nothing reads it.", hint=hint, id="explorer.W001"))
    return found


@register(Tags.files)
def data_folder_can_be_written(**_: Any) -> list[CheckMessage]:
    data = settings.PLACES.data
    nearest = next(folder for folder in (data, *data.parents) if folder.exists())
    if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
        return []
    return [Error(f"The data folder {data} cannot be written to.", hint="EXPLORER_DATA=…", id="explorer.E001")]


@register(Tags.security)
def views_say_who_may_enter(**_: Any) -> list[CheckMessage]:
    """One that does not is closed to all; better to hear of it here than from a visitor."""
    silent = [pattern for pattern in _patterns(get_resolver()) if entry_of(pattern.callback) is None]
    hint = "Decorate its view with explorer.access.allow."
    return [
        Error(f"{pattern.pattern} does not say who may enter.", hint=hint, id="explorer.E002") for pattern in silent
    ]


def _patterns(resolver: URLResolver) -> Iterator[URLPattern]:
    for each in resolver.url_patterns:
        if isinstance(each, URLResolver):
            yield from _patterns(each)
        else:
            yield each


@register(Tags.security, deploy=True)
def production_stands_alone(**_: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if not settings.PRODUCTION:
        found.append(Warning("EXPLORER_PRODUCTION is not set; cookies go over plain HTTP.", id="explorer.W002"))
    if settings.PRODUCTION and settings.EMBEDDED_POSTGRES:
        hint = "Set DATABASE_URL, and back that server up."
        found.append(Warning("In production the embedded PostgreSQL is used.", hint=hint, id="explorer.W003"))
    return found
