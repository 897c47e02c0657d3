"""Studies by the API: what it tells whom, its figures beside those of the pages, and scoring, by a person and as a
model."""

import json
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from explorer.actions import slots, studies
from explorer.actions.accounts import set_role
from explorer.actions.annotators import annotator_of, model_of
from explorer.models import Annotator, Draft, Hypothesis, Item, Score, Skip, Slot, Study, Subject
from explorer.models.access import Role
from explorer.models.studies import Origin, SubjectKind
from explorer.results import study as results
from tests.explored import Explored, explored, read
from tests.studied import FULL, SOME, Studied, evidence, given, person, studied, study_of

__all__ = ["explored", "read", "studied"]
pytestmark = pytest.mark.django_db
OF_TEXTS = {key: FULL[key] for key in ("confidence", "activations", "specificity")}


@pytest.fixture
def annotating(client: Client, annotator: User) -> Client:
    client.force_login(annotator)
    return client


def got(client: Client, path: str, **asked: Any) -> Any:
    answer = client.get(f"/api/v1/studies{path}", asked)
    assert answer.status_code == 200, answer.content
    return answer.json()


def sent(client: Client, method: str, path: str, **body: Any) -> Any:
    return client.generic(method, f"/api/v1/studies{path}", json.dumps(body), content_type="application/json")


def told(client: Client, method: str, path: str, **body: Any) -> Any:
    answer = sent(client, method, path, **body)
    assert answer.status_code == 200, answer.content
    return answer.json()


def claimed(client: Client, study: Study, **body: Any) -> Any:
    return told(client, "POST", f"/{study.pk}/next", **body)["item"]


def scored(client: Client, study: Study, **body: Any) -> Any:
    """The next item, all the way."""
    item = claimed(client, study, **body)
    at = f"/{study.pk}/scoring/{item['key']}"
    told(client, "PUT", f"{at}/hypothesis", hypothesis="a word", **body)
    told(client, "POST", f"{at}/reveal", points=OF_TEXTS, **body)
    return told(client, "POST", f"{at}/score", points=FULL, form=item["form"], **body)


def test_a_person_scores_all_the_way(annotating: Client, annotator: User, studied: Studied) -> None:
    item = claimed(annotating, studied.study)
    assert (item["second"], item["raised"], item["hypothesis"], item["practice"]) == (None, None, None, False)
    assert [each["low"] for each in item["first"]] == [80, 60, 40, 20, 0]
    assert [len(each["texts"]) for each in item["first"]] == [2] * 5  # half of them
    assert claimed(annotating, studied.study)["key"] == item["key"]
    at = f"/{studied.study.pk}/scoring/{item['key']}"
    said = told(annotating, "PUT", f"{at}/hypothesis", hypothesis=" a word\u0000 ")
    assert said["hypothesis"] == "a word\ufffd"
    assert (said["second"]["low"], len(said["second"]["texts"])) == (20 * item["interval"], 2)
    assert said["raised"] is None
    draft = told(annotating, "PUT", f"{at}/draft", points={"confidence": 2}, note="so\u0000", flagged=True)
    assert draft == {"seated": True}
    now = got(annotating, f"/{studied.study.pk}/scoring/{item['key']}")
    assert (now["points"], now["note"], now["flagged"]) == ({"confidence": 2}, "so\ufffd", True)
    early = sent(annotating, "POST", f"{at}/score", points=FULL)
    assert (early.status_code, early.json()["detail"].split(".")[0]) == (409, "What it raises is not looked at yet")
    shown = told(annotating, "POST", f"{at}/reveal", points=OF_TEXTS | {"logits": 0})
    assert len(shown["raised"]) == 2
    assert shown["fixed"] == sorted(OF_TEXTS)
    told(annotating, "PUT", f"{at}/draft", points={"confidence": 0})
    form = uuid4()
    given = told(annotating, "POST", f"{at}/score", points=FULL | {"confidence": 0}, form=str(form), note="so")
    assert given == {"total": 14, "points": FULL, "extra": False, "known": None}  # what was fixed stayed
    assert told(annotating, "POST", f"{at}/score", points=SOME, form=str(form))["total"] == 14
    (score,) = Score.objects.all()
    assert (score.annotator.user, score.origin, score.form, score.note) == (annotator, Origin.API, form, "so")
    assert told(annotating, "POST", f"/{studied.study.pk}/undo") == {"key": item["key"]}
    assert not Score.objects.filter(current=True).exists()
    assert Slot.objects.get(annotator=annotator_of(annotator)).item.key == item["key"]
    n = 0
    while claimed(annotating, studied.study):
        scored(annotating, studied.study)
        n += 1
    assert n == len(studied.items)
    assert Slot.objects.exclude(filled_at=None).count() == n


def test_a_model_scores_as_people_do(researching: Client, researcher: User, studied: Studied) -> None:
    assert scored(researching, studied.study, model=" a  rater\u0000 ")["total"] == 14
    score = Score.objects.get()
    assert (score.annotator.name, score.annotator.is_model, score.annotator.user) == ("a rater\ufffd", True, None)
    assert not Annotator.objects.filter(user=researcher).exists()
    assert got(researching, f"/{studied.study.pk}/results")["annotators"][0]["name"] == "a rater\ufffd"  # not blind


def test_only_researchers_score_as_a_model(annotating: Client, studied: Studied) -> None:
    key = studied.items[0].key
    for method, rest in (("POST", "next"), ("POST", "undo"), ("POST", "leave"), ("PUT", f"scoring/{key}/draft"),
                         ("POST", f"scoring/{key}/score")):  # fmt: skip
        assert sent(annotating, method, f"/{studied.study.pk}/{rest}", model="a rater").status_code == 403
    assert annotating.get(f"/api/v1/studies/{studied.study.pk}/scoring/{key}?model=x").status_code == 403
    assert not Annotator.objects.filter(is_model=True).exists()


def test_only_what_was_offered_is_told(annotating: Client, studied: Studied) -> None:
    claimed(annotating, studied.study)
    theirs = Slot.objects.get(annotator__isnull=False).item_id
    for item in studied.items:
        if item.pk == theirs:
            continue
        at = f"/{studied.study.pk}/scoring/{item.key}"
        assert annotating.get(f"/api/v1/studies{at}").status_code == 404
        for method, rest in (("PUT", "draft"), ("POST", "reveal"), ("POST", "score")):
            assert sent(annotating, method, f"{at}/{rest}").status_code == 404
        assert sent(annotating, "PUT", f"{at}/hypothesis", hypothesis="x").status_code == 404
    assert not Draft.objects.exists()
    assert not Hypothesis.objects.exists()


def test_nothing_tells_a_control_from_a_feature(annotating: Client, annotator: User, explored: Explored) -> None:
    """Told byte for byte alike, but for keys and forms."""
    said: list[str] = []
    for kind in (SubjectKind.FEATURE, SubjectKind.NEURON, SubjectKind.SHUFFLED):
        study = study_of(explored.sae, [kind], per_item=1)
        Subject.objects.filter(study=study).update(evidence=evidence(0).row(), density=0.01)
        studies.open_(study)
        Item.objects.filter(subject__study=study).update(key=f"key-of-{kind}"[:16])
        item = claimed(annotating, study)
        key, form = item["key"], item["form"]
        at = f"/{study.pk}/scoring/{key}"
        answers = [
            sent(annotating, "POST", f"/{study.pk}/next"),
            sent(annotating, "PUT", f"{at}/hypothesis", hypothesis="a word"),
            sent(annotating, "PUT", f"{at}/draft", points={"confidence": 1}),
            sent(annotating, "POST", f"{at}/reveal", points=OF_TEXTS),
            annotating.get(f"/api/v1/studies{at}"),
            annotating.get(f"/api/v1/studies/{study.pk}"),
            sent(annotating, "POST", f"{at}/score", points=FULL),
            sent(annotating, "POST", f"/{study.pk}/next"),
        ]
        assert [answer.status_code for answer in answers] == [200] * len(answers)
        text = ""
        for answer in answers:
            content = json.loads(answer.content)
            for each in (content, content.get("item") or {}):
                for name in ("form", "key", "id", "created_at", "opened_at"):
                    each.pop(name, None)
            text += json.dumps(content)
        assert form not in text
        assert explored.sae.slug not in text
        assert not any(word in text for word in ("feature", "neuron", "control", "kind", "index"))
        said.append(text)
    assert len(set(said)) == 1


def test_who_annotates_is_told_nothing_of_results(client: Client, annotator: User, scored_study: Studied) -> None:
    study = scored_study.study
    set_role(annotator.pk, Role.RESEARCHER, by=annotator)
    client.force_login(User.objects.get(pk=annotator.pk))
    assert got(client, f"/{study.pk}")["about"]["sae"] == scored_study.explored.sae.slug
    slots.say(scored_study.items[0], annotator_of(annotator), "a word")
    for rest in ("results", "agreement", "items"):
        answer = client.get(f"/api/v1/studies/{study.pk}/{rest}")
        assert answer.status_code == 403
        assert answer.json()["detail"] == "You annotate in a study, and so its results show when it is closed."
    assert got(client, f"/{study.pk}")["about"] is None
    studies.close(study)
    assert got(client, f"/{study.pk}/results")["n_scores"] == 16
    assert got(client, f"/{study.pk}")["about"]["controls"] == {}


@pytest.fixture
def scored_study(studied: Studied) -> Studied:
    for name in ("ann", "ben"):
        by = person(name)
        for item in studied.items:
            at_odds = item.subject.number == 2 and name == "ben"
            given(item, by, SOME if at_odds else FULL, f"{name} says {item.subject.number}")
    return studied


def test_results_are_those_of_the_page(researching: Client, scored_study: Studied) -> None:
    study = scored_study.study
    study.refresh_from_db()
    found = results.of(study)
    out = got(researching, f"/{study.pk}/results")
    assert (out["n_items"], out["n_scored"], out["n_scores"], out["line"], out["most"]) == (8, 8, 16, 8, 14)
    assert [(each["kind"], each["n"], each["totals"]) for each in out["kinds"]] == [
        (each.kind, each.n_subjects, list(each.totals)) for each in found.kinds
    ]
    assert found.kinds[0].above
    assert out["kinds"][0]["above"]["value"] == found.kinds[0].above.value
    assert [(each["name"], each["n"], each["mean"], each["same_side"]) for each in out["annotators"]] == [
        (each.name, each.n, each.mean, each.same_side) for each in found.annotators
    ]
    assert out["conflicts"] == {"n_agreed": 3, "n_alike": 0, "same": 0, "partly": 0, "different": 0, "open": 3}
    agreement = got(researching, f"/{study.pk}/agreement")
    assert [each["value"] for each in agreement["agreement"]] == [each.figure.value for each in found.agreement]
    assert len(agreement["agreement_of_features"]) == len(found.of_features)


def test_items_come_in_pages(researching: Client, scored_study: Studied) -> None:
    study = scored_study.study
    whole = got(researching, f"/{study.pk}/items")
    assert whole["next"] is None
    assert [each["key"] for each in whole["items"]] == [item.key for item in scored_study.items]
    assert whole["items"][4]["scores"] == [
        {"annotator": 1, "total": 14, "points": FULL, "hypothesis": "ann says 2", "flagged": False, "extra": False},
        {"annotator": 2, "total": 7, "points": SOME, "hypothesis": "ben says 2", "flagged": False, "extra": False},
    ]
    assert (whole["items"][4]["mean"], whole["items"][4]["spread"], whole["items"][4]["above"]) == (10.5, 7, 1)
    assert (whole["items"][-1]["kind"], whole["items"][-1]["sae"]) == ("neuron", None)
    items, after = [], None
    while True:
        page = got(researching, f"/{study.pk}/items", limit=3, **({"after": after} if after else {}))
        items += page["items"]
        after = page["next"]
        if after is None:
            break
    assert items == whole["items"]


def test_studies_are_told_of_to_whoever_may_know(
    client: Client, researcher: User, annotator: User, viewer: User, explored: Explored, settings: Settings
) -> None:
    draft, being_scored, closed, to_all = (study_of(explored.sae, [SubjectKind.FEATURE]) for _ in range(4))
    for each in (being_scored, closed, to_all):
        studies.open_(each)
    for each in (closed, to_all):
        studies.close(each)
    studies.show(to_all, True)
    known = {
        researcher: [to_all, closed, being_scored, draft],
        annotator: [to_all, being_scored],
        viewer: [to_all],
    }
    for who, theirs in known.items():
        client.force_login(who)
        assert [each["id"] for each in got(client, "")["items"]] == [study.pk for study in theirs]
        for study in (draft, being_scored, closed, to_all):
            assert client.get(f"/api/v1/studies/{study.pk}").status_code == (200 if study in theirs else 404)
            sees = study in theirs and (who == researcher or study == to_all)
            assert client.get(f"/api/v1/studies/{study.pk}/results").status_code == (200 if sees else 404)
    client.force_login(viewer)
    assert got(client, f"/{to_all.pk}/results")["annotators"] == []
    first = got(client, "", limit=1)
    assert (first["items"][0]["id"], first["items"][0]["rubric"], first["next"]) == (
        to_all.pk,
        "monosemanticity 1",
        None,
    )
    client.logout()
    settings.OPEN_READING = True
    assert [each["id"] for each in got(client, "")["items"]] == [to_all.pk]


def test_a_study_tells_its_rubric(annotating: Client, studied: Studied) -> None:
    out = got(annotating, f"/{studied.study.pk}")
    assert (out["rubric"]["line"], out["rubric"]["most"]) == (8, 14)
    assert [each["key"] for each in out["rubric"]["criteria"]] == [*FULL]
    assert len(out["rubric"]["criteria"][1]["anchors"]) == 6
    assert out["about"] is None


def test_readers_are_told_no_names(looking: Client, scored_study: Studied) -> None:
    studies.close(scored_study.study)
    studies.show(scored_study.study, True)
    out = got(looking, f"/{scored_study.study.pk}/results")
    assert [(each["number"], each["name"]) for each in out["annotators"]] == [(1, None), (2, None)]


def test_what_cannot_be_given_is_said(annotating: Client, annotator: User, studied: Studied) -> None:
    item = claimed(annotating, studied.study)
    at = f"/{studied.study.pk}/scoring/{item['key']}"
    assert sent(annotating, "POST", f"{at}/score", points=FULL).json()["detail"].startswith("Nothing is said yet")
    assert sent(annotating, "POST", f"{at}/reveal", points=OF_TEXTS).status_code == 409
    told(annotating, "PUT", f"{at}/hypothesis", hypothesis="a word")
    wrong = sent(annotating, "POST", f"{at}/reveal", points={"confidence": 4, "activations": 5})
    assert wrong.status_code == 422
    assert wrong.json()["errors"] == [
        {"where": ["body", "sent", "points", "confidence"], "message": "Confidence: 4 is not from 0 to 3."},
        {"where": ["body", "sent", "points", "specificity"], "message": "Specificity: no points are given."},
    ]
    told(annotating, "POST", f"{at}/reveal", points=OF_TEXTS)
    wrong = sent(annotating, "POST", f"{at}/score", points=OF_TEXTS | {"logits": 2, "beauty": 1})
    assert [each["message"] for each in wrong.json()["errors"]] == [
        "Gap: no points are given.", "There is no criterion beauty.",
    ]  # fmt: skip
    unfit: list[dict[str, Any]] = [
        {"points": {"confidence": 11}}, {"points": {"confidence": True}}, {"points": {"confidence": "1"}},
        {"points": []}, {"points": {"\u0000": 1}}, {"points": {str(n): 1 for n in range(13)}}, {"note": "x" * 2001},
        {"flagged": "yes"},
    ]  # fmt: skip
    for body in unfit:
        assert sent(annotating, "PUT", f"{at}/draft", **body).status_code == 422, body
    assert sent(annotating, "POST", f"{at}/score", form="x").status_code == 422
    assert sent(annotating, "PUT", f"{at}/hypothesis", hypothesis="x" * 2001).status_code == 422
    assert sent(annotating, "POST", f"{at}/skip").status_code == 422
    assert sent(annotating, "POST", f"{at}/skip", reason=" ").json()["detail"] == "Say in a few words why you skip it."
    assert sent(annotating, "POST", f"/{studied.study.pk}/undo").status_code == 409
    assert not Score.objects.exists()
    assert sent(annotating, "POST", f"{at}/skip", reason="I cannot read it").status_code == 204
    assert Skip.objects.get().annotator == annotator_of(annotator)


def test_one_that_can_name_nothing_is_done_with_0(annotating: Client, studied: Studied) -> None:
    item = claimed(annotating, studied.study)
    at = f"/{studied.study.pk}/scoring/{item['key']}"
    said = told(annotating, "PUT", f"{at}/hypothesis", hypothesis="")
    assert (said["hypothesis"], said["raised"]) == ("", None)
    assert told(annotating, "POST", f"{at}/score")["total"] == 0


def test_a_seat_is_left_and_a_closed_study_takes_what_is_sent(
    annotating: Client, annotator: User, studied: Studied
) -> None:
    study = studied.study
    item = claimed(annotating, study)
    assert sent(annotating, "POST", f"/{study.pk}/leave").status_code == 204
    assert not Slot.objects.filter(annotator=annotator_of(annotator)).exists()
    item = claimed(annotating, study)
    at = f"/{study.pk}/scoring/{item['key']}"
    told(annotating, "PUT", f"{at}/hypothesis", hypothesis="a word")
    told(annotating, "POST", f"{at}/reveal", points=OF_TEXTS)
    studies.close(study)
    answer = sent(annotating, "POST", f"/{study.pk}/next")
    assert (answer.status_code, answer.json()["detail"]) == (409, "This study is closed.")
    assert told(annotating, "POST", f"{at}/score", points=FULL)["extra"] is True


def test_practice_tells_what_is_known(annotating: Client, explored: Explored) -> None:
    study = study_of(explored.sae, [SubjectKind.FEATURE, SubjectKind.PRACTICE])
    practice = Item.objects.get(subject__kind=SubjectKind.PRACTICE)
    studies.know(practice, SOME, "as they say")
    studies.open_(study)
    item = claimed(annotating, study)
    assert (item["key"], item["practice"]) == (practice.key, True)
    assert scored(annotating, study)["known"] == {"points": SOME, "why": "as they say"}
    assert claimed(annotating, study)["practice"] is False


def test_all_is_there_at_once_where_a_study_is_not_staged(annotating: Client, explored: Explored) -> None:
    study = study_of(explored.sae, [SubjectKind.FEATURE], staged=False)
    studies.open_(study)
    item = claimed(annotating, study)
    assert [len(each["texts"]) for each in item["first"]] == [4] * 5
    assert (len(item["second"]["texts"]), len(item["raised"])) == (4, 2)
    at = f"/{study.pk}/scoring/{item['key']}"
    told(annotating, "PUT", f"{at}/hypothesis", hypothesis="a word")
    assert told(annotating, "POST", f"{at}/score", points=SOME)["total"] == 7


def test_what_is_not_there_is_not_found(annotating: Client, studied: Studied) -> None:
    nowhere = studied.study.pk + 1
    for path in (f"/{nowhere}", f"/{nowhere}/results", f"/{nowhere}/agreement", f"/{nowhere}/items",
                 f"/{nowhere}/scoring/x", f"/{studied.study.pk}/scoring/x"):  # fmt: skip
        assert annotating.get(f"/api/v1/studies{path}").status_code == 404
    for rest in ("next", "undo", "leave"):
        assert sent(annotating, "POST", f"/{nowhere}/{rest}").status_code == 404


@pytest.mark.parametrize("n", [1, 3])
def test_it_takes_as_many_queries_for_many(
    researching: Client, explored: Explored, django_assert_num_queries: DjangoAssertNumQueries, n: int
) -> None:
    for _ in range(n - 1):
        study_of(explored.sae, [SubjectKind.FEATURE])
    study = study_of(explored.sae, [SubjectKind.FEATURE] * n)
    studies.open_(study)
    for number in range(n):
        by = model_of(f"model {number}")
        for item in Item.objects.filter(subject__study=study):
            given(item, by, FULL)
    got(researching, f"/{study.pk}/results")
    with django_assert_num_queries(4):  # session, user, rate; studies
        got(researching, "")
    with django_assert_num_queries(5):  # session, user, rate; study, whether they annotate
        got(researching, f"/{study.pk}")
    with django_assert_num_queries(6):  # session, user, rate; study, whether they annotate; skips
        got(researching, f"/{study.pk}/results")
    with django_assert_num_queries(5):
        got(researching, f"/{study.pk}/items")
    with django_assert_num_queries(5):
        got(researching, f"/{study.pk}/agreement")
