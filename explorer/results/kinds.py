"""Features beside each kind of control."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil

from explorer.agreement.figures import Bootstrap
from explorer.models.studies import SubjectKind
from explorer.results.items import ItemResult
from explorer.results.totals import Estimate, median, share_above


@dataclass(frozen=True, slots=True)
class KindResult:
    """`median` and `above` are of the totals of scored items, `above` the share above the rubric's line."""

    kind: str
    n_subjects: int
    n_items: int
    n_scored: int
    n_scores: int
    median: Estimate | None
    above: Estimate | None
    totals: tuple[int, ...]  # of scored items: how many have a total of 0, of more than that up to 1, and on
    points: dict[str, tuple[int, ...]]  # by criterion: how many scores have 0, 1, …; last, where it did not apply

    @property
    def title(self) -> str:
        return str(SubjectKind(self.kind).label)


def kinds(
    found: Iterable[ItemResult], mosts: dict[str, int], most: int, line: int, bootstrap: Bootstrap
) -> tuple[KindResult, ...]:
    """Features first; `mosts` are the full marks of each criterion, `most` the highest total."""
    of_kind: dict[str, list[ItemResult]] = {kind: [] for kind in SubjectKind.values}
    for each in found:
        of_kind[each.row.kind].append(each)
    return tuple(_kind(kind, its, mosts, most, line, bootstrap) for kind, its in of_kind.items() if its)


def _kind(
    kind: str, its: Sequence[ItemResult], mosts: dict[str, int], most: int, line: int, bootstrap: Bootstrap
) -> KindResult:
    scored = [(each.mean, each.row.subject) for each in its if each.mean is not None]
    means, subjects = [mean for mean, _ in scored], [subject for _, subject in scored]
    bars = Counter(map(ceil, means))
    return KindResult(
        kind=kind,
        n_subjects=len({each.row.subject for each in its}),
        n_items=len(its),
        n_scored=len(scored),
        n_scores=sum(len(each.given) for each in its),
        median=median(means, subjects, bootstrap) if scored else None,
        above=share_above(means, line, subjects, bootstrap) if scored else None,
        totals=tuple(bars[total] for total in range(most + 1)),
        points={key: _points(its, key, full) for key, full in mosts.items()},
    )


def _points(its: Sequence[ItemResult], key: str, full: int) -> tuple[int, ...]:
    counted = Counter(given.points.get(key) for each in its for given in each.given)
    return tuple(counted[value] for value in (*range(full + 1), None))
