"""A study without the work of making one: its items are there, their evidence a few tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import uuid4

import pytest
from django.contrib.auth.models import User

from explorer.actions import rubrics, slots, studies
from explorer.actions.annotators import annotator_of
from explorer.models import Account, Annotator, Item, Sae, Score, Study, Subject
from explorer.models.access import Role
from explorer.models.studies import SubjectKind
from explorer.studies.evidence import Evidence, Example
from explorer.studies.rubrics import Points
from tests.explored import Explored

FULL: Points = {"confidence": 3, "activations": 5, "logits": 3, "gap": None, "specificity": 3}  # 14
SOME: Points = {"confidence": 1, "activations": 2, "logits": 1, "gap": 1, "specificity": 2}  # 7


@dataclass(frozen=True)
class Studied:
    study: Study
    explored: Explored

    @property
    def items(self) -> list[Item]:
        """Without those of practice."""
        of_study = Item.objects.filter(subject__study=self.study).exclude(subject__kind=SubjectKind.PRACTICE)
        return list(of_study.select_related("subject__study").order_by("subject__number", "interval"))


def example(number: int) -> Example:
    return Example([number % 5, 1, 2, 3], at=1, acts=[(1, 1.0), (2, 0.25)], cut=(True, False))


def evidence(number: int) -> Evidence:
    return Evidence([[example(number + each) for each in range(4)] for _ in range(5)], [(1, 1.0), (2, 0.5)])


def study_of(
    sae: Sae,
    kinds: Sequence[SubjectKind],
    *,
    intervals: Sequence[int] = (4,),
    per_item: int = 2,
    staged: bool = True,
    guidelines: str = "",
) -> Study:
    study = Study.objects.create(
        name="a study", sae=sae, lm_id=sae.lm_id, rubric=rubrics.published(), per_item=per_item, staged=staged,
        intervals=list(intervals), sample={"how": "uniform", "n": len(kinds)}, controls={}, seed=0,
        guidelines=guidelines,
    )  # fmt: skip
    for number, kind in enumerate(kinds):
        feature = kind == SubjectKind.FEATURE
        subject = Subject.objects.create(
            study=study, number=number, kind=kind, sae=sae if feature else None, index=number if feature else None,
            density=0.01, evidence=evidence(number).row(),
        )  # fmt: skip
        for interval in intervals:
            Item.objects.create(subject=subject, interval=interval, key=f"k{study.pk}-{number}-{interval}")
    return study


@pytest.fixture
def studied(explored: Explored) -> Studied:
    """Three features and a control, in two intervals each, two annotators an item; it is open."""
    study = study_of(explored.sae, [*[SubjectKind.FEATURE] * 3, SubjectKind.NEURON], intervals=(0, 4))
    studies.open_(study)
    return Studied(study, explored)


def person(name: str, role: Role = Role.ANNOTATOR) -> Annotator:
    user = User.objects.create_user(name)
    Account.objects.create(user=user, role=role)
    return annotator_of(user)


def user_of(annotator: Annotator) -> User:
    assert annotator.user
    return annotator.user


def given(item: Item, by: Annotator, points: Points, says: str = "it is a word") -> Score:
    """As somebody does who is offered it."""
    slots.say(item, by, says)
    return slots.submit(item, by, points, uuid4())
