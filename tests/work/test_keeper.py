"""When a worker takes itself for deaf."""

import threading
from datetime import timedelta

import pytest
from django.db.models.functions import Now
from pytest_django import Settings

from explorer.actions.sweeping import IN_VAIN, rung_in_vain
from explorer.models import Job
from explorer.work.attempt import Attempt
from explorer.work.keeper import Keeper
from tests.processes import until

pytestmark = pytest.mark.django_db


def test_what_was_rung_for_while_it_was_busy_is_no_sign(settings: Settings) -> None:
    settings.JOB_SWEEP = 0.1
    keeper, attempt = Keeper(), Attempt(Job(kind="measure"), threading.Event())
    keeper.listen_to(("batch",))
    until(lambda: keeper.silence > 1.5)
    rung_at = Now() - timedelta(seconds=1)
    Job.objects.create(kind="measure", queue="batch", rings=IN_VAIN, rung_at=rung_at, not_before=rung_at)
    assert rung_in_vain(("batch",), keeper.silence)
    keeper.watch(attempt)
    keeper.forget(attempt)
    assert not rung_in_vain(("batch",), keeper.silence)
