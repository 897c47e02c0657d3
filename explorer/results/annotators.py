"""How each annotator scores, by themselves, beside the others, and beside what is known."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import fmean, median

from explorer.models import Annotator
from explorer.queries.results import Given
from explorer.results.items import ItemResult
from explorer.studies.rubrics import Points, total


@dataclass(frozen=True, slots=True)
class AnnotatorResult:
    """Beside others: of all pairs of their score and another's of the same item. Beside what is known: of gold items.
    None where there is nothing of the kind."""

    pk: int
    number: int  # which others may know them by
    name: str
    is_model: bool
    n: int
    n_extra: int
    n_flagged: int
    pace: float | None  # the median of seconds
    mean: float | None
    n_pairs: int
    difference: float | None  # the mean distance of totals
    same_side: float | None  # the share of pairs on one side of the line
    n_gold: int
    gold_same_side: float | None
    gold_difference: float | None  # the mean distance of points, over criteria that apply to both


@dataclass(slots=True)
class _Gathered:
    given: list[Given] = field(default_factory=list)
    differences: list[int] = field(default_factory=list)
    same_side: list[bool] = field(default_factory=list)
    gold_same_side: list[bool] = field(default_factory=list)
    gold_differences: list[int] = field(default_factory=list)


def annotators(found: Iterable[ItemResult], who: Mapping[int, Annotator]) -> tuple[AnnotatorResult, ...]:
    """In the order of `who`, by which they are numbered."""
    gathered: dict[int, _Gathered] = defaultdict(_Gathered)
    for item in found:
        for each in item.given:
            mine = gathered[each.annotator]
            mine.given.append(each)
            for other in item.given:
                if other is not each:
                    mine.differences.append(abs(each.total - other.total))
                    mine.same_side.append((each.total > item.line) == (other.total > item.line))
            if item.row.known:
                mine.gold_same_side.append((each.total > item.line) == (total(item.row.known) > item.line))
                mine.gold_differences += _apart(each.points, item.row.known)
    return tuple(_result(number, each, gathered[pk]) for number, (pk, each) in enumerate(who.items(), 1))


def _result(number: int, who: Annotator, mine: _Gathered) -> AnnotatorResult:
    seconds = [each.seconds for each in mine.given if each.seconds is not None]
    return AnnotatorResult(
        pk=who.pk,
        number=number,
        name=who.name,
        is_model=who.is_model,
        n=len(mine.given),
        n_extra=sum(each.extra for each in mine.given),
        n_flagged=sum(each.flagged for each in mine.given),
        pace=median(seconds) if seconds else None,
        mean=_mean(each.total for each in mine.given),
        n_pairs=len(mine.differences),
        difference=_mean(mine.differences),
        same_side=_mean(mine.same_side),
        n_gold=len(mine.gold_same_side),
        gold_same_side=_mean(mine.gold_same_side),
        gold_difference=_mean(mine.gold_differences),
    )


def _apart(points: Points, known: Points) -> list[int]:
    pairs = ((points.get(key), value) for key, value in known.items())
    return [abs(mine - value) for mine, value in pairs if mine is not None and value is not None]


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return fmean(found) if found else None
