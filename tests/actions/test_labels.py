"""Labels are added, never changed: the newest is what a feature is called."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.contrib.auth.models import User
from django.db import connection

from explorer.actions import labels
from explorer.models import AuditEntry, Label, LanguageModel, Sae
from explorer.queries import browsing

pytestmark = pytest.mark.django_db


@pytest.fixture
def sae(db: None) -> Sae:
    lm = LanguageModel.objects.create(
        slug="lm", name="lm", source="lm", fingerprint="f", kind="gpt2", n_layers=1, d_model=4, n_vocab=8
    )
    return Sae.objects.create(
        slug="sae", name="sae", lm=lm, hookpoint="blocks.0.hook_resid_post", family="relu", d_in=4, d_out=4,
        n_latents=8, config={}, fingerprint="f",
    )  # fmt: skip


def test_the_newest_counts_and_the_others_stay(sae: Sae, viewer: User, admin: User) -> None:
    for text, by in (("negation", viewer), ("negation, in French", admin), ("", viewer)):
        labels.give(sae, 3, text, by=by)
    labels.give(sae, 5, "years", by=viewer)
    history = Label.objects.filter(sae=sae, index=3).order_by("pk").values_list("text", "author__username")
    assert list(history) == [("negation", "viewer"), ("negation, in French", "admin"), ("", "viewer")]
    assert browsing.labels_of(sae, [3, 4, 5]) == {3: "", 5: "years"}


def test_the_same_again_is_no_news(sae: Sae, viewer: User, admin: User) -> None:
    assert labels.give(sae, 3, "", by=viewer) is None
    first = labels.give(sae, 3, "negation", by=viewer)
    assert labels.give(sae, 3, "negation", by=admin) == first
    assert Label.objects.count() == 1


def test_of_many_those_that_are_news_are_given(sae: Sae, viewer: User, admin: User) -> None:
    labels.give(sae, 3, "negation", by=viewer)
    labels.give(sae, 4, "years", by=viewer)
    assert labels.give_many(sae, {3: "negation", 4: "", 5: "rivers", 6: ""}, by=admin, address="127.0.0.1") == 2
    assert browsing.labels_of(sae, [3, 4, 5, 6]) == {3: "negation", 4: "", 5: "rivers"}
    given = Label.objects.order_by("pk").values_list("index", "text", "author__username", "current")
    assert list(given) == [
        (3, "negation", "viewer", True), (4, "years", "viewer", False), (4, "", "admin", True),
        (5, "rivers", "admin", True),
    ]  # fmt: skip
    noted = AuditEntry.objects.get()
    assert (noted.action, noted.details) == ("labels imported", {"slug": "sae", "labels": 4, "news": 2})


def test_what_a_person_said_is_not_said_again(sae: Sae, viewer: User) -> None:
    """Neither what they named otherwise nor what they wanted to have no name."""
    labels.give(sae, 3, "mine", by=viewer)
    labels.give(sae, 4, "a mistake", by=viewer)
    labels.give(sae, 4, "", by=viewer)
    for _ in range(2):
        labels.give_first(sae, {3: "theirs", 4: "theirs", 5: "theirs"})
    assert browsing.labels_of(sae, [3, 4, 5]) == {3: "mine", 4: "", 5: "theirs"}
    assert Label.objects.count() == 4


@pytest.mark.django_db(transaction=True)
def test_people_who_name_it_at_once_lose_nothing(sae: Sae) -> None:
    """All that they said is kept, and one of it counts."""
    n, rounds = 4, 5
    start = Barrier(n)

    def name(person: int) -> None:
        try:
            start.wait(20)
            for each in range(rounds):
                labels.give(sae, 3, f"{person} {each}", by=None)
        finally:
            connection.close()

    with ThreadPoolExecutor(n) as threads:
        list(threads.map(name, range(n)))
    texts = list(Label.objects.order_by("pk").values_list("text", flat=True))
    assert sorted(texts) == sorted(f"{person} {each}" for person in range(n) for each in range(rounds))
    assert Label.objects.get(current=True).text == texts[-1]
