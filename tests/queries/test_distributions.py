"""Counts by the database against counts in Python over the same rows."""

import math
from itertools import pairwise

import pytest
from django.db import connection

from explorer import densities
from explorer.models import Activity, Collection, Feature
from explorer.models.features import UNKNOWN
from explorer.queries import distributions
from explorer.queries.distributions import Bar
from explorer.singles import single
from tests.explored import Explored

pytestmark = pytest.mark.django_db


def agree(bars: list[Bar], values: list[float]) -> None:
    """Each bar counts what its filter finds and what is drawn between its ends, and none is left over."""
    assert [bar.n for bar in bars] == [sum(bar.least <= value <= bar.most for value in values) for bar in bars]
    assert sum(bar.n for bar in bars) == len(values)
    for before, after in pairwise(bars):
        assert before.high == after.low


def made_of(explored: Explored, n: int, tokens: int) -> Collection:
    """A collection of as many features, which fire ever more often."""
    made = Collection.objects.create(
        sae=explored.sae, corpus=other_corpus(explored), evidence=explored.collection.evidence, about={},
        tokens=tokens, masked=0, n_never_fired=1,
    )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(
            """INSERT INTO explorer_activity (collection_id, index, n_fired, n_contexts, n_documents, maximum, mean,
               deviation, p99, decoder_norm, neighbour_cosine, top_token)
               SELECT %s, i, (i::float8 * i / (%s::float8 * %s) * %s)::bigint, 1, 1, 1, 1,
               0, i, sqrt(i), 0, 0 FROM generate_series(0, %s - 1) i""",
            [made.pk, n, n, tokens, n],
        )
    return made


def other_corpus(explored: Explored):  # type: ignore[no-untyped-def]
    corpus = explored.corpus
    return type(corpus).objects.create(
        slug="other", name="other", sha256="0" * 64, context_length=1, n_contexts=1, n_tokens=1, n_documents=1,
        id_bytes=2, prepend_bos=False, files={},
    )  # fmt: skip


def test_of_a_collection(explored: Explored) -> None:
    rows = list(Activity.objects.filter(collection=explored.collection))
    tokens = explored.collection.tokens
    fired = [row.n_fired for row in rows if row.n_fired]
    bars = distributions.by_density(explored.collection)
    agree(bars, [n / tokens for n in fired])
    for bar in bars:
        inside = [n for n in fired if bar.low <= math.log10(n / tokens) < bar.high or (n == tokens and not bar.high)]
        assert bar.n == len(inside)
    agree(distributions.by_norm(explored.collection), [single(row.decoder_norm) for row in rows])
    cosines = Feature.objects.filter(sae=explored.sae).exclude(encoder_cosine=UNKNOWN)
    agree(distributions.by_encoder_cosine(explored.sae), [single(row.encoder_cosine) for row in cosines])
    points = distributions.points(explored.collection)
    assert points.of == len(points.some) == len(fired)
    assert {(each.index, each.density, each.p99) for each in points.some} == {
        (row.index, row.n_fired / tokens, row.p99) for row in rows if row.n_fired
    }


@pytest.mark.parametrize("tokens", [1_000_000, 999_983, 131_072])
def test_of_many_features(explored: Explored, tokens: int) -> None:
    made = made_of(explored, 30_000, tokens)
    rows = list(Activity.objects.filter(collection=made).values_list("n_fired", "decoder_norm"))
    bars = distributions.by_density(made)
    agree(bars, [n / tokens for n, _ in rows if n])
    assert bars[-1].high == 0
    agree(distributions.by_norm(made), [single(norm) for _, norm in rows])
    kinds = distributions.kinds(made)
    found = [densities.kind(n, tokens) for n, _ in rows]
    assert kinds.never == found.count(densities.Kind.NEVER_FIRED)
    assert kinds.dense == found.count(densities.Kind.DENSE)
    assert kinds.ultra_low == found.count(densities.Kind.TOO_FEW_TOKENS)
    points = distributions.points(made)
    assert points.of == sum(n > 0 for n, _ in rows)
    assert abs(len(points.some) - distributions.MOST_POINTS) < 0.05 * distributions.MOST_POINTS
    middle = sum(each.index < 15_000 for each in points.some) / len(points.some)
    assert abs(middle - (15_000 - (30_000 - points.of)) / points.of) < 0.02  # drawn evenly
    assert distributions.points.__wrapped__(made) == points  # and always the same


def test_directions_of_one_length_are_one_bar(explored: Explored) -> None:
    made = made_of(explored, 100, 1_000)
    Activity.objects.filter(collection=made).update(decoder_norm=1)
    Activity.objects.filter(collection=made, index__lt=5).update(decoder_norm=0.999_999_9)
    (bar,) = distributions.by_norm(made)
    assert (bar.n, bar.low < bar.least, bar.most < bar.high) == (100, True, True)
