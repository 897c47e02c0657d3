"""An SAE's charts: how its features are spread, each bar and each selection a way to those that it stands for."""

from collections.abc import Callable

from django.urls import reverse

from explorer import charts
from explorer.charts import Figure, Ways
from explorer.models import Collection, Sae
from explorer.numbers import count
from explorer.queries import distributions
from explorer.queries.distributions import Bar


def of_sae(sae: Sae, collection: Collection, name: str) -> Figure | None:
    chart = CHARTS.get(name)
    return chart(sae, collection) if chart else None


def _density(sae: Sae, collection: Collection) -> Figure:
    bars = distributions.by_density(collection)
    return _histogram(sae, bars, "density", "log₁₀ of the share of tokens it fires on")


def _norms(sae: Sae, collection: Collection) -> Figure:
    return _histogram(sae, distributions.by_norm(collection), "decoder_norm", "length of the decoder direction")


def _cosines(sae: Sae, collection: Collection) -> Figure:
    bars = distributions.by_encoder_cosine(sae)
    return _histogram(sae, bars, "encoder_cosine", "cosine of encoder and decoder direction")


def _p99(sae: Sae, collection: Collection) -> Figure:
    points = distributions.points(collection)
    drawn = "" if len(points.some) == points.of else f" ({count(len(points.some))} of {count(points.of)} drawn evenly)"
    figure = charts.scatter(
        [float(f"{each.density:.4g}") for each in points.some],
        [float(f"{each.p99:.4g}") for each in points.some],
        [f"feature {each.index}" for each in points.some],
        x=f"share of tokens it fires on{drawn}",
        y="99th percentile when firing",
        log=True,
        ways=Ways(reverse("features", args=[sae.slug]), "density", "p99"),
    )
    for trace in figure["data"]:
        trace["customdata"] = [each.index for each in points.some]
    return figure


def _histogram(sae: Sae, bars: list[Bar], column: str, x: str) -> Figure:
    if not bars:
        return charts.histogram([0, 1], [0], x=x)
    return charts.histogram(
        [*(bar.low for bar in bars), bars[-1].high],
        [bar.n for bar in bars],
        x=x,
        ways=Ways(reverse("features", args=[sae.slug]), column),
        filters=[(repr(bar.least), repr(bar.most)) for bar in bars],
    )


CHARTS: dict[str, Callable[[Sae, Collection], Figure]] = {
    "density": _density,
    "p99": _p99,
    "norms": _norms,
    "cosines": _cosines,
}
