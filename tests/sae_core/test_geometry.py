"""Angles against loops in plain Python."""

import math

import pytest
import torch

from sae_core.config import Family
from sae_core.families import neurons
from sae_core.geometry import decoder_norms, encoder_decoder_cosine, mmcs, mutual_coherence
from tests.sae_core.random_saes import draw, make


def cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)


@pytest.mark.parametrize("block_bytes", [1, 8 * 9 * 4, 1 << 20])
def test_mmcs(block_bytes: int) -> None:
    rows, others = draw(1, 13, 5), draw(2, 9, 5)
    there = sum(max(cosine(a, b) for b in others.tolist()) for a in rows.tolist()) / 13
    back = sum(max(cosine(a, b) for b in rows.tolist()) for a in others.tolist()) / 9
    assert mmcs(rows, others, block_bytes=block_bytes) == pytest.approx(there, rel=1e-12)
    assert mmcs(others, rows, block_bytes=block_bytes) == pytest.approx(back, rel=1e-12)
    assert mmcs(rows, rows * 3) == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("block_bytes", [1, 8 * 13 * 4, 1 << 20])
def test_mutual_coherence(block_bytes: int) -> None:
    rows = draw(1, 13, 5)
    listed = rows.tolist()
    expected = max(abs(cosine(listed[i], listed[j])) for i in range(13) for j in range(i))
    assert mutual_coherence(rows, block_bytes=block_bytes) == pytest.approx(expected, rel=1e-12)
    assert mutual_coherence(torch.cat([rows, -2 * rows[3:4]])) == pytest.approx(1, rel=1e-12)
    assert mutual_coherence(torch.eye(4)) == 0
    assert mutual_coherence(rows[:1]) == 0


def test_of_an_sae() -> None:
    sae = make(Family.RELU)
    rows, columns = sae.W_dec.tolist(), sae.W_enc.T.tolist()
    assert decoder_norms(sae).tolist() == pytest.approx([math.hypot(*each) for each in rows])
    expected = [cosine(a, b) for a, b in zip(columns, rows, strict=True)]
    assert encoder_decoder_cosine(sae).tolist() == pytest.approx(expected)
    assert encoder_decoder_cosine(neurons("h", 4)).tolist() == [1, 1, 1, 1]
