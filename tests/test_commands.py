"""Commands for the terminal: run_job in the foreground, another sign-in link."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client

from explorer.actions import jobs
from explorer.models import Job
from explorer.models.jobs import JobState
from tests.processes import ROOT, Process, environment, until

pytestmark = pytest.mark.django_db(transaction=True)


def manage(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=ROOT,
        env=os.environ | environment(None),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


@pytest.fixture
def foreground(tmp_path: Path) -> Iterator[Process]:
    job = jobs.start("test_count", {"n": 200, "pause": 0.05})
    made = Process([sys.executable, "manage.py", "run_job", str(job.pk)], tmp_path / "log", environment(None))
    yield made
    made.close()


def test_a_new_job_runs_here_and_says_its_result() -> None:
    done = manage("run_job", "test_count", "--arguments", '{"n": 4}')
    assert done.returncode == 0, done.stderr
    job = Job.objects.get()
    assert (job.state, job.result) == (JobState.DONE, {"sum": 10})
    assert f"Job {job.pk} (test_count): done" in done.stdout
    assert json.loads(done.stdout[done.stdout.index("{") :]) == {"sum": 10}


def test_a_queued_job_runs_here() -> None:
    job = jobs.start("test_count", {"n": 3})
    assert manage("run_job", str(job.pk)).returncode == 0
    job.refresh_from_db()
    assert job.result == {"sum": 6}


def test_its_traceback_is_shown() -> None:
    done = manage("run_job", "test_fail")
    assert done.returncode == 1
    assert "in fail" in done.stderr
    assert "before it fails" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nonsense"], "no kind of job is called 'nonsense'; there are ablate, collect, collect_part, demo"),
        (["999999"], "There is no job 999999."),
        (["test_count", "--arguments", "{"], "--arguments: Expecting"),
        (["test_count", "--arguments", "[]"], "--arguments: a JSON object is wanted"),
    ],
)
def test_what_cannot_be_run_is_said(words: list[str], said: str) -> None:
    done = manage("run_job", *words)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not Job.objects.exists()


def test_an_ended_job_is_not_run_again() -> None:
    job = Job.objects.create(kind="test_count", queue="batch", state=JobState.DONE)
    done = manage("run_job", str(job.pk))
    assert f"Job {job.pk} is done; only a queued job can be run." in done.stderr


def test_ctrl_c_gives_the_job_back(foreground: Process) -> None:
    until(lambda: Job.objects.get().done > 0)
    assert foreground.end(signal.SIGINT) == 0
    job = Job.objects.get()
    assert (job.state, job.failures) == (JobState.QUEUED, 0)
    assert ": queued" in foreground.said


def test_another_link_is_printed_and_works() -> None:
    User.objects.create_user("ann")
    done = manage("sign_in_link", "ann")
    assert done.returncode == 0, done.stderr
    path = done.stdout.strip().removeprefix("http://127.0.0.1:8000")
    client = Client()
    assert client.get(path).headers["Location"] == "/"
    assert client.get("/").context["user"].username == "ann"


def test_nobody_gets_no_link() -> None:
    done = manage("sign_in_link", "nobody")
    assert done.returncode == 1
    assert "Nobody who may sign in is called 'nobody'." in done.stderr
