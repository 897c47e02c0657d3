"""Features to steer with: found, and at the strength that was measured to be best."""

import re

import pytest
from django.contrib.auth.models import User
from django.db.models import F
from django.test import Client

from explorer.actions import labels
from explorer.models import Activity, FeatureList, ListEntry, Sae, Steering, Strength
from explorer.numbers import percent
from tests.explored import Explored
from tests.views.steering import asked, post

pytestmark = pytest.mark.django_db


def picks(page: str) -> list[tuple[str, str, str]]:
    return re.findall(r'data-pick="([^"]+)" data-index="(\d+)" data-strength="([^"]+)"', page)


def measure(explored: Explored, index: int, times: float, likelier: float) -> None:
    about = [{"times": times, "likelier": likelier, "perplexity": 1.5, "repetition": 0.25}]
    Strength.objects.create(sae=explored.sae, index=index, times=times, likelier=likelier, perplexity=1.5, tried=about)


def test_features_are_found_by_words_an_index_or_in_a_list(looking: Client, viewer: User, explored: Explored) -> None:
    measure(explored, 8, 2.0, 3.0)
    labels.give(explored.sae, 8, "words of a label", by=None)
    slug = explored.sae.slug
    found = {q: picks(looking.get("/steer/find/", {"q": q}).content.decode()) for q in ("label", "5", "#8", "nothing")}
    assert found == {"label": [(slug, "8", "2.0")], "5": [(slug, "5", "1")], "#8": [(slug, "8", "2.0")], "nothing": []}
    assert "No label has" in looking.get("/steer/find/?q=<b>").content.decode()
    mine = FeatureList.objects.create(name="mine", owner=viewer)
    ListEntry.objects.create(list=mine, sae=explored.sae, index=7)
    assert f'<option value="{mine.pk}">mine</option>' in looking.get("/steer/").content.decode()
    assert picks(looking.get(f"/steer/find/?list={mine.pk}").content.decode()) == [(slug, "7", "1")]
    theirs = FeatureList.objects.create(name="theirs", owner=User.objects.create_user("another"), shared=False)
    assert looking.get(f"/steer/find/?list={theirs.pk}").status_code == 404
    assert looking.get("/steer/find/?list=x").status_code == 400
    assert picks(looking.get("/steer/find/").content.decode()) == [(slug, "8", "2.0")]


def test_a_slider_is_marked_by_the_layer_s_typical_norm(looking: Client, explored: Explored) -> None:
    activity = Activity.objects.get(collection=explored.collection, index=5)
    there = f"/steer/by/{explored.sae.slug}/5/"
    assert looking.get(there).json()["norm"] == 0  # not measured yet
    Sae.objects.update(metrics={"typical_norm": 8.0}, edition=F("edition") + 1)
    found = looking.get(there).json()
    assert found == {
        "label": "", "p99": pytest.approx(activity.p99), "maximum": pytest.approx(activity.maximum),
        "norm": pytest.approx(activity.decoder_norm / 8), "best": None,
    }  # fmt: skip
    post(looking, explored, {"index": "5"}, {"index": "8", "method": "scale"})
    first, second = asked().changes
    assert first.share == pytest.approx(2 * activity.p99 * activity.decoder_norm / 8)
    assert second.share is None
    page = looking.get(f"/steer/{Steering.objects.get().key}/").content.decode()
    assert f"{percent(first.share)} of the layer’s typical norm" in page
    assert looking.get(f"/steer/by/{explored.sae.slug}/{explored.sae.n_latents}/").status_code == 404


def test_features_are_steered_with_at_their_best_strength(looking: Client, explored: Explored) -> None:
    measure(explored, 5, 4.0, 6.5)
    labels.give(explored.sae, 5, "a named one", by=None)
    page = looking.get(f"{explored.page}features/5/").content.decode()
    assert "Added at 4 times its 99th percentile, where its tokens are 6.5 times as likely" in page
    assert re.search(r'<tr aria-current="true"><th scope="row" class="number">4</th>', page)
    looking.post(f"{explored.page}features/5/steer/", {"prompt": "A text", "texts": "pair"})
    assert asked().changes[0].strength == 4.0
    begun = looking.get(f"/steer/?feature={explored.sae.slug}/5").content.decode()
    assert re.search(r'name="changes-0-strength" value="4.0"', begun)
    assert picks(begun) == [(explored.sae.slug, "5", "4.0")]
    assert "at 4 ×, its tokens 6.5 times as likely" in begun
