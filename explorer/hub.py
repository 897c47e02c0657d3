"""One LISTEN connection for each web process, and the streams that hang on it.

The connection is its own, outside the pool, and comes back by itself; whoever missed something
meanwhile is told to read the row again.
"""

import asyncio
import json
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from django.conf import settings

from explorer.events import CHANNEL
from explorer.patience import drop_broken_connections

log = logging.getLogger(__name__)

RECONNECT_FIRST, RECONNECT_LAST = 0.1, 5.0  # seconds
# A stream that reads slower than its job writes is told to read the row instead of growing without end.
LONGEST_QUEUE = 2_000

REREAD: dict[str, Any] = {"reread": True}
CLOSE: dict[str, Any] = {"close": True}


class Subscription:
    def __init__(self, job_ids: Iterable[int]) -> None:
        self.job_ids = frozenset(job_ids)
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def offer(self, event: dict[str, Any]) -> None:
        if self._queue.qsize() >= LONGEST_QUEUE:
            while not self._queue.empty():
                self._queue.get_nowait()
            event = REREAD
        self._queue.put_nowait(event)

    async def next(self, timeout: float) -> dict[str, Any] | None:
        """The next event; None when there was none for so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                return await self._queue.get()
        return None


class Hub:
    def __init__(self) -> None:
        self.listening = False
        self._closing = False
        self._by_job: dict[int, set[Subscription]] = {}
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._listen_for_ever(), name="hub")

    async def stop(self) -> None:
        self.close_streams()
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def close_streams(self) -> None:
        """Lets the server end at once: an open stream would keep it alive."""
        self._closing = True
        self._tell_all(CLOSE)

    def close_streams_soon(self) -> None:
        """The same from a signal's handler."""
        if self._loop:
            self._loop.call_soon_threadsafe(self.close_streams)

    @contextmanager
    def subscribed(self, job_ids: Iterable[int]) -> Iterator[Subscription]:
        subscription = Subscription(job_ids)
        for job_id in subscription.job_ids:
            self._by_job.setdefault(job_id, set()).add(subscription)
        if self._closing:
            subscription.offer(CLOSE)
        try:
            yield subscription
        finally:
            for job_id in subscription.job_ids:
                self._by_job[job_id].discard(subscription)
                if not self._by_job[job_id]:
                    del self._by_job[job_id]

    async def _listen_for_ever(self) -> None:
        pause = RECONNECT_FIRST
        returned = False
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(**_address(), autocommit=True) as connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    if returned:
                        await asyncio.to_thread(drop_broken_connections)
                    self.listening = returned = True
                    pause = RECONNECT_FIRST
                    self._tell_all(REREAD)  # what was said while nobody listened is in the rows
                    async for notice in connection.notifies():
                        self._deliver(notice.payload)
            except (psycopg.Error, OSError) as away:
                log.warning("listening: %s", str(away).strip())
            finally:
                self.listening = False
            await asyncio.sleep(pause)
            pause = min(pause * 2, RECONNECT_LAST)

    def _deliver(self, payload: str) -> None:
        try:
            event = json.loads(payload)
            heard_by = {int(event["job"]), event.get("parent")}
        except (ValueError, KeyError, TypeError, AttributeError):
            log.warning("listening: a notification that is none of ours: %.200r", payload)
            return
        for job_id in heard_by:
            for subscription in self._by_job.get(job_id, ()):
                subscription.offer(event)

    def _tell_all(self, event: dict[str, Any]) -> None:
        for subscription in {each for group in self._by_job.values() for each in group}:
            subscription.offer(event)


def _address() -> dict[str, Any]:
    database = settings.DATABASES["default"]
    parts = {
        "host": database.get("HOST"),
        "port": database.get("PORT"),
        "user": database.get("USER"),
        "password": database.get("PASSWORD"),
        "dbname": database["NAME"],
    }
    options = {name: value for name, value in database["OPTIONS"].items() if name != "pool"}
    keepalive = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}  # a silent peer is noticed
    return {name: value for name, value in parts.items() if value} | keepalive | options


hub = Hub()
