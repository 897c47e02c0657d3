"""What somebody changes of latents while an lm reads and writes: which, how, how much, and where.

    y' = y + s·(f′ − f)·W_dec        at the positions that are meant, and where the token counts (`masks.counted`)

f′ is f with the changes, s undoes the SAE's normalising at that token. So what the SAE does not explain stays as it is,
and where nothing is changed no bit is. On a latent, every method is f′ = factor·f + constant.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sae_core.errors import BadInput
from sae_core.sae import Sae


class Method(StrEnum):
    ADD = "add"  # f + value
    CLAMP = "clamp"  # value, whether it fires or not
    SCALE = "scale"  # value·f
    ABLATE = "ablate"  # 0
    KEEP = "keep"  # 0 for all others of its SAE
    PROJECT = "project"  # y without its part along the latents' directions, whatever they are at


class Where(StrEnum):
    EVERYWHERE = "everywhere"
    PROMPT = "prompt"
    GENERATED = "generated"  # from the first token on that the lm has written


PHASES = (Where.PROMPT, Where.GENERATED)
TAKES_VALUE = {Method.ADD, Method.CLAMP, Method.SCALE}


@dataclass(frozen=True)
class Intervention:
    sae: Sae
    method: Method
    latents: tuple[int, ...]
    value: float = 0.0
    """Of activation, for add and clamp; a factor, for scale."""
    where: Where = Where.EVERYWHERE

    def __post_init__(self) -> None:
        if not self.latents:
            raise BadInput(f"{self.method}: name at least one latent")
        if twice := [each for place, each in enumerate(self.latents) if each in self.latents[:place]]:
            raise BadInput(f"{self.method}: latent {twice[0]} is named twice")
        for each in self.latents:
            if not 0 <= each < self.sae.n_latents:
                last = self.sae.n_latents - 1
                raise BadInput(f"latent {each} does not exist; this SAE's are 0 to {last}")
        if not math.isfinite(self.value):
            raise BadInput(f"{self.method}: the value is {self.value}, expected a finite number")
        if self.value and self.method not in TAKES_VALUE:
            raise BadInput(f"{self.method} takes no value, {self.value:g} was given")

    def holds_in(self, phase: Where) -> bool:
        return self.where in (phase, Where.EVERYWHERE)

    @property
    def affine(self) -> tuple[float, float]:
        """(factor, constant) of each of its latents."""
        if self.method == Method.ADD:
            return 1.0, self.value
        if self.method == Method.CLAMP:
            return 0.0, self.value
        return (self.value if self.method == Method.SCALE else 0.0), 0.0


@dataclass(frozen=True)
class Run:
    """One text of several that are written in one pass."""

    interventions: tuple[Intervention, ...] = ()
    seed: int = 0
    control: int | None = None
    """The seed of a random direction. What the interventions would change is written along it instead, at each token
    with the same norm."""

    def __post_init__(self) -> None:
        for phase in PHASES:
            _check_agree([each for each in self.interventions if each.holds_in(phase)], phase)


def saes_of(runs: Sequence[Run]) -> Iterator[Sae]:
    """Each once."""
    seen: list[Sae] = []
    for each in (intervention.sae for run in runs for intervention in run.interventions):
        if not any(each is other for other in seen):
            seen.append(each)
            yield each


def _check_agree(interventions: Sequence[Intervention], phase: Where) -> None:
    """At most one of them says what becomes of a latent."""
    where = "the prompt" if phase == Where.PROMPT else "what is written"
    for place, one in enumerate(interventions):
        for other in interventions[:place]:
            if one.sae is other.sae and (latent := _both_change(one, other)) is not None:
                raise BadInput(
                    f"{other.method} and {one.method} contradict each other: both say what becomes of latent {latent} "
                    f"in {where}"
                )


def _both_change(one: Intervention, other: Intervention) -> int | None:
    kept = [set(each.latents) for each in (one, other) if each.method == Method.KEEP]
    changed = [set(each.latents) for each in (one, other) if each.method != Method.KEEP]
    if not kept:
        return min(changed[0] & changed[1], default=None)
    if not changed:  # two lists of what is kept
        return min(kept[0] ^ kept[1], default=min(kept[0]))
    return min(changed[0] - kept[0], default=None)
