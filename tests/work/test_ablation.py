"""A feature's examples read without it: what sae_core finds, at the tokens that they are examples of."""

from pathlib import Path
from typing import Any

import pytest

from explorer.models import Job
from explorer.models.jobs import JobState
from explorer.queries import features, library
from sae_core.ablate import ablation, effect
from tests.work.running import Shelf, found, run
from tests.work.test_recompute import asked, collected

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def test_each_example_is_read_without_it(shelf: Shelf, tmp_path: Path) -> None:
    sae = collected(shelf, tmp_path)
    arguments: dict[str, Any] = asked(sae)
    result = found("ablate", arguments)
    page = features.feature(sae, arguments["index"])
    assert page
    assert page.examples
    assert [(each["context"], each["position"]) for each in result["examples"]] == [
        (each.context, each.position) for each in page.examples.strip
    ]
    losses = []
    for example, row in zip(page.examples.strip, result["examples"], strict=True):
        whole = ablation(shelf.lm, shelf.sae, [page.index], [example.ids])
        at = example.position
        assert row["activation"] == pytest.approx(example.value, rel=1e-4)
        assert row["kl"] == pytest.approx(float(whole.kl[0, at]), rel=1e-3, abs=1e-6)
        assert [token for token, _ in row["likelier"]] == whole.likelier.ids[0, at].tolist()
        assert [token for token, _ in row["lowered"]] == whole.lowered.ids[0, at].tolist()
        if at == len(example.ids) - 1:
            assert row["loss"] is None
        else:
            assert row["loss"] == pytest.approx(float(whole.loss[0, at]), rel=1e-3, abs=1e-6)
            losses.append(row["loss"])
    mean = effect(losses)
    assert mean
    assert result["effect"] == mean._asdict()


def test_what_is_gone_is_refused(shelf: Shelf, tmp_path: Path) -> None:
    sae = collected(shelf, tmp_path)
    for changes in ({"collection": 10**9}, {"sae": "none"}, {"index": 3}):  # the third never fires
        job: Job = run("ablate", asked(sae) | changes)
        assert (job.state, job.failures) == (JobState.FAILED, 1)
        assert "removed" in job.error or "fires nowhere" in job.error
    assert library.sae(sae.slug)
