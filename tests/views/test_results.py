"""Results as pages and files: who sees them and when, and that whoever annotates stays blind."""

import csv
import io
import json
import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from explorer.actions import slots, studies
from explorer.actions.accounts import set_role
from explorer.actions.annotators import annotator_of, model_of
from explorer.models import Adjudication, Annotator, AuditEntry, Item, Score, Study
from explorer.models.access import Role
from explorer.models.studies import Meaning, Origin, SubjectKind
from explorer.results import study as results
from explorer.results.listing import PAGE
from tests.explored import Explored
from tests.studied import FULL, SOME, Studied, given, person, studied, study_of

__all__ = ["studied"]
pytestmark = pytest.mark.django_db
NAMES = ("ann", "ben")


@pytest.fixture
def scored(studied: Studied) -> Studied:
    """Both seats of all: features are fond of 14, the control of 7; on the third feature they are at odds."""
    for name in NAMES:
        by = person(name)
        for item in studied.items:
            at_odds = item.subject.number == 2 and name == "ben"
            points = SOME if at_odds or item.subject.kind == SubjectKind.NEURON else FULL
            given(item, by, points, f"{'a' if name == 'ann' else 'the'} word {item.subject.number}")
    return studied


def address(study: Study, rest: str = "results/") -> str:
    return f"/studies/{study.pk}/{rest}"


def shown(client: Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return answer.content.decode()


def body(client: Client, path: str) -> str:
    return client.get(path).getvalue().decode()


EVERYWHERE = ("results/", "agreement.json", "scores.csv", "charts/totals/", "results/{key}/")


def everywhere(study: Study) -> list[str]:
    key = Item.objects.filter(subject__study=study)[0].key
    return [address(study, rest.format(key=key)) for rest in EVERYWHERE]


def test_a_page_says_what_came_out(researching: Client, scored: Studied) -> None:
    page = shown(researching, address(scored.study))
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert "16 scores of 8 of 8 items, by 2 annotators" in text
    assert "feature 3 6 of 6 12 14 (10.5 to 14) 100 % (100 % to 100 %)" in text.replace("\xa0", " ")
    assert "neuron 1 2 of 2 4 7 no interval: it is all of one feature 0 %" in text.replace("\xa0", " ")
    assert "ann 8 0 s 12.2" in text.replace("\xa0", " ")
    assert page.count("both sides") == 2
    assert "On 3 features or controls annotators agree" in text


def test_whoever_may_see_them_is_told_no_sooner(
    client: Client, viewer: User, researcher: User, scored: Studied, settings: Settings
) -> None:
    for path in everywhere(scored.study):
        client.force_login(viewer)
        assert client.get(path).status_code == 404
        client.force_login(researcher)
        assert client.get(path).status_code == 200
    studies.close(scored.study)
    client.force_login(viewer)
    assert [client.get(path).status_code for path in everywhere(scored.study)] == [404] * len(EVERYWHERE)
    studies.show(scored.study, True)
    for path in everywhere(scored.study):
        assert client.get(path).status_code == 200
    client.logout()
    settings.OPEN_READING = True
    for path in everywhere(scored.study):
        assert client.get(path).status_code == 200
    studies.open_(scored.study)  # somebody who looked now might annotate next
    assert {client.get(path).status_code for path in everywhere(scored.study)} == {404}


@pytest.mark.parametrize("has", ["a seat", "a hypothesis", "a score"])
def test_who_annotates_is_blind_until_it_is_closed(client: Client, scored: Studied, researcher: User, has: str) -> None:
    study, me = scored.study, annotator_of(researcher)
    item = scored.items[0]
    item.slots.all().update(filled_at=None, annotator=None)
    if has == "a seat":
        assert slots.claim(study, me)
    elif has == "a hypothesis":
        slots.say(item, me, "a word")
        slots.leave(study, me)
    else:
        given(item, me, FULL)
    client.force_login(researcher)
    page = shown(client, address(study))
    assert "They show when it is closed" in page
    said = page.split("<main")[1].split("</main")[0].lower()
    assert not any(word in said for word in ("feature", "neuron", "control", "alpha", "14"))
    for path in [*everywhere(study)[1:], address(study, "adjudicate/")]:
        answer = client.get(path)
        assert answer.status_code == 403
        assert "its results show when it is closed" in answer.content.decode()
    assert not AuditEntry.objects.filter(action="scores exported").exists()
    studies.close(study)
    for path in everywhere(study):
        assert client.get(path).status_code == 200


def test_readers_are_told_no_names(client: Client, viewer: User, researcher: User, scored: Studied) -> None:
    studies.close(scored.study)
    studies.show(scored.study, True)
    paths = [*everywhere(scored.study), address(scored.study, "scores.jsonl?all=1")]
    client.force_login(viewer)
    for path in paths:
        assert not re.search(r"\b(ann|ben)\b", body(client, path)), path
    assert "annotator 2" in body(client, paths[0])
    client.force_login(researcher)
    assert [bool(re.search(r"\bann\b", body(client, path))) for path in paths] == [True, False, True, False, True, True]


def test_charts_hold_features_against_controls(researching: Client, scored: Studied) -> None:
    figure = json.loads(body(researching, address(scored.study, "charts/totals/")))
    features, neurons = figure["data"]
    assert (features["name"], neurons["name"]) == ("feature", "neuron")
    assert features["customdata"] == [0] * 11 + [2] + [0] * 2 + [4]  # 10.5 is beyond 10 and up to 11
    assert features["y"] == [100 * n / 6 for n in features["customdata"]]
    assert neurons["customdata"] == [0] * 7 + [2] + [0] * 7
    assert figure["layout"]["shapes"][0]["x0"] == 8.5
    gap = json.loads(body(researching, address(scored.study, "charts/criterion-gap/")))
    assert gap["data"][0]["x"] == ["0", "1", "not applicable"]
    assert [each["customdata"] for each in gap["data"]] == [[0, 2, 10], [0, 4, 0]]
    for wrong in ("criterion-none", "criterion-", "gap", "total"):
        assert researching.get(address(scored.study, f"charts/{wrong}/")).status_code == 404


def test_a_study_without_scores_draws_nothing(researching: Client, studied: Studied) -> None:
    page = shown(researching, address(studied.study))
    assert "nothing scored yet" in page
    assert "undefined: nobody has scored anything" in page
    assert "chart-totals" not in page
    assert json.loads(body(researching, address(studied.study, "charts/totals/")))["data"] == []
    assert shown(researching, address(studied.study, "adjudicate/")).count("There is nothing to judge") == 1
    assert body(researching, address(studied.study, "scores.csv")).startswith("study,item,")


def test_items_are_sorted(researching: Client, scored: Studied) -> None:
    def numbers(query: str) -> list[str]:
        page = shown(researching, address(scored.study) + query)
        return re.findall(r"results/k[^/]+-(\d)-\d/", page)

    assert numbers("")[:2] == ["2", "2"]
    assert numbers("?sort=agreement&dir=desc")[-2:] == ["2", "2"]
    assert numbers("?sort=mean")[-2:] == ["3", "3"]
    assert numbers("?sort=mean&dir=asc")[:2] == ["3", "3"]
    assert numbers("?sort=number") == ["0", "0", "1", "1", "2", "2", "3", "3"]
    assert "No items here" in shown(researching, address(scored.study) + "?after=8")
    for bad in ("?sort=x", "?dir=x", "?after=-1", "?after=%00", "?after=" + "9" * 30):
        assert numbers(bad)[:2] == ["2", "2"]


def test_items_come_in_pages(researching: Client, explored: Explored) -> None:
    study = study_of(explored.sae, [SubjectKind.FEATURE] * (PAGE + 3))
    path = address(study)
    first = shown(researching, f"{path}?sort=number")
    assert f'rel="next" href="{path}?sort=number&amp;after={PAGE}#items"' in first
    assert 'rel="prev"' not in first
    rest = shown(researching, f"{path}?sort=number&after={PAGE}")
    assert len(set(re.findall(r"results/(k[^/]+)/", rest))) == 3
    assert f'rel="prev" href="{path}?sort=number&amp;after=0#items"' in rest


def test_an_item_shows_its_evidence_and_its_scores(researching: Client, scored: Studied) -> None:
    item = scored.items[4]
    page = shown(researching, address(scored.study, f"results/{item.key}/"))
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert "ann a word 2 3 5 3 n/a 3 14" in text
    assert "ben the word 2 1 2 1 1 2 7" in text
    assert page.count('class="group"') == 5
    assert f"/saes/{scored.explored.sae.slug}/features/2/" in page
    other = study_of(scored.explored.sae, [SubjectKind.FEATURE])
    for key in (Item.objects.get(subject__study=other).key, "none"):
        assert researching.get(address(scored.study, f"results/{key}/")).status_code == 404


def test_what_somebody_writes_is_no_markup(researching: Client, studied: Studied) -> None:
    item = studied.items[0]
    given(item, person("ann"), FULL, "<script>alert(1)</script>")
    given(item, person("<b>"), SOME, "<img src=x>")
    for path in (address(studied.study), address(studied.study, f"results/{item.key}/"),
                 address(studied.study, "adjudicate/")):  # fmt: skip
        page = shown(researching, path)
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "<bdi><b>" not in page


@pytest.mark.parametrize("n", [1, 3])
def test_it_takes_as_many_queries_for_many(
    researching: Client, explored: Explored, django_assert_num_queries: DjangoAssertNumQueries, n: int
) -> None:
    study = study_of(explored.sae, [SubjectKind.FEATURE] * n)
    studies.open_(study)
    for number in range(n):
        for item in Item.objects.filter(subject__study=study):
            given(item, person(f"p{number}-{item.pk}"), FULL)
    shown(researching, address(study))
    key = Item.objects.filter(subject__study=study)[0].key
    with django_assert_num_queries(5):  # session, user; study, whether they annotate; skips
        shown(researching, address(study))
    with django_assert_num_queries(5):  # session, user; study, whether they annotate; the item
        shown(researching, address(study, f"results/{key}/"))
    with django_assert_num_queries(4):
        body(researching, address(study, "charts/totals/"))
    with django_assert_num_queries(
        8
    ):  # session, user; study, whether; the note of it; annotators' order, names; scores
        body(researching, address(study, "scores.csv"))


def rows(client: Client, path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in body(client, path).split("\n")[:-1]]


@pytest.mark.django_db(transaction=True)
def test_scores_are_taken_along(
    researching: Client, researcher: User, scored: Studied, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("explorer.queries.results.batches.__kwdefaults__", {"every": False, "size": 3})
    slots.undo(scored.study, Annotator.objects.get(name="ben"))
    answer = researching.get(address(scored.study, "scores.csv"))
    assert answer.headers["Content-Disposition"] == 'attachment; filename="a-study-scores.csv"'
    table = list(csv.DictReader(io.StringIO(answer.getvalue().decode(), newline="")))
    assert len(table) == 15
    first = Score.objects.select_related("item__subject").order_by("pk")[0]
    assert table[0] == {
        "study": str(scored.study.pk), "item": first.item.key, "subject": "0", "kind": "feature",
        "sae": scored.explored.sae.slug, "index": "0", "interval": "0", "annotator": "ann", "is_model": "False",
        "rubric": "monosemanticity", "rubric_version": "1", "points_confidence": "3", "points_activations": "5",
        "points_logits": "3", "points_gap": "", "points_specificity": "3", "total": "14", "above": "True",
        "hypothesis": "a word 0", "note": "", "flagged": "False", "seconds": str(first.seconds), "origin": "page",
        "extra": "False", "current": "True", "created_at": first.created_at.isoformat(),
    }  # fmt: skip
    now, ever = (rows(researching, address(scored.study, f"scores.jsonl{query}")) for query in ("", "?all=1"))
    assert (len(now), len(ever)) == (15, 16)
    assert [row["current"] for row in ever] == [True] * 15 + [False]
    assert now[0]["points"] == FULL
    assert now[-1]["kind"] == "neuron"
    assert (now[-1]["sae"], now[-1]["index"]) == (None, None)
    notes = AuditEntry.objects.filter(action="scores exported").order_by("pk")
    assert [(each.actor, each.details["form"], each.details["all"]) for each in notes] == [
        ("researcher", "csv", False), ("researcher", "jsonl", False), ("researcher", "jsonl", True),
    ]  # fmt: skip


def test_agreement_is_taken_along(researching: Client, scored: Studied) -> None:
    told = json.loads(body(researching, address(scored.study, "agreement.json")))
    scored.study.refresh_from_db()
    found = results.of(scored.study)
    assert told["scores"] == {"all": 16, "extra": 0}
    for name, expected in (("agreement", found.agreement), ("agreement_of_features", found.of_features)):
        assert [(each["of"], each["measure"], each["value"], each["low"], each["why"], each["n_items"])
                for each in told[name]] == [
            (each.of, each.measure, each.figure.value, each.figure.low, each.figure.why, each.figure.n_items)
            for each in expected
        ]  # fmt: skip
    assert [each["criterion"] for each in told["agreement"]][:6] == [*FULL, None]


def test_hypotheses_are_judged_the_least_agreed_first(researching: Client, researcher: User, scored: Studied) -> None:
    path = address(scored.study, "adjudicate/")
    page = shown(researching, path)
    assert "1 of 4, the least agreed first; 0 judged" in page
    assert 'name="subject" value="2"' in page  # where they are at odds
    assert not re.search(r"\b(ann|ben)\b|neuron|control", page.split("<main")[1])
    assert [re.sub(r"<[^>]+>", " ", row).split() for row in re.findall(r"<tr><td class=\"long\".*?</tr>", page)] == [
        ["a", "word", "2", "14", "14"], ["the", "word", "2", "7", "7"],
    ]  # fmt: skip
    answer = researching.post(path, {"subject": 2, "meaning": "different", "note": " one is of names "})
    assert answer.headers["Location"] == path
    (found,) = Adjudication.objects.all()
    assert (found.subject.number, found.meaning, found.note, found.by) == (
        2, Meaning.DIFFERENT, "one is of names", researcher,
    )  # fmt: skip
    assert 'name="subject" value="0"' in shown(researching, path)
    again = shown(researching, f"{path}?subject=2")
    assert "Different things, it was judged" in again
    researching.post(path, {"subject": 2, "meaning": "same"})
    researching.post(path, {"subject": 2, "meaning": "same"})
    assert list(Adjudication.objects.order_by("pk").values_list("meaning", "current")) == [
        ("different", False), ("same", True),
    ]  # fmt: skip
    for number in (0, 1, 3):
        researching.post(path, {"subject": number, "meaning": "different" if number == 3 else "partly"})
    assert "All 4 are judged" in shown(researching, path)
    text = " ".join(re.sub(r"<[^>]+>", " ", shown(researching, address(scored.study))).split())
    assert "Of these, hypotheses of 1 mean different things and of 2 partly the same" in text


def test_what_cannot_be_judged_is_said(researching: Client, scored: Studied) -> None:
    path = address(scored.study, "adjudicate/")
    for sent in (
        {"subject": "2"},
        {"subject": "2", "meaning": "x"},
        {"subject": "2", "meaning": "same", "note": "x" * 2001},
    ):
        answer = researching.post(path, sent)
        assert answer.status_code == 422
        assert 'name="subject" value="2"' in answer.content.decode()
    for subject in ("99", "2147483647"):
        assert researching.get(f"{path}?subject={subject}").status_code == 404
        assert researching.post(path, {"subject": subject, "meaning": "same"}).status_code == 404
    for subject in ("x", "%00", "-1", "9" * 30):
        assert 'name="subject" value="2"' in shown(researching, f"{path}?subject={subject}")
    assert not Adjudication.objects.exists()
    assert researching.post(path, {"subject": "x", "meaning": "same"}).status_code == 422
    assert not Adjudication.objects.exists()


@pytest.fixture
def own(studied: Studied, researcher: User) -> Studied:
    Study.objects.filter(pk=studied.study.pk).update(created_by=researcher)
    return studied


def bring(client: Client, study: Study, content: str, name: str = "scores.csv") -> Any:
    file = SimpleUploadedFile(name, content.encode())
    return client.post(address(study, "scores/import/"), {"file": file})


def line(item: Any, who: str = "dora", **others: Any) -> str:
    row = {"item": item, "annotator": who, "points": SOME, "hypothesis": "a word"} | others
    return json.dumps({key: value for key, value in row.items() if value is not ...}) + "\n"


def test_scores_made_elsewhere_are_brought(researching: Client, own: Studied) -> None:
    by_key, by_feature = own.items[0], own.items[2]
    sent = line(by_key.key) + line(
        ..., sae=own.explored.sae.slug, index=1, interval=0, who="a model", is_model=True, hypothesis="", points={}
    )
    answer = bring(researching, own.study, sent, "scores.jsonl")
    assert answer.headers["Location"] == address(own.study)
    assert "2 scores were read, and 2 of them are new." in shown(researching, address(own.study))
    first, second = Score.objects.order_by("pk")
    assert (first.item, first.points, first.total, first.hypothesis) == (by_key, SOME, 7, "a word")
    assert (first.origin, first.extra, first.seconds) == (Origin.IMPORT, True, None)
    assert (first.annotator.name, first.annotator.user, first.annotator.is_model) == ("dora", None, False)
    assert (second.item, second.total, second.annotator) == (by_feature, 0, model_of("a model"))
    entry = AuditEntry.objects.get(action="scores imported")
    assert (entry.actor, entry.details) == ("researcher", {"study": own.study.pk, "scores": 2, "news": 2})
    assert own.items[0].slots.filter(annotator=None).count() == 2  # seats stay free


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_what_was_taken_along_can_be_brought(researching: Client, own: Studied, ending: str) -> None:
    ann, ben = person("ann"), person("ben")
    for item in own.items[:4]:
        given(item, ann, FULL, "=cmd, “x”\n y")
    given(own.items[0], ben, {}, "")
    content = body(researching, address(own.study, f"scores.{ending}"))
    assert bring(researching, own.study, content, f"x.{ending}").status_code == 302
    assert Score.objects.count() == 5  # nothing of it was news
    other = study_of(own.explored.sae, [SubjectKind.FEATURE] * 3, intervals=(0, 4))
    Study.objects.filter(pk=other.pk).update(created_by=own.study.created_by or User.objects.get(username="researcher"))
    moved = content.replace(f"k{own.study.pk}-", f"k{other.pk}-")
    assert bring(researching, other, moved, f"x.{ending}").status_code == 302

    def those(study: Study) -> list[Any]:
        q = Score.objects.filter(item__subject__study=study).order_by("pk")
        return list(q.values_list("item__subject__number", "item__interval", "annotator", "points", "hypothesis"))

    assert those(other) == those(own.study)
    assert Annotator.objects.count() == 2  # people with an account are known by their names


def test_every_wrong_line_is_named_and_nothing_is_kept(researching: Client, own: Studied) -> None:
    key, other = own.items[0].key, study_of(own.explored.sae, [SubjectKind.FEATURE, SubjectKind.PRACTICE])
    practice = Item.objects.get(subject__kind=SubjectKind.PRACTICE)
    given(own.items[1], person("ann"), FULL, "a word")
    wrong = [
        (line("none"), "there is no item none in this study."),
        (line(Item.objects.filter(subject__study=other)[0].key), "there is no item"),
        (line(practice.key), "there is no item"),
        (line(key, points=SOME | {"confidence": 4}), "Confidence: 4 is not from 0 to 3."),
        (line(key, points=SOME | {"confidence": 1.5}), "Confidence: 1.5 is not from 0 to 3."),
        (line(key, points={k: v for k, v in SOME.items() if k != "logits"}), "Logits: no points are given."),
        (line(key, points=SOME | {"beauty": 1}), "There is no criterion beauty."),
        (line(key, points=[1]), "its points are no object of criteria and numbers."),
        (line(key, hypothesis=""), "it has points and no hypothesis; without one all are 0."),
        (line(key, hypothesis=...), "its hypothesis is no text."),
        (line(key, hypothesis="x" * 2001), "its hypothesis has 2,001 characters; 2,000 are the most."),
        (line(key, who=""), "it names no annotator."),
        (line(key, who="x" * 201), "its annotator’s name has 201 characters; 200 are the most."),
        (line(key, is_model="perhaps"), "its is_model is neither true nor false."),
        (line(key, seconds=-1), "its seconds are no length of time."),
        (line(key, current=False), "it says that it was replaced; bring those that count."),
        (line(key, rubric="other", rubric_version=2), "it was scored by version 2 of other"),
        (line(..., sae="none", index=0, interval=0), "this study has no interval 0 of feature 0 of none."),
        (line(...), "it names no item: its key, or an SAE, an index and an interval."),
        ("[1]\n", "it is no JSON object."),
    ]
    for sent, told in wrong:
        answer = bring(researching, own.study, line(key, "good") + sent, "x.jsonl")
        assert answer.status_code == 422
        page = answer.content.decode().replace("&#x27;", "'")
        assert f"Line 2: {told}" in page, told
        assert page.count("<li>Line") == 1 or page.count("Line ") == 1
    twice = bring(researching, own.study, line(key) + line(key, hypothesis="another"), "x.jsonl")
    assert "Line 2: dora has a score of this item in an earlier line." in twice.content.decode()
    conflict = bring(researching, own.study, line(key) + line(own.items[1].key, "ann"), "x.jsonl")
    assert "Line 2: ann has scored this item otherwise already." in conflict.content.decode()
    assert Score.objects.count() == 1
    assert not Annotator.objects.exclude(name="ann").exists()
    assert not AuditEntry.objects.filter(action="scores imported").exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "The submitted file is empty."),
        ("\n", "Line 1: it names the columns, and item or else sae, index and interval must be among them."),
        ("item,annotator\n", "among them should be hypothesis, points_activations, points_confidence"),
        ("item,annotator,hypothesis,points_confidence,points_activations,points_logits,points_gap,points_specificity,"
         "points_beauty\n", "Line 1: points_beauty: this study’s rubric has no such criterion."),
        ("item,annotator,hypothesis,points_confidence,points_activations,points_logits,points_gap,"
         "points_specificity\n", "There is no score in it."),
        ("item,annotator,hypothesis,points_confidence,points_activations,points_logits,points_gap,"
         "points_specificity\nKEY,a,b,x,1,1,1,1\n", "Line 2: Confidence: x is not from 0 to 3."),
        ("item,annotator,hypothesis,points_confidence,points_activations,points_logits,points_gap,"
         "points_specificity\nKEY,a,b,1,1,1,1\n", "Line 2: it has fewer columns than the first line names."),
        ("item,annotator,hypothesis,points_confidence,points_activations,points_logits,points_gap,"
         "points_specificity\nKEY,a,b,1,1,1,,1\n", "Line 2: Gap: no points are given."),
    ],
)  # fmt: skip
def test_a_file_that_is_none_is_refused(researching: Client, own: Studied, content: str, told: str) -> None:
    answer = bring(researching, own.study, content.replace("KEY", own.items[0].key))
    assert answer.status_code == 422
    assert told in answer.content.decode().replace("&#x27;", "'")
    assert not Score.objects.exists()


def test_only_whoever_made_a_study_brings_scores(client: Client, viewer: User, admin: User, own: Studied) -> None:
    set_role(viewer.pk, Role.RESEARCHER, by=viewer)
    client.force_login(viewer)
    assert bring(client, own.study, line(own.items[0].key), "x.jsonl").status_code == 403
    assert "Bring scores" not in shown(client, address(own.study))
    assert client.post(address(own.study, "scores/import/")).status_code == 403
    client.force_login(admin)
    assert client.post(address(own.study, "scores/import/")).status_code == 422
    assert "points_confidence" in shown(client, address(own.study, "scores/import/"))
    assert bring(client, own.study, line(own.items[0].key), "x.jsonl").status_code == 302
