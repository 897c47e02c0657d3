"""Adding an SAE: its lm, itself and text are read, held against each other, and become rows; then it is collected, and
measured. What cannot be used is refused before anything is kept.

Arguments: `lm`, a folder or hub id; `sae` likewise, or {"files": {name: sha256}} of an upload; `text`, `tokens` or
`corpus`; `name`, `hookpoint`, `contexts`, `context_length`; `fit`, what to do where another reading of the lm fits much
better: "use" it, "keep" to what the files say, or "ask", which ends the job with the question.
"""

import hashlib
import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from explorer import vocabulary
from explorer.actions import jobs
from explorer.models import Collection, Corpus, Job, LanguageModel, Sae
from explorer.models.jobs import UNFINISHED
from explorer.plain import plain
from explorer.work.attempt import Attempt
from explorer.work.loading import free_slug, load_corpus, new_artifacts
from explorer.work.opening import corpus_of, refusing, scratch
from explorer.work.reading import Given, check_tokens, sae_given, text_given
from sae_core import Corpus as OpenedCorpus
from sae_core import Fit, Lm, check_fit, load_lm, open_corpus, save_sae


@dataclass(frozen=True)
class Added:
    sae: Sae
    corpus: Corpus


class Question(Exception):
    """What somebody is to decide first."""


def run(attempt: Attempt) -> dict[str, Any]:
    try:
        added = add(attempt, attempt.arguments)
    except Question as question:
        return {"question": str(question)}
    started = start_reading(attempt, [added.sae], added.corpus, contexts=attempt.arguments.get("contexts"))
    return {"sae": added.sae.slug, "corpus": added.corpus.slug} | started


def add(attempt: Attempt, arguments: dict[str, Any]) -> Added:
    """The rows of lm, SAE and corpus; those that are there already are found."""
    with refusing(), scratch() as folder, ExitStack() as stack:
        attempt.report(done=0, total=0, unit="", message="Loading the language model")
        lm = load_lm(arguments["lm"])
        attempt.report(message="Loading the SAE")
        given = sae_given(arguments, lm, folder / "uploaded")
        corpus = Corpus.objects.filter(slug=arguments.get("corpus", "")).first()
        if corpus:
            text, opened = None, stack.enter_context(corpus_of(corpus))
        else:
            text = text_given(attempt, arguments, lm, given.sae, folder / "corpus")
            opened = open_corpus(text)
        check_tokens(lm, opened)
        attempt.report(done=0, total=0, unit="", message="Does the SAE fit?")
        fit = check_fit(lm, given.sae, opened.contexts)
        attempt.emit(f"{given.name}: {fit.message}\n")
        if fit.better and arguments.get("fit") == "ask":
            raise Question(fit.message)
        if fit.better and arguments.get("fit") == "use":
            given = replace(given, sae=fit.sae)
            if "text" in arguments and fit.better.reading.bos != opened.config.prepend_bos:
                again = folder / "corpus-again"
                text = text_given(attempt, arguments, lm, given.sae, again, bos=fit.better.reading.bos)
        if corpus is None:
            assert text is not None
            corpus = load_corpus(text, _called(arguments, opened), attempt=attempt)
        return Added(_rows(attempt, arguments, lm, given, fit, folder), corpus)


def start_reading(
    attempt: Attempt, saes: list[Sae], corpus: Corpus, *, contexts: int | None = None, measure: bool = True
) -> dict[str, Any]:
    """Starts what remains to be done with SAEs of one lm: collecting them together, over at most so many contexts, and
    measuring each."""
    found: dict[str, Any] = {"collect": None, "measure": []}
    wanted = min(contexts or corpus.n_contexts, corpus.n_contexts)
    read = dict(Collection.objects.filter(sae__in=saes, corpus=corpus).values_list("sae", "about__contexts"))
    lacking = [sae.pk for sae in saes if read.get(sae.pk, 0) < wanted]
    if lacking:
        arguments = {"saes": lacking, "corpus": corpus.pk, "contexts": contexts}
        found["collect"] = _started(attempt, "collect", arguments)
    for sae in saes:
        if measure and sae.metrics is None:
            found["measure"].append(_started(attempt, "measure", {"sae": sae.pk, "corpus": corpus.pk}))
    return found


def _started(attempt: Attempt, kind: str, arguments: dict[str, Any]) -> int:
    """One that an attempt before this one has started goes on."""
    under_way = Job.objects.filter(kind=kind, arguments=arguments, state__in=UNFINISHED).first()
    return (under_way or jobs.start(kind, arguments, by=attempt.job.created_by)).pk


def _rows(attempt: Attempt, arguments: dict[str, Any], lm: Lm, given: Given, fit: Fit, folder: Path) -> Sae:
    config = json.loads(json.dumps(asdict(given.sae.config)))
    weights = save_sae(given.sae, folder / "weights") / "sae.safetensors"
    with new_artifacts() as put:
        sha256 = put(weights, f"{free_slug(Sae, given.name)}.safetensors") if weights.is_file() else None
        words = _vocabulary(lm, folder, put)
        fingerprint = hashlib.sha256(json.dumps([config, sha256], sort_keys=True).encode()).hexdigest()
        with attempt.transaction():
            sae, _ = Sae.objects.get_or_create(
                lm=_lm_row(lm, arguments["lm"], words),
                fingerprint=fingerprint,
                defaults={
                    "slug": free_slug(Sae, given.name),
                    "name": plain(given.name)[:200],
                    "hookpoint": given.sae.hookpoint,
                    "hookpoint_out": given.sae.hookpoint_out if given.sae.config.transcoder else "",
                    "family": str(given.sae.config.family),
                    "d_in": given.sae.d_in,
                    "d_out": given.sae.d_out,
                    "n_latents": given.sae.n_latents,
                    "config": config,
                    "weights_id": sha256,
                    "source": plain(given.source)[:1000],
                    "fit": {"message": fit.message, "fvu": _finite(fit.as_it_is.fvu), "l0": fit.as_it_is.l0},
                    "created_by": attempt.job.created_by,
                },
            )
    return sae


def _vocabulary(lm: Lm, folder: Path, put: Callable[[Path, str], str]) -> str | None:
    """Kept as an artifact, where there is a tokenizer."""
    if lm.tokenizer is None:
        return None
    blob, starts = lm.tokenizer.table
    tokens = [blob[first:stop] for first, stop in pairwise(starts.tolist())]
    (folder / "vocabulary").write_bytes(vocabulary.write(tokens, lm.tokenizer.special_ids))
    return put(folder / "vocabulary", "vocabulary.bin")


def _lm_row(lm: Lm, source: str, words: str | None) -> LanguageModel:
    row, _ = LanguageModel.objects.get_or_create(
        fingerprint=lm.fingerprint,
        defaults={
            "slug": free_slug(LanguageModel, lm.name),
            "name": plain(lm.name)[:200],
            "source": source,
            "kind": lm.layout.kind,
            "n_layers": lm.n_layers,
            "d_model": lm.d_model,
            "n_vocab": lm.n_vocab,
            "mask_ids": list(lm.mask_ids),
            "tokenizer": lm.tokenizer.fingerprint if lm.tokenizer else "",
            "vocabulary_id": words,
        },
    )
    return row


def _called(arguments: dict[str, Any], opened: OpenedCorpus) -> str:
    """A corpus, by what it was made of."""
    sources = arguments.get("text") or [arguments.get("tokens") or arguments.get("corpus") or ""]
    more = f" and {len(sources) - 1} more" if len(sources) > 1 else ""
    return f"{Path(sources[0]).name}{more}, {opened.config.context_length} tokens"


def _finite(number: float) -> float | None:
    return number if number < float("inf") else None
