"""Rows for PostgreSQL's COPY in its binary form, whole columns at a time where rows are alike."""

import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from django.db import connection
from numpy.typing import NDArray
from psycopg import Copy, sql

HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">II", 0, 0)
TRAILER = struct.pack(">h", -1)
CHUNK = 1 << 20


@contextmanager
def copying(table: str, columns: Iterable[str]) -> Iterator[Copy]:
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(HEADER)
        yield copy
        copy.write(TRAILER)


def fixed(columns: dict[str, NDArray[Any]]) -> bytes:
    """Rows of numbers alone: int64, int32 or float32."""
    n = len(next(iter(columns.values())))
    kinds: list[tuple[str, str]] = [("fields", ">i2")]
    for name, array in columns.items():
        kinds += [(f"{name} length", ">i4"), (name, array.dtype.newbyteorder(">").str)]
    rows = np.zeros(n, kinds)
    rows["fields"] = len(columns)
    for name, array in columns.items():
        rows[f"{name} length"] = array.dtype.itemsize
        rows[name] = array
    return rows.tobytes()


def with_bytes(numbers: dict[str, NDArray[Any]], packed: Iterable[bytes | tuple[bytes, ...]]) -> Iterator[bytes]:
    """Rows of numbers and then of one or more strings of bytes, in chunks."""
    prefixes = fixed(numbers)
    n = len(next(iter(numbers.values())))
    size = len(prefixes) // n if n else 0
    length = struct.Struct(">i").pack
    held: list[bytes] = []
    room = CHUNK
    for row, strings in enumerate(packed):
        several = (strings,) if isinstance(strings, bytes) else strings
        prefix = prefixes[row * size : (row + 1) * size]
        held.append(struct.pack(">h", len(numbers) + len(several)) + prefix[2:])
        for each in several:
            held += (length(len(each)), each)
            room -= len(each)
        if room < 0:
            yield b"".join(held)
            held, room = [], CHUNK
    yield b"".join(held)
