"""A page of a study's items, in the order that somebody asked for."""

from dataclasses import dataclass

from explorer.results.items import ItemResult, Sort, in_order
from explorer.results.study import Results

PAGE = 50


@dataclass(frozen=True, slots=True)
class Column:
    """What heads it; components/sortable.html draws one that can be sorted by."""

    name: str
    title: str
    numeric: bool
    sortable: bool = False
    sorted: str = "none"
    next_dir: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    columns: list[Column]
    rows: list[ItemResult]
    before: int | None  # after how many the page before begins; None: this is the first
    after: int | None
    n: int


COLUMNS = (
    Column(Sort.NUMBER, "Item", numeric=True, sortable=True),
    Column("kind", "Is", numeric=False),
    Column("feature", "Feature", numeric=True),
    Column("totals", "Totals", numeric=True),
    Column(Sort.MEAN, "Mean", numeric=True, sortable=True),
    Column("above", "Above", numeric=True),
    Column(Sort.AGREEMENT, "Apart", numeric=True, sortable=True),
    Column("remarks", "Remarks", numeric=False),
)


def listing(found: Results, sort: Sort, descending: bool, start: int) -> Listing:
    there = in_order(found.items, sort, descending)
    end = start + PAGE
    return Listing(
        [_column(each, sort, descending) for each in COLUMNS],
        there[start:end],
        before=max(start - PAGE, 0) if start else None,
        after=end if end < len(there) else None,
        n=len(there),
    )


def _column(column: Column, sort: Sort, descending: bool) -> Column:
    here = column.name == sort
    usual = "desc" if column.name == Sort.MEAN else "asc"
    follows = ("asc" if descending else "desc") if here else usual
    sorted_ = ("descending" if descending else "ascending") if here else "none"
    return Column(column.name, column.title, column.numeric, column.sortable, sorted_, follows)
