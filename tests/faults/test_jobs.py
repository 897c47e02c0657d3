"""Faults 1 to 5 and 8: workers that die, hang, are stopped or are told twice, on both brokers."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from django.contrib.auth.models import User

from explorer import doorbell
from explorer.actions import jobs
from explorer.models import Job
from explorer.models.jobs import JobState
from tests.processes import ROOT, Workers, environment, until

pytestmark = pytest.mark.slow


def state(job: Job) -> str:
    return Job.objects.values_list("state", flat=True).get(pk=job.pk)


def ended(job: Job, within: float = 30) -> Job:
    until(lambda: not Job.objects.get(pk=job.pk).unfinished, within)
    return Job.objects.get(pk=job.pk)


def lines(trace: Path) -> list[str]:
    return trace.read_text().split()


def test_another_worker_resumes_from_the_last_shard(workers: Workers, tmp_path: Path) -> None:
    """Fault 1: kill -9 in the middle; whole shards stay, the one at work is done again, the result is the same."""
    first = workers.start()
    parts, n = 5, 20
    job = jobs.start("test_parts", {"parts": parts, "n": n, "folder": str(tmp_path), "pause": 0.02})
    done, running = job.children.filter(state=JobState.DONE), job.children.filter(state=JobState.RUNNING)
    until(lambda: done.count() >= 2 and running.exists())
    first.send(signal.SIGKILL)
    first.popen.wait()
    whole = {child.arguments["part"] for child in done}
    at_work = {child.arguments["part"] for child in running}
    written = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("part-*")}
    workers.start()

    assert ended(job).result == {"sum": sum(range(parts * n))}
    for part in range(parts):
        path = tmp_path / f"part-{part}"
        assert (written.get(path.name) == path.stat().st_mtime_ns) == (part in whole)
    attempts = {child.arguments["part"]: child.attempt for child in job.children.all()}
    assert attempts == {part: 2 if part in at_work else 1 for part in range(parts)}


def test_a_message_that_comes_twice_runs_one_job(workers: Workers, trace: Path) -> None:
    """Fault 2: two workers, four messages, one job."""
    for _ in range(2):
        workers.start()
    job = jobs.start("test_count", {"n": 10, "pause": 0.05, "trace": str(trace)})
    assert doorbell.ring(job, job, job)

    done = ended(job)
    assert (done.state, done.attempt, done.result) == (JobState.DONE, 1, {"sum": 55})
    assert lines(trace) == [str(number) for number in range(1, 11)]


def test_a_worker_that_wakes_after_its_lease_writes_nothing(workers: Workers, trace: Path) -> None:
    """Fault 3: SIGSTOP past the lease, another worker does the job, SIGCONT."""
    sleeper = workers.start()
    job = jobs.start("test_deaf", {"seconds": 1, "trace": str(trace)})
    until(lambda: lines(trace) == ["asleep"])
    sleeper.send(signal.SIGSTOP)
    other = workers.start()
    done = ended(job)
    assert (done.state, done.attempt) == (JobState.DONE, 2)

    before = Job.objects.filter(pk=job.pk).values().get()
    sleeper.send(signal.SIGCONT)
    until(lambda: "was overtaken" in sleeper.said)
    assert Job.objects.filter(pk=job.pk).values().get() == before
    # Both go on: the stale one has not died of it.
    for worker in (sleeper, other):
        assert worker.popen.poll() is None


def test_a_job_that_kills_its_worker_is_parked(workers: Workers, trace: Path) -> None:
    """Fault 4: three times, as a supervisor would start new workers; then the queue moves on."""
    job = jobs.start("test_die", {"trace": str(trace)})
    for attempt in (1, 2, 3):
        worker = workers.start(wait=False)
        until(lambda attempt=attempt: lines(trace)[-1:] == [str(attempt)])  # type: ignore[misc]
        assert worker.popen.wait(10) == -signal.SIGKILL
    following = jobs.start("test_count", {"n": 3})
    workers.start()

    assert ended(following).result == {"sum": 6}
    parked = ended(job)
    assert (parked.state, parked.failures, parked.attempt) == (JobState.FAILED, 3, 3)
    assert "stopped answering" in parked.error
    assert lines(trace) == ["1", "2", "3"]


def test_a_failing_body_is_parked_with_its_traceback(workers: Workers) -> None:
    workers.start()
    job = ended(jobs.start("test_fail"))
    assert (job.state, job.failures) == (JobState.FAILED, 3)
    assert job.error == "RuntimeError: no \ufffd such \ufffd thing"
    assert "in fail" in job.traceback
    assert job.text == "before it fails"


def test_a_refused_job_is_not_tried_again(workers: Workers) -> None:
    workers.start()
    job = ended(jobs.start("test_refuse"))
    assert (job.state, job.failures, job.attempt, job.traceback) == (JobState.FAILED, 1, 1, "")
    assert job.error.startswith("layer_3.safetensors: W_dec")


def test_a_worker_that_is_asked_to_end_gives_its_job_back(workers: Workers, trace: Path) -> None:
    """Fault 5: SIGTERM between two batches; a clean exit, and the job is nobody's fault."""
    first = workers.start()
    job = jobs.start("test_count", {"n": 60, "pause": 0.05, "trace": str(trace)})
    until(lambda: len(lines(trace)) >= 3)
    assert first.end(within=5) == 0
    given_back = Job.objects.get(pk=job.pk)
    assert (given_back.state, given_back.failures, given_back.attempt) == (JobState.QUEUED, 0, 1)

    workers.start()
    done = ended(job)
    assert (done.state, done.attempt, done.result) == (JobState.DONE, 2, {"sum": 60 * 61 // 2})


def test_threads_give_their_jobs_back_too(workers: Workers, trace: Path) -> None:
    worker = workers.start("interactive")
    streams = [jobs.start("test_stream", {"n": 400, "pause": 0.05, "trace": str(trace)}) for _ in range(3)]
    until(lambda: len(lines(trace)) >= 6)
    assert worker.end(within=5) == 0
    assert {state(job) for job in streams} == {JobState.QUEUED}


KILLED_BEFORE_IT_RINGS = """
import django; django.setup()
import os, signal
from django.db import transaction
from explorer.actions import jobs

with transaction.atomic():
    transaction.on_commit(lambda: os.kill(os.getpid(), signal.SIGKILL))  # hooks run in the order they came
    jobs.start("test_count", {"n": 4})
"""


def test_a_row_whose_message_was_never_sent_is_swept_up(workers: Workers, broker_url: str | None) -> None:
    """Fault 8: the process dies after the commit and before it rings."""
    workers.start()
    command = [sys.executable, "-c", KILLED_BEFORE_IT_RINGS]
    killed = subprocess.run(command, cwd=ROOT, env=os.environ | environment(broker_url), check=False)
    assert killed.returncode == -signal.SIGKILL
    assert ended(Job.objects.get()).result == {"sum": 10}


def test_cancel_reaches_a_running_job_and_its_queued_children(workers: Workers, tmp_path: Path) -> None:
    workers.start()
    job = jobs.start("test_parts", {"parts": 4, "n": 200, "folder": str(tmp_path), "pause": 0.02})
    until(lambda: job.children.filter(state=JobState.RUNNING).exists())
    jobs.cancel(job.pk)
    assert ended(job, within=3).state == JobState.CANCELLED
    assert set(job.children.values_list("state", flat=True)) == {JobState.CANCELLED}
    assert list(tmp_path.glob("part-*")) == []


def test_a_failed_part_fails_the_whole_and_a_retry_does_only_what_is_missing(workers: Workers, tmp_path: Path) -> None:
    workers.start()
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "part-1").mkdir()  # part 1 cannot put its file there
    job = jobs.start("test_parts", {"parts": 3, "n": 5, "folder": str(folder)})
    failed = ended(job)
    assert failed.state == JobState.FAILED
    assert "IsADirectoryError" in failed.error

    (folder / "part-1").rmdir()
    done_before = set(job.children.filter(state=JobState.DONE).values_list("pk", "attempt"))
    jobs.retry(job.pk)
    assert ended(job).result == {"sum": sum(range(15))}
    assert done_before <= set(job.children.values_list("pk", "attempt"))


def test_a_job_outlives_whoever_started_it(workers: Workers) -> None:
    user = User.objects.create_user("gone")
    job = jobs.start("test_count", {"n": 2}, by=user)
    user.delete()
    workers.start()
    assert ended(job).result == {"sum": 3}
