"""From a job's row and its events to one stream of server-sent events.

A stream subscribes, then reads the rows, then drops what the rows already held. Each event's id says
where the client is in every job's text, so a client that was cut off goes on without loss.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from django.db import DatabaseError, connection

from explorer.actions.jobs import WATCH_RENEWAL, keep_watching, stop_watching
from explorer.events import progress
from explorer.hub import CLOSE, REREAD, Subscription, hub
from explorer.models import Job
from explorer.models.jobs import UNFINISHED
from explorer.queries import jobs as job_queries

T = TypeVar("T")
Places = dict[int, tuple[int, int]]  # of each job: its attempt, and how much of that attempt's text was sent

RECONNECT_MS = 300
KEEP_ALIVE = 15.0  # seconds; proxies close what is silent for longer
LONGEST = 600.0  # then the client comes again, and its right to look is checked again
PARENT_EVERY = 0.5  # a parent's progress is a sum over its children's rows

# Streams ask for rows here, each time on a connection that goes straight back to the pool.
_rows = ThreadPoolExecutor(2, thread_name_prefix="stream")


class JobStream:
    def __init__(self, job_ids: list[int], places: Places) -> None:
        self._ids = job_ids
        self._places = {job_id: places.get(job_id, (0, 0)) for job_id in job_ids}
        self._unfinished: set[int] = set(job_ids)
        self._watched: list[int] = []
        self._watch_at = 0.0
        self._parents: set[int] = set()  # to be summed again
        self._parents_at = 0.0

    async def events(self) -> AsyncIterator[str]:
        yield f"retry: {RECONNECT_MS}\n\n"
        end_at = time.monotonic() + LONGEST
        with hub.subscribed(self._ids) as subscription:
            try:
                for line in await self._reread(self._ids):
                    yield line
                while self._unfinished and time.monotonic() < end_at:
                    event = await self._next(subscription)
                    if event is CLOSE:
                        return
                    for line in await self._tell(event):
                        yield line
                if not self._unfinished:
                    yield self._say("end", {})
            finally:
                if self._watched:  # runs also when the client has gone and nothing may be awaited
                    _rows.submit(_with_connection, lambda: stop_watching(self._watched))

    async def _next(self, subscription: Subscription) -> dict[str, Any] | None:
        timeout = WATCH_RENEWAL if self._watched else PARENT_EVERY if self._parents else KEEP_ALIVE
        event = await subscription.next(timeout)
        now = time.monotonic()
        if self._watched and now >= self._watch_at:
            self._watch_at = now + WATCH_RENEWAL
            await _ask(lambda: keep_watching(self._watched))
        return event

    async def _tell(self, event: dict[str, Any] | None) -> list[str]:
        if event is REREAD:
            return await self._reread(self._ids)
        lines = []
        if event is None:
            lines.append(": still here\n\n")
        elif "text" in event:
            lines += await self._tell_text(event)
        else:
            if event["job"] in self._places:
                lines += await self._tell_progress(event)
            if event["parent"] in self._places:
                self._parents.add(event["parent"])
        if self._parents and time.monotonic() >= self._parents_at:
            self._parents_at = time.monotonic() + PARENT_EVERY
            parents, self._parents = sorted(self._parents), set()
            lines += await self._reread(parents)
        return lines

    async def _tell_text(self, event: dict[str, Any]) -> list[str]:
        job_id, attempt, at, text = event["job"], event["attempt"], event["at"], event["text"]
        known, sent = self._places[job_id]
        if attempt < known or (attempt == known and at + len(text) <= sent):
            return []  # of an attempt that was overtaken, or in the row that was read
        if attempt > known or at > sent:
            return await self._reread([job_id])  # something between was missed
        return [self._say_text(job_id, attempt, sent, text[sent - at :])]

    async def _tell_progress(self, event: dict[str, Any]) -> list[str]:
        attempt, _ = self._places[event["job"]]
        if event["attempt"] < attempt:
            return []
        if event["attempt"] > attempt or event["state"] not in UNFINISHED:
            return await self._reread([event["job"]])  # a new text has begun, or the last of it is in the row
        return [self._say("job", event)]

    async def _reread(self, job_ids: list[int]) -> list[str]:
        try:
            rows = await _ask(lambda: job_queries.streamed(job_ids))
        except DatabaseError:
            return []  # the hub has lost its connection too and asks for this again when it is back
        gone = set(job_ids) - {job.pk for job in rows}
        self._unfinished -= gone
        return [line for job in rows for line in self._tell_row(job)]

    def _tell_row(self, job: Job) -> list[str]:
        lines = []
        attempt, sent = self._places[job.pk]
        if attempt != job.attempt:
            sent = 0
        if attempt != job.attempt or len(job.text) > sent:
            lines.append(self._say_text(job.pk, job.attempt, sent, job.text[sent:]))
        if job.watched_until and job.unfinished and job.pk not in self._watched:
            self._watched.append(job.pk)
        if not job.unfinished:
            self._unfinished.discard(job.pk)
            self._watched = [job_id for job_id in self._watched if job_id != job.pk]
        lines.append(self._say("job", progress(job)))
        return lines

    def _say_text(self, job_id: int, attempt: int, at: int, text: str) -> str:
        self._places[job_id] = (attempt, at + len(text))
        return self._say("text", {"job": job_id, "attempt": attempt, "at": at, "text": text})

    def _say(self, name: str, data: dict[str, Any]) -> str:
        place = ",".join(f"{job_id}:{attempt}:{sent}" for job_id, (attempt, sent) in self._places.items())
        return f"id: {place}\nevent: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"


async def _ask(read: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(_rows, _with_connection, read)


def _with_connection(read: Callable[[], T]) -> T:
    try:
        return read()
    finally:
        connection.close()
