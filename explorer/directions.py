"""Products with all of an SAE's decoder at once, in a web process: numpy over weights that are mapped where they lie.

Nothing of a matrix is copied but a block at a time where it is not float32, so that memory stays what it was.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from explorer.mapped import numpy, opened
from explorer.models import LanguageModel, Sae
from explorer.vectors import Side, vector

if TYPE_CHECKING:
    from explorer.mapped import Array

UNEMBEDDING = "unembedding"
# Of a matrix, looked at at a time: so little that BLAS uses one thread. Several would wait for each other by spinning,
# which takes twenty times as long where others want the cores; and memory is what a product waits for anyway.
BLOCK_BYTES = 1 << 20
KEPT = 16  # SAEs whose norms are at hand


class NoLogits(Exception):
    """Why there are none; for whoever asked."""


class Unprepared(NoLogits):
    """A job has to write down first what logits are read with."""


@dataclass(frozen=True, slots=True)
class Scored:
    index: int
    value: float


@dataclass(frozen=True, slots=True)
class Extremes:
    raised: list[Scored]  # falling
    lowered: list[Scored]  # rising


def logits(sae: Sae, token: int, n: int) -> Extremes:
    """The features that raise a token's logit most, and that lower it most, of all there are."""
    found = _times(sae, _read_with(sae, token))
    return Extremes(_top(found, n), [Scored(each.index, -each.value) for each in _top(-found, n)])


def like(sae: Sae, direction: "Array | list[float]", n: int, *, but: int | None = None) -> list[Scored]:
    """The features whose decoder rows have the largest cosine with a direction, `but` for one."""
    np = numpy()
    norms, wide = _norms(sae.weights_id, sae.d_out), np.asarray(direction, np.float64)
    unit = (wide / (np.linalg.norm(wide) or 1.0)).astype(np.float32)
    cosines = _times(sae, unit) / np.where(norms > 0, norms, 1)
    if but is not None:
        cosines[but] = -np.inf
    return [each for each in _top(cosines, n + 1) if each.value != -np.inf][:n]


def row(sae: Sae, index: int) -> "Array":
    """A feature's decoder direction, in float32."""
    found: Array = numpy().array(vector(sae, index, Side.DECODER), "f4")
    return found


def known(lm: LanguageModel, hookpoint: str) -> bool:
    """Whether what is written at a hookpoint can be read, or is known not to be readable."""
    if lm.unembedding_id is None:
        return False
    file = opened(lm.unembedding_id)
    return hookpoint in file or any(hookpoint in file.about[each] for each in ("in_stream", "silent"))


def _read_with(sae: Sae, token: int) -> "Array":
    """What a decoder row is multiplied with for the token's logit.  # (d_out)"""
    hookpoint = sae.hookpoint_out or sae.hookpoint
    if not known(sae.lm, hookpoint):
        raise Unprepared(f"What logits of {sae.lm.name} are read with at {hookpoint} has not been written down yet.")
    assert sae.lm.unembedding_id
    file = opened(sae.lm.unembedding_id)
    if hookpoint in file.about["silent"]:
        raise NoLogits(f"Nothing is written to the residual stream at {hookpoint}, so its features have no logits.")
    column: Array = file[UNEMBEDDING][token]
    return _product(file[hookpoint], column) if hookpoint in file else column


def _times(sae: Sae, vector: "Array") -> "Array":
    """The whole decoder's product with a vector.  # (d_out) -> (n_latents) float32"""
    if sae.weights_id is None:  # neurons: the decoder is the identity
        return vector.copy()
    return _product(opened(sae.weights_id)["W_dec"], vector)


def _product(matrix: "Array", vector: "Array") -> "Array":
    """Of a mapped matrix, block by block.  # (n, d), (d) -> (n) float32"""
    np, start = numpy(), 0
    found: Array = np.empty(len(matrix), np.float32)
    for block in _blocks(matrix):
        np.dot(block, vector, out=found[start : start + len(block)])
        start += len(block)
    return found


def _blocks(matrix: "Array") -> Iterator["Array"]:
    """Some rows at a time, in float32."""
    np = numpy()
    rows = max(1, BLOCK_BYTES // (4 * matrix.shape[1]))
    for start in range(0, len(matrix), rows):
        block = matrix[start : start + rows]
        if matrix.dtype == np.uint16:
            yield (block.astype(np.uint32) << 16).view(np.float32)
        else:
            yield np.ascontiguousarray(block, np.float32)


@lru_cache(KEPT)
def _norms(weights: str | None, width: int) -> "Array":
    """Of all decoder rows, in float32."""
    np = numpy()
    blocks = _blocks(opened(weights)["W_dec"]) if weights else iter([np.eye(width, dtype=np.float32)])
    norms: Array = np.concatenate([np.sqrt(np.einsum("nd,nd->n", each, each)) for each in blocks])
    return norms


def _top(values: "Array", n: int) -> list[Scored]:
    """Falling; of equal ones the lower index first."""
    np = numpy()
    n = min(n, len(values))
    if not n:
        return []
    least = np.partition(values, len(values) - n)[len(values) - n]
    among = np.flatnonzero(values >= least)
    ordered = among[np.lexsort((among, -values[among]))][:n]
    return [Scored(int(index), float(values[index])) for index in ordered]
