"""Collecting as jobs: a plan cuts the corpus into parts, each is read by a job of its own, and when all are there one
evidence is made of them and loaded.

Arguments: `saes`, ids of SAEs of one lm, which share the forward; `corpus`; `contexts`, at most so many, or all of
them; `parts`, where somebody knows better how many; `then`, what is to be started when all is loaded, a kind and its
arguments each.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.db.models import Q
from django.db.models.functions import Now

from explorer import artifacts
from explorer.actions.jobs import Child
from explorer.models import Artifact, Collection, Corpus, Job, Sae
from explorer.models.jobs import UNFINISHED, JobState
from explorer.work import snippets
from explorer.work.attempt import Attempt, Cancelled, Refused, Removed
from explorer.work.following import start_or_find
from explorer.work.loading import load_collection
from explorer.work.opening import corpus_of, lm_of, refusing, sae_of, scratch
from sae_core import CollectConfig, collect_part, finish, shards
from sae_core import Corpus as OpenedCorpus

PART_TOKENS = 1 << 17  # that a killed worker may cost
MOST_PARTS = 1000
PART = "application/vnd.explorer.part"  # as whose media type their files are known
# How long a part's file is kept that no job has named yet, and those of a failed job, whose retry does only what is
# missing. What is gone is read again.
UNNAMED, FAILED = timedelta(hours=1), timedelta(days=7)


def plan(attempt: Attempt) -> list[Child]:
    forget_parts()
    arguments = attempt.arguments
    corpus, _ = _corpus_and_saes(arguments)
    n_contexts = min(arguments.get("contexts") or corpus.n_contexts, corpus.n_contexts)
    batch = CollectConfig().batch(corpus.context_length)
    n_parts = arguments.get("parts") or min(n_contexts * corpus.context_length // PART_TOKENS, MOST_PARTS)
    ranges = shards(n_contexts, batch, max(n_parts, 1))
    read = {name: arguments[name] for name in ("saes", "corpus")}
    return [
        Child("collect_part", read | {"first": first, "stop": stop}, total=stop - first, unit="contexts")
        for first, stop in ranges
    ]


def read_part(attempt: Attempt) -> dict[str, Any]:
    """What a range of contexts says of each SAE, as artifacts that any worker can fetch."""
    with _none_left(attempt), refusing():
        corpus, saes = _corpus_and_saes(attempt.arguments)
        with corpus_of(corpus) as opened:
            return {"parts": _read(attempt, saes, opened, attempt.arguments)}


def run(attempt: Attempt) -> dict[str, Any]:
    with _none_left(attempt), refusing():
        corpus, saes = _corpus_and_saes(attempt.arguments)
        with corpus_of(corpus) as opened:
            found = _put_together(attempt, saes, corpus, opened)
    forget_parts(attempt.job)
    then = [start_or_find(attempt, kind, following) for kind, following in attempt.arguments.get("then", ())]
    reading = [] if snippets.there_is_one() else [start_or_find(attempt, "read_text", snippets.of(saes[0], corpus))]
    return {"collections": found, "reading": reading, "then": then}


def _put_together(attempt: Attempt, saes: Sequence[Sae], corpus: Corpus, opened: OpenedCorpus) -> list[dict[str, Any]]:
    children = list(attempt.job.children.order_by("pk"))
    stop = max(child.arguments["stop"] for child in children)
    found = []
    with scratch() as folder:
        parts = [_part_paths(attempt, saes, opened, child) for child in children]
        lm = lm_of(saes[0].lm)
        for number, sae in enumerate(saes):
            collection = _loaded_before(attempt.job, sae, corpus, stop)
            if collection is None:
                evidence = folder / "evidence"
                finish(
                    lm,
                    sae_of(sae, lm),
                    [each[number] for each in parts],
                    evidence,
                    contexts=opened.contexts[:stop],
                    pieces=opened.pieces,
                    on_step=_step(attempt, sae),
                )
                collection = load_collection(sae, corpus, evidence, by=attempt.job.created_by, attempt=attempt)
                evidence.unlink()
            attempt.emit(f"{sae.name}: {_summary(collection)}\n")
            found.append({"sae": sae.slug, "collection": collection.pk})
    return found


def forget_parts(of: Job | None = None) -> None:
    """Removes the files of parts that no job is going to ask for, such as one that is over. Two jobs may share a file,
    where both say the same."""
    parts = Job.objects.filter(kind="collect_part", result__isnull=False)
    needing = Q(parent__state__in=UNFINISHED) | Q(parent__state=JobState.FAILED, parent__finished_at__gt=Now() - FAILED)
    unneeded = Artifact.objects.filter(media_type=PART).exclude(pk__in=_files(parts.filter(needing).exclude(parent=of)))
    for artifact in unneeded.filter(Q(pk__in=_files(parts)) | Q(created_at__lt=Now() - UNNAMED)):
        artifacts.remove(artifact)


@contextmanager
def _none_left(attempt: Attempt) -> Iterator[None]:
    """What was read is of no use once somebody has cancelled the whole, or taken away what it is about."""
    whole = attempt.job.parent or attempt.job
    try:
        yield
    except Removed:
        forget_parts(whole)
        raise
    except Cancelled:
        whole.refresh_from_db()
        if whole.cancel_requested:
            forget_parts(whole)
        raise


def _files(parts: Any) -> set[str]:
    return {sha256 for result in parts.values_list("result", flat=True) for sha256 in result["parts"]}


def _read(attempt: Attempt, saes: Sequence[Sae], opened: OpenedCorpus, given: dict[str, Any]) -> list[str]:
    first, stop = given["first"], given["stop"]
    attempt.report(done=0, total=stop - first, unit="contexts", message=", ".join(sae.name for sae in saes))
    with scratch() as folder:
        lm = lm_of(saes[0].lm)
        paths = [folder / f"part-{sae.pk}" for sae in saes]
        collect_part(
            lm,
            [sae_of(sae, lm) for sae in saes],
            opened.contexts,
            paths,
            first=first,
            stop=stop,
            lengths=opened.lengths,
            on_batch=lambda done, total: attempt.report(done=done),
        )
        return [_keep(path) for path in paths]


def _part_paths(attempt: Attempt, saes: Sequence[Sae], opened: OpenedCorpus, child: Job) -> list[Path]:
    """Where a part's files lie; read once more where they are gone, as those of a cancelled job are."""
    kept: list[str] = (child.result or {})["parts"]
    try:
        return [artifacts.path(sha256) for sha256 in kept]
    except (artifacts.ArtifactMissing, FileNotFoundError):
        return [artifacts.path(sha256) for sha256 in _read(attempt, saes, opened, child.arguments)]


def _corpus_and_saes(arguments: dict[str, Any]) -> tuple[Corpus, list[Sae]]:
    """Somebody may have taken one away since."""
    corpus = Corpus.objects.filter(pk=arguments["corpus"]).first()
    if corpus is None:
        raise Removed("The corpus that this was to read has been removed.")
    known = Sae.objects.select_related("lm").in_bulk(arguments["saes"])
    saes = [known[pk] for pk in arguments["saes"] if pk in known]
    if len(saes) < len(arguments["saes"]):
        raise Removed("An SAE that this was about has been removed.")
    if len({sae.lm_id for sae in saes}) != 1:
        raise Refused("These SAEs are not all of one language model, so they cannot share its forward.")
    return corpus, saes


def _loaded_before(job: Job, sae: Sae, corpus: Corpus, n_contexts: int) -> Collection | None:
    """By an attempt at this job that did not come to its end."""
    found = Collection.objects.filter(sae=sae, corpus=corpus, created_at__gte=job.created_at).first()
    return found if found and found.about["contexts"] == n_contexts else None


def _summary(collection: Collection) -> str:
    n_latents, never = collection.sae.n_latents, collection.n_never_fired
    over = f"{collection.tokens:,} tokens"
    if never == n_latents:
        return f"{over}; none of its {n_latents:,} latents ever fired. Is it read as it was trained?"
    return f"{over}; {never:,} of {n_latents:,} latents never fired"


def _keep(path: Path) -> str:
    with path.open("rb") as file:
        return artifacts.put(file, name=f"{path.name}.safetensors", media_type=PART).sha256


def _step(attempt: Attempt, sae: Sae) -> Callable[[int, int, str], None]:
    def step(done: int, total: int, what: str) -> None:
        attempt.report(message=f"{sae.name}: {what.lower()}")

    return step
