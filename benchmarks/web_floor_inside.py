"""Run by web_floor.py in its data folder: prepares the site, then takes a signed-in page apart in one process.

The last line says how a viewer signs in, which job to follow, and what a page's parts take.
"""

import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import django
import psycopg

django.setup()

from django.conf import settings  # noqa: E402  these need the apps to be ready
from django.contrib.auth.models import User  # noqa: E402
from django.core.handlers.wsgi import WSGIHandler  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client, RequestFactory  # noqa: E402

from explorer.models import Job  # noqa: E402

BATCHES, BATCH_SECONDS = 7, 0.3


def main() -> None:
    call_command("migrate", interactive=False, verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    client = Client()
    client.force_login(User.objects.create_user("viewer"))
    cookie = f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"
    job = Job.objects.create(kind="diagnose", queue="batch")  # no worker will ever run it
    connection.close()
    print(json.dumps({"cookie": cookie, "job": job.pk, "milliseconds": parts(cookie)}))


def parts(cookie: str) -> dict[str, float]:
    handler = WSGIHandler()

    def page(path: str, **headers: str) -> Callable[[], None]:
        environ = RequestFactory().get(path, headers={"Host": "127.0.0.1", **headers}).environ

        def render() -> None:
            answer: Any = handler(dict(environ), _start_response)
            assert answer.status_code == 200, answer
            answer.close()  # gives the connection back to the pool

        return render

    signed_in = page("/benchmark/empty/", cookie=cookie)
    statements = ["", *_statements(signed_in)]  # the empty one is how the pool checks a connection
    assert len(statements) == 3, statements
    connection.ensure_connection()
    bare = connection.connection

    def ask() -> None:
        for statement in statements:
            cursor = bare.execute(statement)
            assert not statement or len(cursor.fetchall()) == 1

    asked = _milliseconds(ask)
    connection.close()
    return {
        "the whole page": _milliseconds(signed_in),
        "its three statements on a bare connection": asked,
        "a page that asks PostgreSQL nothing": _milliseconds(page("/healthz")),
    }


def _start_response(status: str, headers: list[tuple[str, str]], *_: Any) -> Callable[[bytes], None]:
    return lambda _: None


def _statements(do: Callable[[], None]) -> list[str]:
    do()  # what only the first request asks is left out
    seen: list[str] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        seen.append(psycopg.ClientCursor(connection.connection).mogrify(sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        do()
    return seen


def _milliseconds(do: Callable[[], None]) -> float:
    """The median over batches of one call's mean."""
    means = []
    do()
    for _ in range(BATCHES):
        count, start = 0, time.perf_counter()
        while time.perf_counter() - start < BATCH_SECONDS:
            do()
            count += 1
        means.append((time.perf_counter() - start) / count * 1e3)
    return statistics.median(means)


if __name__ == "__main__":
    main()
