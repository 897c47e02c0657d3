import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer import densities
from sae_core import density

COUNTS = st.integers(1, 10**10).flatmap(lambda tokens: st.tuples(st.integers(0, tokens), st.just(tokens)))


@given(COUNTS)
def test_the_web_says_what_the_library_says(counts: tuple[int, int]) -> None:
    """Two copies of a few lines, as a web process loads no numpy."""
    assert densities.interval(*counts) == density.interval(*counts)
    assert densities.at_most(counts[1]) == density.at_most(counts[1])
    assert densities.kind(*counts).value == density.kind(*counts).value


def test_an_interval_by_hand() -> None:
    """Wilson's for 1 of 10: (0.1 + z²/20 ± z √(0.09/10 + z²/400)) / (1 + z²/10), z = 1.96."""
    assert densities.interval(1, 10) == pytest.approx((0.01787, 0.40415), abs=1e-4)
    assert densities.interval(0, 10)[0] == 0
    assert densities.interval(10, 10)[1] == 1


def test_of_no_tokens_nothing_is_known() -> None:
    assert densities.at_most(0) == 1
