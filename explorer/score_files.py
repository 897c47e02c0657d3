"""Files of scores: what is written of a study's, and what is read of those that somebody brings."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from explorer.actions.scores import Brought
from explorer.actions.slots import LONGEST_HYPOTHESIS, LONGEST_NOTE
from explorer.brought import Line, Unreadable, lines, take_all, whole
from explorer.models import Annotator, Score, Study
from explorer.plain import one_line, plain
from explorer.queries import results as queries
from explorer.queries.results import ItemRow
from explorer.sheets import CSV, Row
from explorer.studies import rubrics
from explorer.studies.rubrics import Criterion, Points, criteria_of

POINTS = "points_"  # of a criterion, a column of CSV; JSON has them together
FIRST = ("study", "item", "subject", "kind", "sae", "index", "interval", "annotator", "is_model", "rubric",
         "rubric_version")  # fmt: skip
LAST = ("total", "above", "hypothesis", "note", "flagged", "seconds", "origin", "extra", "current", "created_at")
MOST = 100_000  # scores of one file
LONGEST_ANNOTATOR = 200  # characters
YES, NO = {"true", "yes", "1"}, {"false", "no", "0", ""}


def columns(study: Study) -> list[str]:
    return [*FIRST, *(f"{POINTS}{each.key}" for each in criteria_of(study.rubric.criteria)), *LAST]


def records(study: Study, sheet: str, *, every: bool, named: bool) -> Iterator[list[Row]]:
    """`every`: those that were replaced too. Where annotators are not `named`, they are numbered."""
    numbers = {pk: number for number, pk in enumerate(queries.annotators(study.pk), 1)}
    for batch in queries.batches(study.pk, every=every):
        yield [_record(study, sheet, score, _called(score.annotator, numbers, named)) for score in batch]


def _called(annotator: Annotator, numbers: Mapping[int, int], named: bool) -> str:
    if named:
        return annotator.name
    number = numbers.get(annotator.pk)  # None: they have begun this very moment
    return f"annotator {number}" if number else "another annotator"


def _record(study: Study, sheet: str, score: Score, name: str) -> Row:
    subject, points = score.item.subject, score.points
    flat = {f"{POINTS}{key}": value for key, value in points.items()}
    return {
        "study": study.pk,
        "item": score.item.key,
        "subject": subject.number,
        "kind": subject.kind,
        "sae": subject.sae.slug if subject.sae else None,
        "index": subject.index,
        "interval": score.item.interval,
        "annotator": name,
        "is_model": score.annotator.is_model,
        "rubric": study.rubric.slug,
        "rubric_version": study.rubric.version,
        **(flat if sheet == CSV else {"points": points}),
        "total": score.total,
        "above": score.total > study.rubric.line,
        "hypothesis": score.hypothesis,
        "note": score.note,
        "flagged": score.flagged,
        "seconds": score.seconds,
        "origin": score.origin,
        "extra": score.extra,
        "current": score.current,
        "created_at": score.created_at.isoformat(),
    }


def read(content: bytes, name: str, study: Study) -> list[Brought]:
    """As they are written, or with no more than an item, an annotator, points and a hypothesis. Raises Unreadable."""
    reader = _Reader(study)
    take_all(lines(content, name, reader.wrong_head), reader.take)
    if not reader.found:
        raise Unreadable(["There is no score in it."])
    return [*reader.found.values()]


class _Reader:
    """The items and criteria that lines are held against, and what was found so far."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._criteria = criteria_of(study.rubric.criteria)
        rows = queries.items(study.pk)
        self._by_key = {row.key: row for row in rows}
        self._by_feature: dict[tuple[str, int, int], list[ItemRow]] = defaultdict(list)
        for row in rows:
            if row.sae is not None and row.index is not None:
                self._by_feature[row.sae, row.index, row.interval].append(row)
        self.found: dict[tuple[int, bool, str], Brought] = {}

    def wrong_head(self, head: list[str]) -> str:
        there = set(head)
        known = {f"{POINTS}{each.key}" for each in self._criteria}
        if "item" not in there and not {"sae", "index", "interval"} <= there:
            return "it names the columns, and item or else sae, index and interval must be among them."
        if missing := {"annotator", "hypothesis", *known} - there:
            return f"it names the columns, and among them should be {', '.join(sorted(missing))}."
        if unknown := [each for each in head if each.startswith(POINTS) and each not in known]:
            return f"{unknown[0]}: this study’s rubric has no such criterion."
        return ""

    def take(self, line: Line) -> None:
        row = line.row
        if not _is(row, "current", default=True):
            raise ValueError("it says that it was replaced; bring those that count.")
        self._check_rubric(row)
        item, name, is_model = self._item(row), _name(row), _is(row, "is_model")
        key = (item.pk, is_model, name)
        if key in self.found:
            raise ValueError(f"{name} has a score of this item in an earlier line.")
        hypothesis = _text(row, "hypothesis", LONGEST_HYPOTHESIS)
        self.found[key] = Brought(
            line=line.number,
            item=item.pk,
            annotator=name,
            is_model=is_model,
            points=_points(row, self._criteria, hypothesis),
            hypothesis=hypothesis,
            note=_text(row, "note", LONGEST_NOTE),
            flagged=_is(row, "flagged"),
            seconds=_seconds(row.get("seconds")),
        )
        if len(self.found) > MOST:
            raise Unreadable([f"These are more than {MOST:,} scores; bring them in several files."])

    def _item(self, row: Mapping[str, Any]) -> ItemRow:
        key = row.get("item")
        if key not in (None, ""):
            if not isinstance(key, str) or key not in self._by_key:
                raise ValueError(f"there is no item {str(key)[:40]} in this study.")
            return self._by_key[key]
        index, interval = whole(row.get("index")), whole(row.get("interval"))
        if index is None or interval is None:
            raise ValueError("it names no item: its key, or an SAE, an index and an interval.")
        found = self._by_feature.get((str(row.get("sae")), index, interval), [])
        if not found:
            raise ValueError(f"this study has no interval {interval} of feature {index} of {row.get('sae')}.")
        if len(found) > 1:
            raise ValueError("several items are of this feature and interval; name one by its key.")
        return found[0]

    def _check_rubric(self, row: Mapping[str, Any]) -> None:
        ours = self._study.rubric
        slug, version = row.get("rubric") or ours.slug, row.get("rubric_version") or ours.version
        if (str(slug), whole(version)) != (ours.slug, ours.version):
            raise ValueError(f"it was scored by version {version} of {slug}, and this study’s rubric is {ours}.")


def _points(row: Mapping[str, Any], criteria: Sequence[Criterion], hypothesis: str) -> Points:
    given = row.get("points")
    if given is None:
        flat = {key.removeprefix(POINTS): value for key, value in row.items() if key.startswith(POINTS)}
        given = {key: _number(value) for key, value in flat.items()}
    if not isinstance(given, dict):
        raise ValueError("its points are no object of criteria and numbers.")
    if hypothesis:
        return rubrics.judged(criteria, given)
    nothing = rubrics.no_hypothesis(criteria)
    if any(value not in (None, 0) for value in given.values()):
        raise ValueError("it has points and no hypothesis; without one all are 0.")
    return nothing


def _number(value: object) -> object:
    """None where nothing is given, and what is no number as it is, to be told."""
    number = whole(value)
    return None if value in (None, "") else value if number is None else number


def _name(row: Mapping[str, Any]) -> str:
    name = row.get("annotator")
    if not isinstance(name, str) or not (found := one_line(name)):
        raise ValueError("it names no annotator.")
    if len(found) > LONGEST_ANNOTATOR:
        raise ValueError(f"its annotator’s name has {len(found):,} characters; {LONGEST_ANNOTATOR} are the most.")
    return found


def _text(row: Mapping[str, Any], column: str, longest: int) -> str:
    value = row.get(column)
    if value is None and column == "note":
        return ""
    if not isinstance(value, str):
        raise ValueError(f"its {column} is no text.")
    text = plain(value).strip()
    if len(text) > longest:
        raise ValueError(f"its {column} has {len(text):,} characters; {longest:,} are the most.")
    return text


def _is(row: Mapping[str, Any], column: str, *, default: bool = False) -> bool:
    value = row.get(column)
    text = str(value).strip().lower()
    if value is None or text == "":
        return default
    if isinstance(value, bool | str) and text in YES | NO:
        return text in YES
    raise ValueError(f"its {column} is neither true nor false.")


def _seconds(value: object) -> float | None:
    if value in (None, ""):
        return None
    try:
        seconds = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        seconds = math.nan
    if not 0 <= seconds < 1e9:
        raise ValueError("its seconds are no length of time.")
    return seconds
