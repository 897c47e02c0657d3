"""A restore that is killed, and one that is asked to stop."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psycopg
import pytest

from explorer.supervisor import embedded
from tests.faults.backup.installs import Filled, Install
from tests.processes import ROOT, until

pytestmark = pytest.mark.slow


def has_a_cluster(install: Install) -> bool:
    """And is about to start it."""
    return install.places.postgres.exists()


def has_copied_a_table(install: Install) -> bool:
    if not install.places.postgres.exists():
        return False
    query = "SELECT 1 FROM pg_stat_activity WHERE state = 'idle in transaction' AND query LIKE 'COPY %'"
    try:
        with embedded.cluster(install.places).connect("postgres") as connection:
            return connection.execute(query).rowcount == 1
    except psycopg.OperationalError:  # it is starting
        return False


@contextmanager
def a_restore(
    filled: Filled, install: Install, until_it: Callable[[Install], bool]
) -> Iterator["subprocess.Popen[bytes]"]:
    """One that comes no further than its first table: nobody reads what it says, and no more of it fits the pipe."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, b"." * 4096)
    os.set_blocking(writing, True)
    process = subprocess.Popen(
        [sys.executable, "manage.py", "restore", filled.backup],
        cwd=ROOT,
        env=install.environment(),
        stdout=writing,
        stderr=subprocess.PIPE,
    )
    os.close(writing)
    try:
        until(lambda: until_it(install) or process.poll() is not None)
        yield process
    finally:
        os.close(reading)
        process.kill()
        process.communicate()


def test_killed_while_it_restores(filled: Filled, fresh: Install) -> None:
    with a_restore(filled, fresh, until_it=has_copied_a_table) as process:
        assert process.poll() is None, process.communicate()
        process.kill()
        process.wait()
        until(lambda: not (fresh.places.postgres / "postmaster.pid").exists())
    assert fresh.places.unfinished_restore.exists()

    refused = fresh.refuse("restore", filled.backup)
    half = f"CommandError: {fresh.data} holds half of a restore"
    assert refused == f"{half} that was killed; delete the folder, restore again"
    assert not fresh.places.widened.exists()  # deleting the folder forgets no folder that was opened for PostgreSQL
    assert fresh.refuse("up") == f"{half}; delete the folder and restore again"
    target = fresh.data.with_name("backup.tar")
    assert fresh.refuse("backup", target) == f"{half}; delete the folder and restore again"
    assert not target.exists()


@pytest.mark.parametrize("reached", [has_a_cluster, has_copied_a_table])
def test_asked_to_stop_while_it_restores(reached: Callable[[Install], bool], filled: Filled, fresh: Install) -> None:
    with a_restore(filled, fresh, until_it=reached) as process:
        process.send_signal(signal.SIGTERM)
        assert process.stderr
        said = process.stderr.read().splitlines()  # the pool may have logged the connection that was cut
        assert said[-1] == b"CommandError: stopped; nothing is left of what was begun"
        assert [entry.name for entry in fresh.data.iterdir()] == ["secret_key"]
