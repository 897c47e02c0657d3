"""What every way of laying points out takes and gives."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Limits:
    """How many points at most are treated so."""

    seeded: int = 65_536
    """One thread, so that the same seed gives the same map; more are laid out by all threads at once."""
    spectral: int = 200_000
    """The start is spectral; of more its modes are not found within reason."""
    trusted: int = 2048
    """Trustworthiness is of all points; of more it is of as many as this, drawn."""


class Laid(NamedTuple):
    places: NDArray[np.float32]  # (n, 2)
    start: str
    device: str
    seeded: bool
    used: dict[str, Any]  # parameters, as they were in the end
    libraries: tuple[str, ...]
