"""Criteria, the points that they give, and what of these counts."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

MOST_CRITERIA, MOST_POINTS = 12, 10
LONGEST_KEY, LONGEST_TITLE, LONGEST_TEXT = 30, 80, 500  # characters

Points = dict[str, int | None]  # by criterion; None: not applicable


class Stage(StrEnum):
    """From which evidence a criterion is judged; in a staged study they come one after the other."""

    EXAMPLES = "examples"
    LOGITS = "logits"


class Scale(StrEnum):
    """How agreement on it is measured."""

    ORDINAL = "ordinal"
    NOMINAL = "nominal"


class WrongPoints(ValueError):
    """By criterion what is wrong, for whoever gave them."""

    def __init__(self, wrong: Mapping[str, str]) -> None:
        super().__init__(" ".join(wrong.values()))
        self.wrong = dict(wrong)


class WrongRubric(ValueError):
    """What is wrong, for whoever made it."""


@dataclass(frozen=True, slots=True)
class Criterion:
    key: str
    title: str
    asks: str
    anchors: tuple[str, ...]  # of 0 points and on, what each stands for
    stage: Stage
    scale: Scale = Scale.ORDINAL
    unless: str = ""  # it does not apply where this other, earlier one has full marks
    of_interval: bool = False  # it may differ from one interval of activations to another

    @property
    def most(self) -> int:
        return len(self.anchors) - 1

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        return cls(
            key=row["key"],
            title=row["title"],
            asks=row["asks"],
            anchors=tuple(row["anchors"]),
            stage=Stage(row["stage"]),
            scale=Scale(row.get("scale", Scale.ORDINAL)),
            unless=row.get("unless", ""),
            of_interval=bool(row.get("of_interval", False)),
        )

    def row(self) -> dict[str, Any]:
        return asdict(self) | {"anchors": list(self.anchors)}


def criteria_of(rows: Sequence[Mapping[str, Any]]) -> tuple[Criterion, ...]:
    return tuple(map(Criterion.of, rows))


def applies(criterion: Criterion, criteria: Sequence[Criterion], points: Mapping[str, int | None]) -> bool:
    """False where the one that it hangs on has full marks."""
    other = next((each for each in criteria if each.key == criterion.unless), None)
    return other is None or points.get(other.key) != other.most


def judged(criteria: Sequence[Criterion], given: Mapping[str, Any]) -> Points:
    """Points for every criterion, those that do not apply None, whatever was given for them."""
    found: Points = {}
    wrong: dict[str, str] = {}
    for each in criteria:
        value = given.get(each.key)
        if not applies(each, criteria, found):
            found[each.key] = None
        elif value is None:
            wrong[each.key] = f"{each.title}: no points are given."
        elif isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= each.most:
            wrong[each.key] = f"{each.title}: {value} is not from 0 to {each.most}."
        else:
            found[each.key] = value
    known = {each.key for each in criteria}
    wrong |= {key: f"There is no criterion {key}." for key in given if key not in known}
    if wrong:
        raise WrongPoints(wrong)
    return found


def no_hypothesis(criteria: Sequence[Criterion]) -> Points:
    """Nothing can be consistent with a hypothesis that nobody has."""
    return dict.fromkeys((each.key for each in criteria), 0)


def total(points: Points) -> int:
    return sum(each or 0 for each in points.values())


def most(criteria: Sequence[Criterion]) -> int:
    """The highest total that there is: full marks in one criterion may leave another without effect."""
    hinges = {each.unless for each in criteria if each.unless}
    best = 0
    for full in _subsets(sorted(hinges)):
        points: Points = {}
        for each in criteria:
            if applies(each, criteria, points):
                points[each.key] = each.most if each.key not in hinges or each.key in full else each.most - 1
        best = max(best, total(points))
    return best


def checked(rows: Any, line: int) -> tuple[Criterion, ...]:
    """Criteria as somebody has written them down."""
    if not isinstance(rows, list) or not 1 <= len(rows) <= MOST_CRITERIA:
        raise WrongRubric(f"A rubric has a list of 1 to {MOST_CRITERIA} criteria.")
    found: list[Criterion] = []
    for number, row in enumerate(rows, 1):
        found.append(_checked(number, row, found))
    if not 0 <= line < most(found):
        raise WrongRubric(f"The line is {line}, and totals go from 0 to {most(found)}.")
    return tuple(found)


def _checked(number: int, row: Any, earlier: Sequence[Criterion]) -> Criterion:
    named = f"Criterion {number}"
    if not isinstance(row, dict):
        raise WrongRubric(f"{named} is no object of key, title, asks, anchors and stage.")
    if unknown := sorted(set(row) - set(Criterion.__slots__)):
        raise WrongRubric(f"{named} has {', '.join(unknown)}, which no criterion has.")
    for name, longest in (("key", LONGEST_KEY), ("title", LONGEST_TITLE), ("asks", LONGEST_TEXT)):
        value = row.get(name)
        if not isinstance(value, str) or not 0 < len(value.strip()) <= longest:
            raise WrongRubric(f"{named}: {name} is not text of 1 to {longest} characters.")
    key = row["key"]
    if not key.replace("_", "a").isalnum() or not key.isascii() or not key[0].isalpha() or key != key.lower():
        raise WrongRubric(f"{named}: its key is {key!r}; small letters, digits and _ make one, a letter first.")
    if key in {each.key for each in earlier}:
        raise WrongRubric(f"{named}: another has the key {key}.")
    anchors = row.get("anchors")
    if (
        not isinstance(anchors, list)
        or not 2 <= len(anchors) <= MOST_POINTS + 1
        or not all(isinstance(each, str) and len(each) <= LONGEST_TEXT for each in anchors)
    ):
        raise WrongRubric(f"{named}: anchors are 2 to {MOST_POINTS + 1} texts, of 0 points and on.")
    if row.get("stage") not in set(Stage):
        raise WrongRubric(f"{named}: stage is one of {', '.join(Stage)}.")
    if row.get("scale", Scale.ORDINAL) not in set(Scale):
        raise WrongRubric(f"{named}: scale is one of {', '.join(Scale)}.")
    if not isinstance(row.get("of_interval", False), bool):
        raise WrongRubric(f"{named}: of_interval is true or false.")
    unless = row.get("unless", "")
    hinge = next((each for each in earlier if each.key == unless), None)
    if unless and hinge is None:
        raise WrongRubric(f"{named} hangs on {unless}, which is none before it.")
    if hinge and hinge.stage == Stage.LOGITS and row["stage"] == Stage.EXAMPLES:
        raise WrongRubric(f"{named} hangs on {unless}, which is judged only after it.")
    return Criterion.of(row)


def _subsets(keys: Sequence[str]) -> list[set[str]]:
    found: list[set[str]] = [set()]
    for key in keys:
        found += [each | {key} for each in found]
    return found
