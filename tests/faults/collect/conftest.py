import shutil
from collections.abc import Iterator

import pytest
import torch
from django.conf import settings
from django.db import connection

from tests.faults.collect.ground import Ground, lay, partitions
from tests.work.added import Added, add


@pytest.fixture(scope="package")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """By one thread, as the workers have: sums round by how many there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield lay(tmp_path_factory.mktemp("ground"))
    torch.set_num_threads(threads)


@pytest.fixture
def broker_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs by either broker are test_jobs.py's."""
    shutil.rmtree(settings.PLACES.broker, ignore_errors=True)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def added(ground: Ground, transactional_db: None) -> Iterator[Added]:
    """In an empty library."""
    _empty()
    yield add(ground.given, "late")
    _empty()


def _empty() -> None:
    """Of files and tables whose rows are gone, or are about to be."""
    for folder in (settings.PLACES.artifacts, settings.PLACES.scratch):
        shutil.rmtree(folder, ignore_errors=True)
    with connection.cursor() as cursor:
        for table in partitions():
            cursor.execute(f"DROP TABLE {table}")
