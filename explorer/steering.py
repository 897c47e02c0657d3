"""What somebody asks an lm to write, and with which features changed: checked before anything is queued, and in units
that can be carried from one feature to another."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from explorer.models import Activity, Sae
from explorer.models.access import Role

STRONGEST = 50.0  # in units of a feature
STRONGEST_RAW = 10_000.0
LONGEST_PROMPT = 4_000  # characters
MORE_FOR_RESEARCHERS = 4


class Method(StrEnum):
    """As sae_core has them, which a web process does not load."""

    ADD = "add"
    CLAMP = "clamp"
    SCALE = "scale"
    ABLATE = "ablate"
    KEEP = "keep"
    PROJECT = "project"


class Unit(StrEnum):
    P99 = "p99"  # the 99th percentile of a feature's firing activations
    MAXIMUM = "maximum"  # one outlier, which grows with the text
    RAW = "raw"


class Where(StrEnum):
    EVERYWHERE = "everywhere"
    PROMPT = "prompt"
    GENERATED = "generated"


IN_UNITS = {Method.ADD, Method.CLAMP}


class Wrong(Exception):
    """`where` is the way to what is wrong: a field, or ("changes", 2, "index")."""

    def __init__(self, where: Sequence[str | int], message: str) -> None:
        self.where, self.message = tuple(where), message
        super().__init__(message)


@dataclass(frozen=True)
class Change:
    """Of one feature."""

    sae: str  # its slug
    fingerprint: str
    index: int
    method: Method
    strength: float  # a factor, for scale
    unit: Unit
    value: float  # the strength as an activation
    where: Where
    share: float | None = None  # of the layer's typical norm that is added so; None where that is not known


@dataclass(frozen=True)
class Text:
    """One of those that are written: with the changes so many times as strong, 0 for none."""

    times: float
    seed: int
    control: int | None = None  # the seed of a direction drawn by chance, along which as much is changed
    prompted: bool = False  # nothing is changed, but for the instruction that stands before the prompt


@dataclass(frozen=True)
class Sampling:
    temperature: float = 0.7
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0


USUAL = Sampling()


@dataclass(frozen=True)
class Asked:
    lm: str  # the fingerprint of its weights
    prompt: str
    chat: bool
    changes: tuple[Change, ...]
    texts: tuple[Text, ...]
    sampling: Sampling
    new_tokens: int
    instruction: str = ""  # of texts that are but prompted, which come last

    @property
    def cost(self) -> int:
        """In tokens that are written at most."""
        return self.new_tokens * len(self.texts)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, given: dict[str, Any]) -> "Asked":
        changes = tuple(
            Change(
                **each | {"method": Method(each["method"]), "unit": Unit(each["unit"]), "where": Where(each["where"])}
            )
            for each in given["changes"]
        )
        texts = tuple(Text(**each) for each in given["texts"])
        return cls(**given | {"changes": changes, "texts": texts, "sampling": Sampling(**given["sampling"])})


def change(
    at: int, sae: Sae, index: int, method: Method, strength: float, unit: Unit, where: Where, activity: Activity | None
) -> Change:
    """`at` is its place among the changes; `activity` the feature's, where its SAE has been read over a text."""
    if not 0 <= index < sae.n_latents:
        raise Wrong(("changes", at, "index"), f"{sae.name} has features 0 to {sae.n_latents - 1:,}.")
    if method not in IN_UNITS:
        unit = Unit.RAW
    most = STRONGEST_RAW if unit is Unit.RAW else STRONGEST
    if not math.isfinite(strength) or abs(strength) > most:
        raise Wrong(("changes", at, "strength"), f"The strength lies between {-most:,g} and {most:,g}.")
    value = strength
    if unit is not Unit.RAW:
        figure = (activity.p99 if unit is Unit.P99 else activity.maximum) if activity else 0.0
        if not figure:
            why = (
                f"Feature {index} of {sae.name} was not seen to fire, so it has no {_named(unit)}. Give a raw strength."
            )
            raise Wrong(("changes", at, "unit"), why)
        value *= figure
    share = abs(value) * norm_of(sae, activity) if method in IN_UNITS else None
    return Change(sae.slug, sae.fingerprint, index, method, strength, unit, value, where, share or None)


def norm_of(sae: Sae, activity: Activity | None) -> float:
    """What an activation of 1 adds, as a share of the norm that a token typically has there; 0 where that was not
    measured."""
    typical = (sae.metrics or {}).get("typical_norm")
    return activity.decoder_norm / typical if activity and typical else 0.0


@dataclass(frozen=True)
class Group:
    """Changes that are one to sae_core: all that are kept of an SAE are kept together."""

    sae: str
    method: Method
    indices: tuple[int, ...]
    value: float
    where: Where


def grouped(changes: Sequence[Change]) -> list[Group]:
    kept: dict[tuple[str, Where], list[int]] = {}
    for each in changes:
        if each.method is Method.KEEP:
            kept.setdefault((each.sae, each.where), []).append(each.index)
    others = [
        Group(each.sae, each.method, (each.index,), each.value, each.where)
        for each in changes
        if each.method is not Method.KEEP
    ]
    together = [Group(sae, Method.KEEP, tuple(indices), 0.0, where) for (sae, where), indices in kept.items()]
    return others + together


def _named(unit: Unit) -> str:
    return "99th percentile" if unit is Unit.P99 else "maximum"


def check(asked: Asked, role: Role, *, most_tokens: int, most_texts: int) -> None:
    """What can be told without the lm; the rest a worker says."""
    if not asked.prompt.strip():
        raise Wrong(("prompt",), "Write something that the lm can go on from.")
    if len(asked.prompt) > LONGEST_PROMPT:
        raise Wrong(("prompt",), f"At most {LONGEST_PROMPT:,} characters; this has {len(asked.prompt):,}.")
    if len(asked.instruction) > LONGEST_PROMPT:
        raise Wrong(("instruction",), f"At most {LONGEST_PROMPT:,} characters; this has {len(asked.instruction):,}.")
    if any(each.prompted for each in asked.texts) and not asked.instruction.strip():
        raise Wrong(("instruction",), "Say what the lm is to be prompted with.")
    if not asked.texts:
        raise Wrong(("texts",), "Ask for one text at least.")
    if len(asked.texts) > most_texts:
        raise Wrong(("texts",), f"At most {most_texts} texts at a time; these are {len(asked.texts)}.")
    most = most_tokens * (MORE_FOR_RESEARCHERS if role.may_research else 1)
    if not 1 <= asked.new_tokens <= most:
        raise Wrong(("new_tokens",), f"From 1 to {most} new tokens.")
    _check_agree(asked.changes)


def _check_agree(changes: Sequence[Change]) -> None:
    for place, one in enumerate(changes):
        for other in changes[:place]:
            if one.sae == other.sae and _meet(one.where, other.where) and _contradict(one, other, changes):
                raise Wrong(
                    ("changes", place, "index"),
                    f"Both {other.method} of feature {other.index} and {one.method} of feature {one.index} say what "
                    f"becomes of the same feature of {one.sae}. Leave one of them out.",
                )


def _meet(one: Where, other: Where) -> bool:
    return one is other or Where.EVERYWHERE in (one, other)


def _contradict(one: Change, other: Change, changes: Sequence[Change]) -> bool:
    if (one.method is Method.KEEP) == (other.method is Method.KEEP):
        return one.index == other.index
    kept, changed = (one, other) if one.method is Method.KEEP else (other, one)
    beside = {each.index for each in changes if each.sae == kept.sae and each.method is Method.KEEP}
    return changed.index not in beside
