"""Gemma Scope: …/width_16k/average_l0_71/params.npz, with no configuration; the path says what it is."""

import re
from pathlib import Path
from warnings import warn

from torch import Tensor

from sae_core.config import Family, SaeConfig
from sae_core.errors import BadInput, DoubtfulInput
from sae_core.tensor_files import TensorFile, open_npz

NAME = "Gemma Scope"
FILES = ("params.npz",)

EMBEDDING = "hook_embed"
HOOKPOINTS = {  # what is read, what is reconstructed
    "res": ("hook_resid_post", ""),
    "mlp": ("hook_mlp_out", ""),
    "att": ("attn.hook_z", ""),
    "transcoders": ("ln2.hook_normalized", "hook_mlp_out"),
}


def recognises(folder: Path, file: Path | None) -> bool:
    return file.suffix == ".npz" if file else (folder / "params.npz").is_file()


def read(folder: Path, file: Path | None) -> tuple[SaeConfig, dict[str, Tensor]]:
    path = file or folder / "params.npz"
    tensors = open_npz(path)
    shapes = expected_shapes(tensors, "W_enc", "W_dec")
    (d_in, n_latents), (_, d_out) = shapes["W_enc"], shapes["W_dec"]
    read = tensors.take_all(shapes)
    hookpoint, hookpoint_out = _hookpoints(path)
    if hookpoint == EMBEDDING:
        # Trained on the embeddings before Gemma's √d.
        root = d_in**0.5
        read |= {"W_enc": read["W_enc"] / root, "W_dec": read["W_dec"] * root, "b_dec": read["b_dec"] * root}
    if not hookpoint:
        warn(
            f"{path}: nothing in its path says which hookpoint it reads (res, mlp, att …)", DoubtfulInput, stacklevel=2
        )
    elif not hookpoint_out and d_in != d_out:
        raise BadInput(f"{path}: reads {d_in} and writes {d_out} at {hookpoint}, expected one width")
    config = SaeConfig(
        family=Family.JUMPRELU,
        d_in=d_in,
        n_latents=n_latents,
        d_out=d_out,
        hookpoint=hookpoint,
        hookpoint_out=hookpoint_out,
        lm=_lm(path),
        context_length=1024,
        prepend_bos=True,
        source=NAME,
    )
    return config, read


def expected_shapes(tensors: TensorFile, encoder: str, decoder: str) -> dict[str, tuple[int, ...]]:
    """No configuration says the widths: the biases tell latents from inputs, so that a transposed encoder is seen."""
    (n_latents,), (d_out,) = tensors.shape("b_enc", 1), tensors.shape("b_dec", 1)
    first, second = tensors.shape(encoder, 2)
    d_in = second if first == n_latents != second else first
    return {
        encoder: (d_in, n_latents),
        decoder: (n_latents, d_out),
        "b_enc": (n_latents,),
        "b_dec": (d_out,),
        "threshold": (n_latents,),
    }


def _hookpoints(path: Path) -> tuple[str, str]:
    text = path.absolute().as_posix()
    if "/embedding/" in text:
        return EMBEDDING, ""
    layer = re.findall(r"layer_(\d+)", text)
    kind = re.findall(r"[-/](res|mlp|att|transcoders)(?=/|-canonical/)", text)
    if not layer or not kind:
        return "", ""
    read, written = HOOKPOINTS[kind[-1]]
    return f"blocks.{layer[-1]}.{read}", f"blocks.{layer[-1]}.{written}" if written else ""


def _lm(path: Path) -> str:
    found = re.search(r"gemma-scope-(\d+b)-(pt|it)", path.absolute().as_posix())
    if not found:
        return ""
    return f"google/gemma-2-{found[1]}" + ("-it" if found[2] == "it" else "")
