"""The jobs of `benchmarks/shards.py`; imported once Django is set up."""

import threading
import time
from typing import Any, TypedDict

from django.conf import settings

from explorer.actions import attempts, jobs
from explorer.models import Collection, Job
from explorer.models.jobs import JobState
from explorer.work import explore
from explorer.work.attempt import Attempt
from explorer.work.explore import Added

PARTS = 8
PATIENCE = 300.0  # seconds


class Run(TypedDict):
    parts: float  # seconds from the first part's start to the last one's end
    whole: float
    evidence: str


def add() -> Added:
    """The demo's, by this process."""
    demo = settings.BASE_DIR / "demo"
    job = attempts.claim(jobs.start("explore").pk, "a benchmark")
    assert job
    folders = {"lm": "lms/deep", "sae": "saes/deep-topk-1024", "corpus": "corpus"}
    arguments: dict[str, Any] = {name: str(demo / folder) for name, folder in folders.items()} | {"fit": "keep"}
    attempt = Attempt(job, threading.Event())
    found = explore.add(attempt, arguments)
    attempts.finish(job, attempt.tail, None)
    return found


def warm_up(given: Added, workers: int) -> None:
    """Until each has loaded the lm."""
    seen: set[str] = set()
    while len(seen) < workers:
        job = _done(given, contexts=PARTS * 64)
        seen |= set(job.children.values_list("worker", flat=True))


def collect(given: Added, contexts: int) -> Run:
    job = _done(given, contexts=contexts)
    begun, ended = zip(*job.children.values_list("started_at", "finished_at"), strict=True)
    assert job.finished_at
    return {
        "parts": (max(ended) - min(begun)).total_seconds(),
        "whole": (job.finished_at - job.created_at).total_seconds(),
        "evidence": str(Collection.objects.get().evidence_id),
    }


def _done(given: Added, contexts: int) -> Job:
    arguments = {"saes": [given.sae.pk], "corpus": given.corpus.pk, "contexts": contexts, "parts": PARTS}
    job = jobs.start("collect", arguments)
    deadline = time.monotonic() + PATIENCE
    while job.unfinished:
        assert time.monotonic() < deadline, f"after {PATIENCE:g} s the job is {job.state}"
        time.sleep(0.05)
        job.refresh_from_db()
    assert job.state == JobState.DONE, job.error
    return job
