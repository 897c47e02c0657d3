"""What tests of collecting under fire look at: the evidence that is to come out, and whatever may be left over."""

from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.db import connection

from explorer import artifacts
from explorer.models import Artifact, Collection, Job
from explorer.models.jobs import JobState
from explorer.work.collect import PART
from sae_core import CollectConfig, collect_part, finish, load_lm, load_sae, open_corpus, shards
from tests.processes import until
from tests.work.added import LENGTH, Given, give

PARTS, BATCHES, LATENTS = 6, 24, 1000  # a part takes about a second


@dataclass(frozen=True)
class Ground:
    given: Given
    evidence: str  # sha256 of what an undisturbed run gives for the SAE called late
    evidence_bytes: int
    part_bytes: int


def lay(folder: Path) -> Ground:
    batch = CollectConfig().batch(LENGTH)
    given = give(folder, contexts=BATCHES * batch - 3, n_latents=LATENTS)
    lm, sae, corpus = load_lm(given.lm), load_sae(given.sae()), open_corpus(given.corpus)
    paths = []
    for first, stop in shards(len(corpus.contexts), batch, PARTS):
        paths.append(folder / f"{first}")
        collect_part(lm, [sae], corpus.contexts, [paths[-1]], first=first, stop=stop, lengths=corpus.lengths)
    finish(lm, sae, paths, folder / "evidence", contexts=corpus.contexts, pieces=corpus.pieces)
    with (folder / "evidence").open("rb") as file:
        return Ground(given, *artifacts.digest(file), paths[0].stat().st_size)


def ended(job: Job, within: float = 90) -> Job:
    until(lambda: not Job.objects.get(pk=job.pk).unfinished, within)
    return Job.objects.get(pk=job.pk)


def in_the_midst(job: Job, whole: int = 2) -> None:
    """Waits until some parts are done and one is at work: how far it is would be seen of slow ones alone."""
    running = job.children.filter(state=JobState.RUNNING)
    until(lambda: job.children.filter(state=JobState.DONE).count() >= whole and running.exists(), within=90)


def holds(job: Job, evidence: str) -> None:
    """The job is done, its evidence and rows are there, and nothing else of it."""
    job = ended(job)
    assert job.state == JobState.DONE, job.error
    assert [each.evidence_id for each in Collection.objects.all()] == [evidence]
    assert artifacts.path(evidence).is_file()
    assert partitions() == of(Collection.objects.get())
    nothing_over()


def of(collection: Collection) -> set[str]:
    owners = {
        "activity": collection.pk, "examples": collection.pk, "tokenindex": collection.pk,
        "feature": collection.sae_id, "context": collection.corpus_id, "document": collection.corpus_id,
    }  # fmt: skip
    return {f"explorer_{table}_{owner}" for table, owner in owners.items()}


def partitions() -> set[str]:
    """Tables of one owner each, attached or not."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^explorer_[a-z]+_[0-9]+$'")
        return {name for (name,) in cursor.fetchall()}


def nothing_over() -> None:
    """No file of a part, no draft, and nothing that was put together on the way."""
    assert not Artifact.objects.filter(media_type=PART).exists()
    kept = {artifacts.key(sha256) for sha256 in Artifact.objects.values_list("pk", flat=True)}
    folder = settings.PLACES.artifacts
    assert {str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file()} == kept
    assert list(settings.PLACES.scratch.iterdir()) == []
