"""Search as JSON: what the page finds."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from explorer.actions import api_tokens, labels, sign_in
from explorer.models import Job
from explorer.models.access import Scope
from explorer.queries import features as feature_queries
from tests.explored import Explored, explored, read

__all__ = ["explored", "read"]
pytestmark = pytest.mark.django_db


def got(client: Client, status: int = 200, **wanted: Any) -> Any:
    answer = client.get("/api/v1/search", wanted)
    assert answer.status_code == status, answer.content
    return answer.json()


def test_labels(looking: Client, explored: Explored, admin: User) -> None:
    labels.give(explored.sae, 9, "names of rivers", by=admin)
    found = got(looking, q="riv")
    assert found["n"] == 1
    (hit,) = found["groups"][0]["hits"]
    assert hit == {
        "sae": explored.sae.slug, "index": 9, "label": "names of rivers", "value": None, "tokens": [],
        "density": hit["density"], "page": f"{explored.page}features/9/",
    }  # fmt: skip
    assert 0 < hit["density"] < 1


def test_tokens(looking: Client, explored: Explored) -> None:
    token = next(
        token for token in range(explored.read.lm.n_vocab) if feature_queries.features_on(explored.collection, token)
    )
    found = got(looking, q=f"#{token}", kind="tokens", sae=explored.sae.slug)
    indexes = {hit["index"] for group in found["groups"] for hit in group["hits"]}
    assert indexes == set(feature_queries.features_on(explored.collection, token))


@pytest.mark.parametrize(
    ("wanted", "status", "said"),
    [({"q": "x", "kind": "text"}, 422, ""), ({"q": "x", "sae": "gone"}, 404, "There is no SAE"),
     ({"q": "&"}, 404, "no word"), ({"q": "x" * 2001}, 422, ""), ({"q": "#1", "kind": "logit"}, 409, "written down"),
     ({"q": "99", "kind": "like"}, 404, "has features 0 to 36"), ({"q": ""}, 422, "")],
)  # fmt: skip
def test_what_is_wrong_is_a_problem(
    looking: Client, explored: Explored, wanted: dict[str, Any], status: int, said: str
) -> None:
    assert said in got(looking, status, **wanted)["detail"]


def test_a_text_is_posted_with_a_token_that_may_write(
    client: Client, explored: Explored, viewer: User, settings: Settings
) -> None:
    settings.TEXT_CHARACTERS, settings.TEXT_RATE = 10, 1
    for scope, status in ((Scope.READ, 403), (Scope.WRITE, 202), (Scope.WRITE, 429)):
        _, secret = api_tokens.make(viewer, "mine", [scope], sign_in.LASTS)
        headers = {"Authorization": f"Bearer {secret}"}
        sent = {"sae": explored.sae.slug, "text": "a text"}
        answer = client.post("/api/v1/search/text", sent, content_type="application/json", headers=headers)
        assert answer.status_code == status, answer.content
    job = Job.objects.get()
    assert job.arguments == {"sae": explored.sae.pk, "text": "a text"}
    assert job.created_by == viewer
    sent["text"] = "x" * 11
    answer = client.post("/api/v1/search/text", sent, content_type="application/json", headers=headers)
    assert answer.status_code == 422
