"""Lists: made, filled from features' pages, shared or not, changed by whose they are, taken along as files."""

import csv
import io
import json
import re
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries, Settings

from explorer.actions import labels, lists
from explorer.actions.removing import remove_sae
from explorer.models import Activity, AuditEntry, FeatureList, ListEntry
from tests.explored import SILENT, Explored

pytestmark = pytest.mark.django_db
SCRIPT = "<script>alert(1)</script>"
PART = {"HX-Request": "true"}


@pytest.fixture
def other(db: None) -> User:
    return User.objects.create_user("other")


def kept(client: Client, explored: Explored, index: int = 5, **sent: object) -> str:
    answer = client.post(f"{explored.page}features/{index}/keep/", sent, headers=PART)
    assert answer.status_code == 200
    return answer.content.decode()


def shown(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_first_that_is_kept_makes_bookmarks(looking: Client, viewer: User, explored: Explored) -> None:
    page = shown(looking, f"{explored.page}features/5/")
    assert 'data-key="l" data-key-label="Keep it in Bookmarks"' in page
    answer = looking.post(f"{explored.page}features/5/keep/", {"list": "", "kept": "yes"})
    assert answer.headers["Location"] == f"{explored.page}features/5/"
    bookmarks = FeatureList.objects.get()
    assert (bookmarks.name, bookmarks.owner, bookmarks.shared) == ("Bookmarks", viewer, False)
    entry = ListEntry.objects.get()
    assert (entry.list, entry.sae, entry.index, entry.added_by) == (bookmarks, explored.sae, 5, viewer)
    page = shown(looking, f"{explored.page}features/5/")
    assert 'data-key="l" data-key-label="Take it out of Bookmarks"' in page
    assert f'href="/lists/{bookmarks.pk}/"' in page
    assert 'name="kept" value="no"' in page
    assert "Kept in" not in shown(looking, f"{explored.page}features/6/")


def test_a_part_says_what_was_done(looking: Client, explored: Explored) -> None:
    part = kept(looking, explored, list="", kept="yes")
    assert "Kept in Bookmarks." in part
    assert "<html" not in part
    bookmarks = FeatureList.objects.get()
    assert "No longer in Bookmarks." in kept(looking, explored, list=bookmarks.pk, kept="no")
    assert not ListEntry.objects.exists()


def test_a_page_that_a_browser_has_kept_is_never_stale(looking: Client, viewer: User, explored: Explored) -> None:
    address = f"{explored.page}features/5/"
    looking.get(address)  # sets the cookie that forms on the page go with

    def changed(tag: str) -> str:
        assert looking.get(address, headers={"If-None-Match": tag}).status_code == 200
        return looking.get(address).headers["ETag"]

    tag = looking.get(address).headers["ETag"]
    assert looking.get(address, headers={"If-None-Match": tag}).status_code == 304
    kept(looking, explored)
    tag = changed(tag)
    found = FeatureList.objects.get()
    lists.keep(found, explored.sae, 5, by=viewer, text="a note")
    tag = changed(tag)
    kept(looking, explored, index=6, new="another")  # which is where the next one goes
    tag = changed(tag)
    another = FeatureList.objects.get(name="another")
    lists.change(another, "renamed", "", shared=False)
    tag = changed(tag)
    lists.remove(another, by=viewer, address="127.0.0.1")
    tag = changed(tag)
    lists.drop(found, explored.sae, 5)
    tag = changed(tag)
    assert looking.get(address, headers={"If-None-Match": tag}).status_code == 304


def test_the_list_used_last_is_the_next_ones(looking: Client, viewer: User, explored: Explored) -> None:
    kept(looking, explored)
    kept(looking, explored, new="Punctuation")
    assert "Keep it in Punctuation" in shown(looking, f"{explored.page}features/6/")
    assert "Keep it in Punctuation" not in Client().get(f"{explored.page}features/6/").content.decode()
    lists.remove(FeatureList.objects.get(name="Punctuation"), by=viewer, address="")
    assert "Keep it in Bookmarks" in shown(looking, f"{explored.page}features/6/")


def test_lists_are_shown_to_choose_from(looking: Client, viewer: User, explored: Explored) -> None:
    made = lists.make("Mine", shared=True, by=viewer)
    page = shown(looking, f"{explored.page}features/5/keep/")
    assert "<h1>Keep feature 5</h1>" in page
    assert f'<option value="{made.pk}">Mine</option>' in page
    assert '<option value="" selected>Bookmarks</option>' in page
    part = looking.get(f"{explored.page}features/5/keep/?choose=on", headers=PART).content.decode()
    assert "<html" not in part
    assert "Mine" in part
    assert "Mine" not in looking.get(f"{explored.page}features/5/keep/", headers=PART).content.decode()


def test_a_note_stays_until_another_is_given(looking: Client, explored: Explored) -> None:
    kept(looking, explored, note="  first\tof\nall ")
    kept(looking, explored)
    assert ListEntry.objects.get().note == "first of all"
    assert "first of all" in shown(looking, f"{explored.page}features/5/")
    kept(looking, explored, note="")
    assert ListEntry.objects.get().note == ""


@pytest.mark.parametrize(
    "sent",
    [{"list": "x"}, {"list": "999999"}, {"list": "9" * 40}, {"kept": "perhaps"}, {"new": "x" * 201},
     {"note": "x" * 1001}, {"note": "a\x00b"}],
)  # fmt: skip
def test_what_cannot_be_kept_is_said(looking: Client, explored: Explored, sent: dict[str, str]) -> None:
    for headers in ({}, PART):
        answer = looking.post(f"{explored.page}features/5/keep/", sent, headers=headers)
        assert answer.status_code == 422
        assert 'role="alert"' in answer.content.decode()
    assert not ListEntry.objects.exists()


def test_no_feature_no_entry(looking: Client, explored: Explored) -> None:
    for index in (37, 10**17):
        assert looking.post(f"{explored.page}features/{index}/keep/").status_code == 404


def test_nobody_adds_to_anothers_list(looking: Client, other: User, explored: Explored) -> None:
    theirs = lists.make("Theirs", shared=True, by=other)
    assert looking.post(f"{explored.page}features/5/keep/", {"list": theirs.pk}).status_code == 422
    assert not ListEntry.objects.exists()


def test_visitors_keep_nothing(client: Client, explored: Explored, settings: Settings) -> None:
    settings.OPEN_READING = True
    page = shown(client, f"{explored.page}features/5/")
    assert 'data-key="l"' not in page
    assert "Yours" not in shown(client, "/lists/")


def test_ones_own_stand_first_and_others_only_where_shared(
    looking: Client, viewer: User, other: User, explored: Explored
) -> None:
    for name, shared, by in (("A", True, viewer), ("Theirs", True, other), ("Secret", False, other)):
        lists.make(name, shared=shared, by=by)
    kept(looking, explored)
    page = shown(looking, "/lists/")
    assert re.findall(r'<a href="/lists/\d+/" dir="auto">(.*?)</a>', page) == ["Bookmarks", "A", "Theirs"]
    secret = FeatureList.objects.get(name="Secret")
    for rest in ("/", ".csv", ".jsonl"):
        assert looking.get(f"/lists/{secret.pk}{rest}").status_code == 404
    for rest in ("change", "remove", "entries/1/note", "entries/1/remove"):
        assert looking.post(f"/lists/{secret.pk}/{rest}/").status_code == 404
    theirs = FeatureList.objects.get(name="Theirs")
    for rest in ("change", "remove", "entries/1/note", "entries/1/remove"):
        assert looking.post(f"/lists/{theirs.pk}/{rest}/", {"name": "mine"}).status_code == 403
    assert "Remove this list" not in shown(looking, f"/lists/{theirs.pk}/")


def test_shared_lists_are_paged(looking: Client, other: User, monkeypatch: pytest.MonkeyPatch) -> None:
    for each in range(51):
        lists.make(f"list {each}", shared=True, by=other)
    page = shown(looking, "/lists/")
    assert page.count('<td class="long"><a href="/lists/') == 50
    below = re.findall(r"\?below=(\d+)", page)[0]
    assert "list 0" in shown(looking, f"/lists/?below={below}")
    assert "below: " in shown(looking, "/lists/?below=x")


def test_a_list_shows_what_is_known_of_its_features(looking: Client, viewer: User, explored: Explored) -> None:
    found = lists.make(f"Look {SCRIPT}", f"Why\n\n{SCRIPT}", shared=True, by=viewer)
    lists.keep(found, explored.sae, 5, by=viewer, text=SCRIPT)
    lists.keep(found, explored.sae, SILENT, by=viewer)
    labels.give(explored.sae, 5, SCRIPT, by=viewer)
    page = shown(looking, f"/lists/{found.pk}/")
    assert SCRIPT not in page
    assert page.count("&lt;script&gt;") >= 4
    assert f'href="{explored.page}features/5/?list={found.pk}"' in page
    assert f'href="{explored.page}features/?list={found.pk}"' in page
    assert "never fired" in page
    assert "Next" not in page
    assert "after: " in shown(looking, f"/lists/{found.pk}/?after=%00")


def test_it_is_changed_by_whose_it_is(looking: Client, viewer: User, explored: Explored) -> None:
    found = lists.make("Mine", shared=True, by=viewer)
    answer = looking.post(f"/lists/{found.pk}/change/", {"name": " New  name ", "notes": "why"})
    assert answer.headers["Location"] == f"/lists/{found.pk}/"
    found.refresh_from_db()
    assert (found.name, found.notes, found.shared) == ("New name", "why", False)
    entry = lists.keep(found, explored.sae, 5, by=viewer)
    address = f"/lists/{found.pk}/entries/{entry.pk}"
    assert looking.post(f"{address}/note/?after=3", {"note": "n"}).headers["Location"] == f"/lists/{found.pk}/?after=3"
    assert ListEntry.objects.get().note == "n"
    looking.post(f"{address}/note/", {"note": "x" * 1001})
    assert "The note on feature 5: Ensure" in shown(looking, f"/lists/{found.pk}/")
    looking.post(f"{address}/remove/")
    assert not ListEntry.objects.exists()
    assert looking.post(f"{address}/remove/").status_code == 404
    assert looking.post(f"/lists/{found.pk}/remove/").headers["Location"] == "/lists/"
    assert not FeatureList.objects.exists()
    assert not AuditEntry.objects.filter(action="list removed").exists()


@pytest.mark.parametrize(
    ("sent", "told"), [({}, "required"), ({"name": "x" * 201}, "200"), ({"name": "a\x00"}, "Null")]
)
def test_a_name_that_is_none_is_refused(looking: Client, viewer: User, sent: dict[str, str], told: str) -> None:
    found = lists.make("Mine", shared=True, by=viewer)
    for address in ("/lists/make/", f"/lists/{found.pk}/change/"):
        answer = looking.post(address, sent)
        assert answer.status_code == 422
        assert told in answer.content.decode()
    assert FeatureList.objects.get().name == "Mine"


def test_a_list_is_made(looking: Client, viewer: User, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = looking.post("/lists/make/", {"name": "Mine", "shared": "on"})
    found = FeatureList.objects.get()
    assert answer.headers["Location"] == f"/lists/{found.pk}/"
    assert (found.name, found.owner, found.shared, found.bookmarks) == ("Mine", viewer, True, False)
    monkeypatch.setattr(lists, "MOST_LISTS", 1)
    assert "You have 1 lists" in looking.post("/lists/make/", {"name": "More"}).content.decode()


def test_bookmarks_keep_their_name_and_stay(looking: Client, viewer: User) -> None:
    bookmarks = lists.bookmarks(viewer)
    page = shown(looking, f"/lists/{bookmarks.pk}/")
    assert 'name="name"' not in page
    assert "Remove this list" not in page
    looking.post(f"/lists/{bookmarks.pk}/change/", {"name": "x", "shared": "on"})
    bookmarks.refresh_from_db()
    assert (bookmarks.name, bookmarks.shared) == ("Bookmarks", True)
    assert looking.post(f"/lists/{bookmarks.pk}/remove/").status_code == 403


def test_administrators_may_remove_what_others_share(client: Client, admin: User, other: User) -> None:
    theirs = lists.make("Theirs", shared=True, by=other)
    client.force_login(admin)
    assert "Remove this list" in shown(client, f"/lists/{theirs.pk}/")
    assert client.post(f"/lists/{theirs.pk}/remove/").status_code == 302
    noted = AuditEntry.objects.get(action="list removed")
    assert (noted.subject, noted.actor, noted.details) == ("Theirs", "admin", {"owner": "other", "entries": 0})


@pytest.mark.django_db(transaction=True)
def test_as_files_it_is_all_there(looking: Client, viewer: User, explored: Explored) -> None:
    found = lists.make("Mine!", shared=False, by=viewer)
    for index, note in ((5, "=1+1"), (SILENT, 'ü, "x"\u2028')):
        lists.keep(found, explored.sae, index, by=viewer, text=note)
    labels.give(explored.sae, 5, "@five", by=viewer)
    answer = looking.get(f"/lists/{found.pk}.jsonl")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="mine.jsonl"'
    rows = [json.loads(line) for line in answer.getvalue().decode().split("\n") if line]
    n_fired = Activity.objects.get(collection=explored.collection, index=5).n_fired
    assert [(row["sae"], row["index"], row["label"], row["note"]) for row in rows] == [
        (explored.sae.slug, 5, "@five", "=1+1"), (explored.sae.slug, SILENT, None, 'ü, "x"'),
    ]  # fmt: skip
    assert [row["density"] for row in rows] == [n_fired / explored.collection.tokens, 0]
    lines = list(csv.DictReader(io.StringIO(looking.get(f"/lists/{found.pk}.csv").getvalue().decode())))
    assert [line["note"] for line in lines] == ["'=1+1", 'ü, "x"']
    assert lines[0]["label"] == "'@five"


def test_an_sae_that_is_removed_takes_its_entries_along(
    looking: Client, viewer: User, admin: User, explored: Explored, django_capture_on_commit_callbacks: object
) -> None:
    kept(looking, explored)
    remove_sae(explored.sae, by=admin, address="127.0.0.1")
    found = FeatureList.objects.get()
    assert not found.entries.exists()
    assert "Nothing is in it yet" in shown(looking, f"/lists/{found.pk}/")


@pytest.mark.parametrize("n", [1, 3])
def test_it_takes_as_many_queries_for_many(
    looking: Client, viewer: User, other: User, explored: Explored, django_assert_num_queries: DjangoAssertNumQueries,
    n: int,
) -> None:  # fmt: skip
    for each in range(n):
        lists.make(f"theirs {each}", shared=True, by=other)
        found = lists.make(f"mine {each}", shared=True, by=viewer)
    for index in range(n):
        lists.keep(found, explored.sae, index, by=viewer)
    with django_assert_num_queries(4):  # session, user; own, others'
        looking.get("/lists/")
    with django_assert_num_queries(8):  # session, user, list; entries, collections, labels, activities; SAEs
        looking.get(f"/lists/{found.pk}/")
    with django_assert_num_queries(5):  # session, user; SAE, collections; the lists it is in
        looking.get(f"{explored.page}features/1/keep/", headers=PART)


awkward = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["\x00", "\ud800", "\u202eשלום", "\xff", "9" * 40, "-1", "1e9", "no", "on", "yes", "true", "\n"]),
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(sent=st.dictionaries(st.sampled_from(["list", "new", "note", "kept", "name", "notes", "shared"]), awkward))
def test_nothing_that_is_sent_breaks_a_form(
    looking: Client, viewer: User, explored: Explored, sent: dict[str, str]
) -> None:
    found = lists.bookmarks(viewer)
    sent = {name: value.encode("utf-8", "replace").decode() for name, value in sent.items()}
    for address in (f"{explored.page}features/5/keep/", "/lists/make/", f"/lists/{found.pk}/change/"):
        for headers in ({}, PART):
            assert looking.post(address, sent, headers=headers).status_code in (200, 302, 422)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(value=awkward)
def test_nothing_in_an_address_breaks_a_page(looking: Client, viewer: User, explored: Explored, value: str) -> None:
    found = lists.bookmarks(viewer)
    bad = quote(value.encode("utf-8", "surrogatepass"))
    for address in ("/lists/?below=", f"/lists/{found.pk}/?after=", f"{explored.page}labels/?below=",
                    f"{explored.page}features/5/labels/?below=", f"{explored.page}features/5/keep/?choose=",
                    f"{explored.page}labels.csv?history="):  # fmt: skip
        assert looking.get(f"{address}{bad}").status_code == 200
