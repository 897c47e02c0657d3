"""A table's rows to a file and back, in pieces, counted and hashed on their way."""

import gzip
import hashlib
import zlib
from collections.abc import Iterable, Iterator
from typing import IO, TYPE_CHECKING

import psycopg
from django.db.models import Model
from psycopg import sql

from explorer.backup import Failed, schema
from explorer.backup.manifest import TableRows

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

CHUNK = 1 << 20
COMPRESSION = 1  # of rows like ours the default, 6, packs 4 to 10 % smaller and takes four times as long

# The text of a value must not depend on how this server, database or user is set up (pg_dump sets the same).
PLAIN_VALUES = {
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "row_security": "off",  # an error rather than fewer rows
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}


class Tally:
    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.size = 0

    def add(self, chunk: bytes) -> None:
        self._hash.update(chunk)
        self.size += len(chunk)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


def keep(cursor: "CursorWrapper", tables: Iterable[str]) -> None:
    """Before anything is read in a transaction: a partition that is dropped is gone for whoever had yet to read it, as
    of whatever moment they see the rest."""
    for table in tables:
        cursor.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(sql.Identifier(table)))


def settle(cursor: "CursorWrapper") -> None:
    """For the transaction that copies."""
    for name, value in PLAIN_VALUES.items():
        cursor.execute("SELECT set_config(%s, %s, true)", [name, value])


def copy_out(cursor: "CursorWrapper", model: type[Model], into: IO[bytes]) -> TableRows:
    columns = schema.columns(model)
    statement = sql.SQL("COPY (SELECT {} FROM {} ORDER BY {}) TO STDOUT (FORMAT text, ENCODING 'UTF8')").format(
        _names(columns), sql.Identifier(model._meta.db_table), _names(schema.primary_key(model))
    )
    tally = Tally()
    packing = gzip.GzipFile(filename="", fileobj=into, mode="wb", compresslevel=COMPRESSION, mtime=0)
    with packing as packed, cursor.copy(statement) as copy:
        for chunk in _joined(copy):
            tally.add(chunk)
            packed.write(chunk)
    return TableRows(model._meta.db_table, columns, cursor.rowcount, tally.size, tally.sha256)


def copy_in(cursor: "CursorWrapper", recorded: TableRows, packed: IO[bytes]) -> None:
    """Refused by name unless the rows are those that were recorded."""
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT text, ENCODING 'UTF8')").format(
        sql.Identifier(recorded.table), _names(recorded.columns)
    )
    tally = Tally()
    try:
        with gzip.GzipFile(fileobj=packed) as unpacked, cursor.copy(statement) as copy:
            while chunk := unpacked.read(CHUNK):
                tally.add(chunk)
                if tally.size > recorded.size:  # a bomb ends here
                    raise Failed(f"{recorded.member} is damaged: more than its {recorded.size:,} bytes")
                copy.write(chunk)
    except (EOFError, zlib.error, gzip.BadGzipFile) as wrong:
        raise Failed(f"{recorded.member} is damaged: {wrong}") from None
    except psycopg.Error as wrong:
        raise Failed(f"{recorded.member}: PostgreSQL refused the rows of {recorded.table}: {wrong}") from None
    if (tally.size, tally.sha256) != (recorded.size, recorded.sha256):
        raise Failed(f"{recorded.member} is damaged: its rows are not those that the manifest describes")
    if cursor.rowcount != recorded.rows:
        raise Failed(f"{recorded.member} gave {cursor.rowcount:,} rows; the manifest says {recorded.rows:,}")


def truncate(cursor: "CursorWrapper", models: Iterable[type[Model]]) -> None:
    tables = _names(model._meta.db_table for model in models)
    cursor.execute(sql.SQL("TRUNCATE {} RESTART IDENTITY").format(tables))


def _names(names: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))


def _joined(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """PostgreSQL sends row by row; packing and hashing each by itself would take most of the time."""
    held = bytearray()
    for block in blocks:
        held += block
        if len(held) >= CHUNK:
            yield bytes(held)
            held.clear()
    yield bytes(held)
