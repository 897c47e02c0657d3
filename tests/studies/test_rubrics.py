"""Criteria and points: what counts, what is refused, and what the published rubric comes to."""

import json
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.actions.rubrics import PUBLISHED
from explorer.studies.rubrics import (
    Criterion,
    WrongPoints,
    WrongRubric,
    applies,
    checked,
    criteria_of,
    judged,
    most,
    no_hypothesis,
    total,
)

ROWS: list[dict[str, Any]] = json.loads(PUBLISHED.read_text())["criteria"]
CRITERIA = criteria_of(ROWS)
ALL = {each.key: each.most for each in CRITERIA}


def test_the_published_one_is_as_it_was_published() -> None:
    points = {each.key: each.most for each in checked(ROWS, 8)}
    assert points == {"confidence": 3, "activations": 5, "logits": 3, "gap": 1, "specificity": 3}
    assert most(CRITERIA) == 14


def test_no_points_come_to_more_than_the_most() -> None:
    tables = product(*(range(each.most + 1) for each in CRITERIA))
    totals = {total(judged(CRITERIA, dict(zip(ALL, points, strict=True)))) for points in tables}
    assert totals == set(range(15))


def test_full_marks_leave_the_gap_without_effect() -> None:
    assert judged(CRITERIA, ALL)["gap"] is None
    assert judged(CRITERIA, ALL | {"gap": None}) == ALL | {"gap": None}
    assert judged(CRITERIA, ALL | {"logits": 2, "gap": 0}) == ALL | {"logits": 2, "gap": 0}
    with pytest.raises(WrongPoints, match="Gap: no points are given"):
        judged(CRITERIA, ALL | {"logits": 2, "gap": None})


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"confidence": 4}, "Confidence: 4 is not from 0 to 3."),
        ({"confidence": -1}, "Confidence: -1 is not from 0 to 3."),
        ({"confidence": 1.0}, "Confidence: 1.0 is not from 0 to 3."),
        ({"confidence": True}, "Confidence: True is not from 0 to 3."),
        ({"confidence": "1"}, "Confidence: 1 is not from 0 to 3."),
        ({"confidence": None}, "Confidence: no points are given."),
        ({"beauty": 1}, "There is no criterion beauty."),
    ],
)
def test_what_is_wrong_is_said_by_criterion(given: dict[str, Any], says: str) -> None:
    with pytest.raises(WrongPoints) as refused:
        judged(CRITERIA, ALL | given)
    assert refused.value.wrong == {next(iter(given)): says}


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(WrongPoints) as refused:
        judged(CRITERIA, {})
    assert set(refused.value.wrong) == set(ALL)  # without points for logits the gap may apply


def test_without_a_hypothesis_there_is_nothing() -> None:
    assert total(no_hypothesis(CRITERIA)) == 0
    assert no_hypothesis(CRITERIA).keys() == ALL.keys()


def row(**others: Any) -> dict[str, Any]:
    made = {"key": "a", "title": "A", "asks": "How?", "anchors": ["not", "so"], "stage": "examples"}
    return {name: value for name, value in (made | others).items() if value is not None}


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ({}, "A rubric has a list of 1 to 12 criteria."),
        ([], "A rubric has a list of 1 to 12 criteria."),
        ([row()] * 13, "A rubric has a list of 1 to 12 criteria."),
        (["a"], "Criterion 1 is no object"),
        ([row(points=3)], "Criterion 1 has points, which no criterion has."),
        ([row(title=" ")], "Criterion 1: title is not text of 1 to 80 characters."),
        ([row(asks=None)], "Criterion 1: asks is not text of 1 to 500 characters."),
        ([row(key="A b")], "Criterion 1: its key is 'A b'; small letters, digits and _ make one, a letter first."),
        ([row(key="1")], "Criterion 1: its key is '1'; small letters"),
        ([row(), row()], "Criterion 2: another has the key a."),
        ([row(anchors=["only"])], "Criterion 1: anchors are 2 to 11 texts, of 0 points and on."),
        ([row(anchors=["no", 1])], "Criterion 1: anchors are 2 to 11 texts"),
        ([row(stage="later")], "Criterion 1: stage is one of examples, logits."),
        ([row(scale="ratio")], "Criterion 1: scale is one of ordinal, nominal."),
        ([row(of_interval="yes")], "Criterion 1: of_interval is true or false."),
        ([row(unless="b")], "Criterion 1 hangs on b, which is none before it."),
        ([row(unless="a")], "Criterion 1 hangs on a, which is none before it."),
        (
            [row(stage="logits"), row(key="b", unless="a")],
            "Criterion 2 hangs on a, which is judged only after it.",
        ),
    ],
)
def test_what_is_wrong_with_a_rubric_is_said(rows: Any, says: str) -> None:
    with pytest.raises(WrongRubric) as refused:
        checked(rows, 0)
    assert str(refused.value).startswith(says)


@pytest.mark.parametrize("line", [-1, 1, 2])
def test_the_line_lies_within_the_totals(line: int) -> None:
    with pytest.raises(WrongRubric, match=f"The line is {line}, and totals go from 0 to 1."):
        checked([row()], line)


@given(st.data())
def test_whatever_hangs_on_whatever_the_most_is_the_most(data: st.DataObject) -> None:
    rows: list[dict[str, Any]] = []
    for number in range(data.draw(st.integers(1, 4))):
        anchors = ["x"] * data.draw(st.integers(2, 4))
        hinge = data.draw(st.sampled_from(["", *(each["key"] for each in rows)]))
        rows.append(row(key=f"k{number}", anchors=anchors, unless=hinge))
    criteria = checked(rows, 0)
    tables = product(*(range(each.most + 1) for each in criteria))
    every = (total(judged(criteria, dict(zip([c.key for c in criteria], points, strict=True)))) for points in tables)
    assert most(criteria) == max(every)


def test_rows_are_what_they_were_read_from() -> None:
    assert [Criterion.of(each.row()) for each in CRITERIA] == list(CRITERIA)
    assert not applies(CRITERIA[3], CRITERIA, {"logits": 3})
