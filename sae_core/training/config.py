"""How one SAE is trained: the recipe of its family, with every number that a user may want to change."""

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from sae_core.config import Family, Normalise, SaeConfig
from sae_core.errors import BadInput

CHECKPOINT = "checkpoint.safetensors"  # in the folder of a training that goes on

TRAINED = (Family.RELU, Family.TOPK, Family.BATCHTOPK, Family.MATRYOSHKA, Family.JUMPRELU, Family.GATED)
KEEP_K = (Family.TOPK, Family.BATCHTOPK, Family.MATRYOSHKA)
PENALISED = (Family.RELU, Family.JUMPRELU, Family.GATED)  # by λ


class Sparsity(StrEnum):
    """What λ multiplies, where latents are ReLU's; the two recipes of the literature."""

    WEIGHTED = "weighted"
    """Σ f_i‖d_i‖ (2024): decoder rows of any norm, gradients clipped at 1, nothing resampled."""
    PLAIN = "plain"
    """Σ f_i (Bricken 2023): decoder rows of norm 1, the encoder reads x − b_dec, silent latents are resampled."""


class Precision(StrEnum):
    """Of the one dense product of a step, x·W_enc for every latent, from which the latents are chosen.

    The activations of those chosen, and all gradients, are float32, but while more than a tenth of all latents fire.
    """

    AUTO = "auto"  # bfloat16 where the processor multiplies it natively
    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"


@dataclass(frozen=True)
class TrainConfig:
    family: Family
    n_latents: int
    k: int | None = None
    """Latents kept a token: TopK; on average over a batch: BatchTopK, Matryoshka."""
    seed: int = 0
    learning_rate: float = 3e-4
    warmup: float = 0.02
    """Share of the steps over which the learning rate rises."""
    decay: float = 0.2
    """Share of the steps, the last ones, over which it falls to 0."""
    precision: Precision = Precision.AUTO
    normalise: Normalise = Normalise.NONE
    """Of every input by itself. Else all inputs are multiplied by one number, so that E‖x‖ = √d_in, which is folded
    into the weights in the end: λ and the bandwidth mean the same wherever the SAE reads."""
    sparsity: Sparsity = Sparsity.WEIGHTED
    l1: float = 5.0
    """λ of ReLU and Gated SAEs."""
    l0: float = 0.5
    """λ of JumpReLU SAEs, for each latent that fires."""
    target_l0: float | None = None
    """ReLU and Gated: λ is moved until this many latents fire a token. JumpReLU: λ·(L0/target − 1)² takes λ·L0's
    place. Biases (JumpReLU: θ) start where ten times as many fire: half of all is slow, and far from the goal."""
    sparsity_warmup: float = 0.05
    """Share of the steps over which λ rises."""
    bandwidth: float = 0.05
    """JumpReLU: ε, the width of the window around θ in which θ learns."""
    threshold: float = 0.1
    """JumpReLU: θ of every latent at the start."""
    aux_k: int | None = None
    """TopK, BatchTopK, Matryoshka: so many dead latents learn from what the others leave over. None: the least of 256
    and half of d_out; 0: none."""
    aux_weight: float = 1 / 32
    dead_after: int | None = None
    """A latent that was silent for so many tokens is dead. None: 10 million, or a tenth of a shorter training."""
    prefixes: tuple[int, ...] = ()
    """Matryoshka: the sizes of the nested dictionaries, the last one all latents. Empty: halved four times."""
    threshold_decay: float = 0.999
    """BatchTopK, Matryoshka: of the moving average of the smallest activation kept."""
    resample_at: tuple[float, ...] = (0.025, 0.05, 0.075, 0.1)
    """Plain sparsity: when silent latents are drawn anew, as shares of the steps."""
    resample_window: float = 0.0125
    """Those silent over so large a share of the steps before."""
    transcoder: bool = False
    """Whether it reconstructs another hookpoint than it reads."""
    skip: bool = False
    """A transcoder's x·W_skip."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "family", _member(Family, self.family, "family"))
        object.__setattr__(self, "sparsity", _member(Sparsity, self.sparsity, "sparsity"))
        object.__setattr__(self, "precision", _member(Precision, self.precision, "precision"))
        object.__setattr__(self, "normalise", _member(Normalise, self.normalise, "normalise"))
        if self.family not in TRAINED:
            raise BadInput(f"{self.family} SAEs are not trained here, only {', '.join(TRAINED)}")
        if self.family in KEEP_K and self.k is None:
            raise BadInput(f"a {self.family} SAE needs k, the latents kept for each token")
        if self.family not in KEEP_K and self.k is not None:
            raise BadInput(f"k is {self.k}, and a {self.family} SAE keeps what its penalty leaves; give target_l0")
        if self.family == Family.MATRYOSHKA and not self.prefixes:
            object.__setattr__(self, "prefixes", _halved(self.n_latents))
        if self.family != Family.MATRYOSHKA and self.prefixes:
            raise BadInput(f"nested prefixes exist with matryoshka alone, not with {self.family}")
        SaeConfig(self.family, 1, self.n_latents, k=self.k, prefixes=self.prefixes)  # refuses sizes that cannot be
        self._check_numbers()

    def _check_numbers(self) -> None:
        for name in ("learning_rate", "bandwidth", "l1", "l0"):
            if not getattr(self, name) > 0:
                raise BadInput(f"{name} is {getattr(self, name)}, expected a number above 0")
        for name in ("threshold", "aux_weight"):
            if not getattr(self, name) >= 0:
                raise BadInput(f"{name} is {getattr(self, name)}, expected 0 or more")
        for name in ("warmup", "decay", "sparsity_warmup", "threshold_decay", "resample_window"):
            if not 0 <= getattr(self, name) <= 1:
                raise BadInput(f"{name} is {getattr(self, name)}, expected a share from 0 to 1")
        if not all(0 <= each <= 1 for each in self.resample_at):
            raise BadInput(f"resample_at is {self.resample_at}, expected shares of the steps from 0 to 1")
        if self.target_l0 is not None and self.family not in PENALISED:
            raise BadInput(
                f"a {self.family} SAE keeps k latents, which is its L0; target_l0 is for {_listed(PENALISED)}"
            )
        if self.target_l0 is not None and not 0 < self.target_l0 <= self.n_latents:
            raise BadInput(f"target_l0 is {self.target_l0}, expected above 0 and at most {self.n_latents}, the latents")
        if self.aux_k is not None and self.aux_k < 0:
            raise BadInput(f"aux_k is {self.aux_k}, expected 0 or more")
        if self.dead_after is not None and self.dead_after < 1:
            raise BadInput(f"dead_after is {self.dead_after}, expected at least one token")
        if self.skip and not self.transcoder:
            raise BadInput("skip connections are for transcoders: without another hookpoint x·W_skip would be all")

    @property
    def plain(self) -> bool:
        return self.family == Family.RELU and self.sparsity == Sparsity.PLAIN

    @property
    def unit_rows(self) -> bool:
        """Whether decoder rows are held at norm 1; else the penalty weighs them."""
        return self.family != Family.RELU or self.plain

    @property
    def subtracts_b_dec(self) -> bool:
        """Whether the encoder reads x − b_dec; a transcoder's b_dec is of another place."""
        return not self.transcoder and (self.family in (*KEEP_K, Family.GATED) or self.plain)

    def dead_tokens(self, tokens: int) -> int:
        return self.dead_after or max(min(10_000_000, tokens // 10), 1)

    def aux_latents(self, d_out: int) -> int:
        if self.family not in KEEP_K:
            return 0
        return min(256, max(d_out // 2, 1), self.n_latents) if self.aux_k is None else min(self.aux_k, self.n_latents)


def _halved(n_latents: int) -> tuple[int, ...]:
    return tuple(sorted({max(n_latents >> each, 1) for each in range(5)}))


def _member(kind: type[Any], given: Any, name: str) -> Any:
    try:
        return kind(given)
    except ValueError as error:
        raise BadInput(f"{name} is {given!r}, expected one of {_listed(kind)}") from error


def _listed(names: Any) -> str:
    return ", ".join(str(each) for each in names)


FIELDS = {field.name for field in fields(TrainConfig)}
