"""Asking what a feature does for the language model, and what came out."""

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from explorer.actions import jobs
from explorer.actions.limits import Limit
from explorer.models import Job
from explorer.models.jobs import JobState
from explorer.views import ablate
from tests.explored import SILENT, Explored

pytestmark = pytest.mark.django_db
VOTES: list[list[float]] = [[5, 0.25], [9, 0.125], [17, 0.01], [18, 0.001]]
ROW: dict[str, object] = {
    "activation": 1.5, "loss": 0.75, "kl": 0.5,
    "likelier": VOTES, "unlikelier": VOTES, "raised": VOTES, "lowered": VOTES,
}  # fmt: skip
EFFECT = {"mean": 0.0625, "n": 12, "low": -0.5, "high": 0.625}


@pytest.fixture
def asking(client: Client, viewer: User) -> Client:
    client.force_login(viewer)
    return client


def started(explored: Explored, **changes: object) -> Job:
    asked = {"sae": explored.sae.slug, "collection": explored.collection.pk, "index": 5}
    return jobs.start("ablate", asked | changes)


def done(explored: Explored, examples: list[dict[str, object]], effect: object = EFFECT) -> str:
    job = started(explored)
    Job.objects.filter(pk=job.pk).update(state=JobState.DONE, result={"examples": examples, "effect": effect})
    return f"{explored.page}features/5/ablate/{job.pk}/"


def test_it_is_asked_for_from_the_page(asking: Client, viewer: User, explored: Explored) -> None:
    address = f"{explored.page}features/5/ablate/"
    assert f'action="{address}"' in asking.get(f"{explored.page}features/5/").content.decode()
    answer = asking.post(address)
    job = Job.objects.get()
    assert answer.headers["Location"] == f"{address}{job.pk}/"
    assert (job.kind, job.queue, job.created_by) == ("ablate", "interactive", viewer)
    assert job.arguments == {"sae": explored.sae.slug, "collection": explored.collection.pk, "index": 5}
    assert (
        f'data-live data-url="{answer.headers["Location"]}"' in asking.get(answer.headers["Location"]).content.decode()
    )


def test_what_never_fires_is_not_ablated(asking: Client, explored: Explored) -> None:
    assert "Ablate it" not in asking.get(f"{explored.page}features/{SILENT}/").content.decode()
    assert asking.post(f"{explored.page}features/{SILENT}/ablate/").status_code == 404
    assert not Job.objects.exists()


def test_nobody_floods_the_worker(asking: Client, explored: Explored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ablate, "ABLATING", Limit("ablate", capacity=2, per_second=0.001))
    address = f"{explored.page}features/5/ablate/"
    assert [asking.post(address).status_code for _ in range(3)] == [302, 302, 429]


def test_what_came_out_is_shown_with_the_text(
    asking: Client, explored: Explored, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    strip = asking.get(f"/api/v1/saes/{explored.sae.slug}/features/5").json()["examples"]["strip"]
    rows = [ROW | {"context": each["context"], "position": each["position"]} for each in strip[:3]]
    rows[-1] |= {"loss": None}
    addresses = [done(explored, rows[:1]), done(explored, rows)]
    asking.get(addresses[0])
    for address, number in zip(addresses, (1, 3), strict=True):
        with django_assert_num_queries(8):  # session, user; the feature's five; the job
            page = asking.get(address).content.decode()
        assert page.count('class="tokens"') == number
        assert page.count('<td class="number">1.5</td>') == number
        assert page.count('class="vote"') == 12 * number, "three of each kind"
        assert "25\u00a0%" in page
    assert page.count('<td class="number">–</td>') == 1
    assert "<strong>0.0625 nats</strong> more in the mean of 12 tokens" in page
    assert "(95 % interval −0.5 to 0.625;" in page


def test_without_a_loss_there_is_no_mean(asking: Client, explored: Explored) -> None:
    page = asking.get(done(explored, [ROW | {"context": 10**6, "position": 2, "loss": None}], None)).content.decode()
    assert "there is no loss to compare" in page
    assert "context 1,000,000, position 2" in page


def test_a_job_of_something_else_is_not_found(asking: Client, explored: Explored) -> None:
    others = [started(explored, index=6), started(explored, sae="another"), jobs.start("diagnose")]
    for job_id in [each.pk for each in others] + [10**9, 10**17]:
        assert asking.get(f"{explored.page}features/5/ablate/{job_id}/").status_code == 404
