"""Fault 14 while texts are written: a worker for which memory does not do, by a limit that the system puts on it."""

import resource
import shutil
from pathlib import Path

import psutil
import pytest
from django.conf import settings
from django.contrib.auth.models import AnonymousUser

from explorer import steering
from explorer.actions import steerings
from explorer.models import Job, Sae, Steering
from explorer.models.jobs import JobState
from explorer.steering import Asked, Method, Sampling, Text, Unit, Where
from tests.processes import Workers, until
from tests.work.added import add, give

pytestmark = pytest.mark.slow

MORE = 128 << 20  # bytes, than the worker has once it has written something
N_LATENTS, LONGEST, N_TEXTS, N_NEW = 1 << 17, 512, 64, 4
A_TOKEN = 4 * N_LATENTS  # bytes of its latents, which an lm that keeps but one of them computes for all tokens at once


@pytest.fixture
def sae(transactional_db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sae:
    monkeypatch.setattr(settings, "STEER_RUNS", N_TEXTS)
    monkeypatch.setattr(settings, "STEER_RATE", 1_000_000)
    return add(give(tmp_path / "given", contexts=4, n_latents=N_LATENTS, n_positions=LONGEST), "late").saes[0]


@pytest.fixture
def broker_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit counts what is reserved as well: of that, each thread has more than these texts take."""
    shutil.rmtree(settings.PLACES.broker, ignore_errors=True)
    for name in ("EXPLORER_JOB_THREADS", "OMP_NUM_THREADS", "MALLOC_ARENA_MAX"):
        monkeypatch.setenv(name, "1")


def steered(sae: Sae, n_texts: int, prompt: str = "Good text") -> Steering:
    kept = steering.change(0, sae, 5, Method.KEEP, 0.0, Unit.RAW, Where.EVERYWHERE, None)
    texts = tuple(Text(1, seed) for seed in range(n_texts))
    asked = Asked(sae.lm.fingerprint, prompt, False, (kept,), texts, Sampling(temperature=1.0), N_NEW)
    row = steerings.start(asked, by=AnonymousUser(), who="a test", watched=False)
    assert row.job
    job = row.job.pk
    until(lambda: not Job.objects.get(pk=job).unfinished, within=120)
    return Steering.objects.select_related("job").get(pk=row.pk)


def written(row: Steering) -> tuple[int, list[list[int]]]:
    """How many tokens its prompt has, and those of each text."""
    assert row.job
    assert row.job.state == JobState.DONE, row.job.error
    assert row.result
    return len(row.result["prompt"]), [text["ids"] for text in row.result["texts"]]


def test_want_of_memory(workers: Workers, sae: Sae) -> None:
    """Texts that do not fit into it together are written in parts, and what does not fit at all is told."""
    worker = workers.start("interactive")
    written(steered(sae, 1))
    process = psutil.Process(worker.popen.pid)
    resource.prlimit(process.pid, resource.RLIMIT_AS, (process.memory_info().vms + MORE, resource.RLIM_INFINITY))

    length, in_parts = written(steered(sae, N_TEXTS))
    assert N_TEXTS * length * A_TOKEN > MORE

    letters = LONGEST - N_NEW - 10  # each a token
    assert letters * A_TOKEN > MORE
    row = steered(sae, 1, prompt="x" * letters)
    assert row.job
    assert (row.job.state, row.job.failures, row.result) == (JobState.FAILED, 1, None)
    assert "There is not enough memory for this" in row.job.error
    assert "a shorter prompt" in row.job.error

    _, again = written(steered(sae, 2))
    assert again == in_parts[:2], "the same worker serves the next"
    assert worker.popen.poll() is None
    resource.prlimit(process.pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    _, at_once = written(steered(sae, N_TEXTS))
    assert in_parts == at_once
    assert len({tuple(ids) for ids in at_once}) > N_TEXTS // 2
