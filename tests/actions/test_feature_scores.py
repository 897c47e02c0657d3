"""What pages of features say that these are scored: as long as a study shows its scores, and always what counts."""

import json

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from explorer.actions import slots, studies
from explorer.models import FeatureScore, Item, Sae, Study
from explorer.models.studies import SubjectKind
from tests.explored import Explored, explored, read
from tests.studied import FULL, SOME, Studied, given, person, studied, study_of

__all__ = ["explored", "read", "studied"]
pytestmark = pytest.mark.django_db


def there(sae: Sae) -> dict[int, tuple[int, float, int, int]]:
    """By index: which study, the mean, how many, how many above. Means here are such that float32 holds them."""
    rows = FeatureScore.objects.filter(sae=sae).values_list("index", "study", "mean", "n", "above")
    return {index: (study, mean, n, above) for index, study, mean, n, above in rows}


@pytest.fixture
def scored(studied: Studied) -> Studied:
    """The first two features and the control."""
    ann, ben = person("ann"), person("ben")
    for item in studied.items:
        if item.subject.number == 2:
            continue
        given(item, ann, FULL)
        if item.subject.number == 0:
            given(item, ben, SOME if item.interval else FULL)
    studies.close(studied.study)
    return studied


def test_they_are_there_as_long_as_they_are_shown(scored: Studied, admin: User) -> None:
    study, sae = scored.study, scored.explored.sae
    assert there(sae) == {}
    edition = Sae.objects.get(pk=sae.pk).edition
    studies.show(study, True)
    means = {0: (study.pk, (14 * 3 + 7) / 4, 4, 3), 1: (study.pk, 14.0, 2, 2)}
    assert there(sae) == means
    assert Sae.objects.get(pk=sae.pk).edition > edition  # pages that browsers keep are old
    studies.show(study, False)
    assert there(sae) == {}
    studies.show(study, True)
    studies.open_(study)
    assert there(sae) == {}
    studies.close(study)
    assert there(sae) == {}
    studies.show(study, True)
    assert there(sae) == means
    studies.remove(study, by=admin, address="127.0.0.1")
    assert there(sae) == {}


def test_a_score_that_comes_later_counts(scored: Studied, researching: Client, researcher: User) -> None:
    study, sae = scored.study, scored.explored.sae
    Study.objects.filter(pk=study.pk).update(created_by=researcher)
    studies.show(study, True)
    late = scored.items[4]
    given(late, person("cleo"), SOME)
    assert there(sae)[2] == (study.pk, 7.0, 1, 0)
    line = {"item": late.key, "annotator": "dora", "hypothesis": "x", "points": FULL}
    file = SimpleUploadedFile("x.jsonl", json.dumps(line).encode())
    assert researching.post(f"/studies/{study.pk}/scores/import/", {"file": file}).status_code == 302
    assert there(sae)[2] == (study.pk, 10.5, 2, 1)


def test_what_is_not_shown_changes_nothing(studied: Studied) -> None:
    me = person("ann")
    item = slots.claim(studied.study, me)
    assert item
    given(item, me, FULL)
    slots.undo(studied.study, me)
    assert there(studied.explored.sae) == {}


def test_of_several_studies_the_newest_counts(explored: Explored, admin: User) -> None:
    first, second = (study_of(explored.sae, [SubjectKind.FEATURE] * n) for n in (2, 1))
    for study, points in ((first, FULL), (second, SOME)):
        studies.open_(study)
        for item in Item.objects.filter(subject__study=study):
            given(item, person(f"{item.pk}"), points)
        studies.close(study)
        studies.show(study, True)
    assert there(explored.sae) == {0: (second.pk, 7.0, 1, 0), 1: (first.pk, 14.0, 1, 1)}
    studies.remove(second, by=admin, address="127.0.0.1")
    assert there(explored.sae) == {0: (first.pk, 14.0, 1, 1), 1: (first.pk, 14.0, 1, 1)}


def test_a_feature_says_how_it_is_scored(looking: Client, scored: Studied) -> None:
    page = f"/saes/{scored.explored.sae.slug}/features/0/"
    assert "of 14 on average" not in looking.get(page).content.decode()
    studies.show(scored.study, True)
    shown = " ".join(looking.get(page).content.decode().split())
    assert (
        f'Scored <strong>12.2</strong> of 14 on average; 3 of 4 scores are above 8. <a href="/studies/{scored.study.pk}'
        '/results/"><bdi>a study</bdi></a>'
    ) in shown
    assert "of 14 on average" not in looking.get(page.replace("/0/", "/2/")).content.decode()
    score = {"mean": 12.25, "n": 4, "above": 3, "line": 8, "most": 14, "study": scored.study.pk}
    assert looking.get(f"/api/v1{page[:-1]}").json()["score"] == score
    assert looking.get(f"/api/v1{page[:-1]}".replace("/0", "/2")).json()["score"] is None


def test_the_browser_shows_filters_and_sorts_by_them(looking: Client, scored: Studied) -> None:
    studies.show(scored.study, True)
    path = f"/saes/{scored.explored.sae.slug}/features/"

    def shown(query: str) -> list[str]:
        page = looking.get(f"{path}{query}").content.decode()
        return [row.split('">', 1)[1].split("<")[0] for row in page.split('class="whole" href=')[1:]]

    assert shown("?sort=score") == ["1", "0"]
    assert shown("?sort=score&dir=asc") == ["0", "1"]
    assert shown("?score_min=12.25") == ["0", "1"]
    assert shown("?score_min=13") == ["1"]
    assert shown("?score_max=13") == ["0"]
    assert shown("?score_min=x&score_max=13") == ["0"]
    assert shown("?score_min=14.5") == []
    page = looking.get(f"{path}?sort=score").content.decode()
    assert "features that nobody has scored are left out" in page
    assert '<td class="number">12.2</td>' in page
    assert "Mean score ≥ 13" in looking.get(f"{path}?score_min=13").content.decode()
    items = looking.get(f"/api/v1{path[:-1]}?sort=score").json()["items"]
    assert [(each["index"], each["score"]) for each in items] == [(1, 14.0), (0, 12.25)]
    assert looking.get(f"/api/v1{path[:-1]}?score_max=13").json()["items"][0]["index"] == 0
    everything = looking.get(f"/api/v1{path[:-1]}").json()["items"]
    assert everything[2]["score"] is None
    studies.show(scored.study, False)
    assert shown("?score_min=0") == []
