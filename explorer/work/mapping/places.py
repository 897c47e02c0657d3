"""Where a map's points are, from 0 to 1."""

import numpy as np
from numpy.typing import NDArray

EDGE = 0.03  # of the map's side, left empty all around


def in_unit_square(places: NDArray[np.float32]) -> NDArray[np.float32]:
    """As it lies, in the middle, as large as fits."""
    low, high = places.min(0).astype(np.float64), places.max(0).astype(np.float64)
    span = float((high - low).max()) or 1.0
    unit: NDArray[np.float32] = ((places - (low + high) / 2) / span * (1 - 2 * EDGE) + 0.5).astype(np.float32)
    return unit
