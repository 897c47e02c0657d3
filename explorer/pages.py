"""Pages under an ASGI server, at the cost of one hop to a thread.

Django's own ASGI handler starts a thread and hops several times for each request to synchronous
views; measured in benchmarks/web_floor.py. Pages are synchronous, so they are rendered by Django's
WSGI handler on a few lasting threads, and only streams go through the ASGI one.
"""

import asyncio
import contextlib
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.db import connections

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

BODY_IN_MEMORY = 1 << 20  # a longer one is spooled to a file
DOWNLOADS_AT_ONCE = 16


class ClientGone(Exception):
    """The client left before its request was whole."""


class NoRoom(Exception):
    """A request's body could not be kept: the disk is full."""


class Pages:
    def __init__(self) -> None:
        settings.PLACES.uploads.mkdir(parents=True, exist_ok=True)
        self._handler = WSGIHandler()
        self._threads = ThreadPoolExecutor(settings.PAGE_THREADS, thread_name_prefix="page")
        # A slow download must not keep a page waiting.
        self._downloads = ThreadPoolExecutor(DOWNLOADS_AT_ONCE, thread_name_prefix="download")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        body = tempfile.SpooledTemporaryFile(max_size=BODY_IN_MEMORY, dir=str(settings.PLACES.uploads))  # noqa: SIM115
        try:
            await _receive_body(receive, body)
        except (ClientGone, OSError) as why:
            with contextlib.suppress(OSError):  # it would write what it still holds
                body.close()
            if isinstance(why, ClientGone):
                return
            raise NoRoom from why
        with body:
            response = await loop.run_in_executor(self._threads, self._respond, _environ(scope, body))
            await send({"type": "http.response.start", "status": response.status, "headers": response.headers})
            if response.content is not None:
                await send({"type": "http.response.body", "body": response.content})
                return
            # A server that has lost its client swallows what it is sent; this is how one hears of it.
            gone = asyncio.ensure_future(receive())
            await loop.run_in_executor(self._downloads, _send_chunks, response.chunks, send, loop, gone)
            gone.cancel()

    def _respond(self, environ: dict[str, Any]) -> "Response":
        """In a page's thread: the whole of an ordinary response, the head of a streamed one."""
        said: list[tuple[int, Headers]] = []

        def start_response(status: str, headers: list[tuple[str, str]], *_: Any) -> Callable[[bytes], None]:
            pairs = [(name.lower().encode("latin-1"), value.strip().encode("latin-1")) for name, value in headers]
            said.append((int(status.split(" ", 1)[0]), pairs))
            return lambda _: None

        answer: Any = self._handler(environ, start_response)
        status, headers = said[0]
        if getattr(answer, "streaming", True):
            connections.close_all()  # a generator that asks the database does so on the thread that sends
            return Response(status, headers, None, answer)
        try:
            return Response(status, headers, b"".join(answer), ())
        finally:
            answer.close()


class Response:
    def __init__(self, status: int, headers: Headers, content: bytes | None, chunks: Iterable[bytes]) -> None:
        self.status, self.headers, self.content, self.chunks = status, headers, content, chunks


def _send_chunks(
    chunks: Any, send: Send, loop: asyncio.AbstractEventLoop, gone: asyncio.Future[dict[str, Any]]
) -> None:
    """In a download's thread: waits for each chunk to be taken, so a slow reader costs no memory."""

    def pass_on(body: bytes, more: bool) -> None:
        message = {"type": "http.response.body", "body": body, "more_body": more}
        asyncio.run_coroutine_threadsafe(send(message), loop).result()  # type: ignore[arg-type]

    try:
        for chunk in chunks:
            if gone.done():
                return
            pass_on(chunk, more=True)
        pass_on(b"", more=False)
    finally:
        chunks.close()


async def _receive_body(receive: Receive, body: IO[bytes]) -> None:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body.write(message.get("body", b""))
        more = message.get("more_body", False)
    body.seek(0)


def _environ(scope: Scope, body: IO[bytes]) -> dict[str, Any]:
    """PEP 3333's dictionary; header names and values are latin-1 there, paths UTF-8 read as latin-1."""
    server = scope.get("server") or ("localhost", 80)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": scope.get("root_path", ""),
        "PATH_INFO": scope["path"].encode().decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1] or 0),
        "REMOTE_ADDR": (scope.get("client") or ("",))[0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": body,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for raw_name, raw_value in scope["headers"]:
        if b"_" in raw_name:  # it would pass for the header with a hyphen, which a proxy may have checked
            continue
        name = raw_name.decode("latin-1").upper().replace("-", "_")
        name = name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{name}"
        value = raw_value.decode("latin-1")
        joint = ";" if name == "HTTP_COOKIE" else ","
        environ[name] = f"{environ[name]}{joint}{value}" if name in environ else value
    # The body is whole here, chunked or not, so its length is known and Django reads no further.
    environ["CONTENT_LENGTH"] = str(body.seek(0, 2))
    body.seek(0)
    return environ
