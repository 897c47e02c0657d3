import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client

from explorer.actions.accounts import set_role
from explorer.models.access import Role
from explorer.supervisor.embedded import cluster
from tests import broker
from tests.processes import Postgres, Redis, Web, Workers
from tests.tools import find_redis


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real server of this session's own, which tests may stop and start."""
    # A crash of the machine would cost a test database its rows, which nobody would miss.
    server = Postgres(replace(cluster(settings.PLACES), settings={"fsync": "off"}))
    server.start()
    yield server
    connections["default"].close_pool()  # type: ignore[attr-defined]
    server.stop()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(postgres: Postgres) -> None:
    """pytest-django makes its test database in that server."""
    postgres.cluster.ensure_database(settings.EMBEDDED_NAME)


def pytest_unconfigure() -> None:
    """The data folder goes with the session that made it, also when no test was run."""
    if os.environ.get("EXPLORER_TEST_SESSION") == str(os.getpid()):
        shutil.rmtree(settings.PLACES.data, ignore_errors=True)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    if not find_redis():
        missing("a Redis server")
    server = Redis(tmp_path_factory.mktemp("redis"))
    yield server
    server.close()


def missing(what: str) -> None:
    """Something that `make test` would have installed."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is not installed, and in CI no test may be skipped for that")
    pytest.skip(f"{what} is not installed; `make test` does it")


@pytest.fixture(params=["files", "redis"])
def broker_url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """Each test that takes this runs on the embedded broker and on a real Redis."""
    if request.param == "redis":
        server: Redis = request.getfixturevalue("redis_server")
        server.flush()
        with broker.used(server.address):
            yield server.address
    else:
        shutil.rmtree(settings.PLACES.broker, ignore_errors=True)
        yield None


@pytest.fixture
def workers(transactional_db: None, tmp_path: Path, broker_url: str | None) -> Iterator[Workers]:
    made = Workers(tmp_path, broker_url)
    yield made
    made.close()


@pytest.fixture
def web(transactional_db: None, tmp_path: Path, broker_url: str | None) -> Iterator[Web]:
    made = Web(tmp_path, broker_url)
    yield made
    made.close()


@pytest.fixture
def admin(db: None) -> User:
    return User.objects.create_superuser("admin")


@pytest.fixture
def viewer(db: None) -> User:
    return User.objects.create_user("viewer")


def _of_role(role: Role) -> User:
    user = User.objects.create_user(role.label)
    set_role(user.pk, role, by=user)
    return User.objects.get(pk=user.pk)


@pytest.fixture
def annotator(db: None) -> User:
    return _of_role(Role.ANNOTATOR)


@pytest.fixture
def researcher(db: None) -> User:
    return _of_role(Role.RESEARCHER)


@pytest.fixture
def looking(client: Client, viewer: User) -> Client:
    client.force_login(viewer)
    return client


@pytest.fixture
def researching(client: Client, researcher: User) -> Client:
    client.force_login(researcher)
    return client


def cookie_of(user: User) -> dict[str, str]:
    """The header of somebody who has signed in."""
    client = Client()
    client.force_login(user)
    return {"Cookie": f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"}


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "trace"
    path.touch()
    return path
