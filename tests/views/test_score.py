"""The page on which items are scored: what is shown when, what may be given, and that nothing tells what an item is."""

import re
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db.models.functions import Now
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries

from explorer.actions import slots, studies
from explorer.models import Annotator, Draft, Item, Score, Skip, Slot, Study, Subject
from explorer.models.studies import SubjectKind
from explorer.studies.evidence import Evidence, Example
from explorer.studies.rubrics import Points
from tests.explored import explored, read
from tests.studied import FULL, SOME, Studied, person, studied

__all__ = ["explored", "read", "studied"]
pytestmark = pytest.mark.django_db
BEFORE = ("confidence", "activations", "specificity")


@pytest.fixture
def ann(client: Client, db: None) -> Annotator:
    """Who looks at the pages."""
    found = person("ann")
    assert found.user
    client.force_login(found.user)
    return found


def sent(points: Points, **others: object) -> dict[str, object]:
    given = {f"points_{key}": value for key, value in points.items() if value is not None}
    return given | {"form": str(uuid4())} | others


def begin(client: Client, study: Study) -> str:
    """The address of the item that one is given."""
    answer = client.post(f"/score/{study.pk}/next/")
    assert answer.status_code == 302
    found: str = answer.headers["Location"]
    return found


def item_at(address: str) -> Item:
    return Item.objects.select_related("subject").get(key=address.rstrip("/").rpartition("/")[2])


def text(client: Client, address: str, status: int = 200) -> str:
    answer = client.get(address)
    assert answer.status_code == status
    return answer.content.decode()


def judged(client: Client, address: str) -> None:
    client.post(f"{address}say/", {"hypothesis": "it is a word"})
    client.post(f"{address}reveal/", sent({key: SOME[key] for key in BEFORE}))


def test_one_is_led_from_item_to_item(client: Client, ann: Annotator, studied: Studied) -> None:
    address = begin(client, studied.study)
    seen = []
    while item_at(address).pk not in seen:
        seen.append(item_at(address).pk)
        if "hypothesis" in text(client, address):
            client.post(f"{address}say/", {"hypothesis": "it is a word"})
        if "reveal/" in text(client, address):
            client.post(f"{address}reveal/", sent({key: SOME[key] for key in BEFORE}))
        address = client.post(f"{address}submit/", sent(SOME)).headers["Location"]
        if address == f"/score/{studied.study.pk}/":
            break
    assert sorted(seen) == sorted(item.pk for item in studied.items)
    assert "You have scored all there is for you" in text(client, address)
    assert set(Score.objects.values_list("total", flat=True)) == {7}


def test_what_is_to_be_judged_later_is_not_on_the_page_before(client: Client, ann: Annotator, studied: Studied) -> None:
    address = begin(client, studied.study)
    first = text(client, address)
    assert first.count('class="tokens"') == 5 * 2  # every second of each interval
    assert "points_" not in first
    assert 'id="raised"' not in first
    client.post(f"{address}say/", {"hypothesis": "it is <b>a</b> word"})
    second = text(client, address)
    assert second.count('class="tokens"') == 2 + 5 * 2  # those of the item's own interval, and what was seen
    assert set(re.findall(r'name="points_(\w+)"', second)) == set(BEFORE)
    assert "it is &lt;b&gt;a&lt;/b&gt; word" in second
    assert 'id="raised"' not in second
    client.post(f"{address}reveal/", sent({key: SOME[key] for key in BEFORE}))
    third = text(client, address)
    assert set(re.findall(r'name="points_(\w+)"', third)) == set(SOME)
    assert 'id="raised"' in third


def test_what_was_judged_before_the_rest_was_seen_stays(client: Client, ann: Annotator, studied: Studied) -> None:
    address = begin(client, studied.study)
    judged(client, address)
    client.post(f"{address}submit/", sent(FULL | {"logits": 2, "gap": 1}))
    assert Score.objects.get().points == SOME | {"logits": 2, "gap": 1}


def test_the_rest_is_shown_once_all_is_judged(client: Client, ann: Annotator, studied: Studied) -> None:
    address = begin(client, studied.study)
    client.post(f"{address}say/", {"hypothesis": "it is a word"})
    answer = client.post(f"{address}reveal/", sent({"confidence": 2, "activations": 7}))
    assert answer.status_code == 422
    page = answer.content.decode()
    assert "Activations: 7 is not from 0 to 5." in page
    assert "Specificity: no points are given." in page
    assert 'name="points_confidence" value="2" checked' in page
    assert 'id="raised"' not in text(client, address)


def test_at_another_interval_one_goes_on_with_what_one_knows(client: Client, ann: Annotator, studied: Studied) -> None:
    address = begin(client, studied.study)
    judged(client, address)
    following = client.post(f"{address}submit/", sent(SOME)).headers["Location"]
    assert item_at(following).subject == item_at(address).subject
    page = text(client, following)
    assert "it is a word" in page
    assert 'id="raised"' in page
    assert re.findall(r'name="points_(\w+)" value="(\d)" checked', page) == [
        ("confidence", "1"), ("specificity", "2"), ("logits", "1"), ("gap", "1"),
    ]  # fmt: skip
    client.post(f"{following}submit/", sent(FULL))
    assert list(Score.objects.order_by("pk").values_list("total", flat=True)) == [7, 14]


def test_all_is_given_at_once_as_it_was_published(client: Client, ann: Annotator, studied: Studied) -> None:
    Study.objects.update(staged=False)
    address = begin(client, studied.study)
    page = text(client, address)
    assert page.count('class="tokens"') == 4 + 5 * 4
    assert set(re.findall(r'name="points_(\w+)"', page)) == set(SOME)
    refused = client.post(f"{address}submit/", sent(SOME, hypothesis=" "))
    assert refused.status_code == 422
    assert "Say what it is, or that there is nothing that you can name." in refused.content.decode()
    assert "checked" in refused.content.decode()
    client.post(f"{address}submit/", sent(SOME, hypothesis="it is a word"))
    assert (Score.objects.get().total, Score.objects.get().hypothesis) == (7, "it is a word")


def test_one_key_says_that_there_is_nothing(client: Client, ann: Annotator, studied: Studied) -> None:
    address = begin(client, studied.study)
    following = client.post(f"{address}say/", {"none": "on", "form": str(uuid4())}).headers["Location"]
    assert (Score.objects.get().total, Score.objects.get().hypothesis) == (0, "")
    assert item_at(following).subject == item_at(address).subject
    assert "this scores 0 as well" in text(client, following)
    client.post(f"{following}submit/", sent({}))
    assert list(Score.objects.values_list("total", flat=True)) == [0, 0]


def test_pressed_by_mistake_it_can_be_taken_back(client: Client, ann: Annotator, studied: Studied) -> None:
    address = begin(client, studied.study)
    client.post(f"{address}say/", {"none": "on", "form": str(uuid4())})
    assert client.post(f"/score/{studied.study.pk}/undo/").headers["Location"] == address
    assert "Taken back." in text(client, f"/score/{studied.study.pk}/")
    assert 'name="hypothesis"' in text(client, address)


def test_what_is_taken_back_is_there_to_be_changed(client: Client, ann: Annotator, studied: Studied) -> None:
    address = begin(client, studied.study)
    judged(client, address)
    client.post(f"{address}submit/", sent(SOME, note="odd", flagged="on"))
    client.post(f"/score/{studied.study.pk}/undo/")
    page = text(client, address)
    assert dict(re.findall(r'name="points_(\w+)" value="(\d)" checked', page)) == {
        key: str(value) for key, value in SOME.items()
    }
    assert "odd</textarea>" in page
    client.post(f"{address}submit/", sent(FULL))
    assert Score.objects.get(current=True).total == 14


def test_a_draft_is_kept_and_its_total_told(client: Client, ann: Annotator, studied: Studied) -> None:
    address = begin(client, studied.study)
    item = item_at(address)
    assert client.post(f"{address}save/", sent({}, hypothesis="half a")).json() == {"seated": True, "total": None}
    assert ">half a</textarea>" in text(client, address).replace("\n", "")
    judged(client, address)
    rest = {key: points for key, points in FULL.items() if key not in BEFORE}  # what is fixed is not sent again
    assert client.post(f"{address}save/", sent(rest)).json() == {"seated": True, "total": 8}
    assert Draft.objects.get().given["fixed"] == {key: SOME[key] for key in BEFORE}
    Slot.objects.filter(item=item).update(annotator=None, lease_until=None)
    other = person("ben")
    Slot.objects.filter(item=item, seat=0).update(annotator=other)
    Slot.objects.filter(item=item, seat=1).update(annotator=person("cleo"))
    assert client.post(f"{address}save/", sent(rest)).json() == {"seated": False, "total": 8}
    following = client.post(f"{address}submit/", sent(FULL)).headers["Location"]
    assert Score.objects.get().extra
    assert "Somebody else had taken your seat meanwhile. Your score is kept as an extra one." in text(client, following)


def test_a_stale_page_of_a_study_that_was_closed(client: Client, ann: Annotator, studied: Studied) -> None:
    address = begin(client, studied.study)
    judged(client, address)
    studies.close(studied.study)
    answer = client.post(f"{address}submit/", sent(SOME))
    assert Score.objects.get().extra
    page = text(client, answer.headers["Location"])
    assert "This study was closed meanwhile. Your score is kept as an extra one." in page
    assert "This study is closed" in page


def test_sent_twice_it_is_one(client: Client, ann: Annotator, studied: Studied) -> None:
    address = begin(client, studied.study)
    judged(client, address)
    form = sent(SOME)
    once, twice = (client.post(f"{address}submit/", form).headers["Location"] for _ in range(2))
    assert once == twice
    assert Score.objects.count() == 1


def test_points_outside_a_criterion_are_refused_and_the_rest_kept(
    client: Client, ann: Annotator, studied: Studied
) -> None:
    address = begin(client, studied.study)
    judged(client, address)
    for points, says in (
        ({"logits": 4, "gap": 1}, "Logits: 4 is not from 0 to 3."),
        ({"logits": 2}, "Gap: no points are given."),
        ({"logits": "many"}, "Enter a whole number."),
    ):
        answer = client.post(f"{address}submit/", sent(SOME | {"logits": None, "gap": None}) | {
            f"points_{key}": value for key, value in points.items()
        } | {"note": "kept"})  # fmt: skip
        assert answer.status_code == 422
        assert says in answer.content.decode()
    assert Draft.objects.get().given["note"] == "kept"
    assert not Score.objects.exists()


def test_what_is_skipped(client: Client, ann: Annotator, studied: Studied) -> None:
    address = begin(client, studied.study)
    answer = client.post(f"{address}skip/", {"reason": ""})
    assert (answer.status_code, Skip.objects.count()) == (422, 0)
    following = client.post(f"{address}skip/", {"reason": "a language I cannot read"}).headers["Location"]
    assert following != address
    assert Skip.objects.get().reason == "a language I cannot read"
    assert "You skipped" not in text(client, f"/score/{studied.study.pk}/")


def test_where_all_seats_are_taken_one_is_told_to_look_again(client: Client, ann: Annotator, studied: Studied) -> None:
    home = f"/score/{studied.study.pk}/"
    Slot.objects.filter(seat=0).update(annotator=person("ben"), lease_until=Now() + timedelta(hours=1))
    assert "next/" in text(client, home)
    Slot.objects.filter(seat=1).update(annotator=person("cleo"), lease_until=Now() + timedelta(hours=1))
    assert begin(client, studied.study) == home
    page = text(client, home)
    assert "All seats are taken just now" in page
    assert "next/" not in page
    Slot.objects.filter(item=studied.items[0], seat=1).update(lease_until=Now() - timedelta(seconds=1))
    assert "next/" in text(client, home)
    slots.skip(studied.items[0], ann, "broken")
    assert "All seats are taken just now" in text(client, home)
    Slot.objects.update(filled_at=Now())
    assert "You have scored all there is for you" in text(client, home)


def test_others_items_are_not_to_be_found(client: Client, ann: Annotator, studied: Studied) -> None:
    begin(client, studied.study)
    mine = Slot.objects.get(annotator=ann).item
    for item in studied.items:
        expected = 200 if item.subject_id == mine.subject_id and item == mine else 404
        text(client, f"/score/{studied.study.pk}/{item.key}/", expected)


def test_a_study_that_is_not_open_yet_is_not_there(client: Client, ann: Annotator, studied: Studied) -> None:
    Study.objects.update(state="draft")
    text(client, f"/score/{studied.study.pk}/", 404)
    assert client.post(f"/score/{studied.study.pk}/next/").status_code == 404
    assert "a study" not in text(client, "/score/")


def with_practice(study: Study) -> Item:
    one = Evidence([[Example([0, 1], 1, [(1, 1.0)], (False, False))] * 2] * 5, [(0, 1.0)], texts=["a <b>", " cat"])
    subject = Subject.objects.create(
        study=study, number=99, kind=SubjectKind.PRACTICE, density=0.01, evidence=one.row()
    )
    known = {"points": FULL, "why": "It is *always* a cat.", "hypothesis": "“cat” after an article"}
    return Item.objects.create(subject=subject, interval=4, key="practice", known=known)


def test_practice_comes_first_and_tells_what_others_gave(client: Client, ann: Annotator, studied: Studied) -> None:
    with_practice(studied.study)
    assert "Practise first" in text(client, f"/score/{studied.study.pk}/")
    address = begin(client, studied.study)
    assert address.endswith("/practice/")
    page = text(client, address)
    assert "practice 1 of 1" in page
    assert "a &lt;b&gt;" in page
    judged(client, address)
    answer = client.post(f"{address}submit/", sent(SOME)).headers["Location"]
    assert answer == f"{address}answer/"
    told = text(client, answer)
    assert "It is <em>always</em> a cat." in told
    assert "“cat” after an article" in told
    assert "practice" not in begin(client, studied.study)
    assert Slot.objects.filter(annotator=ann).count() == 1


def test_a_known_answer_is_told_only_once_one_has_given_ones_own(
    client: Client, ann: Annotator, studied: Studied
) -> None:
    with_practice(studied.study)
    address = begin(client, studied.study)
    assert client.get(f"{address}answer/").headers["Location"] == address
    Item.objects.exclude(key="practice").update(known={"points": FULL, "why": "gold"})
    judged(client, address)
    client.post(f"{address}submit/", sent(SOME))
    gold = begin(client, studied.study)
    judged(client, gold)
    client.post(f"{gold}submit/", sent(SOME))
    assert client.get(f"{gold}answer/").headers["Location"] == gold
    assert "gold" not in text(client, gold)


def stripped(page: str, item: Item) -> str:
    """Without what differs from one showing to the next, and the item's own key."""
    page = re.sub(r'name="(csrfmiddlewaretoken|form)" value="[^"]*"', "", page)
    return page.replace(item.key, "KEY")


def test_a_control_is_shown_as_a_feature_is_to_the_last_byte(client: Client, ann: Annotator, studied: Studied) -> None:
    """With equal evidence: whatever else is known of a subject does not reach the page."""
    feature, control = (
        Item.objects.filter(subject__kind=kind, interval=4).select_related("subject__study").first()
        for kind in (SubjectKind.FEATURE, SubjectKind.NEURON)
    )
    assert feature
    assert control
    Subject.objects.filter(pk=control.subject_id).update(
        evidence=feature.subject.evidence, about={"axis": 3}, density=0.5, pair=feature.subject_id
    )
    Slot.objects.filter(item__in=[feature, control], seat=0).update(annotator=ann)
    pages: list[list[str]] = []
    for item in (feature, control):
        address, seen = f"/score/{studied.study.pk}/{item.key}/", []
        seen.append(stripped(text(client, address), item))
        client.post(f"{address}say/", {"hypothesis": "it is a word"})
        seen.append(stripped(text(client, address), item))
        client.post(f"{address}reveal/", sent({key: SOME[key] for key in BEFORE}))
        seen.append(stripped(text(client, address), item))
        answer = client.post(f"{address}save/", sent(SOME))
        seen.append(answer.content.decode() + str(sorted(answer.headers)))
        pages.append(seen)
    assert pages[0] == pages[1]


@pytest.mark.parametrize("kind", SubjectKind)
def test_no_page_says_what_it_is(client: Client, ann: Annotator, studied: Studied, kind: SubjectKind) -> None:
    Subject.objects.update(kind=kind)
    Subject.objects.filter(kind=SubjectKind.PRACTICE).update(kind=SubjectKind.SHUFFLED)
    address = begin(client, studied.study)
    judged(client, address)
    for page in (text(client, "/score/"), text(client, f"/score/{studied.study.pk}/"), text(client, address)):
        main = re.search(r"<main.*</main>", page, re.DOTALL)
        assert main
        assert not re.search(r"feature|neuron|control|direction|shuffle|latent|random", main[0], re.IGNORECASE)
        assert studied.explored.sae.name not in main[0]
        assert studied.explored.sae.slug not in page


def test_it_takes_as_many_queries_however_much_is_scored(
    client: Client, ann: Annotator, studied: Studied, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    address = begin(client, studied.study)
    judged(client, address)
    text(client, address)
    with django_assert_num_queries(10):
        text(client, address)
    for item in studied.items:
        if item != item_at(address):
            slots.say(item, ann, "something")
            slots.submit(item, ann, SOME, uuid4())
    with django_assert_num_queries(10):
        text(client, address)


NAMES = ("points_confidence", "points_gap", "points_x", "form", "note", "flagged", "hypothesis", "none", "reason")
awkward = st.one_of(
    st.text(max_size=20),
    st.integers().map(str),
    st.uuids().map(str),
    st.sampled_from(["\x00", "\ud800", "\u202eשלום", "9" * 40, "-1", "1e9", "on", "\n"]),
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(form=st.dictionaries(st.sampled_from(NAMES), awkward))
def test_nothing_that_is_sent_breaks_it(client: Client, ann: Annotator, studied: Studied, form: dict[str, str]) -> None:
    form = {name: value.encode("utf-8", "replace").decode() for name, value in form.items()}
    address = begin(client, studied.study)
    if address == f"/score/{studied.study.pk}/":  # all is scored or skipped by now
        return
    for what in ("say", "save", "reveal", "submit", "skip"):
        assert client.post(f"{address}{what}/", form).status_code in (200, 302, 422)
