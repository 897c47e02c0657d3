"""`manage.py up`: everything on one machine, from an empty data folder to an address, and back to nothing.

One thread, one loop: start what is due, sleep until a child dies or somebody asks to stop.
"""

import contextlib
import http.client
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from django.conf import settings
from django.core.management import call_command
from django.db import connections
from django.urls import reverse

from explorer.actions import demo, sign_in
from explorer.places import Places
from explorer.supervisor import embedded, lock, ports, seats, static_files
from explorer.supervisor.children import Child
from explorer.supervisor.leash import dying_with_parent
from explorer.supervisor.postgres import PostgresFailed

MANAGE = settings.BASE_DIR / "manage.py"
READY_PATIENCE = 90.0  # seconds; a slow disk's first start
STOP_PATIENCE = 15.0  # a batch and a page, then force
LOG_KEPT = 5 << 20  # bytes; a longer log is put aside at the next start
BATCH_NICENESS = 10


class CannotStart(Exception):
    """What stands in the way, for the person at the terminal."""


class Supervisor:
    def __init__(self, say: Callable[[str], None], *, demo: bool = False) -> None:
        self.say = say
        self.demo = demo
        self.places: Places = settings.PLACES
        self.stop_asked = False
        self._children: list[Child] = []
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def run(self) -> None:
        """Until somebody asks to stop."""
        self._listen_for_signals()
        try:
            holding = lock.hold(self.places.lock, f"`manage.py up` at http://{settings.HOST}:{settings.PORT}")
            with holding:
                embedded.refuse_half_restored(self.places)
                self._run_alone()
        except (lock.Taken, embedded.CannotRun, ports.CannotListen) as why:
            raise CannotStart(str(why)) from None

    def _run_alone(self) -> None:
        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(ports.listen(settings.HOST, settings.PORT))
            room = stack.enter_context(seats.room(settings.WEB_PROCESSES))
            shutil.rmtree(self.places.run, ignore_errors=True)  # what a killed predecessor left
            self.places.log.mkdir(parents=True, exist_ok=True)
            try:
                if settings.EMBEDDED_POSTGRES:
                    self._start_postgres()
                if not self.stop_asked:
                    self._prepare()
                if not self.stop_asked:
                    self._start_the_rest(listener.fileno(), room)
                    self._wait_until_ready()
                if not self.stop_asked:
                    self._greet()
                while not self.stop_asked:
                    self._tend()
            finally:
                self._stop_all()

    # Starting

    def _start_postgres(self) -> None:
        server = embedded.cluster(self.places)
        _put_aside(server.log)
        try:
            for folder in server.prepare():
                self.say(f"{folder}: opened for passing through, as PostgreSQL does not run as root; undone at the end")
            child = Child("PostgreSQL", server.spawn, self.say)
            child.adopt(server.start())
        except PostgresFailed as failed:
            server.put_away()
            raise CannotStart(str(failed)) from None
        server.ensure_database(settings.EMBEDDED_NAME)
        self._children.append(child)

    def _prepare(self) -> None:
        call_command("migrate", interactive=False, verbosity=0)
        if self.demo:
            demo.start_once()
        static_files.collect()

    def _start_the_rest(self, listener: int, room: int) -> None:
        for seat in range(settings.WEB_PROCESSES):
            words = ("--fd", str(listener), "--seats", str(room), "--seat", str(seat))
            self._add(f"web-{seat + 1}", "web", *words, pass_fds=(listener, room))
        self._add("interactive", "worker", "interactive")
        self._add("batch", "worker", "batch", niceness=BATCH_NICENESS)
        for child in self._children:
            child.tend()

    def _add(self, name: str, *command: str, pass_fds: tuple[int, ...] = (), niceness: int = 0) -> None:
        log = self.places.log / f"{name}.log"
        _put_aside(log)
        die_with_us = dying_with_parent(signal.SIGKILL)

        def before() -> None:
            if niceness:
                os.nice(niceness)
            if die_with_us:
                die_with_us()

        def spawn() -> subprocess.Popen[bytes]:
            with log.open("ab") as output:
                return subprocess.Popen(
                    [sys.executable, MANAGE, *command, "--leashed"],
                    stdin=subprocess.PIPE,  # never written to; its end is ours
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=pass_fds,
                    start_new_session=True,  # Ctrl-C is for the supervisor, who asks in order
                    preexec_fn=before,
                )

        def say(what: str) -> None:
            self.say(f"{what}; see {log}")

        self._children.append(Child(name, spawn, say))

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_PATIENCE
        while not self.stop_asked and not _ready():
            if time.monotonic() > deadline:
                raise CannotStart(f"The web processes do not answer; see {self.places.log}")
            self._tend(at_most=0.1)

    def _greet(self) -> None:
        token = sign_in.make_link_at_terminal(sign_in.ensure_admin())
        connections.close_all()
        address = f"http://{settings.HOST}:{settings.PORT}"
        self.say(
            f"The explorer is at {address}/\n"
            f"Sign in as {sign_in.ADMIN}, once and within {sign_in.LASTS.seconds // 3600} hours:\n"
            f"    {address}{reverse('sign_in_link', args=[token])}\n"
            f"Ctrl-C stops everything."
        )

    # Running

    def _tend(self, at_most: float = 60.0) -> None:
        pause = min([at_most, *(child.tend() for child in self._children)])
        select.select([self._wake_read], [], [], pause)
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_read, 4096)

    def _listen_for_signals(self) -> None:
        def stop(number: int, frame: FrameType | None) -> None:
            self.stop_asked = True

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # only to wake the loop
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)

    # Stopping

    def _stop_all(self) -> None:
        """Web and workers first, together; PostgreSQL once nobody needs it."""
        if self._children:
            self.say("Stopping …")
        connections["default"].close_pool()  # type: ignore[attr-defined]
        rest = [child for child in self._children if child.name != "PostgreSQL"]
        for child in rest:
            child.ask_to_end()
        deadline = time.monotonic() + STOP_PATIENCE
        for child in rest:
            child.see_to_its_end(deadline)
        for child in self._children:
            if child.name == "PostgreSQL":
                server = embedded.cluster(self.places)
                if child.process is not None:
                    server.stop(child.process)
                else:
                    server.put_away()
        shutil.rmtree(self.places.run, ignore_errors=True)


def _ready() -> bool:
    connection = http.client.HTTPConnection(settings.HOST, settings.PORT, timeout=2)
    try:
        connection.request("GET", reverse("readyz"), headers={"Host": _known_host()})
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _known_host() -> str:
    """A name that ALLOWED_HOSTS answers to, whatever it was set to."""
    first: str = settings.ALLOWED_HOSTS[0]
    return "localhost" if first == "*" else first.lstrip(".")


def _put_aside(log: Path) -> None:
    if log.exists() and log.stat().st_size > LOG_KEPT:
        log.replace(log.with_suffix(".log.1"))
