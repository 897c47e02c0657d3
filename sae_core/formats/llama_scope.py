"""Llama Scope: hyperparams.json and checkpoints/final.safetensors, trained on inputs scaled to one average norm."""

from pathlib import Path

from torch import Tensor

from sae_core.config import Family, SaeConfig
from sae_core.formats.fields import Fields, read_fields
from sae_core.tensor_files import open_safetensors

NAME = "Llama Scope"
FILES = ("hyperparams.json", "checkpoints/final.safetensors")
LM = "meta-llama/Llama-3.1-8B"
FAMILIES = {"jumprelu": Family.JUMPRELU, "topk": Family.TOPK, "relu": Family.RELU}


def recognises(folder: Path, file: Path | None) -> bool:
    return (folder / "hyperparams.json").is_file() and file is None


def read(folder: Path, file: Path | None) -> tuple[SaeConfig, dict[str, Tensor]]:
    fields = read_fields(folder / "hyperparams.json")
    tensors = open_safetensors(folder / "checkpoints" / "final.safetensors")
    d_in = fields.whole("d_model")
    n_latents = fields.whole("d_sae") if "d_sae" in fields else d_in * fields.whole("expansion_factor")
    act = fields.text("act_fn", "jumprelu").lower()
    if act not in FAMILIES:
        raise fields.wrong("act_fn", f"one of {', '.join(FAMILIES)}")
    family = FAMILIES[act]
    hookpoint, hookpoint_out = fields.text("hook_point_in"), fields.text("hook_point_out")
    config = SaeConfig(
        family=family,
        d_in=d_in,
        n_latents=n_latents,
        hookpoint=hookpoint,
        hookpoint_out="" if hookpoint_out == hookpoint else hookpoint_out,
        subtract_b_dec=fields.truth("apply_decoder_bias_to_pre_encoder", False),
        k=fields.whole("top_k") if family == Family.TOPK else None,
        lm=fields.text("model_name", LM),
        context_length=1024,
        prepend_bos=True,
        source=NAME,
    )
    shapes: dict[str, tuple[int, ...]] = {
        "encoder.weight": (n_latents, d_in),
        "encoder.bias": (n_latents,),
        "decoder.weight": (d_in, n_latents),
        "decoder.bias": (d_in,),
    }
    vector = "log_jumprelu_threshold" in tensors
    if family == Family.JUMPRELU and vector:
        shapes["log_jumprelu_threshold"] = (n_latents,)
    read = tensors.take_all(shapes)
    named = _raw_units(config, fields, read)
    if fields.truth("sparsity_include_decoder_norm", False):
        norms = named["W_dec"].norm(dim=1).clamp_min(1e-12)
        named |= {"W_enc": named["W_enc"] * norms, "b_enc": named["b_enc"] * norms}
        named |= {"W_dec": named["W_dec"] / norms[:, None]}
    if family == Family.JUMPRELU:
        # In the units that the folding above has led to, as its own library compares it.
        one = fields.number("jump_relu_threshold") if not vector else 0.0
        named["threshold"] = (
            read["log_jumprelu_threshold"].exp() if vector else named["b_enc"].new_full((n_latents,), one)
        )
    return config, named


def _raw_units(config: SaeConfig, fields: Fields, read: dict[str, Tensor]) -> dict[str, Tensor]:
    """W_enc reads the lm's activation as it is, and W_dec writes it so."""
    how = fields.text("norm_activation", "dataset-wise")
    if how not in ("dataset-wise", "inference"):
        raise fields.wrong("norm_activation", "dataset-wise or inference")
    if how == "inference":  # folded already
        return {
            "W_enc": read["encoder.weight"].T.contiguous(),
            "W_dec": read["decoder.weight"].T.contiguous(),
            "b_enc": read["encoder.bias"],
            "b_dec": read["decoder.bias"],
        }
    norms = fields.within("dataset_average_activation_norm")
    in_, out = (config.d_in**0.5 / norms.number(key) for key in ("in", "out"))
    return {
        "W_enc": read["encoder.weight"].T.contiguous(),
        "W_dec": read["decoder.weight"].T.contiguous() * (in_ / out),
        "b_enc": read["encoder.bias"] / in_,
        "b_dec": read["decoder.bias"] / out,
    }
