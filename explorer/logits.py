"""Tokens with what is added to their logits, or what their embeddings add, as tables show them: a page has eighty."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.utils.safestring import SafeString

from explorer.numbers import significant
from explorer.queries.features import Lens, Logit
from explorer.tokens import Vocabulary, alone

FIRST = 10  # of each that are shown at once


@dataclass(frozen=True, slots=True)
class Row:
    token: str  # its id
    value: str  # as programs read it
    text: SafeString
    says: str


@dataclass(frozen=True, slots=True)
class Logits:
    raised: list[Row]
    lowered: list[Row]
    further_raised: list[Row]
    further_lowered: list[Row]


def logits(vocabulary: Vocabulary, lens: Lens | None) -> Logits | None:
    if lens is None:
        return None
    top, bottom = rows(vocabulary, lens.top), rows(vocabulary, lens.bottom)
    return Logits(top[:FIRST], bottom[:FIRST], top[FIRST:], bottom[FIRST:])


def rows(vocabulary: Vocabulary, values: Iterable[Logit]) -> list[Row]:
    return [
        Row(str(each.token), f"{each.value:.6g}", alone(vocabulary, each.token), significant(each.value))
        for each in values
    ]
