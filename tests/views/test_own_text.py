"""A text of one's own on a feature's page: what is asked, what is shown, and what is not theirs to see."""

import re

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from explorer.actions import jobs
from explorer.models import Bucket, Job
from explorer.models.jobs import JobState
from sae_core.reading import reading
from tests.explored import SILENT, Explored

pytestmark = pytest.mark.django_db
IDS = [0, 5, 9, 5, 17, 30, 2]
PART = {"HX-Request": "true"}


def address(explored: Explored, index: int = 5) -> str:
    return f"{explored.page}features/{index}/text/"


def read(explored: Explored, index: int = 5) -> str:
    """That was done."""
    found = reading(explored.read.lm, explored.read.sae, IDS, {0}, [index])
    job = jobs.start("read_text", {"sae": explored.sae.pk, "text": "a <b> text", "feature": index})
    result = {"sae": explored.sae.slug, "ids": IDS, "first": 1} | found
    Job.objects.filter(pk=job.pk).update(state=JobState.DONE, result=result)
    return f"{address(explored, index)}{job.pk}/"


def test_it_is_asked_from_the_page_and_has_an_address(looking: Client, viewer: User, explored: Explored) -> None:
    there = address(explored)
    assert f'action="{there}"' in looking.get(f"{explored.page}features/5/").content.decode()
    answer = looking.post(there, {"text": "rivers\r\nand lakes"})
    job = Job.objects.get()
    assert answer.headers["Location"] == f"{there}{job.pk}/"
    assert job.arguments == {"sae": explored.sae.pk, "text": "rivers\nand lakes", "feature": 5}
    assert (job.kind, job.created_by) == ("read_text", viewer)
    page = looking.get(answer.headers["Location"]).content.decode()
    assert "Running the text through the model" in page
    assert "rivers\nand lakes</textarea>" in page
    assert looking.get(answer.headers["Location"], headers=PART).status_code == 204, "no news yet"


def test_a_part_of_the_page_waits_in_its_place(looking: Client, explored: Explored) -> None:
    part = looking.post(address(explored), {"text": "rivers"}, headers=PART).content.decode()
    assert part.startswith('<div id="own-read" hx-get="')
    assert f'hx-get="{address(explored)}{Job.objects.get().pk}/"' in part


def test_where_it_fires_is_shown(looking: Client, explored: Explored) -> None:
    acts = explored.read.sae.encode(explored.read.lm.activations([IDS], explored.read.sae.hookpoint)[0])[:, 5]
    assert acts[1:].any()
    part = looking.get(read(explored), headers=PART).content.decode()
    shown = re.findall(r' data-a="([^"]+)"', part)
    assert [float(each) for one in shown for each in one.split()] == pytest.approx(acts[1:].tolist(), rel=1e-3)
    assert f"It fires at {int(acts[1:].count_nonzero())} of 6 tokens" in part
    assert "a &lt;b&gt; text" in looking.get(read(explored)).content.decode()
    assert "It fires at none of 6 tokens" in looking.get(read(explored, SILENT), headers=PART).content.decode()


def test_it_is_of_this_feature_alone(looking: Client, explored: Explored) -> None:
    number = read(explored).rstrip("/").rpartition("/")[2]
    others = [f"{address(explored, 9)}{number}/", f"{address(explored)}{10**9}/", f"{address(explored)}{10**17}/"]
    whole = jobs.start("read_text", {"sae": explored.sae.pk, "text": "of no feature"})
    others += [f"{address(explored)}{whole.pk}/", f"{address(explored)}{jobs.start('diagnose').pk}/"]
    assert {looking.get(each).status_code for each in others} == {404}
    assert looking.post(f"{explored.page}features/37/text/", {"text": "a"}).status_code == 404


@pytest.mark.parametrize(
    ("text", "said"), [("", "required"), (" \r\n", "nothing in it"), ("x" * 51, "At most 50 characters are read")]
)
def test_what_cannot_be_read_is_named(
    looking: Client, explored: Explored, settings: Settings, text: str, said: str
) -> None:
    settings.TEXT_CHARACTERS = 50
    for headers in ({}, PART):
        answer = looking.post(address(explored), {"text": text}, headers=headers)
        assert (answer.status_code, said in answer.content.decode()) == (422, True)
    assert not Job.objects.exists()


def test_why_it_failed_is_said(looking: Client, explored: Explored) -> None:
    there = read(explored)
    Job.objects.update(state=JobState.FAILED, error="The weights <b> are gone.", result=None)
    assert "The weights &lt;b&gt; are gone." in looking.get(there, headers=PART).content.decode()


def test_nobody_floods_the_worker(looking: Client, explored: Explored, settings: Settings) -> None:
    settings.TEXT_RATE = 2
    assert [looking.post(address(explored), {"text": "a"}).status_code for _ in range(3)] == [302, 302, 429]
    assert Bucket.objects.count() == 1
