"""What a worker keeps ready, where it works, and how it says what it cannot do."""

import os
import socket
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
import torch
from django.conf import settings

from explorer.work import opening
from explorer.work.attempt import Refused
from explorer.work.opening import lm_of, refusing, sae_of, scratch
from explorer.work.ready import Ready
from sae_core.devices import n_bytes
from tests.work.added import add, give


def test_lms_and_saes_share_a_budget(transactional_db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which has room for one SAE and a half."""
    early, late = add(give(tmp_path, contexts=4, n_latents=1000), "early", "late").saes
    lm = lm_of(early.lm)
    sae = sae_of(early, lm)
    monkeypatch.setattr(opening, "_ready", Ready(n_bytes(lm.hf) + n_bytes(sae) * 3 // 2))
    lm = lm_of(early.lm)
    sae = sae_of(early, lm)
    assert (lm_of(early.lm), sae_of(early, lm)) == (lm, sae), "both are kept"
    there = weakref.ref(sae)
    del sae
    other = sae_of(late, lm_of(late.lm))
    assert there() is None
    assert (lm_of(late.lm), sae_of(late, lm)) == (lm, other)


def test_scratch_goes_with_the_work_and_that_of_the_dead_with_the_next() -> None:
    with scratch() as mine:
        (mine / "file").write_text("x")
        ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
        host = socket.gethostname()
        left = settings.PLACES.scratch / f"{host}+{int(ended.stdout)}+left"
        elsewhere = settings.PLACES.scratch / f"{host}-2+{int(ended.stdout)}+at-work"
        for folder in (left, elsewhere):
            folder.mkdir()
            (folder / "part").write_text("x")
        with scratch() as other:
            assert (mine / "file").exists()
            assert other != mine
        assert not left.exists()
        assert elsewhere.exists(), "another machine's may be alive"
    assert not mine.exists()
    (elsewhere / "part").unlink()
    elsewhere.rmdir()


def test_a_want_of_memory_is_told_and_not_tried_again() -> None:
    with pytest.raises(Refused, match=r"There is not enough memory for this \(.*memory.*\)"), refusing():
        torch.empty(1 << 50)


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="shape"), refusing():
        torch.empty(2, 3) @ torch.empty(2, 3)
    with pytest.raises(FileNotFoundError), refusing():
        os.stat("/nowhere/at/all")
