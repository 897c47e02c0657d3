"""An install into an archive, while `manage.py up` runs or while nothing does."""

import hashlib
import os
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from django.conf import settings
from django.db import connection, transaction
from django.db.migrations.loader import MigrationLoader

from explorer import __version__, artifacts, partitions
from explorer.backup import Failed, Summary, archive, counted, in_words, rows, schema
from explorer.backup.manifest import NAME, SECRET_KEY, ArtifactFile, Manifest, Migration, TableRows
from explorer.models import Artifact
from explorer.places import Places
from explorer.supervisor import embedded

Say = Callable[[str], None]


def write(file: Path, say: Say) -> Summary:
    target = file.resolve()
    places: Places = settings.PLACES
    _refuse_target(target, places)
    if settings.EMBEDDED_POSTGRES and not places.postgres.exists():
        raise Failed(f"{places.data} holds no database; there is nothing to back up (EXPLORER_DATA=… names another)")
    with embedded.running(f"`manage.py backup {target.name}`"):
        try:
            with archive.written(target) as writer:
                manifest = _write_members(writer, target.parent, say)
        except OSError as wrong:
            kept = "the one that was there is as it was" if target.exists() else "nothing is left of it"
            raise Failed(f"{target} could not be written: {wrong.strerror or wrong}; {kept}") from None
        finally:
            connection.close()
    return Summary(
        tables=len(manifest.tables),
        rows=sum(each.rows for each in manifest.tables),
        artifacts=len(manifest.artifacts),
        size=target.stat().st_size,
    )


def _refuse_target(target: Path, places: Places) -> None:
    if not target.parent.is_dir():
        raise Failed(f"{target.parent} is no folder")
    if target.exists() and not target.is_file():
        raise Failed(f"{target} is there and is no file")
    if target.is_relative_to(places.data.resolve()):
        raise Failed(f"{target} lies in the data folder and would be lost with it; choose a place outside")


def _write_members(writer: archive.Writer, folder: Path, say: Say) -> Manifest:
    migrations, tables, kept = _write_rows(writer, folder, say)
    for artifact in kept:
        _write_artifact(writer, artifact)
    say(f"{counted(len(kept), 'artifact')}, {in_words(sum(each.size for each in kept))}")
    key = _generated_key(settings.PLACES)
    if key is not None:
        writer.add_bytes(SECRET_KEY, key)
    manifest = Manifest(
        release=__version__,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        migrations=migrations,
        tables=tables,
        artifacts=kept,
        secret_key=None if key is None else hashlib.sha256(key).hexdigest(),
    )
    writer.add_bytes(NAME, manifest.to_json())
    return manifest


def _write_rows(
    writer: archive.Writer, folder: Path, say: Say
) -> tuple[frozenset[Migration], tuple[TableRows, ...], tuple[ArtifactFile, ...]]:
    """All as of one moment, however long it takes."""
    parted = partitions.tables()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        rows.keep(cursor, parted)
        rows.settle(cursor)
        loader = MigrationLoader(connection)
        migrations = _applied(loader)
        tables = []
        for model in schema.models_after(loader, migrations):
            # A member's size stands before it, so it is packed apart; a nameless file goes even if we are killed.
            with tempfile.TemporaryFile(dir=folder) as packed:
                table = rows.copy_out(cursor, model, packed)
                size = packed.tell()
                packed.seek(0)
                writer.add(table.member, size, packed)
            say(f"{table.table}: {counted(table.rows, 'row')}")
            tables.append(table)
        kept = Artifact.objects.order_by("sha256").values_list("sha256", "size")
        return migrations, tuple(tables), tuple(ArtifactFile(*each) for each in kept)


def _applied(loader: MigrationLoader) -> frozenset[Migration]:
    applied = loader.applied_migrations.keys()
    replaced = {each for migration in loader.replacements.values() for each in migration.replaces}
    schema.refuse_unknown(loader, applied - replaced, "The database")
    if not any(app == "explorer" for app, _ in applied):
        raise Failed("The database holds no tables of the explorer; there is nothing to back up")
    return frozenset(applied & loader.graph.nodes.keys())


def _write_artifact(writer: archive.Writer, artifact: ArtifactFile) -> None:
    try:
        with artifacts.path(artifact.sha256).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size != artifact.size:
                raise Failed(
                    f"artifact {artifact.sha256} is damaged: {file.name} is of {size:,} bytes and its row "
                    f"says {artifact.size:,}; delete the artifact, then back up"
                )
            content = _Hashed(file)
            writer.add(artifact.member, size, content)
    except (artifacts.ArtifactMissing, FileNotFoundError) as missing:
        raise Failed(f"{missing}; if it was deleted just now, back up again") from None
    if content.tally.sha256 != artifact.sha256:
        raise Failed(f"artifact {artifact.sha256} is damaged: its bytes are others; delete the artifact, then back up")


class _Hashed:
    """Hashes what is read through it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.tally = rows.Tally()

    def read(self, size: int) -> bytes:
        try:
            chunk = self._file.read(size)
        except OSError as wrong:
            raise Failed(f"{self._file.name} cannot be read: {wrong.strerror}") from None
        self.tally.add(chunk)
        return chunk


def _generated_key(places: Places) -> bytes | None:
    """Where EXPLORER_SECRET_KEY is set, whoever set it keeps it."""
    try:
        content = places.secret_key.read_bytes()
    except FileNotFoundError:
        return None
    return content if content.decode().strip() == settings.SECRET_KEY else None
