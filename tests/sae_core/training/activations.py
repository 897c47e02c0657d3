"""What the tests of the buffer fill it with."""

from typing import Any

import numpy as np

from sae_core.lm import Lm
from sae_core.training.buffer import Batch, ShuffledBuffer
from tests.sae_core import small_lms

BOS, PAD = 1, 0
X, Y = "blocks.1.hook_mlp_in_normed", "blocks.1.hook_mlp_out"
ROWS, WIDTH = 1003, 5


def small_lm() -> Lm:
    return Lm(small_lms.new_lm("gpt2", bos_token_id=BOS, pad_token_id=PAD))


def some_contexts(contexts: int = 40, length: int = 9) -> np.ndarray[Any, Any]:
    """Each begins with another id, so that no two tokens have the same activation."""
    rows = np.random.default_rng(3).integers(3, small_lms.VOCAB, size=(contexts, length))
    rows[:, 0] = 3 + np.arange(contexts)
    rows[::4, 3] = BOS
    rows[5, 6:] = PAD
    return rows


def numbered(rows: int = ROWS, width: int = WIDTH) -> np.ndarray[Any, Any]:
    """Row i begins with i."""
    return (np.arange(rows)[:, None] + np.arange(width) / 8).astype(np.float32)


def numbers(batch: Batch) -> list[int]:
    return [int(each) for each in batch.x[:, 0].tolist()]


def taken(buffer: ShuffledBuffer, batches: int) -> list[Batch]:
    return [Batch(*(each.clone() for each in buffer.take())) for _ in range(batches)]
