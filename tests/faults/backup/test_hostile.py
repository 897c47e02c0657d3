"""Faults 17 and 18 as far as they concern a backup: each bad archive is refused, and nothing of it stays."""

import gzip
import json
import os
import tarfile
from pathlib import Path

import pytest

from tests.faults.backup.archives import flipped, hostile, rewritten
from tests.faults.backup.installs import Filled, Install, another_database, contents, listing, manifest_of

pytestmark = pytest.mark.slow

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


def restored_each(install: Install, files: list[Path]) -> dict[str, tuple[str, list[str]]]:
    """What was said to each, and what was left in the data folder."""
    answer = install.data.with_name("answer.json")
    install.run(RESTORE_EACH, answer, *files)
    told = json.loads(answer.read_text())
    return {name: (said, left) for name, (said, left) in told.items()}


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
