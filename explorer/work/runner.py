"""From a claim to its end: finds the body, runs it, and writes down how it ended."""

import logging
import os
import socket
import threading
import traceback
from typing import Any

from django.db import connection
from django.utils.module_loading import import_string

from explorer import kinds
from explorer.actions import attempts
from explorer.actions.attempts import Lost
from explorer.models import Job
from explorer.patience import patiently
from explorer.work.attempt import Attempt, Cancelled, GivenBack, Refused
from explorer.work.keeper import Keeper

log = logging.getLogger(__name__)


def run(job_id: int, keeper: Keeper) -> None:
    """Runs one job if it is there to be claimed. A second message for the same job ends here."""
    try:
        if keeper.stopping.is_set():
            return  # another worker's, or the sweeper's
        job = patiently(lambda: attempts.claim(job_id, _name()))
        if job is None:
            log.info("job %s: nothing to claim", job_id)
            return
        _run_claimed(job, keeper)
    finally:
        connection.close()  # back to the pool


def _run_claimed(job: Job, keeper: Keeper) -> None:
    log.info("job %s (%s): attempt %s", job.pk, job.kind, job.attempt)
    attempt = Attempt(job, keeper.stopping)
    keeper.watch(attempt)
    try:
        _run_body(attempt)
        log.info("job %s (%s): attempt %s has ended", job.pk, job.kind, job.attempt)
    except Lost:
        log.warning("job %s: attempt %s was overtaken; it writes nothing", job.pk, job.attempt)
    except Cancelled as why:
        said = str(why)
        _write(lambda: attempts.cancelled(job, attempt.tail, said))
    except Refused as why:
        said = str(why)
        _write(lambda: attempts.fail(job, said, for_good=True, tail=attempt.tail))
    except Exception as wrong:
        log.exception("job %s (%s): attempt %s failed", job.pk, job.kind, job.attempt)
        said, trace = _say(wrong), traceback.format_exc()
        _write(lambda: attempts.fail(job, said, trace, tail=attempt.tail))
    except BaseException:  # a worker that is ended at once, by a second signal
        _write(lambda: attempts.give_back(job))
        raise
    finally:
        keeper.forget(attempt)


def _run_body(attempt: Attempt) -> None:
    job = attempt.job
    try:
        kind = kinds.get(job.kind)
        if kind.plan and not job.planned:
            children = import_string(kind.plan)(attempt)
            patiently(lambda: attempts.plan(job, children))
            return
        result: Any = import_string(kind.body)(attempt)
        patiently(lambda: attempts.finish(job, attempt.tail, result))
    except GivenBack:
        log.info("job %s (%s): given back", job.pk, job.kind)
        _write(lambda: attempts.give_back(job))


def _write(act: Any) -> None:
    try:
        patiently(act)
    except Lost:
        log.warning("overtaken before its end could be written")


def _say(wrong: Exception) -> str:
    said = str(wrong).strip()
    return f"{type(wrong).__name__}: {said}" if said else type(wrong).__name__


def _name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{threading.current_thread().name}"
