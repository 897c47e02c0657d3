"""Collecting as jobs: a plan cuts the corpus into parts, each is read by a job of its own, and when all are there one
evidence is made of them and loaded.

Arguments: `saes`, ids of SAEs of one lm, which share the forward; `corpus`; `contexts`, at most so many, or all of
them; `parts`, where somebody knows better how many.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from explorer import artifacts
from explorer.actions.collections import forget_unnamed
from explorer.actions.jobs import Child
from explorer.models import Corpus, Job, Sae
from explorer.models.jobs import JobState
from explorer.work.attempt import Attempt, Refused
from explorer.work.loading import load_collection
from explorer.work.opening import corpus_of, lm_of, refusing, sae_of, scratch
from sae_core import CollectConfig, collect_part, finish, shards
from sae_core import Corpus as OpenedCorpus

PART_TOKENS = 1 << 17  # that a killed worker may cost


def plan(attempt: Attempt) -> list[Child]:
    forget_parts(*Job.objects.filter(kind=attempt.job.kind, state=JobState.CANCELLED))
    arguments = attempt.arguments
    corpus, _ = _corpus_and_saes(arguments)
    n_contexts = min(arguments.get("contexts") or corpus.n_contexts, corpus.n_contexts)
    n_parts = arguments.get("parts") or n_contexts * corpus.context_length // PART_TOKENS
    batch = CollectConfig().batch(corpus.context_length)
    return [
        Child("collect_part", arguments | {"first": first, "stop": stop}, total=stop - first, unit="contexts")
        for first, stop in shards(n_contexts, batch, max(n_parts, 1))
    ]


def read_part(attempt: Attempt) -> dict[str, Any]:
    """What a range of contexts says of each SAE, as artifacts that any worker can fetch."""
    corpus, saes = _corpus_and_saes(attempt.arguments)
    with refusing(), corpus_of(corpus) as opened:
        return {"parts": _read(attempt, saes, opened, attempt.arguments)}


def run(attempt: Attempt) -> dict[str, Any]:
    corpus, saes = _corpus_and_saes(attempt.arguments)
    found = []
    with refusing(), scratch() as folder, corpus_of(corpus) as opened:
        parts = [_part_paths(attempt, saes, opened, child) for child in attempt.job.children.order_by("pk")]
        lm = lm_of(saes[0].lm)
        stop = max(child.arguments["stop"] for child in attempt.job.children.all())
        for number, sae in enumerate(saes):
            evidence = folder / f"evidence-{sae.pk}"
            about = finish(
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
            attempt.emit(
                f"{sae.name}: {about['tokens']:,} tokens, {collection.n_never_fired:,} of {sae.n_latents:,} latents "
                "never fired\n"
            )
            found.append({"sae": sae.slug, "collection": collection.pk})
    forget_parts(attempt.job)
    return {"collections": found}


def forget_parts(*jobs: Job) -> None:
    """The files that the parts of collections have left."""
    children = Job.objects.filter(parent__in=jobs, result__isnull=False)
    forget_unnamed(sha256 for child in children for sha256 in child.result["parts"])


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
    try:
        return [artifacts.path(sha256) for sha256 in child.result["parts"]]
    except artifacts.ArtifactMissing:
        return [artifacts.path(sha256) for sha256 in _read(attempt, saes, opened, child.arguments)]


def _corpus_and_saes(arguments: dict[str, Any]) -> tuple[Corpus, list[Sae]]:
    """Somebody may have taken one away since."""
    corpus = Corpus.objects.filter(pk=arguments["corpus"]).first()
    if corpus is None:
        raise Refused("The corpus that this was to read has been removed.")
    known = Sae.objects.select_related("lm").in_bulk(arguments["saes"])
    saes = [known[pk] for pk in arguments["saes"] if pk in known]
    if len(saes) < len(arguments["saes"]):
        raise Refused("An SAE that this was about has been removed.")
    if len({sae.lm_id for sae in saes}) != 1:
        raise Refused("These SAEs are not all of one language model, so they cannot share its forward.")
    return corpus, saes


def _keep(path: Path) -> str:
    with path.open("rb") as file:
        return artifacts.put(file, name=f"{path.name}.safetensors").sha256


def _step(attempt: Attempt, sae: Sae) -> Any:
    def step(done: int, total: int, what: str) -> None:
        attempt.report(message=f"{sae.name}: {what.lower()}")

    return step
