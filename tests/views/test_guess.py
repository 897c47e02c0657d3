"""Feature or not: a round of six that only studies give which everybody may see, and that is told at its end."""

import re

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from explorer.actions import slots, studies
from explorer.models import Study, Subject
from explorer.models.studies import SubjectKind
from tests.explored import Explored, explored, read
from tests.studied import FULL, SOME, given, person, study_of

__all__ = ["explored", "read"]
pytestmark = pytest.mark.django_db


@pytest.fixture
def shown(explored: Explored) -> Study:
    """Four features and three neurons, scored by one: features 14, neurons 7."""
    study = study_of(explored.sae, [*[SubjectKind.FEATURE] * 4, *[SubjectKind.NEURON] * 3], per_item=1)
    studies.open_(study)
    ann = person("ann")
    while item := slots.claim(study, ann):
        given(item, ann, FULL if item.subject.kind == SubjectKind.FEATURE else SOME)
    studies.close(study)
    studies.show(study, True)
    return study


def page(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def truth(client: Client, round_: str) -> str:
    """What is right of all six, as the page at the end tells it."""
    told = page(client, f"{round_}?said=ffffff")
    found = re.findall(r'class="(right|wrong)"', told)
    assert len(found) == 6
    return "".join("f" if each == "right" else "n" for each in found)


def test_the_address_holds_all_that_is_said(looking: Client, shown: Study) -> None:
    round_ = looking.get("/guess/").headers["Location"]
    said = ""
    for number in range(1, 7):
        asked = page(looking, f"{round_}?said={said}")
        assert f"{number} of 6" in asked
        assert not re.search(r"/features/\d|a small SAE", asked)
        assert set(re.findall(r'href="\?said=(\w+)"', asked)) == {f"{said}f", f"{said}n"}
        said += "f"
    assert sorted(truth(looking, round_)) == list("fffnnn")
    assert "6 of 6 right" in page(looking, f"{round_}?said={truth(looking, round_)}")
    assert "3 of 6 right" in page(looking, f"{round_}?said=ffffff")


def test_it_is_told_what_annotators_gave(looking: Client, shown: Study) -> None:
    told = page(looking, f"/guess/5/?said={truth(looking, '/guess/5/')}")
    rows = re.findall(r"<tr><td.*?</tr>", told)
    for row, is_feature in zip(rows, [each == "f" for each in truth(looking, "/guess/5/")], strict=True):
        assert (">14<" in row, ">7<" in row) == (is_feature, not is_feature)
        assert ("/features/" in row) == is_feature


def test_a_round_is_the_same_for_whom_it_is_shared_with(looking: Client, shown: Study) -> None:
    assert truth(looking, "/guess/5/") == truth(looking, "/guess/5/")
    assert len({truth(looking, f"/guess/{seed}/") for seed in range(20)}) > 5


@pytest.mark.parametrize("said", ["x", "fffffff", "%00", "F"])
def test_what_nobody_can_have_said_begins_anew(looking: Client, shown: Study, said: str) -> None:
    assert "1 of 6" in page(looking, f"/guess/5/?said={said}")


def test_only_what_everybody_may_see_is_guessed(looking: Client, shown: Study) -> None:
    assert "/guess/" in page(looking, "/")
    studies.show(shown, False)
    assert looking.get("/guess/5/").status_code == 404
    assert "/guess/" not in page(looking, "/")


def test_there_must_be_three_of_each(looking: Client, shown: Study) -> None:
    Subject.objects.filter(kind=SubjectKind.NEURON, number=6).update(kind=SubjectKind.DIRECTION)
    assert looking.get("/guess/5/").status_code == 404


def test_it_takes_a_few_queries(
    looking: Client, shown: Study, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    page(looking, "/guess/5/?said=f")
    with django_assert_num_queries(5):  # session, user; studies, subjects; the item
        page(looking, "/guess/5/?said=f")
    with django_assert_num_queries(5):  # and what was given them
        page(looking, "/guess/5/?said=ffffff")
