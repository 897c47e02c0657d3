"""The embedded PostgreSQL of this install's data folder, and who may run it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from django.conf import settings
from django.db import connection

from explorer.places import Places
from explorer.supervisor import lock
from explorer.supervisor.postgres import Cluster, PostgresFailed


def cluster(places: Places) -> Cluster:
    return Cluster(
        folder=places.postgres,
        socket=places.socket,
        log=places.log / "postgres.log",
        widened=places.widened,
        user=settings.EMBEDDED_USER,
    )


class CannotRun(Exception):
    """Why the database of this data folder cannot be run here; for the person at the terminal."""


def refuse_half_restored(places: Places) -> None:
    if places.unfinished_restore.exists():
        raise CannotRun(f"{places.data} holds half of a restore; delete the folder and restore again")


@contextmanager
def running(doing: str) -> Iterator[None]:
    """For a command that works alone: the database is up, its own or the one of a running `up`.

    With DATABASE_URL set there is nothing to run.
    """
    places: Places = settings.PLACES
    refuse_half_restored(places)
    if not settings.EMBEDDED_POSTGRES:
        yield
        return
    server = cluster(places)
    with ExitStack() as stack:
        try:
            stack.enter_context(lock.hold(places.lock, doing))
        except lock.Taken as taken:
            if not server.answers():
                raise CannotRun(str(taken)) from None
        else:
            stack.callback(remove_if_empty, places.run)
            stack.enter_context(_started(server))
            server.ensure_database(settings.EMBEDDED_NAME)
        yield


@contextmanager
def _started(server: Cluster) -> Iterator[None]:
    try:
        server.prepare()
        process = server.start()
    except PostgresFailed as failed:
        server.put_away()
        raise CannotRun(str(failed)) from None
    try:
        yield
    finally:
        connection.close()
        connection.close_pool()  # type: ignore[attr-defined]  # before its server goes
        server.stop(process)


def remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
