"""manage.py explore: runs its jobs itself or follows those who do, and prints the page to open."""

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from explorer.models import Artifact, Collection, Corpus, Job, LanguageModel, Sae
from explorer.models.jobs import JobState
from sae_core import save_sae
from tests.processes import ROOT, Process, Workers, environment, until
from tests.sae_core.test_fit import BOS, subspace_sae, what_passes
from tests.sae_core.test_fit import made as fitted_lm
from tests.test_commands import manage
from tests.work.added import LENGTH, Given, give

pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.parametrize("broker_url", ["files"], indirect=True),
]
ADDRESS = "http://127.0.0.1:8000/saes/a-small-one/"


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Given:
    return give(tmp_path_factory.mktemp("given"), contexts=3000, n_latents=1000)


def words(given: Given, **others: str) -> list[str]:
    """As somebody types them, paths from where the command is run."""
    paths = {"lm": given.lm, "sae": given.sae(), "tokens": given.folder / "ids.npy"}
    named = (
        {name: os.path.relpath(path, ROOT) for name, path in paths.items()}
        | {"name": "A small one", "contexts": "300"}
        | others
    )
    return ["explore", *(word for name, value in named.items() for word in (f"--{name}", value))]


def test_alone_it_does_the_work_itself(given: Given, broker_url: None) -> None:
    done = manage(*words(given))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{ADDRESS}\n"
    sae = Sae.objects.get()
    assert sae.lm.source == str(given.lm.resolve())
    assert sae.metrics
    assert Collection.objects.get(sae=sae).tokens == 300 * LENGTH
    assert set(Job.objects.values_list("kind", "state")) == {
        (kind, JobState.DONE) for kind in ("explore", "collect", "collect_part", "read_text", "measure", "map")
    }

    again = manage(*words(given))
    assert (again.returncode, again.stdout) == (0, done.stdout)
    assert Collection.objects.count() == Corpus.objects.count() == Sae.objects.count() == 1
    assert Job.objects.exclude(kind="explore").count() == 5


def test_it_follows_workers(given: Given, workers: Workers) -> None:
    started = {str(workers.start(queue).popen.pid) for queue in ("batch", "interactive")}
    done = manage(*words(given))
    assert (done.returncode, done.stdout) == (0, f"{ADDRESS}\n"), done.stderr
    assert {name.split(":")[1] for name in Job.objects.values_list("worker", flat=True)} == started
    assert Collection.objects.get().tokens == 300 * LENGTH


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"lm": "no/such/lm/.."}, "no/such/lm/.."),
        ({"hookpoint": "blocks.7.hook_resid_post"}, "blocks.7.hook_resid_post"),
    ],
)
def test_what_cannot_be_used_is_said(given: Given, broker_url: None, others: dict[str, str], said: str) -> None:
    done = manage(*words(given, **others))
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    assert said in done.stderr.splitlines()[-1]
    job = Job.objects.get()
    assert (job.state, job.failures) == (JobState.FAILED, 1)
    assert done.stderr.splitlines()[-1] == f"CommandError: {job.error}"
    for model in (LanguageModel, Sae, Corpus, Artifact):
        assert not model.objects.exists()


def test_ctrl_c_leaves_a_job_that_a_worker_can_take(given: Given, broker_url: None, tmp_path: Path) -> None:
    command = Process(
        [sys.executable, "manage.py", *words(given, contexts="3000")], tmp_path / "log", environment(None)
    )
    try:
        until(lambda: Job.objects.filter(kind="collect_part", state=JobState.RUNNING).exists(), within=90)
        assert command.end(signal.SIGINT) == 1
    finally:
        command.close()
    job = Job.objects.get(kind="collect")
    assert f"CommandError: Stopped. Job {job.pk} goes on where it is when a worker next comes for it." in command.said
    part = job.children.get()
    assert (part.state, part.failures, job.state) == (JobState.QUEUED, 0, JobState.WAITING)
    assert not Collection.objects.exists()


@pytest.mark.slow
@pytest.mark.parametrize(("answer", "centred"), [("y", True), ("n", False)])
def test_it_asks_on_a_terminal(broker_url: None, tmp_path: Path, answer: str, centred: bool) -> None:
    """The SAE was trained on centred activations, and its files do not say so."""
    lm = fitted_lm(own_means=30, read_bos=0)
    lm.hf.save_pretrained(tmp_path / "lm")
    ids = np.random.default_rng(0).integers(3, lm.n_vocab, size=(220, 20))
    ids[:, 0] = BOS
    np.save(tmp_path / "ids.npy", ids)
    given = Given(tmp_path)
    save_sae(subspace_sae(what_passes(lm, ids, centred=True)), given.sae())
    ours, theirs = pty.openpty()
    os.write(ours, f"{answer}\n".encode())
    done = subprocess.run(
        [sys.executable, "manage.py", *words(given)],
        cwd=ROOT, env=os.environ | environment(None), stdin=theirs, capture_output=True, text=True, check=False,
    )  # fmt: skip
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 0, done.stderr
    assert "centred gives FVU " in done.stderr
    assert "use it?" in done.stderr
    assert done.stdout.splitlines()[-1] == ADDRESS
    assert Sae.objects.get().config["centred"] == centred
