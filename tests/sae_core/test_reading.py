"""What a text comes to: every share as by hand."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from sae_core.attached import Attached
from sae_core.config import Family, Normalise, SaeConfig
from sae_core.lm import Lm
from sae_core.reading import PARTS, reading
from sae_core.sae import Sae as CoreSae
from tests.sae_core import small_lms
from tests.work.collected import HOOKPOINT, small_lm, small_sae

IDS = [0, 5, 9, 5, 17, 30, 2]
WIDTH = small_lms.D_MODEL


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> Lm:
    return small_lm(tmp_path_factory.mktemp("lm"))


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def relu(**config: Any) -> CoreSae:
    n = 60
    tensors = {"W_enc": random(WIDTH, n, seed=1), "W_dec": random(n, WIDTH, seed=2), "b_enc": random(n, seed=3) / 2,
               "b_dec": random(WIDTH, seed=4) / 3}  # fmt: skip
    if config.pop("skip", False):
        tensors["W_skip"] = random(WIDTH, WIDTH, seed=5) / 4
    return CoreSae(SaeConfig(Family.RELU, WIDTH, n, hookpoint=HOOKPOINT, **config), tensors)


SAES: dict[str, Callable[[], CoreSae]] = {
    "topk": small_sae,
    "relu": relu,
    "constant norm": lambda: relu(normalise=Normalise.CONSTANT_NORM),
    "layer norm": lambda: relu(normalise=Normalise.LAYER_NORM),
    "not undone": lambda: relu(normalise=Normalise.LAYER_NORM, undo_normalise=False),
    "skip": lambda: relu(skip=True),
    "centred": lambda: relu(centred=True, subtract_b_dec=True),
}


@pytest.mark.parametrize("name", SAES)
def test_a_token_is_its_features_its_bias_and_an_error(lm: Lm, name: str) -> None:
    sae = SAES[name]()
    passing = Attached(lm, sae).read([IDS])
    x, y = passing.x[0].double(), passing.y[0].double()
    sae = sae.double()
    acts = sae.encode(x)
    error = y - sae.decode(acts, x)
    found = reading(lm, sae.float(), IDS, set())["tokens"]
    for place, token in enumerate(found):
        along = y[place] / y[place].square().sum()
        assert token["error"] == pytest.approx(float(error[place] @ along), abs=1e-3)
        for index, act, share in token["parts"]:
            assert act == pytest.approx(float(acts[place, index]), rel=1e-3)
            without = acts[place].clone()
            without[index] = 0
            written = (sae.double().decode(acts, x) - sae.decode(torch.stack([without] * len(IDS)), x))[place]
            assert share == pytest.approx(float(written @ along), abs=2e-3)
        parts = [share for _, _, share in token["parts"]]
        assert sum(parts) + token["others"][1] + token["bias"] + token["error"] == pytest.approx(1, abs=1e-3)
        assert len(parts) + token["others"][0] == int(acts[place].count_nonzero())
        strengths = [act for _, act, _ in token["parts"]]
        assert strengths == sorted(strengths, reverse=True)


def test_where_a_latent_fires_is_known_however_many_fire_more_strongly(lm: Lm) -> None:
    sae = relu()
    acts = sae.encode(Attached(lm, sae).read([IDS]).x[0])
    weakest = min(range(60), key=lambda index: (not acts[:, index].any(), float(acts[:, index].sum())))
    assert int(acts.count_nonzero(1).max()) > PARTS, "more fire than a token has parts"
    found = reading(lm, sae, IDS, {5}, [weakest])
    for index in {weakest, *map(int, found["features"])}:
        told = dict(found["beyond"].get(str(index), []))
        parts = [(place, part) for place, token in enumerate(found["tokens"]) for part in token["parts"]]
        of_parts = {place: act for place, (one, act, _) in parts if one == index}
        assert not told.keys() & of_parts.keys()
        column = [(told | of_parts).get(place, 0.0) for place in range(len(IDS))]
        assert column == pytest.approx(acts[:, index].tolist(), rel=1e-4)
    assert found["beyond"].keys() <= {str(weakest), *found["features"]}


def test_the_whole_is_of_tokens_that_count(lm: Lm) -> None:
    sae = relu()
    acts = sae.encode(Attached(lm, sae).read([IDS]).x[0])
    counted = acts[[place for place, token in enumerate(IDS) if token != 5]]
    found = reading(lm, sae, IDS, {5})
    assert found["features"]
    for index, (most, total, count) in found["features"].items():
        column = counted[:, int(index)]
        assert most == pytest.approx(float(column.max()), rel=1e-4)
        assert total == pytest.approx(float(column.sum()), rel=1e-4)
        assert count == int(column.count_nonzero())
    assert str(int(counted.amax(0).argmax())) in found["features"]
    assert reading(lm, sae, IDS, set(IDS))["features"] == {}
