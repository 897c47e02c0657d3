"""Items to practise on: texts of our own, read as any evidence is, with answers that fit the published rubric."""

import json

import pytest

from explorer.actions.rubrics import PUBLISHED
from explorer.studies.evidence import Evidence
from explorer.studies.practice import practice
from explorer.studies.rubrics import criteria_of, judged, total

CRITERIA = criteria_of(json.loads(PUBLISHED.read_text())["criteria"])
KEYS = [each.key for each in CRITERIA]


def test_answers_fit_the_rubric() -> None:
    found = practice(KEYS)
    assert [total(judged(CRITERIA, each.known["points"])) for each in found] == [14, 9, 0]
    assert [each.known["points"] for each in found] == [judged(CRITERIA, each.known["points"]) for each in found]


def test_with_other_criteria_there_is_none() -> None:
    assert practice([*KEYS, "beauty"]) == practice(KEYS[1:]) == []


@pytest.mark.parametrize("number", range(3))
def test_each_is_read_as_any_evidence_is(number: int) -> None:
    each = practice(KEYS)[number]
    evidence = each.evidence
    assert Evidence.of(json.loads(json.dumps(evidence.row()))) == evidence
    assert all(len(interval) >= 4 for interval in evidence.intervals)
    for place, interval in enumerate(evidence.intervals):
        for example in interval:
            strongest = max(example.activations)
            assert example.activations[example.at] == strongest
            assert place / 5 <= strongest <= (place + 1) / 5, "it lies in its interval"
    assert [share for _, share in evidence.raised] == sorted([share for _, share in evidence.raised], reverse=True)


def test_words_are_tokens_and_what_clings_to_them_is_too() -> None:
    evidence = practice(KEYS)[0].evidence
    assert evidence.texts
    texts = evidence.texts
    lines = ["".join(texts[token] for token in example.ids) for example in evidence.intervals[4]]
    assert "on the 3rd of March 1848 the gates were opened" in lines
    assert "Paris, 14 July 1789. The night was quiet" in lines
