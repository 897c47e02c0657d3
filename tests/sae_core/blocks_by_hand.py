"""The block of every family written out: what passes at each hookpoint, from the block's input and its heads' outputs.

Module paths are given here once more, so that a wrong one in sae_core.architectures does not agree with itself.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tests.sae_core.small_lms import EPSILON


class Parts(NamedTuple):
    blocks: str
    W_O: str
    ln2: str = ""  # of this and all below, "" where there is none
    W_out: str = ""
    post_attn: str = ""
    post_mlp: str = ""
    final_norm: str = "model.norm"
    parallel: bool = False


LLAMA = Parts("model.layers", "self_attn.o_proj", "post_attention_layernorm", "mlp.down_proj")
NEOX = Parts(
    "gpt_neox.layers",
    "attention.dense",
    "post_attention_layernorm",
    "mlp.dense_4h_to_h",
    final_norm="gpt_neox.final_layer_norm",
)
GEMMA = LLAMA._replace(
    ln2="pre_feedforward_layernorm", post_attn="post_attention_layernorm", post_mlp="post_feedforward_layernorm"
)
PARTS = {
    "gpt2": Parts("transformer.h", "attn.c_proj", "ln_2", "mlp.c_proj", final_norm="transformer.ln_f"),
    "gpt_neox": NEOX._replace(parallel=True),
    "gpt_neox_sequential": NEOX,
    "llama": LLAMA,
    "mistral": LLAMA,
    "qwen2": LLAMA,
    "qwen3": LLAMA,
    "gemma": LLAMA,
    "gemma2": GEMMA,
    "gemma3_text": GEMMA,
    "gemma3": GEMMA._replace(blocks="model.language_model.layers", final_norm="model.language_model.norm"),
    "attention_only": Parts("model.layers", "attn.o_proj", final_norm=""),
}
WITH_MLP = [family for family, parts in PARTS.items() if parts.W_out]


SUFFIXES = [
    "hook_resid_pre", "attn.hook_z", "hook_attn_out", "hook_resid_mid", "ln2.hook_normalized", "hook_mlp_in_normed",
    "mlp.hook_post", "hook_mlp_out", "hook_resid_post",
]  # fmt: skip


def suffixes_of(family: str) -> list[str]:
    if family not in WITH_MLP:
        return ["hook_resid_pre", "attn.hook_z", "hook_attn_out", "hook_resid_post"]
    return [each for each in SUFFIXES if not PARTS[family].parallel or each != "hook_resid_mid"]


def writers_of(family: str) -> list[str]:
    """The modules that add to the residual stream."""
    return [each.split(".")[0] for each in (PARTS[family].W_O, PARTS[family].W_out) if each]


def final_norm_of(hf: Any, family: str) -> Any:
    return hf.get_submodule(PARTS[family].final_norm) if PARTS[family].final_norm else nn.Identity()


def hidden_states(hf: Any, tokens: Tensor) -> tuple[Tensor, ...]:
    """What goes into every block, and what comes out of the final norm."""
    with torch.no_grad():
        states: tuple[Tensor, ...] = hf(tokens, output_hidden_states=True).hidden_states
    return states


def block(hf: Any, family: str, layer: int) -> Any:
    return hf.get_submodule(f"{PARTS[family].blocks}.{layer}")


def normalized(norm: Any, x: Tensor) -> Tensor:
    if isinstance(norm, nn.Identity):
        return x
    if type(norm).__name__ == "LayerNorm":
        centred = x - x.mean(-1, keepdim=True)
        return centred / torch.sqrt(centred.square().mean(-1, keepdim=True) + EPSILON)
    return x / torch.sqrt(x.square().mean(-1, keepdim=True) + EPSILON)


def assert_close(found: Tensor, expected: Tensor) -> None:
    """Equal but for the order of float32 sums."""
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def gain(norm: Any) -> Tensor:
    if isinstance(norm, nn.Identity):
        return torch.ones(())
    weight: Tensor = norm.weight
    return weight + 1 if type(norm).__name__.startswith("Gemma") else weight


def scaled(norm: Any, x: Tensor) -> Tensor:
    bias: Tensor | float = getattr(norm, "bias", 0.0)
    return x * gain(norm) + bias


def normed(norm: Any, x: Tensor) -> Tensor:
    return scaled(norm, normalized(norm, x))


def neurons(mlp: Any, x: Tensor) -> Tensor:
    """What the MLP's last matrix reads."""
    acts: Tensor
    if hasattr(mlp, "gate_proj"):
        acts = mlp.act_fn(mlp.gate_proj(x)) * mlp.up_proj(x)
    else:
        acts = mlp.act((mlp.c_fc if hasattr(mlp, "c_fc") else mlp.dense_h_to_4h)(x))
    return acts


def heads(hf: Any, family: str, layer: int, tokens: Tensor) -> Tensor:
    """What W_O reads in a forward of the whole lm."""
    seen: list[Tensor] = []
    W_O = block(hf, family, layer).get_submodule(PARTS[family].W_O)
    handle = W_O.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    with torch.no_grad():
        hf(tokens)
    handle.remove()
    return seen[0]


@torch.no_grad()
def pass_through(hf: Any, family: str, layer: int, pre: Tensor, z: Tensor, **put: Tensor) -> dict[str, Tensor]:
    """Every hookpoint of one block, with any of them put there instead, by its name with _ for a dot."""
    parts, here = PARTS[family], block(hf, family, layer)
    at: dict[str, Tensor] = {}

    def passes(name: str, x: Tensor) -> Tensor:
        at[name] = put.get(name.replace(".", "_"), x)
        return at[name]

    pre = passes("hook_resid_pre", pre)
    attn_out = here.get_submodule(parts.W_O)(passes("attn.hook_z", z))
    if parts.post_attn:
        attn_out = normed(here.get_submodule(parts.post_attn), attn_out)
    mid = pre + passes("hook_attn_out", attn_out)
    if family not in WITH_MLP:
        passes("hook_resid_post", mid)
        return at
    ln2 = here.get_submodule(parts.ln2)
    if not parts.parallel:
        mid = passes("hook_resid_mid", mid)
    x = passes("ln2.hook_normalized", normalized(ln2, pre if parts.parallel else mid))
    x = passes("hook_mlp_in_normed", scaled(ln2, x))
    mlp_out = here.get_submodule(parts.W_out)(passes("mlp.hook_post", neurons(here.mlp, x)))
    if parts.post_mlp:
        mlp_out = normed(here.get_submodule(parts.post_mlp), mlp_out)
    passes("hook_resid_post", mid + passes("hook_mlp_out", mlp_out))
    return at


@torch.no_grad()
def logits_after(hf: Any, family: str, layer: int, resid_post: Tensor, tokens: Tensor) -> Tensor:
    """The logits where a block gives this instead."""
    handle = block(hf, family, layer).register_forward_hook(lambda module, args, output: resid_post)
    logits: Tensor = hf(tokens).logits
    handle.remove()
    return logits


@torch.no_grad()
def logits_of(hf: Any, family: str, resid: Tensor) -> Tensor:
    """The last of it: final norm, unembedding, soft-cap."""
    logits: Tensor = hf.lm_head(normed(final_norm_of(hf, family), resid))
    cap = getattr(hf.config.get_text_config(), "final_logit_softcapping", None)
    return logits if cap is None else cap * torch.tanh(logits / cap)
