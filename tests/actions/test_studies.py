"""Studies: made with their job, opened with their seats, answered, changed, removed."""

import pytest
from django.contrib.auth.models import User

from explorer.actions import rubrics, slots, studies
from explorer.actions.studies import NotPossible
from explorer.models import Item, Job, Sae, Score, Slot, Study
from explorer.models.studies import StudyState, SubjectKind
from tests.explored import explored, read
from tests.studied import FULL, SOME, Studied, given, person, studied, study_of

__all__ = ["explored", "read", "studied"]
pytestmark = pytest.mark.django_db


def made(sae: Sae, by: User) -> Study:
    return studies.make(
        sae, rubrics.published(), name=" a\nround ", intervals=[4, 0, 2], per_item=2, sample={"how": "uniform", "n": 3},
        controls={"neuron": 2, "direction": 0}, staged=True, guidelines="a\x00b", seed=9, practice=True, untrained=sae,
        by=by,
    )  # fmt: skip


def test_it_is_made_with_the_job_that_prepares_it(studied: Studied, admin: User) -> None:
    sae = studied.explored.sae
    study = made(sae, admin)
    assert (study.name, study.guidelines, study.intervals) == ("a round", "a\ufffdb", [0, 2, 4])
    assert (study.controls, study.lm, study.state) == ({"neuron": 2}, sae.lm, StudyState.DRAFT)
    assert study.job is not None
    assert study.job.arguments == {"study": study.pk, "untrained": sae.pk, "practice": True}
    assert study.job.created_by == admin


@pytest.mark.django_db(transaction=True)  # it is told when the transaction ends
def test_of_an_sae_that_has_just_gone_there_is_none(studied: Studied, admin: User) -> None:
    gone = Sae.objects.get(pk=studied.explored.sae.pk)
    gone.pk = 0
    with pytest.raises(NotPossible, match="a small SAE has just been removed"):
        made(gone, admin)
    assert not Job.objects.exists()


def test_seats_are_made_once_and_none_for_practice(studied: Studied) -> None:
    study = study_of(studied.explored.sae, [SubjectKind.FEATURE, SubjectKind.PRACTICE], per_item=3)
    studies.open_(study)
    opened = study.opened_at
    studies.close(study)
    studies.open_(study)
    assert study.opened_at == opened
    assert list(Slot.objects.filter(study=study).order_by("seat").values_list("item__subject__kind", "seat")) == [
        ("feature", 0), ("feature", 1), ("feature", 2),
    ]  # fmt: skip


def test_guidelines_are_what_annotators_go_by(studied: Studied) -> None:
    with pytest.raises(NotPossible, match="has been opened"):
        studies.change(studied.study, name="new", guidelines="others")
    studies.change(studied.study, name="new")
    studied.study.refresh_from_db()
    assert (studied.study.name, studied.study.guidelines) == ("new", "")


def test_features_pages_say_how_a_study_is_called_now(studied: Studied) -> None:
    def edition() -> int:
        return Sae.objects.get(pk=studied.explored.sae.pk).edition

    before = edition()
    studies.change(studied.study, name="new")
    assert edition() == before
    studies.close(studied.study)
    studies.show(studied.study, True)
    before = edition()
    studies.change(studied.study, name="newer")
    assert edition() == before + 1


def test_an_answer_is_given_and_taken_away(studied: Studied) -> None:
    item, edition = studied.items[0], studied.study.edition
    studies.know(item, FULL, "why\x00")
    assert Item.objects.get(pk=item.pk).known == item.known == {"points": FULL, "why": "why\ufffd"}
    studies.know_no_more(item)
    assert Item.objects.get(pk=item.pk).known is None
    studied.study.refresh_from_db()
    assert studied.study.edition == edition + 2


def test_what_was_scored_once_keeps_its_answer(studied: Studied) -> None:
    """Also where the score was taken back: whoever gave it has seen the item."""
    item, ann = studied.items[0], person("ann")
    given(item, ann, SOME)
    slots.undo(studied.study, ann)
    assert not Score.objects.filter(item=item, current=True).exists()
    with pytest.raises(NotPossible, match="stays as it was"):
        studies.know(item, FULL, "")
    with pytest.raises(NotPossible, match="stays as it was"):
        studies.know_no_more(item)
    studies.know(studied.items[1], FULL, "")


def test_with_it_goes_the_job_that_prepares_it(studied: Studied, admin: User) -> None:
    study = made(studied.explored.sae, admin)
    studies.remove(study, by=admin, address="127.0.0.1")
    assert Job.objects.get().state == "cancelled"
    ended = made(studied.explored.sae, admin)
    Job.objects.exclude(state="cancelled").update(state="done")
    studies.remove(ended, by=admin, address="127.0.0.1")
    assert Job.objects.latest("pk").state == "done"
    assert list(Study.objects.all()) == [studied.study]
