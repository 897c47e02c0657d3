"""Which rows of SAEs' decoders are on a map: those of latents that fire and have a direction."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from sae_core.errors import BadInput
from sae_core.finite import finite, not_finite

FEWEST = 5
SAME = 1e-6  # that much short of 1, a cosine is rounding
BLOCK_ROWS = 1 << 14  # so that no second copy of all rows is made on the way


class Points(NamedTuple):
    rows: NDArray[np.int64]  # (n) which of all rows of all SAEs, rising
    unit: Tensor  # (n, d_out) float32, of norm 1
    sae: NDArray[np.int32]  # (n) whose
    given: int  # rows of all SAEs
    silent: int
    without_direction: int


def points_of(directions: Sequence[Tensor], alive: Sequence[NDArray[np.bool_] | None] | None) -> Points:
    fires = _fires(directions, alive)
    _check(directions)
    largest = [np.concatenate([_largest(block) for block in blocks(rows)]) for rows in directions]
    kept = [each & (length > 0) for each, length in zip(fires, largest, strict=True)]
    n_fires, n_kept = (sum(int(each.sum()) for each in some) for some in (fires, kept))
    n_all = sum(map(len, directions))
    if n_kept < FEWEST:
        raise BadInput(
            f"of {n_all} latents {n_fires} fire, and {n_kept} of those have a direction; "
            f"a map needs at least {FEWEST} points"
        )
    unit = torch.empty(n_kept, directions[0].shape[1])
    end = 0
    for rows, which in zip(directions, kept, strict=True):
        for some in blocks(torch.from_numpy(np.flatnonzero(which))):
            start, end = end, end + len(some)
            unit[start:end] = _of_norm_1(rows[some.to(rows.device)])
    if bool((unit @ unit[0] >= 1 - SAME).all()):
        raise BadInput(f"all {n_kept} directions are the same, so there is nothing to map")
    whose = np.repeat(np.arange(len(kept), dtype=np.int32), [int(each.sum()) for each in kept])
    return Points(np.flatnonzero(np.concatenate(kept)), unit, whose, n_all, n_all - n_fires, n_fires - n_kept)


def blocks(rows: Tensor) -> Iterator[Tensor]:
    """One at least, of however few."""
    for start in range(0, max(len(rows), 1), BLOCK_ROWS):
        yield rows[start : start + BLOCK_ROWS]


def _fires(directions: Sequence[Tensor], alive: Sequence[NDArray[np.bool_] | None] | None) -> list[NDArray[np.bool_]]:
    given = [None] * len(directions) if alive is None else alive
    if len(given) != len(directions):
        raise BadInput(f"it is said of {len(given)} SAEs which latents fire, and there are {len(directions)} SAEs")
    for number, (rows, each) in enumerate(zip(directions, given, strict=True), start=1):
        if each is not None and len(each) != len(rows):
            raise BadInput(f"SAE {number} has {len(rows)} latents, and of {len(each)} it is said whether they fire")
    return [
        np.ones(len(rows), np.bool_) if each is None else np.asarray(each, np.bool_)
        for rows, each in zip(directions, given, strict=True)
    ]


def _check(directions: Sequence[Tensor]) -> None:
    if not directions:
        raise BadInput("there is no SAE to make a map of")
    for number, rows in enumerate(directions, start=1):
        if rows.dim() != 2:
            raise BadInput(f"the directions of SAE {number} are {tuple(rows.shape)}, expected (n_latents, d_out)")
        if rows.shape[1] != directions[0].shape[1]:
            raise BadInput(
                f"SAE {number} writes {rows.shape[1]} numbers and SAE 1 writes {directions[0].shape[1]}; "
                "a map needs SAEs of one hookpoint"
            )
        if not finite(rows):
            what, _, first = not_finite(rows)
            raise BadInput(f"row {first} of the decoder of SAE {number} holds {what}, expected finite numbers")


def _largest(rows: Tensor) -> NDArray[np.float32]:
    largest: NDArray[np.float32] = rows.float().abs().amax(1).numpy(force=True)
    return largest


def _of_norm_1(rows: Tensor) -> Tensor:
    """Very long and very short ones too, whose squares are no float32."""
    rows = rows.detach().float()
    return normalize(rows / rows.abs().amax(1, keepdim=True), dim=1)
