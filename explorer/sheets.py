"""Rows of data as files that people open and programs read: CSV and JSON lines, written piece by piece."""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.db import connection
from django.http import StreamingHttpResponse
from django.utils.http import content_disposition_header

CSV, JSONL = "csv", "jsonl"
MEDIA_TYPES = {CSV: "text/csv; charset=utf-8", JSONL: "application/jsonl; charset=utf-8"}
# What a spreadsheet takes for a formula, and what has been kept from being one: those differ by one apostrophe, so
# that every text comes back as it was.
FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
Row = dict[str, Any]


def cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) else value


def uncell(text: str) -> str:
    """What `cell` was given."""
    return text[1:] if text.startswith("'") and FORMULA.match(text) else text


def written(form: str, columns: Sequence[str], batches: Iterable[list[Row]]) -> Iterator[str]:
    if form == CSV:
        yield _lines([columns])
    for rows in batches:
        if not connection.in_atomic_block:
            connection.close()  # whoever takes these slowly keeps none of the pool's meanwhile
        if form == CSV:
            yield _lines([[cell(row[column]) for column in columns] for row in rows])
        else:
            yield "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)


def download(name: str, form: str, columns: Sequence[str], batches: Iterable[list[Row]]) -> StreamingHttpResponse:
    disposition = content_disposition_header(True, f"{name}.{form}")
    return StreamingHttpResponse(
        written(form, columns, batches),
        content_type=MEDIA_TYPES[form],
        headers={"Content-Disposition": disposition, "Cache-Control": "private, no-store"},
    )


def _lines(rows: Iterable[Sequence[Any]]) -> str:
    lines = io.StringIO()
    csv.writer(lines).writerows(rows)
    return lines.getvalue()
