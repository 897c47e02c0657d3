"""An SAE's page: its figures, how it was read, and taking it away."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from explorer import partitions
from explorer.actions.accounts import set_role
from explorer.models import Activity, AuditEntry, Collection, Corpus, LanguageModel, Sae
from explorer.models.access import Role
from tests.explored import Explored
from tests.work.collected import sae_row

pytestmark = pytest.mark.django_db


@pytest.fixture
def page(client: Client, viewer: User, explored: Explored) -> str:
    client.force_login(viewer)
    return client.get(explored.page).content.decode()


def test_it_says_how_it_was_read(page: str, explored: Explored) -> None:
    assert f"of {explored.sae.n_latents}" in page
    assert f"{explored.collection.tokens:,}" in page
    assert explored.corpus.name in page
    assert f'href="/artifacts/{explored.collection.evidence_id}/"' in page
    assert f'href="{explored.page}features/"' in page
    assert page.count("not measured yet") == 4


def test_figures_stand_with_what_they_were_measured_on(client: Client, viewer: User, explored: Explored) -> None:
    explored.sae.metrics = {
        "tokens": 131_072, "contexts": 1024, "masked": 1024, "l0": 31.94, "fvu": 0.112, "loss_recovered": 0.978,
        "ce_clean": 3.2, "ce_sae": 3.3, "ce_degradation": 0.1, "ce_zero": 7.5, "ce_mean": 6.25, "kl": 0.07,
        "loss_recovered_mean": 0.961, "baselines": {"pca_fvu": 0.241, "sparse_coding_fvu": 0.087},
    }  # fmt: skip
    explored.sae.fit = {"message": "FVU 0.11 at L0 31.9"}
    explored.sae.save()
    client.force_login(viewer)
    page = client.get(explored.page).content.decode()
    for said in ("31.9 <small>latents a token", "0.112 <small>fvu", "PCA of equal rank: 0.241; codes by search: 0.087",
                 "97.8\u00a0%", "131,072 tokens, in 1,024 contexts", "1,024 masked ones left out",
                 "FVU 0.11 at L0 31.9", "0.1 <small>nats a token", "3.2 without, 3.3 with the SAE",
                 "set to zero: 7.5; to the mean: 6.25"):  # fmt: skip
        assert said in page, said


def test_metrics_that_are_not_defined_are_dashes(client: Client, viewer: User, explored: Explored) -> None:
    explored.sae.metrics = {"tokens": 10, "l0": 0.0, "fvu": None, "loss_recovered": None, "baselines": {}}
    explored.sae.save()
    client.force_login(viewer)
    answer = client.get(explored.page)
    assert answer.status_code == 200
    assert "– <small>fvu" in answer.content.decode()


def test_one_that_was_read_over_nothing_yet_has_a_page(client: Client, viewer: User, explored: Explored) -> None:
    fresh = sae_row(explored.read.lm, explored.read.sae, "fresh")
    client.force_login(viewer)
    assert "It was read over no text yet" in client.get(f"/saes/{fresh.slug}/").content.decode()
    assert "They are listed when" in client.get(f"/saes/{fresh.slug}/features/").content.decode()
    assert client.get(f"/saes/{fresh.slug}/features/0/").status_code == 404


@pytest.mark.parametrize("slug", ["nothing", "%00", "a%20b", "..", "%2e%2e", "x" * 3000])
def test_one_that_is_not_there(client: Client, viewer: User, slug: str) -> None:
    client.force_login(viewer)
    for rest in ("", "charts/density/", "features/", "features/0/", "features/0.json", "features/0/charts/logits/"):
        assert client.get(f"/saes/{slug}/{rest}").status_code == 404


def test_names_are_escaped(client: Client, viewer: User, explored: Explored) -> None:
    evil = "<script>alert(1)</script>"
    explored.sae.name = explored.sae.hookpoint = evil
    explored.sae.fit = {"message": evil}
    explored.sae.save()
    client.force_login(viewer)
    for address in ("/", explored.page, f"{explored.page}features/", f"{explored.page}features/0/"):
        page = client.get(address).content.decode()
        assert "<script>alert" not in page
        assert "&lt;script&gt;" in page


def test_who_added_it_may_take_it_away(client: Client, viewer: User, explored: Explored) -> None:
    set_role(viewer.pk, Role.RESEARCHER, by=viewer)
    client.force_login(viewer)
    assert "Remove this SAE" not in client.get(explored.page).content.decode()
    assert client.post(f"{explored.page}remove/").status_code == 403
    Sae.objects.update(created_by=viewer)
    assert "Remove this SAE" in client.get(explored.page).content.decode()
    answer = client.post(f"{explored.page}remove/", follow=True)
    assert "a small SAE is removed." in answer.content.decode()
    assert not Sae.objects.exists()
    assert not Collection.objects.exists()
    assert LanguageModel.objects.exists()
    assert Corpus.objects.exists()
    entry = AuditEntry.objects.get(action="SAE removed")
    assert (entry.actor, entry.subject, entry.details["slug"]) == ("viewer", "a small SAE", "a-small-SAE")


@pytest.mark.django_db(transaction=True)
def test_one_that_is_read_for_long_stays_and_says_so(
    client: Client, admin: User, explored: Explored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "PATIENCE", "50ms")
    client.force_login(admin)
    locked, done = Event(), Event()

    def read_for_long() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM explorer_activity WHERE collection_id = {explored.collection.pk}")
            locked.set()
            done.wait(20)
        connection.close()

    with ThreadPoolExecutor(1) as reader:
        reading = reader.submit(read_for_long)
        locked.wait(20)
        answer = client.post(f"{explored.page}remove/", follow=True)
        done.set()
        reading.result()
    assert "a small SAE is in use just now, and is still there." in answer.content.decode()
    assert client.get(f"{explored.page}features/0/").status_code == 200
    assert not AuditEntry.objects.filter(action="SAE removed").exists()
    assert client.post(f"{explored.page}remove/", follow=True).status_code == 200
    assert not Sae.objects.exists()


def test_who_is_no_longer_a_researcher_may_not(client: Client, viewer: User, explored: Explored) -> None:
    Sae.objects.update(created_by=viewer)
    client.force_login(viewer)
    assert client.post(f"{explored.page}remove/").status_code == 403


def test_as_many_queries_for_three_as_for_one(
    client: Client, viewer: User, explored: Explored, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    client.force_login(viewer)
    with django_assert_num_queries(6):  # session, user, the SAE, its collections, map; once, how many fire how often
        client.get(explored.page)
    for name in ("two", "three"):
        sae_row(explored.read.lm, explored.read.sae, name)
    with django_assert_num_queries(5):
        client.get(explored.page)


def test_what_is_remarkable_is_one_click_away(page: str, explored: Explored) -> None:
    for fires in ("never", "ultra-low", "dense"):
        assert f'href="{explored.page}features/?fires={fires}"' in page


def test_charts_lead_to_the_browser(client: Client, viewer: User, explored: Explored) -> None:
    client.force_login(viewer)
    for chart, column in (("density", "density"), ("norms", "decoder_norm"), ("cosines", "encoder_cosine")):
        figure = client.get(f"{explored.page}charts/{chart}/").json()
        assert figure["ways"] == {"address": f"{explored.page}features/", "x": column, "y": ""}
        (bars,) = figure["data"]
        assert all(float(least) <= float(most) for _, _, least, most in bars["customdata"])
    figure = client.get(f"{explored.page}charts/p99/").json()
    (points,) = figure["data"]
    fired = Activity.objects.filter(collection=explored.collection, n_fired__gt=0).order_by("index")
    assert points["customdata"] == [each.index for each in fired]
    assert points["y"] == [float(f"{each.p99:.4g}") for each in fired]
    assert (figure["ways"]["x"], figure["ways"]["y"]) == ("density", "p99")


def test_a_chart_that_is_not_there(client: Client, viewer: User, explored: Explored) -> None:
    client.force_login(viewer)
    assert client.get(f"{explored.page}charts/nothing/").status_code == 404
    fresh = sae_row(explored.read.lm, explored.read.sae, "fresh")
    assert client.get(f"/saes/{fresh.slug}/charts/density/").status_code == 404


def test_a_chart_is_kept_until_something_changes(client: Client, viewer: User, explored: Explored) -> None:
    client.force_login(viewer)
    address = f"{explored.page}charts/density/"
    kept = client.get(address)["ETag"]
    assert client.get(address, headers={"If-None-Match": kept}).status_code == 304
