"""Adding an SAE: its lm, itself and text are read, held against each other, and become rows; then it is collected, and
measured. What cannot be used is refused before anything is kept.

Arguments: `lm`, a folder or hub id; `sae` likewise, or {"files": {name: sha256}} of an upload; `text`, `tokens` or
`corpus`; `name`, `hookpoint`, `contexts`, `context_length`; `fit`, what to do where another reading of the lm fits much
better: "use" it, "keep" to what the files say, or "ask", which ends the job with the question.
"""

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from explorer.actions.attempts import Lost
from explorer.actions.collections import forget_unnamed, remove_corpus
from explorer.models import Collection, Corpus, Job, MapPart, Sae
from explorer.models.jobs import UNFINISHED
from explorer.work import rows
from explorer.work.attempt import Attempt, Refused
from explorer.work.following import BEHIND, start_or_find
from explorer.work.loading import load_corpus, new_artifacts
from explorer.work.opening import corpus_of, lm_at, refusing, scratch
from explorer.work.reading import (
    Given,
    check_tokens,
    corpus_name,
    doubts_told,
    known_corpus,
    sae_given,
    tell_precision,
    text_given,
)
from sae_core import Corpus as OpenedCorpus
from sae_core import Fit, Lm, check_fit, collect_part, open_corpus
from sae_core.maps import MapConfig

Following = tuple[str, dict[str, Any]]  # a kind of job and its arguments
LOOKED_THROUGH = 1 << 20  # tokens, for what is not finite


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
    except Refused:
        _forget_upload(attempt.job)
        raise
    contexts = attempt.arguments.get("contexts")
    sae, corpus = added.sae, added.corpus
    found: dict[str, Any] = {"sae": sae.slug, "corpus": corpus.slug, "measure": []}
    then = [usual_map([sae])]
    found["collect"] = start_reading(attempt, [sae], corpus, contexts=contexts, then=then)
    mapped = MapPart.objects.filter(sae=sae, collection__corpus=corpus).exists()
    found["then"] = [] if found["collect"] or mapped else start_following(attempt, then)
    if sae.metrics is None:
        measuring = {"sae": sae.pk, "corpus": corpus.pk, "contexts": contexts}
        found["measure"] = [start_or_find(attempt, "measure", measuring, after=BEHIND)]
    _forget_upload(attempt.job)
    return found


def add(attempt: Attempt, arguments: dict[str, Any]) -> Added:
    """The rows of lm, SAE and corpus; those that are there already are found. All are made, or none."""
    with refusing(), scratch() as folder, ExitStack() as stack:
        attempt.report(done=0, total=0, unit="", message="Loading the language model")
        lm = lm_at(arguments["lm"])
        attempt.report(message="Loading the SAE")
        with doubts_told(attempt):
            given = sae_given(arguments, lm, folder / "uploaded")
            tell_precision(attempt, lm, given.sae)
            known, text = known_corpus(arguments), folder / "corpus"
            if known is None:
                text = text_given(attempt, arguments, lm, given.sae, text)
        opened = stack.enter_context(corpus_of(known)) if known else open_corpus(text)
        called = known.name if known else corpus_name(arguments)
        check_tokens(lm, opened, called)
        fit = _fit(attempt, arguments, lm, given, opened, folder)
        used = fit.better if fit.better and _may_use(attempt, arguments, fit) else None
        if used and used.reading.bos != fit.as_it_is.reading.bos:
            text = text_given(attempt, arguments, lm, given.sae, folder / "again", bos=used.reading.bos)
        given = replace(given, sae=fit.sae if used else given.sae)
        with new_artifacts() as put:
            files = rows.keep_files(lm, given, folder, put)
            corpus = known or load_corpus(text, called, attempt=attempt)
            try:
                with attempt.transaction():
                    lm_row = rows.lm_row(lm, arguments["lm"], files)
                    sae = rows.sae_row(attempt, lm_row, given, _told(fit, used=used is not None), files)
            except Lost:  # whoever has the job now has the corpus too
                raise
            except BaseException:
                _forget_corpus(corpus, attempt.job)
                raise
        return Added(sae, corpus)


def start_reading(
    attempt: Attempt, saes: list[Sae], corpus: Corpus, *, contexts: int | None = None, then: Sequence[Following] = ()
) -> int | None:
    """Starts a job that collects SAEs of one lm together, over at most so many contexts, and then what is to follow it.
    None: that is done, and nothing follows."""
    wanted = min(contexts or corpus.n_contexts, corpus.n_contexts)
    read = dict(Collection.objects.filter(sae__in=saes, corpus=corpus).values_list("sae", "about__contexts"))
    lacking = [sae.pk for sae in saes if read.get(sae.pk, 0) < wanted]
    if not lacking:
        return None
    arguments = {"saes": lacking, "corpus": corpus.pk, "contexts": contexts, "then": [list(each) for each in then]}
    return start_or_find(attempt, "collect", arguments)


def start_following(attempt: Attempt, then: Sequence[Following]) -> list[int]:
    return [start_or_find(attempt, kind, arguments) for kind, arguments in then]


def usual_map(saes: Sequence[Sae]) -> Following:
    return "map", {"saes": [sae.pk for sae in saes], **asdict(MapConfig()), "if_possible": True}


def _fit(attempt: Attempt, arguments: dict[str, Any], lm: Lm, given: Given, opened: OpenedCorpus, folder: Path) -> Fit:
    """Says what the fit check finds, asks where somebody wants to be asked."""
    attempt.report(done=0, total=0, unit="", message="Does the SAE fit?")
    contexts = opened.contexts[: arguments.get("contexts")]
    fit = check_fit(lm, given.sae, contexts)
    if not math.isfinite(fit.as_it_is.fvu):
        some = contexts[: max(1, LOOKED_THROUGH // contexts.shape[1])]
        lengths = np.asarray(opened.lengths[: len(some)])
        collect_part(lm, [given.sae], some, [folder / "looked-through"], lengths=lengths,
                     on_batch=lambda done, total: attempt.report(done=done, total=total, unit="contexts"))  # fmt: skip
    attempt.emit(f"{given.name}: {fit.message}\n")
    if fit.better and arguments.get("fit") == "ask":
        raise Question(fit.message)
    return fit


def _may_use(attempt: Attempt, arguments: dict[str, Any], fit: Fit) -> bool:
    """Whether the SAE is to be read as fits it better. With a beginning of text, or without, text is cut anew; ids that
    came as contexts stay as they are."""
    if arguments.get("fit") != "use" or fit.better is None:
        return False
    if fit.better.reading.bos == fit.as_it_is.reading.bos or "text" in arguments:
        return True
    attempt.emit("That takes other contexts than these, so it is not used; give the text itself.\n")
    return False


def _told(fit: Fit, *, used: bool) -> dict[str, Any]:
    """What the SAE's page says of it."""
    found: dict[str, Any] = {"fvu": _finite(fit.as_it_is.fvu), "l0": fit.as_it_is.l0, "better": None, "used": used}
    message = fit.message
    if fit.better:
        found |= {"better": fit.better.what, "better_fvu": _finite(fit.better.fvu)}
        message = message.replace("; use it?", "; so it is read" if used else "; it is read as its files say")
    return found | {"message": message}


def _forget_corpus(corpus: Corpus, job: Job) -> None:
    """One that this job has brought and nobody else uses."""
    if corpus.created_at >= job.created_at and not corpus.collections.exists():
        remove_corpus(corpus.pk)


def _forget_upload(job: Job) -> None:
    """The SAE is kept in our own format; as it was sent it is of no more use, unless somebody sent the same again."""
    if uploaded := _uploaded(job):
        others = Job.objects.filter(kind=job.kind, state__in=UNFINISHED).exclude(pk=job.pk)
        wanted = {sha256 for each in others for sha256 in _uploaded(each)}
        forget_unnamed(set(uploaded) - wanted)


def _uploaded(job: Job) -> list[str]:
    sae = job.arguments["sae"]
    return list(sae["files"].values()) if isinstance(sae, dict) else []


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
