"""No more of a request's body than is allowed: counted as it comes, 413 at the piece that is too much.

Django spools a whole body to disk before any middleware sees the request, so this stands before Django.
"""

import asyncio
import contextlib
import functools
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

from django.template.loader import render_to_string

from explorer.front import Application
from explorer.pages import Headers, NoRoom, Receive, Scope, Send
from explorer.problems import API, MEDIA_TYPE

log = logging.getLogger(__name__)

Larger = Callable[[Scope], Awaitable[int | None]]

# Many a client reads nothing before it has sent all, and closing a connection that has unread bytes
# resets it, answer and all. So what still comes is read and dropped: enough of it for a file that was
# chosen by mistake, for as long as Apache's lingering close. Meanwhile a connection is all it costs.
DRAIN_BYTES = 64 << 20
DRAIN_SECONDS = 30.0
DRAIN_PAUSE = 2.0  # without a byte; a client that has read the answer need not say so


class Bodies:
    def __init__(self, application: Application, limit: int, larger: Larger | None = None) -> None:
        """`larger` says of a request how much more it may bring, if it may."""
        self._application = application
        self._limit = limit
        self._larger = larger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        limit = (await self._larger(scope) if self._larger else None) or self._limit
        if _declared(scope["headers"]) > limit:
            await _refuse(scope, receive, send, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, limit)
            return
        request = Request(receive, send, limit)
        try:
            await self._application(scope, request.receive, request.send)
        except NoRoom:
            log.exception("a request could not be kept")
            await _refuse(scope, receive if request.unread else None, send, HTTPStatus.INSUFFICIENT_STORAGE, limit)
            return
        if request.too_large and not request.answered:
            rest = receive if request.unread else None
            await _refuse(scope, rest, send, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, limit)


async def _refuse(scope: Scope, receive: Receive | None, send: Send, status: HTTPStatus, limit: int) -> None:
    content_type, content = answer(scope["path"].startswith(API), status, limit)
    headers = [
        (b"content-type", content_type),
        (b"content-length", b"%d" % len(content)),
        (b"connection", b"close"),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"no-store"),
        (b"content-security-policy", b"default-src 'self'; frame-ancestors 'none'"),
    ]
    await send({"type": "http.response.start", "status": int(status), "headers": headers})
    await send({"type": "http.response.body", "body": content, "more_body": True})
    if receive is not None:
        await _drain(receive)
    await send({"type": "http.response.body", "body": b""})


class Request:
    """Between the server and the application, which is told that its client has gone at one byte too many.

    That is the one way an application knows of a body that will never be whole; what it has kept of it
    goes at once. One that had begun to answer stops, and the server, which misses the end, cuts the connection.
    """

    __slots__ = ("_receive", "_room", "_send", "answered", "too_large", "unread")

    def __init__(self, receive: Receive, send: Send, limit: int) -> None:
        self._receive, self._send, self._room = receive, send, limit
        self.too_large = self.answered = self.unread = False

    async def receive(self) -> dict[str, Any]:
        if self.too_large:
            return {"type": "http.disconnect"}
        message = await self._receive()
        self._room -= len(message.get("body", b""))
        self.unread = message.get("more_body", False)
        if self._room >= 0:
            return message
        self.too_large = True
        return {"type": "http.disconnect"}

    async def send(self, message: Mapping[str, Any]) -> None:
        if not self.too_large:  # an answer to half a request is none
            self.answered = True
            await self._send(message)


@functools.cache
def answer(to_api: bool, status: HTTPStatus, limit: int) -> tuple[bytes, bytes]:
    """Its content type and its content."""
    mib = limit // 2**20
    full = status == HTTPStatus.INSUFFICIENT_STORAGE
    if to_api:
        detail = "The disk is full; nothing was kept." if full else f"A request may have {mib} MiB at most."
        title = "Insufficient Storage" if full else "Content Too Large"
        problem = {"type": "about:blank", "title": title, "status": int(status), "detail": detail}
        return MEDIA_TYPE.encode(), json.dumps(problem).encode()
    # No request: no database is asked.
    page = render_to_string("errors/no_room.html" if full else "errors/too_large.html", {"mib": mib})
    return b"text/html; charset=utf-8", page.encode()


def _declared(headers: Headers) -> int:
    """What Content-Length says, which may be nothing, or not the truth."""
    for name, value in headers:
        if name == b"content-length":
            return int(value) if value.isdigit() and len(value) < 20 else 0
    return 0


async def _drain(receive: Receive) -> None:
    """The server tells of a client that goes by a message without a body, as of one that has sent all."""
    now = asyncio.get_running_loop().time
    left, end = DRAIN_BYTES, now() + DRAIN_SECONDS
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_PAUSE) as patience:
            while left > 0:
                message = await receive()
                if not message.get("more_body", False):
                    return
                left -= len(message.get("body", b""))
                patience.reschedule(min(end, now() + DRAIN_PAUSE))
