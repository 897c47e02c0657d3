"""What single items were given, and what that says of their subjects."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean

from explorer.models.studies import SubjectKind
from explorer.queries.results import Given, ItemRow


@dataclass(frozen=True, slots=True)
class ItemResult:
    row: ItemRow
    given: tuple[Given, ...]
    line: int

    @property
    def kind(self) -> str:
        return str(SubjectKind(self.row.kind).label)

    @property
    def strengths(self) -> str:
        """Of its interval, in shares of the subject's strongest."""
        return f"{20 * self.row.interval}–{20 * (self.row.interval + 1)}\u00a0%"

    @property
    def mean(self) -> float | None:
        return fmean(each.total for each in self.given) if self.given else None

    @property
    def spread(self) -> int | None:
        totals = [each.total for each in self.given]
        return max(totals) - min(totals) if len(totals) > 1 else None

    @property
    def above(self) -> int:
        """How many put it above the line."""
        return sum(each.total > self.line for each in self.given)

    @property
    def is_above(self) -> bool:
        return self.mean is not None and self.mean > self.line

    @property
    def split(self) -> bool:
        """Some put it above the line, and some not."""
        return 0 < self.above < len(self.given)

    @property
    def flagged(self) -> int:
        return sum(each.flagged for each in self.given)

    @property
    def extra(self) -> int:
        return sum(each.extra for each in self.given)


@dataclass(frozen=True, slots=True)
class SubjectResult:
    """`hypotheses`: the different ones there are; an empty one is that none can be formed."""

    pk: int
    number: int
    items: tuple[ItemResult, ...]
    hypotheses: tuple[str, ...]
    meaning: str | None  # whether these mean the same, where somebody has judged that

    @property
    def several(self) -> bool:
        """Different annotators have scored it."""
        return len({each.annotator for item in self.items for each in item.given}) > 1

    @property
    def to_judge(self) -> bool:
        """What is said of it could mean the same, or not."""
        return self.several and len(self.hypotheses) > 1

    @property
    def split(self) -> bool:
        return any(item.split for item in self.items)

    @property
    def spread(self) -> int:
        return max((item.spread or 0 for item in self.items), default=0)


@dataclass(frozen=True, slots=True)
class Saying:
    """What one annotator takes a subject for, and the totals that they gave its items with that."""

    hypothesis: str
    totals: tuple[int | None, ...]


class Sort(StrEnum):
    NUMBER = "number"
    AGREEMENT = "agreement"
    MEAN = "mean"


def items(rows: Iterable[ItemRow], given: Iterable[Given], line: int) -> tuple[ItemResult, ...]:
    of_item: dict[int, list[Given]] = defaultdict(list)
    for each in given:
        of_item[each.item].append(each)
    return tuple(ItemResult(row, tuple(of_item[row.pk]), line) for row in rows)


def subjects(found: Iterable[ItemResult], meanings: Mapping[int, str]) -> tuple[SubjectResult, ...]:
    of_subject: dict[int, list[ItemResult]] = defaultdict(list)
    for each in found:
        of_subject[each.row.subject].append(each)
    return tuple(
        SubjectResult(pk, its[0].row.number, tuple(its), _hypotheses(its), meanings.get(pk))
        for pk, its in of_subject.items()
    )


def in_order(found: Sequence[ItemResult], sort: Sort, descending: bool) -> list[ItemResult]:
    """By agreement the lowest comes first, unless `descending`. What has no figure comes last, either way."""
    if sort is Sort.NUMBER:
        return list(found[::-1] if descending else found)
    known = [each for each in found if _figure(each, sort) is not None]
    rest = [each for each in found if _figure(each, sort) is None]
    return sorted(known, key=lambda each: _figure(each, sort) or (), reverse=descending) + rest


def least_agreed(found: Iterable[SubjectResult]) -> list[SubjectResult]:
    """Those that are to be judged: first where the line divides annotators, then where totals lie furthest apart."""
    to_judge = [each for each in found if each.to_judge]
    return sorted(to_judge, key=lambda each: (not each.split, -each.spread, each.number))


def sayings(subject: SubjectResult) -> list[Saying]:
    """By what they say, which tells nothing of who they are."""
    given: dict[int, list[Given | None]] = defaultdict(lambda: [None] * len(subject.items))
    for place, item in enumerate(subject.items):
        for each in item.given:
            given[each.annotator][place] = each
    found = [
        Saying(
            next((each.hypothesis for each in theirs if each and each.hypothesis), ""),
            tuple(each.total if each else None for each in theirs),
        )
        for theirs in given.values()
    ]
    return sorted(found, key=lambda each: (each.hypothesis.casefold(), [total or 0 for total in each.totals]))


def _figure(item: ItemResult, sort: Sort) -> tuple[float, ...] | None:
    if sort is Sort.MEAN:
        return None if item.mean is None else (item.mean,)
    return None if item.spread is None else (not item.split, -item.spread)


def _hypotheses(found: Iterable[ItemResult]) -> tuple[str, ...]:
    """In an order that says nothing of who has said them."""
    said = {" ".join(each.hypothesis.split()).casefold(): each.hypothesis for item in found for each in item.given}
    return tuple(said[key] for key in sorted(said))
