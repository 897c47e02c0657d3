"""The logit lens of directions: what they write to the logits; and the other way, which input tokens a latent reads.

    logits = centred(d)·g·W_U, less its mean over the vocabulary

for a direction d of the residual stream and the final norm's gain g, centred over d_model where that norm is a
LayerNorm; d·W_U where there is no norm. The norm's scale, its bias and any soft-cap are left out; the other way,
positions are. All rows of W_U and of the embeddings take part, those too that no token of the tokenizer uses.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sae_core.architectures import gain, is_projection, matrix
from sae_core.errors import BadInput
from sae_core.hookpoints import resolve, width
from sae_core.lm import Lm

BLOCK_BYTES = 256 * 2**20  # of float32 logits held at a time
ROWS = 1024  # of an identity held at a time


class TopLogits(NamedTuple):
    top_ids: Tensor  # (n, k) int64
    top_values: Tensor  # (n, k) falling
    bottom_ids: Tensor  # (n, k) int64
    bottom_values: Tensor  # (n, k) rising
    std: Tensor  # (n,) over the vocabulary, where the mean is 0
    skew: Tensor  # (n,) 0 where all logits are equal
    kurtosis: Tensor  # (n,) in excess of a normal distribution's; 0 where all logits are equal


class LogitHistogram(NamedTuple):
    low: Tensor  # (n,)
    high: Tensor  # (n,)
    counts: Tensor  # (n, bins) int64, of as many equal bins between the two


class TopInputs(NamedTuple):
    ids: Tensor  # (n, k) int64
    values: Tensor  # (n, k) falling


def to_residual(lm: Lm, directions: Tensor, hookpoint: str) -> Tensor:
    """What directions of a hookpoint add to the residual stream, in float32.  # (n, width) -> (n, d_model)

    Biases are no part of a direction, and of a norm on the way (Gemma's) the gain alone is applied.
    """
    carried = _wide(lm, directions, hookpoint)  # (n, width)
    for module in _way(lm, hookpoint):
        carried = carried @ matrix(module).float() if is_projection(module) else carried * gain(lm.layout, module)
    return carried


def unembedding(lm: Lm) -> Tensor:
    """What a direction of the residual stream is multiplied with for its lens, in float32: W_U with all that comes
    before and after it folded in.  # (n_vocab, d_model)"""
    final_norm = _final_norm(lm)
    W_U = lm.hf.get_output_embeddings().weight.detach().float()  # (n_vocab, d_model)
    folded: Tensor = W_U - W_U.mean(0, dtype=torch.float64).float()
    if final_norm is not None:
        folded *= gain(lm.layout, final_norm)
    if isinstance(final_norm, nn.LayerNorm):
        folded -= folded.mean(-1, keepdim=True)
    return folded


def carried(lm: Lm, hookpoint: str) -> Tensor | None:
    """What each axis of a hookpoint adds to the residual stream; None where they are that stream's own axes.
    # (width, d_model) float32"""
    if not _way(lm, hookpoint):
        return None
    axes = width(lm.layout, hookpoint)
    blocks = (torch.eye(min(ROWS, axes - start), axes).roll(start, 1) for start in range(0, axes, ROWS))
    return torch.cat([to_residual(lm, block, hookpoint) for block in blocks])


def logit_lens(lm: Lm, directions: Tensor, hookpoint: str, *, block_bytes: int = BLOCK_BYTES) -> Iterator[Tensor]:
    """The lens of each direction, in blocks of as many as fit.  # (n, width) -> (b, n_vocab) float32, n rows in all"""
    final_norm = _final_norm(lm)
    written = to_residual(lm, directions, hookpoint)  # (n, d_model)
    if isinstance(final_norm, nn.LayerNorm):
        written = written - written.mean(-1, keepdim=True)
    if final_norm is not None:
        written = written * gain(lm.layout, final_norm)
    W_U = lm.hf.get_output_embeddings().weight  # (n_vocab, d_model)
    return _products(written, W_U, block_bytes)


def top_logits(lm: Lm, directions: Tensor, hookpoint: str, *, k: int = 10, block_bytes: int = BLOCK_BYTES) -> TopLogits:
    """The tokens that each direction raises and lowers most, and the shape of what it does to all."""
    _check_k(lm, k)
    blocks = [
        _with_moments(block, block.topk(k), block.topk(k, largest=False))
        for block in logit_lens(lm, directions, hookpoint, block_bytes=block_bytes)
    ]
    return TopLogits(*map(torch.cat, zip(*blocks, strict=True)))


def summaries(
    lm: Lm, directions: Tensor, hookpoint: str, *, k: int, bins: int, block_bytes: int = BLOCK_BYTES
) -> Iterator[tuple[TopLogits, LogitHistogram]]:
    """The same with the histogram of all logits, in blocks of as many directions as fit."""
    _check_k(lm, k)
    for block in logit_lens(lm, directions, hookpoint, block_bytes=block_bytes):
        tops = block.topk(k), block.topk(k, largest=False)
        histogram = _histogram(block, bins, tops[1].values[:, 0], tops[0].values[:, 0])
        yield _with_moments(block, *tops), histogram


def embedding_inputs(lm: Lm, hookpoint: str) -> Tensor:
    """What each token puts into the residual stream (Gemma's scaled by √d_model), in float32.  # (n_vocab, d_model)"""
    point = resolve(lm.layout, hookpoint)
    if point.place is None or not lm.layout.architecture.is_stream(point.place):
        raise BadInput(f"{hookpoint}: embeddings are read in the residual stream alone: hook_resid_pre, _mid or _post")
    embed = lm.hf.get_input_embeddings()
    embeddings: Tensor = embed(torch.arange(lm.n_vocab, device=lm.device))
    return embeddings.float()


def top_inputs(lm: Lm, W_enc: Tensor, hookpoint: str, *, k: int = 10, block_bytes: int = BLOCK_BYTES) -> TopInputs:
    """The tokens whose embeddings each latent's encoder reads most, less its mean over them.  # W_enc (d_model, n)"""
    _check_k(lm, k)
    embeddings = embedding_inputs(lm, hookpoint)  # (n_vocab, d_model)
    encoders = _wide(lm, W_enc.T, hookpoint)  # (n, d_model)
    blocks = [block.topk(k) for block in _products(encoders, embeddings, block_bytes)]
    return TopInputs(torch.cat([each.indices for each in blocks]), torch.cat([each.values for each in blocks]))


def _way(lm: Lm, hookpoint: str) -> list[nn.Module]:
    """The matrices and norms between a hookpoint and the residual stream."""
    point = resolve(lm.layout, hookpoint)
    paths = None if point.place is None else lm.layout.architecture.way(point.place)
    if paths is None:
        raise BadInput(
            f"{hookpoint}: nothing is written to the residual stream there, so a direction of it has no logits; "
            "the lens of a transcoder is taken at its output hookpoint"
        )
    return [lm.layout.blocks[point.layer].get_submodule(path) for path in paths] if point.layer is not None else []


def _final_norm(lm: Lm) -> nn.Module | None:
    if lm.layout.final_norm is None and lm.layout.architecture.block is None:
        raise BadInput(f"the logit lens needs the final norm, and where that lies in {lm.layout.kind} is not known")
    return lm.layout.final_norm


def _wide(lm: Lm, directions: Tensor, hookpoint: str) -> Tensor:
    """Rows that are as wide as the hookpoint, in float32 and on the lm's device."""
    expected = width(lm.layout, hookpoint)
    if directions.dim() != 2 or directions.shape[1] != expected:
        hint = "; is it transposed?" if directions.dim() == 2 and directions.shape[0] == expected else ""
        raise BadInput(f"{hookpoint}: directions are {tuple(directions.shape)}, expected (n, {expected}){hint}")
    return directions.detach().to(lm.device, torch.float32)


def _check_k(lm: Lm, k: int) -> None:
    if not 1 <= k <= lm.n_vocab:
        raise BadInput(f"k is {k}, expected 1 to {lm.n_vocab}, the tokens of {lm.name}")


def _products(rows: Tensor, vocabulary: Tensor, block_bytes: int) -> Iterator[Tensor]:
    """rows @ vocabulary.T less each row's mean, block by block.  # (n, d), (n_vocab, d) -> (b, n_vocab)"""
    vocabulary = vocabulary.float()
    at_once = max(1, block_bytes // (4 * len(vocabulary)))
    for part in torch.split(rows, at_once):
        products = part @ vocabulary.T
        yield products.sub_(products.mean(-1, keepdim=True))


def _with_moments(logits: Tensor, top: torch.return_types.topk, bottom: torch.return_types.topk) -> TopLogits:
    """Of logits whose mean is 0; they are overwritten, so that but one more block is held."""
    std = logits.square().mean(-1).sqrt()  # (b, n_vocab) -> (b)
    z = logits.div_(torch.where(std > 0, std, 1)[:, None])
    squares = z.square()
    skew = z.mul_(squares).mean(-1)
    kurtosis = torch.where(std > 0, squares.square_().mean(-1) - 3, 0)
    return TopLogits(top.indices, top.values, bottom.indices, bottom.values, std, skew, kurtosis)


def _histogram(logits: Tensor, bins: int, low: Tensor, high: Tensor) -> LogitHistogram:
    """Between the least and the largest of each row."""
    width = torch.where(high > low, high - low, 1)
    which = logits.sub(low[:, None]).mul_((bins / width)[:, None]).int().clamp_(max=bins - 1)  # (b, n_vocab)
    which += torch.arange(0, len(logits) * bins, bins, device=logits.device, dtype=torch.int32)[:, None]
    counts = torch.bincount(which.view(-1), minlength=len(logits) * bins).view(-1, bins)
    return LogitHistogram(low, high, counts)
