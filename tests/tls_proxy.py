"""A real HTTPS proxy in front of a web process, as nginx or Caddy would stand there."""

import asyncio
import contextlib
import ssl
import threading

import trustme

LONGEST_HEAD = 64 << 10


class TlsProxy:
    """Ends TLS, says so, and passes one request per connection on to 127.0.0.1, both ways as the bytes come."""

    def __init__(self, upstream_port: int) -> None:
        self._upstream_port = upstream_port
        self.authority = trustme.CA()
        self._loop = asyncio.new_event_loop()
        self._open: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tls-proxy", daemon=True)
        self._thread.start()
        # In that thread: Playwright has a loop running in this one.
        starting = asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._certificate(), limit=LONGEST_HEAD)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(timeout=10)
        self.port: int = self._server.sockets[0].getsockname()[1]

    @property
    def address(self) -> str:
        return f"https://localhost:{self.port}"

    def trust(self) -> ssl.SSLContext:
        """For a client that believes this proxy's certificate, and no other."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.authority.configure_trust(context)
        return context

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(timeout=10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()

    def _certificate(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
        return context

    async def _end(self) -> None:
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._open.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                head = await client.readuntil(b"\r\n\r\n")
                await self._pass_on(_told(head, to_client.get_extra_info("peername")[0]), client, to_client)
        finally:
            self._open.discard(task)
            to_client.close()

    async def _pass_on(self, head: bytes, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        upstream, to_upstream = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        to_upstream.write(head)
        # Whichever side ends first, the other is cut off: TLS streams of asyncio know no half of a connection.
        ways = [asyncio.create_task(_copy(client, to_upstream)), asyncio.create_task(_copy(upstream, to_client))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            to_upstream.close()


def _told(head: bytes, peer: str) -> bytes:
    """The head of a request as this proxy passes it on."""
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    headers = [(name, value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
    replaced = (b"connection", b"x-forwarded-for", b"x-forwarded-proto")
    passed = [each for each in headers if each[0].lower() not in replaced]
    forwarded = [value for name, value in headers if name.lower() == b"x-forwarded-for"]
    passed += [
        (b"X-Forwarded-For", b", ".join([*forwarded, peer.encode()])),
        (b"X-Forwarded-Proto", b"https"),
        (b"Connection", b"close"),
    ]
    return b"\r\n".join([first, *(name + b": " + value for name, value in passed), b"", b""])


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await source.read(65_536):
            sink.write(piece)
            await sink.drain()
