import os

from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache

from explorer.hub import hub


@login_not_required
@never_cache
def healthz(request: HttpRequest) -> JsonResponse:
    """The process answers."""
    return JsonResponse({"ok": True, "pid": os.getpid()})


@login_not_required
@never_cache
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
