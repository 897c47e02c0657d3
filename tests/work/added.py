"""An lm, SAEs and a corpus in folders, as people have them, and added to the library: what jobs begin with."""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from explorer.actions import attempts, jobs
from explorer.models import Corpus, Job, Sae
from explorer.work import explore
from explorer.work.attempt import Attempt
from sae_core import build_corpus, save_sae
from tests.work.collected import small_lm, small_sae

LENGTH = 32
EARLY = "blocks.0.hook_resid_post"


@dataclass(frozen=True)
class Given:
    """Folders that somebody could name."""

    folder: Path

    @property
    def lm(self) -> Path:
        return self.folder / "lm"

    @property
    def corpus(self) -> Path:
        return self.folder / "corpus"

    def sae(self, name: str = "late") -> Path:
        return self.folder / name

    def arguments(self, **changes: Any) -> dict[str, Any]:
        given = {"lm": str(self.lm), "sae": str(self.sae()), "corpus": str(self.corpus), "fit": "keep"}
        return {name: value for name, value in (given | changes).items() if value is not None}


@dataclass(frozen=True)
class Added:
    saes: list[Sae]
    corpus: Corpus

    def arguments(self, **more: Any) -> dict[str, Any]:
        """Of a job that collects them."""
        return {"saes": [sae.pk for sae in self.saes], "corpus": self.corpus.pk} | more


def give(folder: Path, *, contexts: int, n_latents: int, **of_lm: Any) -> Given:
    """Two SAEs of one lm, at hookpoints of their own, and so many contexts of ids; a document every 40 tokens."""
    lm = small_lm(folder / "lm", **of_lm)
    late = small_sae(n_latents)
    early = small_sae(n_latents, seed=1)
    save_sae(late, folder / "late")
    save_sae(early.with_config(hookpoint=EARLY), folder / "early")
    ids = np.random.default_rng(0).integers(1, lm.n_vocab, (contexts, LENGTH))
    np.save(folder / "ids.npy", ids)
    build_corpus([folder / "ids.npy"], lm.tokenizer, folder / "corpus")
    return Given(folder)


def claimed(kind: str, arguments: dict[str, Any]) -> Attempt:
    """A job that this process has."""
    job = attempts.claim(jobs.start(kind, arguments).pk, "a test")
    assert job
    return Attempt(job, threading.Event())


def add(given: Given, *names: str) -> Added:
    attempt = claimed("explore", {})
    found = [explore.add(attempt, given.arguments(sae=str(given.sae(name)), name=name)) for name in names]
    Job.objects.filter(pk=attempt.job.pk).delete()
    return Added([each.sae for each in found], found[0].corpus)
