"""Gemma Scope 2, for Gemma 3: params.safetensors and config.json, whose hook points are taken as they are written."""

import re
from pathlib import Path

from torch import Tensor

from sae_core.config import Family, SaeConfig
from sae_core.errors import BadInput
from sae_core.formats.fields import Fields, read_fields
from sae_core.formats.gemma_scope import expected_shapes
from sae_core.tensor_files import open_safetensors

NAME = "Gemma Scope 2"
FILES = ("config.json", "params.safetensors")

NAMES = {"w_enc": "W_enc", "w_dec": "W_dec", "b_enc": "b_enc", "b_dec": "b_dec", "threshold": "threshold"}
SKIP = "affine_skip_connection"
# Hugging Face's names of places that have a name of TransformerLens's; any other stays as it is written.
HOOKPOINTS = {
    "output": "hook_resid_post",
    "post_feedforward_layernorm.output": "hook_mlp_out",
    "post_attention_layernorm.output": "hook_attn_out",
    "self_attn.o_proj.input": "attn.hook_z",
    "pre_feedforward_layernorm.output": "hook_mlp_in_normed",
}


def recognises(folder: Path, file: Path | None) -> bool:
    return (folder / "params.safetensors").is_file() and file is None


def read(folder: Path, file: Path | None) -> tuple[SaeConfig, dict[str, Tensor]]:
    fields = read_fields(folder / "config.json")
    if fields.text("architecture", "jump_relu") != "jump_relu":
        raise fields.wrong("architecture", "jump_relu")
    tensors = open_safetensors(folder / "params.safetensors")
    if "w_dec" in tensors and len(tensors.shapes["w_dec"]) == 3:
        raise BadInput(f"{tensors.path}: w_dec is {tensors.shapes['w_dec']}: a cross-layer transcoder, not read yet")
    shapes = expected_shapes(tensors, "w_enc", "w_dec")
    (d_in, n_latents), (_, d_out) = shapes["w_enc"], shapes["w_dec"]
    if SKIP in tensors:
        shapes[SKIP] = (d_in, d_out)
    elif fields.truth("affine_connection", False):
        raise BadInput(f"{tensors.path}: {SKIP} is missing, and config.json says affine_connection")
    read = tensors.take_all(shapes)
    hookpoint = _hookpoint(fields, "hf_hook_point_in")
    hookpoint_out = _hookpoint(fields, "hf_hook_point_out")
    config = SaeConfig(
        family=Family.JUMPRELU,
        d_in=d_in,
        n_latents=n_latents,
        d_out=d_out,
        hookpoint=hookpoint,
        hookpoint_out="" if hookpoint_out == hookpoint else hookpoint_out,
        lm=_lm(fields.text("model_name")),
        context_length=1024,
        prepend_bos=True,
        source=NAME,
    )
    return config, {NAMES.get(name, "W_skip"): tensor for name, tensor in read.items()}


def _hookpoint(fields: Fields, key: str) -> str:
    written = fields.text(key)
    found = re.fullmatch(r"model\.layers\.(\d+)\.(.+)", written)
    if found and found[2] in HOOKPOINTS:
        return f"blocks.{found[1]}.{HOOKPOINTS[found[2]]}"
    return written


def _lm(name: str) -> str:
    """Its configurations write gemma-v3-… and leave out who made it."""
    name = name.replace("gemma-v3", "gemma-3")
    return name if "/" in name or not name else f"google/{name}"
