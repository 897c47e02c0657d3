"""The embedded PostgreSQL of this install's data folder, and who may run it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from explorer.places import Places
from explorer.supervisor import lock
from explorer.supervisor.postgres import Cluster


def cluster(places: Places) -> Cluster:
    return Cluster(
        folder=places.postgres,
        socket=places.socket,
        log=places.log / "postgres.log",
        widened=places.widened,
        user=settings.EMBEDDED_USER,
    )


@contextmanager
def running(doing: str) -> Iterator[None]:
    """For a command that works alone: the database is up, its own or the one of a running `up`.

    With DATABASE_URL set there is nothing to run.
    """
    if not settings.EMBEDDED_POSTGRES:
        yield
        return
    places: Places = settings.PLACES
    server = cluster(places)
    try:
        holding = lock.hold(places.lock, doing)
        holding.__enter__()
    except lock.Taken:
        if not server.answers():
            raise
        yield
        return
    try:
        server.prepare()
        process = server.start()
        try:
            server.ensure_database(settings.EMBEDDED_NAME)
            yield
        finally:
            server.stop(process)
            remove_if_empty(places.run)
    finally:
        holding.__exit__(None, None, None)


def remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
