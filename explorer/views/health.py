import os

from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from explorer.access import EVERYONE, allow
from explorer.hub import hub


@allow(EVERYONE)
@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """The process answers."""
    return JsonResponse({"ok": True, "pid": os.getpid()})


@allow(EVERYONE)
@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """Pages and streams can be served: PostgreSQL answers, is migrated, and is listened to."""
    found = {"listening": hub.listening, "migrated": False}
    if hub.listening:  # else PostgreSQL is away, and a probe should not wait for it as a page does
        try:
            executor = MigrationExecutor(connection)
            found["migrated"] = not executor.migration_plan(executor.loader.graph.leaf_nodes())
        except DatabaseError:
            connection.close()
    return JsonResponse(found, status=200 if all(found.values()) else 503)
