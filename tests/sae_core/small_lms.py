"""Language models of three layers and no training, of the real classes: seeded, and with nothing left at 0 or 1.

Norms' gains and biases are random and their epsilons large, attention windows and caps bite, and heads are wider than
d_model where the class lets them be, so that nothing that a computation leaves out goes unnoticed.
"""

import functools
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from sae_core.attention_only import AttentionOnlyConfig

VOCAB, D_MODEL, LAYERS, HEADS, HEAD_WIDTH, D_MLP, LONGEST = 48, 16, 3, 2, 12, 40, 32
EPSILON = 0.02

_ROTARY = {
    "vocab_size": VOCAB,
    "hidden_size": D_MODEL,
    "intermediate_size": D_MLP,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": 1,
    "head_dim": HEAD_WIDTH,
    "max_position_embeddings": LONGEST,
    "rms_norm_eps": EPSILON,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": None,
}
_LAYER_TYPES = ["sliding_attention", "full_attention", "sliding_attention"]
_GEMMA2 = _ROTARY | {"sliding_window": 4, "layer_types": _LAYER_TYPES, "query_pre_attn_scalar": 7, "pad_token_id": 0}
_NEOX = {
    "vocab_size": VOCAB,
    "hidden_size": D_MODEL,
    "intermediate_size": D_MLP,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "max_position_embeddings": LONGEST,
    "layer_norm_eps": EPSILON,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
_EYE = {
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 1,
    "image_size": 28,
    "patch_size": 14,
}

CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {  # by family: the type that transformers knows it by, and its config
    "gpt2": (
        "gpt2",
        {
            "vocab_size": VOCAB, "n_embd": D_MODEL, "n_inner": D_MLP, "n_layer": LAYERS, "n_head": HEADS,
            "n_positions": LONGEST, "layer_norm_epsilon": EPSILON, "bos_token_id": 47, "eos_token_id": 47,
        },
    ),
    "gpt_neox": ("gpt_neox", _NEOX | {"use_parallel_residual": True}),
    "gpt_neox_sequential": ("gpt_neox", _NEOX | {"use_parallel_residual": False}),
    "llama": ("llama", _ROTARY),
    "mistral": ("mistral", _ROTARY | {"sliding_window": 4}),
    "qwen2": ("qwen2", _ROTARY | {"head_dim": D_MODEL // HEADS, "tie_word_embeddings": True}),
    "qwen3": ("qwen3", _ROTARY),
    "gemma": ("gemma", _ROTARY | {"pad_token_id": 0}),
    "gemma2": ("gemma2", _GEMMA2 | {"final_logit_softcapping": 3.0, "attn_logit_softcapping": 2.0}),
    "gemma3_text": ("gemma3_text", _GEMMA2),
    "gemma3": (
        "gemma3",
        {
            "text_config": _GEMMA2, "vision_config": _EYE, "mm_tokens_per_image": 4,
            "boi_token_index": 45, "eoi_token_index": 46, "image_token_index": 47,
        },
    ),
    "attention_only": (
        AttentionOnlyConfig.model_type,
        {
            "vocab_size": VOCAB, "hidden_size": D_MODEL, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
            "max_position_embeddings": LONGEST, "bos_token_id": 0, "eos_token_id": 0,
        },
    ),
}  # fmt: skip
FAMILIES = list(CONFIGS)


@functools.cache
def small_lm(family: str) -> Any:
    """The same object for all tests, which leave it as it is."""
    return new_lm(family)


def new_lm(family: str, **changes: Any) -> Any:
    """A lm of a test's own; `changes` are of its config."""
    model_type, options = CONFIGS[family]
    config = AutoConfig.for_model(model_type, **options | changes)
    return randomised(AutoModelForCausalLM.from_config(config, dtype=torch.float32))


def randomised(hf: Any) -> Any:
    generator = torch.Generator().manual_seed(0)
    one = 0.0 if "Gemma" in type(hf).__name__ else 1.0  # Gemma's norms store their gain less 1
    with torch.no_grad():
        for name, each in hf.named_parameters():
            noise = torch.randn(each.shape, generator=generator)
            if each.dim() > 1:
                each.copy_(noise * 0.4)
            else:  # a norm's gain, or a bias
                each.copy_(noise * 0.3 + (one if name.endswith("weight") else 0.0))
    return hf.eval()


def save_small_lm(folder: Path, family: str, **changes: Any) -> Any:
    """As anybody saves one, to be loaded; gives back what was saved."""
    hf = new_lm(family, **changes)
    hf.save_pretrained(folder)
    return hf


def some_tokens(contexts: int = 3, length: int = 9, seed: int = 0) -> torch.Tensor:
    """Ids that are nothing special to any family."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, 44, (contexts, length), generator=generator)
