"""One SAE as it is trained: batches go in, and at any time the SAE as it stands comes out."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sae_core.config import BATCH_FAMILIES, Family, Normalise, SaeConfig
from sae_core.folding import scaled_inputs
from sae_core.normalise import normalise
from sae_core.sae import Sae
from sae_core.training.config import KEEP_K, PENALISED, TrainConfig
from sae_core.training.objectives import Now, Outcome, objective
from sae_core.training.resampling import resample
from sae_core.training.schedules import at, decayed, warmed
from sae_core.training.starting import geometric_median, starting_bias, starting_gain, starting_weights

REFRESH = 50  # steps between two looks at which latents are dead: a look makes a GPU wait
CLIP = 1.0  # the norm of all gradients at most, where no constraint holds the decoder
# Toward a target L0: λ follows how far off (in e-folds) L0 is now, which damps, and the sum of how far off it was.
NOW, SO_FAR, SMOOTHED = 0.5, 0.003, 0.95
MOST_OFF = 2.0
READ_TOGETHER = 4096  # tokens, where losses are read without training
MOMENTS = ("exp_avg", "exp_avg_sq")


class Report(NamedTuple):
    """Of one SAE's last batch."""

    loss: float
    l0: float  # mean number of latents that fired a token
    fvu: float
    silent: int  # latents that have not fired for as many tokens as make one dead
    penalty: float  # λ as it stands; 0 where there is none


class Trainer:
    """Trains one SAE, on batches of as many tokens; `start` first, then `step` by `step`.

    Two trainers given the same batches are the same to the last bit, whatever is trained beside them and however often
    `report` is asked for.
    """

    def __init__(
        self,
        config: TrainConfig,
        d_in: int,
        d_out: int,
        *,
        steps: int,
        batch_size: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self.config, self.d_in, self.d_out, self.steps, self.batch_size = config, d_in, d_out, steps, batch_size
        self.at_step = 0
        made = starting_weights(config, d_in, d_out)
        self.weights = {name: each.to(device).requires_grad_() for name, each in made.items()}
        self.optimiser = torch.optim.Adam(self.weights.values(), lr=config.learning_rate, fused=True)
        self.dead_after = config.dead_tokens(steps * batch_size)
        self.aux_k = config.aux_latents(d_out)
        self.scale_in = self.scale_out = 1.0
        self._silent = torch.zeros(config.n_latents, dtype=torch.int64, device=device)  # tokens since it last fired
        self._dead: Tensor | None = None
        self._steering = torch.zeros(2, device=device)  # how far off L0 is, smoothed, and the sum of it
        self._threshold = torch.full((), -1.0, device=device)  # of BatchTopK; below 0 it was never set
        self._spoiled = torch.full((), -1, dtype=torch.int64, device=device)  # the first step whose loss was no number
        self._last: tuple[Tensor, Outcome] | None = None

    # --- the training

    @torch.no_grad()
    def start(self, x: Tensor, y: Tensor) -> None:
        """Sets what depends on the data, from some thousands of tokens.  # (n, d_in), (n, d_out)"""
        if self.config.normalise == Normalise.NONE:
            self.scale_in, self.scale_out = _scale(x), _scale(y)
        elif self.config.transcoder:
            self.scale_out = _scale(y)
        x, y = self._prepared(x, y)
        self.weights["b_dec"].copy_(geometric_median(y))
        if (bias := starting_bias(self.config, self.weights, x)) is not None:
            self.weights[bias[0]].copy_(bias[1])
        if self.config.family in KEEP_K:
            part = slice(0, READ_TOGETHER)
            made = objective(self.config, self.weights, x[part], y[part], Now()).x_hat
            self.weights["enc_rows"] *= starting_gain(y[part] - self.weights["b_dec"], made - self.weights["b_dec"])

    def step(self, x: Tensor, y: Tensor) -> None:
        """One step of the optimiser. y is x but for transcoders.  # (n, d_in), (n, d_out)"""
        config, step, steps = self.config, self.at_step, self.steps
        if step % REFRESH == 0 and self.aux_k:
            dead = (self._silent >= self.dead_after).nonzero().flatten()
            self._dead = dead if len(dead) else None
        x, y = self._prepared(x, y)
        now = Now(self._penalty(), self._dead, self.aux_k)
        outcome = objective(config, self.weights, x, y, now)
        self.optimiser.zero_grad()
        torch.autograd.backward(outcome.loss)
        rate = warmed(step, steps, config.warmup) * decayed(step, steps, config.decay)
        self._update(config.learning_rate * rate)
        self._count(outcome)
        self._last = y, outcome
        self.at_step += 1

    @property
    def resamples(self) -> bool:
        """Whether silent latents are to be drawn anew now, with `resample`."""
        return self.config.plain and self.at_step > 0 and at(self.at_step, self.steps, self.config.resample_at)

    @torch.no_grad()
    def resample(self, x: Tensor, y: Tensor) -> int:
        """Draws silent latents anew, from these inputs; how many there were."""
        window = self.config.resample_window * self.steps * self.batch_size
        x, y = self._prepared(x, y)
        errors = x.new_empty(len(x))
        for at_token in range(0, len(x), READ_TOGETHER):
            part = slice(at_token, at_token + READ_TOGETHER)
            x_hat = objective(self.config, self.weights, x[part], y[part], Now()).x_hat
            errors[part] = (y[part] - x_hat).square().sum(-1)
        moments = {name: [self.optimiser.state[each][m] for m in MOMENTS] for name, each in self.weights.items()}
        seed = self.config.seed * 1_000_003 + self.at_step
        drawn = resample(self.weights, moments, self._silent >= window, x - self.weights["b_dec"], errors, seed)
        self._silent[drawn] = 0
        return len(drawn)

    # --- what came of it

    @torch.no_grad()
    def report(self) -> Report:
        """Changes nothing."""
        if self._last is None:
            raise RuntimeError("no step was taken yet")
        y, outcome = self._last
        error, variance = (y - outcome.x_hat).double().square().sum(), (y - y.mean(0)).double().square().sum()
        return Report(
            loss=outcome.loss.item(),
            l0=(outcome.acts != 0).sum().item() / len(y),
            fvu=(error / variance).item(),
            silent=int((self._silent >= self.dead_after).sum()),
            penalty=float(self._penalty()) if self.config.family in PENALISED else 0.0,
        )

    @property
    def spoiled_at(self) -> int | None:
        """The first step whose loss was no number."""
        step = int(self._spoiled)
        return None if step < 0 else step

    @torch.no_grad()
    def sae(self, where: SaeConfig | None = None) -> Sae:
        """The SAE as it stands, for inputs in their own units; `where` says what weights do not: hookpoint, lm, …"""
        config = self.config
        tensors = {name: each.detach().cpu().clone() for name, each in self.weights.items()}
        tensors["W_enc"] = tensors.pop("enc_rows").T.contiguous()
        if config.family in BATCH_FAMILIES:
            tensors["threshold"] = self._threshold.cpu().clone()
        described = SaeConfig(
            family=config.family,
            d_in=self.d_in,
            n_latents=config.n_latents,
            d_out=self.d_out,
            normalise=config.normalise,
            undo_normalise=not config.transcoder,
            subtract_b_dec=config.subtracts_b_dec,
            k=config.k,
            prefixes=config.prefixes,
            **({} if where is None else _place(where)),
        )
        return scaled_inputs(Sae(described, tensors), self.scale_in, self.scale_out)

    # --- between two sessions

    def state(self) -> dict[str, Tensor]:
        """All that the steps to come depend on."""
        state = {f"weights.{name}": each.detach() for name, each in self.weights.items()}
        for name, each in self.weights.items():
            for key, value in self.optimiser.state[each].items():
                state[f"optimiser.{name}.{key}"] = value
        dead = self._silent.new_empty(0) if self._dead is None else self._dead
        return state | {
            "silent": self._silent,
            "dead": dead,
            "steering": self._steering,
            "threshold": self._threshold,
            "at_step": torch.tensor(self.at_step),
            "scales": torch.tensor([self.scale_in, self.scale_out], dtype=torch.float64),
        }

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor]) -> None:
        device = self._silent.device
        for name, each in self.weights.items():
            each.copy_(state[f"weights.{name}"])
            start = f"optimiser.{name}."
            self.optimiser.state[each] = {
                key.removeprefix(start): value.to(device) for key, value in state.items() if key.startswith(start)
            }
        self._silent.copy_(state["silent"])
        self._dead = state["dead"].to(device) if len(state["dead"]) else None
        self._steering.copy_(state["steering"])
        self._threshold.copy_(state["threshold"])
        self.at_step = int(state["at_step"])
        self.scale_in, self.scale_out = state["scales"].tolist()

    # --- the parts of a step

    def _prepared(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """In the units of the training."""
        if self.config.normalise == Normalise.NONE:
            scaled = x * self.scale_in
            return scaled, y * self.scale_out if self.config.transcoder else scaled
        normalised = normalise(x, self.config.normalise).x
        return normalised, y * self.scale_out if self.config.transcoder else normalised

    def _penalty(self) -> Tensor:
        """λ at this step."""
        config = self.config
        most = config.l0 if config.family == Family.JUMPRELU else config.l1
        off, sum_off = self._steering
        risen = most * warmed(self.at_step, self.steps, config.sparsity_warmup)
        return torch.exp(NOW * off + SO_FAR * sum_off) * risen

    @torch.no_grad()
    def _update(self, learning_rate: float) -> None:
        W_dec = self.weights["W_dec"]
        if self.config.unit_rows:
            assert W_dec.grad is not None
            W_dec.grad -= (W_dec.grad * W_dec).sum(1, keepdim=True) * W_dec  # what only lengthens a row
        else:
            torch.nn.utils.clip_grad_norm_(self.weights.values(), CLIP, foreach=True)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate
        self.optimiser.step()
        if self.config.unit_rows:
            W_dec /= W_dec.norm(dim=1, keepdim=True)
        if self.config.family == Family.JUMPRELU:
            self.weights["threshold"].clamp_(min=0)

    @torch.no_grad()
    def _count(self, outcome: Outcome) -> None:
        config, fires = self.config, outcome.acts != 0
        times = outcome.acts.new_zeros(config.n_latents)
        times.index_add_(0, outcome.fired.latents, fires.to(times.dtype))
        self._silent += outcome.fired.n_tokens
        self._silent.masked_fill_(times > 0, 0)
        if config.target_l0 and config.family != Family.JUMPRELU:
            l0 = times.sum() / outcome.fired.n_tokens
            off = (l0 / config.target_l0).clamp_min(1e-3).log().clamp(-MOST_OFF, MOST_OFF)
            self._steering[0].lerp_(off, 1 - SMOOTHED)
            self._steering[1] += off
        if outcome.kept_least is not None and torch.isfinite(outcome.kept_least):
            decay = config.threshold_decay
            moved = self._threshold * decay + outcome.kept_least * (1 - decay)
            self._threshold.copy_(torch.where(self._threshold < 0, outcome.kept_least, moved))
        bad = ~torch.isfinite(outcome.loss) & (self._spoiled < 0)
        self._spoiled.masked_fill_(bad, self.at_step)


def _scale(x: Tensor) -> float:
    """What brings the mean norm to √d."""
    mean = x.double().norm(dim=1).mean().item()
    return math.sqrt(x.shape[1]) / mean if mean > 0 else 1.0


def _place(where: SaeConfig) -> dict[str, Any]:
    names = ("hookpoint", "hookpoint_out", "centred", "lm", "context_length", "prepend_bos", "dtype", "source")
    return {name: getattr(where, name) for name in names}
