"""Fault 22: the previous release's database is migrated while rows are written to it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql

from tests.processes import ROOT, Postgres, Process, until

pytestmark = pytest.mark.slow

PREVIOUS = "0009_maps"
DATABASE, ENOUGH = "migrated", 20  # writes of each writer before it, and after

# By the models as they were then. Each line that is printed is a transaction that was committed: as a page's are, of
# rows that lean on each other, and of a count that rises.
WRITE = """
import os, sys, threading
import django
django.setup()
from django.db import connection, transaction
from django.db.migrations.loader import MigrationLoader

models = MigrationLoader(connection).project_state(("explorer", sys.argv[1])).apps
User, Job, Sae = (models.get_model(*name) for name in (("auth", "User"), ("explorer", "Job"), ("explorer", "Sae")))
List, Entry, Lm = (models.get_model("explorer", name) for name in ("FeatureList", "ListEntry", "LanguageModel"))
lm = Lm.objects.create(slug="lm", name="lm", source="", kind="gpt2", n_layers=2, d_model=8, n_vocab=9, fingerprint="1")
sae = Sae.objects.create(slug="sae", name="sae", lm=lm, hookpoint="h", family="topk", d_in=8, d_out=8, n_latents=9,
                         config={}, fingerprint="2")

def write(writer):
    for number in range(sys.maxsize):
        with transaction.atomic():
            user = User.objects.create(username=f"{writer}-{number}")
            job = Job.objects.create(kind="diagnose", queue="batch", state="done", created_by=user)
            found = List.objects.create(name=user.username, owner=user)
            Entry.objects.create(list=found, sae=sae, index=number, added_by=user)
            Sae.objects.filter(pk=sae.pk).update(edition=django.db.models.F("edition") + 1)
        os.write(1, f"{user.username}\\n".encode())  # in one piece, whoever else writes

for writer in range(4):
    threading.Thread(target=write, args=(writer,)).start()
"""


@pytest.fixture
def address(postgres: Postgres) -> Iterator[str]:
    """Of a database of its own."""
    cluster = postgres.cluster
    host, name = quote(str(cluster.socket), safe=""), sql.Identifier(DATABASE)
    with psycopg.connect(f"postgresql://explorer@/postgres?host={host}", autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(name))
        yield f"postgresql://explorer@/{DATABASE}?host={host}"
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def test_rows_are_written_while_the_previous_release_is_migrated(address: str, tmp_path: Path) -> None:
    variables = {"DATABASE_URL": address, "DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(ROOT)}
    migrate(variables, "explorer", PREVIOUS)
    writers = Process([sys.executable, "-c", WRITE, PREVIOUS], tmp_path / "writers.log", variables)
    try:
        until(lambda: busy(writers, since=0))
        before = len(writers.said.splitlines())
        migrate(variables)
        during = len(writers.said.splitlines())
        assert during > before
        until(lambda: busy(writers, since=during))
    finally:
        writers.close()

    told = writers.said.splitlines()
    with psycopg.connect(address) as connection:
        for query in (
            "SELECT username FROM auth_user",
            "SELECT username FROM explorer_job job JOIN auth_user person ON person.id = job.created_by_id",
            "SELECT name FROM explorer_listentry entry JOIN explorer_featurelist list ON list.id = entry.list_id",
        ):
            found = [name for (name,) in connection.execute(query)]
            assert len(found) == len(set(found))
            assert set(told) <= set(found)
        assert connection.execute("SELECT edition FROM explorer_sae").fetchone() == (len(found),)
        assert connection.execute("SELECT count(*) FROM explorer_score").fetchone() == (0,)


def busy(writers: Process, since: int) -> bool:
    """Each of them has written some more."""
    told = writers.said.splitlines()
    assert writers.popen.poll() is None, told[-20:]
    assert all(line[1:2] == "-" for line in told), told[-20:]
    return all(sum(line.startswith(f"{writer}-") for line in told[since:]) >= ENOUGH for writer in range(4))


def migrate(variables: dict[str, str], *words: str) -> None:
    command = [sys.executable, "manage.py", "migrate", "--verbosity", "0", *words]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
