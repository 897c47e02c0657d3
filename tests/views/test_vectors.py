"""A feature's directions as files: the very numbers of the SAE, and no address for others."""

import io
import json

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.test import Client

from explorer import artifacts
from tests.explored import Explored

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def signed_in(client: Client, viewer: User) -> None:
    client.force_login(viewer)


@pytest.mark.parametrize("index", [0, 36])
def test_they_are_the_saes(client: Client, with_weights: Explored, index: int) -> None:
    sae = with_weights.read.sae
    for side, expected in (("decoder", sae.W_dec[index]), ("encoder", sae.W_enc[:, index])):
        address = f"{with_weights.page}features/{index}/{side}"
        binary = client.get(f"{address}.npy")
        assert np.array_equal(np.load(io.BytesIO(binary.content)), expected.numpy())
        assert binary.headers["Content-Disposition"] == f'attachment; filename="a-small-SAE-{index}-{side}.npy"'
        plain = json.loads(client.get(f"{address}.json").content)
        assert np.array_equal(np.array(plain.pop("vector"), dtype=np.float32), expected.numpy())
        assert plain == {
            "sae": "a-small-SAE", "fingerprint": "a small SAE", "index": index, "hookpoint": sae.hookpoint, "side": side
        }  # fmt: skip


@pytest.mark.parametrize("rest", ["37/decoder.npy", "0/decode.npy", "0/b_dec.json", "99999999999/encoder.json"])
def test_there_are_no_others(client: Client, with_weights: Explored, rest: str) -> None:
    assert client.get(f"{with_weights.page}features/{rest}").status_code == 404


def test_weights_that_are_gone_are_no_error(client: Client, with_weights: Explored) -> None:
    artifacts.path(str(with_weights.sae.weights_id)).unlink()
    assert client.get(f"{with_weights.page}features/0/decoder.npy").status_code == 404
    assert client.get(f"{with_weights.page}features/0/beside/{with_weights.sae.slug}/1/").status_code == 200
