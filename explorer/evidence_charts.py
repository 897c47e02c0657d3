"""A feature's charts, of what its evidence holds."""

from explorer import charts
from explorer.charts import Figure
from explorer.queries.features import FeaturePage

NAMES = ("logits", "activations")


def of_feature(page: FeaturePage, name: str) -> Figure | None:
    if name == "logits":
        return _logits(page)
    return _activations(page) if name == "activations" else None


def bars(page: FeaturePage) -> list[tuple[float, float, int]]:
    """Of the activations: from where, to where, how many tokens."""
    return [(bar.low, bar.high, bar.n_fired) for bar in page.examples.histogram] if page.examples else []


def _logits(page: FeaturePage) -> Figure:
    lens, x, y = page.lens, "what it adds to a logit", "tokens"
    if lens is None:
        return charts.histogram([0, 1], [0], x=x, y=y)
    bins = len(lens.histogram)
    edges = [lens.low + (lens.high - lens.low) * bin_ / bins for bin_ in range(bins + 1)]
    return charts.histogram(edges, lens.histogram, x=x, y=y)


def _activations(page: FeaturePage) -> Figure:
    lows, highs, counts = zip(*bars(page), strict=True) if bars(page) else ((), (), ())
    figure = charts.octaves(lows, highs, counts, x="activation", y="tokens")
    figure["layout"]["hovermode"] = "x"  # a low bar is pointed at anywhere above it
    return figure
