"""The playground, a feature's own box, and what was written: asked for, shown, and never somebody else's to change."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils.html import escape
from pytest_django import Settings

from explorer import steered
from explorer.actions import collections, jobs
from explorer.forms.steering import SETS
from explorer.models import Account, Job, Steering
from explorer.models.access import Role
from explorer.models.jobs import JobState
from explorer.steering import Asked
from explorer.vocabulary import of as words_of
from tests.explored import SILENT, Explored
from tests.views.steering import asked, form, post

pytestmark = pytest.mark.django_db


def written(explored: Explored, **changes: Any) -> dict[str, Any]:
    """What a worker keeps, of two texts."""
    key = f"{explored.sae.slug}:5"
    one = {
        "times": 0, "seed": 3, "control": None, "ids": [5, 9, 17], "p": [0.5, 0.25, 0.125], "losses": [1.0, 1.0, 1.0],
        "alternatives": [[[5, 0.5], [6, 0.25]]] * 3, "perplexity": 2.5, "repetition": 0.0, "ended": True,
        "activations": {key: [0.0, 0.0, 0.5, 0.0, 2.0]},
    }  # fmt: skip
    other = one | {"times": 1, "ids": [9] * 12, "p": [0.9] * 12, "alternatives": [[[9, 0.9]]] * 12, "repetition": 8 / 9}
    other |= {"perplexity": 50.0, "activations": {key: [0.0, 0.0, *[4.0] * 12]}}
    return {"prompt": [0, 8], "first": 1, "texts": [one, other | changes]}


def done(client: Client, explored: Explored, **changes: Any) -> str:
    address: str = post(client, explored, {"index": "5"}).headers["Location"]
    Steering.objects.update(result=written(explored, **changes))
    Job.objects.update(state=JobState.DONE)
    return address


def test_it_is_asked_for_and_has_an_address(looking: Client, viewer: User, explored: Explored) -> None:
    halved = {"index": "8", "method": "scale", "strength": "0.5"}
    answer = post(looking, explored, {"index": "5"}, halved, texts="sweep")
    row = Steering.objects.get()
    assert answer.headers["Location"] == f"/steer/{row.key}/"
    assert (row.created_by, row.who) == (viewer, f"person {viewer.pk}")
    assert row.job
    assert row.job.watched_until is not None
    what = asked()
    assert what.prompt == "Once upon\na time"
    assert [(each.index, each.method, each.strength) for each in what.changes] == [(5, "add", 2.0), (8, "scale", 0.5)]
    assert [(text.times, text.seed, text.control) for text in what.texts] == [
        (0, 3, None), (0.5, 3, None), (1, 3, None), (2, 3, None), (-1, 3, None), (1, 3, 1),
    ]  # fmt: skip
    assert (what.new_tokens, what.sampling.temperature) == (12, 0.7)
    page = looking.get(answer.headers["Location"]).content.decode()
    assert f'data-job="{row.job.pk}" data-state="queued" data-live data-watched' in page
    titles = ["As it is", "0.5 × as strongly", "Steered", "2 × as strongly", "−1 × as strongly", "A random direction"]
    assert re.findall(r"<h2[^>]*>(.*)</h2>", page)[: len(titles)] == titles
    assert "2 × its 99th percentile is added" in page
    assert "multiplied by 0.5" in page


def test_from_a_features_page(looking: Client, explored: Explored) -> None:
    page = looking.get(f"{explored.page}features/5/").content.decode()
    there = f"{explored.page}features/5/steer/"
    assert f'action="{there}"' in page
    assert f'href="/steer/?feature={explored.sae.slug}/5"' in page
    for number, name in enumerate(SETS):
        assert (f'name="texts" value="{name}"' in page) == (name != "seeds")
        answer = looking.post(there, {"prompt": "A text", "texts": name})
        row = Steering.objects.order_by("-pk").first()
        assert row
        assert answer.headers["Location"] == f"/steer/{row.key}/"
        assert len(row.asked["texts"]) == len(SETS[name][1])
        assert Steering.objects.count() == number + 1
        Job.objects.update(state=JobState.DONE)
    silent = looking.get(f"{explored.page}features/{SILENT}/").content.decode()
    assert "nothing to measure a strength by" in silent
    for prompt, says in (("", "This field is required"), ("x" * 4_001, "this has 4,001")):
        wrong = looking.post(there, {"prompt": prompt, "texts": "pair"})
        assert wrong.status_code == 422
        assert says in wrong.content.decode()
    assert looking.post(f"{explored.page}features/{SILENT}/steer/", {"prompt": "a", "texts": "pair"}).status_code == 422


def test_the_playground_begins_with_what_one_names(looking: Client, explored: Explored) -> None:
    slug = explored.sae.slug
    page = looking.get(f"/steer/?feature={slug}/5&feature={slug}/8&feature=none/1&feature={slug}/x").content.decode()
    assert re.findall(r'name="changes-(\d)-index" value="(\d+)"', page) == [("0", "5"), ("1", "8")]
    assert 'name="changes-2-index"' in page
    empty = looking.get("/steer/").content.decode()
    assert re.findall(r'name="changes-\d-index" value="(\d+)"', empty) == []
    for odd in ("", "/", f"{slug}/99999999999", f"{slug}/37", f"{slug}/{SILENT}", "\x00/1"):
        assert looking.get("/steer/", {"feature": odd}).status_code == 200
    assert looking.get("/steer/?from=none-such").status_code == 404


def test_something_is_changed_of_what_was_asked(looking: Client, explored: Explored) -> None:
    address = done(looking, explored)
    key = address.split("/")[2]
    assert f'href="/steer/?from={key}"' in looking.get(address).content.decode()
    page = looking.get(f"/steer/?from={key}").content.decode()
    assert "Once upon\na time</textarea>" in page
    assert 'name="changes-0-index" value="5"' in page
    assert 'value="pair" id="id_texts_0" required checked' in page or re.search(r'value="pair"[^>]*checked', page)
    assert re.search(r'name="seed" value="3"', page)


def test_it_is_run_again(looking: Client, explored: Explored) -> None:
    address = done(looking, explored)
    again = looking.post(f"{address}again/")
    first, second = Steering.objects.order_by("pk")
    assert again.headers["Location"] == f"/steer/{second.key}/" != address
    assert (first.asked, second.result) == (second.asked, None)
    assert first.result is not None


WRONG: list[tuple[str, list[dict[str, Any]], dict[str, Any]]] = [
    ("This field is required.", [{"index": "5"}], {"prompt": ""}),
    ("Write something that the lm can go on from.", [{"index": "5"}], {"prompt": " \n "}),
    ("At most 4,000 characters; this has 4,001.", [{"index": "5"}], {"prompt": "x" * 4_001}),
    ("has features 0 to 36.", [{"index": "37"}], {}),
    ("Enter a whole number.", [{"index": "five"}], {}),
    ("The strength lies between -50 and 50.", [{"index": "5", "strength": "51"}], {}),
    ("Enter a number.", [{"index": "5", "strength": "nan"}], {}),
    ("has no 99th percentile. Give a raw strength.", [{"index": str(SILENT)}], {}),
    ("say what becomes of the same feature", [{"index": "5"}, {"index": "5", "method": "clamp"}], {}),
    ("Name a feature to change.", [], {}),
    ("From 1 to 64 new tokens.", [{"index": "5"}], {"new_tokens": "65"}),
    ("At most 4,000 characters; this has 4,001.", [{"index": "5"}], {"instruction": "x" * 4_001}),
    ("Select a valid choice", [{"index": "5"}], {"texts": "hundreds"}),
    ("Select a valid choice", [{"index": "5", "sae": "none"}], {}),
    ("less than or equal to 10", [{"index": "5"}], {"temperature": "11"}),
]


@pytest.mark.parametrize(("says", "rows", "changes"), WRONG, ids=[str(number) for number in range(len(WRONG))])
def test_what_is_wrong_is_said_at_its_field(
    looking: Client, explored: Explored, says: str, rows: list[dict[str, Any]], changes: dict[str, Any]
) -> None:
    answer = post(looking, explored, *rows, **changes)
    page = answer.content.decode()
    assert answer.status_code == 422
    assert says in page
    assert page.count("errorlist") == 1 or 'class="error"' in page
    assert not Steering.objects.exists()
    assert not Job.objects.exists()


def test_texts_are_as_bright_as_a_feature_fires(looking: Client, explored: Explored) -> None:
    page = looking.get(done(looking, explored)).content.decode()
    assert page.count('data-peak="4"') == 2, "equally bright for equal activations, over both texts"
    assert page.count('data-first="2"') == 2
    assert "12 tokens, perplexity 50 by the model as it is" in page
    assert "It repeats itself: 88.9\u00a0% of its stretches" in page
    assert "its perplexity is 20 times that of the text as it is" in page
    assert page.count('class="warning"') == 2
    assert 'id="alternatives"' in page
    assert "data-text" not in page


def test_a_text_that_ended_at_once(looking: Client, explored: Explored) -> None:
    ended: dict[str, Any] = {
        "ids": [],
        "p": [],
        "losses": [],
        "alternatives": [],
        "perplexity": None,
        "repetition": 0.0,
    }
    ended["activations"] = {f"{explored.sae.slug}:5": [0.0, 0.0]}
    assert "It ended at once." in looking.get(done(looking, explored, **ended)).content.decode()


def test_alternatives_have_names(looking: Client, explored: Explored) -> None:
    done(looking, explored)
    words = words_of(explored.sae.lm)
    found = steered.alternatives(Steering.objects.get().result, words)
    assert found[0][1] == [0.25, [[words.text([5])[0], 0.5], [words.text([6])[0], 0.25]]]
    assert steered.alternatives(None, words) == []


def test_somebody_elses_can_be_seen_and_not_cancelled(looking: Client, explored: Explored, admin: User) -> None:
    address = post(looking, explored, {"index": "5"}).headers["Location"]
    cancel = f'action="{address}cancel/"'
    assert cancel in looking.get(address).content.decode()
    other = Client()
    other.force_login(User.objects.create_user("other"))
    page = other.get(address).content.decode()
    assert cancel not in page
    assert "Once upon" in page
    assert other.post(f"{address}cancel/").status_code == 403
    assert Job.objects.get().state == JobState.QUEUED
    for _ in range(2):  # once more is no harm
        assert looking.post(f"{address}cancel/").headers["Location"] == address
        assert Job.objects.get().state == JobState.CANCELLED
    assert "It was cancelled. Run it again to have it whole." in looking.get(address).content.decode()


def test_visitors_steer_where_reading_is_open(client: Client, explored: Explored, settings: Settings) -> None:
    assert post(client, explored, {"index": "5"}).headers["Location"].startswith("/sign-in/")
    settings.OPEN_READING = True
    assert client.get("/steer/").status_code == 200
    address = post(client, explored, {"index": "5"}).headers["Location"]
    row = Steering.objects.get()
    assert (row.created_by, row.who) == (None, "address 127.0.0.1")
    page = client.get(address).content.decode()
    assert f'action="{address}cancel/"' in page
    assert Client(REMOTE_ADDR="192.0.2.7").post(f"{address}cancel/").status_code == 403
    over = post(client, explored, {"index": "5"})
    assert (over.status_code, over.headers["Retry-After"]) == (429, "2")
    assert Steering.objects.count() == 1
    assert client.post(f"{address}cancel/").headers["Location"] == address
    assert Job.objects.get().state == JobState.CANCELLED


def test_what_anybody_writes_stays_text(looking: Client, explored: Explored) -> None:
    script = "<script>alert(1)</script>"
    address = post(looking, explored, {"index": "5"}, prompt=f"{script}\u202e").headers["Location"]
    page = looking.get(address).content.decode()
    assert script not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_once_the_sae_is_gone_what_was_written_is_still_there(looking: Client, explored: Explored) -> None:
    address = done(looking, explored)
    was = looking.get(address).content.decode().count('class="tokens"')
    collections.remove_sae(explored.sae.pk)
    page = looking.get(address).content.decode()
    assert page.count('class="tokens"') == was == 2
    assert "Once upon" in page


@pytest.mark.django_db(transaction=True)  # a stream gives the connection back
def test_visitors_follow_steerings_and_no_other_jobs(client: Client, explored: Explored, settings: Settings) -> None:
    settings.OPEN_READING = True
    post(client, explored, {"index": "5"})
    ours, other = Job.objects.get().pk, jobs.start("diagnose").pk
    Job.objects.update(state=JobState.DONE)  # so that a stream has an end
    assert client.get(f"/events/?job={ours}").status_code == 200
    for query in (f"job={other}", f"job={ours}&job={other}", f"job={10**9}"):
        assert client.get(f"/events/?{query}").status_code == 401
    settings.OPEN_READING = False
    assert client.get(f"/events/?job={ours}").status_code == 401


def test_an_empty_library_says_what_is_missing(looking: Client) -> None:
    assert "There is nothing to steer with yet" in looking.get("/steer/").content.decode()


def body(answer: Any) -> str:
    """Without what differs each time."""
    return re.sub(r'name="csrfmiddlewaretoken" value="\w+"', "", answer.content.decode().partition("<main")[2])


def test_a_script_is_answered_at_once_with_the_page_and_its_address(looking: Client, explored: Explored) -> None:
    answer = looking.post("/steer/", form(explored, {"index": "5"}), headers={"HX-Request": "true"})
    row = Steering.objects.get()
    assert (answer.status_code, answer.headers["Content-Location"]) == (200, f"/steer/{row.key}/")
    assert body(answer) == body(looking.get(f"/steer/{row.key}/"))


def test_one_that_waits_says_how_many_come_before_it(looking: Client, explored: Explored) -> None:
    address = post(looking, explored, {"index": "5"}).headers["Location"]
    assert looking.get(f"{address}place/").content == b"It is the next"
    job = Job.objects.get()
    others = [Job(kind="read_text", queue=queue, pk=job.pk - 1 - n) for n, queue in enumerate(["interactive", "batch"])]
    Job.objects.bulk_create(others)
    assert looking.get(f"{address}place/").content == b"1 before it"
    assert f'data-place="{address}place/" role="status">1 before it</span>' in looking.get(address).content.decode()
    Job.objects.filter(pk=job.pk).update(state=JobState.DONE)
    assert looking.get(f"{address}place/").content == b""


def test_researchers_give_titles_and_pages_show_those_that_have_one(
    client: Client, looking: Client, explored: Explored
) -> None:
    address = done(looking, explored)
    assert looking.post(f"{address}title/", {"title": "mine"}).status_code == 403
    researcher = User.objects.create_user("researcher")
    Account.objects.create(user=researcher, role=Role.RESEARCHER)
    client.force_login(researcher)
    feature = f"{explored.page}features/5/"
    before = client.get(feature)["ETag"]
    client.post(f"{address}title/", {"title": "What <five> does"})
    link = f'<a href="{address}">What &lt;five&gt; does</a>'
    after = client.get(feature, headers={"If-None-Match": before})
    assert link in after.content.decode()
    assert link in client.get("/steer/").content.decode()
    assert link not in client.get(f"{explored.page}features/8/").content.decode()
    client.post(f"{address}title/", {"title": ""})
    assert link not in client.get(feature).content.decode()


def test_it_is_copied_as_text(looking: Client, explored: Explored) -> None:
    page = looking.get(done(looking, explored)).content.decode()
    text = page.partition('<pre id="steer-text" hidden>')[2].partition("</pre>")[0]
    words = words_of(explored.sae.lm)
    assert f"## As it is\n{escape(''.join(words.text([5, 9, 17])))}\n" in text
    assert f"Feature 5 of {explored.sae.slug}: 2 × its 99th percentile is added" in text
    assert "temperature 0.7, top_p 1, top_k 0, repetition_penalty 1" in text


def test_or_it_is_just_prompted(looking: Client, explored: Explored) -> None:
    address = post(looking, explored, {"index": "5"}, instruction="Write <b>\r\nso").headers["Location"]
    what = asked()
    assert what.instruction == "Write <b>\nso"
    assert [(text.times, text.seed, text.prompted) for text in what.texts] == [
        (0, 3, False),
        (1, 3, False),
        (0, 3, True),
    ]
    page = looking.get(address).content.decode()
    assert re.findall(r"<h2[^>]*>(.*)</h2>", page)[:3] == ["As it is", "Steered", "Just prompted"]
    assert "Write &lt;b&gt;" in page
    begun = looking.get(f"/steer/?from={Steering.objects.get().key}").content.decode()
    assert "Write &lt;b&gt;" in begun
    assert re.search(r'value="pair"[^>]* checked', begun)
    Job.objects.update(state=JobState.DONE)
    post(looking, explored, {"index": "5"}, instruction="  ")
    newest = Asked.from_json(Steering.objects.order_by("-pk")[0].asked)
    assert (newest.instruction, len(newest.texts)) == ("", 2)
