"""A study that is brought by a file is the one that was taken along."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import User

from explorer.actions import slots, studies, whole_studies
from explorer.actions.annotators import model_of
from explorer.actions.whole_studies import NotPossible
from explorer.models import Adjudication, Annotator, Rubric, Score, Study
from explorer.models.studies import Meaning
from explorer.queries.whole_studies import whole
from tests.explored import explored, read
from tests.studied import FULL, SOME, Studied, given, person, studied

__all__ = ["explored", "read", "studied"]
pytestmark = pytest.mark.django_db


@pytest.fixture
def taken(studied: Studied) -> dict[str, Any]:
    """Scored by two, of whom one is a model, and one subject looked at again."""
    for by, points in ((person("ann"), FULL), (model_of("a model"), SOME)):
        while item := slots.claim(studied.study, by):
            given(item, by, points, says="" if item.subject.number == 3 else "it is a word")
    Adjudication.objects.create(subject=studied.items[0].subject, meaning=Meaning.SAME, note="yes")
    studies.close(studied.study)
    row: dict[str, Any] = json.loads(json.dumps(whole(studied.study)))
    return row


def content(study: Study) -> list[tuple[Any, ...]]:
    fields = ("item__subject__number", "item__interval", "annotator__name", "annotator__is_model", "points", "total")
    q = Score.objects.filter(item__subject__study=study, current=True)
    return sorted(q.values_list(*fields, "hypothesis", "seconds", "extra"), key=str)


def test_all_of_it_is_there_again(taken: dict[str, Any], studied: Studied, admin: User) -> None:
    before = content(studied.study)
    assert len(before) == 16
    studies.remove(studied.study, by=admin, address="127.0.0.1")
    study = whole_studies.bring(studied.explored.sae, taken)
    assert content(study) == before
    assert whole(study) == taken
    assert (study.state, study.shown) == ("closed", True)
    assert study.slots.filter(filled_at__isnull=False).count() == 16
    assert Annotator.objects.filter(user=None, is_model=False).get().name == "ann"


def test_it_is_brought_once(taken: dict[str, Any], studied: Studied) -> None:
    assert whole_studies.bring(studied.explored.sae, taken) == studied.study
    assert Study.objects.count() == 1


def test_by_another_rubric_of_that_name_it_is_not(taken: dict[str, Any], studied: Studied, admin: User) -> None:
    studies.remove(studied.study, by=admin, address="127.0.0.1")
    Rubric.objects.update(line=9)
    with pytest.raises(NotPossible, match="another rubric here called"):
        whole_studies.bring(studied.explored.sae, taken)
    assert not Study.objects.exists()
    with pytest.raises(NotPossible, match="of form 2"):
        whole_studies.bring(studied.explored.sae, taken | {"form": 2})
