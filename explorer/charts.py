"""Figures for plotly from plain data. Colours are names of CSS variables, which chart.js looks up in the theme."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import cycle, pairwise
from typing import Any

from django.utils.html import escape

Figure = dict[str, Any]

ACCENT, INK, SOFT, LINE = "var(--accent)", "var(--ink)", "var(--soft)", "var(--line)"
# Of series, and their patterns, so that colour is not the only sign.
MARKS = ((ACCENT, ""), ("var(--kind-1)", "/"), ("var(--kind-2)", "."), ("var(--kind-3)", "x"), ("var(--kind-4)", "-"))


@dataclass(frozen=True, slots=True)
class Ways:
    """Where a bar, a point or a selection leads (static/js/ways.js): a list of rows, filtered by these columns."""

    address: str
    x: str
    y: str = ""


def histogram(
    edges: Sequence[float],
    counts: Sequence[float],
    *,
    x: str,
    y: str = "features",
    ways: Ways | None = None,
    filters: Sequence[tuple[str, ...]] = (),
) -> Figure:
    """Counts between consecutive edges, drawn as they are: nothing is counted again in the browser. `filters` are what
    the ways' column is filtered by for each bar, as it stands in an address."""
    if len(edges) != len(counts) + 1:
        raise ValueError(f"{len(counts)} counts lie between {len(counts) + 1} edges, not {len(edges)}")
    pairs = list(pairwise(edges))
    bars = {
        "type": "bar",
        "x": [(low + high) / 2 for low, high in pairs],
        "y": list(counts),
        "width": [high - low for low, high in pairs],
        "customdata": [[*pair, *bounds] for pair, bounds in zip(pairs, filters or [()] * len(pairs), strict=True)],
        "hovertemplate": "%{customdata[0]:.3g} to %{customdata[1]:.3g}: %{y:,}<extra></extra>",
        "marker": {"color": ACCENT, "line": {"width": 0}},
    }
    return _with_ways(_figure([bars] if any(counts) else [], x, y, bargap=0.04), ways)


def octaves(lows: Sequence[float], highs: Sequence[float], counts: Sequence[float], *, x: str, y: str) -> Figure:
    """Counts of bins that grow with what they hold, on a logarithmic axis, where they are equally wide."""
    bars = {
        "type": "bar",
        "x": [(low + high) / 2 for low, high in zip(lows, highs, strict=True)],  # where plotly begins to measure width
        "y": list(counts),
        "width": [high - low for low, high in zip(lows, highs, strict=True)],
        "customdata": [[low, high] for low, high in zip(lows, highs, strict=True)],
        "hovertemplate": "%{customdata[0]:.3g} to %{customdata[1]:.3g}: %{y:,}<extra></extra>",
        "marker": {"color": ACCENT, "line": {"width": 0}},
    }
    figure = _figure([bars] if any(counts) else [], x, y, bargap=0.04)
    figure["layout"]["xaxis"]["type"] = "log"
    return figure


@dataclass(frozen=True, slots=True)
class Series:
    name: str  # ours: plotly takes <b> and <a> for markup
    counts: Sequence[int]


def beside(
    categories: Sequence[str],
    series: Sequence[Series],
    *,
    x: str,
    y: str,
    line: tuple[int, str] | None = None,
) -> Figure:
    """Bars of several series side by side, each the share of its series in percent: that of what the chart is about
    first, in the accent. `line`: after which category there is one, and what it says."""
    bars = [
        {
            "type": "bar",
            "name": each.name,
            "x": list(categories),
            "y": [100 * count / sum(each.counts) for count in each.counts],
            "customdata": list(each.counts),
            "hovertemplate": f"%{{x}}: %{{customdata:,}} of {sum(each.counts):,}, %{{y:.3g}} %"
            f"<extra>{each.name}</extra>",
            "marker": {"color": colour, "pattern": {"shape": shape, "solidity": 0.5}, "line": {"width": 0}},
        }
        for each, (colour, shape) in zip(series, cycle(MARKS), strict=False)
        if any(each.counts)
    ]
    legend = {"orientation": "h", "x": 0, "y": 1, "xanchor": "left", "yanchor": "bottom"}
    layout: Figure = {"barmode": "group", "bargap": 0.15, "showlegend": len(bars) > 1, "legend": legend}
    if line:
        at, says = line
        ruled = {"x0": at + 0.5, "x1": at + 0.5, "y0": 0, "y1": 1, "yref": "paper"}
        layout["shapes"] = [{"type": "line", **ruled, "line": {"color": SOFT, "width": 1, "dash": "dot"}}]
        layout["annotations"] = [
            {"x": at + 0.5, "y": 1, "yref": "paper", "text": says, "showarrow": False, "xanchor": "left",
             "yanchor": "top", "xshift": 4, "font": {"color": SOFT, "size": 11}}
        ]  # fmt: skip
    figure = _figure(bars, x, y, **layout)
    figure["layout"]["xaxis"] |= {"type": "category"}
    return figure


def scatter(
    xs: Sequence[float],
    ys: Sequence[float],
    names: Sequence[str],
    *,
    x: str,
    y: str,
    log: bool = False,
    ways: Ways | None = None,
) -> Figure:
    points = {
        "type": "scattergl",
        "mode": "markers",
        "x": list(xs),
        "y": list(ys),
        "text": [escape(name) for name in names],  # plotly takes <b> and <a> in texts for markup
        "hovertemplate": "%{text}<br>%{x:.3g}, %{y:.3g}<extra></extra>",
        "marker": {"color": ACCENT, "size": 5, "opacity": 0.7},
    }
    figure = _figure([points] if len(xs) else [], x, y)
    if log:
        figure["layout"]["xaxis"]["type"] = "log"
    if ways:
        figure["layout"]["dragmode"] = "select"
    return _with_ways(figure, ways)


def _with_ways(figure: Figure, ways: Ways | None) -> Figure:
    return figure if ways is None else {**figure, "ways": asdict(ways)}


def _figure(data: list[dict[str, Any]], x: str, y: str, **layout: Any) -> Figure:
    return {"data": data, "layout": {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": y}}, **layout}}
