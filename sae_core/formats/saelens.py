"""SAELens: cfg.json and sae_weights.safetensors, of 6.x (nested metadata) and before (flat keys)."""

import json
from pathlib import Path
from typing import Any
from warnings import warn

import torch
from safetensors.torch import save_file
from torch import Tensor

from sae_core.config import BATCH_FAMILIES, Family, Normalise, SaeConfig
from sae_core.errors import BadInput, DoubtfulInput
from sae_core.folding import scaled_inputs
from sae_core.formats.fields import Fields, read_fields
from sae_core.sae import Sae
from sae_core.tensor_files import TensorFile, open_safetensors

NAME = "SAELens"
FILES = ("cfg.json", "sae_weights.safetensors")

FAMILIES = {
    "standard": Family.RELU,
    "topk": Family.TOPK,
    "abstopk": Family.TOPK,
    "batchtopk": Family.BATCHTOPK,
    "matryoshka_batchtopk": Family.MATRYOSHKA,
    "jumprelu": Family.JUMPRELU,
    "gated": Family.GATED,
    "transcoder": Family.RELU,
    "skip_transcoder": Family.RELU,
    "jumprelu_transcoder": Family.JUMPRELU,
    "jumprelu_skip_transcoder": Family.JUMPRELU,
}
NORMALISE = {
    "none": Normalise.NONE,
    "expected_average_only_in": Normalise.NONE,  # one scale for all inputs, which is folded
    "constant_norm_rescale": Normalise.CONSTANT_NORM,
    "layer_norm": Normalise.LAYER_NORM,
}
# Trained on TransformerLens's centred activations, which their files do not say.
CENTRED = ("gpt2-small-res-jb", "GPT2-Small-SAEs")


def recognises(folder: Path, file: Path | None) -> bool:
    return (folder / "sae_weights.safetensors").is_file() and file is None


def read(folder: Path, file: Path | None) -> tuple[SaeConfig, dict[str, Tensor]]:
    fields = read_fields(folder / "cfg.json")
    tensors = open_safetensors(folder / "sae_weights.safetensors")
    architecture = _architecture(fields)
    family = FAMILIES[architecture]
    transcoder = "transcoder" in architecture
    metadata = fields.within("metadata")
    where = metadata if "hook_name" in metadata else fields
    d_in, n_latents = fields.whole("d_in"), fields.whole("d_sae")
    d_out = fields.whole("d_out") if transcoder and "d_out" in fields else d_in
    normalise, scaled = _normalise(fields)
    for key in ("hook_head_index", "hook_point_head_index"):
        if key in where:
            raise BadInput(f"{fields.path}: reads head {where.values[key]} alone, expected all heads")
    hookpoint = where.text("hook_name") or fields.text("hook_point")
    config = SaeConfig(
        family=family,
        d_in=d_in,
        n_latents=n_latents,
        d_out=d_out,
        hookpoint=hookpoint,
        hookpoint_out=where.text("hook_name_out") if transcoder else "",
        normalise=normalise,
        undo_normalise=not transcoder,  # SAELens leaves a transcoder's output as it is decoded
        subtract_b_dec=fields.truth("apply_b_dec_to_input", True) and not transcoder,
        centred=_centred(folder, where),
        k=_k(fields) if family in (Family.TOPK, *BATCH_FAMILIES) else None,
        signed=architecture == "abstopk" or bool(fields.within("activation_fn_kwargs").values.get("signed", False)),
        prefixes=tuple(fields.values.get("matryoshka_widths") or ()) if family == Family.MATRYOSHKA else (),
        lm=where.text("model_name"),
        context_length=where.whole("context_size") if "context_size" in where else None,
        prepend_bos=where.truth("prepend_bos", True) if "prepend_bos" in where or where is fields else None,
        dtype=fields.text("dtype"),
        source=NAME,
    )
    read = _tensors(config, architecture, tensors, rescaled=fields.truth("rescale_acts_by_decoder_norm", False))
    if scaled:
        return _fold_scale(folder, config, read)
    return config, read


def _architecture(fields: Fields) -> str:
    architecture = fields.text("architecture", "standard")
    # Before 6: the architecture said standard and the activation function what it was.
    activation = fields.text("activation_fn_str") or fields.text("activation_fn", "relu")
    if architecture == "standard" and activation == "topk":
        architecture = "topk"
    elif architecture == "standard" and activation != "relu":
        raise BadInput(f"{fields.path}: activation function {activation!r}, expected relu or topk")
    if architecture not in FAMILIES:
        raise BadInput(f"{fields.path}: architecture is {architecture!r}, expected one of {', '.join(FAMILIES)}")
    return architecture


def _normalise(fields: Fields) -> tuple[Normalise, bool]:
    """What is done to each input, and whether all of them were scaled by one number in training."""
    value = fields.values.get("normalize_activations")
    if isinstance(value, bool):  # before 6
        value = "expected_average_only_in" if value else "none"
    value = "none" if value is None else value
    if value not in NORMALISE:
        raise fields.wrong("normalize_activations", f"one of {', '.join(NORMALISE)}")
    return NORMALISE[value], value == "expected_average_only_in"


def _k(fields: Fields) -> int:
    within = fields.within("activation_fn_kwargs")
    return within.whole("k") if "k" in within else int(fields.number("k"))  # BatchTopK's may be 32.0


def _centred(folder: Path, where: Fields) -> bool:
    said = where.within("model_from_pretrained_kwargs").truth("center_writing_weights", False)
    return said or any(each in str(folder.resolve()) for each in CENTRED)


def _tensors(config: SaeConfig, architecture: str, tensors: TensorFile, *, rescaled: bool) -> dict[str, Tensor]:
    d_in, n_latents, d_out = config.d_in, config.n_latents, config.d_out
    shapes: dict[str, tuple[int, ...]] = {
        "W_enc": (d_in, n_latents), "W_dec": (n_latents, d_out), "b_dec": (d_out,)
    }  # fmt: skip
    names = ("b_gate", "b_mag", "r_mag") if config.family == Family.GATED else ("b_enc",)
    shapes |= dict.fromkeys(names, (n_latents,))
    if config.family == Family.JUMPRELU:
        shapes["log_threshold" if "threshold" not in tensors and "log_threshold" in tensors else "threshold"] = (
            n_latents,
        )
    if config.family in BATCH_FAMILIES:
        shapes["topk_threshold"] = ()
    if "skip" in architecture:
        shapes["W_skip"] = (d_out, d_in)
    if "scaling_factor" in tensors:
        shapes["scaling_factor"] = (n_latents,)
    read = tensors.take_all(shapes)
    if "log_threshold" in read:
        read["threshold"] = read.pop("log_threshold").exp()
    if "topk_threshold" in read:
        threshold = read.pop("topk_threshold")
        # SAELens starts it at 0 and averages positive values: 0 was never given one.
        read["threshold"] = torch.where(threshold > 0, threshold, -1.0).to(read["W_enc"].dtype)
    if "W_skip" in read:
        read["W_skip"] = read["W_skip"].T.contiguous()
    if "scaling_factor" in read:
        # A factor on each latent, found in fine-tuning and applied before decoding.
        read["W_dec"] = read["W_dec"] * read.pop("scaling_factor")[:, None]
    if rescaled:
        # Latents are kept by pre-activation times decoder norm, and divided by it again before decoding.
        norms = read["W_dec"].norm(dim=1).clamp_min(1e-8)
        read |= {
            "W_enc": read["W_enc"] * norms,
            "b_enc": read["b_enc"] * norms,
            "W_dec": read["W_dec"] / norms[:, None],
        }
    return read


def _fold_scale(folder: Path, config: SaeConfig, read: dict[str, Tensor]) -> tuple[SaeConfig, dict[str, Tensor]]:
    """Training scaled every input by one number, which a finished SAE has in its weights."""
    beside = folder / "activation_scaler.json"
    if beside.is_file():
        folded = scaled_inputs(Sae(config, read), read_fields(beside).number("scaling_factor"))
        return config, folded.tensors()
    warn(
        f"{folder / 'cfg.json'}: normalize_activations is expected_average_only_in and no scale lies beside it; "
        "taken to be folded into the weights already. If FVU is poor, the fit check tries a scale",
        DoubtfulInput,
        stacklevel=2,
    )
    return config, read


def write(sae: Sae, folder: Path) -> None:
    """What SAELens 6 loads with SAE.load_from_disk."""
    architecture, tensors = _architecture_of(sae), dict(sae.tensors())
    config = sae.config
    if config.family == Family.NEURONS:
        tensors = {"W_enc": sae.W_enc, "W_dec": sae.W_dec.clone(), "b_dec": sae.b_dec, "b_enc": sae.b_dec.clone()}
    if config.family in BATCH_FAMILIES:
        tensors["threshold"] = tensors["threshold"].expand(config.n_latents)
    if config.family == Family.TOPK:
        tensors.pop("threshold", None)
    transcoder = "transcoder" in architecture
    if transcoder and config.subtract_b_dec:
        # SAELens knows no pre-bias in transcoders.
        tensors["b_enc"] = tensors["b_enc"] - tensors["b_dec"] @ tensors["W_enc"]
    if "W_skip" in tensors:
        tensors["W_skip"] = tensors["W_skip"].T
    cfg: dict[str, Any] = {
        "architecture": architecture,
        "d_in": config.d_in,
        "d_sae": config.n_latents,
        "dtype": str(sae.dtype).removeprefix("torch."),
        "device": "cpu",
        "apply_b_dec_to_input": config.subtract_b_dec and not transcoder,
        "normalize_activations": {each: name for name, each in reversed(NORMALISE.items())}[config.normalise],
        "reshape_activations": "hook_z" if config.hookpoint.endswith("hook_z") and not transcoder else "none",
        "metadata": {
            "sae_lens_version": "6.0.0",
            "model_name": config.lm or None,
            "hook_name": config.hookpoint or None,
            "context_size": config.context_length,
            "prepend_bos": config.prepend_bos,
            "model_from_pretrained_kwargs": {"center_writing_weights": config.centred},
        },
    }
    if transcoder:
        cfg["d_out"] = config.d_out
        cfg["metadata"]["hook_name_out"] = sae.hookpoint_out or None
    if config.family == Family.TOPK:
        cfg |= {"k": config.k, "rescale_acts_by_decoder_norm": False}
    save_file({name: each.cpu().contiguous() for name, each in tensors.items()}, folder / "sae_weights.safetensors")
    (folder / "cfg.json").write_text(json.dumps(cfg, indent=1) + "\n", "utf-8")


def _architecture_of(sae: Sae) -> str:
    config = sae.config
    transcoder = config.transcoder or config.d_in != config.d_out or sae.W_skip is not None
    if transcoder and config.normalise != Normalise.NONE and config.undo_normalise:
        raise BadInput("SAELens does not undo a transcoder's normalisation; write this one in our own format")
    architecture = {
        Family.RELU: "standard",
        Family.NEURONS: "standard",
        Family.TOPK: "abstopk" if config.signed else "topk",
        Family.BATCHTOPK: "jumprelu",
        Family.MATRYOSHKA: "jumprelu",
        Family.JUMPRELU: "jumprelu",
        Family.RANDOM: "jumprelu",
        Family.GATED: "gated",
    }.get(config.family, "")
    if transcoder:
        skip = "skip_" if sae.W_skip is not None else ""
        architecture = {"standard": f"{skip}transcoder", "jumprelu": f"jumprelu_{skip}transcoder"}.get(architecture, "")
    if not architecture:
        kind = f"{config.family} transcoders" if transcoder else f"{config.family} SAEs"
        raise BadInput(f"SAELens has no {kind}; write this one in our own format")
    return architecture
