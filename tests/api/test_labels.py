"""Labels by the API: given, and all that features were called."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from explorer.actions import labels
from explorer.actions.accounts import set_role
from explorer.models import Label
from explorer.models.access import Role
from tests.explored import Explored, explored, read

__all__ = ["explored", "read"]
pytestmark = pytest.mark.django_db


@pytest.fixture
def annotating(client: Client, viewer: User) -> Client:
    set_role(viewer.pk, Role.ANNOTATOR, by=viewer)
    client.force_login(viewer)
    return client


def put(client: Client, explored: Explored, index: int, sent: Any) -> Any:
    address = f"/api/v1/saes/{explored.sae.slug}/features/{index}/label"
    return client.put(address, sent, content_type="application/json")


def test_a_label_is_given_changed_and_taken_away(annotating: Client, viewer: User, explored: Explored) -> None:
    for label, found in ((" a\n<b>\x00", "a <b>\ufffd"), ("c", "c"), (" ", None)):
        answer = put(annotating, explored, 5, {"label": label})
        assert (answer.status_code, answer.json()) == (200, {"index": 5, "label": found})
    history = annotating.get(f"/api/v1/saes/{explored.sae.slug}/features/5/labels").json()
    assert [(each["label"], each["author"], each["current"]) for each in history["items"]] == [
        ("", "viewer", True), ("c", "viewer", False), ("a <b>\ufffd", "viewer", False),
    ]  # fmt: skip
    assert {each["page"] for each in history["items"]} == {f"{explored.page}features/5/"}


@pytest.mark.parametrize("sent", [{}, {"label": None}, {"label": "x" * 201}, {"label": 5}, []])
def test_what_is_no_label_is_refused(annotating: Client, explored: Explored, sent: Any) -> None:
    assert put(annotating, explored, 5, sent).status_code == 422
    assert put(annotating, explored, 37, {"label": "x"}).status_code == 404
    assert not Label.objects.exists()


def test_viewers_name_nothing(client: Client, viewer: User, explored: Explored) -> None:
    client.force_login(viewer)
    assert put(client, explored, 5, {"label": "x"}).status_code == 403


def test_labels_come_in_pages(annotating: Client, explored: Explored) -> None:
    for index in range(5):
        labels.give(explored.sae, index, f"label {index}", by=None)
    address = f"/api/v1/saes/{explored.sae.slug}/labels"
    first = annotating.get(f"{address}?limit=3").json()
    rest = annotating.get(f"{address}?limit=3&after={first['next']}").json()
    assert [each["index"] for each in first["items"] + rest["items"]] == [4, 3, 2, 1, 0]
    assert rest["next"] is None
    assert {each["author"] for each in first["items"]} == {None}
