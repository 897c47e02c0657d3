import multiprocessing
import stat
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from explorer import secret_key


def test_it_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "secret_key"
    key = secret_key.read_or_make(path)
    assert len(key) >= 64
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert secret_key.read_or_make(path) == key
    assert [each.name for each in path.parent.iterdir()] == ["secret_key"]


def test_two_installs_have_two_keys(tmp_path: Path) -> None:
    assert secret_key.read_or_make(tmp_path / "a") != secret_key.read_or_make(tmp_path / "b")


def test_processes_that_start_at_once_agree(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        keys = pool.map(secret_key.read_or_make, [tmp_path / "secret_key"] * 16, chunksize=1)
    assert len(set(keys)) == 1


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_one_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "secret_key"
    secret_key.read_or_make(path)
    path.chmod(mode)
    with pytest.raises(ImproperlyConfigured, match=f"others may read this key .mode {mode:04o}"):
        secret_key.read_or_make(path)


def test_an_empty_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret_key"
    path.touch(mode=0o600)
    with pytest.raises(ImproperlyConfigured, match="0 characters are no key"):
        secret_key.read_or_make(path)
