"""An lm, and files of activations, that tests of the buffer share."""

from pathlib import Path

import numpy as np
import pytest

from sae_core.lm import Lm
from tests.sae_core.training import activations


@pytest.fixture(scope="module")
def lm() -> Lm:
    return activations.small_lm()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("activations") / "acts.npy"
    np.save(path, activations.numbered())
    return path


@pytest.fixture(scope="module")
def path_out(path: Path) -> Path:
    """What belongs to row i begins with i + 0.5; as wide as the other, which is no reason to take one for the other."""
    out = path.with_name("out.npy")
    np.save(out, activations.numbered() + 0.5)
    return out
