"""Tokens with what is added to their logits, or what their embeddings add, as rows of tables: written here, as a page
has ninety, and a template's loop takes several times as long."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.utils.safestring import SafeString

from explorer.markup import joined
from explorer.numbers import significant
from explorer.queries.features import Lens, Logit
from explorer.tokens import Vocabulary, alone

FIRST = 10  # of each that are shown at once
ROW = '<tr><td>{}</td><td class="number">{}</td></tr>'
ROW_OF_LOGIT = '<tr data-logit="{}" data-value="{}"><td>{}</td><td class="number">{}</td></tr>'  # found by feature.js


@dataclass(frozen=True, slots=True)
class Logits:
    raised: SafeString
    lowered: SafeString
    further_raised: SafeString
    further_lowered: SafeString
    n_further: int


def logits(vocabulary: Vocabulary, lens: Lens | None) -> Logits | None:
    if lens is None:
        return None
    first, further = slice(FIRST), slice(FIRST, None)
    return Logits(
        _rows(vocabulary, lens.top[first]),
        _rows(vocabulary, lens.bottom[first]),
        _rows(vocabulary, lens.top[further]),
        _rows(vocabulary, lens.bottom[further]),
        n_further=len(lens.top[further]),
    )


def inputs(vocabulary: Vocabulary, values: Iterable[Logit]) -> SafeString:
    return joined(ROW, ((alone(vocabulary, each.token), significant(each.value)) for each in values))


def _rows(vocabulary: Vocabulary, values: Iterable[Logit]) -> SafeString:
    cells = ((each.token, f"{each.value:.6g}", alone(vocabulary, each.token), significant(each.value))
             for each in values)  # fmt: skip
    return joined(ROW_OF_LOGIT, cells)
