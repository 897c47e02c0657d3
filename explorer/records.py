"""Features as rows of data, for downloads and programs: figures as they are kept, not as a page rounds them."""

from collections.abc import Iterator
from typing import Any

from django.urls import reverse

from explorer import vocabulary
from explorer.models.features import UNKNOWN
from explorer.queries import browsing
from explorer.queries.browsing import Asked, Row
from explorer.tokens import Vocabulary

FIGURES = ("n_fired", "n_contexts", "n_documents", "maximum", "mean", "deviation", "p99")
FIELDS = (
    "index", "label", "tokens", "density", *FIGURES, "top_token", "top_token_text", "decoder_norm", "neighbour_cosine",
    "encoder_cosine", "score", "page",
)  # fmt: skip


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
        "score": row.score,
        "page": reverse("feature", args=[asked.sae.slug, row.index]),
    }


def batches(asked: Asked) -> Iterator[list[dict[str, Any]]]:
    """All that the filters find, in the order of the page."""
    words = vocabulary.of(asked.sae.lm)
    for rows in browsing.batches(asked):
        yield [record(asked, words, row) for row in rows]


def _known(cosine: float) -> float | None:
    return None if cosine == UNKNOWN else cosine
