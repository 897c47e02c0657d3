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
    found = {"database": False, "migrated": False, "listening": hub.listening}
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        found["database"] = True
        executor = MigrationExecutor(connection)
        found["migrated"] = not executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError:
        connection.close()
    return JsonResponse(found, status=200 if all(found.values()) else 503)
