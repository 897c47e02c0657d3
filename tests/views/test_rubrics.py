"""Rubrics: shown, made, revised, and changed as long as no study uses them."""

import html
import re
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries, Settings

from explorer.actions import rubrics
from explorer.models import Rubric
from explorer.models.studies import SubjectKind
from explorer.studies.rubrics import criteria_of
from tests.explored import Explored, explored, read
from tests.studied import study_of

__all__ = ["explored", "read"]
pytestmark = pytest.mark.django_db
SCRIPT = "<script>alert(1)</script>"
PUBLISHED = "/rubrics/monosemanticity/1/"
CLARITY = {"title": "Clarity", "asks": "Is it clear?", "anchors": "no\nperhaps\nyes", "stage": "examples"}
TOKENS = {"title": "Tokens raised", "asks": "Do they fit?", "anchors": "no\nyes", "stage": "logits", "scale": "nominal"}


def shown(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def asked(*criteria: dict[str, str], at: int = 1, **others: object) -> dict[str, object]:
    """As a page sends it, the first in the row `at`."""
    sent: dict[str, object] = {"name": "Ours", "line": "1", "guidelines": ""}
    for number, each in enumerate(criteria, at):
        sent |= {f"criterion-{number}-{name}": value for name, value in each.items()}
    return sent | others


def filled_in(page: str) -> dict[str, str]:
    """What the form on a page sends as it stands."""
    sent = {}
    for name, value in re.findall(r'<input [^>]*name="([\w-]+)" value="([^"]*)"', page):
        sent[name] = html.unescape(value)
    for name, value in re.findall(r'<textarea name="([\w-]+)"[^>]*>\r?\n?(.*?)</textarea>', page, re.S):
        sent[name] = html.unescape(value)
    for name, options in re.findall(r'<select name="([\w-]+)"[^>]*>(.*?)</select>', page, re.S):
        chosen = re.findall(r'<option value="([^"]*)" selected', options)
        sent[name] = chosen[0] if chosen else re.findall(r'<option value="([^"]*)"', options)[0]
    for name in re.findall(r'<input type="checkbox" name="([\w-]+)"[^>]* checked', page):
        sent[name] = "on"
    return sent


def wrong(page: str) -> list[str]:
    found = re.findall(r'<ul class="errorlist" id="id_([\w-]+)_error"><li>(.*?)</li></ul>', page)
    told = [f"{name}: {html.unescape(says)}" for name, says in found]
    return told + [html.unescape(each) for each in re.findall(r'<p class="error" role="alert">(.*?)</p>', page)]


def test_that_of_the_text_is_there_from_the_start(client: Client, settings: Settings) -> None:
    settings.OPEN_READING = True
    page = shown(client, "/rubrics/")
    assert f'<a href="{PUBLISHED}" dir="auto">Interpretability (Bricken et al. 2023)</a>' in page
    assert re.findall(r'<td class="number">(.*?)</td>', page) == ["1", "5", "14", "above 8", "0"]
    assert "Make a rubric" not in page
    page = shown(client, PUBLISHED)
    assert "At most 14 points; above 8 counts as interpretable." in page
    assert page.count('<ol class="anchors" start="0">') == 5
    assert "Does not apply where <bdi>Logits</bdi> has full marks." in page
    assert "Studies by it" not in page


def test_one_is_made_of_rows_of_which_empty_ones_are_none(researching: Client, researcher: User) -> None:
    sent = asked(CLARITY, at=2) | asked(TOKENS | {"unless": "2", "key": "raised"}, at=7)
    answer = researching.post(
        "/rubrics/make/", sent | {"guidelines": f"*Look* {SCRIPT}", "criterion-2-of_interval": "on"}
    )
    assert answer.headers["Location"] == "/rubrics/ours/1/"
    made = Rubric.objects.get(slug="ours")
    assert (made.name, made.version, made.line, made.created_by) == ("Ours", 1, 1, researcher)
    assert made.criteria == [
        {"key": "clarity", "title": "Clarity", "asks": "Is it clear?", "anchors": ["no", "perhaps", "yes"],
         "stage": "examples", "scale": "ordinal", "unless": "", "of_interval": True},
        {"key": "raised", "title": "Tokens raised", "asks": "Do they fit?", "anchors": ["no", "yes"],
         "stage": "logits", "scale": "nominal", "unless": "clarity", "of_interval": False},
    ]  # fmt: skip
    page = shown(researching, "/rubrics/ours/1/")
    assert "<em>Look</em>" in page
    assert SCRIPT not in page
    assert "At most 2 points" in page


def test_a_point_may_stand_for_nothing_that_is_said(researching: Client) -> None:
    researching.post("/rubrics/make/", asked(CLARITY | {"anchors": "no\r\n\r\nyes\r\n"}))
    assert Rubric.objects.get(slug="ours").criteria[0]["anchors"] == ["no", "", "yes"]


def test_sent_as_it_stands_a_version_is_the_same(researching: Client) -> None:
    page = shown(researching, f"{PUBLISHED}revise/")
    answer = researching.post(f"{PUBLISHED}revise/", filled_in(page))
    assert answer.status_code == 302, wrong(answer.content.decode())
    first, second = Rubric.objects.filter(slug="monosemanticity").order_by("version")
    assert answer.headers["Location"] == "/rubrics/monosemanticity/2/"
    assert (second.version, second.line, second.name) == (2, 8, first.name)
    assert criteria_of(second.criteria) == criteria_of(first.criteria)
    assert second.guidelines.split() == first.guidelines.split()
    page = shown(researching, PUBLISHED)
    assert '<a href="/rubrics/monosemanticity/2/">version 2</a>' in page


def test_one_that_no_study_uses_is_changed(researching: Client, researcher: User) -> None:
    made = rubrics.make("Mine", [rows()], 1, "", by=researcher)
    assert "Change it" in shown(researching, "/rubrics/mine/1/")
    answer = researching.post("/rubrics/mine/1/change/", asked(CLARITY | {"asks": "Is it clear now?"}))
    assert answer.headers["Location"] == "/rubrics/mine/1/"
    made.refresh_from_db()
    assert (made.criteria[0]["asks"], made.name) == ("Is it clear now?", "Mine")
    assert Rubric.objects.filter(slug="mine").count() == 1


def rows(**others: Any) -> dict[str, Any]:
    return {"key": "clarity", "title": "Clarity", "asks": "?", "anchors": ["no", "perhaps", "yes"],
            "stage": "examples"} | others  # fmt: skip


def test_one_that_a_study_uses_is_not_but_a_version_is_offered(
    researching: Client, researcher: User, explored: Explored
) -> None:
    made = rubrics.make("Mine", [rows()], 1, "", by=researcher)
    study = study_of(explored.sae, [SubjectKind.FEATURE])
    study.rubric = made
    study.save()
    page = shown(researching, "/rubrics/mine/1/")
    assert "Change it" not in page
    assert "It is used, and stays as it is." in page
    assert f'<a href="/studies/{study.pk}/"><bdi>a study</bdi></a>' in page
    sent = asked(CLARITY | {"asks": "Is it clear now?"})
    answer = researching.post("/rubrics/mine/1/change/", sent)
    assert answer.status_code == 422
    page = answer.content.decode()
    assert "Mine, version 1 is used by a study, and scores stand for what it said then. Make a new version." in page
    assert 'formaction="/rubrics/mine/1/revise/"' in page
    assert "Is it clear now?" in page  # nothing of it is lost
    made.refresh_from_db()
    assert made.criteria[0]["asks"] == "?"
    assert researching.post("/rubrics/mine/1/revise/", sent).headers["Location"] == "/rubrics/mine/2/"


def test_it_is_changed_by_whoever_made_it(researching: Client, admin: User) -> None:
    rubrics.make("Theirs", [rows()], 1, "", by=admin)
    assert "Change it" not in shown(researching, "/rubrics/theirs/1/")
    answer = researching.post("/rubrics/theirs/1/change/", asked(CLARITY))
    assert answer.status_code == 403
    assert "Make a version of it." in answer.content.decode()


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (asked(), ["A rubric has one criterion at least."]),
        (asked(CLARITY, name=""), ["id_name: This field is required."]),
        (asked(CLARITY, name="Interpretability", line="2"), ["The line is 2, and totals go from 0 to 2."]),
        (asked(CLARITY, line=""), ["line: This field is required."]),
        (asked(CLARITY, line="-1"), ["line: Ensure this value is greater than or equal to 0."]),
        (asked(CLARITY | {"asks": ""}), ["criterion-1-asks: A criterion needs this."]),
        (asked({"key": "alone"}), ["criterion-1-title: A criterion needs this.", "criterion-1-asks:"]),
        (asked(CLARITY | {"key": "Not this"}), ["criterion-1-key: Small letters, digits and _ make one"]),
        (asked(CLARITY | {"title": "明瞭"}), ["criterion-1-key: None can be made of this title. Give one."]),
        (asked(CLARITY | {"anchors": "alone"}), ["criterion-1-anchors: These are 1 lines, expected 2 to 11."]),
        (asked(CLARITY | {"anchors": "a\n" * 12}), ["criterion-1-anchors: These are 12 lines, expected 2 to 11."]),
        (asked(CLARITY | {"anchors": "a\n" + "b" * 501}), ["criterion-1-anchors: One is longer than 500 characters."]),
        (asked(CLARITY | {"stage": "later"}), ["criterion-1-stage: Select a valid choice."]),
        (asked(CLARITY | {"unless": "1"}), ["criterion-1-unless: Select a valid choice."]),
        (asked(CLARITY, CLARITY), ["criterion-2-key: Another has the key clarity."]),
        (asked(CLARITY | {"unless": "1"}, at=3), ["criterion-3-unless: Criterion 1 is empty."]),
        (
            asked(TOKENS, CLARITY | {"unless": "1"}),
            ["Criterion 2 hangs on tokens_raised, which is judged only after it."],
        ),
    ],
)
def test_what_is_no_rubric_is_told(researching: Client, sent: dict[str, object], told: list[str]) -> None:
    answer = researching.post("/rubrics/make/", sent)
    assert answer.status_code == 422
    page = answer.content.decode()
    for each in told:
        assert [says for says in wrong(page) if says.startswith(each.removeprefix("id_"))], wrong(page)
    assert not Rubric.objects.exclude(slug="monosemanticity").exists()


def test_two_have_not_one_name(researching: Client) -> None:
    researching.post("/rubrics/make/", asked(CLARITY))
    answer = researching.post("/rubrics/make/", asked(CLARITY))
    assert answer.status_code == 422
    assert wrong(answer.content.decode()) == [
        "There is a rubric Ours already. Make a version of that one, or choose another name."
    ]


def test_there_is_none_that_there_is_not(researching: Client) -> None:
    for rest in ("gone/1/", "monosemanticity/2/", f"monosemanticity/{'9' * 18}/"):
        for way in ("", "revise/", "change/"):
            assert researching.get(f"/rubrics/{rest}{way}").status_code == 404


@pytest.mark.parametrize("n", [1, 3])
def test_it_takes_as_many_queries_for_many(
    researching: Client, researcher: User, explored: Explored, django_assert_num_queries: DjangoAssertNumQueries, n: int
) -> None:
    published = rubrics.published()
    for each in range(n):
        rubrics.make(f"Mine {each}", [rows()], 1, "", by=researcher)
        study_of(explored.sae, [])
        rubrics.revise(published, published.criteria, 8, "", by=researcher)
    with django_assert_num_queries(3):  # session, user; rubrics
        researching.get("/rubrics/")
    with django_assert_num_queries(5):  # session, user; rubric, versions, studies
        researching.get(PUBLISHED)


awkward = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["\x00", "\ud800", "\u202eשלום", "9" * 40, "-1", "1e9", "on", "1", "2", "logits", "a\nb", "\n\n"]),
)
names = [f"criterion-{number}-{name}" for number in (1, 2, 12) for name in (*TOKENS, "key", "unless", "of_interval")]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(sent=st.dictionaries(st.sampled_from(["name", "line", "guidelines", *names]), awkward))
def test_nothing_that_is_sent_breaks_a_form(researching: Client, sent: dict[str, str]) -> None:
    sent = {name: value.encode("utf-8", "replace").decode() for name, value in sent.items()}
    for address in ("/rubrics/make/", f"{PUBLISHED}revise/"):
        assert researching.post(address, sent).status_code in (302, 422)
        assert researching.post(address, asked(CLARITY, TOKENS) | sent).status_code in (302, 422)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(value=awkward)
def test_nothing_in_an_address_breaks_a_page(researching: Client, value: str) -> None:
    bad = quote(value.encode("utf-8", "surrogatepass"), safe="")
    for address in (f"/rubrics/{bad}/1/", f"/rubrics/monosemanticity/{bad}/"):
        assert researching.get(address).status_code in (200, 302, 404)
