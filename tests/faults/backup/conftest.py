import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.backup.installs import AWKWARD, FILL, Filled, Install, contents


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


@pytest.fixture(scope="package")
def filled() -> Iterator[Filled]:
    with made_folder() as folder:
        install = Install(folder / "data")
        install.run(FILL, AWKWARD)
        backup = folder / "backup.tar"
        said = install.do("backup", backup)
        with install.serving() as address:
            found = contents(address)
        yield Filled(install, found, backup, said)


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a disk; the test with a limit on files says nearly the same")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)
