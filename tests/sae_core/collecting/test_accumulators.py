"""What is kept of firings, in any grouping and order: activations of a few values, so that nearly all are ties."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sae_core.collecting.accumulators import Accumulators, Firings
from sae_core.collecting.lists import figures_and_lists
from sae_core.collecting.tables import Rows, lots
from tests.sae_core.collecting import agreement
from tests.sae_core.collecting.reference import Reference, Token

TOP_K, F = 4, 3
VALUES = np.array([-1.0, 0.25, 0.5, 0.5625, 1.0, 1.125, 3.0], np.float32)  # whose sums are exact


@st.composite
def fired(draw: st.DrawFn) -> Reference:
    """Contexts of few tokens and of few ids, some of them alike."""
    contexts, length = draw(st.integers(1, 40)), draw(st.integers(1, 20))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    ids = rng.integers(0, 2, (contexts, length))
    share = draw(st.sampled_from([0.02, 0.3, 0.9]))
    acts = np.where(rng.random((contexts, length, F)) < share, rng.choice(VALUES, (contexts, length, F)), 0)
    acts[:, :, 0] *= acts[:, :, 0] > 0.5  # above a fifth of the maximum alone
    zeros = np.zeros((contexts, length, 1))
    return Reference(ids, np.ones(ids.shape, np.bool_), zeros, acts.astype(np.float32), zeros)


def of_contexts(reference: Reference, first: int, stop: int, batch: int) -> Accumulators:
    """What is kept of some contexts, given so many at a time."""
    kept = Accumulators(F, TOP_K)
    for start in range(first, stop, batch):
        acts = reference.acts[start : min(start + batch, stop)]
        token, latent = np.nonzero(acts.reshape(-1, F))
        kept.add(
            Firings(token, latent, acts.reshape(-1, F)[token, latent]), reference.ids[start : start + batch], start
        )
    return kept


def joined(several: list[Accumulators], rng: np.random.Generator) -> Accumulators:
    """Any two of them, until one is left."""
    while len(several) > 1:
        one, other = (several.pop(int(rng.integers(len(several)))) for _ in range(2))
        one.join(other)
        several.append(one)
    return several[0]


def lowest_lots(tokens: Sequence[Token], latent: int, at_most: int) -> list[Token]:
    columns = [np.array(each) for each in zip(*tokens, strict=True)] or [np.zeros(0)] * 3
    context, position, act = columns
    drawn = lots(Rows(np.full(len(act), latent, np.int32), context.astype(np.int32), position.astype(np.int32), act))
    ordered = [tokens[each] for each in np.argsort(drawn, kind="stable")]
    firsts = {each.context: each for each in reversed(ordered)}
    return [each for each in ordered if firsts[each.context] is each][:at_most]


def same(one: dict[str, NDArray[Any]], other: dict[str, NDArray[Any]]) -> None:
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name], err_msg=name)


@pytest.mark.usefixtures("in_small_pieces")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fired(), st.lists(st.integers(1, 39), max_size=5), st.integers(1, 9), st.integers(0, 2**32))
def test_any_grouping_and_order(reference: Reference, cuts: list[int], batch: int, seed: int) -> None:
    n = len(reference.ids)
    bounds = sorted({0, n, *(each for each in cuts if each < n)})
    parts = [of_contexts(reference, *each, batch) for each in pairwise(bounds)]
    arrays = figures_and_lists(joined(parts, np.random.default_rng(seed)))
    same(arrays, figures_and_lists(of_contexts(reference, 0, n, n)))
    agreement.figures(arrays, reference)
    for latent in range(F):
        agreement.lists(arrays, reference, latent, TOP_K)
        assert agreement.listed(arrays, "strip", latent) == lowest_lots(reference.above(latent), latent, 10)
        for number, among in enumerate(reference.within(latent)):
            columns = [arrays[f"interval_{name}"][latent, number].tolist() for name in ("context", "position", "act")]
            assert agreement.tokens(*columns) == lowest_lots(among, latent, 5)
