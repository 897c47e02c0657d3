"""How connections are shared out over web processes: by real ones, and by one door alone."""

import asyncio
import http.client
import json
import mmap
import resource
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from explorer.supervisor import door, ports, seats
from tests.processes import Process, environment, until


class Several:
    """Web processes as `up` starts them."""

    def __init__(self, folder: Path, count: int) -> None:
        self._held = ExitStack()
        self._clients: list[http.client.HTTPConnection] = []
        self._listener = self._held.enter_context(ports.listen("127.0.0.1", 0))
        self._room = self._held.enter_context(seats.room(count))
        self._counts = memoryview(mmap.mmap(self._room, 0)).cast("I")
        self.port = self._listener.getsockname()[1]
        self.processes = [self._start(folder / f"web-{seat}.log", seat) for seat in range(count)]
        until(lambda: {self.connect()[1] for _ in range(8)} == {each.popen.pid for each in self.processes})
        self.hang_up()

    def hang_up(self) -> None:
        for client in self._clients:
            client.close()
        self._clients.clear()

    def _start(self, log: Path, seat: int) -> Process:
        shared = (self._listener.fileno(), self._room)
        words = ["--fd", str(shared[0]), "--seats", str(shared[1]), "--seat", str(seat)]
        return Process([sys.executable, "manage.py", "web", *words], log, environment(None), pass_fds=shared)

    def connect(self) -> tuple[http.client.HTTPConnection, int]:
        """A connection that stays open, and the process that has it."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        client.request("GET", "/healthz")
        self._clients.append(client)  # or it would be closed with the last that knows of it
        return client, json.loads(client.getresponse().read())["pid"]

    def until_told(self, counts: list[int]) -> None:
        """Connections that end are counted from time to time."""
        until(lambda: sorted(self._counts) == sorted(counts))

    def close(self) -> None:
        for process in self.processes:
            process.close()
        self._held.close()


@pytest.fixture
def two(transactional_db: None, tmp_path: Path) -> Iterator[Several]:
    several = Several(tmp_path, 2)
    yield several
    several.close()


def test_whoever_has_the_fewest_connections_takes_the_next(two: Several) -> None:
    two.until_told([0, 0])  # those of the start are over
    held = [two.connect() for _ in range(20)]
    shares = Counter(process for _, process in held)
    assert max(shares.values()) <= 12, shares

    for emptied in {each.popen.pid for each in two.processes}:
        kept = [(client, process) for client, process in held if process != emptied]
        for client, process in held:
            if process == emptied:
                client.close()
        two.until_told([0, len(kept)])
        again = [two.connect() for _ in range(len(kept) - 1)]
        assert {process for _, process in again} == {emptied}
        held = kept + again


def test_a_burst_is_shared_out(two: Several) -> None:
    shares = []
    for _ in range(4):
        two.until_told([0, 0])
        clients = [http.client.HTTPConnection("127.0.0.1", two.port, timeout=20) for _ in range(16)]
        for client in clients:
            client.connect()
        for client in clients:
            client.request("GET", "/healthz")
        answers = [json.loads(client.getresponse().read()) for client in clients]
        shares.append(max(Counter(answer["pid"] for answer in answers).values()))
        for client in clients:
            client.close()
    assert sorted(shares)[2] <= 9, shares  # by chance once in 20 times


def test_a_killed_process_keeps_nobody_waiting(two: Several) -> None:
    held = [two.connect() for _ in range(8)]
    killed, other = two.processes
    killed.end(signal.SIGKILL)
    before = time.monotonic()
    assert {two.connect()[1] for _ in range(8)} == {other.popen.pid}
    assert time.monotonic() - before < 4  # each waits for the one that is no more, but not for long
    assert len(held) == 8


def test_a_process_that_ended_is_not_waited_for(two: Several) -> None:
    ended, other = two.processes
    held = [two.connect() for _ in range(8)]
    ended.end()
    before = time.monotonic()
    assert {two.connect()[1] for _ in range(8)} == {other.popen.pid}
    assert time.monotonic() - before < 8 * door.PAUSE * door.PATIENCE
    assert len(held) == 8


def test_without_descriptors_connections_wait(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(door, "OUT_OF_DESCRIPTORS", 0.05)

    class Greeting(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            transport.write(b"at last")
            transport.close()

    async def serve() -> bytes:
        with ports.listen("127.0.0.1", 0) as listener, seats.room(1) as room, socket.socket() as client:
            client.setblocking(False)
            opened = door.Door(listener, seats.Seats(room, 0), lambda: 0, Greeting)
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
            try:
                await asyncio.get_running_loop().sock_connect(client, listener.getsockname())
                await asyncio.sleep(0.12)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            try:
                return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 100), 5)
            finally:
                opened.close()

    assert asyncio.run(serve()) == b"at last"
    assert "No connection can be taken" in caplog.text
