"""Taking away: complete, and at once or not at all, whoever reads or loads meanwhile."""

import io
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import OperationalError, connection, transaction
from psycopg.errors import LockNotAvailable

from explorer import artifacts, partitions
from explorer.actions.collections import remove_collection, remove_corpus, remove_lm, remove_sae
from explorer.backup import archive, writing
from explorer.models import Artifact, Collection, Label, LanguageModel, Sae
from explorer.queries import library
from explorer.queries.features import feature
from explorer.work import loading
from explorer.work.attempt import Refused
from explorer.work.loading import load_collection, load_corpus
from sae_core import build_corpus, collect_evidence
from tests.explored import Explored, Read
from tests.work.collected import sae_row, texts

DEADLINE = 20.0  # seconds


def count(statement: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        (found,) = cursor.fetchone()
        return int(found)


def tables() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^explorer_[a-z]+_[0-9]+$'")
        return {name for (name,) in cursor.fetchall()}


Partitions = Callable[[], int]


@pytest.fixture(autouse=True)
def partitions_there(db: None) -> Partitions:
    """How many have been made since a test began, and are there."""
    before = tables()
    return lambda: len(tables() - before)


def rows_there() -> int:
    return sum(count(f"SELECT count(*) FROM {model._meta.db_table}") for model in partitions.OWNERS)


Elsewhere = Callable[..., "Future[Any]"]


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    """Calls what it is given in another thread, on a connection of its own, which goes with it."""

    def run(work: Callable[..., Any], *args: Any) -> Any:
        try:
            return work(*args)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as thread:
        yield lambda *called: thread.submit(run, *called)


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not what():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


def waiting_for_a_lock() -> bool:
    return count("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'relation'") > 0


@pytest.mark.django_db
def test_an_lm_goes_with_all_that_is_its_own(
    partitions_there: Partitions, explored: Explored, viewer: User, django_capture_on_commit_callbacks: Any
) -> None:
    weights = artifacts.put(io.BytesIO(b"weights"), name="weights")
    Sae.objects.update(weights=weights)
    Label.objects.create(sae=explored.sae, index=1, text="cats", author=viewer)
    other = sae_row(explored.read.lm, explored.read.sae, "another")
    load_collection(other, explored.corpus, explored.read.evidence)
    with django_capture_on_commit_callbacks(execute=True):
        remove_lm(explored.sae.lm_id)
    for model in (LanguageModel, Sae, Collection, Label):
        assert not model.objects.exists()
    assert set(Artifact.objects.values_list("pk", flat=True)) == set(explored.corpus.files.values())
    kept = {path.name for path in settings.PLACES.artifacts.rglob("*") if path.is_file()}
    assert kept & {weights.pk, explored.collection.evidence_id} == set()
    assert partitions_there() == 2, "of the corpus, its documents and contexts"
    with django_capture_on_commit_callbacks(execute=True):
        remove_corpus(explored.corpus.pk)
    assert (partitions_there(), rows_there(), Artifact.objects.count()) == (0, 0, 0)


@pytest.mark.django_db
def test_files_that_another_names_stay(explored: Explored, django_capture_on_commit_callbacks: Any) -> None:
    shared = artifacts.put(io.BytesIO(b"weights"), name="weights")
    other = sae_row(explored.read.lm, explored.read.sae, "another")
    Sae.objects.update(weights=shared)
    with django_capture_on_commit_callbacks(execute=True):
        remove_sae(explored.sae.pk)
    assert artifacts.path(shared.pk).read_bytes() == b"weights"
    with django_capture_on_commit_callbacks(execute=True):
        remove_sae(other.pk)
    assert not Artifact.objects.filter(pk=shared.pk).exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("remove", [remove_collection, remove_sae, remove_corpus, remove_lm])
def test_what_is_being_loaded_again_is_not_taken_away(
    partitions_there: Partitions,
    explored: Explored,
    elsewhere: Elsewhere,
    remove: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The load goes on, and whoever wanted to remove is told at once."""
    monkeypatch.setattr(partitions, "PATIENCE", "50ms")
    collection = explored.collection
    pk = {
        remove_collection: collection.pk, remove_sae: collection.sae_id, remove_corpus: collection.corpus_id,
        remove_lm: collection.sae.lm_id,
    }[remove]  # fmt: skip
    begun, go_on = Event(), Event()

    def load() -> Collection:
        with transaction.atomic():
            found = load_collection(explored.sae, explored.corpus, explored.read.evidence)
            begun.set()
            assert go_on.wait(DEADLINE)
            return found

    load_of_it = elsewhere(load)
    assert begun.wait(DEADLINE)
    with pytest.raises(OperationalError) as refused:
        remove(pk)
    assert isinstance(refused.value.__cause__, LockNotAvailable)
    go_on.set()
    new = load_of_it.result()
    assert Collection.objects.get() == new
    sae = library.sae(explored.sae.slug)
    assert sae
    assert feature(sae, 0)
    assert partitions_there() == 6


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("what", ["explorer_activity", "the old collection's"])
def test_a_load_waits_for_whoever_reads_for_long(
    partitions_there: Partitions,
    explored: Explored,
    elsewhere: Elsewhere,
    what: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a backup reads. Pages go on between two tries."""
    table = what if what.startswith("explorer") else f"explorer_examples_{explored.collection.pk}"
    monkeypatch.setattr(partitions, "PATIENCE", "100ms")
    monkeypatch.setattr(loading, "PAUSE", 0.1)
    with transaction.atomic():
        count(f"SELECT count(*) FROM {table}")
        load = elsewhere(load_collection, explored.sae, explored.corpus, explored.read.evidence)
        for _ in range(2):
            wait_for(waiting_for_a_lock)
            wait_for(lambda: not waiting_for_a_lock())
        assert not load.done()
    new = load.result()
    assert Collection.objects.get() == new
    assert new != explored.collection
    assert partitions_there() == 6


@pytest.mark.django_db(transaction=True)
def test_what_is_read_all_the_time_stays(
    partitions_there: Partitions, explored: Explored, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "PATIENCE", "10ms")
    monkeypatch.setattr(loading, "PAUSE", 0.0)
    monkeypatch.setattr(loading, "TRIES", 3)
    with transaction.atomic():
        count("SELECT count(*) FROM explorer_activity")
        load = elsewhere(load_collection, explored.sae, explored.corpus, explored.read.evidence)
        with pytest.raises(Refused, match="are being read all the time"):
            load.result()
    assert Collection.objects.get() == explored.collection
    assert partitions_there() == 6


@pytest.mark.django_db(transaction=True)
def test_what_is_backed_up_is_whole(
    explored: Explored, elsewhere: Elsewhere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tables come one after the other, and somebody would remove it after the first."""
    monkeypatch.setattr(partitions, "PATIENCE", "50ms")
    removed: list[BaseException | None] = []

    def say(_: str) -> None:
        if not removed:
            removed.append(elsewhere(remove_sae, explored.sae.pk).exception())

    with archive.written(tmp_path / "backup") as writer:
        _, tables, _ = writing._write_rows(writer, tmp_path, say)
    (refused,) = removed
    assert refused
    assert isinstance(refused.__cause__, LockNotAvailable)
    n = {each.table: each.rows for each in tables}
    assert n["explorer_collection"] == 1
    assert n["explorer_activity"] == n["explorer_examples"] == n["explorer_feature"] == explored.sae.n_latents
    remove_sae(explored.sae.pk)


@pytest.mark.django_db(transaction=True)
def test_two_loads_of_one_sae_at_once(
    partitions_there: Partitions, read: Read, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    """Over two corpora: whichever comes first makes the features, and both are there in the end."""
    folder = texts(tmp_path / "texts", ["Other text, which is short. "])
    opened = build_corpus([folder], read.lm.tokenizer, tmp_path / "corpus", context_length=16)
    evidence = tmp_path / "evidence"
    collect_evidence(read.lm, [read.sae], opened.contexts, [evidence], lengths=opened.lengths, pieces=opened.pieces)
    sae, first = sae_row(read.lm, read.sae), load_corpus(read.corpus, "texts")
    second = load_corpus(tmp_path / "corpus", "other")
    with transaction.atomic():
        one = load_collection(sae, first, read.evidence)
        load = elsewhere(load_collection, sae, second, evidence)
        wait_for(lambda: count("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'") == 1)
    other = load.result()
    assert set(Collection.objects.all()) == {one, other}
    assert partitions_there() == 2 * 2 + 1 + 2 * 3


@pytest.mark.django_db
def test_what_was_removed_is_not_loaded(
    partitions_there: Partitions, explored: Explored, django_capture_on_commit_callbacks: Any
) -> None:
    sae, corpus = explored.sae, explored.corpus
    other = sae_row(explored.read.lm, explored.read.sae, "another")
    with django_capture_on_commit_callbacks(execute=True):
        remove_sae(sae.pk)
    sae.pk = explored.collection.sae_id  # Django has taken it off
    with pytest.raises(Refused, match="a small SAE has been removed"):
        load_collection(sae, corpus, explored.read.evidence)
    with django_capture_on_commit_callbacks(execute=True):
        remove_corpus(corpus.pk)
    corpus.pk = explored.collection.corpus_id
    with pytest.raises(Refused, match="texts has been removed"):
        load_collection(other, corpus, explored.read.evidence)
    assert partitions_there() == 0
