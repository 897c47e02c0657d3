"""SAELens itself, in an environment of its own: it loads what we write, and we load what it writes."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from sae_core.config import Family, Normalise
from sae_core.formats import load_sae, save_sae
from sae_core.sae import Sae
from tests.sae_core.random_saes import inputs, make

ROOT = Path(__file__).resolve().parents[3]
ENVIRONMENT = ROOT / ".venv-saelens"  # kept: it takes minutes to make
SAELENS = "sae-lens==6.54.12"
TRANSCODER = {"d_out": 4, "hookpoint_out": "blocks.0.hook_mlp_out"}

OURS: dict[str, dict[str, Any]] = {
    "relu": {"family": Family.RELU},
    "relu tied": {"family": Family.RELU, "subtract_b_dec": True},
    "neurons": {"family": Family.NEURONS},
    "random": {"family": Family.RANDOM},
    "topk": {"family": Family.TOPK, "subtract_b_dec": True},
    "topk signed": {"family": Family.TOPK, "signed": True},
    "batchtopk": {"family": Family.BATCHTOPK, "subtract_b_dec": True},
    "matryoshka": {"family": Family.MATRYOSHKA, "subtract_b_dec": True},
    "jumprelu": {"family": Family.JUMPRELU},
    "gated": {"family": Family.GATED, "subtract_b_dec": True},
    "layer norm": {"family": Family.TOPK, "normalise": Normalise.LAYER_NORM, "subtract_b_dec": True},
    "constant norm": {"family": Family.RELU, "normalise": Normalise.CONSTANT_NORM},
    "transcoder": {"family": Family.RELU, **TRANSCODER},
    "skip transcoder": {"family": Family.RELU, "skip": True, **TRANSCODER},
    "tied skip": {"family": Family.RELU, "skip": True, "subtract_b_dec": True},
    "jumprelu transcoder": {"family": Family.JUMPRELU, **TRANSCODER},
    "jumprelu skip transcoder": {"family": Family.JUMPRELU, "skip": True, **TRANSCODER},
    "batchtopk transcoder": {"family": Family.BATCHTOPK, **TRANSCODER},
}
THEIRS = (
    "standard", "no pre-bias", "layer norm", "constant norm", "topk", "topk rescaled", "abstopk", "jumprelu", "gated",
    "transcoder", "layer norm transcoder", "skip transcoder", "jumprelu transcoder", "jumprelu skip transcoder",
    "batchtopk exported", "batchtopk checkpoint", "matryoshka_batchtopk exported", "matryoshka_batchtopk checkpoint",
)  # fmt: skip

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def x() -> torch.Tensor:
    return inputs(200).float()


def single(settings: dict[str, Any]) -> Sae:
    return make(**settings).float()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ours written, and SAELens run once over all."""
    python = ENVIRONMENT / "bin" / "python"
    if not (ENVIRONMENT / "complete").is_file():
        subprocess.run([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], check=True)
        # torch first and at our version: which build that is, its index decides, not SAELens.
        version = torch.__version__.partition("+")[0]
        for packages in ([f"torch=={version}"], [SAELENS]):
            subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
        (ENVIRONMENT / "complete").touch()
    folder = tmp_path_factory.mktemp("saelens")
    torch.save(x(), folder / "x.pt")
    for name, settings in OURS.items():
        save_sae(single(settings), folder / "ours" / name, format="saelens")
    subprocess.run([python, Path(__file__).with_name("with_saelens.py"), folder], check=True)
    return folder


def outputs(folder: Path) -> dict[str, torch.Tensor]:
    loaded: dict[str, torch.Tensor] = torch.load(folder / "outputs.pt", weights_only=True)
    return loaded


@pytest.mark.parametrize("name", OURS)
def test_saelens_reads_what_we_write(folder: Path, name: str) -> None:
    theirs, sae = outputs(folder / "ours" / name), single(OURS[name])
    torch.testing.assert_close(theirs["acts"], sae.encode(x()), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(theirs["x_hat"], sae(x()), rtol=1e-4, atol=1e-4)
    again = load_sae(folder / "ours" / name)
    torch.testing.assert_close(again(x()), sae(x()), rtol=1e-4, atol=1e-4)
    assert (again.hookpoint, again.hookpoint_out) == (sae.hookpoint, sae.hookpoint_out)


@pytest.mark.parametrize("name", THEIRS)
def test_we_read_what_saelens_writes(folder: Path, name: str) -> None:
    theirs, sae = outputs(folder / "theirs" / name), load_sae(folder / "theirs" / name)
    assert 0 < int((theirs["acts"] != 0).sum()) < theirs["acts"].numel()
    torch.testing.assert_close(sae.encode(x()), theirs["acts"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(sae(x()), theirs["x_hat"], rtol=1e-4, atol=1e-4)


def test_all_were_compared(folder: Path) -> None:
    assert {each.name for each in (folder / "theirs").iterdir()} == set(THEIRS)
