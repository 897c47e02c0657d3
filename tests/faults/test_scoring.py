"""Faults 19 and 20 as the server meets them: many want few seats at once, and the same is sent twice at once."""

import http.client
import itertools
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from django.db import connection, transaction

from explorer.actions import scores, slots, studies
from explorer.actions.scores import Brought
from explorer.models import Annotator, Item, Score, Slot, Study
from explorer.models.studies import SubjectKind
from tests.conftest import cookie_of
from tests.explored import Explored, explored, read
from tests.processes import Web, until
from tests.studied import FULL, SOME, person, study_of

__all__ = ["explored", "read"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.parametrize("broker_url", ["files"], indirect=True),
]
ANNOTATORS, SEATS, PER_ITEM, ROUNDS = 50, 10, 2, 3


@pytest.fixture
def webs(transactional_db: None, tmp_path: Path, broker_url: None) -> Iterator[Sequence[Web]]:
    """Two processes, as `up` has them: what is claimed in one is not known to the other but by the database."""
    made: list[Web] = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        made.append(Web(tmp_path / name, None))
    yield made
    for web in made:
        web.close()


class Person:
    """Somebody with a browser, who has a page with a form before them."""

    def __init__(self, who: Annotator, web: Web, page: str) -> None:
        assert who.user
        self.who = who
        self._client = http.client.HTTPConnection("127.0.0.1", web.port, timeout=60)
        self._headers = cookie_of(who.user)
        answer = self._ask("GET", page)
        self.page = answer.read().decode()
        assert answer.status == 200, self.page
        self._token = self.page.split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
        self._headers["Cookie"] += f"; {answer.headers['Set-Cookie'].split(';')[0]}"

    def get(self, page: str) -> str:
        answer = self._ask("GET", page)
        assert answer.status == 200
        return answer.read().decode()

    def post(self, page: str, **form: object) -> str:
        """Where they are sent on."""
        body = urlencode({"csrfmiddlewaretoken": self._token} | form)
        answer = self._ask("POST", page, body, {"Content-Type": "application/x-www-form-urlencoded"})
        said = answer.read().decode()
        assert answer.status == 302, (answer.status, said)
        return answer.headers["Location"]

    def _ask(
        self, method: str, page: str, body: str | None = None, more: dict[str, str] | None = None
    ) -> http.client.HTTPResponse:
        self._client.request(method, page, body, self._headers | (more or {}))
        return self._client.getresponse()


def at_once(people: Sequence[Person], page: str, *forms: dict[str, object]) -> list[str]:
    """Where each is sent on, who sends a form of their own or all the same."""
    ready = threading.Barrier(len(people))

    def post(one: Person, form: dict[str, object]) -> str:
        ready.wait()
        return one.post(page, **form)

    with ThreadPoolExecutor(len(people)) as threads:
        return list(threads.map(post, people, itertools.cycle(forms)))


def opened(explored: Explored, n_items: int, per_item: int = PER_ITEM) -> Study:
    study = study_of(explored.sae, [SubjectKind.FEATURE] * n_items, per_item=per_item)
    studies.open_(study)
    return study


def before_an_item(explored: Explored, web: Web, name: str) -> tuple[Person, Item, dict[str, object]]:
    """Somebody, all of whose answers are on the page and only to be sent."""
    study = Study.objects.get()
    who = person(name)
    item = slots.claim(study, who)
    assert item
    slots.say(item, who, "it is a word")
    fixed = {key: SOME[key] for key in ("confidence", "activations", "specificity")}
    slots.save(item, who, {"points": fixed, "fixed": fixed, "revealed": True})
    form: dict[str, object] = {f"points_{key}": value for key, value in SOME.items()} | {"form": uuid4()}
    return Person(who, web, f"/score/{study.pk}/{item.key}/"), item, form


def test_fifty_annotators_want_ten_seats(webs: Sequence[Web], explored: Explored, broker_url: None) -> None:
    """Fault 19: ten of them get one each, and the others are told."""
    people = [person(f"annotator {number}") for number in range(ANNOTATORS)]
    for _ in range(ROUNDS):
        study = opened(explored, SEATS // PER_ITEM)
        home = f"/score/{study.pk}/"
        here = [Person(who, webs[number % 2], home) for number, who in enumerate(people)]
        assert all("All seats are taken" not in each.page for each in here)
        went = at_once(here, f"{home}next/", {})

        taken = dict(Slot.objects.filter(study=study, annotator__isnull=False).values_list("annotator", "item__key"))
        assert Slot.objects.filter(study=study, annotator__isnull=False).count() == len(taken) == SEATS
        assert went == [f"{home}{taken[who.pk]}/" if who.pk in taken else home for who in people]
        told = [each for each, there in zip(here, went, strict=True) if there == home]
        assert len(told) == ANNOTATORS - SEATS
        for each in told:
            assert "All seats are taken just now" in each.get(home)
        for each, there in zip(here, went, strict=True):
            if there != home:
                assert "What fires here?" in each.get(there)


def test_the_same_form_is_sent_twice_at_once(webs: Sequence[Web], explored: Explored, broker_url: None) -> None:
    """Fault 20: it is one score, and both windows come to the same item."""
    study = opened(explored, 3 * ROUNDS)
    for number in range(ROUNDS):
        first, item, form = before_an_item(explored, webs[0], f"annotator {number}")
        second = Person(first.who, webs[1], f"/score/{study.pk}/{item.key}/")
        went = at_once([first, second], f"/score/{study.pk}/{item.key}/submit/", form)
        assert went[0] == went[1] != f"/score/{study.pk}/"
        score = Score.objects.get(annotator=first.who)
        assert (score.points, score.extra, score.current) == (SOME, False, True)
        assert Slot.objects.filter(annotator=first.who, filled_at__isnull=False).count() == 1
        assert Slot.objects.filter(annotator=first.who, filled_at=None).count() == 1


def test_two_windows_send_different_things_at_once(webs: Sequence[Web], explored: Explored, broker_url: None) -> None:
    """Both are kept, one after the other, and the later one counts."""
    study = opened(explored, 3)
    first, item, form = before_an_item(explored, webs[0], "ann")
    second = Person(first.who, webs[1], f"/score/{study.pk}/{item.key}/")
    other = form | {"points_logits": 3, "points_gap": "", "form": uuid4()}
    at_once([first, second], f"/score/{study.pk}/{item.key}/submit/", form, other)
    given = list(Score.objects.filter(item=item).order_by("pk"))
    assert {each.form for each in given} == {form["form"], other["form"]}
    assert [(each.current, each.extra) for each in given] == [(False, False), (True, False)]
    assert Slot.objects.filter(item=item, annotator=first.who).count() == 1


@pytest.mark.parametrize("closing", [True, False], ids=["closed", "brought into"])
def test_scores_are_sent_while_somebody_holds_the_study(
    webs: Sequence[Web], explored: Explored, broker_url: None, closing: bool
) -> None:
    """Each waits for the other in one order: nobody is turned away, and everything is kept."""
    study = opened(explored, 10)
    here = [before_an_item(explored, webs[number % 2], f"annotator {number}") for number in range(4)]
    with ThreadPoolExecutor(len(here)) as threads:
        with transaction.atomic():
            Study.objects.select_for_update(no_key=True).get(pk=study.pk)
            sent = [
                threads.submit(each.post, f"/score/{study.pk}/{item.key}/submit/", **form) for each, item, form in here
            ]
            until(lambda: waiting() == len(here))
            if closing:
                studies.close(study)
            else:
                admin = person("admin").user
                assert admin
                brought = [line(item, each.who) for each, item, _ in here]
                assert scores.bring(study, brought, by=admin, address="127.0.0.1") == len(here)
        for answer in sent:
            answer.result()
    for each, item, form in here:
        score = Score.objects.get(item=item, annotator=each.who, form=str(form["form"]))
        assert (score.current, score.extra) == (True, closing)
    assert Slot.objects.filter(filled_at__isnull=False).count() == (0 if closing else len(here))


def waiting() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        found: int = cursor.fetchone()[0]
    return found


def line(item: Item, who: Annotator) -> Brought:
    return Brought(
        line=1, item=item.pk, annotator=who.name, is_model=False, points=FULL, hypothesis="it is a word", note="",
        flagged=False, seconds=None,
    )  # fmt: skip
