"""Installs to back up and to restore into, and what is in them."""

import json
import os
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import sql

from explorer.places import Places
from explorer.supervisor import embedded, lock
from tests.processes import ROOT, Postgres
from tests.supervised import NOT_OURS

Contents = dict[str, tuple[int, str]]  # of each table: rows, md5

AWKWARD = "tab\t newline\n return\r backslash\\ \\N \\. NULL '\"; עברית \u202e🦎 e\u0301\x7f"
BIG = 3_000_000  # bytes of an artifact that no small disk holds
USERS = 2_000

FILL = f"""
import io, os, sys, tempfile
from pathlib import Path
from django.contrib.auth.models import Group, Permission, User
from django.contrib.sessions.backends.db import SessionStore
from django.core.management import call_command
from explorer import artifacts
from explorer.actions import sign_in
from explorer.models import Job
from explorer.supervisor import embedded
from tests.work.collected import collected

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
    with tempfile.TemporaryDirectory() as folder:
        collected(Path(folder))
"""

READ_AND_REMOVE = """
from explorer import partitions
from explorer.actions.collections import remove_corpus, remove_sae
from explorer.queries import features, library
from explorer.supervisor import embedded

with embedded.running("a test"):
    (sae,) = library.saes()
    pages = [features.feature(sae, index) for index in range(sae.n_latents)]
    assert [page.index for page in pages if page.examples.top] == [p.index for p in pages if p.activity.n_fired], pages
    assert sum(len(page.examples.top) for page in pages) > 100
    corpus = sae.collection.corpus
    remove_sae(sae.pk)
    remove_corpus(corpus.pk)
"""

FILL_AN_OLDER_RELEASE = """
import sys
from django.core.management import call_command
from django.db import connection
from explorer.supervisor import embedded

with embedded.running("a test"):
    call_command("migrate", "auth", "0005", verbosity=0)  # with contenttypes 0001, whose name column is gone since
    call_command("migrate", "sessions", verbosity=0)
    call_command("migrate", "explorer", "0001", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO django_content_type (app_label, model, name) VALUES ('a', 'b', %s)", sys.argv[1:])
        cursor.execute("INSERT INTO auth_group (name) VALUES (%s)", sys.argv[1:])
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
        rest = {name: value for name, value in os.environ.items() if not name.startswith(NOT_OURS)}
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
def another_database(install: Install, name: str, template: str = "template1") -> Iterator[str]:
    """In the server of an install that is serving."""
    with psycopg.connect(install.address("postgres"), autocommit=True) as connection:
        names = (sql.Identifier(name), sql.Identifier(template))
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*names))
        try:
            yield install.address(name)
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(names[0]))


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
