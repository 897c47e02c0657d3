"""Text and evidence that are made up, as large as one likes: for benchmarks of what is made of them."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sae_core import build_corpus
from sae_core.array_files import Streamed, write_arrays
from sae_core.evidence import COFIRE, LOGIT_BINS, LOGITS, NEIGHBOURS, bin_of

CONTEXTS, LENGTH, N_VOCAB = 20_000, 128, 50_257
BLOCK = 4096


def corpus(folder: Path) -> Path:
    ids = np.random.default_rng(0).integers(0, N_VOCAB, (CONTEXTS, LENGTH)).astype(np.uint16)
    np.save(folder / "ids.npy", ids)
    build_corpus([folder / "ids.npy"], None, folder / "corpus")
    return folder / "corpus"


def evidence(folder: Path, n: int, firings: int) -> Path:
    """Block by block, through files, so that a million features take no more memory than a thousand."""
    writer = _Arrays(folder)
    rng = np.random.default_rng(1)
    for first in range(0, n, BLOCK):
        _add_block(writer, rng, min(BLOCK, n - first), n, firings)
    about = {
        "format": 1, "kind": "evidence", "latents": n, "contexts": CONTEXTS, "context_length": LENGTH,
        "tokens": CONTEXTS * LENGTH, "masked": 0, "top_k": 20,
    }  # fmt: skip
    path = folder / "evidence.safetensors"
    write_arrays(path, writer.arrays(), about)
    return path


def _add_block(writer: "_Arrays", rng: np.random.Generator, m: int, n: int, firings: int) -> None:
    """What evidence holds of m features, drawn; each has 70 examples, of which lists share some."""
    contexts = rng.integers(1, CONTEXTS // 70, (m, 70)).cumsum(1)  # rising
    gaps = rng.integers(1, LENGTH // firings + 1, (m * 70, firings), np.uint16)
    positions = gaps.cumsum(1, dtype=np.uint16) - np.uint16(1)
    acts = rng.gamma(2, 1, positions.shape).astype(np.float32) + np.float32(0.1)
    acts[np.arange(m * 70) % 70 >= 65] = 0  # near misses
    peaks, at = acts.max(1).reshape(m, 70), positions[np.arange(len(acts)), acts.argmax(1)].reshape(m, 70)
    strongest = np.argsort(-peaks, axis=1)

    def listed(name: str, chosen: NDArray[np.int64], shape: tuple[int, ...], value: str = "act") -> None:
        for what, table in ((value, peaks), ("context", contexts), ("position", at)):
            picked = np.take_along_axis(table, chosen, axis=1).reshape(m, *shape)
            writer.add(f"{name}_{what}", picked.astype(np.float32 if what == value else np.int64))

    listed("top", strongest[:, :20], (20,))
    listed("distinct", np.concatenate([strongest[:, :12], strongest[:, 20:28]], axis=1), (20,))
    listed("interval", np.tile(strongest[:, 28:53], 1), (5, 5))
    listed("strip", strongest[:, 50:60], (10,))
    near = np.tile(np.arange(65, 70), (m, 1))
    listed("near", near, (5,), "pre_act")
    fired = peaks > 0
    writer.counted("example_start", np.full(m, 70))
    writer.add("example_context", contexts.ravel().astype(np.int32))
    counts = np.where(fired, firings, 0)
    writer.counted("firing_start", counts.ravel())
    writer.add("firing_position", positions[fired.ravel()].ravel())
    writer.add("firing_act", acts[fired.ravel()].ravel())

    maxima = peaks.max(1)
    bins = bin_of(maxima)[:, None].astype(np.int32) - np.arange(27, -1, -1)
    writer.counted("hist_start", np.full(m, 28))
    writer.add("hist_bin", bins.ravel().astype(np.int16))
    writer.add("hist_n_fired", rng.integers(1, 500, m * 28))
    writer.add("hist_sum_act", rng.random(m * 28) * 500)
    edges = np.zeros((m, 6), np.float32)
    edges[:, 1:-1] = (bins[:, [10, 18, 22, 25]].astype(np.int32) << 20).view(np.float32)
    edges[:, -1] = maxima
    writer.add("interval_edge", edges)
    for name, kind in (("n_fired", np.int64), ("n_contexts", np.int64), ("n_documents", np.int64)):
        writer.add(name, rng.integers(1000, 9000, m).astype(kind))
    writer.add("sum_act", rng.random(m) * 9000)
    writer.add("sum_sq_act", rng.random(m) * 90_000)
    writer.add("max_act", maxima)
    writer.add("p99_act", maxima * np.float32(0.8))
    for side in ("top", "bottom"):
        writer.add(f"logit_{side}_id", rng.integers(0, N_VOCAB, (m, LOGITS)).astype(np.int32))
        writer.add(f"logit_{side}", rng.random((m, LOGITS), np.float32))
    for name in ("std", "skew", "kurtosis", "low", "high"):
        writer.add(f"logit_{name}", rng.random(m, np.float32))
    writer.add("logit_hist", rng.multinomial(N_VOCAB, np.full(LOGIT_BINS, 1 / LOGIT_BINS), m).astype(np.int32))
    writer.add("input_id", rng.integers(0, N_VOCAB, (m, 10)).astype(np.int32))
    writer.add("input", rng.random((m, 10), np.float32))
    writer.add("decoder_norm", rng.random(m, np.float32))
    writer.add("encoder_cosine", rng.random(m, np.float32))
    writer.add("neighbour", rng.integers(0, n, (m, NEIGHBOURS)).astype(np.int32))
    writer.add("neighbour_cosine", rng.random((m, NEIGHBOURS), np.float32))
    writer.add("cofire", rng.integers(0, n, (m, COFIRE)).astype(np.int32))
    writer.add("cofire_n", rng.integers(0, 999, (m, COFIRE)).astype(np.int32))
    writer.add("cofire_phi", rng.random((m, COFIRE), np.float32))


class _Arrays:
    """Arrays that grow in files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, tuple[Any, tuple[int, ...], int]] = {}
        self._totals: dict[str, int] = {}

    def add(self, name: str, rows: NDArray[Any]) -> None:
        _, _, length = self._known.get(name, (rows.dtype, rows.shape[1:], 0))
        with (self._folder / f"{name}.array").open("ab") as file:
            file.write(np.ascontiguousarray(rows).tobytes())
        self._known[name] = (rows.dtype, rows.shape[1:], length + len(rows))

    def counted(self, name: str, counts: NDArray[np.int64]) -> None:
        """Where each begins, and the last one's end."""
        if name not in self._totals:
            self._totals[name] = 0
            self.add(name, np.zeros(1, np.int64))
        self.add(name, self._totals[name] + np.cumsum(counts))
        self._totals[name] += int(counts.sum())

    def arrays(self) -> dict[str, Streamed]:
        return {
            name: Streamed(dtype, (length, *shape), self._folder / f"{name}.array")
            for name, (dtype, shape, length) in self._known.items()
        }
