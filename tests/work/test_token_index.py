from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.packed.token_index import TOKENS, features_on
from explorer.work.token_index import Pairs

TOKEN = st.one_of(st.integers(0, 40), st.integers(0, 300_000))


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pairs")


@given(
    st.lists(st.lists(st.tuples(TOKEN, st.integers(0, 65_535)), max_size=30), max_size=4),
    st.sampled_from([65_536, 65_537, 1 << 24]),
)
def test_pairs_in_whatever_pieces_are_turned_round(
    folder: Path, pieces: list[list[tuple[int, int]]], n_features: int
) -> None:
    with closing(Pairs(folder, n_features)) as pairs:
        for number, piece in enumerate(pieces):
            features = [feature // 4 * 4 + number for _, feature in piece]  # each feature comes in one piece
            pairs.add(np.array([token for token, _ in piece], np.int64), np.array(features, np.int64))
        rows = {int(block): row for blocks, packed in pairs.rows() for block, row in zip(blocks, packed, strict=True)}
    expected: dict[int, set[int]] = {}
    for number, piece in enumerate(pieces):
        for token, feature in piece:
            expected.setdefault(token, set()).add(feature // 4 * 4 + number)
    assert set(rows) == {token // TOKENS for token in expected}
    found = {block * TOKENS + i: features_on(row, i) for block, row in rows.items() for i in range(TOKENS)}
    assert {token: features for token, features in found.items() if features} == {
        token: sorted(features) for token, features in expected.items()
    }


def test_a_later_form_is_refused() -> None:
    with pytest.raises(ValueError, match="packed by version 2; this release reads 1"):
        features_on(bytes([2]) + bytes(99), 0)
