"""Fault 21, back up, wipe, restore; and faults 9, 17 and 18 as far as they concern a backup."""

import gzip
import io
import json
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql

from explorer.places import Places
from explorer.supervisor import embedded, lock
from tests.processes import ROOT, Postgres, until

Contents = dict[str, tuple[int, str]]  # of each table: rows, md5
Member = tuple[tarfile.TarInfo, bytes]
Change = Callable[[list[Member]], list[Member]]

AWKWARD = "tab\t newline\n return\r backslash\\ \\N \\. NULL '\"; עברית \u202e🦎 e\u0301\x7f"
BIG = 3_000_000  # bytes of an artifact that no small disk holds
USERS = 2_000

FILL = f"""
import io, os, sys
from django.contrib.auth.models import Group, Permission, User
from django.contrib.sessions.backends.db import SessionStore
from django.core.management import call_command
from explorer import artifacts
from explorer.actions import sign_in
from explorer.models import Job
from explorer.supervisor import embedded

awkward = sys.argv[1]
with embedded.running("a test"):
    call_command("migrate", verbosity=0)
    call_command("run_job", "diagnose")
    artifacts.put(io.BytesIO(os.urandom({BIG})), name=awkward)
    User.objects.bulk_create(User(username=f"user {{n}}", first_name=awkward) for n in range({USERS}))
    ada = User.objects.get(username="user 7")
    group = Group.objects.create(name=awkward)
    ada.groups.add(group)
    ada.user_permissions.set(Permission.objects.order_by("pk")[:3])
    User.objects.filter(username="user 5").delete()
    sign_in.make_link(ada)
    session = SessionStore()
    session["awkward"] = awkward
    session.save()
    child = Job.objects.create(kind="diagnose", queue="batch", state="done", arguments={{awkward: [awkward, 1.5e-7]}},
                               text=awkward, created_by=ada, result=None)
    child.parent = Job.objects.create(kind="diagnose", queue="batch", state="failed", error=awkward)  # a later row
    child.save()
"""

FILL_AN_OLDER_RELEASE = """
import sys
from django.core.management import call_command
from django.db import connection
from explorer.supervisor import embedded

with embedded.running("a test"):
    call_command("migrate", "auth", "0005", verbosity=0)  # with contenttypes 0001, whose name column is gone since
    call_command("migrate", "sessions", verbosity=0)
    call_command("migrate", "explorer", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO django_content_type (app_label, model, name) VALUES ('a', 'b', %s)", sys.argv[1:])
        cursor.execute("INSERT INTO auth_group (name) VALUES (%s)", sys.argv[1:])
"""

# All in one process: each refusal alone takes milliseconds, starting Python does not.
RESTORE_EACH = """
import json, os, sys
from django.core.management import CommandError, call_command

told = {}
for file in sys.argv[2:]:
    try:
        call_command("restore", file)
        said = "restored"
    except CommandError as why:
        said = str(why)
    told[os.path.basename(file)] = said, sorted(os.listdir(os.environ["EXPLORER_DATA"]))
with open(sys.argv[1], "w") as answer:
    json.dump(told, answer)
"""


@dataclass(frozen=True)
class Install:
    """A data folder of its own, with an embedded PostgreSQL of its own."""

    data: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    def using(self, **variables: str) -> "Install":
        return Install(self.data, variables)

    @property
    def places(self) -> Places:
        return Places(self.data)

    def environment(self) -> dict[str, str]:
        ours = ("EXPLORER_", "DATABASE_URL", "CELERY_", "DJANGO_")
        rest = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        ours_now = {"DJANGO_SETTINGS_MODULE": "explorer.settings", "EXPLORER_DATA": str(self.data), **self.variables}
        return rest | ours_now

    def do(self, *command: str | Path) -> str:
        """The last line of what it said."""
        done = self._python("manage.py", *command)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()[-1]

    def refuse(self, *command: str | Path, before: Callable[[], None] | None = None) -> str:
        """Why it would not."""
        done = self._python("manage.py", *command, before=before)
        assert done.returncode == 1, done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return done.stderr.strip()

    def run(self, code: str, *arguments: str | Path) -> None:
        done = self._python("-c", f"import django\ndjango.setup()\n{code}", *arguments)
        assert done.returncode == 0, done.stderr

    def _python(
        self, *arguments: str | Path, before: Callable[[], None] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=self.environment(),
            preexec_fn=before,
            capture_output=True,
            text=True,
            check=False,
        )

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Its server runs, as while `up` does; yields DATABASE_URL for its database."""
        with lock.hold(self.places.lock, "a test"):
            server = Postgres(embedded.cluster(self.places))
            server.start()
            try:
                server.cluster.ensure_database("explorer")
                yield self.address("explorer")
            finally:
                server.stop()

    def address(self, database: str) -> str:
        return f"postgresql://explorer@/{database}?host={quote(str(self.places.socket), safe='')}"

    def artifacts(self) -> dict[str, bytes]:
        folder = self.places.artifacts
        return {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


@dataclass(frozen=True)
class Filled:
    install: Install
    contents: Contents
    backup: Path
    said: str


@contextmanager
def made_folder() -> Iterator[Path]:
    """Not pytest's, which is below one for all sessions: under root each embedded server opens and closes it."""
    with tempfile.TemporaryDirectory(prefix="explorer-test-") as name:
        yield Path(name)


@pytest.fixture
def folder() -> Iterator[Path]:
    with made_folder() as made:
        yield made


@pytest.fixture
def fresh(folder: Path) -> Install:
    return Install(folder / "data")


@pytest.fixture(scope="module")
def filled() -> Iterator[Filled]:
    with made_folder() as folder:
        install = Install(folder / "data")
        install.run(FILL, AWKWARD)
        backup = folder / "backup.tar"
        said = install.do("backup", backup)
        with install.serving() as address:
            found = contents(address)
        yield Filled(install, found, backup, said)


def contents(address: str) -> Contents:
    """Of every table, whoever made it, but the one that says when migrations ran."""
    with psycopg.connect(address) as connection:
        tables = connection.execute(
            "SELECT table_name FROM information_schema.tables "
            "WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND table_name <> 'django_migrations'"
        ).fetchall()
        return {table: _content(connection, table) for (table,) in tables}


def _content(connection: "psycopg.Connection[Any]", table: str) -> tuple[int, str]:
    query = sql.SQL("SELECT count(*), md5(coalesce(string_agg(t::text, E'\n' ORDER BY t::text), '')) FROM {} AS t")
    found = connection.execute(query.format(sql.Identifier(table))).fetchone()
    assert found
    return found[0], found[1]


def next_numbers(address: str) -> dict[str, tuple[int, int]]:
    """Of each table that numbers its rows: the number after the highest, and the one that a new row gets."""
    with psycopg.connect(address) as connection:
        numbered = connection.execute(
            "SELECT table_name, column_name FROM information_schema.columns "
            "WHERE table_schema = 'public' AND is_identity = 'YES' AND table_name <> 'django_migrations'"
        ).fetchall()
        found = {}
        for table, column in numbered:
            query = sql.SQL("SELECT coalesce(max({0}), 0) + 1, nextval(pg_get_serial_sequence({2}, {3})) FROM {1}")
            names = (sql.Identifier(column), sql.Identifier(table), sql.Literal(table), sql.Literal(column))
            row = connection.execute(query.format(*names)).fetchone()
            assert row
            found[table] = (row[0], row[1])
        return found


def manifest_of(backup: Path) -> dict[str, Any]:
    with tarfile.open(backup) as tar:
        content = tar.extractfile("manifest.json")
        assert content
        found: dict[str, Any] = json.load(content)
        return found


# Back up, wipe, restore


def test_everything_comes_back(filled: Filled, fresh: Install) -> None:
    said = fresh.do("restore", filled.backup)

    rows = sum(number for number, _ in filled.contents.values())
    size = f"{filled.backup.stat().st_size / (1 << 20):.1f} MB"
    what = f"{len(filled.contents)} tables, {rows:,} rows, 2 artifacts, {size}"
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
    assert len(fresh.artifacts()) == 2
    assert fresh.places.secret_key.read_bytes() == filled.install.places.secret_key.read_bytes()
    assert {mode(fresh.places.secret_key), mode(filled.backup)} == {0o600}


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


# What is refused


def test_nothing_to_back_up(fresh: Install, folder: Path) -> None:
    refused = fresh.refuse("backup", folder / "backup.tar")
    expected = f"{fresh.data} holds no database; there is nothing to back up (EXPLORER_DATA=… names another)"
    assert refused == f"CommandError: {expected}"
    assert not (folder / "backup.tar").exists()


def test_a_backup_does_not_go_into_the_data_folder(filled: Filled) -> None:
    target = filled.install.data / "backup.tar"
    refused = filled.install.refuse("backup", target)
    expected = f"{target} lies in the data folder and would be lost with it; choose a place outside"
    assert refused == f"CommandError: {expected}"


@pytest.mark.parametrize("damage", ["missing", "changed", "longer"])
def test_an_artifact_that_is_not_as_it_was(damage: str, filled: Filled, fresh: Install, folder: Path) -> None:
    shutil.copytree(filled.install.places.artifacts, fresh.places.artifacts)
    victim = max(fresh.places.artifacts.rglob("*"), key=lambda path: path.stat().st_size)
    content = victim.read_bytes()
    if damage == "missing":
        victim.unlink()
        expected = f"is not in {fresh.places.artifacts}; if it was deleted just now, back up again"
    elif damage == "changed":
        victim.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        expected = "is damaged: its bytes are others; delete the artifact, then back up"
    else:
        victim.write_bytes(content + b"!")
        expected = (
            f"is damaged: {victim} is of {BIG + 1:,} bytes and its row says {BIG:,}; delete the artifact, then back up"
        )
    backups = folder / "backups"
    backups.mkdir()
    with filled.install.serving() as address:
        refused = fresh.using(DATABASE_URL=address).refuse("backup", backups / "backup.tar")
    assert refused == f"CommandError: artifact {victim.name} {expected}"
    assert list(backups.iterdir()) == []


@pytest.mark.parametrize("used", ["artifacts/", "log/web.log", "notes.txt"])
def test_a_used_folder_stays_as_it_was(used: str, filled: Filled, fresh: Install) -> None:
    path = fresh.data / used
    path.parent.mkdir(parents=True)
    path.mkdir() if used.endswith("/") else path.write_text("kept")
    fresh.places.run.mkdir()  # empty, so it does not count
    before = listing(fresh.data)
    refused = fresh.using(EXPLORER_SECRET_KEY="k" * 60).refuse("restore", filled.backup)
    name = used.split("/")[0]
    assert refused == f"CommandError: {fresh.data} is not empty: it holds {name}; EXPLORER_DATA=… names another folder"
    assert listing(fresh.data) == before


# Disk full


def test_a_limit_on_files_leaves_the_older_backup(filled: Filled, folder: Path) -> None:
    target = folder / "backup.tar"
    target.write_text("older")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    with filled.install.serving():
        refused = filled.install.refuse("backup", target, before=limit)
    expected = f"{target} could not be written: File too large; the one that was there is as it was"
    assert refused == f"CommandError: {expected}"
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"backup.tar": "older"}


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a disk; the test with a limit on files says nearly the same")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_leaves_the_older_backup(filled: Filled, small_disk: Path) -> None:
    target = small_disk / "backup.tar"
    target.write_text("older")
    with filled.install.serving():
        refused = filled.install.refuse("backup", target)
    expected = f"{target} could not be written: No space left on device; the one that was there is as it was"
    assert refused == f"CommandError: {expected}"
    assert {path.name: path.read_text() for path in small_disk.iterdir()} == {"backup.tar": "older"}


def test_a_full_disk_leaves_nothing_restored(filled: Filled, small_disk: Path) -> None:
    with filled.install.serving(), another_database(filled.install, "beside_a_full_disk") as address:
        refused = Install(small_disk).using(DATABASE_URL=address).refuse("restore", filled.backup)
        assert contents(address) == {}
    assert refused == "CommandError: No space left on device; what was restored until then is removed"
    assert [path.name for path in small_disk.iterdir()] == ["secret_key"]


# Hostile and damaged archives


def test_hostile_archives(filled: Filled, folder: Path) -> None:
    """Each is refused by name, nothing is written elsewhere, nothing stays, and then a good one is restored."""
    cases = hostile(manifest_of(filled.backup), folder / "evil")
    archives = folder / "archives"
    archives.mkdir()
    files = [rewritten(filled.backup, archives / name, change) for name, (change, _) in cases.items()]
    before = listing(folder)
    with filled.install.serving(), another_database(filled.install, "attacked") as address:
        told = restored_each(Install(folder / "data").using(DATABASE_URL=address), [*files, filled.backup])
        assert contents(address) == filled.contents  # which shows too that each one's tables were gone

    assert told.pop("backup.tar") == ("restored", ["artifacts", "secret_key"])
    assert {name: left for name, (_, left) in told.items()} == {name: ["secret_key"] for name in cases}
    assert {name: said for name, (said, _) in told.items() if cases[name][1] not in said} == {}
    after = {path: entry for path, entry in listing(folder).items() if not path.startswith(("data", "answer"))}
    assert after == before


def hostile(known: dict[str, Any], evil: Path) -> dict[str, tuple[Change, str]]:
    """What is done to a good archive, and what is said to it."""
    artifact = known["artifacts"][0]
    jobs = next(table for table in known["tables"] if table["table"] == "explorer_job")
    users = "rows/auth_user.copy.gz"
    plain = "; a backup holds plain files alone"
    leads_out = ", a name that leads out of it"
    needs = (
        "The manifest lists 'auth.0012_alter_user_first_name_max_length' without 'auth.0011_update_proxy_permissions'"
    )
    newer = "Use the release that made them, or a later one."
    return {
        # Names and kinds of members
        "parent": (added("../evil"), f"it holds '../evil'{leads_out}"),
        "inner": (added("rows/../../evil"), f"it holds 'rows/../../evil'{leads_out}"),
        "absolute": (added(str(evil)), f"it holds {str(evil)!r}{leads_out}"),
        "backslash": (added("..\\evil"), f"it holds {'..' + chr(92) + 'evil'!r}{leads_out}"),
        "percent": (added("%2e%2e/evil"), "it holds '%2e%2e/evil', which is not in its manifest"),
        "stranger": (added("notes"), "it holds 'notes', which is not in its manifest"),
        "symlink": (added("link", tarfile.SYMTYPE, str(evil)), f"it holds 'link', a symbolic link{plain}"),
        "key-symlink": (
            changed("secret_key", type=tarfile.SYMTYPE, linkname="/etc/hostname"),
            f"it holds 'secret_key', a symbolic link{plain}",
        ),
        "hardlink": (added("link", tarfile.LNKTYPE, "manifest.json"), f"it holds 'link', a hard link{plain}"),
        "device": (added("device", tarfile.CHRTYPE), f"it holds 'device', a device{plain}"),
        "folder": (added("rows", tarfile.DIRTYPE), f"it holds 'rows', a folder{plain}"),
        "twice": (added(users), f"it holds '{users}' twice"),
        "lacking": (without(users), f"it lacks '{users}', which is in its manifest; it is cut short or damaged"),
        "headless": (without("manifest.json"), "it holds no manifest.json: it is cut short, damaged, or no backup"),
        # The manifest
        "no-json": (manifest(lambda _: b"{"), "manifest.json is damaged: Expecting property name"),
        "nested": (manifest(lambda _: b"[" * 100_000), "manifest.json is damaged: maximum recursion depth"),
        "empty": (manifest(lambda _: b"{}"), "manifest.json: 'release' is missing or is no str"),
        "format": (edited(format=99), "manifest.json says format 99, written by release "),
        "no-rows": (
            edited(tables=[known["tables"][0] | {"rows": "1"}]),
            "manifest.json: 'rows' is missing or is no int",
        ),
        "no-hash": (edited(artifacts=[{"sha256": "../evil", "size": 1}]), "manifest.json: '../evil' is no sha256"),
        "same-table": (
            edited(tables=[*known["tables"], jobs]),
            "its manifest.json lists 'rows/explorer_job.copy.gz' twice",
        ),
        "size": (
            edited(artifacts=[each | {"size": each["size"] + 1} for each in known["artifacts"]]),
            f"artifacts/{artifact['sha256']} is of {artifact['size']:,} bytes; "
            f"the manifest says {artifact['size'] + 1:,}",
        ),
        "unknown-app": (
            edited(migrations=known["migrations"] | {"future": ["0001_x"]}),
            f"The archive has migrations that this release does not know: 'future.0001_x'. {newer}",
        ),
        "unknown-migration": (
            edited(migrations=known["migrations"] | {"explorer": [*known["migrations"]["explorer"], "9999_x"]}),
            f"The archive has migrations that this release does not know: 'explorer.9999_x'. {newer}",
        ),
        "gap": (
            edited(
                migrations=known["migrations"]
                | {"auth": [name for name in known["migrations"]["auth"] if not name.startswith("0011")]}
            ),
            f"{needs}, which it needs",
        ),
        "no-migrations": (edited(migrations={}), "The manifest lists no migrations that make a table"),
        "evil-table": (
            both(
                edited(tables=[*known["tables"], jobs | {"table": 'x"; DROP TABLE auth_user'}]),
                added('rows/x"; DROP TABLE auth_user.copy.gz'),
            ),
            "The manifest lists a table 'x\"; DROP TABLE auth_user', which its migrations do not make",
        ),
        "evil-column": (
            edited(tables=[each | {"columns": [*each["columns"], "x) FROM"]} for each in known["tables"]]),
            "The manifest's columns of auth_group are not those of its migrations: 'x) FROM'",
        ),
        "key": (flipped("secret_key"), "secret_key is damaged: its bytes have another sha256"),
        # What the database and the store are given
        "rows": (flipped(users), f"{users}"),
        "cut-rows": (changed_content(users, lambda content: content[:-20]), f"{users} is damaged"),
        "no-gzip": (changed_content(users, lambda _: b"x" * 600), f"{users} is damaged: Not a gzipped file"),
        "other-rows": (changed_content(users, fewer_rows), f"{users} is damaged: its rows are not those"),
        "bomb": (
            changed_content(users, lambda _: gzip.compress(bytes(100_000_000))),
            f"{users} is damaged: more than its",
        ),
        "artifact": (
            flipped(f"artifacts/{artifact['sha256']}"),
            f"artifacts/{artifact['sha256']} is damaged: its bytes have another sha256",
        ),
    }


def test_damage_leaves_no_cluster(filled: Filled, fresh: Install) -> None:
    """The same with the embedded server, whose cluster goes with what was in it."""
    damaged = rewritten(filled.backup, fresh.data.with_name("damaged.tar"), flipped("rows/explorer_job.copy.gz"))
    told = restored_each(fresh, [damaged, filled.backup])
    said, left = told["damaged.tar"]
    assert said.startswith("rows/explorer_job.copy.gz")
    assert left == ["secret_key"]
    assert told["backup.tar"] == ("restored", ["artifacts", "log", "postgres", "secret_key"])


def test_what_is_no_archive(filled: Filled, folder: Path) -> None:
    whole = filled.backup.read_bytes()
    cut = {
        "half": whole[: len(whole) // 2],
        "a byte less": whole[:-1],
        "records less": whole[: -2 * tarfile.RECORDSIZE],
    }
    others = {"no tar": os.urandom(tarfile.RECORDSIZE), "gzipped": gzip.compress(whole), "nothing": b""}
    for name, content in (cut | others).items():
        (folder / name).write_bytes(content)
    os.mkfifo(folder / "pipe")
    names = [*cut, *others, "pipe", "absent"]

    told = restored_each(Install(folder / "data"), [folder / name for name in names])

    assert {name: left for name, (_, left) in told.items()} == {name: ["secret_key"] for name in names}
    assert told.pop("absent")[0] == f"{folder / 'absent'} cannot be read: No such file or directory"
    assert told.pop("pipe")[0] == f"{folder / 'pipe'} is not a file"
    for name, (said, _) in told.items():
        assert said.startswith(f"{folder / name} is refused: it "), said
        assert "is cut short" in said, said


def restored_each(install: Install, files: list[Path]) -> dict[str, tuple[str, list[str]]]:
    """What was said to each, and what was left in the data folder."""
    answer = install.data.with_name("answer.json")
    install.run(RESTORE_EACH, answer, *files)
    told = json.loads(answer.read_text())
    return {name: (said, left) for name, (said, left) in told.items()}


# Killed and stopped


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
    assert fresh.refuse("backup", target) == f"{half}; there is nothing whole to back up"
    assert not target.exists()


@pytest.mark.parametrize("reached", [has_a_cluster, has_copied_a_table])
def test_asked_to_stop_while_it_restores(reached: Callable[[Install], bool], filled: Filled, fresh: Install) -> None:
    with a_restore(filled, fresh, until_it=reached) as process:
        process.send_signal(signal.SIGTERM)
        assert process.stderr
        assert process.stderr.read() == b"CommandError: stopped; nothing is left of what was begun\n"
        assert [entry.name for entry in fresh.data.iterdir()] == ["secret_key"]


# Tools


def rewritten(source: Path, target: Path, change: Change) -> Path:
    with tarfile.open(source) as tar:
        members = [(info, file.read()) for info in tar if (file := tar.extractfile(info))]
    with tarfile.open(target, "w") as tar:
        for info, content in change(members):
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return target


def added(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> Change:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return lambda members: [*members, (info, b"evil" if kind == tarfile.REGTYPE else b"")]


def without(name: str) -> Change:
    return lambda members: [member for member in members if member[0].name != name]


def changed(name: str, **attributes: Any) -> Change:
    def change(members: list[Member]) -> list[Member]:
        for info, _ in members:
            if info.name == name:
                for attribute, value in attributes.items():
                    setattr(info, attribute, value)
        return members

    return change


def changed_content(name: str, become: Callable[[bytes], bytes]) -> Change:
    return lambda members: [(info, become(content) if info.name == name else content) for info, content in members]


def flipped(name: str) -> Change:
    """One bit, in the middle."""

    def flip(content: bytes) -> bytes:
        middle = len(content) // 2
        return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]

    return changed_content(name, flip)


def fewer_rows(content: bytes) -> bytes:
    rows = gzip.decompress(content).splitlines(keepends=True)
    return gzip.compress(b"".join(rows[:-1]))


def manifest(become: Callable[[bytes], bytes]) -> Change:
    return changed_content("manifest.json", become)


def edited(**fields: Any) -> Change:
    return manifest(lambda content: json.dumps(json.loads(content) | fields).encode())


def both(first: Change, second: Change) -> Change:
    return lambda members: second(first(members))


def without_moment(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name != "made_at"}


def listing(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Everything below it: mode, time, content."""
    found = {}
    for path in sorted(folder.rglob("*")):
        known = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(known.st_mode) else b""
        found[str(path.relative_to(folder))] = (known.st_mode, known.st_mtime_ns, content)
    return found


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@contextmanager
def another_database(install: Install, name: str, template: str = "template1") -> Iterator[str]:
    """In the server of an install that is serving."""
    with psycopg.connect(install.address("postgres"), autocommit=True) as connection:
        names = (sql.Identifier(name), sql.Identifier(template))
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*names))
        try:
            yield install.address(name)
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(names[0]))
