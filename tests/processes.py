"""Real processes for tests: PostgreSQL, Redis, workers, web servers, and patience."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from django.conf import settings
from django.db import connection

from explorer.patience import drop_broken_connections
from explorer.supervisor.leash import dying_with_parent
from explorer.supervisor.postgres import Cluster
from tests.tools import find_redis

T = TypeVar("T")
ROOT = Path(__file__).resolve().parent.parent


def until(look: Callable[[], T], within: float = 30.0, every: float = 0.02) -> T:
    """Waits for something true, and says what it last saw."""
    deadline = time.monotonic() + within
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {look}; last seen: {seen!r}")
        time.sleep(every)


@dataclass
class Postgres:
    cluster: Cluster
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.cluster.prepare()
        self.process = self.cluster.start()

    def stop(self) -> None:
        assert self.process is not None
        self.cluster.stop(self.process)

    def restart(self) -> None:
        """As an operator does it: sessions are cut, and for a moment nobody answers."""
        self.stop()
        self.start()
        drop_broken_connections()  # this process has a pool too


@dataclass
class Process:
    """One of ours, in the environment of this test."""

    command: list[str]
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    pass_fds: tuple[int, ...] = ()
    popen: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        with self.log.open("ab") as output:
            self.popen = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=self.pass_fds,
                start_new_session=True,
                preexec_fn=dying_with_parent(signal.SIGKILL),  # a killed test session leaves nothing running
            )

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def send(self, sign: signal.Signals) -> None:
        self.popen.send_signal(sign)

    def end(self, sign: signal.Signals = signal.SIGTERM, within: float = 15) -> int:
        self.send(sign)
        return self.popen.wait(within)

    def close(self) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()


def environment(broker: str | None) -> dict[str, str]:
    """What a process of ours needs to work on this test's database, with this test's broker."""
    database = settings.DATABASES["default"]
    name = connection.settings_dict["NAME"]
    address = f"postgresql://{database['USER']}@/{name}?host={quote(database['HOST'], safe='')}"
    variables = {"DJANGO_SETTINGS_MODULE": "tests.settings", "DATABASE_URL": address, "PYTHONUNBUFFERED": "1"}
    return variables | ({"CELERY_BROKER_URL": broker} if broker else {})


class Workers:
    """Starts workers, and ends them all with the test."""

    def __init__(self, folder: Path, broker: str | None) -> None:
        self._folder = folder
        self._broker = broker
        self._started: list[Process] = []

    def start(self, queue: str = "batch", *, wait: bool = True) -> Process:
        log = self._folder / f"worker-{len(self._started)}.log"
        command = [sys.executable, "manage.py", "worker", queue]
        worker = Process(command, log, environment(self._broker))
        self._started.append(worker)
        if wait:
            until(lambda: self._ready(worker))
        return worker

    def _ready(self, worker: Process) -> bool:
        assert worker.popen.poll() is None, worker.said
        return " ready." in worker.said

    def close(self) -> None:
        for worker in self._started:
            worker.close()


class Web:
    """One web process on a port of its own."""

    def __init__(self, folder: Path, broker: str | None) -> None:
        self.log = folder / "web.log"
        self._broker = broker
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.start()

    def start(self) -> None:
        descriptor = self._listener.fileno()
        self.process = Process(
            [sys.executable, "manage.py", "web", "--fd", str(descriptor)],
            self.log,
            environment(self._broker),
            pass_fds=(descriptor,),
        )
        until(lambda: self.get("/readyz").status == 200)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def open(self, path: str, headers: dict[str, str] | None = None) -> http.client.HTTPResponse:
        """An answer whose body is still to be read."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        client.request("GET", path, headers=headers or {})
        return client.getresponse()

    def get(self, path: str, headers: dict[str, str] | None = None) -> http.client.HTTPResponse:
        answer = self.open(path, headers)
        answer.body = answer.read()  # type: ignore[attr-defined]
        return answer

    def post(self, path: str, cookie: str) -> http.client.HTTPResponse:
        """As a person does who has the first page open."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        client.request("GET", "/", headers={"Cookie": cookie})
        page = client.getresponse()
        token = page.read().decode().split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
        cookies = f"{cookie}; {page.headers['Set-Cookie'].split(';')[0]}"
        form = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": cookies, "Origin": self.address}
        client.request("POST", path, body=f"csrfmiddlewaretoken={token}", headers=form)
        return client.getresponse()

    def close(self) -> None:
        self.process.close()
        self._listener.close()


class Stream:
    """An EventSource by hand: reads events from a real connection."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        assert answer.status == 200, answer.read()
        self._answer = answer
        self.last_id = ""

    def events(self) -> Iterator[tuple[str, dict[str, Any]]]:
        import json

        name = ""
        for raw in self._answer:
            line = raw.decode().rstrip("\n")
            if line.startswith("id: "):
                self.last_id = line[4:]
            elif line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                yield name, json.loads(line[6:])

    def close(self) -> None:
        # The response holds the socket; closing both is what a browser's leaving is.
        with contextlib.suppress(OSError):
            self._answer.fp.raw._sock.shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]
        self._answer.close()


class Redis:
    """A real Redis server that can be taken away and brought back on the same port."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._folder = folder
        self.start()

    @property
    def address(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        program = find_redis()
        assert program
        command = [program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = Process([*command, "--dir", str(self._folder)], self._folder / "redis.log")
        until(self._answers)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as client:
                client.sendall(b"PING\r\n")
                return client.recv(16) == b"+PONG\r\n"
        except OSError:
            return False

    def flush(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port), timeout=1) as client:
            client.sendall(b"FLUSHALL\r\n")
            assert client.recv(16) == b"+OK\r\n"

    def stop(self) -> None:
        self.process.close()

    close = stop


class DeafeningProxy:
    """Between a worker and Redis: told to, it swallows what Redis answers to those who wait for messages.

    Such a connection is alive by every outward sign, as after some failures of networks and of clients.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self.deafening = False
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                server = socket.create_connection(("127.0.0.1", self._redis.port))
                waits = threading.Event()
                for source, sink in ((client, server), (server, client)):
                    arguments = (source, sink, waits, source is server)
                    threading.Thread(target=self._pump, args=arguments, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, waits: threading.Event, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65_536):
                if not answers and b"BRPOP" in piece:
                    waits.set()
                if not (answers and self.deafening and waits.is_set()):
                    sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._server.close()
