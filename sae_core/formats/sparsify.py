"""sparsify: <hookpoint>/cfg.json and sae.safetensors, folders named after the lm's modules."""

import re
from pathlib import Path

from torch import Tensor

from sae_core.config import Family, SaeConfig
from sae_core.errors import BadInput
from sae_core.formats.fields import Fields, read_fields
from sae_core.tensor_files import open_safetensors

NAME = "sparsify"
FILES = ("cfg.json", "sae.safetensors")

ACTIVATIONS = {"topk": Family.TOPK, "groupmax": Family.GROUPMAX}
BLOCK = re.compile(r"(?:.*\.)?(?:layers|h|blocks)\.(\d+)(?:\.(.+))?")
# A module's output, and, for transcoders, its input.
MODULES = {
    "": ("hook_resid_post", "hook_resid_pre"),
    "mlp": ("hook_mlp_out", "hook_mlp_in_normed"),
    "attn": ("hook_attn_out", ""),
    "self_attn": ("hook_attn_out", ""),
    "attention": ("hook_attn_out", ""),
}


def recognises(folder: Path, file: Path | None) -> bool:
    return (folder / "cfg.json").is_file() and (folder / "sae.safetensors").is_file() and file is None


def read(folder: Path, file: Path | None) -> tuple[SaeConfig, dict[str, Tensor]]:
    fields = read_fields(folder / "cfg.json")
    d_in = fields.whole("d_in")
    n_latents = (
        fields.whole("num_latents") if fields.values.get("num_latents") else d_in * fields.whole("expansion_factor")
    )
    activation = fields.text("activation", "topk")
    if activation not in ACTIVATIONS:
        raise fields.wrong("activation", f"one of {', '.join(ACTIVATIONS)}")
    transcode = fields.truth("transcode", False)
    tensors = open_safetensors(folder / "sae.safetensors")
    shapes: dict[str, tuple[int, ...]] = {
        "encoder.weight": (n_latents, d_in),
        "encoder.bias": (n_latents,),
        "W_dec": (n_latents, d_in),
        "b_dec": (d_in,),
    }
    if "W_skip" in tensors:
        shapes["W_skip"] = (d_in, d_in)
    elif fields.truth("skip_connection", False):
        raise BadInput(f"{tensors.path}: W_skip is missing, and cfg.json says skip_connection")
    read = tensors.take_all(shapes)
    above = read_fields(folder.parent / "config.json") if (folder.parent / "config.json").is_file() else None
    lm = above.text("model") if above else ""
    hookpoint, hookpoint_out = _hookpoints(folder.resolve().name, lm, transcode=transcode)
    config = SaeConfig(
        family=ACTIVATIONS[activation],
        d_in=d_in,
        n_latents=n_latents,
        hookpoint=hookpoint,
        hookpoint_out=hookpoint_out,
        subtract_b_dec=not transcode,
        k=fields.whole("k"),
        signed=fields.truth("signed", False) and activation == "topk",
        lm=lm,
        context_length=_context_length(above),
        source=NAME,
    )
    named = {
        "W_enc": read["encoder.weight"].T.contiguous(),
        "W_dec": read["W_dec"],  # rows are directions here already, unlike encoder.weight
        "b_enc": read["encoder.bias"],
        "b_dec": read["b_dec"],
    }
    if "W_skip" in read:
        named["W_skip"] = read["W_skip"].T.contiguous()
    return config, named


def _hookpoints(name: str, lm: str, *, transcode: bool) -> tuple[str, str]:
    """Input and output hookpoint of an SAE on a module; a transcoder goes from the module's input to its output."""
    if name.endswith("embed_tokens"):
        return "hook_embed", ""
    found = BLOCK.fullmatch(name)
    if not found:
        return "", ""
    layer, module = found[1], found[2] or ""
    # In Gemma a norm follows the module before its output is TransformerLens's.
    if module not in MODULES or (module and "gemma" in lm.lower()):
        path = f"model.layers.{layer}.{module}"
        return (f"{path}.input", f"{path}.output") if transcode else (f"{path}.output", "")
    out, into = (f"blocks.{layer}.{each}" if each else "" for each in MODULES[module])
    return (into, out) if transcode else (out, "")


def _context_length(above: Fields | None) -> int | None:
    return above.whole("ctx_len") if above and "ctx_len" in above else None
