"""Products over a whole decoder: what torch says, whatever the weights are kept in, and in the order of the values."""

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from explorer import artifacts, directions
from explorer.models import LanguageModel, Sae
from explorer.packed import feature as feature_form
from explorer.work import unembedding
from sae_core.lens import logit_lens
from tests.explored import Explored, Read, explored, read  # noqa: F401  two of them fixtures
from tests.work.collected import HOOKPOINT, sae_row

pytestmark = pytest.mark.django_db
MLP = "blocks.0.mlp.hook_post"


def kept(path: Path) -> str:
    with path.open("rb") as file:
        return artifacts.put(file, name=path.name).sha256


def with_weights(sae: Sae, W_dec: Tensor, folder: Path) -> Sae:
    save_file({"W_dec": W_dec.contiguous(), "b_dec": torch.zeros(W_dec.shape[1])}, folder / "sae.safetensors")
    sae.weights_id = kept(folder / "sae.safetensors")
    sae.n_latents, sae.d_out = W_dec.shape
    return sae


@pytest.fixture
def sae(explored: Explored, tmp_path: Path) -> Sae:  # noqa: F811
    found = with_weights(explored.sae, explored.read.sae.W_dec, tmp_path)
    unembedding.write(explored.read.lm, [HOOKPOINT, MLP], tmp_path / "unembedding")
    found.lm.unembedding_id = kept(tmp_path / "unembedding")
    return found


def test_logits_are_the_lens_of_every_feature(sae: Sae, read: Read) -> None:  # noqa: F811
    (lens,) = logit_lens(read.lm, read.sae.W_dec, HOOKPOINT)  # (n_latents, n_vocab)
    for token in (0, 5, read.lm.n_vocab - 1):
        found = directions.logits(sae, token, 7)
        for scored, (values, indices) in (
            (found.raised, lens[:, token].topk(7)), (found.lowered, lens[:, token].topk(7, largest=False)),
        ):  # fmt: skip
            assert [each.index for each in scored] == indices.tolist()
            assert [each.value for each in scored] == pytest.approx(values.tolist(), rel=1e-4, abs=1e-6)


def test_logits_are_those_of_the_pages(sae: Sae, explored: Explored) -> None:  # noqa: F811
    from explorer.models import Feature

    for each in Feature.objects.filter(sae=sae):
        lens = feature_form.unpack(bytes(each.packed)).lens
        assert lens
        token, value = lens.top[0]
        scored = {each.index: each.value for each in directions.logits(sae, token, sae.n_latents).raised}
        assert scored[each.index] == pytest.approx(value, rel=1e-4)


def test_off_the_stream_a_direction_is_carried_there(sae: Sae, read: Read, tmp_path: Path) -> None:  # noqa: F811
    W_dec = torch.randn(50, read.lm.width(MLP), generator=torch.Generator().manual_seed(1))
    with_weights(sae, W_dec, tmp_path)
    sae.hookpoint = MLP
    (lens,) = logit_lens(read.lm, W_dec, MLP)
    found = directions.logits(sae, 9, 50).raised
    assert [each.index for each in found] == lens[:, 9].argsort(descending=True).tolist()
    assert [each.value for each in found] == pytest.approx(
        sorted(lens[:, 9].tolist(), reverse=True), rel=1e-4, abs=1e-5
    )


def test_neurons_are_the_axes(sae: Sae, read: Read) -> None:  # noqa: F811
    sae.weights_id, sae.hookpoint, sae.d_out = None, MLP, read.lm.width(MLP)
    (lens,) = logit_lens(read.lm, torch.eye(sae.d_out), MLP)
    assert directions.logits(sae, 3, 1).raised[0].index == int(lens[:, 3].argmax())
    assert [each.value for each in directions.like(sae, directions.row(sae, 4), 2)] == [1, 0]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("block", [1, 1 << 12, 1 << 23])
def test_weights_of_any_kind_in_blocks_of_any_size(
    sae: Sae, tmp_path: Path, dtype: torch.dtype, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directions, "BLOCK_BYTES", block)
    W_dec = torch.randn(301, 24, generator=torch.Generator().manual_seed(2)).to(dtype)
    with_weights(sae, W_dec, tmp_path)
    wanted = torch.nn.functional.cosine_similarity(W_dec.double(), W_dec[17].double()[None])
    assert directions.row(sae, 17).tolist() == W_dec[17].float().tolist()
    found = directions.like(sae, directions.row(sae, 17), 301)
    assert [each.index for each in found][:20] == wanted.argsort(descending=True).tolist()[:20]
    assert [each.value for each in found] == pytest.approx(sorted(wanted.tolist(), reverse=True), abs=2e-6)


def test_like_one_leaves_that_one_out_and_takes_rows_of_zeros(sae: Sae, tmp_path: Path) -> None:
    W_dec = torch.tensor([[1.0, 0], [0, 0], [-2, 0], [3, 0], [1, 1]])
    with_weights(sae, W_dec, tmp_path)
    found = directions.like(sae, directions.row(sae, 0), 9, but=0)
    assert [(each.index, round(each.value, 6)) for each in found] == [(3, 1.0), (4, 0.707107), (1, 0.0), (2, -1.0)]
    assert [each.value for each in directions.like(sae, np.zeros(2, np.float32), 2)] == [0, 0]


def test_equal_ones_stand_by_index(sae: Sae, tmp_path: Path) -> None:
    with_weights(sae, torch.ones(40, 3), tmp_path)
    assert [each.index for each in directions.like(sae, directions.row(sae, 30), 5)] == [0, 1, 2, 3, 4]


def test_where_there_are_none_it_says_why(explored: Explored, sae: Sae, tmp_path: Path) -> None:  # noqa: F811
    unembedding.write(explored.read.lm, ["blocks.0.ln1.hook_normalized"], tmp_path / "other")
    sae.hookpoint = "blocks.0.ln1.hook_normalized"
    with pytest.raises(directions.Unprepared):
        directions.logits(sae, 0, 1)
    sae.lm.unembedding_id = kept(tmp_path / "other")
    with pytest.raises(directions.NoLogits, match="Nothing is written"):
        directions.logits(sae, 0, 1)
    sae.lm.unembedding_id = None
    with pytest.raises(directions.Unprepared):
        directions.logits(sae, 0, 1)


def test_weights_where_the_header_ends_anywhere(sae: Sae) -> None:
    """Others' files need not be aligned."""
    rows = np.arange(12, dtype="<f4").reshape(4, 3)
    header: dict[str, Any] = {"W_dec": {"dtype": "F32", "shape": [4, 3], "data_offsets": [0, 48]}}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8 + 3)
    data = struct.pack("<Q", len(text)) + text + rows.tobytes()
    sae.weights_id, sae.d_out, sae.n_latents = artifacts.put(io.BytesIO(data), name="odd").sha256, 3, 4
    assert directions.row(sae, 2).tolist() == [6, 7, 8]
    assert [each.index for each in directions.like(sae, np.array([0, 0, 1], np.float32), 1)] == [0]


def test_an_sae_without_its_lm_knows_nothing(read: Read) -> None:  # noqa: F811
    assert not directions.known(LanguageModel(), HOOKPOINT)
    assert sae_row(read.lm, read.sae).lm.unembedding_id is None
