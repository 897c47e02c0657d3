"""One thread in every worker that renews the leases of its attempts and sweeps up after others.

It also notices when the worker has gone deaf: Celery's consumers are known to lose their broker and
wait for ever on a connection that brings nothing, while all that looks at the process finds it well.
"""

import logging
import os
import threading
import time

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection

from explorer.actions import attempts
from explorer.actions.sweeping import rung_in_vain, sweep
from explorer.work.attempt import Attempt

log = logging.getLogger(__name__)

DEAF = 75  # exit status; EX_TEMPFAIL of <sysexits.h>


class Keeper:
    def __init__(self) -> None:
        self.stopping = threading.Event()  # the worker is asked to end: attempts give their jobs back
        self._ended = threading.Event()
        self._attempts: set[Attempt] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._queues: tuple[str, ...] = ()
        self._heard_at = time.monotonic()

    def listen_to(self, queues: tuple[str, ...]) -> None:
        """From now on messages should come from these."""
        self._queues = queues
        self.heard()

    def heard(self) -> None:
        """A message has come."""
        self._heard_at = time.monotonic()

    @property
    def silence(self) -> float:
        """Seconds in which nothing was heard, though it could have been."""
        return time.monotonic() - self._heard_at

    def start(self) -> None:
        self._thread = threading.Thread(target=self._keep, name="keeper", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Once the last attempt is over; until then leases are renewed."""
        self.stopping.set()
        self._ended.set()
        if self._thread:
            self._thread.join(timeout=5)

    def watch(self, attempt: Attempt) -> None:
        with self._lock:
            self._attempts.add(attempt)

    def forget(self, attempt: Attempt) -> None:
        """Whatever was rung for meanwhile could not be heard: only from now on is silence a sign."""
        with self._lock:
            self.heard()
            self._attempts.discard(attempt)

    def _keep(self) -> None:
        beat_at = time.monotonic() + settings.JOB_HEARTBEAT
        sweep_at = time.monotonic()  # at once: what this worker's predecessor left may be due
        while not self._ended.wait(max(0.0, min(beat_at, sweep_at) - time.monotonic())):
            try:
                if time.monotonic() >= beat_at:
                    beat_at = time.monotonic() + settings.JOB_HEARTBEAT
                    self._renew()
                if time.monotonic() >= sweep_at:
                    sweep_at = time.monotonic() + settings.JOB_SWEEP
                    sweep()
                    self._leave_if_deaf()
            except (DatabaseError, InterfaceError) as away:
                log.warning("keeping leases: %s", str(away).strip())
                connection.close()
                beat_at = min(beat_at, time.monotonic() + 1)  # leases run while PostgreSQL is away
            except Exception:  # this thread must outlive every surprise, or healthy jobs look dead
                log.exception("keeping leases")
        connection.close()

    def _leave_if_deaf(self) -> None:
        """Ends this idle process, for its supervisor to start anew, when it misses what others ring for."""
        with self._lock:
            idle = not self._attempts
            silence = self.silence
        if idle and self._queues and rung_in_vain(self._queues, silence):
            log.error("jobs are rung for and this idle worker hears nothing: its connection to the broker is dead")
            os._exit(DEAF)

    def _renew(self) -> None:
        with self._lock:
            held = list(self._attempts)
        for attempt in held:
            if not attempts.renew(attempt.job.pk, attempt.job.attempt):
                attempt.lost.set()


keeper = Keeper()
