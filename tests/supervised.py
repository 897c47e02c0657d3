"""`manage.py up` as a user starts it: a real process group on a data folder of its own."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil

from explorer.supervisor.leash import dying_with_parent
from tests.processes import ROOT, until

# A test's own settings and database must not reach what a user would start.
NOT_OURS = ("EXPLORER_", "DJANGO_", "DATABASE_URL", "CELERY_")


def clean_environment(data: Path, port: int, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(NOT_OURS)}
    return kept | {"EXPLORER_DATA": str(data), "PORT": str(port), "PYTHONUNBUFFERED": "1"} | more


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class Up:
    def __init__(self, data: Path, port: int | None = None, command: list[str] | None = None, **more: str) -> None:
        self.data = data
        self.port = port or free_port()
        descriptor, name = tempfile.mkstemp(prefix="pytest-up-", suffix=".txt")
        self.output = Path(name)
        self._last_words: str | None = None  # once it is closed
        with open(descriptor, "wb") as output:
            self.popen = subprocess.Popen(
                command or [sys.executable, "manage.py", "up"],
                cwd=ROOT,
                env=clean_environment(data, self.port, **more),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=dying_with_parent(signal.SIGTERM),
            )

    @property
    def said(self) -> str:
        return self.output.read_text(errors="replace") if self._last_words is None else self._last_words

    def wait_until_greeted(self, within: float = 60) -> str:
        """The one-time link that it prints."""

        def greeted() -> re.Match[str] | None:
            assert self.popen.poll() is None, self.said + self.logs()
            return re.search(r"http://\S+/sign-in/\S+/", self.said)

        found = until(greeted, within)
        assert found
        return found[0]

    def logs(self) -> str:
        return "\n".join(f"== {log.name}\n{log.read_text(errors='replace')}" for log in self.data.glob("log/*.log"))

    def family(self) -> list[psutil.Process]:
        found: list[psutil.Process] = psutil.Process(self.popen.pid).children(recursive=True)
        return found

    def children(self) -> list[psutil.Process]:
        """The direct ones, which last, unlike PostgreSQL's own helpers."""
        found: list[psutil.Process] = psutil.Process(self.popen.pid).children()
        return found

    def child(self, *words: str) -> psutil.Process:
        """The direct child whose command holds all the words."""
        children = self.children()
        found = [child for child in children if all(word in " ".join(child.cmdline()) for word in words)]
        assert len(found) == 1, (words, [child.cmdline() for child in children])
        return found[0]

    def end(self, sign: signal.Signals = signal.SIGINT, within: float = 30) -> int:
        self.popen.send_signal(sign)
        return self.popen.wait(within)

    def interrupt(self) -> None:
        """As a terminal does it: every process of the foreground group hears it."""
        os.killpg(self.popen.pid, signal.SIGINT)

    def close(self) -> None:
        if self.popen.poll() is None:
            family = self.family()
            self.popen.kill()
            self.popen.wait()
            psutil.wait_procs(family, timeout=10)
        if self._last_words is None:
            self._last_words = self.said
            self.output.unlink()


def gone(processes: list[psutil.Process], within: float = 10) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=within)
    return not alive
