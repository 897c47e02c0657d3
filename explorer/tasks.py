"""The one Celery task, and the worker's life around it."""

from typing import Any

from celery import signals

from explorer.celery_app import app
from explorer.work import runner
from explorer.work.keeper import keeper


@app.task(name="explorer.run_job")
def run_job(job_id: int) -> None:
    """The message is a doorbell: the row says whether there is anything to do."""
    keeper.heard()
    runner.run(job_id, keeper)


@signals.worker_init.connect
def _start(**_: Any) -> None:
    keeper.start()


@signals.worker_ready.connect
def _listen(**_: Any) -> None:
    keeper.listen_to(tuple(app.amqp.queues.consume_from))


@signals.worker_shutting_down.connect
def _stop(**_: Any) -> None:
    """Celery waits for running jobs; told so, they give themselves back at their next batch."""
    keeper.stopping.set()


@signals.worker_shutdown.connect
def _end(**_: Any) -> None:
    keeper.end()
