"""Pages of rows that go on after the last one seen, however many there are and whatever is added meanwhile."""

import base64
import json
from typing import Annotated, Generic, TypeVar

from ninja import Schema
from ninja.errors import HttpError
from pydantic import Field

T = TypeVar("T")

LONGEST_PAGE = 200
BIGGEST = 2**63 - 1


class Page(Schema, Generic[T]):
    items: list[T]
    next: Annotated[str | None, Field(description="Send it as `after` for the items that follow; none: the end.")]


class Place(Schema):
    """Where a page begins, and how long it is."""

    after: Annotated[str, Field(description="`next` of the page before.", max_length=500)] = ""
    limit: Annotated[int, Field(ge=1, le=LONGEST_PAGE, description="How many items at most.")] = 50

    def after_id(self) -> int | None:
        """The id of the last row seen; what is not of our making is refused."""
        if not self.after:
            return None
        try:
            found = json.loads(base64.urlsafe_b64decode(self.after.encode("ascii")))
        except (ValueError, RecursionError):
            found = None
        if type(found) is not int or not 0 < found <= BIGGEST:
            raise HttpError(422, "`after` is not what a page before gave as `next`.")
        return found


def cursor(key: int | None) -> str | None:
    return None if key is None else base64.urlsafe_b64encode(json.dumps(key).encode()).decode()
