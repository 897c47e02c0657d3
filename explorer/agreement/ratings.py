"""Who scored what."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from explorer.mapped import numpy

if TYPE_CHECKING:
    from explorer.mapped import Array


@dataclass(frozen=True, slots=True, eq=False)
class Ratings:
    scores: "Array"  # (n_items, n_annotators), NaN where somebody gave none
    features: "Array"  # (n_items,) integers: whose interval an item is

    def __post_init__(self) -> None:
        np = numpy()
        if self.scores.ndim != 2 or self.features.shape != self.scores.shape[:1]:
            raise ValueError(
                f"scores are {self.scores.shape}, features {self.features.shape}; expected (n, m) and (n,)"
            )
        if np.isinf(self.scores).any():
            raise ValueError("a score is infinite")

    @property
    def given(self) -> "Array":
        given: Array = ~numpy().isnan(self.scores)
        return given

    @property
    def n_annotators(self) -> int:
        """Of those who gave any score."""
        return int(self.given.any(axis=0).sum())

    @property
    def complete(self) -> bool:
        """Everybody who scored anything scored everything that anybody did."""
        given = self.given
        return bool(given[given.any(axis=1)][:, given.any(axis=0)].all())

    @property
    def unanimous(self) -> bool:
        return len(self.categories) < 2

    @property
    def categories(self) -> "Array":
        """The different scores there are, rising."""
        found: Array = numpy().unique(self.scores[self.given])
        return found

    @property
    def chosen(self) -> "Array":
        """(n_items, n_annotators, n_categories) 1 where somebody gave an item that score."""
        chosen: Array = (self.scores[:, :, None] == self.categories).astype(float)
        return chosen

    def counted(self) -> "Ratings":
        """The items with two scores or more, and those who scored any of these."""
        given = self.given
        items = given.sum(axis=1) >= 2
        return Ratings(self.scores[items][:, given[items].any(axis=0)], self.features[items])

    def above(self, line: float) -> "Ratings":
        """1 where a score is above it, else 0."""
        np = numpy()
        return Ratings(np.where(self.given, self.scores > line, np.nan), self.features)
