"""Two features side by side: each as its own page has it, and what is known of them together."""

from collections import Counter
from dataclasses import dataclass

from explorer import vectors
from explorer.artifacts import ArtifactMissing
from explorer.queries.features import Cofiring, FeaturePage, Logit
from explorer.vectors import Side


@dataclass(frozen=True, slots=True)
class SharedToken:
    token: int
    one: float
    other: float


@dataclass(frozen=True, slots=True)
class Pair:
    one: FeaturePage
    other: FeaturePage
    cosine: float | None  # of decoder directions; None: of different widths, or of nothing
    raised: list[SharedToken] | None  # what both raise, by how much each; None: their tokens are not the same
    lowered: list[SharedToken] | None
    peaks: list[SharedToken] | None  # on what both are strongest, and how many of the strongest examples of each
    together: Cofiring | None  # at how many tokens both fire, where either's evidence says so

    @property
    def of_one_sae(self) -> bool:
        return self.one.sae.pk == self.other.sae.pk

    @property
    def at_one_place(self) -> bool:
        """Whether they write to the same space, so that a cosine says how far they write the same."""
        one, other = self.one.sae, self.other.sae
        return one.lm_id == other.lm_id and (one.hookpoint_out or one.hookpoint) == (
            other.hookpoint_out or other.hookpoint
        )


def pair(one: FeaturePage, other: FeaturePage) -> Pair:
    same_tokens = one.sae.lm.vocabulary_id == other.sae.lm.vocabulary_id
    lenses = (one.lens, other.lens)
    return Pair(
        one,
        other,
        _cosine(one, other),
        _shared(*(_values(lens.top) if lens else {} for lens in lenses)) if same_tokens else None,
        _shared(*(_values(lens.bottom) if lens else {} for lens in lenses)) if same_tokens else None,
        _shared(_peaks(one), _peaks(other)) if same_tokens else None,
        _together(one, other),
    )


def _cosine(one: FeaturePage, other: FeaturePage) -> float | None:
    if one.sae.d_out != other.sae.d_out:
        return None
    try:
        return vectors.cosine(*(vectors.vector(each.sae, each.index, Side.DECODER) for each in (one, other)))
    except ArtifactMissing:
        return None


def _shared(one: dict[int, float], other: dict[int, float]) -> list[SharedToken]:
    """In the order of the first."""
    return [SharedToken(token, value, other[token]) for token, value in one.items() if token in other]


def _values(logits: list[Logit]) -> dict[int, float]:
    return {each.token: each.value for each in logits}


def _peaks(page: FeaturePage) -> dict[int, float]:
    """Most frequent first."""
    top = page.examples.top if page.examples else []
    return dict(Counter(each.ids[each.position] for each in top).most_common())


def _together(one: FeaturePage, other: FeaturePage) -> Cofiring | None:
    if one.sae.pk != other.sae.pk:
        return None
    of_one = (each for each in one.together if each.index == other.index)
    of_other = (each for each in other.together if each.index == one.index)
    return next(of_one, None) or next(of_other, None)
