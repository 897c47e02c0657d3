"""What cannot be backed up or restored, and fault 9, a full disk, as far as it concerns a backup."""

import resource
import shutil
from pathlib import Path

import pytest

from tests.faults.backup.installs import BIG, Filled, Install, another_database, contents, listing

pytestmark = pytest.mark.slow


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
