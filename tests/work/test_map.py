"""Maps made by jobs: of one SAE, of several; once; and not at all where something is wrong or goes meanwhile."""

import gzip
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction

from explorer import artifacts
from explorer.actions import jobs
from explorer.actions.collections import remove_map, remove_sae
from explorer.artifacts import ArtifactMissing
from explorer.mapped import File, opened
from explorer.models import Artifact, Collection, FeatureMap, MapPart, Sae
from explorer.models.jobs import JobState
from explorer.packed import tiles
from explorer.queries import library
from explorer.work import map as map_job
from explorer.work.attempt import Attempt, Cancelled, Removed
from explorer.work.loading import load_collection
from explorer.work.mapping.places import in_unit_square
from sae_core import ArrayFile, collect_evidence, open_corpus, save_sae
from sae_core.maps import MapConfig, Method, Table, make_map
from sae_core.sae import Sae as CoreSae
from tests.actions.test_collections import wait_for
from tests.explored import SILENT, Explored, Read, explored, read
from tests.laid_out import nearest, smaller
from tests.work.added import EARLY, claimed
from tests.work.collected import HOOKPOINT, sae_row, small_sae
from tests.work.running import found, run, work_off

__all__ = ["explored", "read", "smaller"]
pytestmark = pytest.mark.django_db(transaction=True)
DEADLINE = 20.0  # seconds


def with_weights(row: Sae, sae: CoreSae, folder: Path) -> Sae:
    """Which a job can open."""
    saved = save_sae(sae, folder / row.slug)
    row.config = json.loads((saved / "sae.json").read_text())["config"]
    with (saved / "sae.safetensors").open("rb") as file:
        row.weights = artifacts.put(file, name="sae.safetensors")
    row.save()
    return row


@pytest.fixture
def sae(explored: Explored, tmp_path: Path) -> Sae:
    return with_weights(explored.sae, explored.read.sae, tmp_path)


@pytest.fixture
def another(explored: Explored, smaller: Read, tmp_path: Path) -> Sae:
    row = with_weights(sae_row(smaller.lm, smaller.sae, "a smaller SAE"), smaller.sae, tmp_path)
    load_collection(row, explored.corpus, smaller.evidence)
    return row


def asked(*saes: Sae, **others: Any) -> dict[str, Any]:
    return {"saes": [sae.pk for sae in saes], "method": "tsne"} | others


def made(*saes: Sae, **others: Any) -> FeatureMap:
    return FeatureMap.objects.get(pk=found("map", asked(*saes, **others))["map"])


def points(of: FeatureMap) -> File:
    return opened(of.points_id)


def features(of: FeatureMap) -> list[tuple[int, int]]:
    file = points(of)
    return list(zip(file["part"].tolist(), file["index"].tolist(), strict=True))


class Meanwhile(Attempt):
    """At a step of the work something happens."""

    def __init__(self, attempt: Attempt, at: str, what: Callable[[], object]) -> None:
        super().__init__(attempt.job, attempt._stopping)
        self._at, self._what = at, what

    def check(self) -> None:
        super().check()
        if self.job.message == self._at:
            self._at = ""
            self._what()


def files() -> set[str]:
    return set(Artifact.objects.values_list("pk", flat=True))


@pytest.mark.parametrize("method", list(Method))
def test_it_shows_what_fires_where_sae_core_laid_it_out(
    sae: Sae, explored: Explored, read: Read, admin: User, method: Method
) -> None:
    edition = Sae.objects.get().edition
    job = jobs.start("map", asked(sae, method=method, seed=7, neighbours=6, perplexity=4.0), by=admin)
    work_off(job)
    job.refresh_from_db()
    assert job.state == JobState.DONE, job.error
    there = FeatureMap.objects.get()
    assert job.result == {"map": there.pk}
    used: dict[str, Any] = {"neighbours": 6} if method == Method.UMAP else {"perplexity": 4.0}
    usual = {"neighbours": 15, "min_dist": 0.05, "perplexity": 30.0}
    config = MapConfig(method=method, seed=7, **used)
    assert there.asked == usual | used | {"method": str(method), "seed": 7}
    evidence = ArrayFile(read.evidence)
    known = Table(evidence["neighbour"], evidence["neighbour_cosine"])
    laid = make_map([read.sae.W_dec], config, alive=[np.arange(37) != SILENT], known=known)
    assert (there.n_points, there.created_by) == (36, admin)
    assert there.about | {"seconds": 0} == laid.about | {
        "seconds": 0, "trustworthiness": laid.trustworthiness, "trusted_on": 36,
        "unclustered": [int((grain == -1).sum()) for grain in laid.clusters],
    }  # fmt: skip
    part = MapPart.objects.get()
    assert (part.map, part.number, part.sae, part.collection) == (there, 0, sae, explored.collection)
    assert (part.n_points, part.n_silent) == (36, 1)
    places = dict(zip(laid.rows.tolist(), in_unit_square(laid.places).tolist(), strict=True))
    xy = zip(points(there)["x"].tolist(), points(there)["y"].tolist(), strict=True)
    assert {index: list(place) for (_, index), place in zip(features(there), xy, strict=True)} == places
    assert [each["n"] for each in there.clusters[0]] == [n for n in np.bincount(laid.clusters[0] + 1)[1:].tolist() if n]
    assert json.loads(gzip.decompress(tiles.opened(there.tiles_id).index()))["n"] == 36
    assert Sae.objects.get().edition > edition


def test_its_neighbours_are_the_nearest_of_those_that_fire(sae: Sae, read: Read) -> None:
    there = made(sae)
    W_dec = read.sae.W_dec.double().numpy()
    unit = W_dec / np.linalg.norm(W_dec, axis=1, keepdims=True)
    file = points(there)
    exact = nearest(unit, np.delete(np.arange(37), SILENT), file["near"].shape[1])
    for number, (_, index) in enumerate(features(there)):
        assert file["index"][file["near"][number]].tolist() == exact.neighbours[index].tolist()
        assert file["cosine"][number].tolist() == pytest.approx(exact.cosines[index].tolist(), abs=1e-5)


def test_the_same_of_the_same_is_not_made_twice(sae: Sae, explored: Explored, read: Read) -> None:
    first = made(sae)
    assert made(sae) == first
    assert made(sae, seed=0, neighbours=15, perplexity=30) == first  # which it is unless something else is said
    assert made(sae, neighbours=6, min_dist=0.5) == first  # which t-SNE has no use for
    assert made(sae, seed=1) != first
    load_collection(sae, explored.corpus, read.evidence)
    assert made(sae) != first  # it was read anew
    assert FeatureMap.objects.count() == 3


def test_several_are_laid_out_together(sae: Sae, another: Sae, read: Read, smaller: Read) -> None:
    there = made(another, sae)
    rows = MapPart.objects.order_by("number").values_list("number", "sae", "n_points", "n_silent")
    assert list(rows) == [(0, another.pk, 11, 1), (1, sae.pk, 36, 1)]
    indexes = [(0, index) for index in range(12)] + [(1, index) for index in range(37)]
    assert sorted(features(there)) == [(part, index) for part, index in indexes if index != SILENT]
    file, directions = points(there), [each.sae.W_dec.double().numpy() for each in (smaller, read)]
    unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in directions]
    cosines = unit[1] @ unit[0].T
    cosines[:, SILENT] = -1
    for (part, index), parent in zip(features(there), file["parent"].tolist(), strict=True):
        assert (None if parent < 0 else features(there)[parent]) == ((0, cosines[index].argmax()) if part else None)
    assert {each.pk for each in library.at_hookpoint_of(sae)} == {another.pk}
    assert made(another, sae) == there
    assert made(sae, another) != there  # whose parts have other numbers


def test_one_that_was_read_over_nothing_is_shown_whole(read: Read, tmp_path: Path, transactional_db: None) -> None:
    sae = with_weights(sae_row(read.lm, read.sae), read.sae, tmp_path)
    there = made(sae)
    part = MapPart.objects.get()
    assert (there.n_points, part.collection, part.n_silent, there.legends) == (37, None, 0, {})
    assert "density" not in points(there)


def refused(*saes: Sae, **others: Any) -> str:
    """What is said of what cannot be made, and nothing is kept of it."""
    before = files()
    job = run("map", asked(*saes, **others))
    assert (job.state, job.failures) == (JobState.FAILED, 1)
    assert not FeatureMap.objects.exists()
    assert files() == before
    return job.error


def test_saes_of_two_hookpoints_have_no_map(sae: Sae, another: Sae) -> None:
    says = "These SAEs do not all write at one hookpoint of one lm, so their directions have nothing in common."
    another.hookpoint = EARLY
    another.save()
    assert refused(sae, another) == says
    another.hookpoint_out = HOOKPOINT  # a transcoder, which writes where the other does
    another.save()
    assert made(sae, another).n_points == 47


def test_there_are_colours_for_so_many(sae: Sae, monkeypatch: pytest.MonkeyPatch, another: Sae) -> None:
    monkeypatch.setattr(map_job, "MOST_PARTS", 1)
    assert refused(sae, another) == "A map shows at most 1 SAEs; 2 were asked for."
    assert made(sae, sae).parts.count() == 1  # named twice it is one


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"method": "pca"}, "method is 'pca', expected one of umap, tsne"),
        ({"neighbours": 1}, "neighbours is 1, expected a whole number from 2 to 200"),
        ({"neighbours": 2.5}, "neighbours is 2.5, expected a whole number from 2 to 200"),
        ({"min_dist": 2}, "min_dist is 2, expected a number from 0 to 1"),
        ({"perplexity": 0}, "perplexity is 0, expected a number from 1 to 100"),
        ({"seed": -1}, f"seed is -1, expected a whole number from 0 to {2**32 - 1}"),
    ],
)
def test_what_is_wrong_is_said(sae: Sae, wrong: dict[str, Any], says: str) -> None:
    assert refused(sae, **wrong) == says


def test_of_too_few_that_fire_there_is_no_map(explored: Explored, read: Read, tmp_path: Path) -> None:
    few, corpus, evidence = small_sae(5, k=2), open_corpus(read.corpus), tmp_path / "evidence"
    row = with_weights(sae_row(read.lm, few, "a few"), few, tmp_path)
    collect_evidence(read.lm, [few], corpus.contexts, [evidence], lengths=corpus.lengths, pieces=corpus.pieces)
    load_collection(row, explored.corpus, evidence)
    says = "of 5 latents 4 fire, and 4 of those have a direction; a map needs at least 5 points"
    assert refused(row) == says


def test_that_there_is_too_little_is_no_failure_where_nobody_asked(
    read: Read, transactional_db: None, tmp_path: Path
) -> None:
    few = small_sae(4, k=2)
    row = with_weights(sae_row(read.lm, few), few, tmp_path)
    job = run("map", asked(row, if_possible=True))
    assert (job.state, job.result) == (JobState.DONE, {"map": None})
    says = "of 4 latents 4 fire, and 4 of those have a direction; a map needs at least 5 points"
    assert job.text == f"There is no map: {says}\n"


def test_weights_that_are_no_numbers_are_refused(explored: Explored, tmp_path: Path) -> None:
    sae = small_sae()
    sae.tensors()["W_dec"][5, 2] = float("nan")
    assert "W_dec[5, 2] is nan" in refused(with_weights(explored.sae, sae, tmp_path))


def test_what_was_removed_before_it_began(sae: Sae, another: Sae) -> None:
    remove_sae(another.pk)
    assert refused(sae, another) == "An SAE that this was about has been removed."
    remove_sae(sae.pk)
    assert refused(sae, another) == "SAEs that this was about has been removed."


@pytest.mark.parametrize("at", ["Nearest directions", "Layout", "Trustworthiness", "Writing its tiles"])
def test_what_is_removed_while_it_is_made_leaves_nothing(sae: Sae, another: Sae, at: str) -> None:
    attempt = Meanwhile(claimed("map", asked(sae, another)), at, lambda: remove_sae(another.pk))
    with pytest.raises(Removed, match="An SAE that this map was to show has been removed meanwhile"):
        map_job.run(attempt)
    assert not Sae.objects.filter(pk=another.pk).exists()
    assert not FeatureMap.objects.exists()
    kept = Collection.objects.get()
    assert files() == {*kept.corpus.files.values(), kept.evidence_id, sae.weights_id, sae.lm.vocabulary_id}


def test_a_map_waits_for_who_removes_its_sae(sae: Sae) -> None:
    """The file is there and the row is not: what is removed just now is waited for."""

    def lay_out() -> None:
        try:
            map_job.run(claimed("map", asked(sae)))
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as thread:
        with transaction.atomic():
            remove_sae(sae.pk)
            making = thread.submit(lay_out)
            wait_for(waits_for_a_row)
        with pytest.raises(Removed, match="has been removed meanwhile"):
            making.result(DEADLINE)
    assert not FeatureMap.objects.exists()
    assert not {
        name for name in Artifact.objects.values_list("name", flat=True) if name.endswith((".tiles", "tensors"))
    }


def waits_for_a_row() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'")
        return bool(cursor.fetchone()[0])


def test_what_was_read_anew_meanwhile_is_not_said_to_be_what_it_shows(sae: Sae, explored: Explored, read: Read) -> None:
    attempt = Meanwhile(
        claimed("map", asked(sae)), "Layout", lambda: load_collection(sae, explored.corpus, read.evidence)
    )
    map_job.run(attempt)
    assert MapPart.objects.get().collection is None
    assert Collection.objects.get() != explored.collection


@pytest.mark.parametrize("at", ["Layout", "Writing its tiles"])
def test_one_that_is_cancelled_leaves_nothing(sae: Sae, at: str) -> None:
    attempt = claimed("map", asked(sae))
    before = files()
    with pytest.raises(Cancelled):
        map_job.run(Meanwhile(attempt, at, lambda: jobs.cancel(attempt.job.pk)))
    assert not FeatureMap.objects.exists()
    assert files() == before


def test_an_sae_takes_its_maps_along(sae: Sae, another: Sae) -> None:
    alone, together, other = made(sae), made(another, sae), made(another)
    edition = library.saes_of([another.pk])[0].edition
    theirs = {*_named(alone), *_named(together)}
    assert theirs <= files()
    remove_sae(sae.pk)
    assert FeatureMap.objects.get() == other
    assert not theirs & files()
    assert set(_named(other)) <= files()
    assert library.saes_of([another.pk])[0].edition > edition  # whose page shows another map now


def test_a_map_that_is_removed_leaves_what_another_names_too(sae: Sae, explored: Explored, read: Read) -> None:
    one = made(sae)
    load_collection(sae, explored.corpus, read.evidence)
    other = made(sae)  # of what was read anew, and is as it was
    assert one.tiles_id == other.tiles_id
    edition = library.saes_of([sae.pk])[0].edition
    for _ in range(2):  # by two people at once, of whom one is first
        remove_map(one.pk)
    assert one.points_id not in files()
    assert tiles.opened(other.tiles_id).density("0/0/0")
    assert library.saes_of([sae.pk])[0].edition > edition
    remove_map(other.pk)
    assert not set(_named(other)) & files()
    with pytest.raises(ArtifactMissing):
        artifacts.path(other.tiles_id)
    assert not MapPart.objects.exists()


def _named(of: FeatureMap) -> tuple[str, str]:
    return of.points_id, of.tiles_id
