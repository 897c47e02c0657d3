"""A data folder, a PostgreSQL and web servers for the time of a benchmark; nothing of it stays."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks import wrk
from explorer.places import Places
from explorer.supervisor import ports, seats
from explorer.supervisor.leash import dying_with_parent
from explorer.supervisor.postgres import Cluster

ROOT = Path(__file__).resolve().parent.parent
START_PATIENCE = 60.0  # seconds
STOP_PATIENCE = 10.0
LOOK = 0.1  # seconds between looks whether `up` is there


@contextmanager
def data_folder() -> Iterator[Places]:
    with tempfile.TemporaryDirectory(prefix="explorer-benchmark-") as folder:
        places = Places(Path(folder).resolve())
        places.log.mkdir()
        yield places


@contextmanager
def postgres(places: Places) -> Iterator[None]:
    cluster = Cluster(places.postgres, places.socket, places.log / "postgres.log", places.widened)
    process = None
    try:
        cluster.prepare()
        process = cluster.start()
        cluster.ensure_database("explorer")
        yield
    finally:
        if process:
            cluster.stop(process)
        else:
            cluster.put_away()


def environment(places: Places, settings: str) -> dict[str, str]:
    """The caller's, without what would change the explorer or lead it to another database."""
    apart = {"DATABASE_URL", "CELERY_BROKER_URL", "PORT", "WEB_CONCURRENCY"}
    kept = {name: os.environ[name] for name in os.environ if name not in apart and not name.startswith("EXPLORER_")}
    return kept | {"EXPLORER_DATA": str(places.data), "DJANGO_SETTINGS_MODULE": settings}


@contextmanager
def up() -> Iterator[tuple[int, dict[str, str]]]:
    """All that `manage.py up` starts, on a data folder of its own: its port, and what a command of ours needs to reach
    it."""
    with data_folder() as places:
        with ports.listen("127.0.0.1", 0) as free:
            port = free.getsockname()[1]
        variables = environment(places, "explorer.settings") | {"PORT": str(port)}
        log = places.log / "up.log"
        with log.open("wb") as output:
            started = subprocess.Popen(
                manage("up"),
                cwd=ROOT,
                env=variables,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=dying_with_parent(signal.SIGTERM),
            )
        try:
            _wait_for(started, port)
            yield port, variables
        except wrk.NotMeasured as why:
            raise wrk.NotMeasured(f"{why}\nThe server's log ends with:\n{log.read_text()[-2000:]}") from why
        finally:
            started.send_signal(signal.SIGINT)
            started.wait(30)


def manage(*words: str) -> list[str]:
    return [sys.executable, str(ROOT / "manage.py"), *words]


def _wait_for(started: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + START_PATIENCE
    while time.monotonic() < deadline and started.poll() is None:
        try:
            wrk.ask(port, "/healthz", {})
        except OSError:
            time.sleep(LOOK)
        else:
            return
    raise wrk.NotMeasured("the server does not answer")


@contextmanager
def serving(
    command: Callable[..., Sequence[str]],
    log: Path,
    variables: dict[str, str],
    *,
    inherits: bool,
    processes: int,
) -> Iterator["Serving"]:
    """Runs `command(port=…)`, or with `inherits` as `up` does: once for each process, on what they share."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(ports.listen("127.0.0.1", 0))
        port, fd = listener.getsockname()[1], listener.fileno()
        shared = stack.enter_context(seats.room(processes))
        if inherits:
            commands = [command(fd=fd, seats=shared, seat=seat) for seat in range(processes)]
        else:
            commands = [command(port=port)]
            listener.close()  # it was only to find a port that is free
        server = Serving(port, log, processes)
        try:
            for words in commands:
                with log.open("ab") as output:
                    server.leaders.append(
                        subprocess.Popen(
                            words,
                            cwd=ROOT,
                            env=variables,
                            stdin=subprocess.DEVNULL,
                            stdout=output,
                            stderr=subprocess.STDOUT,
                            pass_fds=(fd, shared) if inherits else (),
                            start_new_session=True,  # so that it can be ended with all its children
                            preexec_fn=dying_with_parent(signal.SIGKILL),
                        )
                    )
            yield server
        finally:
            server.stop()


class Serving:
    def __init__(self, port: int, log: Path, processes: int) -> None:
        self.port = port
        self.log = log
        self.processes = processes  # that serve, of those that run
        self.leaders: list[subprocess.Popen[bytes]] = []

    def wait(self) -> None:
        """Until every process has answered."""
        deadline = time.monotonic() + START_PATIENCE
        seen: set[int] = set()
        while len(seen) < self.processes:
            if time.monotonic() > deadline or any(leader.poll() is not None for leader in self.leaders):
                raise wrk.NotMeasured(
                    f"{len(seen)} of {self.processes} processes answer; the log ends with:\n{self.said}"
                )
            with contextlib.suppress(OSError):
                seen.add(json.loads(wrk.ask(self.port, "/healthz", {}).body)["pid"])
            time.sleep(0.01)

    def shared_out(self, client: int) -> bool:
        """Whether every process that serves got some of this client's connections.

        A client like wrk opens them in one burst, which the first process to wake may take whole;
        half of the server is measured then.
        """
        try:
            theirs = {each.laddr.port for each in psutil.Process(client).net_connections("tcp") if each.raddr}
            family = [each for leader in self.leaders for each in _with_descendants(leader.pid)]
            connections = [process.net_connections("tcp") for process in family]
        except psutil.NoSuchProcess:
            return True  # what ended so early is told by the answers
        holders = sum(
            any(each.laddr.port == self.port and each.raddr and each.raddr.port in theirs for each in of_one)
            for of_one in connections
        )
        return holders >= self.processes

    @property
    def said(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])

    def stop(self) -> None:
        for leader in self.leaders:
            _signal_group(leader, signal.SIGTERM)
        deadline = time.monotonic() + STOP_PATIENCE
        for leader in self.leaders:
            with contextlib.suppress(subprocess.TimeoutExpired):
                leader.wait(max(0.0, deadline - time.monotonic()))
            _signal_group(leader, signal.SIGKILL)
            leader.wait()


def _with_descendants(pid: int) -> list[psutil.Process]:
    leader = psutil.Process(pid)
    return [leader, *leader.children(recursive=True)]


def _signal_group(leader: subprocess.Popen[bytes], sign: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # all of it has gone
        os.killpg(leader.pid, sign)


@dataclass
class Streams:
    """Event streams that are open and on which nothing happens."""

    clients: list[socket.socket]

    def require_open(self) -> None:
        for client in self.clients:
            client.setblocking(False)
            try:
                alive = bool(client.recv(65_536))
            except BlockingIOError:
                alive = True
            if not alive:
                raise wrk.NotMeasured("an event stream was closed by the server")


@contextmanager
def idle_streams(port: int, path: str, cookie: str, count: int) -> Iterator[Streams]:
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nCookie: {cookie}\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        clients = []
        for number in range(1, count + 1):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=wrk.PATIENCE))
            client.sendall(request)
            said = b""
            while b"event: job\n" not in said:  # the job's row was read; nothing follows
                more = client.recv(65_536)
                said += more
                if not more or not said.startswith(b"HTTP/1.1 200"[: len(said)]):
                    raise wrk.NotMeasured(f"event stream {number} of {count} was refused: {said[:300]!r}")
            clients.append(client)
        yield Streams(clients)
