"""Files as other libraries write them, with random weights, and each library's own forward restated beside.

F ≠ d everywhere, and d_out ≠ d_in where a format allows it. No line of theirs is here: only what theirs compute.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import linear

D, F, D_OUT = 6, 15, 4

Encode = Callable[[Tensor], Tensor]
Decode = Callable[[Tensor, Tensor], Tensor]  # latents and input to reconstruction


class Written(NamedTuple):
    path: Path
    encode: Encode
    decode: Decode
    expected: dict[str, Any]  # of the configuration


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 0.6


def keep_largest(pre: Tensor, k: int) -> Tensor:
    """Row by row, in plain Python."""
    kept = torch.zeros_like(pre)
    for row, values in enumerate(pre.relu().tolist()):
        for column in sorted(range(len(values)), key=lambda i: -values[i])[:k]:
            kept[row, column] = values[column]
    return kept


def _json(path: Path, values: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))


# SAELens


def saelens(
    folder: Path,
    architecture: str = "standard",
    *,
    cfg: dict[str, Any] | None = None,
    old: bool = False,
    log_threshold: bool = False,
    files: dict[str, dict[str, float]] | None = None,
) -> Written:
    cfg = cfg or {}
    transcoder = "transcoder" in architecture
    d_out = D_OUT if transcoder else D
    w_enc, w_dec, b_enc, b_dec = draw(1, D, F), draw(2, F, d_out), draw(3, F), draw(4, d_out)
    tensors = {"W_enc": w_enc, "W_dec": w_dec, "b_dec": b_dec}
    threshold, skip, gate, mag, r_mag = draw(5, F).abs(), draw(6, d_out, D), draw(7, F), draw(8, F), draw(9, F)
    if architecture == "gated":
        tensors |= {"b_gate": gate, "b_mag": mag, "r_mag": r_mag}
    else:
        tensors |= {"b_enc": b_enc}
    if "jumprelu" in architecture:
        tensors |= {"log_threshold": threshold.log()} if log_threshold else {"threshold": threshold}
    if "skip" in architecture:
        tensors |= {"W_skip": skip}
    if architecture in ("batchtopk", "matryoshka_batchtopk"):
        tensors |= {"topk_threshold": torch.tensor(0.4, dtype=torch.float64)}
    scaling = draw(10, F).abs() + 0.5
    if cfg.get("finetuning_scaling_factor"):
        tensors |= {"scaling_factor": scaling}
    where = {
        "model_name": "gpt2-small",
        "hook_name": "blocks.3.hook_resid_pre",
        "context_size": 64,
        "prepend_bos": True,
    }
    if transcoder:
        where["hook_name_out"] = "blocks.3.hook_mlp_out"
        cfg = {"d_out": d_out, "apply_b_dec_to_input": False} | cfg
    if old:
        where["hook_point"] = where.pop("hook_name")
        written = {"d_in": D, "d_sae": F, "dtype": "torch.float32"} | where | cfg
    else:
        written = {"architecture": architecture, "d_in": D, "d_sae": F, "dtype": "float32", "metadata": where} | cfg
    _json(folder / "cfg.json", written)
    save_file({name: each.contiguous() for name, each in tensors.items()}, folder / "sae_weights.safetensors")
    for name, values in (files or {}).items():
        _json(folder / name, values)

    norms = w_dec.norm(dim=1)
    rescale = cfg.get("rescale_acts_by_decoder_norm", False)
    k = cfg.get("k") or cfg.get("activation_fn_kwargs", {}).get("k") or 0
    scale = (files or {}).get("activation_scaler.json", {"scaling_factor": 1.0})["scaling_factor"]

    def normed(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        kind = cfg.get("normalize_activations")
        if kind == "layer_norm":
            mean, deviation = x.mean(-1, keepdim=True), x.std(-1, keepdim=True)
            return (x - mean) / (deviation + 1e-5), mean, deviation
        if kind == "constant_norm_rescale":
            factor = D**0.5 / x.norm(dim=-1, keepdim=True)
            return x * factor, torch.zeros(1), 1 / factor
        return x * scale, torch.zeros(1), torch.tensor(1 / scale)

    def encode(x: Tensor) -> Tensor:
        z = normed(x)[0] - (b_dec if cfg.get("apply_b_dec_to_input", True) else 0)
        if architecture == "gated":
            return ((z @ w_enc + gate) > 0) * (z @ (w_enc * r_mag.exp()) + mag).relu()
        pre = z @ w_enc + b_enc
        if rescale:
            pre = pre * norms
        if architecture == "abstopk":
            kept = pre.abs() >= pre.abs().sort(dim=1, descending=True).values[:, k - 1 : k]
            return pre * kept
        if k and "topk_threshold" not in tensors:
            return keep_largest(pre, k)
        if "topk_threshold" in tensors:
            return pre.relu() * (pre > 0.4)
        return pre.relu() * (pre > threshold) if "jumprelu" in architecture else pre.relu()

    def decode(acts: Tensor, x: Tensor) -> Tensor:
        if rescale:
            acts = acts / norms
        if "scaling_factor" in tensors:
            acts = acts * scaling
        out = acts @ w_dec + b_dec
        if not transcoder:
            _, shift, times = normed(x)
            out = out * times + shift
        return out + x @ skip.T if "skip" in architecture else out

    expected = {"hookpoint": "blocks.3.hook_resid_pre", "lm": "gpt2-small", "context_length": 64, "prepend_bos": True}
    return Written(folder, encode, decode, expected)


# Gemma Scope


def gemma_scope(folder: Path, kind: str) -> Written:
    d_out = D if kind != "transcoders" else D_OUT
    below = "embedding" if kind == "embedding" else "layer_7"
    repository = f"gemma-scope-2b-pt-{'res' if kind == 'embedding' else kind}"
    path = folder / repository / below / "width_16k" / "average_l0_71"
    path.mkdir(parents=True)
    w_enc, w_dec, b_enc, b_dec = draw(1, D, F), draw(2, F, d_out), draw(3, F), draw(4, d_out)
    threshold = draw(5, F).abs()
    arrays = {"W_enc": w_enc, "W_dec": w_dec, "b_enc": b_enc, "b_dec": b_dec, "threshold": threshold}
    numbers: dict[str, Any] = {name: each.numpy() for name, each in arrays.items()}
    np.savez(path / "params.npz", **numbers)
    root = D**0.5 if kind == "embedding" else 1  # it was trained on embeddings before they are scaled by √d

    def encode(x: Tensor) -> Tensor:
        pre = (x / root) @ w_enc + b_enc
        return (pre > threshold) * pre.relu()

    hookpoints = {
        "res": ("blocks.7.hook_resid_post", ""),
        "mlp": ("blocks.7.hook_mlp_out", ""),
        "att": ("blocks.7.attn.hook_z", ""),
        "transcoders": ("blocks.7.ln2.hook_normalized", "blocks.7.hook_mlp_out"),
        "embedding": ("hook_embed", ""),
    }
    expected = dict(zip(("hookpoint", "hookpoint_out"), hookpoints[kind], strict=True)) | {"lm": "google/gemma-2-2b"}
    return Written(path, encode, lambda acts, x: (acts @ w_dec + b_dec) * root, expected)


def gemma_scope_2(folder: Path, kind: str) -> Written:
    d_out = D_OUT if "transcoder" in kind else D
    w_enc, w_dec, b_enc, b_dec = draw(1, D, F), draw(2, F, d_out), draw(3, F), draw(4, d_out)
    threshold, skip = draw(5, F).abs(), draw(6, D, d_out)
    tensors = {"w_enc": w_enc, "w_dec": w_dec, "b_enc": b_enc, "b_dec": b_dec, "threshold": threshold}
    config: dict[str, object] = {"architecture": "jump_relu", "model_name": "gemma-v3-1b-pt"}
    hooks = {
        "resid_post": ("model.layers.5.output", None, "blocks.5.hook_resid_post", ""),
        "attn_out": ("model.layers.5.self_attn.o_proj.input", None, "blocks.5.attn.hook_z", ""),
        "transcoder_affine": (
            "model.layers.5.pre_feedforward_layernorm.output",
            "model.layers.5.post_feedforward_layernorm.output",
            "blocks.5.hook_mlp_in_normed",
            "blocks.5.hook_mlp_out",
        ),
        "elsewhere": ("model.layers.5.self_attn.q_norm.output", None, "model.layers.5.self_attn.q_norm.output", ""),
    }
    config["hf_hook_point_in"], config["hf_hook_point_out"], hookpoint, hookpoint_out = hooks[kind]
    if "affine" in kind:
        tensors["affine_skip_connection"] = skip
        config["affine_connection"] = True
    _json(folder / "config.json", config)
    save_file(tensors, folder / "params.safetensors")

    def encode(x: Tensor) -> Tensor:
        pre = x @ w_enc + b_enc
        return (pre > threshold) * pre.relu()

    def decode(acts: Tensor, x: Tensor) -> Tensor:
        return acts @ w_dec + b_dec + (x @ skip if "affine" in kind else 0)

    expected = {"hookpoint": hookpoint, "hookpoint_out": hookpoint_out, "lm": "google/gemma-3-1b-pt"}
    return Written(folder, encode, decode, expected)


# OpenAI


def openai(folder: Path, activation: str) -> Written:
    path = folder / "gpt2-small" / "resid_post_mlp_v5_32k" / "autoencoders" / "8.pt"
    path.parent.mkdir(parents=True)
    pre_bias, enc, latent_bias, dec = draw(1, D), draw(2, F, D), draw(3, F), draw(4, D, F)
    k = 4
    state = {
        "pre_bias": pre_bias,
        "encoder.weight": enc,
        "latent_bias": latent_bias,
        "decoder.weight": dec,
        "stats_last_nonzero": torch.zeros(F, dtype=torch.int64),
        "latents_activation_frequency": torch.zeros(F, dtype=torch.int64),
        "activation": activation,
        "activation_state_dict": {"k": k} if activation == "TopK" else {},
    }
    torch.save(state, path)

    def normed(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if activation == "ReLU":
            return x, torch.zeros(1), torch.ones(1)
        mean = x.mean(-1, keepdim=True)
        deviation = (x - mean).std(-1, keepdim=True)
        return (x - mean) / (deviation + 1e-5), mean, deviation

    def encode(x: Tensor) -> Tensor:
        pre = linear(normed(x)[0] - pre_bias, enc, latent_bias)
        return keep_largest(pre, k) if activation == "TopK" else pre.relu()

    def decode(acts: Tensor, x: Tensor) -> Tensor:
        _, mean, deviation = normed(x)
        return (linear(acts, dec) + pre_bias) * deviation + mean

    return Written(path, encode, decode, {"hookpoint": "blocks.8.hook_resid_post", "centred": False})


# sparsify


def sparsify(folder: Path, name: str = "layers.5", **cfg: Any) -> Written:
    path = folder / "sae-llama" / name
    enc, b_enc, w_dec, b_dec, skip = draw(1, F, D), draw(2, F), draw(3, F, D), draw(4, D), draw(5, D, D)
    k = 5
    written = {"d_in": D, "expansion_factor": 32, "num_latents": F, "k": k, "normalize_decoder": True, "signed": False}
    _json(path / "cfg.json", written | cfg)
    _json(path.parent / "config.json", {"model": "meta-llama/Llama-3.2-1B", "ctx_len": 2048})
    tensors = {"encoder.weight": enc, "encoder.bias": b_enc, "W_dec": w_dec, "b_dec": b_dec}
    if cfg.get("skip_connection"):
        tensors["W_skip"] = skip
    save_file(tensors, path / "sae.safetensors")

    def encode(x: Tensor) -> Tensor:
        pre = linear(x if cfg.get("transcode") else x - b_dec, enc, b_enc)
        if cfg.get("activation") == "groupmax":
            kept = torch.zeros_like(pre)
            for row, values in enumerate(pre.relu().tolist()):
                for group in range(k):
                    best = max(range(group * F // k, (group + 1) * F // k), key=values.__getitem__)
                    kept[row, best] = values[best]
            return kept
        if cfg.get("signed"):
            return pre * (pre.abs() >= pre.abs().sort(dim=1, descending=True).values[:, k - 1 : k])
        return keep_largest(pre, k)

    def decode(acts: Tensor, x: Tensor) -> Tensor:
        return acts @ w_dec + b_dec + (x @ skip.T if cfg.get("skip_connection") else 0)

    hookpoints = {
        "layers.5": ("blocks.5.hook_resid_post", ""),
        "layers.5.mlp": ("blocks.5.hook_mlp_out", ""),
        "h.5.attn": ("blocks.5.hook_attn_out", ""),
        "embed_tokens": ("hook_embed", ""),
    }
    read, written_to = hookpoints[name]
    if cfg.get("transcode"):
        read, written_to = "blocks.5.hook_mlp_in_normed", read
    expected = {"hookpoint": read, "hookpoint_out": written_to, "lm": "meta-llama/Llama-3.2-1B", "context_length": 2048}
    return Written(path, encode, decode, expected)


# dictionary_learning


def dictionary_learning(folder: Path, dict_class: str, *, threshold: float = 0.35) -> Written:
    enc, b_enc, dec, bias = draw(1, F, D), draw(2, F), draw(3, D, F), draw(4, D)
    r_mag, gate, mag, thresholds, k = draw(5, F), draw(6, F), draw(7, F), draw(8, F).abs(), 4
    linear_ = {"encoder.weight": enc, "decoder.weight": dec}
    shared = {"k": torch.tensor(k, dtype=torch.int), "threshold": torch.tensor(threshold)}
    plain = {"W_enc": enc.T.contiguous(), "b_enc": b_enc, "W_dec": dec.T.contiguous(), "b_dec": bias}
    state = {
        "AutoEncoder": linear_ | {"encoder.bias": b_enc, "bias": bias},
        "AutoEncoderNew": linear_ | {"encoder.bias": b_enc, "decoder.bias": bias},
        "GatedAutoEncoder": linear_ | {"decoder_bias": bias, "r_mag": r_mag, "gate_bias": gate, "mag_bias": mag},
        "JumpReluAutoEncoder": plain | {"threshold": thresholds},
        "AutoEncoderTopK": linear_ | {"encoder.bias": b_enc, "b_dec": bias} | shared,
        "BatchTopKSAE": linear_ | {"encoder.bias": b_enc, "b_dec": bias} | shared,
        "MatryoshkaBatchTopKSAE": plain | shared | {"group_sizes": torch.tensor([3, 5, 7])},
    }[dict_class]
    trainer = {
        "dict_class": dict_class, "activation_dim": D, "dict_size": F, "k": k, "layer": 8,
        "lm_name": "EleutherAI/pythia-70m", "submodule_name": "resid_post_layer_8",
    }  # fmt: skip
    _json(folder / "config.json", {"trainer": trainer, "buffer": {"io": "out", "ctx_len": 128}})
    torch.save(state, folder / "ae.pt")
    norms = dec.norm(dim=0) if dict_class == "AutoEncoder" else torch.ones(F)  # brought to unit norm where it loads

    def encode(x: Tensor) -> Tensor:
        if dict_class == "AutoEncoder":
            return linear(x - bias, enc * norms[:, None], b_enc * norms).relu()
        if dict_class == "AutoEncoderNew":
            return linear(x, enc, b_enc).relu()
        if dict_class == "GatedAutoEncoder":
            product = linear(x - bias, enc)
            return (product + gate > 0) * (r_mag.exp() * product + mag).relu()
        if dict_class == "JumpReluAutoEncoder":
            pre = linear(x, enc, b_enc)
            return (pre * (pre > thresholds)).relu()
        post = linear(x - bias, enc, b_enc).relu()
        return keep_largest(post, k) if dict_class == "AutoEncoderTopK" else post * (post > threshold)

    expected = {"hookpoint": "blocks.8.hook_resid_post", "lm": "EleutherAI/pythia-70m", "context_length": 128}
    if dict_class == "MatryoshkaBatchTopKSAE":
        expected["prefixes"] = (3, 8, 15)
    return Written(folder, encode, lambda acts, x: linear(acts, dec / norms) + bias, expected)


# Llama Scope


def llama_scope(folder: Path, *, decoder_norm: bool, pre_bias: bool = False, vector: bool = False) -> Written:
    enc, b_enc, dec, b_dec = draw(1, F, D), draw(2, F), draw(3, D, F), draw(4, D)
    one, log_thresholds = 0.3, draw(5, F) - 1
    average = {"in": 5.5, "out": 5.5 if pre_bias else 8.25}
    hyperparams = {
        "d_model": D, "d_sae": F, "act_fn": "jumprelu", "hook_point_in": "blocks.12.hook_mlp_in_normed",
        "hook_point_out": "blocks.12.hook_mlp_out", "dataset_average_activation_norm": average,
        "norm_activation": "dataset-wise", "sparsity_include_decoder_norm": decoder_norm,
        "apply_decoder_bias_to_pre_encoder": pre_bias,
    }  # fmt: skip
    tensors = {"encoder.weight": enc, "encoder.bias": b_enc, "decoder.weight": dec, "decoder.bias": b_dec}
    if vector:
        tensors["log_jumprelu_threshold"] = log_thresholds
    else:
        hyperparams["jump_relu_threshold"] = one
    _json(folder / "hyperparams.json", hyperparams)
    (folder / "checkpoints").mkdir()
    save_file(tensors, folder / "checkpoints" / "final.safetensors")
    scale_in, scale_out = math.sqrt(D) / average["in"], math.sqrt(D) / average["out"]
    threshold: Tensor = log_thresholds.exp() if vector else torch.tensor(one)
    # Latents in the units of the raw input, times the norm of the decoder row that writes raw output.
    norms: Tensor = (dec * scale_in / scale_out).norm(dim=0) if decoder_norm else torch.ones(F)

    def encode(x: Tensor) -> Tensor:
        z = x * scale_in - (b_dec if pre_bias else 0)  # as in training
        pre = linear(z, enc, b_enc) / scale_in * norms
        return torch.where(pre > threshold, pre.relu(), 0)

    def decode(acts: Tensor, x: Tensor) -> Tensor:
        return (linear(acts / norms * scale_in, dec) + b_dec) / scale_out

    expected = {"hookpoint": "blocks.12.hook_mlp_in_normed", "hookpoint_out": "blocks.12.hook_mlp_out"}
    return Written(folder, encode, decode, expected)
