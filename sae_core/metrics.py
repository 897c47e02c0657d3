"""How well an SAE stands in for the activations it was trained on, measured exactly.

Masked positions keep their clean activation and leave every average; sums are float64.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sae_core import density
from sae_core.attached import Attached, reconstructed
from sae_core.baselines import pca_fvu, sparse_coding
from sae_core.errors import BadInput
from sae_core.geometry import mutual_coherence
from sae_core.lm import Lm
from sae_core.masks import counted
from sae_core.sae import Sae

BLOCK_BYTES = 256 << 20  # of logits held at a time
SINK = 10  # times the median norm: an attention sink
SAMPLE = 512  # tokens that the search for sparse codes is run on
PCA_WIDTH = 8192  # above, the scatter matrix would take more than half a gigabyte

Progress = Callable[[int, int], None]  # contexts done, of how many


@dataclass(frozen=True)
class Metrics:
    """None where one is not defined: nothing varies, no loss is counted, an ablation does not hurt."""

    contexts: int
    tokens: int
    """That count: neither masked nor, where left out, sinks."""
    masked: int
    sinks: int
    """Positions whose norm is above ten times the median."""
    sinks_left_out: bool
    l0: float
    fvu: float | None
    explained_variance: float | None
    shrinkage: float | None
    """E‖x̂‖² / E⟨x, x̂⟩: below 1, the reconstruction is too short."""
    dead: int
    """Latents that never fired in these tokens: of each, the density is at most never_fired_below."""
    never_fired_below: float
    ultra_low: int | None
    """Latents that fired fewer than ten times; None below ten million tokens, which are too few to tell."""
    dense: int
    """Latents that fired at more than a tenth of the tokens."""
    ce_clean: float | None
    ce_sae: float | None
    ce_zero: float | None
    ce_mean: float | None
    ce_degradation: float | None
    loss_recovered: float | None
    """Of what zero ablation costs; None where it costs nothing."""
    loss_recovered_mean: float | None
    typical_norm: float
    """The median norm of what passes where it writes, in the SAE's own scale: that of its decoder's rows times their
    activations, which is what a change of latents adds."""
    kl: float
    """KL(clean ‖ with the SAE), in nats a token."""
    density_histogram: dict[str, list[float]]
    """Latents by log10 of their density, those that never fired left out."""
    baselines: dict[str, float] = field(default_factory=dict)
    """On the same tokens: PCA of rank `rank` ≈ L0; on a sample of them, as many latents of the same decoder chosen by
    search beside the encoder's own; and the decoder's mutual coherence."""
    n_fired: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64), repr=False)  # (n_latents)

    def to_json(self) -> dict[str, Any]:
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name != "n_fired"}


def measure(
    lm: Lm,
    sae: Sae,
    contexts: NDArray[Any] | Tensor,
    *,
    mask_ids: Sequence[int] | None = None,
    lengths: NDArray[Any] | None = None,
    leave_out_sinks: bool = False,
    baselines: bool = True,
    batch_size: int | None = None,
    on_progress: Progress | None = None,
) -> Metrics:
    """Runs the lm over all contexts: once to its hookpoint, then clean, with the SAE, and with two ablations.

    `mask_ids` are the lm's bos and pad ids unless given. `lengths` says how many tokens of each context are real, so
    that no loss is counted that predicts padding; an array of ids does not say it (GPT-2's padding is its end of text).
    # contexts (contexts, length)
    """
    if contexts.ndim != 2 or not len(contexts):
        raise BadInput(f"the tokens are {tuple(contexts.shape)}, expected (contexts, length), at least one of each")
    attached = Attached(lm, sae)
    contexts = contexts.numpy(force=True) if isinstance(contexts, Tensor) else contexts
    mask_ids = lm.mask_ids if mask_ids is None else mask_ids
    fitting = BLOCK_BYTES // (contexts.shape[1] * lm.n_vocab * 4)
    batches = _Batches(lm, contexts, lengths, mask_ids, batch_size or min(max(fitting, 1), 64), on_progress)
    survey = _survey(attached, batches, leave_out_sinks=leave_out_sinks)
    sums = _Sums(attached, survey, scatter=baselines)
    for tokens, keep, real in batches:
        sums.add(tokens, keep, real)
    return sums.metrics(contexts.shape, baselines=baselines)


@dataclass
class _Batches:
    """Contexts in groups whose logits fit, with what counts in each; read twice, or once more to leave out sinks."""

    lm: Lm
    contexts: NDArray[Any]
    lengths: NDArray[Any] | None
    mask_ids: Sequence[int]
    size: int
    on_progress: Progress | None
    done: int = 0
    passes: int = 2

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Tokens, which of them count, and which are there at all."""
        for start in range(0, len(self.contexts), self.size):
            rows = self.contexts[start : start + self.size].astype(np.int64)
            tokens = torch.from_numpy(rows).to(self.lm.device)  # (contexts, length)
            real = torch.ones_like(tokens, dtype=torch.bool)
            if self.lengths is not None:
                lengths = torch.from_numpy(self.lengths[start : start + self.size].astype(np.int64)).to(tokens.device)
                real = torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]
            yield tokens, counted(tokens, self.mask_ids) & real, real
            self.done += len(rows)
            if self.on_progress:
                self.on_progress(self.done, self.passes * len(self.contexts))


@dataclass
class _Survey:
    """What has to be known of all tokens before any is measured."""

    tokens: int  # that count
    sinks: int
    limit: float  # on the norm of what counts; infinite where sinks stay
    mean: Tensor  # (d_out) float64
    typical_norm: float


def _survey(attached: Attached, batches: _Batches, *, leave_out_sinks: bool) -> _Survey:
    norms, norms_out, sums = [], [], []
    for tokens, keep, _ in batches:
        x, y = (each[keep] for each in attached.read(tokens))
        norms.append(x.norm(dim=1))
        norms_out.append(attached.sae.in_own_scale(y, x).norm(dim=1))
        sums.append(y.double().sum(0))
    norm = torch.cat(norms)  # (tokens): all of them, four bytes each, for the exact median
    if not len(norm):
        raise BadInput(f"none of the tokens counts: all of them are masked ids ({_listed(batches.mask_ids)})")
    typical = float(torch.cat(norms_out).median())
    limit = float(SINK * norm.median())
    sinks = int((norm > limit).sum())
    if not leave_out_sinks or not sinks:
        limit = limit if leave_out_sinks else math.inf
        return _Survey(len(norm), sinks, limit, torch.stack(sums).sum(0) / len(norm), typical)
    batches.passes += 1
    total = torch.zeros_like(sums[0])
    for tokens, keep, _ in batches:
        x, y = (each[keep] for each in attached.read(tokens))
        total += y[x.norm(dim=1) <= limit].double().sum(0)
    return _Survey(len(norm) - sinks, sinks, limit, total / (len(norm) - sinks), typical)


def _listed(ids: Sequence[int]) -> str:
    return ", ".join(map(str, ids)) or "none"


class _Sums:
    """All that the metrics are made of, token by token in any grouping."""

    def __init__(self, attached: Attached, survey: _Survey, *, scatter: bool) -> None:
        sae = attached.sae
        self.attached, self.sae, self.survey = attached, sae, survey
        zero = torch.zeros((), dtype=torch.float64, device=sae.device)
        self.error, self.variance, self.product, self.length = (zero.clone() for _ in range(4))
        self.n_fired = torch.zeros(sae.n_latents, dtype=torch.int64, device=sae.device)
        self.kl, self.losses = zero.clone(), {name: zero.clone() for name in ("clean", "sae", "zero", "mean")}
        self.predicted = 0
        self.scatter = zero.new_zeros(sae.d_out, sae.d_out) if scatter and sae.d_out <= PCA_WIDTH else None
        self.seen = 0
        wanted = min(SAMPLE, survey.tokens)
        self.wanted = torch.arange(wanted, device=sae.device) * survey.tokens // wanted  # which tokens are kept
        self.sample: list[tuple[Tensor, Tensor]] = []

    def add(self, tokens: Tensor, keep: Tensor, real: Tensor) -> None:
        (all_x, all_y), clean = self.attached.run(tokens)
        keep = keep & (all_x.norm(dim=-1) <= self.survey.limit)
        x, y = all_x[keep], all_y[keep]  # (n, d_in), (n, d_out)
        x_hat = self._reconstruct(x, y)
        targets = keep[:, :-1] & real[:, 1:]  # a loss counts by where it is predicted from
        self.predicted += int(targets.sum())
        self._add_loss("clean", clean, tokens, targets)
        with_sae = self.attached.logits_with(tokens, x_hat, keep)
        self._add_loss("sae", with_sae, tokens, targets)
        for context, kept in enumerate(keep):
            p, q = (_log_p(logits[context][kept]) for logits in (clean, with_sae))
            self.kl += (p.exp() * (p - q)).sum(-1).double().sum()
        del clean, with_sae
        self._add_loss("zero", self.attached.logits_with(tokens, torch.zeros_like(y), keep), tokens, targets)
        mean = self.survey.mean.to(y.dtype).expand_as(y)
        self._add_loss("mean", self.attached.logits_with(tokens, mean, keep), tokens, targets)

    def _reconstruct(self, x: Tensor, y: Tensor) -> Tensor:
        mean, all_x_hat = self.survey.mean.to(y.dtype), []
        for part in reconstructed(self.sae, x, y):
            self.n_fired += part.n_fired
            wide, x_hat = part.y.double(), part.x_hat.double()
            self.error += (wide - x_hat).square().sum()
            self.variance += (wide - self.survey.mean).square().sum()
            self.product += (wide * x_hat).sum()
            self.length += x_hat.square().sum()
            if self.scatter is not None:
                centred = part.y - mean
                self.scatter += (centred.T @ centred).double()
            here = self.wanted[(self.wanted >= self.seen) & (self.wanted < self.seen + len(part.x))] - self.seen
            self.sample.append((part.x[here], part.y[here]))
            self.seen += len(part.x)
            all_x_hat.append(part.x_hat)
        return torch.cat(all_x_hat)

    def _add_loss(self, name: str, logits: Tensor, tokens: Tensor, targets: Tensor) -> None:
        for context, counts in enumerate(targets):  # one at a time: vocabularies are wide
            chosen = _log_p(logits[context, :-1][counts])
            self.losses[name] -= chosen.gather(1, tokens[context, 1:][counts][:, None]).double().sum()

    def metrics(self, shape: Sequence[int], *, baselines: bool) -> Metrics:
        tokens, survey = self.survey.tokens, self.survey
        l0, fvu = float(self.n_fired.sum()) / tokens, _over(float(self.error), float(self.variance))
        few = (self.n_fired > 0) & (self.n_fired < density.ULTRA_LOW)
        ce = {name: _over(float(each), self.predicted) for name, each in self.losses.items()}
        return Metrics(
            contexts=shape[0],
            tokens=tokens,
            masked=shape[0] * shape[1] - tokens - (survey.sinks if survey.limit < math.inf else 0),
            sinks=survey.sinks,
            sinks_left_out=survey.limit < math.inf,
            l0=l0,
            fvu=fvu,
            explained_variance=None if fvu is None else 1 - fvu,
            shrinkage=_over(float(self.length), float(self.product)),
            dead=int((self.n_fired == 0).sum()),
            never_fired_below=density.at_most(tokens),
            ultra_low=int(few.sum()) if tokens >= density.ENOUGH else None,
            dense=int((self.n_fired > density.DENSE * tokens).sum()),
            ce_clean=ce["clean"],
            ce_sae=ce["sae"],
            ce_zero=ce["zero"],
            ce_mean=ce["mean"],
            ce_degradation=None if ce["sae"] is None or ce["clean"] is None else ce["sae"] - ce["clean"],
            loss_recovered=_recovered(ce["zero"], ce["sae"], ce["clean"]),
            loss_recovered_mean=_recovered(ce["mean"], ce["sae"], ce["clean"]),
            typical_norm=survey.typical_norm,
            kl=float(self.kl) / tokens,
            density_histogram=density.histogram(self.n_fired, tokens),
            baselines=self._baselines(l0) if baselines else {},
            n_fired=self.n_fired.cpu(),
        )

    def _baselines(self, l0: float) -> dict[str, float]:
        k = max(1, round(l0))
        x, y = (torch.cat(each) for each in zip(*self.sample, strict=True))
        varied = float((y.double() - y.double().mean(0)).square().sum())
        found = {
            "pca_fvu": None if self.scatter is None else pca_fvu(self.scatter, k),
            "encoder_fvu": _over(float((y - self.sae(x)).double().square().sum()), varied),
            "sparse_coding_fvu": _over(float((y - sparse_coding(self.sae, x, y, k)).double().square().sum()), varied),
            "mutual_coherence": mutual_coherence(self.sae.W_dec),
        }
        return {"rank": k, "sampled_tokens": len(x)} | {name: each for name, each in found.items() if each is not None}


def _log_p(logits: Tensor) -> Tensor:
    """In float32 at least, whatever the lm computes in."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)


def _over(sum_: float, count: float) -> float | None:
    return sum_ / count if count else None


def _recovered(ablated: float | None, with_sae: float | None, clean: float | None) -> float | None:
    """(CE_ablated − CE_sae) / (CE_ablated − CE_clean); not defined where the ablation does not hurt."""
    if ablated is None or with_sae is None or clean is None or ablated <= clean:
        return None
    return (ablated - with_sae) / (ablated - clean)
