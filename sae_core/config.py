"""What an SAE is, apart from its weights."""

from dataclasses import dataclass, fields
from enum import StrEnum

from sae_core.errors import BadInput


class Family(StrEnum):
    """How latents come of pre-activations; `sae_core.activations` has the equations."""

    RELU = "relu"
    TOPK = "topk"
    GROUPMAX = "groupmax"
    BATCHTOPK = "batchtopk"
    MATRYOSHKA = "matryoshka"
    JUMPRELU = "jumprelu"
    GATED = "gated"
    NEURONS = "neurons"  # a baseline: the hookpoint's own axes, through a relu
    RANDOM = "random"  # a control: random directions, each with a threshold


class Normalise(StrEnum):
    """What is done to every input by itself before it is encoded, and undone on the reconstruction."""

    NONE = "none"
    CONSTANT_NORM = "constant_norm"  # to the norm √d_in
    LAYER_NORM = "layer_norm"  # to mean 0 and (unbiased) standard deviation 1


NEEDS_K = {Family.TOPK, Family.GROUPMAX}
BATCH_FAMILIES = {Family.BATCHTOPK, Family.MATRYOSHKA}  # one threshold for all latents
VECTOR_THRESHOLD = {Family.JUMPRELU, Family.RANDOM}


@dataclass(frozen=True)
class SaeConfig:
    family: Family
    d_in: int
    n_latents: int
    d_out: int = 0
    """Width of what is reconstructed; 0 stands for d_in."""
    hookpoint: str = ""
    """Where in the lm the input is read, by its TransformerLens name; empty where the file does not say."""
    hookpoint_out: str = ""
    """What is reconstructed; empty for the hookpoint itself. Another one makes the SAE a transcoder."""
    normalise: Normalise = Normalise.NONE
    undo_normalise: bool = True
    """Whether the reconstruction is brought back to the input's own scale; SAELens's transcoders leave it."""
    subtract_b_dec: bool = False
    """b_pre = b_dec: the encoder sees x − b_dec."""
    centred: bool = False
    """It was trained on activations less their mean over d_in (TransformerLens's centred writing weights)."""
    k: int | None = None
    signed: bool = False
    """TopK by magnitude, negative latents included."""
    prefixes: tuple[int, ...] = ()
    """Matryoshka: how many latents each nested dictionary has, rising, the last one all of them."""
    lm: str = ""
    """The lm it was trained on, as the file names it."""
    context_length: int | None = None
    prepend_bos: bool | None = None
    dtype: str = ""
    """The precision it was trained in, as the file names it."""
    source: str = ""
    """The format it was first read from."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "d_out", self.d_out or self.d_in)
        for name in ("d_in", "n_latents", "d_out"):
            if not _whole(getattr(self, name)) or getattr(self, name) < 1:
                raise BadInput(f"{name} is {getattr(self, name)!r}, expected a whole number above 0")
        if self.k is not None and not (_whole(self.k) and 1 <= self.k <= self.n_latents):
            raise BadInput(f"k is {self.k!r}, expected a whole number from 1 to {self.n_latents}, the latents")
        if self.family in NEEDS_K and self.k is None:
            raise BadInput(f"a {self.family} SAE needs k, the number of latents kept for each token")
        if self.family == Family.GROUPMAX and self.n_latents % (self.k or 1):
            raise BadInput(f"groupmax splits {self.n_latents} latents into k = {self.k} groups, which leaves a rest")
        if self.signed and self.family != Family.TOPK:
            raise BadInput(f"signed latents exist with topk alone, not with {self.family}")
        if self.prefixes and (list(self.prefixes) != sorted(set(self.prefixes)) or self.prefixes[0] < 1):
            raise BadInput(f"the nested prefixes are {self.prefixes}, expected rising numbers above 0")
        if self.prefixes and self.prefixes[-1] != self.n_latents:
            raise BadInput(f"the nested prefixes end at {self.prefixes[-1]}, expected all {self.n_latents} latents")

    @property
    def transcoder(self) -> bool:
        """Whether it reconstructs another hookpoint than it reads."""
        return bool(self.hookpoint_out) and self.hookpoint_out != self.hookpoint


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


FIELDS = {field.name for field in fields(SaeConfig)}
