"""Hub ids, against the hub library's own cache, laid out as a download leaves it; nothing here has a network."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sae_core.errors import BadInput
from sae_core.hub import local_path
from tests.sae_core import small_lms
from tests.sae_core.formats import written

REVISION = "0123456789abcdef0123456789abcdef01234567"
ROOT = Path(__file__).resolve().parents[2]


def downloaded(home: Path, repository: str) -> Path:
    """Where files of a repository lie after a download."""
    folder = home / "hub" / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(REVISION)
    (folder / "snapshots" / REVISION).mkdir(parents=True)
    return folder / "snapshots" / REVISION


def run(home: Path, *arguments: str) -> Any:
    environment = os.environ | {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "sae_core", *arguments],
        env=environment, cwd=home, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else done.stderr.splitlines()[-1]


def test_an_sae_in_a_folder_of_a_repository(tmp_path: Path) -> None:
    snapshot = downloaded(tmp_path, "EleutherAI/sae-llama")
    written.sparsify(tmp_path / "made")
    (tmp_path / "made" / "sae-llama").rename(snapshot / "all")
    shown = run(tmp_path, "show", "EleutherAI/sae-llama/all/layers.5")
    assert (shown["source"], shown["hookpoint"], shown["context_length"]) == (
        "sparsify",
        "blocks.5.hook_resid_post",
        2048,
    )
    assert "has no all/layers.6" in run(tmp_path, "show", "EleutherAI/sae-llama/all/layers.6")


def test_gemma_scope_is_recognised_by_its_repository(tmp_path: Path) -> None:
    snapshot = downloaded(tmp_path, "google/gemma-scope-2b-pt-mlp")
    made = written.gemma_scope(tmp_path / "made", "mlp").path
    (snapshot / "layer_7" / "width_16k").mkdir(parents=True)
    made.rename(snapshot / "layer_7" / "width_16k" / "average_l0_71")
    shown = run(tmp_path, "show", "google/gemma-scope-2b-pt-mlp/layer_7/width_16k/average_l0_71")
    assert (shown["hookpoint"], shown["lm"]) == ("blocks.7.hook_mlp_out", "google/gemma-2-2b")


def test_an_lm(tmp_path: Path) -> None:
    small_lms.save_small_lm(downloaded(tmp_path, "somebody/small"), "llama")
    code = "import sae_core; print(sae_core.load_lm('somebody/small').hookpoints[1])"
    environment = os.environ | {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "blocks.0.hook_resid_pre"


def test_what_is_not_there(tmp_path: Path) -> None:
    message = run(tmp_path, "show", "nobody/nothing")
    assert message.startswith("error: nobody/nothing: no such folder here, and the hub cannot be reached")
    for name in ("../up/there", "./here/it", "one-word", "a//b", "C:\\sae\\layer"):
        with pytest.raises(BadInput, match="no such file or folder, and it is no hub id"):
            local_path(name)
