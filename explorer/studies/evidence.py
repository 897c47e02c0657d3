"""A subject's evidence as annotators see it, the same form for a feature and for a control: examples by interval of the
maximum, in two halves, and the tokens that it raises. Nothing in it tells what it is of: activations are shares of its
own maximum, effects on logits of its own largest."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

HALVES = 2  # a hypothesis is formed from the first and held against the second
AROUND = 24  # tokens to both sides
MOST = 8  # examples of an interval
RAISED = 10  # tokens


@dataclass(frozen=True, slots=True)
class Example:
    ids: list[int]
    at: int  # the token that it is an example of
    acts: list[tuple[int, float]]  # place, share of the maximum
    cut: tuple[bool, bool]  # whether the text goes on before and after

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        acts = [(int(place), float(value)) for place, value in row["acts"]]
        before, after = row["cut"]
        return cls(list(row["ids"]), int(row["at"]), acts, (bool(before), bool(after)))

    def row(self) -> dict[str, Any]:
        return {"ids": self.ids, "at": self.at, "acts": [list(each) for each in self.acts], "cut": list(self.cut)}

    @property
    def activations(self) -> list[float]:
        found = [0.0] * len(self.ids)
        for place, value in self.acts:
            found[place] = value
        return found


@dataclass(frozen=True, slots=True)
class Evidence:
    intervals: list[list[Example]]  # the lowest first
    raised: list[tuple[int, float]]  # token, share of the largest; falling
    texts: list[str] | None = None  # of the tokens that ids count, where they are no lm's

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        return cls(
            [[Example.of(each) for each in interval] for interval in row["intervals"]],
            [(int(token), float(value)) for token, value in row["raised"]],
            row.get("texts"),
        )

    def row(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "intervals": [[each.row() for each in interval] for interval in self.intervals],
            "raised": [list(each) for each in self.raised],
        }
        return found if self.texts is None else found | {"texts": self.texts}

    def half(self, which: int, interval: int | None = None) -> list[list[Example]]:
        """Every second example of each interval, or of one, the highest first."""
        wanted = reversed(self.intervals) if interval is None else [self.intervals[interval]]
        return [each[which::HALVES] for each in wanted]
