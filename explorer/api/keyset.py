"""Pages of rows that go on after the last one seen, however many there are and whatever is added meanwhile."""

from typing import Annotated, Generic, TypeVar

from ninja import Schema
from pydantic import Field

T = TypeVar("T")

LONGEST_PAGE = 200
BIGGEST = 2**63 - 1


class Page(Schema, Generic[T]):
    items: list[T]
    next: Annotated[str | None, Field(description="Send it as `after` for the items that follow. None: the end.")]


class Place(Schema):
    """Where a page of rows in the order of their ids begins, and how long it is."""

    after: Annotated[str | None, Field(pattern="^[1-9][0-9]{0,17}$", description="`next` of the page before.")] = None
    limit: Annotated[int, Field(ge=1, le=LONGEST_PAGE, description="How many items at most.")] = 50

    @property
    def below(self) -> int | None:
        return int(self.after) if self.after else None


def cursor(row_id: int | None) -> str | None:
    return None if row_id is None else str(row_id)
