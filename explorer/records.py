"""Features as rows of data, for downloads and programs: figures as they are kept, not as a page rounds them."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from django.db import connection
from django.urls import reverse

from explorer import vocabulary
from explorer.models.features import UNKNOWN
from explorer.queries.browsing import Asked, Row, batches
from explorer.tokens import Vocabulary

FIGURES = ("n_fired", "n_contexts", "n_documents", "maximum", "mean", "deviation", "p99")
FIELDS = (
    "index", "label", "tokens", "density", *FIGURES, "top_token", "top_token_text", "decoder_norm", "neighbour_cosine",
    "encoder_cosine", "page",
)  # fmt: skip
FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def record(asked: Asked, words: Vocabulary, row: Row) -> dict[str, Any]:
    """None for what is not known."""
    tokens = asked.collection.tokens if asked.collection else None
    active = row.activity
    token = active.top_token if active and active.top_token >= 0 else None
    figures = {name: getattr(active, name) if active else None for name in FIGURES}
    return {
        "index": row.index,
        "label": row.label or None,
        "tokens": tokens,
        "density": active.n_fired / tokens if active and tokens else None,
        **figures,
        "top_token": token,
        "top_token_text": None if token is None else words.text([token])[0],
        "decoder_norm": row.decoder_norm,
        "neighbour_cosine": _known(active.neighbour_cosine) if active else None,
        "encoder_cosine": _known(row.encoder_cosine),
        "page": reverse("feature", args=[asked.sae.slug, row.index]),
    }


def as_csv(asked: Asked) -> Iterator[str]:
    yield _csv_lines([list(FIELDS)])
    for records in _batches(asked):
        yield _csv_lines([[_cell(each[field]) for field in FIELDS] for each in records])


def as_jsonl(asked: Asked) -> Iterator[str]:
    for records in _batches(asked):
        yield "".join(f"{json.dumps(each, ensure_ascii=False)}\n" for each in records)


def _batches(asked: Asked) -> Iterator[list[dict[str, Any]]]:
    words = vocabulary.of(asked.sae.lm)
    for rows in batches(asked):
        records = [record(asked, words, row) for row in rows]
        if not connection.in_atomic_block:
            connection.close()  # whoever takes these slowly keeps none of the pool's meanwhile
        yield records


def _cell(value: Any) -> Any:
    """A text that a spreadsheet would take for a formula begins with an apostrophe."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULAS) else value


def _csv_lines(rows: list[list[Any]]) -> str:
    lines = io.StringIO()
    csv.writer(lines).writerows(rows)
    return lines.getvalue()


def _known(cosine: float) -> float | None:
    return None if cosine == UNKNOWN else cosine
