"""What weights alone, and the sums of the pass, tell of latents: geometry, lenses, neurons."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sae_core import geometry, lens
from sae_core.collecting.accumulators import Accumulators
from sae_core.collecting.lists import Arrays
from sae_core.config import Family
from sae_core.errors import BadInput
from sae_core.evidence import INPUTS, LOGIT_BINS, LOGITS, NEIGHBOURS, NEURONS, UNKNOWN
from sae_core.hookpoints import resolve
from sae_core.lm import Lm
from sae_core.sae import Sae

BLOCK_BYTES = 8 << 20  # several times that is fetched and given back for each block, and costs little below 32 MB

Step = Callable[[], None]


def geometry_of(sae: Sae, step: Step) -> Arrays:
    unknown = torch.full((sae.n_latents,), UNKNOWN)
    cosine = unknown if sae.config.transcoder else geometry.encoder_decoder_cosine(sae)
    index = np.full((sae.n_latents, NEIGHBOURS), -1, np.int32)
    values = np.full((sae.n_latents, NEIGHBOURS), UNKNOWN, np.float32)
    for start, near in geometry.nearest(sae.W_dec, NEIGHBOURS, block_bytes=BLOCK_BYTES):
        rows, columns = slice(start, start + len(near.indices)), slice(near.indices.shape[1])
        index[rows, columns], values[rows, columns] = _numpy(near.indices), _numpy(near.cosines)
        step()
    return {
        "decoder_norm": _numpy(geometry.decoder_norms(sae).float()),
        "encoder_cosine": _numpy(cosine.float()),
        "neighbour": index,
        "neighbour_cosine": values,
    }


def lenses(lm: Lm, sae: Sae, step: Step) -> Arrays:
    """Those that there are: where nothing is written to the residual stream there is no logit lens, and where it is not
    read no input lens."""
    arrays: Arrays = {}
    with suppress(BadInput):
        arrays |= _logit_lens(lm, sae, step)
    with suppress(BadInput):
        k = min(INPUTS, lm.n_vocab)
        tops = lens.top_inputs(lm, sae.W_enc, sae.hookpoint, k=k, block_bytes=BLOCK_BYTES)
        arrays |= _widened("input", tops.ids, tops.values, INPUTS)
        step()
    return arrays


def _logit_lens(lm: Lm, sae: Sae, step: Step) -> Arrays:
    k = min(LOGITS, lm.n_vocab)
    found = []
    blocks = lens.summaries(lm, sae.W_dec, sae.hookpoint_out, k=k, bins=LOGIT_BINS, block_bytes=BLOCK_BYTES)
    for tops, histogram in blocks:
        found.append((*tops, *histogram))
        step()
    top_ids, top, bottom_ids, bottom, std, skew, kurtosis, low, high, counts = map(torch.cat, zip(*found, strict=True))
    return (
        _widened("logit_top", top_ids, top, LOGITS)
        | _widened("logit_bottom", bottom_ids, bottom, LOGITS)
        | {"logit_std": _numpy(std), "logit_skew": _numpy(skew), "logit_kurtosis": _numpy(kurtosis)}
        | {"logit_low": _numpy(low), "logit_high": _numpy(high), "logit_hist": _numpy(counts.int())}
    )


def has_neurons(lm: Lm, hookpoint: str) -> bool:
    """Whether the axes there are an MLP's neurons."""
    block, place = lm.layout.architecture.block, resolve(lm.layout, hookpoint).place
    return bool(block and block.mlp and place == block.mlp.hidden)


def neurons_of(lm: Lm, sae: Sae, kept: Accumulators) -> Arrays:
    arrays: Arrays = {}
    if kept.neurons:
        arrays |= _strongest("correlated", "neuron", "pearson", pearson(kept))
    if sae.config.family != Family.NEURONS and has_neurons(lm, sae.hookpoint_out):
        arrays |= _strongest("aligned", "neuron", "weight", _numpy(sae.W_dec.float()))
    return arrays


def pearson(kept: Accumulators) -> NDArray[np.float64]:
    """Of each latent's activations with each of the hookpoint's axes, over all tokens that count; 0 where either is
    constant.  # (n_latents, d)"""
    assert kept.neurons is not None
    n, sums, figures = max(kept.tokens, 1), kept.neurons, kept.figures
    mean_act, mean_x = figures.sum_act / n, sums.sums / n
    covariance = sums.products / n - np.outer(mean_act, mean_x)
    of_act = np.maximum(figures.sum_sq_act / n - mean_act**2, 0)
    of_x = np.maximum(sums.squares / n - mean_x**2, 0)
    spread = np.sqrt(np.outer(of_act, of_x))
    found: NDArray[np.float64] = np.where(spread > 0, covariance / np.where(spread > 0, spread, 1), 0)
    return found


def _strongest(name: str, axis: str, what: str, table: NDArray[Any]) -> Arrays:
    """The largest of each row by size, sign and all."""
    k = min(NEURONS, table.shape[1])
    order = np.argsort(-np.abs(table), axis=1, kind="stable")[:, :k]
    index = np.full((len(table), NEURONS), -1, np.int32)
    values = np.zeros((len(table), NEURONS), np.float32)
    index[:, :k], values[:, :k] = order, np.take_along_axis(table, order, axis=1)
    return {f"{name}_{axis}": index, f"{name}_{what}": values}


def _widened(name: str, ids: Tensor, values: Tensor, width: int) -> Arrays:
    """A vocabulary may have fewer tokens than are shown."""
    wide_ids = np.full((len(ids), width), -1, np.int32)
    wide = np.zeros((len(ids), width), np.float32)
    wide_ids[:, : ids.shape[1]], wide[:, : ids.shape[1]] = _numpy(ids), _numpy(values)
    return {f"{name}_id": wide_ids, name: wide}


def _numpy(tensor: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().numpy(force=True)
    return array
