"""An archive into an empty data folder: all of it, or nothing is left of it."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings
from django.core.files import File
from django.core.files.storage import storages
from django.core.management import call_command
from django.core.management.color import no_style
from django.db import Error, connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.models import Model
from psycopg import sql

from explorer import artifacts, partitions
from explorer.backup import Failed, Summary, archive, counted, in_words, rows, schema, stopping
from explorer.backup.manifest import SECRET_KEY
from explorer.places import Places
from explorer.supervisor import embedded, lock

Say = Callable[[str], None]
SECRET_KEY_LIMIT = 4096  # bytes


def restore(source: Path, say: Say) -> Summary:
    places: Places = settings.PLACES
    with lock.hold(places.lock, f"`manage.py restore {source.name}`"):
        _refuse_used_folder(places)
        with archive.opened(source) as reader:
            manifest = reader.manifest
            loader = MigrationLoader(None)
            models = schema.refuse_unfit(loader, manifest)
            ours = schema.tables_of_ours(loader, manifest.migrations)
            key = _read_key(reader)
            with _all_or_nothing(places) as saved:
                with _database(places), _refused_or_emptied(ours):
                    _load_rows(reader, models, say)
                    _load_artifacts(reader, saved, say)
                if key is not None:
                    artifacts.write_atomically(places.secret_key, [key])
            return Summary(
                tables=len(manifest.tables),
                rows=sum(each.rows for each in manifest.tables),
                artifacts=len(manifest.artifacts),
                size=reader.size,
            )


# Where to


def _refuse_used_folder(places: Places) -> None:
    if places.unfinished_restore.exists():
        if settings.EMBEDDED_POSTGRES:
            embedded.cluster(places).put_away()  # its note of opened folders would go with the data folder
        database = "" if settings.EMBEDDED_POSTGRES else ", empty the database that DATABASE_URL names"
        raise Failed(
            f"{places.data} holds half of a restore that was killed; delete the folder{database}, restore again"
        )
    used = sorted(entry.name for entry in places.data.iterdir() if not _is_fresh(entry, places))
    if used:
        named = ", ".join(used[:5]) + (", …" if len(used) > 5 else "")
        raise Failed(f"{places.data} is not empty: it holds {named}; EXPLORER_DATA=… names another folder")


def _is_fresh(entry: Path, places: Places) -> bool:
    """Made by nothing more than importing the settings, or left empty."""
    if entry in (places.secret_key, places.lock):
        return entry.is_file()
    return entry in (places.log, places.run) and entry.is_dir() and not any(entry.iterdir())


@contextmanager
def _all_or_nothing(places: Places) -> Iterator[list[str]]:
    """Yields a list for the names of what is put into the store of artifacts."""
    saved: list[str] = []
    try:
        with places.unfinished_restore.open("x") as marker:
            marker.write("manage.py restore is at work here, or was killed; then this folder is to be deleted.\n")
            marker.flush()
            os.fsync(marker.fileno())
        archive.sync_folder(places.data)
        yield saved
        archive.sync_folder(places.data)
        places.unfinished_restore.unlink()
    except BaseException as failure:
        try:
            _remove_what_was_made(places, saved)
        except OSError as wrong:
            raise Failed(
                f"{str(failure) or 'Stopped'}\nIt could not be undone ({wrong}): delete {places.data}"
            ) from None
        if isinstance(failure, OSError):
            where = f" ({failure.filename})" if failure.filename else ""
            raise Failed(f"{failure.strerror or failure}{where}; what was restored until then is removed") from None
        raise
    archive.sync_folder(places.data)


def _remove_what_was_made(places: Places, saved: list[str]) -> None:
    for name in saved:
        storages["artifacts"].delete(name)
    for folder in (places.postgres, embedded.cluster(places).draft, places.artifacts, places.log, places.run):
        if folder.exists():
            shutil.rmtree(folder)
    places.unfinished_restore.unlink(missing_ok=True)


@contextmanager
def _database(places: Places) -> Iterator[None]:
    """As embedded.running, but never somebody else's: the lock is ours already."""
    server = embedded.cluster(places) if settings.EMBEDDED_POSTGRES else None
    process = None
    try:
        if server is not None:
            with stopping.put_off():  # a half-started server would write into what is being removed
                server.prepare()
                process = server.start()
            server.ensure_database(settings.EMBEDDED_NAME)
        yield
    finally:
        connection.close()
        connection.close_pool()  # type: ignore[attr-defined]  # before its server goes
        if process is not None and server is not None:
            server.stop(process)
        elif server is not None:
            server.put_away()
        embedded.remove_if_empty(places.run)


@contextmanager
def _refused_or_emptied(ours: set[str]) -> Iterator[None]:
    """For a server that is not ours to remove: tables of ours are not there before, nor after a failure."""
    if found := sorted(ours.intersection(connection.introspection.table_names())):
        raise Failed(f"The database is not empty: it holds {', '.join(found[:5])} …; DATABASE_URL=… names another")
    try:
        yield
    except BaseException as failure:
        if not settings.EMBEDDED_POSTGRES:
            try:
                _drop(ours)
            except Error as wrong:
                raise Failed(
                    f"{str(failure) or 'Stopped'}\nIt could not be undone ({wrong}): empty the database"
                ) from None
        raise


def _drop(tables: set[str]) -> None:
    connection.close()
    made = sorted(tables.intersection(connection.introspection.table_names()))
    if made:
        with connection.cursor() as cursor:
            names = sql.SQL(", ").join(map(sql.Identifier, made))
            cursor.execute(sql.SQL("DROP TABLE {} CASCADE").format(names))


# What


def _load_rows(reader: archive.Reader, models: list[type[Model]], say: Say) -> None:
    """Into the tables of the release that wrote them, which are then brought up to date; and from where they came to
    lie into partitions of their owners."""
    executor = MigrationExecutor(connection)
    plan = [(executor.loader.graph.nodes[key], False) for key in sorted(reader.manifest.migrations)]
    executor.migrate(None, plan)
    with transaction.atomic(), connection.cursor() as cursor:
        rows.settle(cursor)
        rows.truncate(cursor, models)  # migrating made some rows, which the archive has too
        for table in reader.manifest.tables:
            with reader.open(table.member) as packed:
                rows.copy_in(cursor, table, packed)
            say(f"{table.table}: {counted(table.rows, 'row')}")
        for statement in connection.ops.sequence_reset_sql(no_style(), models):
            cursor.execute(statement)
    call_command("migrate", interactive=False, verbosity=0)
    with transaction.atomic():
        partitions.spread()


def _load_artifacts(reader: archive.Reader, saved: list[str], say: Say) -> None:
    storage = storages["artifacts"]
    kept = reader.manifest.artifacts
    for artifact in kept:
        name = artifacts.key(artifact.sha256)
        with reader.open(artifact.member) as content:
            if artifacts.digest(content)[0] != artifact.sha256:
                raise Failed(f"{artifact.member} is damaged: its bytes have another sha256")
            content.seek(0)
            if not storage.exists(name):  # a store outside the data folder may have kept it
                saved.append(name)
                storage.save(name, File(content))
    say(f"{counted(len(kept), 'artifact')}, {in_words(sum(each.size for each in kept))}")


def _read_key(reader: archive.Reader) -> bytes | None:
    expected = reader.manifest.secret_key
    if expected is None:
        return None
    with reader.open(SECRET_KEY) as file:
        key = file.read(SECRET_KEY_LIMIT)
    if hashlib.sha256(key).hexdigest() != expected:
        raise Failed(f"{SECRET_KEY} is damaged: its bytes have another sha256")
    return key
