"""What the colours of a map stand for."""

from dataclasses import dataclass

from django.urls import reverse
from django.utils.http import urlencode

from explorer.densities import DENSE
from explorer.map_points import BANDS, labelled, parts, scored
from explorer.models import FeatureMap
from explorer.numbers import significant


@dataclass(frozen=True, slots=True)
class Bar:
    """Points of one colour, which are selected by it."""

    says: str
    n: int
    area: str = ""  # as an address selects them


@dataclass(frozen=True, slots=True)
class Silent:
    """What is not on the map."""

    name: str
    n: int
    href: str


@dataclass(frozen=True, slots=True)
class Legend:
    name: str
    bars: list[Bar]
    ramp: bool  # by how much, or else by which


def colourings(found: FeatureMap) -> list[str]:
    """By what its points can be coloured."""
    grains = [f"cluster-{grain}" for grain in range(len(found.clusters))]
    by_score = ["score"] if len(scored(found)[0]) else []
    return [*found.legends_shown, *grains, *by_score, "labelled", *(["sae"] if len(parts(found)) > 1 else [])]


def legends(found: FeatureMap) -> list[Legend]:
    ramps = [Legend(name, [_bar(name, place, bar) for place, bar in enumerate(found.legends[name])], True)
             for name in found.legends_shown]  # fmt: skip
    clusters = [Legend(f"cluster-{grain}", _clusters(found, grain), False) for grain in range(len(found.clusters))]
    n = len(labelled(found))
    by_label = Legend("labelled", [Bar("labelled", n), Bar("no label", found.n_points - n)], False)
    by_score = Legend("score", _scores(found), True)
    by_sae = Legend("sae", [Bar(part.sae.name, part.n_points, f"part={part.number}") for part in parts(found)], False)
    return [*ramps, *clusters, by_score, by_label, by_sae]


def silent(found: FeatureMap) -> list[Silent]:
    query = urlencode({"fires": "never"})
    return [
        Silent(part.sae.name, part.n_silent, f"{reverse('features', args=[part.sae.slug])}?{query}")
        for part in parts(found)
        if part.n_silent
    ]


def _bar(name: str, place: int, bar: dict[str, float | None]) -> Bar:
    low, high, n = bar["low"], bar["high"], bar["n"]
    dense = " (dense)" if name == "density" and low == DENSE else ""
    return Bar(_between(low, high) + dense, int(n or 0), f"bar={name}-{place}")


def _scores(found: FeatureMap) -> list[Bar]:
    """Means of what annotators gave, as shares of all points that there are: rubrics have different totals."""
    numbers, bands = scored(found)
    of_band = [int((bands == band).sum()) for band in range(BANDS)]
    step = 100 // BANDS
    said = [f"{band * step} to {(band + 1) * step} % of all points" for band in range(BANDS)]
    return [*map(Bar, said, of_band), Bar("not scored", found.n_points - len(numbers))]


def _clusters(found: FeatureMap, grain: int) -> list[Bar]:
    """There are more of them than colours, which tell apart what lies side by side: one line says it of all."""
    outside = found.about["unclustered"][grain]
    return [
        Bar("in clusters", found.n_points - outside),
        Bar("unclustered", outside, f"cluster={grain}-none"),
    ]


def _between(low: float | None, high: float | None) -> str:
    if low is None:
        return f"up to {significant(high)}"
    return f"over {significant(low)}" if high is None else f"{significant(low)} to {significant(high)}"
