"""Counting a body's bytes, where the test plays the server. tests/faults/test_bodies.py asks a real one."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.front import bodies
from explorer.front.bodies import Bodies
from explorer.pages import Headers, Receive, Scope, Send

LIMIT = 10
GONE = {"type": "http.disconnect"}
BEGUN = {"type": "http.response.start", "status": 200, "headers": []}


class Server:
    """Hands out the pieces of a body, then waits as a server does; remembers what it was sent."""

    def __init__(self, *pieces: bytes, endless: bool = False, every: float = 0) -> None:
        self.pieces = list(pieces)
        self._endless, self._every = endless, every
        self.taken = 0
        self.sent: list[Mapping[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        await asyncio.sleep(self._every)
        if self.taken == len(self.pieces) and not self._endless:
            await asyncio.Event().wait()
        body = self.pieces[min(self.taken, len(self.pieces) - 1)]
        self.taken += 1
        return {"type": "http.request", "body": body, "more_body": self._endless or self.taken < len(self.pieces)}

    async def send(self, message: Mapping[str, Any]) -> None:
        self.sent.append(message)

    @property
    def statuses(self) -> list[int]:
        return [message["status"] for message in self.sent if message["type"] == "http.response.start"]

    @property
    def complete(self) -> bool:
        return bool(self.sent) and not self.sent[-1].get("more_body", False)


class Reader:
    """An application that reads all there is, then answers, or not if its client has gone."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        more = True
        while more:
            self.heard.append(await receive())
            more = self.heard[-1].get("more_body", False)
        if self.heard[-1] != GONE:
            await send(BEGUN)
            await send({"type": "http.response.body", "body": b"fine"})

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.heard)


def serve(application: Any, server: Server, headers: Headers | None = None, path: str = "/") -> None:
    scope = {"type": "http", "path": path, "headers": headers or []}
    asyncio.run(asyncio.wait_for(Bodies(application, LIMIT)(scope, server.receive, server.send), 20))


@settings(deadline=None)
@given(st.lists(st.binary(max_size=6), min_size=1, max_size=6))
def test_a_body_arrives_whole_or_not_at_all(pieces: list[bytes]) -> None:
    server, reader = Server(*pieces), Reader()
    serve(reader, server)
    whole = b"".join(pieces)
    assert server.statuses == [200 if len(whole) <= LIMIT else 413]
    assert server.complete
    assert server.taken == len(pieces)
    assert GONE not in reader.heard if len(whole) <= LIMIT else reader.heard[-1] == GONE
    assert len(reader.body) <= LIMIT
    assert whole.startswith(reader.body)


@pytest.mark.parametrize("declared", [b"0", b"10", b"x", b"-1", b"", b"9" * 30, b"9" * 5000, "٣".encode()])
def test_what_is_declared_falsely_is_counted(declared: bytes) -> None:
    server, reader = Server(b"12345", b"678901"), Reader()
    serve(reader, server, [(b"content-length", declared)])
    assert server.statuses == [413]
    assert reader.heard == [{"type": "http.request", "body": b"12345", "more_body": True}, GONE]


def test_what_is_declared_too_large_reaches_no_application() -> None:
    server, reader = Server(b"12345", b"678901"), Reader()
    serve(reader, server, [(b"content-length", b"11")])
    assert server.statuses == [413]
    assert reader.heard == []


def test_an_application_that_answers_half_a_request_is_not_heard() -> None:
    async def hasty(scope: Scope, receive: Receive, send: Send) -> None:
        assert await receive() == GONE
        assert await receive() == GONE, "there is no more for it to have"
        await send(BEGUN)
        await send({"type": "http.response.body", "body": b"half"})

    server = Server(b"12345678901")
    serve(hasty, server)
    assert server.statuses == [413]
    assert all(b"half" not in message.get("body", b"") for message in server.sent)


def test_an_answer_that_has_begun_is_cut_off() -> None:
    """There can be no second one; without its end the server closes the connection, and the client sees that."""
    piece = {"type": "http.response.body", "body": b"so far", "more_body": True}

    async def eager(scope: Scope, receive: Receive, send: Send) -> None:
        await send(BEGUN)
        await send(piece)
        while (await receive()).get("more_body", False):
            pass
        await send({"type": "http.response.body", "body": b"and the end"})

    server = Server(b"12345678901")
    serve(eager, server)
    assert server.sent == [BEGUN, piece]


def test_no_more_is_drained_than_that() -> None:
    server = Server(bytes(1 << 20), endless=True)
    serve(Reader(), server)
    assert server.taken == 1 + bodies.DRAIN_BYTES // (1 << 20)
    assert server.complete


def test_a_trickle_is_not_drained_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "DRAIN_SECONDS", 0.3)
    server = Server(bytes(LIMIT + 1), endless=True, every=0.02)
    serve(Reader(), server)
    assert server.complete
    assert 3 <= server.taken <= 1 + 0.3 / 0.02


def test_a_silent_client_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "DRAIN_PAUSE", 0.05)
    server = Server()
    serve(Reader(), server, [(b"content-length", b"11")])
    assert server.complete


def test_nothing_is_waited_for_once_all_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "DRAIN_PAUSE", 3_600)
    server = Server(b"12345", b"678901")
    serve(Reader(), server)
    assert server.complete


def test_what_is_no_request_passes() -> None:
    heard: list[tuple[Any, ...]] = []

    async def application(*arguments: Any) -> None:
        heard.append(arguments)

    scope, server = {"type": "lifespan"}, Server()
    asyncio.run(Bodies(application, LIMIT)(scope, server.receive, server.send))
    assert heard == [(scope, server.receive, server.send)]
