"""What a job's body is given: its arguments, and ways to say how far it is and to hear that it should stop."""

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from django.db import InterfaceError, OperationalError, connection, transaction

from explorer.actions import attempts
from explorer.actions.attempts import Lost, Tail
from explorer.events import publish_text
from explorer.models import Job
from explorer.plain import plain

T = TypeVar("T")

FLUSH_EVERY = 0.25  # seconds
WATCH_AFTER_OUTAGE = 3.0  # streams could not say that they watch either; they need a moment to come back


class Stop(Exception):
    """Raised into a body by check(); never caught there."""


class Cancelled(Stop):
    """Somebody cancelled the job, or nobody watches it any more."""


class GivenBack(Stop):
    """This worker is asked to end; another goes on."""


class Refused(Exception):
    """The job cannot succeed as asked, so trying again is no use; the message says what to change."""


class Removed(Refused):
    """What the job is about has been taken away since."""


class Attempt:
    def __init__(self, job: Job, stopping: threading.Event) -> None:
        self.job = job
        self.lost = threading.Event()  # set by the keeper when a lease could not be renewed
        self._stopping = stopping
        self.tail = Tail()  # text that was published and is not in the row yet; what ends the job writes it
        self._next_flush = time.monotonic() + FLUSH_EVERY
        self._watch_again_at = 0.0

    @property
    def arguments(self) -> dict[str, Any]:
        arguments: dict[str, Any] = self.job.arguments
        return arguments

    def check(self) -> None:
        """For between two batches: raises when the body should stop, and writes progress when that is due."""
        if self.lost.is_set():
            raise Lost
        if self._stopping.is_set():
            raise GivenBack
        if time.monotonic() >= self._next_flush:
            self.flush()

    def report(
        self, done: int | None = None, total: int | None = None, unit: str | None = None, message: str | None = None
    ) -> None:
        """Says how far it is; cheap enough for every batch."""
        job = self.job
        job.done = job.done if done is None else done
        job.total = job.total if total is None else total
        job.unit = job.unit if unit is None else plain(unit)[:32]
        job.message = job.message if message is None else plain(message)[:500]
        self.check()

    def steps(self, items: Iterable[T], *, total: int, unit: str) -> Iterator[T]:
        """Walks over batches, reporting each."""
        self.report(done=0, total=total, unit=unit)
        for done, item in enumerate(items, start=1):
            yield item
            self.report(done=done)

    def emit(self, text: str) -> None:
        """Adds to the job's text: streams hear it now, the row holds it soon."""
        text = plain(text)
        try:
            at = self.tail.at + len(self.tail.text)
            if not publish_text(self.job.pk, self.job.attempt, at, text):
                raise Lost
        except (OperationalError, InterfaceError):
            connection.close()  # streams that miss a piece read the row
        self.tail = Tail(self.tail.at, self.tail.text + text)
        self.check()

    def flush(self) -> None:
        """Writes progress and text to the row and looks whether somebody cancelled."""
        self._next_flush = time.monotonic() + FLUSH_EVERY
        try:
            standing = attempts.report(self.job, self.tail)
        except (OperationalError, InterfaceError):
            if connection.in_atomic_block:
                raise
            connection.close()  # PostgreSQL restarts: the next flush carries this one's text too
            self._watch_again_at = time.monotonic() + WATCH_AFTER_OUTAGE
            return
        self.tail = Tail(self.tail.at + len(self.tail.text))
        if standing.cancel_requested:
            raise Cancelled
        if standing.unwatched and time.monotonic() > self._watch_again_at:
            raise Cancelled("Nobody was watching any more.")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """For rows that a body writes: all or nothing, and nothing at all if the attempt is stale."""
        with transaction.atomic():
            self.hold()
            yield

    def hold(self) -> None:
        """Within a transaction: until its end the job is this attempt's, and nobody has cancelled it."""
        if attempts.held(self.job).cancel_requested:
            raise Cancelled
