"""A study's charts: how features score, beside controls that nobody could tell from them."""

from explorer import charts
from explorer.charts import Figure, Series
from explorer.results.kinds import KindResult
from explorer.results.study import Results

TOTALS, CRITERION = "totals", "criterion-"  # no criterion's key has a hyphen


def of_study(found: Results, name: str) -> Figure | None:
    if name == TOTALS:
        return _totals(found)
    keys = [each.key for each in found.criteria]
    key = name.removeprefix(CRITERION)
    return _points(found, keys.index(key)) if name.startswith(CRITERION) and key in keys else None


def _totals(found: Results) -> Figure:
    categories = [str(total) for total in range(found.most + 1)]
    series = [_series(kind, kind.totals) for kind in found.kinds]
    title = "total of an item (means are rounded up)" if found.averaged else "total of an item"
    return charts.beside(
        categories, series, x=title, y="share of its items, %", line=(found.line, f"interpretable above {found.line}")
    )


def _points(found: Results, place: int) -> Figure:
    criterion = found.criteria[place]
    categories = [*map(str, range(criterion.most + 1)), *["not applicable"] * bool(criterion.unless)]
    series = [_series(kind, kind.points[criterion.key][: len(categories)]) for kind in found.kinds]
    return charts.beside(categories, series, x=f"points for {criterion.title.lower()}", y="share of its scores, %")


def _series(kind: KindResult, counts: tuple[int, ...]) -> Series:
    return Series(kind.title, counts)
