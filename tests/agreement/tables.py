"""Tables of scores, drawn and made."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from explorer.agreement.ratings import Ratings

NONE = np.nan
Rows = NDArray[Any]


def table(rows: Sequence[Sequence[float]] | Rows, features: Sequence[int] | None = None) -> Ratings:
    """Without features, each item is of its own."""
    scores = np.array(rows, float)
    return Ratings(scores, np.arange(len(scores)) if features is None else np.array(features))


@st.composite
def tables(draw: st.DrawFn, most: int = 4, missing: bool = True, annotators: tuple[int, int] = (2, 5)) -> Ratings:
    n_items, n_annotators = draw(st.integers(2, 10)), draw(st.integers(*annotators))
    scores = st.integers(0, most).map(float)
    rows = arrays(float, (n_items, n_annotators), elements=scores | st.just(NONE) if missing else scores)
    return Ratings(draw(rows), draw(arrays(int, n_items, elements=st.integers(0, 5))))


def drawn_table(seed: int, n_features: int, missing: float = 0.0, n_annotators: int = 4) -> Ratings:
    """Three items of each feature, whose scores differ by what the feature, the item and the annotator add."""
    random = np.random.default_rng(seed)
    features = np.repeat(np.arange(n_features), 3)
    of_items = random.integers(0, 8, n_features)[features] + random.integers(0, 3, len(features))
    scores = (of_items[:, None] + random.integers(0, 4, (len(features), n_annotators))).astype(float)
    scores[random.random(scores.shape) < missing] = NONE
    return Ratings(scores, random.permutation(n_features)[features] * 7)
