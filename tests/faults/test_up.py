"""The supervisor: it starts everything, replaces what dies, and leaves nothing behind."""

import http.client
import os
import shutil
import signal
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from tests.processes import until
from tests.supervised import Up, gone

pytestmark = pytest.mark.slow

LASTING = {"artifacts", "log", "postgres", "secret_key", "static"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def up(data: Path) -> Iterator[Up]:
    made = Up(data)
    yield made
    made.close()


def status(up: Up, path: str = "/readyz") -> int:
    client = http.client.HTTPConnection("127.0.0.1", up.port, timeout=15)
    try:
        client.request("GET", path)
        return client.getresponse().status
    except OSError:
        return 0
    finally:
        client.close()


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder for temporary files that is this test's alone, with a path short enough for sockets."""
    made = Path(tempfile.mkdtemp(prefix="pytest-"))
    yield made
    shutil.rmtree(made)


def shared_memory(postgres: psutil.Process) -> list[Path]:
    """What PostgreSQL holds outside any folder, and may leave there when it is killed."""
    return [Path(held.path) for held in postgres.memory_maps() if held.path.startswith("/dev/shm/PostgreSQL")]


def left_behind(data: Path) -> set[str]:
    return {path.name for path in data.iterdir()} - LASTING


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_everything_and_leaves_nothing(data: Path, temporary: Path, sign: signal.Signals) -> None:
    up = Up(data, TMPDIR=str(temporary))
    try:
        up.wait_until_greeted()
        family = up.family()
        shared = shared_memory(up.child("postgres", "-D"))
        assert shared
        assert len(up.children()) == 5  # PostgreSQL, 2 web, 2 workers
        assert up.end(sign) == 0
    finally:
        up.close()
    assert gone(family, within=1)
    assert left_behind(data) == set()
    assert [path for path in [*temporary.iterdir(), *shared] if path.exists()] == []
    assert "killed" not in up.said
    assert "database system is shut down" in (data / "log/postgres.log").read_text()
    with socket.create_server(("127.0.0.1", up.port)):
        pass  # the port is free again


@pytest.mark.parametrize("moment", ["lock", "postgres/PG_VERSION", "log/web-1.log"])
def test_a_signal_while_it_starts(data: Path, moment: str) -> None:
    """Ctrl-C before the greeting."""
    up = Up(data)
    try:
        until(lambda: (data / moment).exists(), every=0.001)
        family = up.family()
        assert up.end(signal.SIGINT) == 0, up.said
    finally:
        up.close()
    assert gone(family)
    assert left_behind(data) == set()


def test_a_second_one_on_the_same_folder_says_so(up: Up, data: Path) -> None:
    up.wait_until_greeted()
    second = Up(data.parent / "data")
    assert second.popen.wait(20) == 1
    assert f"is in use: `manage.py up` at http://127.0.0.1:{up.port} (process {up.popen.pid})" in second.said
    assert "Traceback" not in second.said
    second.close()
    assert status(up) == 200


def test_a_taken_port_says_so(data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        up = Up(data, taken.getsockname()[1])
        assert up.popen.wait(20) == 1
    assert f"Port {up.port} of 127.0.0.1 cannot be used (Address already in use); PORT=…" in up.said
    assert "Traceback" not in up.said
    up.close()
    assert left_behind(data) == set()


def test_children_that_are_killed_come_back(up: Up) -> None:
    up.wait_until_greeted()
    for words in (("worker", "interactive"), ("worker", "batch")):
        old = up.child(*words)
        old.kill()
        until(lambda words=words, old=old: _other(up, old, *words))  # type: ignore[misc]
    for web in [child for child in psutil.Process(up.popen.pid).children() if "web" in child.cmdline()]:
        web.kill()
    until(lambda: status(up) == 200)
    assert up.said.count("was killed (SIGKILL); it starts again in 0.25 s") == 4


def _other(up: Up, old: psutil.Process, *words: str) -> bool:
    try:
        return bool(up.child(*words).pid != old.pid)
    except (AssertionError, psutil.NoSuchProcess):
        return False


def test_a_child_that_keeps_dying_is_started_ever_more_rarely(up: Up) -> None:
    up.wait_until_greeted()
    for pause in ("0.25", "0.5", "1", "2"):
        old = until(lambda: _child_or_none(up, "worker", "batch"))
        assert old
        old.kill()
        until(lambda pause=pause: f"batch was killed (SIGKILL); it starts again in {pause} s" in up.said)  # type: ignore[misc]


def _child_or_none(up: Up, *words: str) -> psutil.Process | None:
    try:
        return up.child(*words)
    except (AssertionError, psutil.NoSuchProcess):
        return None


def test_postgres_is_killed_under_the_supervisor(up: Up, data: Path) -> None:
    up.wait_until_greeted()
    old = up.child("postgres", "-D")
    with psycopg.connect(host=str(data / "run/postgres"), user="explorer", dbname="explorer") as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    old.kill()
    until(lambda: _other(up, old, "postgres", "-D"))
    until(lambda: status(up) == 200)
    assert "PostgreSQL was killed (SIGKILL)" in up.said
    with psycopg.connect(host=str(data / "run/postgres"), user="explorer", dbname="explorer") as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
    assert up.end() == 0
    assert left_behind(data) == set()


def test_the_supervisor_is_killed_and_its_children_die_with_it(up: Up, data: Path) -> None:
    up.wait_until_greeted()
    family = up.family()
    up.popen.kill()
    up.popen.wait()
    assert gone(family), "children outlived their supervisor"

    following = Up(data, up.port)
    try:
        following.wait_until_greeted()
        assert status(following) == 200
        assert following.end() == 0
    finally:
        following.close()
    assert left_behind(data) == set()


def test_a_restart_right_after_a_kill(up: Up, data: Path) -> None:
    """The next one starts while PostgreSQL is still letting go."""
    up.wait_until_greeted()
    up.popen.kill()
    following = Up(data, up.port)
    try:
        following.wait_until_greeted()
    finally:
        following.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another user for PostgreSQL")
def test_under_root_nothing_above_the_data_folder_becomes_readable(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    up = Up(closed / "data")
    try:
        up.wait_until_greeted()
        assert stat.S_IMODE(closed.stat().st_mode) == 0o701
        assert f"{closed}: opened for passing through" in up.said
        assert stat.S_IMODE((closed / "data/secret_key").stat().st_mode) == 0o600
        assert stat.S_IMODE((closed / "data/run/postgres").stat().st_mode) == 0o700
        assert up.end() == 0
    finally:
        up.close()
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


def test_a_data_folder_too_deep_for_a_socket(tmp_path: Path, temporary: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60) / "data"
    up = Up(deep, TMPDIR=str(temporary))
    try:
        up.wait_until_greeted()
        assert [path.name[:9] for path in temporary.iterdir()] == ["explorer-"]
        assert up.end() == 0
    finally:
        up.close()
    assert list(temporary.iterdir()) == []


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    up = Up(tmp_path / "file" / "data")
    assert up.popen.wait(20) == 1
    assert f"EXPLORER_DATA: {tmp_path}/file/data cannot be written to (Not a directory)" in up.said
    assert "Traceback" not in up.said
    up.close()
