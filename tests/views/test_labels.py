"""Labels on pages of their own: who gave them and when, as files, and brought as a file."""

import csv
import io
import json
import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from explorer.actions import labels
from explorer.actions.accounts import set_role
from explorer.models import Label
from explorer.models.access import Role
from tests.explored import Explored

pytestmark = pytest.mark.django_db
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def researching(client: Client, viewer: User) -> Client:
    set_role(viewer.pk, Role.RESEARCHER, by=viewer)
    client.force_login(viewer)
    return client


def shown(client: Client, address: str, **headers: str) -> str:
    answer = client.get(address, headers=headers)
    assert answer.status_code == 200
    return answer.content.decode()


def lines(client: Client, address: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in client.get(address).getvalue().decode().split("\n")[:-1]]


def test_a_feature_tells_all_that_it_was_called(looking: Client, viewer: User, admin: User, explored: Explored) -> None:
    for text, by in (("first", viewer), (SCRIPT, admin), ("", None), ("last", viewer)):
        labels.give(explored.sae, 5, text, by=by)
    labels.give(explored.sae, 6, "another's", by=admin)
    page = shown(looking, f"{explored.page}features/5/")
    assert f'hx-get="{explored.page}features/5/labels/"' in page
    assert "Named by <bdi>viewer</bdi>" in page
    whole = shown(looking, f"{explored.page}features/5/labels/")
    part = shown(looking, f"{explored.page}features/5/labels/", **{"HX-Request": "true"})
    assert "<html" in whole
    assert "<html" not in part
    for each in (whole, part):
        rows = [re.sub(r"<[^>]+>|\s+", " ", row).split() for row in each.split("<tbody>")[1].split("</tr>")[:-1]]
        assert [" ".join(row[:-2]) for row in rows] == [
            "last current viewer", "taken away someone without an account",
            "&lt;script&gt;alert(1)&lt;/script&gt; admin", "first viewer",
        ]  # fmt: skip


def test_who_left_is_not_named(looking: Client, admin: User, explored: Explored) -> None:
    labels.give(explored.sae, 5, "theirs", by=admin)
    admin.delete()
    assert ">Named, 20" in shown(looking, f"{explored.page}features/5/")


def test_a_feature_without_any_says_nothing_of_it(looking: Client, explored: Explored) -> None:
    assert "Named by" not in shown(looking, f"{explored.page}features/5/")
    assert "No label yet" in shown(looking, f"{explored.page}features/5/labels/")
    assert looking.get(f"{explored.page}features/37/labels/").status_code == 404


def test_the_newest_of_an_sae_stand_first_in_pages(looking: Client, viewer: User, explored: Explored) -> None:
    for each in range(52):
        labels.give(explored.sae, each % 37, f"label {each}", by=viewer)
    page = shown(looking, f"{explored.page}labels/")
    assert re.findall(r">(label \d+)", page) == [f"label {each}" for each in range(51, 1, -1)]
    (below,) = re.findall(r"\?below=(\d+)", page)
    rest = shown(looking, f"{explored.page}labels/?below={below}")
    assert re.findall(r">(label \d+)", rest) == ["label 1", "label 0"]
    assert "37 of 37 features" in page
    assert "Bring labels" not in page
    for bad in ("x", "0", "9" * 30, "%00"):
        assert "below: " in shown(looking, f"{explored.page}labels/?below={bad}")


@pytest.mark.django_db(transaction=True)
def test_they_are_taken_along(
    looking: Client, viewer: User, explored: Explored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("explorer.queries.labels.batches.__kwdefaults__", {"size": 2})
    for index, text in ((5, "a"), (5, "=cmd"), (3, "'@b"), (6, "gone"), (6, ""), (7, "ü\u2028x")):
        labels.give(explored.sae, index, text, by=viewer)
    now, ever = (lines(looking, f"{explored.page}labels.jsonl{query}") for query in ("", "?history=on"))
    assert [(row["index"], row["label"]) for row in now] == [(3, "'@b"), (5, "=cmd"), (7, "ü\u2028x")]
    assert [(row["index"], row["label"], row["current"]) for row in ever] == [
        (3, "'@b", True), (5, "a", False), (5, "=cmd", True), (6, "gone", False), (6, "", True), (7, "ü\u2028x", True),
    ]  # fmt: skip
    assert {row["author"] for row in ever} == {"viewer"}
    answer = looking.get(f"{explored.page}labels.csv")
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{explored.sae.slug}-labels.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.getvalue().decode(), newline="")))
    assert [row["label"] for row in rows] == ["''@b", "'=cmd", "ü\u2028x"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_what_was_taken_along_can_be_brought(
    researching: Client, viewer: User, explored: Explored, ending: str
) -> None:
    there = {5: "=cmd", 3: "'@b", 7: 'ü "x", y'}
    for index, text in there.items():
        labels.give(explored.sae, index, text, by=viewer)
    content = researching.get(f"{explored.page}labels.{ending}").getvalue()
    Label.objects.all().delete()
    file = SimpleUploadedFile(f"labels.{ending}", content)
    answer = researching.post(f"{explored.page}labels/import/", {"file": file})
    assert answer.headers["Location"] == f"{explored.page}labels/"
    assert dict(Label.objects.filter(current=True).values_list("index", "text")) == there
    assert "3 labels were read, and 3 of them are new." in shown(researching, f"{explored.page}labels/")


def test_what_is_wrong_is_named_and_nothing_is_kept(researching: Client, explored: Explored) -> None:
    file = SimpleUploadedFile("x.csv", b"index,label\n1,a\n37,b\n2,\n2,<b>\n")
    answer = researching.post(f"{explored.page}labels/import/", {"file": file})
    assert answer.status_code == 422
    page = answer.content.decode()
    assert "Line 3: index 37 is beyond the last, 36." in page
    assert "Line 5: feature 2 has a label in an earlier line." in page
    assert not Label.objects.exists()
    assert researching.post(f"{explored.page}labels/import/").status_code == 422


def test_it_takes_as_many_queries_for_many(
    looking: Client, viewer: User, explored: Explored, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for n in (1, 3):
        for index in range(n):
            labels.give(explored.sae, index, f"{n}", by=viewer)
        with django_assert_num_queries(6):  # session, user; SAE, collections; labels, how many
            looking.get(f"{explored.page}labels/")
        with django_assert_num_queries(5):  # session, user; SAE, collections; labels
            looking.get(f"{explored.page}features/0/labels/")
