"""dictionary_learning: ae.pt, a plain state dict, and config.json, whose dict_class says how to read it."""

import re
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor

from sae_core.config import Family, SaeConfig
from sae_core.errors import BadInput
from sae_core.formats.fields import Fields, read_fields
from sae_core.tensor_files import TensorFile, open_pt

NAME = "dictionary_learning"
FILES = ("config.json", "ae.pt")

# Class: family, whether b_dec is the pre-bias, and its tensors under our names; .weight is stored (out, in).
LINEAR = {"W_enc": "encoder.weight", "W_dec": "decoder.weight"}
CLASSES: dict[str, tuple[Family, bool, dict[str, str]]] = {
    "AutoEncoder": (Family.RELU, True, {**LINEAR, "b_enc": "encoder.bias", "b_dec": "bias"}),
    "AutoEncoderNew": (Family.RELU, False, {**LINEAR, "b_enc": "encoder.bias", "b_dec": "decoder.bias"}),
    "GatedAutoEncoder": (
        Family.GATED,
        True,
        {**LINEAR, "b_gate": "gate_bias", "r_mag": "r_mag", "b_mag": "mag_bias", "b_dec": "decoder_bias"},
    ),
    "JumpReluAutoEncoder": (
        Family.JUMPRELU,
        False,
        {"W_enc": "W_enc", "W_dec": "W_dec", "b_enc": "b_enc", "b_dec": "b_dec", "threshold": "threshold"},
    ),
    # It stores a threshold and encodes by top-k.
    "AutoEncoderTopK": (Family.TOPK, True, {**LINEAR, "b_enc": "encoder.bias", "b_dec": "b_dec"}),
    "BatchTopKSAE": (
        Family.BATCHTOPK,
        True,
        {**LINEAR, "b_enc": "encoder.bias", "b_dec": "b_dec", "threshold": "threshold"},
    ),
    "MatryoshkaBatchTopKSAE": (
        Family.MATRYOSHKA,
        True,
        {"W_enc": "W_enc", "W_dec": "W_dec", "b_enc": "b_enc", "b_dec": "b_dec", "threshold": "threshold"},
    ),
}
HOOKPOINTS = {
    ("resid", "out"): "hook_resid_post",
    ("resid", "in"): "hook_resid_pre",
    ("mlp", "out"): "hook_mlp_out",
    ("mlp", "in"): "hook_mlp_in_normed",
    ("attn", "out"): "hook_attn_out",
}


def recognises(folder: Path, file: Path | None) -> bool:
    return (folder / "ae.pt").is_file() and (file is None or file.name == "ae.pt")


def read(folder: Path, file: Path | None) -> tuple[SaeConfig, dict[str, Tensor]]:
    fields = read_fields(folder / "config.json")
    trainer, buffer = fields.within("trainer"), fields.within("buffer")
    dict_class = trainer.text("dict_class")
    if dict_class not in CLASSES:
        raise trainer.wrong("dict_class", f"one of {', '.join(CLASSES)}")
    family, subtract_b_dec, names = CLASSES[dict_class]
    d_in, n_latents = trainer.whole("activation_dim"), trainer.whole("dict_size")
    tensors = open_pt(folder / "ae.pt")
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(names.values(), (n_latents,))
    shapes[names["b_dec"]] = (d_in,)
    shapes[names["W_enc"]], shapes[names["W_dec"]] = (d_in, n_latents), (n_latents, d_in)
    for name in LINEAR.values():
        if name in shapes:
            shapes[name] = shapes[name][::-1]
    if family in (Family.BATCHTOPK, Family.MATRYOSHKA):
        shapes["threshold"] = ()
    read = tensors.take_all(shapes)
    named = {
        ours: read[theirs].T.contiguous() if theirs in LINEAR.values() else read[theirs]
        for ours, theirs in names.items()
    }
    if dict_class == "AutoEncoder":
        named = _unit_decoder(named)
    config = SaeConfig(
        family=family,
        d_in=d_in,
        n_latents=n_latents,
        hookpoint=_hookpoint(trainer, buffer),
        subtract_b_dec=subtract_b_dec,
        k=_k(tensors, trainer) if family in (Family.TOPK, Family.BATCHTOPK, Family.MATRYOSHKA) else None,
        prefixes=tuple(accumulate(tensors.whole_numbers("group_sizes"))) if family == Family.MATRYOSHKA else (),
        lm=trainer.text("lm_name"),
        context_length=buffer.whole("ctx_len") if "ctx_len" in buffer else None,
        source=NAME,
    )
    return config, named


def _k(tensors: TensorFile, trainer: Fields) -> int:
    if "k" not in tensors:
        return trainer.whole("k")
    (k,) = tensors.whole_numbers("k")
    if "k" in trainer and trainer.whole("k") != k:
        raise BadInput(f"{tensors.path}: k is {k}, and config.json says {trainer.values['k']}")
    return k


def _unit_decoder(named: dict[str, Tensor]) -> dict[str, Tensor]:
    """Decoder rows of norm 1, as this class has them brought to where it loads."""
    norms = named["W_dec"].norm(dim=1)
    norms = torch.where(norms == 0, 1, norms)
    return named | {
        "W_dec": named["W_dec"] / norms[:, None],
        "W_enc": named["W_enc"] * norms,
        "b_enc": named["b_enc"] * norms,
    }


def _hookpoint(trainer: Fields, buffer: Fields) -> str:
    if "layer" not in trainer:
        return ""
    name = trainer.text("submodule_name").lower()
    kind = next((each for each in ("mlp", "attn", "attention") if re.search(rf"(^|[._]){each}", name)), "resid")
    io = buffer.text("io", "out")
    hookpoint = HOOKPOINTS.get((kind.replace("attention", "attn"), io))
    return f"blocks.{trainer.whole('layer')}.{hookpoint}" if hookpoint else ""
