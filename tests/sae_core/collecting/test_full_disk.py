"""A disk that is full, by a real limit on how much a process may write to a file: at whatever stage, the file that was
there stays, nothing else does, and it is said."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sae_core.array_files import ArrayFile
from tests.sae_core.collecting.agreement import same_evidence

FULL = """
import json, resource, sys
from pathlib import Path

import torch

from sae_core.collect import collect_part, finish
from sae_core.errors import BadInput
from tests.sae_core.collecting.made import CONFIG, made_sae, small_lm, texts

torch.set_num_threads(1)
folder, unlimited = Path(sys.argv[1]), resource.getrlimit(resource.RLIMIT_FSIZE)
lm, sae, ids = small_lm(), made_sae(k=9), texts(70)
whole, attempts, reached = folder / "whole", [], []

def part(path):
    def on_batch(done, total):
        reached.append("pass" if done < total else "part")

    collect_part(lm, [sae], ids, [path], CONFIG, on_batch=on_batch)

def evidence(path):
    finish(lm, sae, [whole], path, contexts=ids, on_step=lambda done, n, what: reached.append(what))

for make in (part, evidence):
    make(whole if make is part else folder / "evidence")
    for path in (whole if make is part else folder / "evidence", folder / "new" / make.__name__):
        limit, said = 4000, ""
        while said is not None:
            before, said = {each: each.read_bytes() for each in folder.rglob("*") if each.is_file()}, None
            reached.clear()
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, unlimited[1]))
            try:
                make(path)
            except BadInput as error:
                said = str(error)
            resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
            left = {each: each.read_bytes() for each in folder.rglob("*") if each.is_file()}
            scratch = [each.name for each in folder.rglob("*") if each.name.startswith(".")]
            attempts.append([str(path), reached[-1] if reached else "pass", said, left == before, scratch])
            limit *= 2
print(json.dumps(attempts))
"""


@pytest.mark.slow
def test_at_every_stage(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[3]), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    attempts = json.loads(done.stdout)
    for name, stages, there in (
        ("whole", {"pass", "part"}, True),
        ("new/part", {"pass", "part"}, False),
        ("evidence", {"Examples", "Writing"}, True),
        ("new/evidence", {"Examples", "Writing"}, False),
    ):
        path = tmp_path / name
        *failed, last = (each for each in attempts if each[0] == str(path))
        assert last[2] is None
        assert {reached for _, reached, *_ in failed} == stages
        before = "the file that was there is whole" if there else "nothing is left of it"
        says = f"{path}: cannot be written (File too large); {before}. Is the disk full?"
        for _, _, said, unchanged, scratch in failed:
            assert (said, unchanged, scratch) == (says, True, [])
    same_evidence(ArrayFile(tmp_path / "evidence"), ArrayFile(tmp_path / "new" / "evidence"))
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "new" / "part").read_bytes()
