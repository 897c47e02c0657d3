"""Fault 21: back up, wipe, restore."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from explorer import partitions
from tests.faults.backup.installs import (
    AWKWARD,
    FILL_AN_OLDER_RELEASE,
    READ_AND_REMOVE,
    USERS,
    Filled,
    Install,
    another_database,
    contents,
    manifest_of,
    mode,
    next_numbers,
)

pytestmark = pytest.mark.slow

ARTIFACTS = 2 + 6 + 1  # the job's and the big one, a corpus's files, evidence


def test_everything_comes_back(filled: Filled, fresh: Install) -> None:
    said = fresh.do("restore", filled.backup)

    whole = {table: number for table, (number, _) in filled.contents.items() if not of_one_owner(table)}
    tables, rows = len(whole), sum(whole.values())
    size = f"{filled.backup.stat().st_size / (1 << 20):.1f} MB"
    what = f"{tables} tables, {rows:,} rows, {ARTIFACTS} artifacts, {size}"
    assert filled.said == f"{what} in {filled.backup}"
    assert said == f"{what} from {filled.backup}"
    assert {entry.name for entry in fresh.data.iterdir()} == {"artifacts", "log", "postgres", "secret_key"}
    with fresh.serving() as address:
        assert contents(address) == filled.contents
        numbers = next_numbers(address)
        with psycopg.connect(address) as connection:
            connection.execute("INSERT INTO auth_group (name) VALUES ('one more')")
    assert numbers.keys() >= {"auth_user", "auth_user_groups", "explorer_job"}
    assert all(new == expected for expected, new in numbers.values()), numbers
    assert fresh.artifacts() == filled.install.artifacts()
    assert len(fresh.artifacts()) == ARTIFACTS
    assert fresh.places.secret_key.read_bytes() == filled.install.places.secret_key.read_bytes()
    assert {mode(fresh.places.secret_key), mode(filled.backup)} == {0o600}


def of_one_owner(table: str) -> bool:
    """A partition, or the one for the rest: its rows are counted with the whole table's."""
    return re.fullmatch(r"explorer_[a-z]+_([0-9]+|rest)", table) is not None


def test_what_was_collected_is_in_partitions_of_its_owners(filled: Filled, fresh: Install) -> None:
    """Restored, it is looked at and dropped as it was before."""
    parted = {table for table in filled.contents if of_one_owner(table)}
    owned = {table for table in parted if not table.endswith("_rest")}
    assert {table.rsplit("_", 1)[0] for table in owned} == {model._meta.db_table for model in partitions.OWNERS}
    assert all(filled.contents[table][0] > 0 for table in owned)
    assert all(filled.contents[table][0] == 0 for table in parted - owned)

    fresh.do("restore", filled.backup)
    fresh.run(READ_AND_REMOVE)
    with fresh.serving() as address:
        assert contents(address).keys() == filled.contents.keys() - owned
        emptied = {table: number for table, (number, _) in contents(address).items() if table in parted}
    assert set(emptied.values()) == {0}
    assert len(fresh.artifacts()) == 2


def test_awkward_rows_are_in_it(filled: Filled) -> None:
    """What the test above compares is what it was meant to be."""
    assert filled.contents["auth_user"][0] == USERS - 1
    assert filled.contents["auth_user_user_permissions"][0] == 3
    assert filled.contents["explorer_job"][0] == 3
    assert filled.contents["django_session"][0] == filled.contents["explorer_signinlink"][0] == 1
    with filled.install.serving() as address, psycopg.connect(address) as connection:
        assert connection.execute("SELECT name FROM auth_group").fetchall() == [(AWKWARD,)]
        assert connection.execute("SELECT DISTINCT first_name FROM auth_user").fetchall() == [(AWKWARD,)]


def test_a_backup_is_of_one_moment(filled: Filled, folder: Path) -> None:
    """Two tables grow together while it is made; it holds as much of the one as of the other."""
    backup = folder / "backup.tar"
    busy = another_database(filled.install, "busy", template="explorer")
    with filled.install.serving(), busy as address, growing(address):
        filled.install.using(DATABASE_URL=address).do("backup", backup)
    rows = {table["table"]: table["rows"] for table in manifest_of(backup)["tables"]}
    groups, jobs = (rows[table] - filled.contents[table][0] for table in ("auth_group", "explorer_job"))
    assert groups == jobs > 0


@contextmanager
def growing(address: str) -> Iterator[None]:
    """A thousand rows a second, to the first table that is read and to a later one."""
    stop, started = threading.Event(), threading.Event()

    def grow() -> None:
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute("SET synchronous_commit = off")
            number = 0
            while not stop.is_set():
                number += 1
                connection.execute(
                    "WITH one AS (INSERT INTO auth_group (name) VALUES (%(name)s)) "
                    "INSERT INTO explorer_job (kind, queue, arguments, state, planned, attempt, worker, failures, "
                    "  rings, cancel_requested, done, total, unit, message, text, error, traceback) "
                    "VALUES (%(name)s, 'batch', '{}', 'done', false, 0, '', 0, 0, false, 0, 0, '', '', '', '', '')",
                    {"name": str(number)},
                )
                started.set()

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        assert started.wait(10)
        yield
    finally:
        stop.set()
        thread.join()


def test_a_server_elsewhere(filled: Filled, folder: Path) -> None:
    """With DATABASE_URL: into an empty database, not into a used one."""
    again = folder / "again.tar"
    with filled.install.serving(), another_database(filled.install, "elsewhere") as address:
        variables = {"DATABASE_URL": address, "EXPLORER_SECRET_KEY": "k" * 60}
        first = Install(folder / "first", variables)
        first.do("restore", filled.backup)
        assert contents(address) == filled.contents
        assert first.artifacts() == filled.install.artifacts()
        assert not first.places.postgres.exists()

        second = Install(folder / "second", variables)
        assert second.refuse("restore", filled.backup) == (
            "CommandError: The database is not empty: it holds auth_group, auth_group_permissions, auth_permission, "
            "auth_user, auth_user_groups …; DATABASE_URL=… names another"
        )
        assert list(second.data.iterdir()) == []
        assert contents(address) == filled.contents
        first.do("backup", again)
    # The key that somebody keeps in the environment is not in the file.
    expected = manifest_of(filled.backup) | {"secret_key": None}
    assert without_moment(manifest_of(again)) == without_moment(expected)


def without_moment(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name != "made_at"}


def test_an_older_release(folder: Path) -> None:
    """It goes into the tables that it came from, which are then migrated."""
    older, newer = Install(folder / "older"), Install(folder / "newer")
    backup = folder / "backup.tar"
    older.run(FILL_AN_OLDER_RELEASE, AWKWARD)
    older.do("backup", backup)
    newer.do("restore", backup)

    assert manifest_of(backup)["migrations"]["auth"][-1] == "0005_alter_user_last_login_null"
    with newer.serving() as address, psycopg.connect(address) as connection:
        assert connection.execute("SELECT name FROM auth_group").fetchall() == [(AWKWARD,)]
        kind = connection.execute("SELECT * FROM django_content_type WHERE model = 'b'")
        assert [column.name for column in kind.description or ()] == ["id", "app_label", "model"]
        assert kind.rowcount == 1
        newest = connection.execute("SELECT max(name) FROM django_migrations WHERE app = 'auth'").fetchone()
        assert newest == ("0012_alter_user_first_name_max_length",)
        assert all(new == expected for expected, new in next_numbers(address).values())
