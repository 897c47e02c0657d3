"""Other features that a feature's page names, and neurons, as rows of tables (written here for the same reason as
logits.py's)."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.urls import reverse
from django.utils.safestring import SafeString

from explorer.markup import joined
from explorer.numbers import count, significant
from explorer.queries.features import FeaturePage

FIGURE = '<td class="number">{}</td>'


@dataclass(frozen=True, slots=True)
class Related:
    nearest: SafeString
    together: SafeString
    correlated: SafeString  # neurons
    aligned: SafeString


def related(page: FeaturePage) -> Related:
    return Related(
        nearest=_rows(page, ((each.index, each.label, (significant(each.cosine),)) for each in page.neighbours)),
        together=_rows(
            page, ((each.index, each.label, (count(each.n), significant(each.phi))) for each in page.together)
        ),
        correlated=_numbers((each.index, each.pearson) for each in page.neurons),
        aligned=_numbers((each.index, each.weight) for each in page.aligned),
    )


def _rows(page: FeaturePage, others: Iterable[tuple[int, str, tuple[str, ...]]]) -> SafeString:
    slug = page.sae.slug
    features = reverse("features", args=[slug])
    beside = f"{features}{page.index}/beside/{slug}/"
    return joined(
        '<tr><td class="number"><a href="{}{}/">{}</a></td><td dir="auto">{}</td>{}<td class="number">'
        '<a href="{}{}/">beside<span class="unseen"> feature {}</span></a></td></tr>',
        (
            (features, index, index, label, joined(FIGURE, ((each,) for each in figures)),
             beside, index, index)
            for index, label, figures in others
        ),
    )  # fmt: skip


def _numbers(pairs: Iterable[tuple[int, float]]) -> SafeString:
    cells = ((index, significant(value)) for index, value in pairs)
    return joined(f"<tr>{FIGURE}{FIGURE}</tr>", cells)
