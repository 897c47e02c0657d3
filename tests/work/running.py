"""Jobs run in the test's own process, one after another, as a worker would."""

from pathlib import Path
from typing import Any

from django.db.models.functions import Now

from explorer.actions import jobs
from explorer.models import Job
from explorer.models.jobs import JobState
from explorer.work import runner
from explorer.work.keeper import Keeper
from sae_core import save_sae
from sae_core.lm import Lm
from sae_core.sae import Sae as CoreSae
from tests.work.collected import small_lm, small_sae, texts


def run(kind: str, arguments: dict[str, Any]) -> Job:
    """A job and its parts, to their end; what it has started besides stays queued."""
    job = jobs.start(kind, arguments)
    work_off(job)
    job.refresh_from_db()
    return job


def found(kind: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """What such a job comes to."""
    job = run(kind, arguments)
    assert job.state == JobState.DONE, job.error
    result: dict[str, Any] = job.result or {}
    return result


def work_off(*of: Job) -> None:
    """Whatever can be run now, or of these jobs alone."""
    keeper = Keeper()
    while True:
        due = Job.objects.filter(state=JobState.QUEUED, not_before__lte=Now())
        if of:
            due = due.filter(pk__in=[each.pk for each in of]) | due.filter(parent__in=of)
        first = due.order_by("-parent", "pk").first()
        if first is None:
            return
        runner.run(first.pk, keeper)


class Shelf:
    """A small lm, an SAE for it and texts, in folders, as somebody brings them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lm: Lm = small_lm(folder / "lm")
        self.text = texts(folder / "texts")
        self.sae: CoreSae = small_sae()
        self.put(self.sae, "sae")

    def put(self, sae: CoreSae, name: str) -> Path:
        return save_sae(sae, self.folder / name)

    def arguments(self, **others: Any) -> dict[str, Any]:
        text = {} if {"tokens", "corpus"} & set(others) else {"text": [str(self.text)]}
        given = {"lm": str(self.folder / "lm"), "sae": str(self.folder / "sae"), "context_length": 16}
        return given | text | others
