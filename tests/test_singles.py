import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from explorer.singles import after, before, single


@given(st.floats(-1e30, 1e30))
def test_the_nearest(number: float) -> None:
    assert single(number) == float(np.float32(number))


@given(st.floats(-(2.0**100), 2.0**100, width=32))
def test_the_next(number: float) -> None:
    """numpy's nextafter is an independent one."""
    assert after(number) == float(np.nextafter(np.float32(number), np.float32(np.inf)))
    assert before(number) == float(np.nextafter(np.float32(number), np.float32(-np.inf)))
