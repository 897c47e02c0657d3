"""Rows and columns of weights, read without torch: what safetensors and numpy read of the same files."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from explorer import artifacts, vectors
from explorer.models import Sae
from explorer.vectors import Side

pytestmark = pytest.mark.django_db
D_IN, N_LATENTS, D_OUT = 6, 11, 7
KINDS = [torch.float32, torch.float16, torch.bfloat16, torch.float64]


def stored(folder: Path, kind: torch.dtype) -> tuple[Sae, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    shapes = {"b_dec": (D_OUT,), "W_enc": (D_IN, N_LATENTS), "W_dec": (N_LATENTS, D_OUT)}
    tensors = {name: torch.randn(shape, generator=generator).to(kind) for name, shape in shapes.items()}
    save_file(tensors, folder / "sae.safetensors")
    kept = artifacts.put(io.BytesIO((folder / "sae.safetensors").read_bytes()), name="sae.safetensors")
    sae = Sae(weights=kept, d_in=D_IN, d_out=D_OUT, n_latents=N_LATENTS)
    return sae, load_file(folder / "sae.safetensors")


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_it_is_what_safetensors_reads(tmp_path: Path, kind: torch.dtype) -> None:
    sae, tensors = stored(tmp_path, kind)
    for index in (0, 4, N_LATENTS - 1):
        assert vectors.vector(sae, index, Side.DECODER).tolist() == tensors["W_dec"][index].float().tolist()
        assert vectors.vector(sae, index, Side.ENCODER).tolist() == tensors["W_enc"][:, index].float().tolist()


def test_neurons_have_no_file_and_are_axes() -> None:
    sae = Sae(weights=None, d_in=3, d_out=3, n_latents=3)
    for side in Side:
        assert vectors.vector(sae, 1, side).tolist() == [0.0, 1.0, 0.0]


@pytest.mark.parametrize("count", [1, 7, 99, 768, 100_000])
def test_numpy_reads_it_again(tmp_path: Path, count: int) -> None:
    sae = Sae(weights=None, d_in=count, d_out=count, n_latents=count)
    numbers = vectors.vector(sae, count // 2, Side.DECODER)
    written = vectors.npy(numbers)
    read = np.load(io.BytesIO(written))
    assert (read.dtype, read.tolist()) == (np.float32, numbers.tolist())
    assert (len(written) - 4 * count) % 64 == 0  # as the format asks


def test_the_cosine_is_numpys(tmp_path: Path) -> None:
    sae, tensors = stored(tmp_path, torch.float32)
    one, other = (vectors.vector(sae, index, Side.DECODER) for index in (1, 2))
    expected = torch.nn.functional.cosine_similarity(tensors["W_dec"][1], tensors["W_dec"][2], dim=0).item()
    assert vectors.cosine(one, other) == pytest.approx(expected, rel=1e-5)
    assert vectors.cosine(one, [0.0] * D_OUT) is None


def test_a_dtype_that_is_none_of_ours_is_named(tmp_path: Path) -> None:
    save_file({"W_dec": torch.zeros(2, 2, dtype=torch.int8)}, tmp_path / "sae.safetensors")
    kept = artifacts.put(io.BytesIO((tmp_path / "sae.safetensors").read_bytes()), name="sae.safetensors")
    with pytest.raises(ValueError, match="dtype I8"):
        vectors.vector(Sae(weights=kept, d_in=2, d_out=2, n_latents=2), 0, Side.DECODER)
