"""Controls for a blinded study: neurons and random directions that fire as often as the features they are paired with.

    f = x·w + b where that exceeds c, else 0;  b = c − t

w is one sign of an axis, or any unit direction. t lies between the n-th and the next largest x·w of the text, so that
the n largest fire; c lifts the smallest of these to the paired feature's fraction of the maximum.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from torch import Tensor

from sae_core import heap
from sae_core.attached import Attached
from sae_core.collect import CollectConfig
from sae_core.collecting.firing import Encoder
from sae_core.collecting.passing import Forward, OnBatch, Text
from sae_core.config import Family, SaeConfig
from sae_core.errors import BadInput
from sae_core.lm import Lm
from sae_core.sae import Sae

TIED = 1e-12  # of the largest x·w: equal tokens differ by less where a product rounds otherwise, others by far more
ENOUGH = 0.9  # of the firings wanted: what ties may leave of them
NEAR = 2_000  # to either side, that are looked at for a match
TRIES = (1, 2, 4, 8)  # directions for each control still missing, in the first reading of the text, the second …


class ControlKind(StrEnum):
    NEURON = "neuron"  # one sign of an axis of the hookpoint; in a residual stream, of a basis dimension
    DIRECTION = "direction"  # a unit direction drawn uniformly


@dataclass(frozen=True)
class Control:
    kind: ControlKind
    n_fired: int
    """At how many tokens of the text it is to fire: as many as the feature it is paired with."""
    floor: float = 0.0
    """That feature's smallest activation above 0 over its largest: 0 for a ReLU's, more where there is a threshold."""

    def __post_init__(self) -> None:
        if self.n_fired < 1:
            raise BadInput(f"n_fired of a control is {self.n_fired}, expected at least 1; pair it with what fires")
        if not 0 <= self.floor < 1:
            raise BadInput(
                f"floor of a control is {self.floor}, expected a fraction of the maximum: 0 or more, below 1"
            )


@heap.kept()
def control_sae(
    lm: Lm,
    hookpoint: str,
    wanted: Sequence[Control],
    contexts: NDArray[Any],
    *,
    lengths: NDArray[Any] | None = None,
    mask_ids: Sequence[int] | None = None,
    seed: int,
    on_batch: OnBatch | None = None,
) -> Sae:
    """One latent for each of `wanted`, which fires exactly so often when the same text is collected.

    Where tokens tie at the threshold none of them fires, as long as nine in ten of those wanted are left. An axis that
    leaves fewer with either sign, because it hardly varies or is seldom above 0, is replaced by the next drawn, and the
    text is read again for that: `on_batch` then begins anew. No axis comes twice before all have been drawn.

    In float64, so that adding b moves no value across the threshold; `save_sae` and `load_sae` keep that.
    """
    if not wanted:
        raise BadInput("no control is wanted")
    drawn = _Drawn(lm.width(hookpoint), seed)
    text = _text(lm, contexts, lengths, mask_ids)
    _check_tokens(wanted, text)
    reading = _Reading(lm, hookpoint, text, on_batch)
    found: dict[int, _Latent] = {}
    for tries in TRIES:
        missing = {number: each for number, each in enumerate(wanted) if number not in found}
        found |= _found(reading, missing, drawn, tries)
        if len(found) == len(wanted):
            return _sae(hookpoint, [found[number] for number in range(len(wanted))]).to(lm.device)
    control = next(each for number, each in enumerate(wanted) if number not in found)
    raise BadInput(
        f"{hookpoint} of {lm.name}: none of {sum(TRIES)} {control.kind}s that were drawn can fire at "
        f"{control.n_fired:,} tokens of this text; is it mostly 0 there, or the text the same over and over? "
        "Take another hookpoint or kind"
    )


def matched(wanted: NDArray[np.float64], others: NDArray[np.float64]) -> list[int]:
    """For each row of figures one of the others that is like it, each taken once.  # (n, figures), (m, figures)

    The sum of squared differences is the least possible: squared, as one control far off gives itself away sooner than
    two that are a little. Looked at are those whose first figure is nearest, thousands to either side; with that figure
    alone none that is left out could be better.
    """
    if not len(wanted):
        return []
    if len(others) < len(wanted):
        raise BadInput(f"{len(wanted)} latents are to be matched, and {len(others)} of the other SAE ever fired")
    order = np.argsort(others[:, 0], kind="stable")
    side = max(len(wanted), NEAR)
    places = np.searchsorted(others[order, 0], wanted[:, 0])[:, None] + np.arange(-side, side)
    near = order[np.unique(places[(places >= 0) & (places < len(order))])]
    _, columns = linear_sum_assignment(cdist(wanted, others[near], "sqeuclidean"))
    latents: list[int] = near[columns].tolist()
    return latents


class _Cut(NamedTuple):
    """What leaves so many firings of a direction."""

    n_fired: int
    b_enc: float
    threshold: float


SILENT = _Cut(0, b_enc=0.0, threshold=torch.inf)


class _Latent(NamedTuple):
    direction: Tensor  # (width)
    cut: _Cut


class _Drawn:
    """Directions by chance, one after the other."""

    def __init__(self, width: int, seed: int) -> None:
        self._width = width
        self._generator = torch.Generator().manual_seed(seed)
        self._axes = self._all_axes()
        self._given_back: deque[Tensor] = deque()

    def direction(self, kind: ControlKind) -> Tensor:
        if kind == ControlKind.NEURON:
            return self._given_back.popleft() if self._given_back else next(self._axes)
        drawn = torch.randn(self._width, generator=self._generator, dtype=torch.float64)
        return torch.nn.functional.normalize(drawn, dim=0)

    def give_back(self, kind: ControlKind, directions: Sequence[Tensor]) -> None:
        """Of directions there are always more."""
        if kind == ControlKind.NEURON:
            self._given_back.extend(directions)

    def _all_axes(self) -> Iterator[Tensor]:
        """Each once with one sign, then each once with the other, and so on."""
        signs = torch.randint(2, (self._width,), generator=self._generator).double() * 2 - 1
        while True:
            for axis in torch.randperm(self._width, generator=self._generator).tolist():
                direction = torch.zeros(self._width, dtype=torch.float64)
                direction[axis] = signs[axis]
                yield direction
            signs = -signs


class _Largest:
    """The n largest of all numbers seen; twice as many are held at most, and the last added."""

    def __init__(self, n: int) -> None:
        self._n, self._held = n, np.empty(0)
        self._pending: list[NDArray[np.float64]] = []
        self._least = -np.inf  # of the n largest so far

    def add(self, values: NDArray[np.float64]) -> None:
        self._pending.append(values[values > self._least])
        if sum(map(len, self._pending)) > self._n:
            self._settle()

    def falling(self) -> NDArray[np.float64]:
        self._settle()
        return -np.sort(-self._held)

    def _settle(self) -> None:
        self._held = np.concatenate([self._held, *self._pending])
        self._pending = []
        if len(self._held) >= self._n:
            self._held = np.partition(self._held, -self._n)[-self._n :]
            self._least = self._held[0]


@dataclass(frozen=True)
class _Reading:
    """The text read to the hookpoint, in the batches and by the products of a pass."""

    lm: Lm
    hookpoint: str
    text: Text
    on_batch: OnBatch | None

    def products(self, directions: Sequence[Tensor]) -> Iterator[NDArray[np.float64]]:
        """x·w of all tokens that count, some at a time.  # (directions, n)"""
        lm, text = self.lm, self.text
        sae = _sae(self.hookpoint, [_Latent(each, SILENT) for each in directions]).to(lm.device)
        attached = Attached(lm, sae)
        n_contexts, length = text.contexts.shape
        encoder, forward = Encoder(sae, length), Forward(lm, [self.hookpoint], text)
        for batch in text.batches(0, n_contexts):
            x = attached.seen(forward.read(batch)[self.hookpoint])
            for block in encoder.blocks(x, batch.keep):
                contexts, tokens, _ = block.pre.shape
                keep = batch.keep[block.first : block.first + contexts, block.position : block.position + tokens]
                yield block.pre[keep].T.numpy(force=True)
            if self.on_batch:
                self.on_batch(min(batch.first + text.batch, n_contexts), n_contexts)


def _found(reading: _Reading, missing: Mapping[int, Control], drawn: _Drawn, tries: int) -> dict[int, _Latent]:
    """Those of the missing that one reading of the text gives."""
    asked = [control for control in missing.values() for _ in range(tries)]
    directions = [drawn.direction(control.kind) for control in asked]
    fitted = _fitted(reading, directions, asked)
    found: dict[int, _Latent] = {}
    for place, (number, control) in enumerate(missing.items()):
        own = slice(place * tries, (place + 1) * tries)
        fits = [latent.cut.n_fired >= ENOUGH * control.n_fired for latent in fitted[own]]
        if any(fits):
            first = fits.index(True)
            found[number] = fitted[own][first]
            drawn.give_back(control.kind, directions[own][first + 1 :])
    return found


def _fitted(reading: _Reading, directions: Sequence[Tensor], asked: Sequence[Control]) -> list[_Latent]:
    """Each direction with the sign that fires more often, up to what is asked of it; with its own where both do."""
    both = [(_Largest(control.n_fired + 1), _Largest(control.n_fired + 1)) for control in asked]
    for products in reading.products(directions):
        for values, (largest, largest_negated) in zip(products, both, strict=True):
            largest.add(values)
            largest_negated.add(-values)
    fitted = []
    for direction, control, signs in zip(directions, asked, both, strict=True):
        own, other = (_cut(each.falling(), control) for each in signs)
        fitted.append(_Latent(direction, own) if own.n_fired >= other.n_fired else _Latent(-direction, other))
    return fitted


def _cut(falling: NDArray[np.float64], control: Control) -> _Cut:
    """Of the largest x·w, one more than are to fire, or all there are.  # (n_fired + 1) or (n_fired)"""
    if len(falling) == control.n_fired:  # all tokens are to fire
        falling = np.append(falling, falling[-1] - (falling[0] - falling[-1]) / len(falling))
    apart = np.flatnonzero(falling[:-1] - falling[1:] > TIED * np.abs(falling).max())
    if not len(apart):
        return SILENT
    last = int(apart[-1])
    t = (falling[last] + falling[last + 1]) / 2
    largest, smallest = falling[0] - t, falling[last] - t
    c = max(0.0, float(control.floor * largest - smallest) / (1 - control.floor))
    return _Cut(last + 1, c - float(t), c)


def _sae(hookpoint: str, latents: Sequence[_Latent]) -> Sae:
    rows = torch.stack([each.direction for each in latents])  # (controls, width)
    n_latents, width = rows.shape
    return Sae(
        SaeConfig(Family.RANDOM, d_in=width, n_latents=n_latents, hookpoint=hookpoint),
        {
            "W_enc": rows.T.contiguous(),
            "W_dec": rows,
            "b_enc": torch.tensor([each.cut.b_enc for each in latents], dtype=torch.float64),
            "b_dec": torch.zeros(width, dtype=torch.float64),
            "threshold": torch.tensor([each.cut.threshold for each in latents], dtype=torch.float64),
        },
    )


def _text(lm: Lm, contexts: NDArray[Any], lengths: NDArray[Any] | None, mask_ids: Sequence[int] | None) -> Text:
    lm.checked(contexts[:1])
    if lengths is not None and lengths.shape != contexts.shape[:1]:
        raise BadInput(f"the lengths are of shape {lengths.shape}, expected one for each of {len(contexts)} contexts")
    masked = lm.mask_ids if mask_ids is None else mask_ids
    return Text(contexts, lengths, masked, CollectConfig().batch(contexts.shape[1]), lm.device)


def _check_tokens(wanted: Sequence[Control], text: Text) -> None:
    tokens = sum(int(batch.keep.sum()) for batch in text.batches(0, len(text.contexts)))
    most = max(each.n_fired for each in wanted)
    if most > tokens:
        raise BadInput(
            f"a control is to fire at {most:,} tokens, and {tokens:,} of this text count; "
            "is it the text that the paired features were collected over?"
        )
