"""OpenAI's sparse_autoencoder: one .pt with an activation's name beside the tensors; its path says the hookpoint."""

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from sae_core.config import Family, Normalise, SaeConfig
from sae_core.errors import BadInput
from sae_core.tensor_files import open_pt

NAME = "OpenAI"
FILES = ("*.pt",)

HOOKPOINTS = {
    "resid_post_mlp": "hook_resid_post",
    "resid_post_attn": "hook_resid_mid",
    "resid_delta_mlp": "hook_mlp_out",
    "resid_delta_attn": "hook_attn_out",
    "mlp_post_act": "mlp.hook_post",
}


def recognises(folder: Path, file: Path | None) -> bool:
    if file:
        return file.suffix in (".pt", ".pth") and file.name != "ae.pt"
    return len(_alone(folder)) == 1 and not (folder / "ae.pt").is_file()


def read(folder: Path, file: Path | None) -> tuple[SaeConfig, dict[str, Tensor]]:
    tensors = open_pt(file or _alone(folder)[0])
    n_latents, d_in = tensors.shape("encoder.weight", 2)
    if (d_in,) == tensors.shapes.get("latent_bias"):
        n_latents, d_in = d_in, n_latents  # transposed, which expect says
    read = tensors.take_all(
        {
            "pre_bias": (d_in,),
            "encoder.weight": (n_latents, d_in),
            "latent_bias": (n_latents,),
            "decoder.weight": (d_in, n_latents),
        }
    )
    activation = tensors.other.get("activation", "ReLU")
    k = None
    if activation == "TopK":
        state = tensors.other.get("activation_state_dict")
        k = state.get("k") if isinstance(state, Mapping) else None
        k = int(k) if isinstance(k, int | Tensor) else None
    elif activation != "ReLU":
        raise BadInput(f"{tensors.path}: activation is {activation!r}, expected ReLU or TopK")
    config = SaeConfig(
        family=Family.RELU if activation == "ReLU" else Family.TOPK,
        d_in=d_in,
        n_latents=n_latents,
        hookpoint=_hookpoint(tensors.path),
        normalise=Normalise.NONE if activation == "ReLU" else Normalise.LAYER_NORM,
        subtract_b_dec=True,
        k=k,
        lm="openai-community/gpt2" if "gpt2" in str(tensors.path) else "",
        source=NAME,
    )
    named = {
        "W_enc": read["encoder.weight"].T.contiguous(),
        "W_dec": read["decoder.weight"].T.contiguous(),
        "b_enc": read["latent_bias"],
        "b_dec": read["pre_bias"],
    }
    return config, named


def _alone(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.pt"))


def _hookpoint(path: Path) -> str:
    text = path.absolute().as_posix()
    kind = re.search("|".join(HOOKPOINTS), text)
    layer = re.fullmatch(r"(?:layer_?)?(\d+)", path.stem)
    return f"blocks.{layer[1]}.{HOOKPOINTS[kind[0]]}" if kind and layer else ""
