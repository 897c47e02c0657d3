"""SAEs and features as JSON: what the evidence holds, exactly."""

from typing import Any

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.test import Client

from explorer.actions import labels
from sae_core import ArrayFile
from tests.explored import SILENT, Explored, explored, read

__all__ = ["explored", "read"]
pytestmark = pytest.mark.django_db


def got(client: Client, path: str) -> Any:
    answer = client.get(f"/api/v1/saes{path}")
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_saes_are_listed_with_what_they_were_read_over(looking: Client, explored: Explored) -> None:
    (sae,) = got(looking, "")
    assert sae == got(looking, f"/{explored.sae.slug}")
    assert (sae["slug"], sae["n_latents"], sae["metrics"]) == (explored.sae.slug, 37, None)
    assert sae["collection"]["tokens"] == explored.collection.tokens
    assert sae["collection"]["corpus"] == explored.corpus.slug
    assert sae["collection"]["evidence"] == explored.collection.evidence_id
    assert sae["page"] == explored.page


def test_a_feature_is_what_the_evidence_says(looking: Client, explored: Explored, admin: User) -> None:
    evidence = ArrayFile(explored.read.evidence)
    index = int(np.argmax(evidence["n_fired"]))
    labels.give(explored.sae, index, "most often", by=admin)
    feature = got(looking, f"/{explored.sae.slug}/features/{index}")
    assert (feature["index"], feature["label"]) == (index, "most often")
    activity = feature["activity"]
    assert activity["n_fired"] == evidence["n_fired"][index]
    assert activity["density"] == evidence["n_fired"][index] / explored.collection.tokens
    assert activity["density_low"] < activity["density"] < activity["density_high"]
    assert [each["token"] for each in feature["lens"]["top"]] == evidence["logit_top_id"][index].tolist()
    values = [each["value"] for each in feature["lens"]["top"]]
    assert values == pytest.approx(evidence["logit_top"][index].tolist(), rel=1e-6)
    there = evidence["top_context"][index] >= 0
    assert [each["context"] for each in feature["examples"]["top"]] == evidence["top_context"][index][there].tolist()
    assert [each["position"] for each in feature["examples"]["top"]] == evidence["top_position"][index][there].tolist()
    example = feature["examples"]["top"][0]
    assert example["tokens"] == explored_text(explored, example["ids"])
    assert sum(each["share_of_firings"] for each in feature["examples"]["intervals"]) == pytest.approx(1)
    assert sum(bar["n_fired"] for bar in feature["histogram"]) == evidence["n_fired"][index]
    assert feature["encoder_cosine"] == pytest.approx(float(evidence["encoder_cosine"][index]))
    assert feature["vectors"]["decoder"] == f"/saes/{explored.sae.slug}/features/{index}/decoder.json"


def test_one_that_never_fired_has_its_weights(looking: Client, explored: Explored) -> None:
    feature = got(looking, f"/{explored.sae.slug}/features/{SILENT}")
    assert (feature["activity"]["n_fired"], feature["activity"]["density_low"]) == (0, 0)
    assert feature["examples"]["top"] == []
    assert len(feature["lens"]["top"]) > 0
    assert len(feature["neighbours"]) > 0


@pytest.mark.parametrize("path", ["/nothing", "/a-small-SAE/features/37", "/a-small-SAE/features/2147483647"])
def test_what_is_not_there_is_a_problem(looking: Client, explored: Explored, path: str) -> None:
    answer = looking.get(f"/api/v1/saes{path}")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_number_that_no_index_is_is_refused(looking: Client, explored: Explored) -> None:
    assert looking.get("/api/v1/saes/a-small-SAE/features/2147483648").status_code == 422


def explored_text(explored: Explored, ids: list[int]) -> list[str]:
    """By the lm's own tokenizer, token by token."""
    tokenizer = explored.read.lm.tokenizer
    assert tokenizer
    return [tokenizer.token_bytes(token).decode(errors="replace") for token in ids]
